"""Data movement: reshape, transpose, join, cut, pad, repeat. Nothing is computed: no flops, and autograd keeps nothing
but what a mirror shows.

Values ride along where small and known: this is where the shape arithmetic of exported models happens.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analyzer.graph import INT64, Known, Size
from analyzer.ops.rule import Facts, Setting, axis_of, broadcast, known, refuse, rule
from analyzer.spans import (
    DATA,
    NOTHING,
    POINTWISE,
    WHOLE,
    Each,
    Exact,
    Places,
    Read,
    Regroup,
    Route,
    Rows,
    Span,
    crop,
    moved,
    straight,
)

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


@rule("Concat", since=4)
def concat(first: Size, *rest: Size, axis: int) -> Facts:
    """Parts end to end along `axis`, equal elsewhere."""
    parts = (first, *rest)
    rank = len(first.shape)
    axis = axis_of(axis, rank)
    beside = [(*part.shape[:axis], *part.shape[axis + 1 :]) for part in parts]
    if any(len(part.shape) != rank for part in rest) or any(shape != beside[0] for shape in beside):
        drawn = ", ".join(str(part.shape) for part in parts)
        raise refuse("CONCAT", f"shapes {drawn} differ beside axis {axis}", attribute="axis")
    shape = (*first.shape[:axis], sum(part.shape[axis] for part in parts), *first.shape[axis + 1 :])
    value = known(math.prod(shape), lambda *values: np.concatenate(values, axis=axis), *parts)
    spans, offset = [], 0
    for part in parts:
        routes: list[Route | Read] = list(straight(rank))
        if rest:
            routes[axis] = Route(
                axis, crop(-offset)
            )  # the first part as well: beyond its end nothing is read
        spans.append(tuple(routes))
        offset += part.shape[axis]
    return Facts(Size(shape, first.dtype, value), spans=tuple(spans), passes=parts)


def _split(x: Size, axis: int, sizes: Ints, results: int) -> Facts:
    if len(sizes) != results or sum(sizes) != x.shape[axis] or min(sizes, default=0) < 0:
        raise refuse(
            "SPLIT", f"parts {sizes} do not make {results} of axis {axis} of {x.shape}", attribute="split"
        )
    outputs, spans, start = [], list[Span | tuple[Span, ...]](), 0
    for size in sizes:
        routes = list[Route | Read](straight(len(x.shape)))
        routes[axis] = Route(axis, crop(start)) if start else routes[axis]
        spans.append((tuple(routes), NOTHING))
        value = None if x.value is None else np.take(x.value, range(start, start + size), axis=axis)
        outputs.append(Size((*x.shape[:axis], size, *x.shape[axis + 1 :]), x.dtype, value))
        start += size
    return Facts(tuple(outputs), spans=Each(tuple(spans)), strided=x)


def _halves(length: int, parts: int) -> Ints:
    """Equal parts; nothing else has been agreed on."""
    if parts < 1 or length % parts:
        raise refuse("SPLIT", f"{length} rows cannot be split evenly into {parts}", attribute="split")
    return (length // parts,) * parts


def _chunks(length: int, parts: int) -> Ints:
    """Parts of one size, the last one smaller where it must be."""
    if parts < 1 or -(-length // parts) * (parts - 1) > length:
        raise refuse("SPLIT", f"{length} rows cannot be cut into {parts} parts", attribute="num_outputs")
    each = -(-length // parts)
    return (*(each,) * (parts - 1), length - each * (parts - 1))


@rule("Split", since=2, until=12)
def split_by_attribute(x: Size, *, axis: int = 0, split: Ints | None = None, results: int) -> Facts:
    """Cut along `axis` into `split`, or into equal parts."""
    axis = axis_of(axis, len(x.shape))
    return _split(x, axis, split or _halves(x.shape[axis], results), results)


@rule("Split", since=13, until=17)
def split_by_operand(x: Size, split: Setting | None = None, *, axis: int = 0, results: int) -> Facts:
    """Cut along `axis` into `split`, or into equal parts."""
    axis = axis_of(axis, len(x.shape))
    if split is not None and split.value is None:
        return _split_unknown(x, results)
    return _split(x, axis, _halves(x.shape[axis], results) if split is None else split.ints(), results)


@rule("Split", since=18)
def split(
    x: Size, split: Setting | None = None, *, axis: int = 0, num_outputs: int | None = None, results: int
) -> Facts:
    """Cut along `axis` into `split`, or into `num_outputs` of which the last may be smaller."""
    if split is not None and num_outputs is not None:
        raise refuse("SPLIT", "both split and num_outputs say what the parts are", attribute="num_outputs")
    if split is not None or num_outputs is None:
        return split_by_operand(x, split, axis=axis, results=results)
    axis = axis_of(axis, len(x.shape))
    if num_outputs != results:
        raise refuse("SPLIT", f"num_outputs is {num_outputs}, {results} are named", attribute="num_outputs")
    return _split(x, axis, _chunks(x.shape[axis], num_outputs), results)


def _split_unknown(x: Size, results: int) -> Facts:
    """Parts that the data decides: each may be all."""
    whole = tuple(Size(x.shape, x.dtype, exact=False) for _ in range(results))
    return Facts(whole, spans=(straight(len(x.shape)), NOTHING))


def _sliced(x: Size, starts: Ints, ends: Ints, axes: Ints | None, steps: Ints | None) -> Facts:
    rank = len(x.shape)
    axes = tuple(axis_of(axis, rank) for axis in (axes if axes is not None else range(len(starts))))
    steps = steps or (1,) * len(starts)
    if not len(starts) == len(ends) == len(axes) == len(steps) or 0 in steps or len({*axes}) != len(axes):
        raise refuse(
            "SLICE", f"starts {starts}, ends {ends}, axes {axes} and steps {steps} do not fit together"
        )
    shape, routes, value = list(x.shape), list[Route | Read](straight(rank)), x.value
    turned: dict[int, range] = {}
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        rows = _cut(x.shape[axis], start, end, step)
        if rows == range(x.shape[axis]):
            continue
        shape[axis] = len(rows)
        routes[axis] = Route(axis, crop(rows.start, rows.step)) if rows.step > 0 else Read("global", axis)
        if rows.step < 0:
            turned[axis] = rows
        value = None if value is None else np.take(value, rows, axis=axis)
    forward = x if min(steps, default=1) > 0 else None  # backward is a copy
    exact = {0: lambda: _by_rows(routes, {axis: np.array(rows) for axis, rows in turned.items()})}
    return Facts(
        Size(tuple(shape), x.dtype, value),
        spans=(tuple(routes), NOTHING),
        exact=exact if turned else None,
        strided=forward,
    )


def _by_rows(routes: Sequence[Route | Read], places: Mapping[int, Places]) -> Exact:
    """`routes`, but for axes of which the rows at these places are read, each on its own."""
    return tuple(Rows(axis, places[axis]) if axis in places else route for axis, route in enumerate(routes))


def _cut(length: int, start: int, end: int, step: int) -> range:
    """The rows from `start` up to `end`; a start out of reach becomes the nearest row, even where numpy finds none."""
    start, end = (place + length if place < 0 else place for place in (start, end))
    if step > 0:
        return range(min(max(start, 0), length), min(max(end, 0), length), step)
    return range(min(max(start, 0), length - 1), min(max(end, -1), length - 1), step)


@rule("Slice", until=9)
def slice_by_attribute(x: Size, *, axes: Ints | None = None, ends: Ints, starts: Ints) -> Facts:
    """Rows `starts` up to `ends` of each axis named."""
    return _sliced(x, starts, ends, axes, None)


@rule("Slice", since=10)
def slice_(
    x: Size, starts: Setting, ends: Setting, axes: Setting | None = None, steps: Setting | None = None
) -> Facts:
    """Rows `starts` up to `ends` in steps, of each axis named; steps may be negative. All of them at most."""
    told = (starts, axes, steps)
    if ends.value is None or any(
        size is not None and not (size.value is not None and size.value_exact) for size in told
    ):
        cut = range(len(x.shape)) if axes is None or axes.value is None else axes.ints()
        routes = list[Route | Read](straight(len(x.shape)))
        for axis in cut:
            routes[axis_of(axis, len(x.shape))] = DATA
        return Facts(Size(x.shape, x.dtype, exact=False), spans=(tuple(routes), (WHOLE,)))
    named = None if axes is None else axes.ints()
    return _sliced(x, starts.ints(), ends.ints(), named, None if steps is None else steps.ints())


@rule("Pad", since=2, until=10)
def pad_by_attribute(x: Size, *, mode: str = "constant", pads: Ints, value: float = 0.0) -> Facts:
    """Rows added (or, where negative, taken) at both ends of every axis."""
    return _padded(x, pads, tuple(range(len(x.shape))), mode, Size((), x.dtype))


@rule("Pad", since=11, until=17)
def pad_all(
    x: Size, pads: Setting, constant_value: Setting | None = None, *, mode: str = "constant"
) -> Facts:
    """Rows added (or, where negative, taken) at both ends of every axis."""
    return pad(x, pads, constant_value, mode=mode)


@rule("Pad", since=18)
def pad(
    x: Size,
    pads: Setting,
    constant_value: Setting | None = None,
    axes: Setting | None = None,
    *,
    mode: str = "constant",
) -> Facts:
    """Rows added (or, where negative, taken) at both ends of each axis named."""
    if pads.value is None or (axes is not None and axes.value is None):
        return Facts(None)
    named = tuple(range(len(x.shape))) if axes is None else axes.ints()
    return _padded(x, pads.ints(), named, mode, constant_value)


def _padded(x: Size, pads: Ints, axes: Ints, mode: str, constant: Size | None) -> Facts:
    if len(pads) != 2 * len(axes):
        raise refuse(
            "ATTRIBUTE_LENGTH", f"pads has {len(pads)} entries, {2 * len(axes)} are needed", attribute="pads"
        )
    if mode not in ("constant", "reflect", "edge", "wrap"):
        raise refuse("MODE", f"mode {mode!r} is no way to pad", attribute="mode")
    amounts = [(0, 0)] * len(x.shape)
    for index, axis in enumerate(axes):
        amounts[axis_of(axis, len(x.shape))] = pads[index], pads[len(axes) + index]
    shape = tuple(dim + begin + end for dim, (begin, end) in zip(x.shape, amounts, strict=True))
    if min(shape, default=0) < 0:
        raise refuse("PADS", f"pads {pads} leave {shape} of {x.shape}", attribute="pads")
    if mode == "reflect":
        _check_mirror(x, amounts)
    value = None
    if mode == "constant" and min(pads, default=0) >= 0 and (constant is None or constant.value is not None):
        fill = 0 if constant is None or constant.value is None else constant.value.reshape(-1)[0]
        value = known(math.prod(shape), lambda v: np.pad(v, amounts, constant_values=fill), x)
    routes = tuple(
        Route(axis, crop(-begin)) if begin or end else Route(axis)
        for axis, (begin, end) in enumerate(amounts)
    )
    exact = {0: lambda: _by_rows(routes, _shown(x.shape, amounts, mode))}
    return Facts(
        Size(shape, x.dtype, value),
        spans=(routes, NOTHING),
        saved=() if mode == "constant" else (x,),
        exact=None if mode == "constant" else exact,
    )


def _shown(shape: Ints, amounts: list[tuple[int, int]], mode: Any) -> dict[int, Places]:
    """The rows that stand along each padded axis where nothing is added but rows that are there."""
    places = {}
    for axis, (dim, (begin, end)) in enumerate(zip(shape, amounts, strict=True)):
        if begin or end:
            kept = np.arange(max(-begin, 0), dim - max(-end, 0))
            places[axis] = np.pad(kept, (max(begin, 0), max(end, 0)), mode=mode)
    return places


def _check_mirror(x: Size, amounts: list[tuple[int, int]]) -> None:
    """A mirror stands on the last row and shows those before it once; rows that are taken are gone before."""
    for axis, (dim, (begin, end)) in enumerate(zip(x.shape, amounts, strict=True)):
        kept = dim + min(begin, 0) + min(end, 0)
        if 0 < max(begin, end) >= kept and (x.count or not dim):
            raise refuse(
                "PADS",
                f"axis {axis} of {x.shape} has no {max(begin, end)} rows beside its last to reflect",
                attribute="pads",
            )


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
        exact={0: lambda: _by_rows(routes, _again(x.shape, repeated))} if repeated else None,
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
