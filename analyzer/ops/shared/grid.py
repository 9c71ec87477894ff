"""A regular grid over an axis: the rows that its positions read. Not a family: no op is named here.

A position reads around the coordinate start + step*position of its operand's axis, both fractions; how far around is
the interpolation's radius. So an axis of step a/b has b phases, which advance a rows together.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np

from analyzer.ops.rule import refuse
from analyzer.spans import SAME, Affine, Places

PHASES = 1024
"""Most phases of an axis. A step that has more is taken as the nearest fraction that has not, as a rule within a
millionth of a row."""

ROUNDING: Mapping[str, Callable[[int, int], int]] = {
    "floor": lambda n, d: n // d,
    "ceil": lambda n, d: -(-n // d),
    "round_prefer_floor": lambda n, d: -((d - 2 * n) // (2 * d)),
    "round_prefer_ceil": lambda n, d: (2 * n + d) // (2 * d),
    "simple": lambda n, d: -(-n // d),
}
"""nearest_mode: the row for the coordinate n/d. "simple", the only one before opset 11, is up for a smaller result."""

RADIUS = {"nearest": 0, "linear": 1, "cubic": 2}
"""mode: rows nearer than this have a weight; a cubic's is 0 at distance 1 as well."""


class Sampling(msgspec.Struct, frozen=True):
    """How rows are weighed: the attributes that all axes share; `outside`: rows outside have no weight, where otherwise
    those at the border stand in. Raises BadModel where a mode does not exist.
    """

    mode: str
    transform: str = "asymmetric"
    nearest_mode: str = "simple"
    cubic_coeff_a: float = -0.75
    antialias: bool = False
    outside: bool = False

    def __post_init__(self) -> None:
        for name, value, choices in (
            ("mode", self.mode, RADIUS.keys()),
            ("coordinate_transformation_mode", self.transform, GRIDS.keys()),
            ("nearest_mode", self.nearest_mode, ROUNDING.keys()),
        ):
            if value not in choices:
                raise refuse("MODE", f"{name} {value!r} is not {', '.join(sorted(choices))}", attribute=name)
        if self.antialias and self.mode == "nearest":
            raise refuse("MODE", "antialias needs linear or cubic interpolation", attribute="antialias")

    @property
    def radius(self) -> int:
        """With a coefficient of 0 a cubic has no outer taps."""
        return 1 if self.mode == "cubic" and not self.cubic_coeff_a else RADIUS[self.mode]


class Extent(msgspec.Struct, frozen=True):
    """One axis to be resized: rows before and after, the scale, and what is cropped, as fractions of it."""

    rows: int
    out: int
    scale: Fraction
    crop: tuple[Fraction, Fraction] = (Fraction(0), Fraction(1))


Grid = tuple[Fraction, Fraction]
"""Coordinate of position 0, and rows per position."""


def _half_pixel(extent: Extent, step: Fraction) -> Grid:
    return (step - 1) / 2, step


def _pytorch_half_pixel(extent: Extent, step: Fraction) -> Grid:
    return ((step - 1) / 2 if extent.out > 1 else Fraction(0)), step


def _half_pixel_symmetric(extent: Extent, step: Fraction) -> Grid:
    """The part of a position that rounding cut off is missing on both sides alike."""
    return (extent.rows - extent.out * step) / 2 + (step - 1) / 2, step


def _align_corners(extent: Extent, step: Fraction) -> Grid:
    return Fraction(0), Fraction(extent.rows - 1, extent.out - 1) if extent.out > 1 else step


def _tf_crop_and_resize(extent: Extent, step: Fraction) -> Grid:
    begin, end = (edge * (extent.rows - 1) for edge in extent.crop)
    return (begin, (end - begin) / (extent.out - 1)) if extent.out > 1 else ((begin + end) / 2, step)


GRIDS: Mapping[str, Callable[[Extent, Fraction], Grid]] = {
    "half_pixel": _half_pixel,
    "pytorch_half_pixel": _pytorch_half_pixel,
    "half_pixel_symmetric": _half_pixel_symmetric,
    "asymmetric": lambda extent, step: (Fraction(0), step),
    "tf_half_pixel_for_nn": lambda extent, step: (step / 2, step),
    "align_corners": _align_corners,
    "tf_crop_and_resize": _tf_crop_and_resize,
}
"""coordinate_transformation_mode: where the positions of an axis lie in its operand, from 1/scale."""


def taps(extent: Extent, sampling: Sampling) -> Affine | None:
    """The rows that each position of an axis reads, borders aside; None where the axis runs backwards."""
    if extent.scale == 1:
        return SAME
    down = (1 / extent.scale).limit_denominator(PHASES)
    start, step = GRIDS[sampling.transform](extent, down)
    step = step.limit_denominator(PHASES)
    if step < 0:
        return None
    stretch = max(down, Fraction(1)) if sampling.antialias else Fraction(1)
    radius = sampling.radius * stretch
    unit = math.lcm(start.denominator, step.denominator, radius.denominator)
    first, advance, reach = (int(x * unit) for x in (start, step, radius))
    rounding = ROUNDING["floor" if sampling.nearest_mode == "simple" and down <= 1 else sampling.nearest_mode]
    lows: list[int] = []
    highs: list[int] = []
    for at in range(first, first + advance * step.denominator, advance) if advance else (first,):
        if not reach:
            low = high = rounding(at, unit)
        elif stretch == 1 and at % unit == 0:
            low = high = at // unit
        else:
            low, high = (at - reach) // unit + 1, -(-(at + reach) // unit) - 1
        lows.append(low)
        highs.append(high)
    return Affine(step.denominator, step.numerator, tuple(lows), tuple(highs))


# ------------------------------------------------------------------------------------- at the size at hand

Floats32 = np.ndarray[Any, np.dtype[np.float32]]
_NO_WEIGHT = 1e-6
"""A weight below this is a zero that single precision did not get exactly."""


def _coordinates(extent: Extent, transform: str) -> Floats32:
    """Where the positions of an axis lie, in single precision and in onnxruntime's order of steps: on that hangs which
    side of a row a coordinate falls on.
    """
    number = np.float32
    i, scale = np.arange(extent.out, dtype=number), number(float(extent.scale))
    rows, out, half = number(extent.rows), number(extent.out), number(0.5)
    if transform == "asymmetric":
        return i / scale
    if transform == "tf_half_pixel_for_nn":
        return (i + half) / scale
    if transform == "align_corners":
        return i * (rows - 1) / (out - 1) if extent.out > 1 else i * 0
    if transform == "tf_crop_and_resize":
        begin, end = (number(float(edge)) for edge in extent.crop)
        if extent.out > 1:
            return begin * (rows - 1) + (i * (end - begin) * (rows - 1)) / (out - 1)
        return i * 0 + half * (begin + end) * (rows - 1)
    if transform == "half_pixel_symmetric":
        offset = rows / 2 * (1 - out / (scale * rows))  # what follows is done in double precision
        return (float(offset) + (i.astype(float) + 0.5) / float(scale) - 0.5).astype(number)
    if transform == "pytorch_half_pixel" and extent.out <= 1:
        return i * 0
    return (i + half) / scale - half


_NEAREST: Mapping[str, Callable[[Floats32], Any]] = {
    "floor": np.floor,
    "ceil": np.ceil,
    "round_prefer_floor": lambda x: np.ceil(x - np.float32(0.5)),
    "round_prefer_ceil": lambda x: np.floor(x + np.float32(0.5)),
}


def places(extent: Extent, sampling: Sampling) -> Places:
    """The rows that each position of an axis reads, weights of zero left out (-1)."""
    at, last = _coordinates(extent, sampling.transform), extent.rows - 1
    outside = (
        (at < 0) | (at > last) if sampling.transform == "tf_crop_and_resize" else np.zeros(at.shape, bool)
    )
    if sampling.mode == "nearest":
        mode = sampling.nearest_mode
        if mode == "simple":
            mode = "ceil" if extent.scale < 1 else "floor"
        found = _NEAREST[mode](at).astype(np.int64).clip(0, last)[:, None]
    else:
        found = _weighed(at, extent, sampling)
    return np.where(outside[:, None], -1, found)


def _weighed(at: Floats32, extent: Extent, sampling: Sampling) -> Places:
    """Rows around a coordinate that have a weight."""
    stretch = max(1 / float(extent.scale), 1.0) if sampling.antialias else 1.0
    linear, last = sampling.mode == "linear", extent.rows - 1
    if linear and not sampling.antialias:
        at = at.clip(0, np.float32(last))
    reach = math.ceil(sampling.radius * stretch) + 1
    rows = np.floor(at).astype(np.int64)[:, None] + np.arange(-reach, reach + 1)
    away = np.abs(rows - at[:, None]) / np.float32(stretch)
    heard = np.abs((1 - away).clip(0) if linear else _cubic(away, sampling.cubic_coeff_a)) > _NO_WEIGHT
    return np.where(heard & ((rows >= 0) & (rows <= last) | (not sampling.outside)), rows.clip(0, last), -1)


def _cubic(away: Floats32, a: float) -> Floats32:
    """What weight a row has at a distance."""
    near = ((a + 2) * away - (a + 3)) * away * away + 1
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    weights: Floats32 = np.where(away <= 1, near, np.where(away < 2, far, 0))
    return weights
