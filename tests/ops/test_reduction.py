"""Reductions: sizes and values are onnxruntime's, in both spellings of the axes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import Size
from analyzer.spans import WHOLE, Route
from tests.ops.runtime import Operand, check, check_known, check_refused, facts_of, floats, ints

NONE = np.zeros(0, np.int64)
BY_OPERAND = {"ReduceSum": 13}
"""Since when axes are an operand; of the others since opset 18."""
EXACT = ("ReduceSum", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd")
ALL = (*EXACT, "ReduceL1", "ReduceL2", "ReduceSumSquare", "ReduceLogSum", "ReduceLogSumExp")
AXES: list[list[int] | None] = [None, [0], [-1], [0, 2], [2, 0, 1], [1, -1]]


@pytest.mark.parametrize("op_type", ALL)
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axes", AXES)
def test_axes_are_reduced(op_type: str, keepdims: int, axes: list[int] | None) -> None:
    """As an attribute at first, as an operand later."""
    change = BY_OPERAND.get(op_type, 18)
    x = floats(2, 3, 4) + 1
    named: dict[str, Any] = {} if axes is None else {"axes": axes}
    for opset in (7, change - 1):
        check(op_type, x, opset=opset, keepdims=keepdims, **named)
    operand = None if axes is None else np.array(axes)
    for opset in (change, 20):
        check(op_type, x, operand, opset=opset, keepdims=keepdims)


@pytest.mark.parametrize("op_type", EXACT)
@pytest.mark.parametrize("numbers", [[3, -1, 4], [-1, -2, 0, 0], [7, 8], [5], []])
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32])
def test_values_are_those_of_the_runtime(op_type: str, numbers: list[int], kind: Any) -> None:
    """A mean of integers is cut off toward zero; a sum of nothing is 0, a product 1."""
    x = np.array(numbers, kind)
    if numbers or op_type in ("ReduceSum", "ReduceProd", "ReduceMean"):
        check_known(op_type, x, opset=18, keepdims=0)
    else:
        check(op_type, x, opset=18, stored=True)


@pytest.mark.parametrize("op_type", ["ReduceMax", "ReduceMin"])
def test_booleans_have_an_extreme(op_type: str) -> None:
    """Since opset 20."""
    check_known(op_type, np.array([True, False]), opset=20)


@pytest.mark.parametrize("op_type", ALL)
def test_no_axes_are_all_or_none(op_type: str) -> None:
    """As `noop_with_empty_axes` says, whether axes are empty or left out."""
    x = floats(2, 2) + 1
    for axes in (None, NONE):
        check(op_type, x, axes, opset=18)
        check(op_type, x, axes, opset=18, noop_with_empty_axes=1)
        check(op_type, x, axes, opset=18, noop_with_empty_axes=1, stored=True)


def test_a_scalar_is_its_own_reduction() -> None:
    """It has no axis that could be named."""
    check_known("ReduceSum", np.float32(3), opset=13)
    check_refused("AXIS_OUT_OF_RANGE", "ReduceSum", np.float32(3), ints(0), opset=13)


@pytest.mark.parametrize(
    ("op_type", "numbers"), [("ReduceSum", [2**53, 1]), ("ReduceProd", [94906267, 94906267])]
)
def test_integers_that_doubles_do_not_count_have_no_value(op_type: str, numbers: list[int]) -> None:
    """onnxruntime adds them up as doubles and loses the last digit."""
    size = facts_of(op_type, ints(*numbers), opset=18).outputs
    assert isinstance(size, Size)
    assert size.value is None


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("keepdims", [0, 1])
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_the_place_of_an_extreme_is_known(op_type: str, keepdims: int, axis: int) -> None:
    """The first of equals, or the last."""
    x = np.array([[[3, 1], [3, 3]], [[1, 1], [0, 2]]], np.float32)
    check(op_type, x, opset=7, axis=axis, keepdims=keepdims)
    check_known(op_type, x, opset=11, axis=axis, keepdims=keepdims)
    check_known(op_type, x, opset=13, axis=axis, keepdims=keepdims, select_last_index=1)


def test_reduced_axes_are_read_whole_and_the_others_move_up() -> None:
    """With and without keeping them."""
    kept = facts_of("ReduceSum", floats(2, 3, 4), ints(1)).spans
    gone = facts_of("ReduceSum", floats(2, 3, 4), ints(1), keepdims=0).spans
    assert isinstance(kept, tuple)
    assert isinstance(gone, tuple)
    assert kept[0] == (Route(0), WHOLE, Route(2))
    assert gone[0] == (Route(0), WHOLE, Route(1))


@pytest.mark.parametrize(("op_type", "steps"), [("ReduceSum", 24), ("ReduceL2", 48), ("ArgMax", 24)])
def test_each_element_read_is_a_step(op_type: str, steps: int) -> None:
    """And one more where it is squared first; 2*3*4 elements are read."""
    assert facts_of(op_type, floats(2, 3, 4)).elementwise == steps


@pytest.mark.parametrize("x", [np.eye(3), np.stack([np.eye(2)] * 6).reshape(2, 3, 2, 2), np.eye(1)])
def test_a_determinant_is_one_number_a_matrix(x: Operand) -> None:
    """Whatever lies before the last two axes."""
    check("Det", np.asarray(x, np.float32), opset=11)


def test_a_determinant_of_three_by_three_is_fifteen_steps() -> None:
    """Two ratios, four elements updated, a ratio, one updated: 2 + 8 + 1 + 2; and the diagonal multiplied: 2."""
    assert facts_of("Det", np.eye(3, dtype=np.float32)).elementwise == 15
    check_refused("NOT_SQUARE", "Det", floats(2, 3))
