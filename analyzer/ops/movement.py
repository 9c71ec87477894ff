"""Data movement: rows joined, cut and framed. Nothing is computed: no flops, and autograd keeps nothing but what a
mirror shows.

Values ride along where small and known: this is where the shape arithmetic of exported models happens.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Setting, axis_of, known, refuse, rule
from analyzer.ops.shared.rows import by_rows
from analyzer.spans import DATA, NOTHING, WHOLE, Each, Places, Read, Route, Span, crop, straight

Ints = tuple[int, ...]


@rule("Concat", since=4)
def concat(first: Size, *rest: Size, axis: int) -> Facts:
    """Parts end to end along `axis`, equal elsewhere."""
    parts = (first, *rest)
    along = straight(len(first.shape))
    axis = axis_of(axis, len(along))
    before, after = first.shape[:axis], first.shape[axis + 1 :]
    spans, length = [], 0
    for part in parts:
        dims = part.shape
        if len(dims) != len(along) or dims[:axis] != before or dims[axis + 1 :] != after:
            drawn = ", ".join(str(part.shape) for part in parts)
            raise refuse("CONCAT", f"shapes {drawn} differ beside axis {axis}", attribute="axis")
        # of several the first is moved as well: beyond its end nothing is read
        placed = Route(axis, crop(-length)) if rest else along[axis]
        spans.append((*along[:axis], placed, *along[axis + 1 :]))
        length += dims[axis]
    shape = (*before, length, *after)
    value = known(math.prod(shape), lambda *values: np.concatenate(values, axis=axis), *parts)
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
        value = None if x.value is None else x.value.take(np.arange(start, start + size), axis)
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
        value = None if value is None else value.take(np.arange(rows.start, rows.stop, rows.step), axis)
    forward = x if min(steps, default=1) > 0 else None  # backward is a copy
    exact = {0: lambda: by_rows(routes, {axis: np.array(rows) for axis, rows in turned.items()})}
    return Facts(
        Size(tuple(shape), x.dtype, value),
        spans=(tuple(routes), NOTHING),
        exact=exact if turned else None,
        strided=forward,
    )


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
    exact = {0: lambda: by_rows(routes, _shown(x.shape, amounts, mode))}
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
