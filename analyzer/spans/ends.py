"""The arithmetic of the size at hand: for every element of a tensor, the first and the last row of one input axis that
it sees, clipped at every layer.

Both lie in one array, `Ends`, of shape (2, *dims): first rows, and last rows negated, so that whatever sees more has
the smaller numbers, an element that sees nothing has NOTHING_SEEN twice, and one minimum joins both. `dims` are those
of the tensor, or 1 along an axis on which nothing differs. Elements are never looped over: an op of any kind is a few
calls of numpy.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec
import numpy as np

from analyzer.spans.words import (
    POINTWISE,
    SAME,
    Abreast,
    Affine,
    Chain,
    Exact,
    Picks,
    Places,
    Read,
    Regroup,
    Route,
    Rows,
    regrouped,
)

Ends = np.ndarray[Any, np.dtype[np.int32]]
Mask = np.ndarray[Any, np.dtype[np.bool_]]
Shape = tuple[int, ...]
NOTHING_SEEN = np.int32(2**31 - 1)


def entered(shape: Shape, axis: int) -> Ends:
    """An input's own axis: row i sees row i."""
    rows = np.arange(shape[axis], dtype=np.int32)
    return np.stack((rows, -rows)).reshape(
        2, *(dim if place == axis else 1 for place, dim in enumerate(shape))
    )


def blind(rank: int) -> Ends:
    """A tensor that sees nothing."""
    return np.full((2,) + (1,) * rank, NOTHING_SEEN, np.int32)


def hull(ends: Ends, rank: int = 0) -> Ends:
    """All elements together, as seen by every element of a tensor of `rank`."""
    if not ends.size:
        return blind(rank)
    both: Ends = ends.reshape(2, -1).min(axis=1)
    return both.reshape((2,) + (1,) * rank)


def rows(ends: Ends) -> tuple[int, int] | None:
    """First and last row that all elements together see; None where they see nothing."""
    first, last = (int(end) for end in hull(ends))
    return None if first == NOTHING_SEEN else (first, -last)


def read(ends: Ends, span: Exact, before: Shape, after: Shape) -> Ends | None:
    """What an op's result of shape `after` sees that reads an operand of shape `before` through `span`; None where the
    span does not fit them.
    """
    if 0 in before or 0 in after:
        return blind(len(after))
    if span is POINTWISE:
        return ends if before == after else _stretched(ends, before, after)
    if type(span) is Regroup:
        return _regrouped(ends, before, after)
    if type(span) is tuple:
        return _routed(ends, span, before, after)
    if type(span) is Picks:
        return _picked(ends, span.places, before, after)
    if type(span) is Abreast:
        return _abreast(ends, span, before, after)
    if type(span) is not Chain:
        return None
    seen: Ends | None = ends
    for link, shape in span.links:
        seen = None if seen is None else read(seen, link, before, shape)
        before = shape
    return seen


def _stretched(ends: Ends, before: Shape, after: Shape) -> Ends | None:
    """Broadcast: axes aligned from the right."""
    shift = len(after) - len(before)
    if shift < 0 or any(dim not in (1, full) for dim, full in zip(before, after[shift:], strict=True)):
        return None
    return ends.reshape(2, *(1,) * shift, *ends.shape[1:])


# -------------------------------------------------------------------------------------------- along one axis


Run = Places | slice
"""Row numbers, as a slice where they are consecutive."""


class Taps(msgspec.Struct, frozen=True, eq=False):
    """Runs of rows at even steps, one for each of `positions`, of which every row exists.

    A run of 2^k rows up to 2^(k+1) - 1 is two overlapping runs of 2^k: `levels` has for each k the positions of such
    runs, and where the two begin; `some` the positions that have a run, None if all do.
    """

    step: int
    positions: int
    levels: tuple[tuple[Run, Run, Run] | None, ...]
    some: Mask | None


@lru_cache(maxsize=4096)  # a network reads through the same few windows over and over
def _clipped(taps: Affine, length: int, positions: int) -> Taps:
    """What `taps` read of an axis of `length`."""
    turn, phase = np.divmod(np.arange(positions), taps.period)
    empty = np.array([low is None for low in taps.lows])[phase]
    first = np.array([low or 0 for low in taps.lows])[phase] + turn * taps.advance
    last = np.array([high or 0 for high in taps.highs])[phase] + turn * taps.advance
    count = np.where(empty, 0, (last - first) // taps.step + 1)
    return _laid_out(first, count, taps.step, length)


def _laid_out(first: Places, count: Places, step: int, length: int) -> Taps:
    """Runs of `count` rows from `first` on, without those that an axis of `length` does not have."""
    missing = np.maximum(-(first // step), 0)
    first = first + missing * step
    count = np.minimum(count - missing, (length - 1 - first) // step + 1)
    levels: list[tuple[Run, Run, Run] | None] = []
    for level in range(int(count.max(initial=0)).bit_length()):
        run = 1 << level
        places = np.flatnonzero((count >= run) & (count < 2 * run))
        begin = first[places]
        found = (_run(places), _run(begin), _run(begin + (count[places] - run) * step))
        levels.append(found if places.size else None)
    some = count > 0
    return Taps(step, len(first), tuple(levels), None if some.all() else some)


def _run(places: Places) -> Run:
    if places.size and np.array_equal(places, np.arange(places[0], places[0] + places.size)):
        return slice(int(places[0]), int(places[0]) + places.size)
    return places


def _along(ends: Ends, place: int, taps: Taps) -> Ends:
    """Array axis `place` read through `taps`."""
    if ends.shape[place] == 1:  # wherever there is a row at all, it is as good as another
        if taps.some is None:
            return ends
        some = taps.some.reshape((1,) * place + (-1,) + (1,) * (ends.ndim - place - 1))
        return np.where(some, ends, NOTHING_SEEN)
    before: tuple[slice, ...] = (slice(None),) * place
    made = _blank(ends, place, taps)
    table = ends
    for level, found in enumerate(taps.levels):
        if level:
            ahead = taps.step << (level - 1)
            table = np.minimum(table[(*before, slice(-ahead))], table[(*before, slice(ahead, None))])
        if found is not None:
            places, one, other = found
            seen = _at(table, place, one)
            made[(*before, places)] = np.minimum(seen, _at(table, place, other)) if level else seen
    return made


def _blank(ends: Ends, place: int, taps: Taps) -> Ends:
    """What sees nothing yet; left unwritten where every position will be written."""
    shape = (*ends.shape[:place], taps.positions, *ends.shape[place + 1 :])
    return np.empty(shape, np.int32) if taps.some is None else np.full(shape, NOTHING_SEEN)


def _at(ends: Ends, place: int, rows: Run) -> Ends:
    return ends[(slice(None),) * place + (rows,)] if type(rows) is slice else ends.take(rows, axis=place)


def _chosen(ends: Ends, place: int, places: Places) -> Ends:
    """Array axis `place` read at rows of these numbers, one or several for each position; none where negative."""
    none = places < 0
    if ends.shape[place] == 1:
        some = ~none if places.ndim == 1 else ~none.all(axis=1)
        if some.all():
            return ends
        return np.where(
            some.reshape((1,) * place + (-1,) + (1,) * (ends.ndim - place - 1)), ends, NOTHING_SEEN
        )
    made = ends.take(places.clip(0), axis=place)
    if none.any():
        made[(slice(None),) * place + (none,)] = NOTHING_SEEN
    return made if places.ndim == 1 else made.min(axis=place + 1)


def _up_to(ends: Ends, place: int, length: int, positions: int, way: Read) -> Ends:
    """A prefix or a suffix: what runs up to each position, or from it on, in an axis of `length`."""
    turned = way.kind == "suffix"
    run = np.flip(ends, place) if turned else ends
    run = np.minimum.accumulate(run, axis=place)
    run = np.flip(run, place) if turned else run
    at = np.arange(positions) + way.shift
    some = at < length if turned else at >= 0
    return _along(run, place, _laid_out(at.clip(0, length - 1), some.astype(int), 1, length))


# -------------------------------------------------------------------------------------------- axis by axis


def _routed(ends: Ends, routes: tuple[Route | Read | Rows, ...], before: Shape, after: Shape) -> Ends | None:
    """Each axis through its route, then axes laid where they go; those that are read whole vanish."""
    if len(routes) < len(before):
        return None
    targets: list[int | None] = []
    for axis, (length, way) in enumerate(zip(before, routes, strict=False)):
        place, target = axis + 1, way.axis
        if isinstance(way, Read) and way.kind not in ("prefix", "suffix"):
            ends = ends if ends.shape[place] == 1 else ends.min(axis=place, keepdims=True)
            targets.append(None)
            continue
        if target is None or target >= len(after):
            return None
        targets.append(target)
        positions = after[target]
        if isinstance(way, Read):
            ends = _up_to(ends, place, length, positions, way)
        elif isinstance(way, Rows):
            ends = _chosen(ends, place, way.places)
        elif way.taps is not SAME or length not in (1, positions):
            ends = _along(ends, place, _clipped(way.taps, length, positions))
    return _laid(ends, targets, len(after))


def _laid(ends: Ends, targets: list[int | None], rank: int) -> Ends:
    """Axes moved to their places among `rank`; of two that go to one place, the diagonal."""
    if len(targets) == rank and all(target in (None, axis) for axis, target in enumerate(targets)):
        return ends
    ends = ends[(slice(None), *(0 if target is None else slice(None) for target in targets))]
    places = [target for target in targets if target is not None]
    for target in {target for target in places if places.count(target) > 1}:
        while places.count(target) > 1:
            one = places.index(target)
            other = places.index(target, one + 1)
            if 1 in (ends.shape[one + 1], ends.shape[other + 1]):
                ends = np.broadcast_to(ends, _both(ends.shape, one + 1, other + 1))
            ends = np.diagonal(ends, axis1=one + 1, axis2=other + 1)
            places = [place for axis, place in enumerate(places) if axis not in (one, other)] + [target]
    order = sorted(range(len(places)), key=places.__getitem__)
    extents = {target: ends.shape[axis + 1] for axis, target in enumerate(places)}
    ends = ends.transpose((0, *(axis + 1 for axis in order)))
    return ends.reshape(2, *(extents.get(axis, 1) for axis in range(rank)))


def _both(shape: Shape, one: int, other: int) -> Shape:
    """A shape of which two axes have the extent of the larger."""
    extent = max(shape[one], shape[other])
    return tuple(extent if place in (one, other) else dim for place, dim in enumerate(shape))


# -------------------------------------------------------------------------------------------- axes together


def _regrouped(ends: Ends, before: Shape, after: Shape) -> Ends:
    """A reshape; a run of axes along which nothing differs stays of extent 1."""
    full: list[int] = [2]
    wanted: list[int] = [2]
    cut: list[int] = []
    place = 1
    for old, new in regrouped(before, after):
        have = ends.shape[place : place + len(old)]
        place += len(old)
        if all(dim == 1 for dim in have):
            full += have
            wanted += (1,) * len(new)
        elif old == new:
            full += have
            wanted += have
        else:
            full += old
            cut += range(len(wanted), len(wanted) + len(new)) if len(new) > 1 else ()
            wanted += new
    made = np.broadcast_to(ends, full).reshape(wanted)
    for axis in cut:
        made = _settled(made, axis)
    return made


def _settled(ends: Ends, place: int) -> Ends:
    """One row of an axis along which nothing differs."""
    first = ends[(slice(None),) * place + (slice(1),)]
    return first if ends.shape[place] > 1 and bool((ends == first).all()) else ends


def _picked(ends: Ends, places: Places, before: Shape, after: Shape) -> Ends:
    """Elements picked by number; where one reads several, all of them."""
    flat = np.broadcast_to(ends, (2, *before)).reshape(2, -1)
    flat = np.concatenate((flat, blind(1)), axis=1)  # a negative number picks the last
    made = flat[:, np.maximum(places, -1)]
    if places.ndim > len(after):
        made = made.min(axis=-1)
    for place in range(1, made.ndim):
        made = _settled(made, place)
    return made


def _abreast(ends: Ends, span: Abreast, before: Shape, after: Shape) -> Ends | None:
    """Each position of an axis on its own."""
    one = tuple(1 if axis == span.axis else dim for axis, dim in enumerate(after))
    parts = [read(ends, part, before, one) for part in span.parts]
    told = [part for part in parts if part is not None]
    return (
        np.concatenate(np.broadcast_arrays(*told), axis=span.axis + 1)
        if len(told) == after[span.axis]
        else None
    )
