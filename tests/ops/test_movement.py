"""Reshapes, joins, cuts, pads: sizes and values are onnxruntime's, and what is read is what was really moved."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, ValueInfoProto, helper, numpy_helper

from analyzer.spans import NOTHING
from tests.ops.reading import check_reads
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
    scene_of,
)

NONE = np.zeros(0, np.int64)

MOVES: list[tuple[str, int, tuple[Operand, ...], dict[str, Any]]] = [
    ("Reshape", 7, (floats(2, 3, 4), ints(4, -1)), {}),
    ("Reshape", 13, (floats(2, 3, 4), ints(0, 0, 2, 2)), {}),
    ("Reshape", 14, (floats(2, 3, 4), ints(0, -1)), {}),
    ("Reshape", 14, (floats(0, 3), ints(3, 0)), {"allowzero": 1}),
    ("Reshape", 14, (floats(0, 3), ints(-1, 5)), {}),
    ("Reshape", 19, (floats(1, 1), NONE), {}),
    ("Flatten", 9, (floats(2, 3, 4),), {}),
    ("Flatten", 9, (floats(2, 3, 4),), {"axis": 0}),
    ("Flatten", 13, (floats(2, 3, 4),), {"axis": -1}),
    ("Flatten", 13, (floats(2, 3, 4),), {"axis": 3}),
    ("Squeeze", 11, (floats(1, 3, 1),), {}),
    ("Squeeze", 11, (floats(1, 3, 1),), {"axes": [-1]}),
    ("Squeeze", 13, (floats(1, 3, 1), ints(0)), {}),
    ("Squeeze", 13, (floats(1, 3, 1), NONE), {}),
    ("Squeeze", 13, (floats(1, 3, 1),), {}),
    ("Unsqueeze", 11, (floats(3, 4),), {"axes": [0, 3]}),
    ("Unsqueeze", 13, (floats(3, 4), ints(-1, 1)), {}),
    ("Identity", 7, (floats(2, 3),), {}),
    ("Transpose", 7, (floats(2, 3, 4),), {}),
    ("Transpose", 7, (floats(2, 3, 4),), {"perm": [1, 2, 0]}),
    ("Expand", 8, (floats(3, 1), ints(2, 1, 4)), {}),
    ("Expand", 13, (floats(1), ints(0)), {}),
    ("Expand", 13, (floats(3, 2), ints(1)), {}),
    ("Tile", 7, (floats(2, 3), ints(2, 1)), {}),
    ("Tile", 13, (floats(3), ints(0)), {}),
    ("Slice", 9, (floats(4, 5),), {"starts": [1, -2], "ends": [3, 100]}),
    ("Slice", 9, (floats(4, 5),), {"starts": [1], "ends": [-1], "axes": [1]}),
    ("Slice", 11, (floats(4, 5), ints(3), ints(-100), ints(0), ints(-2)), {}),
    ("Slice", 13, (floats(5), ints(-100), ints(-200), ints(0), ints(-1)), {}),
    ("Slice", 13, (floats(5), ints(3), ints(2**63 - 1), ints(0), ints(2)), {}),
    ("Slice", 13, (floats(5), ints(-1), ints(-(2**63)), ints(-1), ints(-1)), {}),
    ("Slice", 13, (floats(5), ints(3), ints(1)), {}),
    ("Slice", 13, (floats(0), ints(4), ints(-6), ints(0), ints(-2)), {}),
    ("Pad", 10, (floats(2, 3),), {"pads": [0, 1, 2, -1], "value": -1.0}),
    ("Pad", 11, (floats(2, 3), ints(1, 0, 0, 2), np.float32(-1)), {}),
    ("Pad", 13, (floats(2, 3), ints(0, -1, 0, -1)), {}),
    ("Pad", 18, (floats(2, 3), ints(1, 2), np.float32(-1), ints(-1)), {}),
    ("Concat", 13, (floats(2, 3), floats(2, 1), floats(2, 2)), {"axis": 1}),
    ("Concat", 13, (floats(2, 3), floats(0, 3)), {"axis": -2}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "opset", "operands", "attributes"), MOVES)
def test_a_move_has_the_size_and_values_of_the_runtime(
    op_type: str, opset: int, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """With its data fed, and with all of it stored."""
    check(op_type, *operands, opset=opset, **attributes)
    check(op_type, *operands, opset=opset, stored=True, **attributes)


@pytest.mark.parametrize(
    ("op_type", "opset", "operands", "attributes"), [row for row in MOVES if row[0] not in ("Concat", "Tile")]
)
def test_a_move_reads_what_it_moves(
    op_type: str, opset: int, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """Every element of the output comes from where the span says. Reversed rows are told as all."""
    model, feeds = model_of(op_type, *operands, opset=opset, **attributes)
    facts = facts_of(op_type, *operands, opset=opset, **attributes)
    x = np.asarray(operands[0])
    check_reads(facts, x.shape, run(model, feeds)[0])


@pytest.mark.parametrize("mode", ["reflect", "edge", "wrap"])
@pytest.mark.parametrize("pads", [(1, 2), (0, 1), (-1, 2)])
def test_padding_with_what_is_there_has_the_same_size(mode: str, pads: tuple[int, int]) -> None:
    """The wrapped rows are beyond the edge: on an infinite canvas they are padding too."""
    check("Pad", floats(5), ints(*pads), opset=19, mode=mode)


def test_a_joined_part_is_read_where_it_was_put() -> None:
    """Each part of a Concat at its own offset; outside of it nothing of it is read."""
    parts = [floats(2, 3), floats(2, 1), floats(2, 2)]
    facts = facts_of("Concat", *parts, axis=1)
    start = 0
    for operand, part in enumerate(parts):
        came_from = np.full((2, 6), -1.0)
        came_from[:, start : start + part.shape[1]] = part
        assert check_reads(facts, part.shape, came_from, operand) == 2
        start += part.shape[1]


SPLITS: list[tuple[int, tuple[Operand, ...], int, dict[str, Any]]] = [
    (11, (floats(6, 2),), 3, {}),
    (11, (floats(2, 6),), 2, {"axis": 1, "split": [1, 5]}),
    (13, (floats(6),), 3, {}),
    (13, (floats(6), ints(2, 0, 4)), 3, {"axis": -1}),
    (18, (floats(7),), 3, {"num_outputs": 3}),
    (18, (floats(2),), 3, {"num_outputs": 3}),
    (18, (floats(5), ints(2, 3)), 2, {}),
]


@pytest.mark.parametrize(("opset", "operands", "results", "attributes"), SPLITS)
def test_a_split_has_the_parts_of_the_runtime(
    opset: int, operands: tuple[Operand, ...], results: int, attributes: dict[str, Any]
) -> None:
    """Equal, as told, or since opset 18 as many as told, the last one smaller or empty."""
    check("Split", *operands, opset=opset, results=results, **attributes)
    check_known("Split", *operands, opset=opset, results=results, **attributes)


REFUSED: list[tuple[str, str, int, tuple[Operand, ...], dict[str, Any]]] = [
    ("RESHAPE", "Reshape", 13, (floats(2, 3), ints(4, -1)), {}),
    ("RESHAPE", "Reshape", 13, (floats(2, 3), ints(-1, -1)), {}),
    ("RESHAPE", "Reshape", 13, (floats(2, 3), ints(0, 0, 0)), {}),
    ("RESHAPE", "Reshape", 14, (floats(0, 3), ints(0, -1)), {}),
    ("AXIS_OUT_OF_RANGE", "Flatten", 13, (floats(2, 3),), {"axis": 3}),
    ("SQUEEZE", "Squeeze", 13, (floats(2, 1), ints(0)), {}),
    ("AXIS_OUT_OF_RANGE", "Squeeze", 13, (floats(2, 1), ints(2)), {}),
    ("UNSQUEEZE", "Unsqueeze", 13, (floats(2, 1), ints(1, 1)), {}),
    ("PERMUTATION", "Transpose", 13, (floats(2, 1),), {"perm": [0, 0]}),
    ("CONCAT", "Concat", 13, (floats(2, 1), floats(3, 2)), {"axis": 1}),
    ("CONCAT", "Concat", 13, (floats(2, 1), floats(2)), {"axis": 0}),
    ("SPLIT", "Split", 13, (floats(5),), {"results": 2}),
    ("SPLIT", "Split", 18, (floats(5),), {"results": 4, "num_outputs": 4}),
    ("SPLIT", "Split", 13, (floats(5), ints(2, 2)), {"results": 2}),
    ("SPLIT", "Split", 13, (floats(5), ints(2, 3)), {"results": 3}),
    ("SLICE", "Slice", 13, (floats(5, 5), ints(1, 1), ints(3, 3), ints(0, -2)), {}),
    ("SLICE", "Slice", 13, (floats(5), ints(1), ints(3), ints(0), ints(0)), {}),
    ("PADS", "Pad", 13, (floats(3), ints(1, -5)), {}),
    ("ATTRIBUTE_LENGTH", "Pad", 13, (floats(3), ints(1, 1, 1)), {}),
    ("MODE", "Pad", 13, (floats(3), ints(1, 1)), {"mode": "mirror"}),
    ("NEGATIVE_DIM", "Expand", 13, (floats(3, 1), ints(-1, 4)), {}),
    ("SHAPES_DO_NOT_BROADCAST", "Expand", 13, (floats(3, 1), ints(2, 4)), {}),
    ("REPEATS", "Tile", 13, (floats(3), ints(-1)), {}),
    ("ATTRIBUTE_LENGTH", "Tile", 13, (floats(3), ints(1, 1)), {}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "op_type", "opset", "operands", "attributes"), REFUSED)
def test_what_no_runtime_could_run_is_refused(
    reason: str, op_type: str, opset: int, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """With a reason; onnxruntime is held to its refusal."""
    check_refused(reason, op_type, *operands, opset=opset, **attributes)


def test_slices_cut_as_the_runtime_does_wherever_they_begin_and_end() -> None:
    """Two hundred random ones: starts and ends far out on both sides, steps of both signs."""
    random.seed(5)
    for _ in range(200):
        length = random.randint(0, 6)
        start, end = random.randint(-9, 9), random.randint(-9, 9)
        step = random.choice((-3, -2, -1, 1, 2, 3))
        operands = floats(length), ints(start), ints(end), ints(0), ints(step)
        check("Slice", *operands)
        model, feeds = model_of("Slice", *operands)
        check_reads(facts_of("Slice", *operands), (length,), run(model, feeds)[0])


@pytest.mark.parametrize("opset", [13, 15, 21])
def test_a_shape_is_known_and_nothing_is_read_for_it(opset: int) -> None:
    """A run of it since opset 15, cut as a slice is."""
    size = check("Shape", floats(2, 3, 4), opset=opset)[0]
    assert size.ints() == (2, 3, 4)
    assert facts_of("Shape", floats(2, 3), opset=opset).spans is NOTHING
    assert check("Size", floats(2, 3, 4), opset=opset)[0].ints() == (24,)
    if opset >= 15:
        for start, end in ((1, 3), (-2, None), (0, -1), (5, 9), (-9, 2), (2, 1)):
            ends = {} if end is None else {"end": end}
            check_known("Shape", floats(2, 3, 4), opset=opset, start=start, **ends)


def test_a_reshape_to_one_axis_needs_no_numbers() -> None:
    """Whatever the shape says, it can only be all elements."""
    check("Reshape", floats(2, 3), ints(-1), fed=(1,))


def test_a_cut_that_the_data_decides_is_at_most_all() -> None:
    """The size is an upper bound and says so."""
    check("Slice", floats(4, 5), ints(1), ints(3), ints(1), fed=(2,), exact=False)
    check("Slice", floats(4, 5), ints(1), ints(3), ints(1), fed=(3,), exact=False)
    check("Split", floats(4, 5), ints(2, 3), fed=(1,), axis=1, results=2, exact=False)


def test_a_cut_at_a_bound_is_at_most_that() -> None:
    """Up to a bound there are no more rows than it says; from a bound on there may be all."""
    nodes = [
        helper.make_node("Compress", ["x", "wanted"], ["some"]),
        helper.make_node("Shape", ["some"], ["n"]),
        helper.make_node("Slice", ["x", "zero", "n"], ["before"]),
        helper.make_node("Slice", ["x", "n", "many"], ["after"]),
    ]
    stored = [numpy_helper.from_array(ints(number), name) for name, number in (("zero", 0), ("many", 99))]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (8,))
    wanted = helper.make_tensor_value_info("wanted", TensorProto.BOOL, (5,))
    outputs = [ValueInfoProto(name=name) for name in ("before", "after")]
    scene = scene_of(helper.make_model(helper.make_graph(nodes, "g", [x, wanted], outputs, stored)))
    for name, most in (("some", 5), ("before", 5), ("after", 8)):
        size = scene.size(name)
        assert size is not None
        assert (size.shape, size.exact) == ((most,), False)


def test_nothing_is_computed() -> None:
    """No move costs an operation, or is kept by autograd."""
    for op_type, opset, operands, attributes in MOVES:
        facts = facts_of(op_type, *operands, opset=opset, **attributes)
        assert (facts.macs, facts.elementwise, facts.saved) == (0, 0, ())


def test_a_reshape_is_a_view() -> None:
    """So are the ops that only cut axes differently, and the same tensor by another name."""
    for op_type, opset, operands, attributes in MOVES:
        viewed = facts_of(op_type, *operands, opset=opset, **attributes).view is not None
        assert viewed == (op_type in ("Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity"))
