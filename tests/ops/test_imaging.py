"""Grids, crops and pictures against onnxruntime."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import FLOAT32, INT64, UINT8, Size
from analyzer.ops.imaging import affine_grid, center_crop_pad, image_decoder
from analyzer.spans import WHOLE, Read, Route
from tests.ops.kept import kept
from tests.ops.lone import Lone, inside

F32 = np.float32


def ones(*shape: int, dtype: Any = F32) -> np.ndarray[Any, Any]:
    return np.ones(shape, dtype)


def ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


@pytest.mark.parametrize(
    ("opset", "x", "grid", "mode", "taps"),
    [
        (16, (2, 3, 4, 5), (2, 6, 7, 2), "nearest", 0),
        (16, (2, 3, 4, 5), (2, 6, 7, 2), "bilinear", 2 * 2),
        (16, (2, 3, 4, 5), (2, 6, 7, 2), "bicubic", 4 * 4),
        (20, (2, 3, 4, 5), (2, 6, 7, 2), "linear", 2 * 2),
        (20, (1, 2, 3, 4, 5), (1, 6, 7, 8, 3), "linear", 2 * 2 * 2),
        (22, (1, 1, 4, 4), (1, 9, 1, 2), "cubic", 4 * 4),
    ],
)
def test_a_sampled_picture_has_the_shape_of_its_grid(
    opset: int, x: tuple[int, ...], grid: tuple[int, ...], mode: str, taps: int
) -> None:
    """A multiply and an add per tap of each element, and per number of the grid; picture and grid are kept."""
    lone = Lone("GridSample", [ones(*x), ones(*grid) / 2], opset, mode=mode)
    lone.check()
    facts, (y,) = lone.facts(), lone.run()
    assert facts.elementwise == 2 * taps * y.size + 2 * int(np.prod(grid))
    assert [size.shape for size in kept(facts)] == [x, grid]


def test_a_grid_picks_rows_and_keeps_places() -> None:
    """Which rows of the picture are read is data; a point of the grid decides one position of the result."""
    lone = Lone("GridSample", [ones(2, 3, 4, 5), ones(2, 6, 7, 2)], 20)
    places = [Read("data_dependent", axis, spare=True) for axis in (2, 3)]
    picture = [Route(0), Route(1), *places]
    assert [lone.route(axis) for axis in range(4)] == picture
    assert [lone.route(axis, 1) for axis in range(4)] == [Route(0), Route(2), Route(3), WHOLE]


@pytest.mark.parametrize(
    ("theta", "size"),
    [(ones(2, 2, 3), ints(2, 3, 4, 5)), (ones(1, 3, 4, dtype=np.float64), ints(1, 3, 4, 5, 6))],
)
def test_an_affine_grid_is_a_product(theta: np.ndarray[Any, Any], size: np.ndarray[Any, Any]) -> None:
    """Each point [axes + 1] times a matrix [axes, axes + 1]: 2 x 3 per point of a plane, 3 x 4 in space."""
    lone = Lone("AffineGrid", [theta, size], 20)
    lone.check()
    axes = theta.shape[1]
    points = size[0] * np.prod(size[2:])
    assert lone.facts().macs == points * axes * (axes + 1)


@pytest.mark.parametrize("out", [3, 4, 5, 6, 7, 8, 9, 10])
def test_a_crop_or_pad_is_centred(out: int) -> None:
    """An odd row goes to, or from, the end; a row beyond the picture is none."""
    lone = Lone("CenterCropPad", [ones(2, 7, 6), ints(out)], 18, axes=[1])
    lone.check()
    seen = lone.rows(1)
    assert list(inside(lone.taps(1), out, 7)) == seen
    assert [lone.route(axis) for axis in (0, 2)] == [Route(0), Route(2)]


@pytest.mark.parametrize(
    ("shape", "attributes"),
    [(ints(3, 4, 3, 8), {}), (ints(3, 8), {"axes": [-2, -1]}), (ints(8, 3), {"axes": [3, 1]})],
)
def test_only_the_axes_named_are_cut(shape: np.ndarray[Any, Any], attributes: dict[str, Any]) -> None:
    """All of them where none is named."""
    Lone("CenterCropPad", [ones(2, 3, 4, 5), shape], 18, **attributes).check()


def test_what_the_data_decides_is_open() -> None:
    """A size that is not known, a picture that nobody has decoded."""
    open_size = Size((4,), INT64)
    assert affine_grid(Size((1, 2, 3), FLOAT32), open_size).outputs is None
    assert center_crop_pad(Size((4, 4, 4, 4), FLOAT32), open_size).outputs is None
    facts = image_decoder(Size((1000,), UINT8))
    assert (facts.outputs, facts.elementwise) == (None, None)


@pytest.mark.parametrize(
    ("op_type", "operands", "attributes", "reason"),
    [
        ("GridSample", [ones(1, 1, 4, 4), ones(2, 3, 3, 2)], {}, "GRID"),
        ("GridSample", [ones(1, 1, 4, 4), ones(1, 3, 3, 3)], {}, "GRID"),
        ("GridSample", [ones(1, 1, 4, 4), ones(1, 3, 3, 2)], {"mode": "bilinear"}, "MODE"),
        ("AffineGrid", [ones(2, 2, 3), ints(1, 1, 4, 4)], {}, "GRID"),
        ("AffineGrid", [ones(2, 3, 4), ints(2, 1, 4, 4)], {}, "GRID"),
        ("CenterCropPad", [ones(4, 4), ints(2)], {}, "ATTRIBUTE_LENGTH"),
        ("CenterCropPad", [ones(4, 4), ints(2)], {"axes": [2]}, "AXIS_OUT_OF_RANGE"),
    ],
)
def test_what_does_not_fit_is_refused(
    op_type: str, operands: list[Any], attributes: dict[str, Any], reason: str
) -> None:
    """By onnxruntime as well."""
    lone = Lone(op_type, operands, 20, **attributes)
    assert lone.reason() == reason
    assert lone.fault()


def test_a_picture_has_one_of_three_formats() -> None:
    """Another pixel_format is no picture's."""
    assert Lone("ImageDecoder", [np.zeros(100, np.uint8)], 20, pixel_format="RGBA").reason() == "MODE"
