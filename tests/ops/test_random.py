"""Chance: sizes are onnxruntime's, and nothing that is drawn is a constant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from analyzer.graph import Size
from tests.ops.kept import kept
from tests.ops.runtime import Operand, check, check_known, check_refused, facts_of, floats, ints, scene_of

DRAWS: list[tuple[str, tuple[Operand, ...], dict[str, Any]]] = [
    ("RandomNormal", (), {"shape": [2, 3]}),
    ("RandomUniform", (), {"shape": [0, 2], "dtype": TensorProto.DOUBLE}),
    ("RandomNormalLike", (ints(1, 2),), {"dtype": TensorProto.FLOAT}),
    ("RandomNormalLike", (floats(2, 3).astype(np.float64),), {}),
    ("RandomUniformLike", (floats(2, 3),), {}),
    (
        "RandomUniformLike",
        (floats(2, 3),),
        {"dtype": TensorProto.DOUBLE, "seed": 1.0, "low": 2.0, "high": 3.0},
    ),
    ("Bernoulli", (floats(2, 3) / 6,), {}),
    ("Bernoulli", (floats(2, 3) / 6,), {"dtype": TensorProto.BOOL}),
    ("Multinomial", (floats(2, 3),), {"sample_size": 5}),
    ("Multinomial", (floats(2, 3),), {"dtype": TensorProto.INT64}),
]


@pytest.mark.parametrize(("op_type", "operands", "attributes"), DRAWS)
def test_what_is_drawn_has_a_size_and_no_value(
    op_type: str, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """Even where all that it is drawn with is stored."""
    check(op_type, *operands, opset=15, **attributes)
    facts = facts_of(op_type, *operands, opset=22, stored=True, **attributes)
    assert isinstance(facts.outputs, Size)
    assert facts.outputs.value is None
    assert facts.random


def test_what_is_drawn_is_no_constant() -> None:
    """A weight made of noise would be another one in each run."""
    nodes = [
        helper.make_node("RandomNormal", [], ["noise"], shape=[2]),
        helper.make_node("Constant", [], ["one"], value_ints=[1, 1]),
        helper.make_node("Cast", ["one"], ["two"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["noise", "two"], ["y"]),
    ]
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    assert scene_of(helper.make_model(helper.make_graph(nodes, "g", [], [y]))).constants == {"one", "two"}


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 12, 13, 22])
def test_dropout_passes_on_at_inference(opset: int) -> None:
    """With its value; the mask was of the input's type once."""
    check("Dropout", floats(2, 3), opset=opset, results=2)
    check_known("Dropout", floats(2, 3), opset=opset)
    facts = facts_of("Dropout", floats(2, 3), opset=opset)
    assert (facts.elementwise, facts.saved, facts.random) == (0, (), False)
    assert facts.view is not None


def test_dropout_at_training_draws_and_keeps_a_mask() -> None:
    """As floats, as torch does on a CPU; a ratio of 0 drops nothing."""
    check("Dropout", floats(2, 3), np.float32(0.5), np.bool_(True), opset=13, results=2)
    facts = facts_of("Dropout", floats(2, 3), np.float32(0.5), np.bool_(True), opset=13, stored=True)
    assert (facts.elementwise, facts.random) == (12, True)
    assert [(size.shape, size.dtype.name) for size in kept(facts)] == [((2, 3), "float32")]
    output = facts.outputs[0] if isinstance(facts.outputs, tuple) else None
    assert isinstance(output, Size)
    assert output.value is None
    assert not facts_of("Dropout", floats(2, 3), np.float32(0), np.bool_(True), opset=13, stored=True).random


def test_classes_are_drawn_from_rows_of_classes() -> None:
    """Two rows of three classes are summed up, ten are drawn."""
    assert facts_of("Multinomial", floats(2, 3), sample_size=5).elementwise == 6 + 10
    check_refused("RANK", "Multinomial", floats(3))
