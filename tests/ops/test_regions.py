"""Regions, unpooling, folding and deformable convolution against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import FLOAT32, INT64, Size
from analyzer.ops.regions import col2im, max_unpool
from analyzer.spans import DATA, WHOLE, Affine, Read, Route
from tests.ops.kept import kept
from tests.ops.lone import Lone, inside

F32 = np.float32
PLACES = Read("data_dependent", spare=True)


def ones(*shape: int, dtype: Any = F32) -> np.ndarray[Any, Any]:
    return np.ones(shape, dtype)


def ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


BOXES = [ones(6, 4), np.zeros(6, np.int64)]
REGIONS = [
    ("RoiAlign", 10, [ones(1, 3, 8, 9), *BOXES], {}),
    ("RoiAlign", 10, [ones(1, 3, 8, 9), *BOXES], {"output_height": 2, "output_width": 3, "mode": "max"}),
    (
        "RoiAlign",
        16,
        [ones(2, 3, 8, 9), *BOXES],
        {"output_height": 7, "output_width": 7, "sampling_ratio": 2},
    ),
    ("RoiAlign", 16, [ones(2, 3, 8, 9), *BOXES], {"coordinate_transformation_mode": "output_half_pixel"}),
    ("MaxRoiPool", 8, [ones(2, 3, 8, 9), np.zeros((6, 5), F32)], {"pooled_shape": [2, 3]}),
]


@pytest.mark.parametrize(("op_type", "opset", "operands", "attributes"), REGIONS)
def test_a_region_becomes_a_picture_of_fixed_size(
    op_type: str, opset: int, operands: list[Any], attributes: dict[str, Any]
) -> None:
    """One for each box; which rows it reads is data, channels stay apart."""
    lone = Lone(op_type, operands, opset, **attributes)
    lone.check()
    assert [lone.route(axis) for axis in range(4)] == [DATA, Route(1), PLACES, PLACES]
    assert [lone.route(axis, 1) for axis in range(2)] == [Route(0), WHOLE]


def test_samples_of_a_region_are_counted_where_their_number_is_said() -> None:
    """7 x 7 cells of 2 x 2 samples: 4 neighbours, a multiply and an add each, and one step to gather. Otherwise the
    boxes decide.
    """
    operands = [ones(1, 3, 8, 9), *BOXES]
    counted = Lone("RoiAlign", operands, 16, output_height=7, output_width=7, sampling_ratio=2).facts()
    assert counted.elementwise == (6 * 3 * 7 * 7) * (2 * 2) * (4 * 2 + 1)
    assert Lone("RoiAlign", operands, 16).facts().elementwise is None


INDICES = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)


@pytest.mark.parametrize(
    ("output_shape", "attributes"),
    [
        (None, {"kernel_shape": [2, 2], "strides": [2, 2]}),
        (None, {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 1, 1]}),
        (None, {"kernel_shape": [3, 3]}),
        (ints(2, 3, 9, 11), {"kernel_shape": [2, 2], "strides": [2, 2]}),
    ],
)
def test_maxima_are_put_back(output_shape: Any, attributes: dict[str, Any]) -> None:
    """Into the least picture that pools to them, or one that is asked for."""
    operands = [ones(2, 3, 4, 5), INDICES, output_shape]
    lone = Lone("MaxUnpool", operands, 11, **attributes)
    lone.check()
    assert lone.route(2) == Read("data_dependent", 2, spare=True)
    assert [size.dtype for size in kept(lone.facts())] == [INT64]


def test_maxima_of_a_line() -> None:
    """Any number of spatial axes."""
    Lone("MaxUnpool", [ones(3, 4, 5), INDICES[0]], 11, kernel_shape=[2], strides=[2]).check()


FOLDS = [
    # channels, image, block, attributes
    (3, (5, 6), (2, 2), {}),
    (1, (5, 6), (2, 3), {"strides": [2, 1]}),
    (2, (5, 6), (2, 2), {"dilations": [1, 2], "strides": [1, 2], "pads": [1, 0, 0, 1]}),
    (2, (7,), (3,), {"strides": [2]}),
    (2, (9,), (2,), {"dilations": [3]}),
    (1, (4, 5, 6), (2, 2, 2), {}),
]


def fold(channels: int, image: tuple[int, ...], block: tuple[int, ...], attributes: dict[str, Any]) -> Lone:
    rank = len(image)
    strides, dilations = attributes.get("strides", [1] * rank), attributes.get("dilations", [1] * rank)
    pads = attributes.get("pads", [0] * 2 * rank)
    blocks = [
        (image[i] + pads[i] + pads[rank + i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1
        for i in range(rank)
    ]
    columns = ones(2, channels * int(np.prod(block)), int(np.prod(blocks)))
    return Lone("Col2Im", [columns, ints(*image), ints(*block)], 18, **attributes)


@pytest.mark.parametrize(("channels", "image", "block", "attributes"), FOLDS)
def test_columns_fold_into_a_picture(
    channels: int, image: tuple[int, ...], block: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    """Each number of a column is added once."""
    lone = fold(channels, image, block, attributes)
    lone.check()
    assert lone.facts().elementwise == lone.named["x0"].size


@pytest.mark.parametrize(("channels", "image", "block", "attributes"), FOLDS)
def test_a_row_reads_the_blocks_that_touch_it(
    channels: int, image: tuple[int, ...], block: tuple[int, ...], attributes: dict[str, Any]
) -> None:
    """Blocks lie in order, so a row of the first axis sees a run of them; a channel sees its own columns. onnxruntime
    folds a dilated line wrongly.
    """
    lone = fold(channels, image, block, attributes)
    for axis in (0, 1):
        seen = lone.rows(axis, lone.evaluate)
        assert list(inside(lone.taps(axis), len(seen), lone.named["x0"].shape[axis])) == seen
    seen = lone.rows(2, lone.evaluate)
    for said, read in zip(inside(lone.taps(2), len(seen), lone.named["x0"].shape[2]), seen, strict=True):
        assert not read or (min(said), max(said)) == (min(read), max(read))
        assert said == read or len(image) > 1


DEFORMABLE = [
    # x, w, offset, mask, attributes
    ((2, 3, 4, 5), (4, 3, 3, 3), (2, 18, 2, 3), None, {}),
    ((2, 3, 4, 5), (4, 3, 3, 3), (2, 18, 4, 5), (2, 9, 4, 5), {"pads": [1, 1, 1, 1]}),
    ((1, 4, 6, 7), (4, 2, 3, 3), (1, 36, 2, 3), None, {"group": 2, "offset_group": 2, "strides": [2, 2]}),
    ((1, 4, 6, 7), (8, 1, 2, 2), (1, 8, 4, 5), (1, 4, 4, 5), {"group": 4, "dilations": [2, 2]}),
]


@pytest.mark.parametrize(("x", "w", "offset", "mask", "attributes"), DEFORMABLE)
def test_a_deformable_convolution_counts_as_a_convolution(
    x: tuple[int, ...], w: tuple[int, ...], offset: tuple[int, ...], mask: Any, attributes: dict[str, Any]
) -> None:
    """And per input channel, tap and position 4 neighbours, a multiply and an add each; one multiply for a mask."""
    operands = [ones(*x), ones(*w), np.zeros(offset, F32), None, None if mask is None else ones(*mask)]
    lone = Lone("DeformConv", operands, 19, **attributes)
    lone.check()
    facts, (y,) = lone.facts(), lone.run()
    taps, positions = w[2] * w[3], y.shape[2] * y.shape[3]
    assert facts.macs == y.size * w[1] * taps
    assert facts.elementwise == x[0] * x[1] * taps * positions * (8 + (mask is not None))
    assert facts.lowering == (positions, w[1] * taps)
    assert len(facts.saved) == (3 if mask is None else 4)
    assert (lone.route(1) == WHOLE) == ("group" not in attributes)
    assert [lone.route(axis) for axis in (2, 3)] == [
        Read("data_dependent", axis, spare=True) for axis in (2, 3)
    ]


def test_a_group_reads_its_own_channels() -> None:
    """Two groups of two channels, two outputs each: outputs 0 and 1 read channels 0 and 1."""
    operands = [ones(1, 4, 6, 7), ones(4, 2, 3, 3), np.zeros((1, 18, 4, 5), F32)]
    lone = Lone("DeformConv", operands, 19, group=2)
    assert lone.taps(1) == Affine(2, 2, (0, 0), (1, 1))
    assert list(inside(lone.taps(1), 4, 4)) == lone.rows(1)


def test_what_the_data_decides_is_open() -> None:
    """A picture's size that is not known."""
    open_shape = Size((4,), INT64)
    maxima, indices = Size((1, 1, 2, 2), FLOAT32), Size((1, 1, 2, 2), INT64)
    assert max_unpool(maxima, indices, open_shape, kernel_shape=(2, 2)).outputs is None
    assert col2im(Size((1, 4, 4), FLOAT32), open_shape, open_shape).outputs is None


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes", "reason"),
    [
        ("RoiAlign", [ones(1, 3, 8, 9), ones(6, 5), BOXES[1]], {}, "REGIONS"),
        ("RoiAlign", [ones(1, 3, 8, 9), ones(6, 4), BOXES[1][:5]], {}, "REGIONS"),
        ("RoiAlign", [ones(1, 3, 8, 9), *BOXES], {"mode": "sum"}, "MODE"),
        ("RoiAlign", [ones(3, 8, 9), *BOXES], {}, "RANK"),
        ("MaxRoiPool", [ones(1, 3, 8, 9), ones(6, 4)], {"pooled_shape": [2, 2]}, "REGIONS"),
        ("MaxRoiPool", [ones(1, 3, 8, 9), ones(6, 5)], {"pooled_shape": [2]}, "REGIONS"),
        ("MaxUnpool", [ones(2, 3, 4, 5), INDICES, ints(2, 3, 4, 5)], {"kernel_shape": [2, 2]}, "UNPOOL"),
        ("MaxUnpool", [ones(2, 3, 4, 5), INDICES[:1]], {"kernel_shape": [2, 2]}, "ATTRIBUTE_LENGTH"),
        ("Col2Im", [ones(1, 12, 13), ints(5, 6), ints(2, 2)], {}, "COLUMNS"),
        ("Col2Im", [ones(1, 13, 20), ints(5, 6), ints(2, 2)], {}, "COLUMNS"),
        ("DeformConv", [ones(1, 3, 4, 5), ones(4, 3, 3, 3), ones(1, 18, 3, 3)], {}, "OFFSETS"),
        ("DeformConv", [ones(1, 3, 4, 5), ones(4, 2, 3, 3), ones(1, 18, 2, 3)], {}, "GROUP"),
        ("DeformConv", [ones(1, 3, 4, 5), ones(4, 3, 5, 3), ones(1, 30, 1, 3)], {}, "KERNEL_TOO_LARGE"),
        ("DeformConv", [ones(1, 3, 4, 5), ones(4, 3, 3, 3), ones(1, 18, 2, 3)], {"offset_group": 2}, "GROUP"),
    ],
)
def test_what_does_not_fit_is_refused(
    op_type: str, operands: list[Any], attributes: dict[str, Any], reason: str
) -> None:
    """By onnxruntime as well."""
    lone = Lone(op_type, operands, 19, **attributes)
    assert lone.reason() == reason
    assert lone.fault()
