"""Reading by index: gathers, one-hot, triangles, reversed runs.

elementwise: 0, for nothing is computed. Autograd keeps the indices. Where they are constant and run evenly along every
axis that they name, as those of an exported slice do, the spans are those of that slice. Values ride along where small
and known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analyzer.graph import Size, Value
from analyzer.ops.rule import Facts, Kept, Setting, axis_of, known, refuse, rule
from analyzer.ops.shared.indices import (
    boxed,
    check_beside,
    checked,
    elements_of,
    named_axes,
    numbered,
    run_of,
)
from analyzer.spans import (
    DATA,
    NOTHING,
    POINTWISE,
    WHOLE,
    Affine,
    Chain,
    Picks,
    Places,
    Read,
    Regroup,
    Route,
    Routes,
    Rows,
    crop,
    straight,
)

Ints = tuple[int, ...]


@rule("Gather")
def gather(x: Size, indices: Setting, *, axis: int = 0) -> Facts:
    """Rows of `axis` by number: an embedding, or one dimension of a shape."""
    rank, width = len(x.shape), len(indices.shape)
    axis = axis_of(axis, rank)
    checked(indices, x.shape[axis])
    shape = (*x.shape[:axis], *indices.shape, *x.shape[axis + 1 :])
    value = known(math.prod(shape), lambda v, i: v.take(i.astype(np.int64), axis, mode="wrap"), x, indices)
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
    run = run_of(indices.value, length)
    return Read("global", axis) if run is None else Route(axis, crop(*run))


@rule("GatherElements", since=11)
def gather_elements(x: Size, indices: Setting, *, axis: int = 0) -> Facts:
    """Along `axis`, for each place of `indices` the element that it names."""
    axis = axis_of(axis, len(x.shape))
    check_beside("indices", indices, x, axis)
    checked(indices, x.shape[axis])
    y = Size(indices.shape, x.dtype, known(indices.count, _taken, x, indices, axis=axis))
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[axis] = DATA if indices.value is None else WHOLE
    exact = None
    if (rows := indices.value) is not None:
        exact = {0: lambda: Picks(_taken(numbered(x.shape), rows, axis))}
    return Facts(y, spans=(tuple(routes), POINTWISE), exact=exact, saved=(Kept(x, x), indices))


def _taken(x: Value, indices: Value, axis: int) -> Value:
    corner = tuple(slice(None if a == axis else dim) for a, dim in enumerate(indices.shape))
    return np.take_along_axis(x[corner], indices.astype(np.int64), axis)


@rule("GatherND", since=11)
def gather_nd(x: Size, indices: Setting, *, batch_dims: int = 0) -> Facts:
    """For each row of `indices` the element, or the slice, that it names; `batch_dims` leading axes go along."""
    named, places = named_axes(x, indices, batch_dims)
    shape = (*indices.shape[:-1], *x.shape[batch_dims + named :])
    value = None
    if named and not batch_dims:
        value = known(math.prod(shape), lambda v, i: v[tuple(np.moveaxis(i, -1, 0))], x, indices)
    routes: list[Route | Read] = [Route(a) for a in range(batch_dims)]
    routes += boxed(x, indices, batch_dims, named, lambda run: crop(*run))
    routes += [Route(places + a) for a in range(len(x.shape) - batch_dims - named)]
    chosen: Routes = (*(Route(a) for a in range(places)), WHOLE)
    exact = None
    if indices.value is not None and indices.count:
        exact = {0: lambda: Picks(elements_of(x.shape, indices.value, batch_dims).reshape(shape))}
    return Facts(Size(shape, x.dtype, value), spans=(tuple(routes), chosen), exact=exact, saved=(indices,))


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
    return np.where(kept, numbered(shape), -1)


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
    places = np.moveaxis(numbered(shape), (batch_axis, time_axis), (0, 1))
    for sample, length in enumerate(lengths):
        places[sample, :length] = places[sample, :length][::-1].copy()
    return np.moveaxis(places, (0, 1), (batch_axis, time_axis))
