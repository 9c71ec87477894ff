"""Arithmetic, comparison and activation: sizes and known values are onnxruntime's, steps are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from analyzer.graph import Size
from tests.ops.runtime import check, check_known, facts_of, floats, ints, scene_of

INT32 = np.int32
GRID = np.linspace(-2.5, 2.5, 12, dtype=np.float32).reshape(3, 4)
POSITIVE = np.abs(GRID) + np.float32(0.25)
UNIT = GRID / np.float32(2.75)

UNARY: list[tuple[str, int, Any]] = [
    ("Abs", 7, GRID), ("Neg", 7, GRID), ("Sign", 9, GRID), ("Ceil", 7, GRID), ("Floor", 7, GRID), ("Round", 11, GRID),
    ("Reciprocal", 7, POSITIVE), ("Sqrt", 7, POSITIVE), ("Exp", 7, GRID), ("Log", 7, POSITIVE), ("Erf", 9, GRID),
    ("Sin", 7, GRID), ("Cos", 7, GRID), ("Tan", 7, UNIT), ("Asin", 7, UNIT), ("Acos", 7, UNIT), ("Atan", 7, GRID),
    ("Sinh", 9, GRID), ("Cosh", 9, GRID), ("Tanh", 7, GRID), ("Asinh", 9, GRID), ("Acosh", 9, POSITIVE + 1),
    ("Atanh", 9, UNIT), ("Relu", 7, GRID), ("Sigmoid", 7, GRID), ("Softplus", 7, GRID), ("Softsign", 7, GRID),
    ("HardSwish", 14, GRID),
    ("Mish", 18, GRID), ("LeakyRelu", 7, GRID), ("Elu", 7, GRID), ("Selu", 7, GRID), ("Celu", 12, GRID),
    ("ThresholdedRelu", 10, GRID), ("HardSigmoid", 7, GRID), ("Shrink", 9, GRID), ("Gelu", 20, GRID),
    ("Swish", 24, GRID), ("Not", 7, GRID > 0), ("BitwiseNot", 18, np.array([[1, -2], [3, 0]], INT32)),
    ("IsNaN", 9, GRID), ("IsInf", 10, GRID),
    ("Clip", 7, GRID), ("Abs", 13, np.array([-3, 4], np.int8)), ("Neg", 13, ints(3, -4)), ("Sign", 13, ints(3, -4, 0)),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "opset", "x"), UNARY, ids=[f"{row[0]}-{row[1]}" for row in UNARY])
@pytest.mark.parametrize("stored", [False, True])
def test_one_operand_keeps_its_size(op_type: str, opset: int, x: Any, stored: bool) -> None:
    """Shape and dtype of the result, and its value wherever one is told of a stored operand."""
    check(op_type, x, opset=opset, stored=stored)


BROADCAST = [((3, 4), (3, 4)), ((2, 1, 4), (3, 1)), ((), (2, 3)), ((0, 3), (1, 3)), ((1,), (5,))]


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Pow", "Greater", "Less", "PRelu"])
@pytest.mark.parametrize(("a", "b"), BROADCAST)
def test_two_operands_broadcast(op_type: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    """As numpy's do, empty ones included; onnxruntime stretches a PRelu's input too."""
    check(op_type, floats(*a) + 1, floats(*b) + 1, opset=9)


INTEGERS: list[tuple[str, int, list[int], list[int]]] = [
    ("Div", 14, [-7, 7, -7, 7, -1, 0], [2, -2, -2, 2, 2, 5]),
    ("Mod", 13, [-7, 7, -7, 7, -6, 0], [3, -3, -3, 3, 3, 5]),
    ("Div", 7, [2**53 + 1, -(2**60)], [1, 7]),
    ("Pow", 13, [3, -7, 2, 0, 5], [2, 3, 10, 0, 1]),
    ("Pow", 13, [2, -1, 3], [-1, -3, -2]),
    ("Add", 7, [2**62, -3], [2**61, 1]),
    ("Mul", 7, [3, -3], [5, 2**40]),
    ("Max", 12, [1, 5], [3, 2]),
    ("Min", 12, [1, 5], [3, 2]),
    ("Equal", 11, [1, 2], [1, 3]),
    ("GreaterOrEqual", 16, [1, 2], [1, 3]),
    ("LessOrEqual", 16, [1, 2], [1, 3]),
    ("BitwiseAnd", 18, [12, -1], [10, 7]),
    ("BitwiseOr", 18, [12, -1], [10, 7]),
    ("BitwiseXor", 18, [12, -1], [10, 7]),
]


@pytest.mark.parametrize(("op_type", "opset", "a", "b"), INTEGERS)
def test_integer_values_are_those_of_the_runtime(
    op_type: str, opset: int, a: list[int], b: list[int]
) -> None:
    """Shapes are computed in integers: division cuts toward zero, a remainder has the sign of the divisor."""
    check_known(op_type, ints(*a), ints(*b), opset=opset)


def test_a_remainder_can_have_the_sign_of_the_dividend() -> None:
    """Like C's fmod."""
    check_known("Mod", ints(-7, 7, -7), ints(3, -3, -3), fmod=1)
    check_known("Mod", np.array([-7.5, 7.5], np.float32), np.array([2, -2], np.float32), fmod=1)


@pytest.mark.parametrize("direction", ["LEFT", "RIGHT"])
def test_bits_are_shifted_within_their_type(direction: str) -> None:
    """What is pushed out is gone."""
    check_known(
        "BitShift", np.array([255, 3, 1], np.uint8), np.array([4, 1, 7], np.uint8), direction=direction
    )
    check_known(
        "BitShift", np.array([2**63, 1], np.uint64), np.array([1, 63], np.uint64), direction=direction
    )


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_booleans_have_values(op_type: str) -> None:
    """All four rows of the table."""
    check_known(op_type, np.array([0, 0, 1, 1], bool), np.array([0, 1, 0, 1], bool))


@pytest.mark.parametrize(("op_type", "b"), [("Div", 0), ("Mod", 0)])
def test_a_division_by_zero_has_no_value(op_type: str, b: int) -> None:
    """Runtimes trap on it; the size is known all the same."""
    scene_size = facts_of(op_type, ints(4, 5), ints(2, b)).outputs
    assert isinstance(scene_size, Size)
    assert scene_size.shape == (2,)
    assert scene_size.value is None


def test_a_power_beyond_what_doubles_count_has_no_value() -> None:
    """3^39 is 4052555153018976267; onnxruntime, going through doubles, says ...976256."""
    size = facts_of("Pow", ints(3), ints(39), opset=15).outputs
    assert isinstance(size, Size)
    assert size.value is None


def test_a_power_has_the_type_of_its_base() -> None:
    """Whatever the exponent's type is; fractions of an integer are cut off."""
    check_known("Pow", ints(3, 2), np.array([0.5, 2.5], np.float32), opset=15)
    check_known("Pow", np.array([1.5, 2.5], np.float32), ints(-1), opset=15)


@pytest.mark.parametrize("op_type", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize(("opset", "shapes"), [(7, [(2, 3)] * 3), (8, [(2, 3), (3,), (1, 1)]), (13, [(4,)])])
def test_any_number_of_operands_broadcast(op_type: str, opset: int, shapes: list[tuple[int, ...]]) -> None:
    """Since opset 8; before, their shapes are equal."""
    operands = [floats(*shape) - 2 for shape in shapes]
    check(op_type, *operands, opset=opset)
    check_known(op_type, *operands, opset=opset)


@pytest.mark.parametrize("opset", [11, 12, 13])
def test_clip_takes_its_bounds_as_operands(opset: int) -> None:
    """Either may be left out, and where they cross the upper one wins."""
    x = GRID if opset == 11 else ints(1, 5, 9)
    bound = np.float32 if opset == 11 else np.int64
    check("Clip", x, bound(2), opset=opset)
    check("Clip", x, None, bound(4), opset=opset)
    check_known("Clip", x, bound(6), bound(3), opset=opset)
    check_known("Clip", x, opset=opset)


def test_clip_took_its_bounds_as_attributes() -> None:
    """Until opset 10."""
    check_known("Clip", GRID, opset=10, min=-1.0, max=0.5)


def test_where_picks_and_broadcasts() -> None:
    """Three operands; strings too."""
    check_known("Where", np.array([[True], [False]]), ints(1, 2, 3), ints(9))
    words = np.array(["a", "b"], object)
    check_known("Where", np.array([True, False]), words, words[::-1].copy())
    check_known("Equal", words, np.array(["a", "c"], object), opset=19)


@pytest.mark.parametrize(
    ("op_type", "steps"), [("Relu", 1), ("Sigmoid", 4), ("HardSwish", 5), ("Softplus", 3)]
)
def test_steps_are_those_of_the_formula(op_type: str, steps: int) -> None:
    """x>0 is one; 1/(1+exp(-x)) negates, raises, adds and divides; x*clip(x/6+.5) is five; log(1+exp(x)) three."""
    assert facts_of(op_type, GRID, opset=18).elementwise == steps * 12


def test_a_sum_of_three_is_two_additions_and_their_mean_a_division_more() -> None:
    """Per element of the result."""
    assert facts_of("Sum", floats(5), floats(5), floats(5)).elementwise == 10
    assert facts_of("Mean", floats(5), floats(5), floats(5)).elementwise == 15


def test_every_elementary_type_can_be_added() -> None:
    """bfloat16 included, which onnxruntime's CPU does not add."""
    for name in ("float16", "float32", "float64", "int8", "int32", "int64", "uint8", "uint32"):
        check("Add", np.ones((2, 2), name), np.ones(2, name), opset=14)
    code = onnx.TensorProto.BFLOAT16
    inputs = [helper.make_tensor_value_info(name, code, (2,)) for name in "ab"]
    graph = helper.make_graph(
        [helper.make_node("Add", ["a", "b"], ["y"])], "g", inputs, [onnx.ValueInfoProto(name="y")]
    )
    size = scene_of(helper.make_model(graph)).size("y")
    assert size is not None
    assert size.dtype.name == "bfloat16"


BOUNDS: list[tuple[str, list[str], list[int] | None]] = [
    ("Add", ["n", "ten"], [22]), ("Sub", ["ten", "n"], [10]), ("Sub", ["n", "ten"], [2]), ("Mul", ["n", "n"], [144]),
    ("Div", ["n", "ten"], [1]), ("Div", ["ten", "n"], None), ("Mod", ["ten", "n"], None), ("Min", ["n", "ten"], [10]),
    ("Equal", ["n", "minus"], [0]), ("Equal", ["n", "ten"], None), ("Less", ["n", "ten"], None), ("Neg", ["n"], None),
    ("Greater", ["n", "minus"], [1]), ("GreaterOrEqual", ["hundred", "n"], [1]),
    ("Where", ["never", "minus", "n"], [12]), ("Abs", ["n"], [12]), ("BitwiseAnd", ["n", "ten"], None),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "operands", "highest"), BOUNDS)
def test_an_upper_bound_stays_one(op_type: str, operands: list[str], highest: list[int] | None) -> None:
    """At most 12 of the input's elements are not zero: 10 less than that is at most 2, 10 less that is at most 10.

    It is never -1, which exporters ask; whether it is 10 is open.
    """
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Shape", ["places"], ["n"], start=1),
        helper.make_node("Equal", ["n", "minus"], ["never"]),
        helper.make_node(op_type, operands, ["y"]),
    ]
    stored = [
        numpy_helper.from_array(ints(number), name)
        for name, number in (("ten", 10), ("minus", -1), ("hundred", 100))
    ]
    x = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, (3, 4))
    graph = helper.make_graph(nodes, "g", [x], [onnx.ValueInfoProto(name="y")], stored)
    size = scene_of(helper.make_model(graph)).size("y")
    assert size is not None
    assert not size.value_exact
    assert (None if size.value is None else size.value.tolist()) == highest
