"""Gathers, scatters, triangles: sizes and values are onnxruntime's, and what is read is what was really picked."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from analyzer.spans import DATA, WHOLE, Read, Route
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


def grid(*ranges: range) -> Any:
    """Indices of a box, as an exporter writes those of a slice: [..., rank]."""
    return np.stack(np.meshgrid(*ranges, indexing="ij"), axis=-1).astype(np.int64)


PICKS: list[tuple[str, int, tuple[Operand, ...], dict[str, Any]]] = [
    ("Gather", 7, (floats(4, 3), ints(2, 0, 3)), {}),
    ("Gather", 11, (floats(4, 3), ints(1, 2)), {"axis": 1}),
    ("Gather", 13, (floats(4, 3), np.int64(-1)), {}),
    ("Gather", 13, (floats(4, 3), np.array([[0, 1], [3, -1]])), {"axis": -2}),
    ("Gather", 13, (floats(4, 3), np.zeros(0, np.int64)), {}),
    ("Gather", 13, (floats(6), ints(-5, -3, -1)), {}),
    ("GatherElements", 11, (floats(3, 3), np.array([[0, -1], [2, 0]])), {}),
    ("GatherElements", 13, (floats(3, 3), np.array([[0, 1, 1, 2]])), {"axis": 1}),
    ("GatherElements", 13, (floats(3, 3), np.zeros((0, 2), np.int64)), {}),
    ("GatherND", 11, (floats(2, 3, 4), np.array([[1], [0]])), {}),
    ("GatherND", 13, (floats(2, 3, 4), np.array([[1, -1, 2], [0, 2, 3]])), {}),
    ("GatherND", 13, (floats(2, 3, 4), np.array([[1], [2]])), {"batch_dims": 1}),
    ("GatherND", 13, (floats(2, 3, 4), np.array([[[1], [2]], [[0], [0]]])), {"batch_dims": 1}),
    ("GatherND", 13, (floats(2, 2), np.zeros((2, 0), np.int64)), {}),
    ("GatherND", 13, (floats(2, 2), ints(1, 0)), {}),
    ("GatherND", 13, (floats(4, 5, 2), grid(range(1, 3), range(0, 5, 2))), {}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "opset", "operands", "attributes"), PICKS)
def test_a_pick_has_the_size_and_values_of_the_runtime(
    op_type: str, opset: int, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """With indices fed, with indices stored, and with all stored."""
    check(op_type, *operands, opset=opset, fed=(0, 1), **attributes)
    check(op_type, *operands, opset=opset, **attributes)
    check(op_type, *operands, opset=opset, stored=True, **attributes)


@pytest.mark.parametrize(("op_type", "opset", "operands", "attributes"), PICKS)
def test_a_pick_reads_what_it_takes(
    op_type: str, opset: int, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """Every element comes from where the span says, with stored indices and with fed ones."""
    for fed in ((0,), (0, 1)):
        model, feeds = model_of(op_type, *operands, opset=opset, fed=fed, stored=True, **attributes)
        facts = facts_of(op_type, *operands, opset=opset, fed=fed, stored=True, **attributes)
        check_reads(facts, np.asarray(operands[0]).shape, run(model, feeds)[0])


def test_constant_rows_in_an_even_run_are_read_as_a_slice() -> None:
    """Others are read as all of the axis, and fed ones as the data wants."""
    for rows, kind in ((ints(2, 3), Route), (ints(0, 2, 4), Route), (ints(3, 1), Read), (ints(1, 1), Read)):
        assert isinstance(span_of(facts_of("Gather", floats(5, 2), rows), 0)[0], kind)
    assert span_of(facts_of("Gather", floats(5, 2), ints(1, 2), fed=(0, 1)), 0)[0] == DATA


@pytest.mark.parametrize("seed", range(40))
def test_a_box_of_indices_is_read_as_the_slice_that_it_is(seed: int) -> None:
    """Random boxes, some steps more than one: exact on all axes, by GatherND and, written, by ScatterND."""
    rng = random.Random(seed)
    shape = tuple(rng.randint(1, 6) for _ in range(rng.randint(1, 3)))
    named = rng.randint(1, len(shape))
    ranges = []
    for dim in shape[:named]:
        start = rng.randrange(dim)
        ranges.append(range(start, rng.randint(start + 1, dim), rng.randint(1, 3)))
    x, indices = floats(*shape), grid(*ranges)
    model, feeds = model_of("GatherND", x, indices, stored=True, fed=(0,))
    (taken,) = run(model, feeds)
    assert check_reads(facts_of("GatherND", x, indices, stored=True, fed=(0,)), shape, taken) == len(shape)
    updates = floats(*taken.shape)
    where: dict[str, Any] = {"stored": True, "fed": (0, 2)}
    model, feeds = model_of("ScatterND", np.full(shape, -1, np.float32), indices, updates, **where)
    facts = facts_of("ScatterND", x, indices, updates, **where)
    assert check_reads(facts, updates.shape, run(model, feeds)[0], 2) == len(shape)


def test_indices_that_are_no_box_are_read_as_all() -> None:
    """A diagonal is none, nor is a box laid out crosswise."""
    diagonal = np.array([[0, 0], [1, 1], [2, 2]])
    assert span_of(facts_of("GatherND", floats(3, 3), diagonal, stored=True, fed=(0,)), 0) == (WHOLE, WHOLE)
    crosswise = grid(range(3), range(2)).transpose(1, 0, 2)
    assert span_of(facts_of("GatherND", floats(3, 3), crosswise, stored=True, fed=(0,)), 0) == (WHOLE, WHOLE)


SCATTERS: list[tuple[str, int, tuple[Operand, ...], dict[str, Any]]] = [
    ("Scatter", 9, (floats(3, 3), np.array([[0, -1]]), floats(1, 2)), {}),
    ("ScatterElements", 11, (floats(3, 3), np.array([[0, 1], [2, 2]]), floats(2, 2)), {}),
    ("ScatterElements", 13, (floats(3, 3), np.array([[0, 1]]), floats(1, 2)), {"axis": 1}),
    ("ScatterND", 11, (floats(4), np.array([[1], [-1]]), floats(2)), {}),
    ("ScatterND", 13, (floats(4, 2), np.array([[3], [0]]), floats(2, 2)), {}),
    ("ScatterND", 13, (floats(4, 2), np.array([[3, 1]]), floats(1)), {}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "opset", "operands", "attributes"), SCATTERS)
def test_a_scatter_has_the_size_and_values_of_the_runtime(
    op_type: str, opset: int, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """With all fed and with all stored."""
    check(op_type, *operands, opset=opset, fed=(0, 1, 2), **attributes)
    check_known(op_type, *operands, opset=opset, **attributes)


@pytest.mark.parametrize("reduction", ["add", "mul", "max", "min"])
def test_a_scatter_may_reduce(reduction: str) -> None:
    """Two updates of one place included; then each update is a step."""
    data, updates = ints(1, 2, 3, 4) * 3, ints(5, 7, 2)
    check_known("ScatterElements", data, ints(1, 1, 3), updates, reduction=reduction)
    check_known("ScatterND", data, np.array([[1], [1], [3]]), updates, reduction=reduction)
    facts = facts_of("ScatterND", floats(4), np.array([[1], [1], [3]]), floats(3), reduction=reduction)
    assert facts.elementwise == 3


def test_a_scatter_costs_nothing_and_keeps_its_indices() -> None:
    """Autograd needs to know where the gradient goes, and nothing else. Rows of places are how an exporter writes an
    assignment to a slice, which knows.
    """
    facts = facts_of("ScatterElements", floats(4), np.array([1, 3]), floats(2))
    assert facts.elementwise == 0
    assert [size.bytes for size in facts.saved] == [2 * 8]
    assert facts_of("ScatterND", floats(4), np.array([[1], [3]]), floats(2)).saved == ()


def test_an_update_is_read_where_it_was_written() -> None:
    """A cache is read in place, its update from the one index on at which it is written."""
    facts = facts_of("TensorScatter", floats(2, 5, 3), floats(2, 2, 3), ints(1, 1), opset=24)
    came_from = np.full((2, 5, 3), -1.0)
    came_from[:, 1:3] = floats(2, 2, 3)
    assert check_reads(facts, (2, 2, 3), came_from, 1) == 3


@pytest.mark.parametrize("starts", [None, ints(1, 0)])
def test_a_cache_keeps_its_size(starts: Operand) -> None:
    """Whatever is written into it."""
    check("TensorScatter", floats(2, 5, 3), floats(2, 2, 3), starts, opset=24)
    check("TensorScatter", floats(2, 5, 3), floats(2, 5, 1), starts, opset=24, axis=2)


@pytest.mark.parametrize("axis", [-1, 0, 1])
@pytest.mark.parametrize("opset", [9, 11])
def test_one_hot_has_a_new_axis(axis: int, opset: int) -> None:
    """Indices below zero count from the end since opset 11, those out of reach light nothing."""
    indices = np.array([[0, 2], [-1 if opset >= 11 else 1, 7]])
    values = np.array([0.5, 2], np.float32)
    check("OneHot", indices, np.int64(3), values, opset=opset, axis=axis)
    check("OneHot", indices, ints(3), values, opset=opset, axis=axis)
    check_known("OneHot", indices, np.float32(3), values, opset=opset, axis=axis)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [None, np.int64(-1), np.int64(2)])
def test_a_triangle_is_cut_from_a_matrix(upper: int, k: Operand) -> None:
    """From any diagonal on."""
    check("Trilu", floats(2, 3, 4), k, upper=upper)
    check_known("Trilu", np.arange(12).reshape(3, 4), k, upper=upper)
    check("Trilu", floats(3, 4), np.int64(1), upper=upper, fed=(0, 1))


@pytest.mark.parametrize(("batch_axis", "time_axis"), [(0, 1), (1, 0)])
def test_runs_are_reversed(batch_axis: int, time_axis: int) -> None:
    """Each sample its own length."""
    operands = floats(3, 3, 2), ints(1, 3, 2)
    axes: dict[str, Any] = {"batch_axis": batch_axis, "time_axis": time_axis}
    check("ReverseSequence", *operands, **axes)
    model, feeds = model_of("ReverseSequence", *operands, **axes)
    assert check_reads(facts_of("ReverseSequence", *operands, **axes), (3, 3, 2), run(model, feeds)[0]) == 2


REFUSED: list[tuple[str, str, tuple[Operand, ...], dict[str, Any]]] = [
    ("INDEX_OUT_OF_RANGE", "Gather", (floats(3), ints(3)), {}),
    ("INDEX_OUT_OF_RANGE", "Gather", (floats(3), ints(-4)), {}),
    ("INDEX_OUT_OF_RANGE", "GatherElements", (floats(3), ints(3)), {}),
    ("INDEX_OUT_OF_RANGE", "ScatterElements", (floats(3), ints(3), floats(1)), {}),
    ("INDICES_SHAPE", "GatherElements", (floats(2, 2), np.zeros((3, 2), np.int64)), {"axis": 1}),
    ("INDICES_SHAPE", "GatherND", (floats(2), np.zeros((1, 2), np.int64)), {}),
    ("INDICES_SHAPE", "GatherND", (floats(2, 2), np.zeros((3, 1), np.int64)), {"batch_dims": 1}),
    ("UPDATES_SHAPE", "ScatterND", (floats(4), np.array([[1], [3]]), floats(3)), {}),
    ("UPDATES_SHAPE", "ScatterElements", (floats(4), ints(1, 3), floats(3)), {}),
    ("RANK", "Trilu", (floats(3),), {}),
    ("RANK", "OneHot", (np.float32(1), np.int64(3), floats(2)), {}),
    ("DEPTH", "OneHot", (floats(3), np.int64(0), floats(2)), {}),
    ("AXIS_OUT_OF_RANGE", "ReverseSequence", (floats(2, 2), ints(1, 1)), {"batch_axis": 1, "time_axis": 1}),
    ("LENGTHS_SHAPE", "ReverseSequence", (floats(2, 2), ints(1, 1, 1)), {}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "op_type", "operands", "attributes"), REFUSED)
def test_what_no_runtime_could_run_is_refused(
    reason: str, op_type: str, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """With a reason; onnxruntime is held to its refusal."""
    check_refused(reason, op_type, *operands, **attributes)
