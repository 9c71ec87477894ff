"""Selections: exact where the data is known, else upper bounds that say so, and onnxruntime never finds more."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import Size
from analyzer.spans import DATA, Read, Route
from tests.ops.kept import kept
from tests.ops.reading import check_reads, span_of
from tests.ops.runtime import (
    Operand,
    check,
    check_known,
    check_refused,
    facts_of,
    floats,
    ints,
    model_of,
    run,
)

TIED = np.array([[3, 1, 3, 2], [0, 0, 5, 5]], np.float32)
SPARSE = np.array([[0, 2, 0], [1, 0, 3]], np.float32)
BOXES = np.array([[[0, 0, 1, 1], [0, 0, 1, 0.9], [5, 5, 6, 6], [0, 0, 1, 1]]], np.float32)
SCORES = np.array([[[0.9, 0.8, 0.7, 0.6], [0.1, 0.2, 0.3, 0.4]]], np.float32)


@pytest.mark.parametrize("k", [0, 1, 3])
@pytest.mark.parametrize("axis", [-1, 1])
def test_the_largest_are_found(k: int, axis: int) -> None:
    """Of equals the first; k was an attribute once."""
    if k:
        check("TopK", TIED, opset=9, results=2, k=k, axis=axis)
    check("TopK", TIED, ints(k), opset=10, results=2, axis=axis)
    check_known("TopK", TIED, ints(k), opset=11, results=2, axis=axis)
    check_known("TopK", TIED, ints(k), opset=11, results=2, axis=axis, largest=0)
    check_known("TopK", ints(2, -1, 7, 2), ints(k), results=2)


def test_how_many_the_data_may_decide() -> None:
    """At most all of them."""
    check("TopK", TIED, ints(2), results=2, fed=(0, 1), exact=False)


def test_the_largest_in_no_order_have_no_value() -> None:
    """Any order would do."""
    assert check("TopK", TIED, ints(3), results=2, stored=True, sorted=0)[0].value is None


def test_the_largest_read_all_and_keep_their_places() -> None:
    """Which, the data says; each element is compared once in this count."""
    facts = facts_of("TopK", TIED, ints(2), results=2)
    assert span_of(facts, 0) == (Route(0), DATA)
    assert facts.elementwise == 8
    assert [(size.shape, size.dtype.name) for size in kept(facts)] == [((2, 2), "int64")]


@pytest.mark.parametrize(
    "x", [SPARSE, np.float32(3), np.float32(0), floats(0, 2), np.array([True, False]), floats(2, 1, 2)]
)
def test_places_that_are_not_zero_are_bound_or_known(x: Operand) -> None:
    """As many as there are elements at most; a scalar has one axis."""
    check("NonZero", x, opset=9, fed=(0,), exact=False)
    check_known("NonZero", x, opset=13)


@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("condition", [[True, False, True], [False], [False, True], [True] * 9])
def test_wanted_rows_are_bound_or_known(axis: int | None, condition: list[bool]) -> None:
    """A condition may be shorter than the axis, or longer."""
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    wanted = np.array(condition)
    check("Compress", SPARSE, wanted, fed=(0, 1), exact=False, **attributes)
    check("Compress", SPARSE, wanted, **attributes)
    check_known("Compress", SPARSE, wanted, **attributes)


def test_wanted_rows_in_a_run_are_read_as_a_slice() -> None:
    """Others as all, and those that the data picks as it wants."""
    x = floats(2, 4)
    model, feeds = model_of("Compress", x, np.array([False, True, True]), axis=1)
    facts = facts_of("Compress", x, np.array([False, True, True]), axis=1)
    assert check_reads(facts, x.shape, run(model, feeds)[0]) == 2
    apart = facts_of("Compress", x, np.array([True, False, True]), axis=1)
    assert span_of(apart, 0) == (Route(0), Read("global", 1))
    picked = facts_of("Compress", x, np.array([True, False, True]), axis=1, fed=(0, 1))
    assert span_of(picked, 0) == (Route(0), DATA)


ONCE: list[Operand] = [
    ints(2, 1, 1, 3, 4, 3), TIED, np.array([[1, 0], [1, 0], [0, 0]]), np.int64(3), np.array(["b", "a", "b"], object),
    np.array([[[1, 1], [0, 1]], [[1, 1], [0, 1]], [[2, 0], [0, 1]]], np.float32),
]  # fmt: skip


@pytest.mark.parametrize("x", ONCE, ids=[str(index) for index in range(len(ONCE))])
@pytest.mark.parametrize("axis", [None, 0, -1])
@pytest.mark.parametrize("ordered", [0, 1])
def test_distinct_parts_are_known(x: Any, axis: int | None, ordered: int) -> None:
    """All four results, in rising order or as they come."""
    if axis is not None and not np.asarray(x).ndim:
        return
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    check_known("Unique", x, opset=11, results=4, sorted=ordered, **attributes)


@pytest.mark.parametrize("axis", [None, 1])
def test_distinct_parts_are_at_most_all(axis: int | None) -> None:
    """Which of them each part is, is told for every part: that size is exact."""
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    check("Unique", TIED, exact=False, **attributes)
    outputs = facts_of("Unique", TIED, results=4, **attributes).outputs
    assert isinstance(outputs, tuple)
    told = [size.exact for size in outputs if isinstance(size, Size)]
    assert told == [False, False, True, False]


@pytest.mark.parametrize("most", [0, 1, 2, 9])
def test_boxes_that_stay_are_at_most_those_asked_for(most: int) -> None:
    """For each class, and no more than there are boxes; none unless some are asked for."""
    check("NonMaxSuppression", BOXES, SCORES, ints(most), np.array([0.5], np.float32), exact=not most)
    facts = facts_of("NonMaxSuppression", BOXES, SCORES, ints(most))
    size = facts.outputs
    assert isinstance(size, Size)
    assert size.shape == (2 * min(most, 4), 3)
    assert facts.elementwise == 8


def test_boxes_that_nobody_asks_for_are_none() -> None:
    """The number per class is 0 by default."""
    check("NonMaxSuppression", BOXES, SCORES, opset=10)
    check(
        "NonMaxSuppression", BOXES, SCORES, ints(2), np.array([0.5], np.float32), fed=(0, 1, 2), exact=False
    )


REFUSED: list[tuple[str, str, tuple[Operand, ...], dict[str, Any]]] = [
    ("TOP_K", "TopK", (TIED, ints(5)), {"results": 2}),
    ("TOP_K", "TopK", (TIED, ints(-1)), {"results": 2}),
    ("RANK", "TopK", (TIED, ints(1, 2)), {"results": 2}),
    ("AXIS_OUT_OF_RANGE", "TopK", (np.float32(1), ints(1)), {"results": 2}),
    ("AXIS_OUT_OF_RANGE", "Compress", (TIED, np.array([True])), {"axis": 2}),
    ("AXIS_OUT_OF_RANGE", "Unique", (TIED,), {"axis": 2}),
    ("RANK", "NonMaxSuppression", (BOXES[0], SCORES, ints(1)), {}),
    ("BOXES_SHAPE", "NonMaxSuppression", (BOXES, SCORES[:, :, :2], ints(1)), {}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "op_type", "operands", "attributes"), REFUSED)
def test_what_no_runtime_could_run_is_refused(
    reason: str, op_type: str, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """With a reason; onnxruntime is held to its refusal."""
    check_refused(reason, op_type, *operands, **attributes)
