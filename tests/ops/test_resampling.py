"""Resize and Upsample against onnxruntime: sizes, and the rows that each position reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import FLOAT32, INT64, Size
from analyzer.ops.resampling import resize
from analyzer.ops.shared.grid import GRIDS, PHASES
from analyzer.spans import SAME, Affine, Read, Route
from tests.ops.lone import Lone, Refused, read

TRANSFORMS = sorted(GRIDS)
NEAREST = ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"]
SCALES = [0.25, 0.5, 0.75, 1.25, 1.5, 2.0, 2.5, 3.0]
"""Scales whose coordinates are exact in single precision, or far from where rounding turns."""


def floats(*numbers: float) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.float32)


def ints(*numbers: int) -> np.ndarray[Any, Any]:
    return np.array(numbers, np.int64)


def picture(*shape: int) -> np.ndarray[Any, Any]:
    return np.ones(shape, np.float32)


def scaled(rows: int, scale: float, roi: tuple[float, float] = (0.0, 1.0), **attributes: Any) -> Lone:
    """Resize of the first of two spatial axes."""
    x, edges = picture(1, 1, rows, 3), floats(0, 0, roi[0], 0, 1, 1, roi[1], 1)
    return Lone("Resize", [x, edges, floats(1, 1, scale, 1)], 19, **attributes)


def check_rows(lone: Lone, excludes: bool = False) -> None:
    """Each position reads the first and the last row that the rule says, where a row beyond the border is the border
    row, or with `exclude_outside` none.
    """
    lone.check()
    taps, rows = lone.taps(2), lone.named["x0"].shape[2]
    for position, seen in enumerate(lone.rows(2)):
        said = read(taps, position)
        kept = (
            [row for row in said if 0 <= row < rows]
            if excludes
            else [min(max(row, 0), rows - 1) for row in said]
        )
        assert (min(seen), max(seen)) == (min(kept), max(kept)), f"position {position}"


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("nearest_mode", NEAREST)
def test_nearest_reads_one_row(transform: str, nearest_mode: str) -> None:
    """Whatever lies nearest by the coordinate and the rounding, phase by phase."""
    for scale in SCALES:
        for rows in (4, 7):
            check_rows(
                scaled(rows, scale, nearest_mode=nearest_mode, coordinate_transformation_mode=transform)
            )


@pytest.mark.parametrize("transform", TRANSFORMS)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("antialias", [0, 1])
def test_interpolation_reads_the_rows_that_have_a_weight(transform: str, mode: str, antialias: int) -> None:
    """Two or four rows, one where the coordinate is a row; downwards with antialias a window as wide as the step."""
    for scale in SCALES:
        for rows in (4, 7):
            check_rows(
                scaled(rows, scale, mode=mode, coordinate_transformation_mode=transform, antialias=antialias)
            )


@pytest.mark.parametrize("transform", ["half_pixel", "align_corners", "pytorch_half_pixel"])
@pytest.mark.parametrize("out", [1, 2, 3, 5, 8, 10, 12, 20])
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_sizes_give_the_scale(transform: str, out: int, mode: str) -> None:
    """As many phases as the reduced fraction of rows and result has, exact for any pair of sizes."""
    x = picture(1, 1, 5, 3)
    check_rows(
        Lone(
            "Resize",
            [x, None, None, ints(1, 1, out, 4)],
            13,
            mode=mode,
            coordinate_transformation_mode=transform,
        )
    )


@pytest.mark.parametrize("scale", [0.5, 0.75, 2.0])
def test_rows_outside_may_be_left_out(scale: float) -> None:
    """exclude_outside changes weights at the border only."""
    check_rows(scaled(6, scale, mode="cubic", exclude_outside=1), excludes=True)


def test_a_cubic_without_outer_taps_is_as_wide_as_a_line() -> None:
    """A coefficient of 0 takes the weight off the outer two rows."""
    check_rows(scaled(6, 2.0, mode="cubic", cubic_coeff_a=0.0))


@pytest.mark.parametrize("roi", [(0.25, 0.75), (0.0, 0.5), (0.5, 1.0)])
@pytest.mark.parametrize("mode", ["nearest", "linear"])
def test_a_crop_moves_the_grid(roi: tuple[float, float], mode: str) -> None:
    """tf_crop_and_resize spans the region, first row to last, with the positions."""
    for scale in (0.5, 1.5, 3.0):
        check_rows(scaled(9, scale, roi, mode=mode, coordinate_transformation_mode="tf_crop_and_resize"))


def test_a_crop_that_runs_backwards_sees_all_rows() -> None:
    """A mirrored region has no stride."""
    flipped = scaled(9, 1.5, (1.0, 0.0), coordinate_transformation_mode="tf_crop_and_resize")
    assert flipped.route(2) == Read("global", 2)


@pytest.mark.parametrize(
    ("scale", "mode", "taps"),
    [
        # Twice as large, half-pixel centres: position 0 lies at -1/4, position 1 at 1/4, a row further every second.
        (2.0, "nearest", Affine(2, 1, (0, 0), (0, 0))),
        (2.0, "linear", Affine(2, 1, (-1, 0), (0, 1))),
        (2.0, "cubic", Affine(2, 1, (-2, -1), (1, 2))),
        # Half as large: position 0 lies at 1/2, between rows 0 and 1.
        (0.5, "linear", Affine(1, 2, (0,), (1,))),
        # Three halves: at -1/6, 1/2, 7/6, two rows for three positions.
        (1.5, "linear", Affine(3, 2, (-1, 0, 1), (0, 1, 2))),
        # A third: at row 1, 4, 7.
        (1 / 3, "linear", Affine(1, 3, (1,), (1,))),
    ],
)
def test_phases_of_a_scale(scale: float, mode: str, taps: Affine) -> None:
    """The map on an infinite canvas, derived by hand."""
    assert scaled(12, scale, mode=mode).taps(2) == taps


def test_an_axis_that_keeps_its_scale_is_passed_on() -> None:
    """Also under a transform that would move it."""
    lone = scaled(6, 2.0, mode="linear", coordinate_transformation_mode="align_corners")
    assert [lone.route(axis) for axis in (0, 1, 3)] == [Route(0), Route(1), Route(3)]
    assert lone.taps(3) is SAME


def test_a_result_of_the_same_shape_is_a_copy() -> None:
    """1.25 x 2 rows are 2 rows; onnxruntime then reads no grid."""
    lone = scaled(2, 1.25, mode="linear")
    assert lone.facts().elementwise == 0
    assert lone.run()[0].shape == (1, 1, 2, 3)


OLD = [
    ("Upsample", 7, {}, 1.5),
    ("Upsample", 9, {}, 1.5),
    ("Upsample", 9, {"mode": "linear"}, 2.0),
    ("Resize", 10, {}, 0.75),
    ("Resize", 10, {}, 2.5),
    ("Resize", 10, {"mode": "linear"}, 0.5),
]


@pytest.mark.parametrize(("op_type", "opset", "attributes", "scale"), OLD)
def test_before_opset_11_positions_divide_by_the_scale(
    op_type: str, opset: int, attributes: dict[str, Any], scale: float
) -> None:
    """Nearest rounds up for a smaller result and down for a larger."""
    x, scales = picture(1, 1, 8, 3), floats(1, 1, scale, 1)
    if opset == 7:
        check_rows(Lone(op_type, [x], opset, scales=scales.tolist(), **attributes))
    else:
        check_rows(Lone(op_type, [x, scales], opset, **attributes))


SIZES = [
    # opset, operands beside x, attributes; x is [2, 3, 4, 5]
    (11, [floats(), floats(1, 1, 1.3, 1.7)], {}),
    (11, [floats(), floats(), ints(2, 3, 7, 9)], {}),
    (13, [None, floats(1, 1, 0.6, 0.2)], {}),  # 5 x 0.2 is 1 in single precision
    (13, [None, floats(1, 1, 0.1, 3.9)], {}),  # and 4 x 0.1 is nothing
    (13, [None, None, ints(2, 3, 8, 1)], {"mode": "linear"}),
    (18, [None, floats(2, 3)], {"axes": [2, 3]}),
    (18, [None, floats(2, 3)], {"axes": [3, 2]}),
    (18, [None, floats(2, 3)], {"axes": [-1, -2]}),
    (18, [None, None, ints(7, 9)], {"axes": [3, 2]}),
    (18, [None, None, ints(7, 9)], {"axes": [2, 3], "keep_aspect_ratio_policy": "not_larger"}),
    (18, [None, None, ints(7, 9)], {"axes": [2, 3], "keep_aspect_ratio_policy": "not_smaller"}),
    (18, [None, None, ints(7, 9)], {"axes": [3, 2], "keep_aspect_ratio_policy": "not_larger"}),
    (18, [None, None, ints(2, 3, 7, 9)], {"keep_aspect_ratio_policy": "not_smaller"}),
    (19, [None, floats(1, 1, 0.5, 0.5)], {"mode": "linear", "antialias": 1}),
    (19, [None, floats(1, 1, 0.3, 2)], {"coordinate_transformation_mode": "half_pixel_symmetric"}),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "operands", "attributes"), SIZES)
def test_sizes_are_those_of_onnxruntime(opset: int, operands: list[Any], attributes: dict[str, Any]) -> None:
    """Scales are cut off in single precision; a policy rounds half up, by one scale for all axes."""
    Lone("Resize", [picture(2, 3, 4, 5), *operands], opset, **attributes).check()


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32, np.float16, np.float64])
def test_the_type_is_kept(dtype: Any) -> None:
    """Of whatever it resizes."""
    lone = Lone("Resize", [np.ones((1, 1, 2, 2), dtype), None, floats(1, 1, 2, 2)], 13)
    try:
        lone.check()
    except Refused:
        size = lone.scene().size("y0")
        assert size is not None
        assert size.dtype.name == np.dtype(dtype).name


@pytest.mark.parametrize(
    ("mode", "scale", "steps"),
    [
        ("nearest", 2.0, 0),
        ("linear", 2.0, 2 * 2 * 2),  # two taps an axis, a multiply and an add each
        ("cubic", 2.0, 2 * 4 * 4),
        ("linear", 0.5, 2 * 2 * 2),  # a half-pixel grid of step 2 lies between rows
    ],
)
def test_a_tap_is_a_multiply_and_an_add(mode: str, scale: float, steps: int) -> None:
    """Over both axes at once, per element of the result."""
    lone = Lone("Resize", [picture(1, 2, 8, 8), None, floats(1, 1, scale, scale)], 13, mode=mode)
    facts, (y,) = lone.facts(), lone.run()
    assert (facts.macs, facts.elementwise, facts.saved) == (0, steps * y.size, ())


def test_an_odd_scale_is_taken_as_a_fraction() -> None:
    """A number that is no fraction has as many phases as are allowed, and its grid is off by a hundredth of a row
    after ten thousand positions.
    """
    x = Size((1, 1, 100, 100), FLOAT32)
    scales = Size((4,), FLOAT32, floats(1, 1, 2**0.5, 3.14159))
    spans: Any = resize(x, None, scales, mode="linear").spans
    for axis, scale in ((2, 2**0.5), (3, 3.14159)):
        taps = spans[0][axis].taps
        assert taps.period <= PHASES
        assert 10_000 * abs(taps.advance / taps.period - 1 / scale) < 0.02


def test_a_size_that_nobody_knows_is_not_guessed() -> None:
    """Scales or sizes that the data decides leave the shape open."""
    x = Size((1, 1, 4, 4), FLOAT32)
    assert resize(x, None, Size((4,), FLOAT32)).outputs is None
    assert resize(x, None, None, Size((4,), INT64)).outputs is None


def test_a_region_that_nobody_knows_picks_rows() -> None:
    """The size is known, the rows are not."""
    facts = resize(
        Size((1, 1, 4, 4), FLOAT32),
        Size((8,), FLOAT32),
        Size((4,), FLOAT32, floats(1, 1, 2, 1)),
        coordinate_transformation_mode="tf_crop_and_resize",
    )
    assert facts.spans[0][2] == Read("data_dependent", 2)  # type: ignore[index]


@pytest.mark.parametrize(
    ("op_type", "opset", "operands", "attributes", "reason"),
    [
        ("Resize", 13, [None, floats(1, 1, 2, 2), ints(1, 1, 8, 8)], {}, "RESIZE"),
        ("Resize", 13, [], {}, "RESIZE"),
        ("Resize", 13, [None, floats(1, 1, 0, 2)], {}, "RESIZE"),
        ("Resize", 13, [None, None, ints(1, 1, 0, 8)], {}, "RESIZE"),
        ("Resize", 13, [None, floats(2, 2)], {}, "ATTRIBUTE_LENGTH"),
        ("Resize", 13, [None, None, ints(8, 8)], {}, "ATTRIBUTE_LENGTH"),
        ("Resize", 18, [None, floats(2, 2)], {"axes": [2, 4]}, "AXIS_OUT_OF_RANGE"),
        ("Resize", 18, [None, floats(1, 1, 2, 2)], {"keep_aspect_ratio_policy": "not_larger"}, "MODE"),
        ("Resize", 18, [None, None, ints(1, 1, 8, 8)], {"keep_aspect_ratio_policy": "always"}, "MODE"),
        ("Resize", 18, [None, floats(1, 1, 2, 2)], {"antialias": 1}, "MODE"),
        ("Resize", 13, [None, floats(1, 1, 2, 2)], {"mode": "area"}, "MODE"),
        ("Resize", 13, [None, floats(1, 1, 2, 2)], {"coordinate_transformation_mode": "half"}, "MODE"),
        ("Resize", 13, [None, floats(1, 1, 2, 2)], {"nearest_mode": "round"}, "MODE"),
        ("Upsample", 9, [floats(1, 1, 0.5, 2)], {}, "RESIZE"),
    ],
)
def test_a_resize_that_cannot_run_is_refused(
    op_type: str, opset: int, operands: list[Any], attributes: dict[str, Any], reason: str
) -> None:
    """By onnxruntime as well."""
    lone = Lone(op_type, [picture(1, 1, 4, 4), *operands], opset, **attributes)
    assert lone.reason() == reason
    with pytest.raises(Refused):
        lone.run()
