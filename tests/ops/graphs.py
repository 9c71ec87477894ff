"""A tiny graph in ONNX text, as the rules describe it and as onnxruntime or onnx's reference implementation
runs it.

A graph is `(inputs) => (outputs) <constants> { nodes }`. A tensor that is declared among the constants without
numbers is stored, full of ones; so are the inputs when it is run.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx.parser
import onnx.reference
import pytest
from onnx import helper, numpy_helper

from analyzer import Options
from analyzer.describe import Scene, describe
from analyzer.load import load
from analyzer.ops.rule import Facts
from analyzer.spans import Read, Route

HEADER = """<ir_version: 10, opset_import: [
  "": {opset}, "com.microsoft": 1, "com.microsoft.nchwc": 1, "com.ms.internal.nhwc": {opset}
]> g """

Seen = dict[str, tuple[str, tuple[int, ...]]]
"""Element type and shape by tensor."""


def model(graph: str, opset: int = 21) -> onnx.ModelProto:
    """The graph as a model."""
    parsed = onnx.parser.parse_model(HEADER.format(opset=opset) + graph)
    made = {name for node in parsed.graph.node for name in node.output}
    for info in [info for info in parsed.graph.value_info if info.name not in made]:
        parsed.graph.initializer.append(numpy_helper.from_array(_ones(info), info.name))
        parsed.graph.value_info.remove(info)
    return parsed


def scene(graph: str, opset: int = 21) -> Scene:
    """What the rules say of it."""
    return describe(load(model(graph, opset).SerializeToString()), Options())


def facts(graph: str, opset: int = 21) -> Facts:
    """What they say of its last node."""
    said = scene(graph, opset).facts[-1]
    assert isinstance(said, Facts), said
    return said


def predicted(graph: str, opset: int = 21) -> Seen:
    """Types and shapes of the outputs, as the rules have them."""
    described, seen = scene(graph, opset), {}
    for output in described.graph.outputs:
        size = described.size(output.name)
        assert size is not None, described.facts
        seen[output.name] = (size.dtype.name, size.shape)
    return seen


def run(graph: str, opset: int = 21) -> Seen:
    """The same, as onnxruntime has them, optimising nothing."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    stored = model(graph, opset)
    session = runtime.InferenceSession(
        stored.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return _seen(stored, session.run(None, _fed(stored)))


def runs(graph: str, opset: int = 21) -> bool:
    """Whether onnxruntime runs it at all."""
    try:
        run(graph, opset)
    except Exception:  # noqa: BLE001  # it has a type of its own for every way to fail
        return False
    return True


def evaluated(graph: str, opset: int = 21) -> Seen:
    """The same, as onnx's reference implementation has them: for types that onnxruntime cannot hand out."""
    stored = model(graph, opset)
    return _seen(stored, onnx.reference.ReferenceEvaluator(stored).run(None, _fed(stored)))


def _seen(stored: onnx.ModelProto, values: Any) -> Seen:
    names = [output.name for output in stored.graph.output]
    return {name: (value.dtype.name, value.shape) for name, value in zip(names, values, strict=True)}


def _fed(stored: onnx.ModelProto) -> dict[str, Any]:
    return {info.name: _ones(info) for info in stored.graph.input}


def _ones(info: onnx.ValueInfoProto) -> Any:
    kind = info.type.tensor_type
    shape = [dim.dim_value for dim in kind.shape.dim]
    return np.ones(shape, np.int8).astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))


def touched(graph: str, operand: str, opset: int = 21) -> Any:
    """By brute force, which elements of the result an element of `operand` reaches: booleans [*operand, *result].

    Every other operand is full of ones, this one of zeros but for a single one: right for what adds or multiplies.
    """
    runtime = pytest.importorskip("onnxruntime")
    stored = model(graph, opset)
    session = runtime.InferenceSession(stored.SerializeToString(), providers=["CPUExecutionProvider"])
    fed = _fed(stored)
    shape = fed[operand].shape
    found = []
    for place in np.ndindex(shape):
        fed[operand] = np.zeros_like(fed[operand])
        fed[operand][place] = 1
        found.append(session.run(None, fed)[0] != 0)
    return np.stack(found).reshape(*shape, *found[0].shape)


def claimed(routes: tuple[Route | Read, ...], shape: tuple[int, ...], result: tuple[int, ...]) -> Any:
    """The same, as a span has it; a tuple of routes and of axes read whole."""
    table = np.zeros((*shape, *result), bool)
    for element in np.ndindex(shape):
        for place in np.ndindex(result):
            table[(*element, *place)] = all(
                _reads(way, row, place) for way, row in zip(routes, element, strict=True)
            )
    return table


def _reads(way: Route | Read, row: int, place: tuple[int, ...]) -> bool:
    if isinstance(way, Read):
        return True
    turn, phase = divmod(place[way.axis], way.taps.period)
    low, high = way.taps.lows[phase], way.taps.highs[phase]
    if low is None or high is None:
        return False
    first = low + turn * way.taps.advance
    return row in range(first, high + turn * way.taps.advance + 1, way.taps.step)
