"""Resampling on a regular grid: Resize and its predecessor Upsample.

A result of the operand's shape is a copy, whatever the attributes say (onnxruntime).

elementwise: a multiply and an add per tap, over the taps of all resized axes at once; nearest neighbours are copied.
Autograd keeps nothing: the gradient needs the shape alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from fractions import Fraction

import numpy as np

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Setting, axis_of, refuse, rule
from analyzer.ops.shared.grid import PHASES, Extent, Sampling, places, taps
from analyzer.ops.shared.rows import by_rows
from analyzer.spans import NOTHING, POINTWISE, Exact, Read, Route, straight

Ints = tuple[int, ...]
Floats = tuple[float, ...]


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
        return by_rows(routes, {axis: places(extent, sampling) for axis, extent in read_at.items()})

    elementwise = steps * y.count if sampling.radius else 0
    return Facts(y, elementwise=elementwise, spans=(tuple(routes), NOTHING), exact={0: at_hand})


def _count(low: int | None, high: int | None) -> int:
    return 0 if low is None or high is None else high - low + 1
