"""Resampling on a regular grid: Resize and its predecessor Upsample.

An output position reads around the coordinate start + step*position of its operand's axis, both fractions; how far
around is the interpolation's radius. So an axis of step a/b has b phases, which advance a rows together. A result of
the operand's shape is a copy, whatever the attributes say (onnxruntime).

elementwise: a multiply and an add per tap, over the taps of all resized axes at once; nearest neighbours are copied.
Autograd keeps nothing: the gradient needs the shape alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Setting, axis_of, refuse, rule
from analyzer.spans import NOTHING, POINTWISE, SAME, Affine, Exact, Places, Read, Route, Rows, straight

Ints = tuple[int, ...]
Floats = tuple[float, ...]

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
    heard = away < sampling.radius
    if not linear:
        heard &= away != 1
    return np.where(heard & ((rows >= 0) & (rows <= last) | (not sampling.outside)), rows.clip(0, last), -1)


# ------------------------------------------------------------------------------------------------- the ops


@rule("Upsample", since=7, until=8)
def upsample_by_attribute(x: Size, *, mode: str = "nearest", scales: Floats) -> Facts:
    """Scales as an attribute, none below 1."""
    return _scaled(x, scales, range(len(x.shape)), None, Sampling(mode), least=1)


@rule("Upsample", since=9)
def upsample(x: Size, scales: Setting, *, mode: str = "nearest") -> Facts:
    """Scales as an operand, none below 1; replaced by Resize in opset 10."""
    return _scaled(x, _floats(scales), range(len(x.shape)), None, Sampling(mode), least=1)


@rule("Resize", since=10, until=10)
def resize_10(x: Size, scales: Setting, *, mode: str = "nearest") -> Facts:
    """Position i lies at row i/scale."""
    return _scaled(x, _floats(scales), range(len(x.shape)), None, Sampling(mode))


@rule("Resize", since=11, until=12)
def resize_11(
    x: Size,
    roi: Setting,
    scales: Setting,
    sizes: Setting | None = None,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Facts:
    """Scales, or where that operand is empty, sizes."""
    sampling = Sampling(
        mode, coordinate_transformation_mode, nearest_mode, cubic_coeff_a, outside=bool(exclude_outside)
    )
    return _resized(x, roi, scales, sizes, None, "stretch", sampling)


@rule("Resize", since=13)
def resize(
    x: Size,
    roi: Setting | None = None,
    scales: Setting | None = None,
    sizes: Setting | None = None,
    *,
    antialias: int = 0,
    axes: Ints | None = None,
    coordinate_transformation_mode: str = "half_pixel",
    cubic_coeff_a: float = -0.75,
    exclude_outside: int = 0,
    extrapolation_value: float = 0.0,
    keep_aspect_ratio_policy: str = "stretch",
    mode: str = "nearest",
    nearest_mode: str = "round_prefer_floor",
) -> Facts:
    """Scales or sizes; since opset 18 of some axes only, of one scale for all, or with a wider window downwards."""
    sampling = Sampling(
        mode,
        coordinate_transformation_mode,
        nearest_mode,
        cubic_coeff_a,
        bool(antialias),
        bool(exclude_outside),
    )
    return _resized(x, roi, scales, sizes, axes, keep_aspect_ratio_policy, sampling)


def _resized(
    x: Size,
    roi: Size | None,
    scales: Size | None,
    sizes: Size | None,
    axes: Ints | None,
    policy: str,
    sampling: Sampling,
) -> Facts:
    scales, sizes = (None if given is None or given.count == 0 else given for given in (scales, sizes))
    if (scales is None) == (sizes is None):
        raise refuse("RESIZE", "needs scales or sizes, has " + ("neither" if scales is None else "both"))
    rank = len(x.shape)
    places = tuple(range(rank)) if axes is None else tuple(axis_of(axis, rank) for axis in axes)
    if sizes is not None:
        return _sized(x, sizes, places, roi, policy, sampling)
    if policy != "stretch":
        raise refuse("MODE", f"{policy!r} needs sizes, not scales", attribute="keep_aspect_ratio_policy")
    return _scaled(x, _floats(scales), places, roi, sampling)


def _floats(scales: Size | None) -> Floats | None:
    return None if scales is None or scales.value is None else tuple(map(float, scales.value.reshape(-1)))


def _scaled(
    x: Size,
    scales: Floats | None,
    places: range | Ints,
    roi: Size | None,
    sampling: Sampling,
    least: float = 0.0,
) -> Facts:
    """Rows times scale, cut off to an integer; the product is single precision, as at run time."""
    if scales is None:
        return Facts(None)
    if len(scales) != len(places):
        raise refuse("ATTRIBUTE_LENGTH", f"scales has {len(scales)} entries, {len(places)} are needed")
    if not all(0 < scale < math.inf and scale >= least for scale in scales):
        raise refuse("RESIZE", f"scales {scales} must be {'at least 1' if least else 'positive'}")
    extents = {}
    for place, scale in zip(places, scales, strict=True):
        out = int(np.float32(scale) * np.float32(x.shape[place]))
        extents[place] = Extent(x.shape[place], out, Fraction(scale))
    return _read(x, extents, roi, sampling)


def _sized(x: Size, sizes: Size, places: Ints, roi: Size | None, policy: str, sampling: Sampling) -> Facts:
    """Sizes as given, or as near to them as one scale for all axes comes."""
    if sizes.value is None:
        return Facts(None)
    wanted = sizes.ints()
    if len(wanted) != len(places):
        raise refuse("ATTRIBUTE_LENGTH", f"sizes has {len(wanted)} entries, {len(places)} are needed")
    rows = [x.shape[place] for place in places]
    if any(out < 0 or (out == 0) != (n == 0) for out, n in zip(wanted, rows, strict=True)):
        raise refuse("RESIZE", f"axes of {rows} cannot become {wanted}")
    scales = [Fraction(out, n) if n else Fraction(1) for out, n in zip(wanted, rows, strict=True)]
    if policy != "stretch":
        if policy not in POLICIES:
            raise refuse("MODE", f"{policy!r} is no policy", attribute="keep_aspect_ratio_policy")
        scales = [POLICIES[policy](scales)] * len(scales)
        wanted = tuple(math.floor(scale * n + Fraction(1, 2)) for scale, n in zip(scales, rows, strict=True))
    extents = {
        place: Extent(n, out, scale)
        for place, n, out, scale in zip(places, rows, wanted, scales, strict=True)
    }
    return _read(x, extents, roi, sampling, sizes.value_exact)


POLICIES: Mapping[str, Callable[[list[Fraction]], Fraction]] = {"not_larger": min, "not_smaller": max}


def _read(
    x: Size, extents: dict[int, Extent], roi: Size | None, sampling: Sampling, exact: bool = True
) -> Facts:
    """Size and routes of a tensor of which the axes in `extents` are resized."""
    shape = tuple(extents[axis].out if axis in extents else dim for axis, dim in enumerate(x.shape))
    y = Size(shape, x.dtype, exact=exact and x.exact)
    if shape == x.shape:
        return Facts(y, spans=(POINTWISE, NOTHING))
    routes: list[Route | Read] = list(straight(len(shape)))
    steps = 2
    read_at: dict[int, Extent] = {}
    for number, (axis, extent) in enumerate(extents.items()):
        if extent.scale == 1:
            continue
        cropped = extent
        if sampling.transform == "tf_crop_and_resize":
            edges = _floats(roi)
            if edges is None:
                routes[axis] = Read("data_dependent", axis)
                continue
            begin, end = (
                Fraction(edges[i]).limit_denominator(PHASES) for i in (number, number + len(extents))
            )
            cropped = Extent(extent.rows, extent.out, extent.scale, (begin, end))
        read_at[axis] = cropped
        read = taps(cropped, sampling)
        routes[axis] = Read("global", axis) if read is None else Route(axis, read)
        steps *= 2 * sampling.radius if read is None else max(map(_count, read.lows, read.highs))

    def at_hand() -> Exact:
        return tuple(
            Rows(axis, places(read_at[axis], sampling)) if axis in read_at else way
            for axis, way in enumerate(routes)
        )

    elementwise = steps * y.count if sampling.radius else 0
    return Facts(y, elementwise=elementwise, spans=(tuple(routes), NOTHING), exact={0: at_hand})


def _count(low: int | None, high: int | None) -> int:
    return 0 if low is None or high is None else high - low + 1
