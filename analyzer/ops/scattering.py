"""Writing by index: scatters, and the cache that a sequence is written to.

elementwise: 0; one that reduces does one step per element placed. Autograd keeps the indices. Where they are constant
and run evenly along every axis that they name, as those of an exported slice do, the spans are those of that slice.
Values ride along where small and known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analyzer.graph import Size, Value
from analyzer.ops.rule import Facts, Setting, axis_of, known, refuse, rule
from analyzer.ops.shared.indices import Run, boxed, check_beside, checked, elements_of, named_axes, numbered
from analyzer.spans import (
    DATA,
    POINTWISE,
    WHOLE,
    Affine,
    Exact,
    Picks,
    Places,
    Read,
    Route,
    crop,
    spread,
    straight,
)

Ints = tuple[int, ...]

_REDUCTIONS: dict[str, Callable[..., Any]] = {
    "add": np.add.at, "mul": np.multiply.at, "max": np.maximum.at, "min": np.minimum.at,
}  # fmt: skip
"""Other words, "none" among them, replace."""


@rule("ScatterND", since=11)
def scatter_nd(x: Size, indices: Setting, updates: Size, *, reduction: str = "none") -> Facts:
    """A copy of x in which each row of `indices` names what its row of `updates` replaces, or is added to."""
    named, places = named_axes(x, indices)
    if updates.shape != (*indices.shape[:-1], *x.shape[named:]):
        raise refuse(
            "UPDATES_SHAPE", f"updates {updates.shape} do not fit indices {indices.shape} into {x.shape}"
        )
    place = _REDUCTIONS.get(reduction)
    value = known(x.count, _placed_rows, x, indices, updates, place=place) if named else None
    exact = None
    if (rows := indices.value) is not None and updates.count:
        exact = _written_over(lambda: elements_of(x.shape, rows, 0).reshape(-1), x.shape, place is None)
    routes: list[Route | Read] = [DATA if indices.value is None else WHOLE] * places
    if places == named:
        routes = boxed(x, indices, 0, named, _written)
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
        places = numbered(shape)
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
    check_beside("indices", indices, x, axis)
    checked(indices, x.shape[axis])
    value = known(x.count, _placed_elements, x, indices, updates, axis=axis, place=_REDUCTIONS.get(reduction))
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[axis] = DATA if indices.value is None else WHOLE
    exact = None
    if (rows := indices.value) is not None and updates.count:
        targets = lambda: numbered(x.shape)[_beside(rows, axis)].reshape(-1)  # noqa: E731
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
    check_beside("update", update, cache, axis)
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
    found: Places = numbered(shape)[tuple(where)]
    return found.reshape(-1)
