"""onnxruntime and onnx.reference as second sources: what they make of a tiny model, beside what the rules say of it.

A model is a graph in ONNX text. A tensor that is declared in angle brackets and given no numbers is stored, full of ones.
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

DOMAINS = '"com.microsoft": 1, "com.microsoft.nchwc": 1, "com.ms.internal.nhwc": {opset}'

Seen = dict[str, tuple[str, tuple[int, ...]]]
"""Element type and shape by tensor."""


def model(text: str, opset: int = 21) -> onnx.ModelProto:
    """A graph `(inputs) => (outputs) <constants> { nodes }` as a model."""
    header = f'<ir_version: 10, opset_import: ["": {opset}, {DOMAINS.format(opset=opset)}]> g '
    parsed = onnx.parser.parse_model(header + text)
    graph = parsed.graph
    made = {name for node in graph.node for name in node.output}
    declared = [info for info in graph.value_info if info.name not in made]
    for info in declared:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        graph.initializer.append(numpy_helper.from_array(_ones(info.type.tensor_type.elem_type, shape), info.name))
        graph.value_info.remove(info)
    return parsed


def scene(text: str, opset: int = 21) -> Scene:
    """The graph as described."""
    return describe(load(model(text, opset).SerializeToString()), Options())


def facts(text: str, opset: int = 21) -> Facts:
    """What is said of its last node."""
    said = scene(text, opset).facts[-1]
    assert isinstance(said, Facts), said
    return said


def predicted(text: str, opset: int = 21) -> Seen:
    """The outputs' types and shapes, as the rules have them."""
    described = scene(text, opset)
    seen = {}
    for output in described.graph.outputs:
        size = described.size(output.name)
        assert size is not None, described.facts
        seen[output.name] = (size.dtype.name, size.shape)
    return seen


def run(text: str, opset: int = 21) -> Seen:
    """The same, as onnxruntime has them, its inputs full of ones."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    stored = model(text, opset)
    session = runtime.InferenceSession(stored.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return {name: (value.dtype.name, value.shape) for name, value in zip(names, session.run(None, _feeds(stored)), strict=True)}


def evaluated(text: str, opset: int = 21) -> Seen:
    """The same, as onnx's reference implementation has them: for types that onnxruntime has no kernel for."""
    stored = model(text, opset)
    values: Any = onnx.reference.ReferenceEvaluator(stored).run(None, _feeds(stored))
    return {
        output.name: (value.dtype.name, value.shape) for output, value in zip(stored.graph.output, values, strict=True)
    }


def _feeds(stored: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    feeds = {}
    for info in stored.graph.input:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        feeds[info.name] = _ones(info.type.tensor_type.elem_type, shape)
    return feeds


def _ones(code: int, shape: list[int]) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.int8).astype(helper.tensor_dtype_to_np_dtype(code))
