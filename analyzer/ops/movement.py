"""Data movement: reshape, transpose, join, cut, pick, pad, repeat. Nothing is computed, so flops are 0 and autograd keeps nothing.

Values ride along where small and known: this is where the shape arithmetic of exported models happens.
"""

from __future__ import annotations

import math

import numpy as np

from analyzer.graph import INT64, Size
from analyzer.ops.rule import Facts, Setting, axis_of, broadcast, known, refuse, rule
from analyzer.spans import DATA, NOTHING, POINTWISE, WHOLE, Affine, Read, Regroup, Route, Routes, crop, moved, straight

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
        raise refuse("RESHAPE", f"{x.shape} has {x.count} elements and cannot become {shape} with {math.prod(shape)}")
    y = Size(shape, x.dtype, None if x.value is None else x.value.reshape(shape))
    return Facts(y, spans=(Regroup(x.shape, shape), NOTHING), view=x)


@rule("Reshape", since=5)
def reshape(x: Size, shape: Setting, *, allowzero: int = 0) -> Facts:
    """0 keeps the axis of that place (unless `allowzero`), -1 takes what is left."""
    wanted = _ints(shape, "shape")
    if wanted is None:
        return Facts(None)
    dims = list(wanted)
    if not allowzero:
        if any(dim == 0 and axis >= len(x.shape) for axis, dim in enumerate(dims)):
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
    if axes is None:
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
def identity(x: Size) -> Facts:
    """The same tensor by another name."""
    return Facts(Size(x.shape, x.dtype, x.value), spans=POINTWISE, view=x)


@rule("Transpose")
def transpose(x: Size, *, perm: Ints | None = None) -> Facts:
    """Axis k of the result is axis perm[k]; reversed where nothing is said."""
    order = perm if perm is not None else tuple(reversed(range(len(x.shape))))
    if sorted(order) != list(range(len(x.shape))):
        raise refuse("PERMUTATION", f"perm {order} does not permute the axes of {x.shape}", attribute="perm")
    y = Size(tuple(x.shape[axis] for axis in order), x.dtype, None if x.value is None else x.value.transpose(order))
    return Facts(y, spans=moved(order))


@rule("Concat", since=4)
def concat(*parts: Size, axis: int) -> Facts:
    """Parts end to end along `axis`, equal elsewhere."""
    first = parts[0].shape
    axis = axis_of(axis, len(first))
    for part in parts:
        if len(part.shape) != len(first) or any(a != b for i, (a, b) in enumerate(zip(part.shape, first, strict=True)) if i != axis):
            raise refuse("CONCAT", f"shapes {', '.join(str(p.shape) for p in parts)} differ beside axis {axis}", attribute="axis")
    shape = (*first[:axis], sum(part.shape[axis] for part in parts), *first[axis + 1 :])
    value = known(math.prod(shape), lambda *values: np.concatenate(values, axis=axis), *parts)
    spans, offset = [], 0
    for part in parts:
        routes: list[Route | Read] = list(straight(len(first)))
        if offset:
            routes[axis] = Route(axis, crop(-offset))
        spans.append(tuple(routes))
        offset += part.shape[axis]
    return Facts(Size(shape, parts[0].dtype, value), spans=tuple(spans))


def _split(x: Size, axis: int, sizes: Ints) -> Facts:
    if sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise refuse("SPLIT", f"parts {sizes} do not make up axis {axis} of {x.shape}", attribute="split")
    outputs, start = [], 0
    for size in sizes:
        value = None if x.value is None else np.take(x.value, range(start, start + size), axis=axis)
        outputs.append(Size((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype, value))
        start += size
    return Facts(tuple(outputs), spans=(straight(len(x.shape)), NOTHING))


def _even(length: int, parts: int) -> Ints:
    """Equal parts, the last one smaller where it must be."""
    each = -(-length // parts) if parts else 0
    return tuple(max(min(each, length - each * index), 0) for index in range(parts))


@rule("Split", since=2, until=12)
def split_by_attribute(x: Size, *, axis: int = 0, split: Ints | None = None, results: int) -> Facts:
    """Cut along `axis` into `split`, or into equal parts."""
    axis = axis_of(axis, len(x.shape))
    return _split(x, axis, split or _even(x.shape[axis], results))


@rule("Split", since=13)
def split(x: Size, split: Setting | None = None, *, axis: int = 0, num_outputs: int | None = None, results: int) -> Facts:
    """Cut along `axis` into `split`, or into equal parts."""
    axis = axis_of(axis, len(x.shape))
    sizes = _ints(split, "split") if split is not None else _even(x.shape[axis], num_outputs or results)
    return Facts(None) if sizes is None else _split(x, axis, sizes)


def _sliced(x: Size, starts: Ints, ends: Ints, axes: Ints | None, steps: Ints | None) -> Facts:
    axes = tuple(axis_of(axis, len(x.shape)) for axis in (axes if axes is not None else range(len(starts))))
    steps = steps or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps:
        raise refuse("SLICE", f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit together")
    cuts = [slice(None)] * len(x.shape)
    shape, routes = list(x.shape), list[Route | Read](straight(len(x.shape)))
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        end = None if step < 0 and end < -x.shape[axis] else end  # noqa: PLW2901  # a slice's word for "past the first"
        cuts[axis] = slice(start, end, step)
        rows = range(*cuts[axis].indices(x.shape[axis]))
        shape[axis] = len(rows)
        if rows != range(x.shape[axis]):
            routes[axis] = Route(axis, crop(rows.start, rows.step)) if rows.step > 0 else Read("global", axis)
    value = None if x.value is None else x.value[tuple(cuts)]
    return Facts(Size(tuple(shape), x.dtype, value), spans=(tuple(routes), NOTHING))


@rule("Slice", until=9)
def slice_by_attribute(x: Size, *, axes: Ints | None = None, ends: Ints, starts: Ints) -> Facts:
    """Rows `starts` up to `ends` of each axis named."""
    return _sliced(x, starts, ends, axes, None)


@rule("Slice", since=10)
def slice_(x: Size, starts: Setting, ends: Setting, axes: Setting | None = None, steps: Setting | None = None) -> Facts:
    """Rows `starts` up to `ends` in steps, of each axis named; steps may be negative."""
    if any(operand is not None and operand.value is None for operand in (starts, ends, axes, steps)):
        return Facts(None)
    first, last = starts.ints(), ends.ints()
    return _sliced(x, first, last, None if axes is None else axes.ints(), None if steps is None else steps.ints())


@rule("Gather")
def gather(x: Size, indices: Setting, *, axis: int = 0) -> Facts:
    """Rows of `axis` by number: an embedding, or one dimension of a shape."""
    axis = axis_of(axis, len(x.shape))
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    value = known(math.prod(shape), lambda v, i: np.take(v, i.astype(np.int64), axis=axis, mode="wrap"), x, indices)
    shift = len(indices.shape) - 1
    routes: Routes = tuple(
        Route(a if a < axis else a + shift) if a != axis else _picked(indices, axis) for a in range(len(x.shape))
    )
    chosen: Routes = tuple(Route(axis + a) for a in range(len(indices.shape)))
    return Facts(Size(shape, x.dtype, value), spans=(routes, chosen), saved=(indices,))


def _picked(indices: Size, axis: int) -> Route | Read:
    """What a gather reads of its axis: the row that a constant names, a run of rows, or what the data says."""
    if indices.value is None:
        return DATA
    rows = indices.ints()
    if len(indices.shape) == 1 and rows == tuple(range(rows[0], rows[0] + len(rows)) if rows else ()):
        return Route(axis, crop(rows[0]) if rows else Affine(1, 1, (None,), (None,)))
    return WHOLE


@rule("Pad", since=2, until=10)
def pad_by_attribute(x: Size, *, mode: str = "constant", pads: Ints, value: float = 0.0) -> Facts:
    """Rows added (or, where negative, taken) at both ends of every axis."""
    return _padded(x, pads, mode, range(len(x.shape)))


@rule("Pad", since=11)
def pad(x: Size, pads: Setting, constant_value: Setting | None = None, axes: Setting | None = None, *, mode: str = "constant") -> Facts:
    """Rows added (or, where negative, taken) at both ends of each axis named."""
    amounts = _ints(pads, "pads")
    if amounts is None or (axes is not None and axes.value is None):
        return Facts(None)
    return _padded(x, amounts, mode, range(len(x.shape)) if axes is None else axes.ints())


def _padded(x: Size, pads: Ints, mode: str, axes: range | Ints) -> Facts:
    if len(pads) != 2 * len(axes):
        raise refuse("ATTRIBUTE_LENGTH", f"pads has {len(pads)} entries, {2 * len(axes)} are needed", attribute="pads")
    shape, routes = list(x.shape), list[Route | Read](straight(len(x.shape)))
    for index, given in enumerate(axes):
        axis, begin, end = axis_of(given, len(x.shape)), pads[index], pads[len(axes) + index]
        shape[axis] += begin + end
        if begin or end:
            routes[axis] = Route(axis, crop(-begin))
    if min(shape, default=0) < 0:
        raise refuse("PADS", f"pads {pads} leave {tuple(shape)} of {x.shape}", attribute="pads")
    return Facts(Size(tuple(shape), x.dtype), spans=(tuple(routes), NOTHING))


@rule("Expand", since=8)
def expand(x: Size, shape: Setting) -> Facts:
    """Broadcast to a shape."""
    wanted = _ints(shape, "shape")
    if wanted is None:
        return Facts(None)
    full = broadcast(x.shape, wanted)
    return Facts(Size(full, x.dtype, known(math.prod(full), lambda v: np.broadcast_to(v, full), x)), spans=(POINTWISE, NOTHING))


@rule("Tile", since=6)
def tile(x: Size, repeats: Setting) -> Facts:
    """Every axis repeated."""
    times = _ints(repeats, "repeats")
    if times is None:
        return Facts(None)
    if len(times) != len(x.shape):
        raise refuse("ATTRIBUTE_LENGTH", f"repeats has {len(times)} entries for rank {len(x.shape)}", attribute="repeats")
    shape = tuple(dim * n for dim, n in zip(x.shape, times, strict=True))
    routes = tuple(Route(axis) if n == 1 else Read("global", axis) for axis, n in enumerate(times))
    return Facts(Size(shape, x.dtype, known(math.prod(shape), lambda v: np.tile(v, times), x)), spans=(routes, NOTHING))


@rule("Shape", until=14)
def shape_(x: Size) -> Facts:
    """The shape as a vector: no number of the operand is read."""
    return Facts(Size((len(x.shape),), INT64, np.array(x.shape, np.int64), value_exact=x.exact), spans=NOTHING)


@rule("Shape", since=15)
def shape_part(x: Size, *, end: int | None = None, start: int = 0) -> Facts:
    """The shape, or a run of it, as a vector."""
    part = x.shape[slice(start, end)]
    return Facts(Size((len(part),), INT64, np.array(part, np.int64), value_exact=x.exact), spans=NOTHING)


@rule("Size")
def size(x: Size) -> Facts:
    """The number of elements."""
    return Facts(Size((), INT64, np.array(x.count, np.int64), value_exact=x.exact), spans=NOTHING)


