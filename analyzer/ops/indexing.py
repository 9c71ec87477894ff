"""Picking and placing by index: gathers, scatters, one-hot, triangles, reversed runs.

elementwise: 0, for nothing is computed; a scatter that reduces does one step per element placed. Autograd keeps the
indices. Where they are constant and run evenly along every axis that they name, as those of an exported slice do, the
spans are those of that slice. Values ride along where small and known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analyzer.graph import INT64, Size, Value
from analyzer.ops.rule import Facts, Setting, axis_of, known, refuse, rule
from analyzer.spans import (
    DATA,
    NOTHING,
    PHASES,
    POINTWISE,
    WHOLE,
    Affine,
    Chain,
    Exact,
    Picks,
    Places,
    Read,
    Regroup,
    Route,
    Routes,
    Rows,
    crop,
    spread,
    straight,
)

Ints = tuple[int, ...]
Run = tuple[int, int]
"""The first row of an even run and its step."""

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at,
}  # fmt: skip
"""Other words, "none" among them, replace."""


def _checked(indices: Size, length: int) -> Size:
    """Indices that exist in an axis of `length`, as far as they are known."""
    rows = indices.value
    if (
        rows is not None
        and indices.value_exact
        and rows.size
        and not (-length <= rows.min() and rows.max() < length)
    ):
        raise refuse("INDEX_OUT_OF_RANGE", f"indices {rows.min()} to {rows.max()} reach beyond {length} rows")
    return indices


def _run(rows: Value, length: int) -> Run | None:
    """Rows of an axis of `length` as an even rising run, if they are one."""
    found = (rows.astype(np.int64) % max(length, 1)).tolist()
    if not found:
        return None
    step = found[1] - found[0] if len(found) > 1 else 1
    return (found[0], step) if step > 0 and found == list(range(found[0], found[-1] + 1, step)) else None


@rule("Gather")
def gather(x: Size, indices: Setting, *, axis: int = 0) -> Facts:
    """Rows of `axis` by number: an embedding, or one dimension of a shape."""
    rank, width = len(x.shape), len(indices.shape)
    axis = axis_of(axis, rank)
    _checked(indices, x.shape[axis])
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    value = known(
        math.prod(shape), lambda v, i: np.take(v, i.astype(np.int64), axis=axis, mode="wrap"), x, indices
    )
    routes: list[Route | Read] = [Route(a if a < axis else a + width - 1) for a in range(rank)]
    routes[axis] = _picked(indices, x.shape[axis], axis)
    chosen: Routes = tuple(Route(axis + a) for a in range(width))
    y, spans = Size(shape, x.dtype, value), (tuple(routes), chosen)
    exact = None if indices.value is None else {0: lambda: _gathered(x.shape, indices, axis, shape)}
    if not indices.shape:  # one row: the axis vanishes
        return Facts(y, spans=spans, exact=exact, strided=x)
    return Facts(y, spans=spans, exact=exact, saved=(indices,))


def _gathered(before: Ints, indices: Size, axis: int, after: Ints) -> Chain:
    """Rows picked one by one, then laid out as the indices are."""
    assert indices.value is not None
    rows = indices.value.reshape(-1).astype(np.int64) % max(before[axis], 1)
    ways = tuple(Rows(a, rows) if a == axis else Route(a) for a in range(len(before)))
    picked = (*before[:axis], rows.size, *before[axis + 1 :])
    return Chain(((ways, picked), (Regroup(picked, after), after)))


def _picked(indices: Size, length: int, axis: int) -> Route | Read:
    """What a gather reads of its axis: an even run of rows, constant rows in some order, or what the data says."""
    if indices.value is None:
        return DATA
    if len(indices.shape) != 1:
        return WHOLE
    if not indices.count:
        return Route(axis, Affine(1, 1, (None,), (None,)))
    run = _run(indices.value, length)
    return Read("global", axis) if run is None else Route(axis, crop(*run))


@rule("GatherElements", since=11)
def gather_elements(x: Size, indices: Setting, *, axis: int = 0) -> Facts:
    """Along `axis`, for each place of `indices` the element that it names."""
    axis = axis_of(axis, len(x.shape))
    _check_beside("indices", indices, x, axis)
    _checked(indices, x.shape[axis])
    y = Size(indices.shape, x.dtype, known(indices.count, _taken, x, indices, axis=axis))
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[axis] = DATA if indices.value is None else WHOLE
    exact = None
    if (rows := indices.value) is not None:
        exact = {0: lambda: Picks(_taken(_numbered(x.shape), rows, axis))}
    return Facts(y, spans=(tuple(routes), POINTWISE), exact=exact, saved=(indices,))


def _numbered(shape: Ints) -> Places:
    """Elements by their numbers."""
    return np.arange(math.prod(shape)).reshape(shape)


def _check_beside(what: str, indices: Size, x: Size, axis: int) -> None:
    """Indices of the rank of x, nowhere longer than x but along `axis`."""
    if len(indices.shape) != len(x.shape):
        raise refuse("RANK", f"{what} {indices.shape} and data {x.shape} differ in rank")
    if any(a > b for place, (a, b) in enumerate(zip(indices.shape, x.shape, strict=True)) if place != axis):
        raise refuse(
            "INDICES_SHAPE", f"{what} {indices.shape} reach beyond data {x.shape} beside axis {axis}"
        )


def _taken(x: Value, indices: Value, axis: int) -> Value:
    corner = tuple(slice(None if a == axis else dim) for a, dim in enumerate(indices.shape))
    return np.take_along_axis(x[corner], indices.astype(np.int64), axis)


@rule("GatherND", since=11)
def gather_nd(x: Size, indices: Setting, *, batch_dims: int = 0) -> Facts:
    """For each row of `indices` the element, or the slice, that it names; `batch_dims` leading axes go along."""
    named, places = _named(x, indices, batch_dims)
    shape = (*indices.shape[:-1], *x.shape[batch_dims + named :])
    value = None
    if named and not batch_dims:
        value = known(math.prod(shape), lambda v, i: v[tuple(np.moveaxis(i, -1, 0))], x, indices)
    routes: list[Route | Read] = [Route(a) for a in range(batch_dims)]
    routes += _boxed(x, indices, batch_dims, named, lambda run: crop(*run))
    routes += [Route(places + a) for a in range(len(x.shape) - batch_dims - named)]
    chosen: Routes = (*(Route(a) for a in range(places)), WHOLE)
    exact = None
    if indices.value is not None and indices.count:
        exact = {0: lambda: Picks(_told(x.shape, indices.value, batch_dims).reshape(shape))}
    return Facts(Size(shape, x.dtype, value), spans=(tuple(routes), chosen), exact=exact, saved=(indices,))


def _told(shape: Ints, indices: Value, batch_dims: int) -> Places:
    """The numbers of the elements that rows of `indices` name."""
    lead, named = math.prod(shape[:batch_dims]), indices.shape[-1]
    rows = indices.astype(np.int64).reshape(lead, -1, named)
    batch = np.arange(lead)[:, None]
    found: Places = _numbered((lead, *shape[batch_dims:]))[(batch, *np.moveaxis(rows, -1, 0))]
    return found


def _named(x: Size, indices: Size, batch_dims: int = 0) -> tuple[int, int]:
    """How many axes of x a row of `indices` names, and over how many axes such rows are laid out."""
    if not indices.shape or not 0 <= batch_dims < min(len(indices.shape), len(x.shape)):
        raise refuse("RANK", f"indices {indices.shape} cannot name rows of {x.shape}", attribute="batch_dims")
    if indices.shape[:batch_dims] != x.shape[:batch_dims]:
        raise refuse(
            "INDICES_SHAPE",
            f"indices {indices.shape} and data {x.shape} differ in their first {batch_dims} axes",
        )
    named = indices.shape[-1]
    if batch_dims + named > len(x.shape):
        raise refuse("INDICES_SHAPE", f"rows of {named} indices cannot name elements of {x.shape}")
    if indices.value is not None:
        for place in range(named):
            column = Size(
                indices.shape[:-1], INT64, indices.value[..., place], value_exact=indices.value_exact
            )
            _checked(column, x.shape[batch_dims + place])
    return named, len(indices.shape) - 1


def _boxed(
    x: Size, indices: Size, first: int, named: int, taps: Callable[[Run], Affine]
) -> list[Route | Read]:
    """Spans of the `named` axes from `first` on: those of a slice where constant indices are laid out as one."""
    if indices.value is None:
        return [DATA] * named
    runs = _box(indices.value, x.shape[first : first + named]) if not first else None
    if runs is None:
        return [WHOLE] * named
    return [Route(place, taps(run)) if run[1] <= PHASES else WHOLE for place, run in enumerate(runs)]


def _box(indices: Value, shape: Ints) -> tuple[Run, ...] | None:
    """The run that each axis of a box goes through, if the rows of `indices` are a box of elements, laid out as one."""
    *grid, named = indices.shape
    if len(grid) != named or not indices.size:
        return None
    runs: list[Run] = []
    for place, length in enumerate(shape):
        column = np.moveaxis(indices[..., place], place, 0).reshape(grid[place], -1)
        run = _run(column[:, 0], length) if (column == column[:, :1]).all() else None
        if run is None:
            return None
        runs.append(run)
    return tuple(runs)


@rule("ScatterND", since=11)
def scatter_nd(x: Size, indices: Setting, updates: Size, *, reduction: str = "none") -> Facts:
    """A copy of x in which each row of `indices` names what its row of `updates` replaces, or is added to."""
    named, places = _named(x, indices)
    if updates.shape != (*indices.shape[:-1], *x.shape[named:]):
        raise refuse(
            "UPDATES_SHAPE", f"updates {updates.shape} do not fit indices {indices.shape} into {x.shape}"
        )
    place = _REDUCTIONS.get(reduction)
    value = known(x.count, _placed_rows, x, indices, updates, place=place) if named else None
    exact = None
    if (rows := indices.value) is not None and updates.count:
        exact = _written_over(lambda: _told(x.shape, rows, 0).reshape(-1), x.shape, place is None)
    routes: list[Route | Read] = [DATA if indices.value is None else WHOLE] * places
    if places == named:
        routes = _boxed(x, indices, 0, named, _written)
    routes += [Route(named + a) for a in range(len(x.shape) - named)]
    chosen = tuple(DATA if indices.value is None else WHOLE for _ in indices.shape)
    return _scattered(x, (), updates, value, reduction, (POINTWISE, chosen, tuple(routes)), exact)


def _written_over(
    targets: Callable[[], Places], shape: Ints, replaced: bool
) -> dict[int, Callable[[], Exact]]:
    """What a scatter reads of operand 0, which is `replaced` or added to, and of operand 2, whose elements go to
    `targets`: of several to one place the last replaces the others.
    """

    def kept() -> Exact:
        places = _numbered(shape)
        places.reshape(-1)[targets()] = -1
        return Picks(places)

    def placed() -> Exact:
        told = targets()
        if replaced:
            places = np.full(math.prod(shape), -1)
            places[told] = np.arange(told.size)
            return Picks(places.reshape(shape))
        order = np.argsort(told, kind="stable")
        first = np.searchsorted(told[order], told[order])  # where the run of one target begins
        several = np.full((math.prod(shape), int((np.arange(told.size) - first).max()) + 1), -1)
        several[told[order], np.arange(told.size) - first] = order
        return Picks(several.reshape(*shape, -1))

    return {0: kept, 2: placed} if replaced else {2: placed}


def _written(run: Run) -> Affine:
    """Row i is written to position first + step * i."""
    first, step = run
    return crop(-first) if step == 1 else spread(1, step, 1, -first)


def _placed(x: Value, where: tuple[Any, ...], updates: Value, place: Callable[..., Any] | None) -> Value:
    y = x.copy()
    if place is None:
        y[where] = updates
    else:
        place(y, where, updates)
    return y


def _placed_rows(x: Value, indices: Value, updates: Value, place: Callable[..., Any] | None) -> Value:
    return _placed(x, tuple(np.moveaxis(indices, -1, 0)), updates, place)


def _scattered(
    x: Size,
    kept: tuple[Size, ...],
    updates: Size,
    value: Value | None,
    reduction: str,
    spans: tuple[Any, ...],
    exact: dict[int, Callable[[], Exact]] | None = None,
) -> Facts:
    y = Size(x.shape, x.dtype, value)
    saved = (x, *kept, updates, y) if reduction in ("mul", "max", "min") else kept
    steps = updates.count if reduction in _REDUCTIONS else 0
    return Facts(y, elementwise=steps, spans=spans, exact=exact, saved=saved, inplace=(x,))


@rule("Scatter", since=9)
def scatter(x: Size, indices: Setting, updates: Size, *, axis: int = 0) -> Facts:
    """The older name of ScatterElements."""
    return scatter_elements(x, indices, updates, axis=axis)


@rule("ScatterElements", since=11)
def scatter_elements(
    x: Size, indices: Setting, updates: Size, *, axis: int = 0, reduction: str = "none"
) -> Facts:
    """A copy of x in which, along `axis`, each place of `indices` names what its update replaces, or is added to."""
    axis = axis_of(axis, len(x.shape))
    if updates.shape != indices.shape:
        raise refuse("UPDATES_SHAPE", f"updates {updates.shape} and indices {indices.shape} differ")
    _check_beside("indices", indices, x, axis)
    _checked(indices, x.shape[axis])
    value = known(x.count, _placed_elements, x, indices, updates, axis=axis, place=_REDUCTIONS.get(reduction))
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[axis] = DATA if indices.value is None else WHOLE
    exact = None
    if (rows := indices.value) is not None and updates.count:
        targets = lambda: _numbered(x.shape)[_beside(rows, axis)].reshape(-1)  # noqa: E731
        exact = _written_over(targets, x.shape, reduction not in _REDUCTIONS)
    spans = (POINTWISE, tuple(routes), tuple(routes))
    return _scattered(x, (indices,), updates, value, reduction, spans, exact)


def _placed_elements(
    x: Value, indices: Value, updates: Value, axis: int, place: Callable[..., Any] | None
) -> Value:
    return _placed(x, _beside(indices, axis), updates, place)


def _beside(indices: Value, axis: int) -> tuple[Any, ...]:
    """Where elements of the places of `indices` lie that move along `axis` only."""
    where: list[Any] = [*np.indices(indices.shape, sparse=True)]
    where[axis] = indices.astype(np.int64)
    return tuple(where)


@rule("TensorScatter", since=24)
def tensor_scatter(
    cache: Size, update: Size, write_indices: Setting | None = None, *, axis: int = -2, mode: str = "linear"
) -> Facts:
    """A cache [B, ..., length, ...] in which `update` is written along `axis`, each sample from its own index on."""
    axis = axis_of(axis, len(cache.shape))
    if mode not in ("linear", "circular"):
        raise refuse("MODE", f"mode {mode!r} is neither linear nor circular", attribute="mode")
    _check_beside("update", update, cache, axis)
    if update.shape[axis] > cache.shape[axis]:
        raise refuse(
            "UPDATES_SHAPE", f"update {update.shape} is longer than cache {cache.shape}", attribute="axis"
        )
    starts = (
        {0} if write_indices is None else None if write_indices.value is None else {*write_indices.ints()}
    )
    routes: list[Route | Read] = list(straight(len(cache.shape)))
    if starts is None:
        routes[axis] = DATA
    elif len(starts) == 1 and mode == "linear":
        routes[axis] = Route(axis, crop(-starts.pop()))
    else:
        routes[axis] = WHOLE
    saved = () if write_indices is None else (write_indices,)
    exact = None
    if starts is not None and update.count:
        rows = (0,) * cache.shape[0] if write_indices is None else write_indices.ints()
        exact = _written_over(lambda: _from(cache.shape, update.shape, rows, axis), cache.shape, True)
        exact[1] = exact.pop(2)
    return Facts(
        Size(cache.shape, cache.dtype),
        spans=(POINTWISE, tuple(routes), (DATA,)),
        exact=exact,
        saved=saved,
        inplace=(cache,),
    )


def _from(shape: Ints, update: Ints, starts: Ints, axis: int) -> Places:
    """The numbers of the elements that an update is written to, each sample from its own start on, round the end."""
    where: list[Any] = [*np.indices(update, sparse=True)]
    where[axis] = (np.reshape(starts, (-1,) + (1,) * (len(shape) - 1)) + where[axis]) % shape[axis]
    found: Places = _numbered(shape)[tuple(where)]
    return found.reshape(-1)


@rule("OneHot", since=9)
def one_hot(indices: Size, depth: Setting, values: Setting, *, axis: int = -1) -> Facts:
    """A new axis of `depth`, on at each index and off elsewhere; `values` are [off, on]."""
    rank = len(indices.shape)
    if not rank:
        raise refuse("RANK", "indices must have an axis")
    axis = axis_of(axis, rank + 1)
    if values.count != 2:
        raise refuse(
            "ATTRIBUTE_LENGTH",
            f"values has {values.count} entries, off and on are needed",
            attribute="values",
        )
    if depth.value is None:
        return Facts(None)
    length = int(depth.value.reshape(-1)[0])
    if length <= 0:
        raise refuse("DEPTH", f"depth {length} is not positive")
    shape = (*indices.shape[:axis], length, *indices.shape[axis:])
    value = known(math.prod(shape), _lit, indices, values, length=length, axis=axis)
    routes = tuple(Route(a if a < axis else a + 1) for a in range(rank))
    return Facts(Size(shape, values.dtype, value), spans=(routes, NOTHING, (WHOLE,)))


def _lit(indices: Value, values: Value, length: int, axis: int) -> Value:
    """Indices below zero count from the end; those out of reach light nothing."""
    rows = np.expand_dims(indices.astype(np.int64), axis)
    rows = np.where(rows < 0, rows + length, rows)
    places = np.arange(length).reshape((length,) + (1,) * (indices.ndim - axis))
    return np.asarray(np.where(rows == places, values[1], values[0]))


@rule("Trilu", since=14)
def trilu(x: Size, k: Setting | None = None, *, upper: int = 1) -> Facts:
    """The upper or lower triangle of each matrix from the k-th diagonal on, zeros elsewhere."""
    if len(x.shape) < 2:
        raise refuse("RANK", f"{x.shape} is no matrix")
    part = np.triu if upper else np.tril
    known_k = k is None or k.value is not None
    diagonal = 0 if k is None or k.value is None else int(k.value.reshape(-1)[0])
    value = known(x.count, lambda v: part(v, diagonal), x) if known_k else None
    exact = {0: lambda: Picks(_triangle(x.shape, part, diagonal))} if known_k else None
    return Facts(Size(x.shape, x.dtype, value), spans=(POINTWISE, NOTHING), exact=exact, inplace=(x,))


def _triangle(shape: Ints, part: Callable[..., Any], diagonal: int) -> Places:
    """The numbers of the elements that are left."""
    kept = part(np.ones(shape[-2:], bool), diagonal)
    return np.where(kept, _numbered(shape), -1)


@rule("ReverseSequence", since=10)
def reverse_sequence(x: Size, lengths: Setting, *, batch_axis: int = 1, time_axis: int = 0) -> Facts:
    """Along time the first `lengths` rows of each sample in reverse order. The two axes are the first two."""
    if {batch_axis, time_axis} != {0, 1} or len(x.shape) < 2:
        raise refuse(
            "AXIS_OUT_OF_RANGE", f"axes {batch_axis} and {time_axis} are not 0 and 1", attribute="time_axis"
        )
    if lengths.shape != (x.shape[batch_axis],):
        raise refuse("LENGTHS_SHAPE", f"sequence_lens {lengths.shape} for a batch of {x.shape[batch_axis]}")
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[time_axis] = DATA if lengths.value is None else Read("global", time_axis)
    exact = None
    if lengths.value is not None:
        exact = {0: lambda: Picks(_reversed(x.shape, lengths.ints(), batch_axis, time_axis))}
    return Facts(Size(x.shape, x.dtype), spans=(tuple(routes), (Route(batch_axis),)), exact=exact)


def _reversed(shape: Ints, lengths: Ints, batch_axis: int, time_axis: int) -> Places:
    """Elements by number, the first rows of each sample in reverse order."""
    places = np.moveaxis(_numbered(shape), (batch_axis, time_axis), (0, 1))
    for sample, length in enumerate(lengths):
        places[sample, :length] = places[sample, :length][::-1].copy()
    return np.moveaxis(places, (0, 1), (batch_axis, time_axis))
