"""Other shapes for the same numbers: regrouped, turned, repeated; and the shape itself as numbers. Nothing is computed:
no flops, and autograd keeps nothing.

Values ride along where small and known: this is where the shape arithmetic of exported models happens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from analyzer.graph import INT64, Known, Size
from analyzer.ops.rule import Facts, Setting, axis_of, broadcast, known, refuse, rule
from analyzer.ops.shared.rows import by_rows
from analyzer.spans import NOTHING, POINTWISE, Places, Read, Regroup, Route, moved

Ints = tuple[int, ...]


def _ints(size: Size, what: str) -> Ints | None:
    """A shape-like operand's numbers; None where the data decides them."""
    if size.value is None:
        return None
    if len(size.shape) > 1:
        raise refuse("RANK", f"{what} has shape {size.shape}, a vector is needed")
    return size.ints()


def _reshaped(x: Size, shape: Ints) -> Facts:
    if math.prod(shape) != x.count:
        raise refuse(
            "RESHAPE", f"{x.shape} has {x.count} elements and cannot become {shape} with {math.prod(shape)}"
        )
    y = Size(shape, x.dtype, None if x.value is None else x.value.reshape(shape))
    return Facts(y, spans=(Regroup(x.shape, shape), NOTHING), view=x)


@rule("Reshape", since=5)
def reshape(x: Size, shape: Setting, *, allowzero: int = 0) -> Facts:
    """0 keeps the axis of that place (unless `allowzero`), -1 takes what is left."""
    wanted = _ints(shape, "shape")
    if wanted is None:  # one axis can only be that of all elements
        return _reshaped(x, (x.count,) * len(shape.shape)) if shape.shape == (1,) else Facts(None)
    dims = list(wanted)
    if 0 in dims and not allowzero:
        if 0 in dims[len(x.shape) :]:
            raise refuse("RESHAPE", f"shape {wanted} keeps an axis that {x.shape} does not have")
        dims = [x.shape[axis] if dim == 0 else dim for axis, dim in enumerate(dims)]
    if dims.count(-1) > 1 or min(dims, default=0) < -1:
        raise refuse("RESHAPE", f"shape {wanted} is not a shape: one -1 is allowed and nothing lower")
    if -1 in dims:
        rest = -math.prod(dims)
        if rest == 0 or x.count % rest:
            raise refuse("RESHAPE", f"{x.shape} has {x.count} elements and cannot become {wanted}")
        dims[dims.index(-1)] = x.count // rest
    return _reshaped(x, tuple(dims))


@rule("Flatten")
def flatten(x: Size, *, axis: int = 1) -> Facts:
    """Two axes: all before `axis`, and the rest."""
    if not -len(x.shape) <= axis <= len(x.shape):
        raise refuse("AXIS_OUT_OF_RANGE", f"axis {axis} does not exist in {x.shape}", attribute="axis")
    axis += len(x.shape) if axis < 0 else 0
    return _reshaped(x, (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))


def _squeezed(x: Size, axes: Ints | None) -> Facts:
    if not axes:
        return _reshaped(x, tuple(dim for dim in x.shape if dim != 1))
    gone = {axis_of(axis, len(x.shape)) for axis in axes}
    if any(x.shape[axis] != 1 for axis in gone):
        raise refuse("SQUEEZE", f"axes {axes} of {x.shape} are not all 1", attribute="axes")
    return _reshaped(x, tuple(dim for axis, dim in enumerate(x.shape) if axis not in gone))


@rule("Squeeze", until=12)
def squeeze_by_attribute(x: Size, *, axes: Ints | None = None) -> Facts:
    """Axes of 1 vanish: those named, or all."""
    return _squeezed(x, axes)


@rule("Squeeze", since=13)
def squeeze(x: Size, axes: Setting | None = None) -> Facts:
    """Axes of 1 vanish: those named, or all."""
    if axes is not None and axes.value is None:
        return Facts(None)
    return _squeezed(x, None if axes is None else _ints(axes, "axes"))


def _unsqueezed(x: Size, axes: Ints) -> Facts:
    rank = len(x.shape) + len(axes)
    new = {axis_of(axis, rank) for axis in axes}
    if len(new) != len(axes):
        raise refuse("UNSQUEEZE", f"axes {axes} name one axis twice", attribute="axes")
    rest = iter(x.shape)
    return _reshaped(x, tuple(1 if axis in new else next(rest) for axis in range(rank)))


@rule("Unsqueeze", until=12)
def unsqueeze_by_attribute(x: Size, *, axes: Ints) -> Facts:
    """Axes of 1 appear at these places of the result."""
    return _unsqueezed(x, axes)


@rule("Unsqueeze", since=13)
def unsqueeze(x: Size, axes: Setting) -> Facts:
    """Axes of 1 appear at these places of the result."""
    places = _ints(axes, "axes")
    return Facts(None) if places is None else _unsqueezed(x, places)


@rule("Identity")
def identity(x: Known) -> Facts:
    """The same tensor, or sequence, by another name."""
    if not isinstance(x, Size):
        return Facts(x)
    return Facts(Size(x.shape, x.dtype, x.value), spans=POINTWISE, view=x)


@rule("Transpose")
def transpose(x: Size, *, perm: Ints | None = None) -> Facts:
    """Axis k of the result is axis perm[k]; reversed where nothing is said."""
    order = perm if perm is not None else tuple(reversed(range(len(x.shape))))
    if sorted(order) != list(range(len(x.shape))):
        raise refuse("PERMUTATION", f"perm {order} does not permute the axes of {x.shape}", attribute="perm")
    y = Size(
        tuple(x.shape[axis] for axis in order), x.dtype, None if x.value is None else x.value.transpose(order)
    )
    return Facts(y, spans=moved(order), strided=x)


@rule("Expand", since=8)
def expand(x: Size, shape: Setting) -> Facts:
    """Broadcast to a shape."""
    wanted = _ints(shape, "shape")
    if wanted is None:
        return Facts(None)
    if min(wanted, default=0) < 0:
        raise refuse("NEGATIVE_DIM", f"shape {wanted} has a negative dimension")
    full = broadcast(x.shape, wanted)
    return Facts(
        Size(full, x.dtype, known(math.prod(full), lambda v: np.broadcast_to(v, full), x)),
        spans=(POINTWISE, NOTHING),
        strided=x,
    )


@rule("Tile", since=6)
def tile(x: Size, repeats: Setting) -> Facts:
    """Every axis repeated."""
    times = _ints(repeats, "repeats")
    if times is None:
        return Facts(None)
    if len(times) != len(x.shape):
        raise refuse(
            "ATTRIBUTE_LENGTH",
            f"repeats has {len(times)} entries for rank {len(x.shape)}",
            attribute="repeats",
        )
    if min(times, default=0) < 0:
        raise refuse("REPEATS", f"repeats {times} has a negative entry")
    shape = tuple(dim * n for dim, n in zip(x.shape, times, strict=True))
    routes = tuple(Route(axis) if n == 1 else Read("global", axis) for axis, n in enumerate(times))
    repeated = {axis: n for axis, n in enumerate(times) if n != 1}
    return Facts(
        Size(shape, x.dtype, known(math.prod(shape), lambda v: np.tile(v, times), x)),
        spans=(routes, NOTHING),
        exact={0: lambda: by_rows(routes, _again(x.shape, repeated))} if repeated else None,
    )


def _again(shape: Ints, times: Mapping[int, int]) -> dict[int, Places]:
    """The rows of repeated axes."""
    return {axis: np.tile(np.arange(shape[axis]), n) for axis, n in times.items()}


@rule("Shape", until=14)
def shape_(x: Size) -> Facts:
    """The shape as a vector: no number of the operand is read."""
    return Facts(
        Size((len(x.shape),), INT64, np.array(x.shape, np.int64), value_exact=x.exact), spans=NOTHING
    )


@rule("Shape", since=15)
def shape_part(x: Size, *, end: int | None = None, start: int = 0) -> Facts:
    """The shape, or a run of it, as a vector."""
    part = x.shape[slice(start, end)]
    return Facts(Size((len(part),), INT64, np.array(part, np.int64), value_exact=x.exact), spans=NOTHING)


@rule("Size")
def size(x: Size) -> Facts:
    """The number of elements."""
    return Facts(Size((), INT64, np.array(x.count, np.int64), value_exact=x.exact), spans=NOTHING)
