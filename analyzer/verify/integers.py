"""How quantised ops let marks through, and products of integers: as those of floating point that read the same rows."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import helper

from analyzer.verify.patterns import CONTRIB, PATTERNS, attribute, every, moving, nobody_knows, pattern
from analyzer.verify.taint import Pattern, Rewriting, native

__all__ = ["PATTERNS"]
"""The whole table."""


def _weighed(op: str, *places: int) -> Pattern:
    """The op of floating point that sees the same of the operands at `places`; scales and the like are seen by all."""

    def weighed(rewriting: Rewriting, node: onnx.NodeProto) -> None:
        marked = rewriting.marked(node)
        operands = [
            rewriting.carrier(node.input[place])
            if node.input[place] in marked
            else rewriting.constant(np.ones(rewriting.shape(node.input[place]), np.float32))
            for place in places
        ]
        kept = {one.name: helper.get_attribute_value(one) for one in node.attribute if one.name not in _OWN}
        parts = [rewriting.emit(op, operands, **kept)]
        aside = [name for place, name in enumerate(node.input) if place not in places and name in marked]
        parts += rewriting.all_of(aside)
        for name in node.output:
            rewriting.give(name, parts)

    return weighed


_OWN = ("channels_last", "domain")
pattern("QLinearConv")(_weighed("Conv", 0, 3))
pattern("QLinearConv", domain=CONTRIB)(_weighed("Conv", 0, 3))
pattern("ConvInteger")(_weighed("Conv", 0, 1))
pattern("QLinearMatMul")(_weighed("MatMul", 0, 3))
pattern("MatMulInteger")(_weighed("MatMul", 0, 1))
pattern("MatMulIntegerToFloat", "DynamicQuantizeMatMul", domain=CONTRIB)(_weighed("MatMul", 0, 1))
pattern("QGemm", domain=CONTRIB)(_weighed("Gemm", 0, 3))
pattern("QLinearAveragePool", domain=CONTRIB)(_weighed("AveragePool", 0))
pattern("QLinearSoftmax", domain=CONTRIB)(_weighed("Softmax", 0))


@pattern("QLinearGlobalAveragePool", domain=CONTRIB)
def averaged(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    rank = len(rewriting.shape(node.input[0]))
    axes = range(1, rank - 1) if attribute(node, "channels_last") else range(2, rank)
    rewriting.give(node.output[0], [rewriting.mean(rewriting.carrier(node.input[0]), axes)])


@pattern("QLinearConcat", domain=CONTRIB)
def joined(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    parts = [rewriting.carrier(name) for name in node.input[2::3]]
    rewriting.give(node.output[0], [rewriting.emit("Concat", parts, axis=attribute(node, "axis"))])


@pattern("DynamicQuantizeLinear")
def quantised(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """The scale is that of all elements."""
    whole = rewriting.mean(rewriting.carrier(node.input[0]))
    for name in node.output:
        rewriting.give(name, [whole])


@pattern("MatMul", "Gemm", "Einsum", "Det")
def multiplied(rewriting: Rewriting, node: onnx.NodeProto) -> None:
    """Products of integers as of any numbers."""
    if any(name in rewriting.shadows for name in rewriting.marked(node)):
        moving(every, nobody_knows)(rewriting, node)
    else:
        native(rewriting, node)
