"""What the elements of a tensor see, and how that passes through an op, joins at a branch, and changes shape."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec
import numpy as np

from analyzer.graph import Size
from analyzer.spans import OPAQUE, Exact, Read
from analyzer.spans import ends as sight
from analyzer.spans.ends import Ends

Trust = Literal["exact", "data_dependent", "opaque"]
_RANK: Mapping[Trust, int] = {"exact": 0, "data_dependent": 1, "opaque": 2}

Axis = tuple[str, int]
"""A graph input and one of its axes."""


class Seen(msgspec.Struct, frozen=True, eq=False):
    """What each element of a tensor sees of one input axis. Unless `trust` is exact, rows between the ends may be
    seen or not, as the data decides, or as nobody can tell (opaque); none outside is.
    """

    ends: Ends
    trust: Trust = "exact"

    def at(self, positions: Mapping[int, int]) -> tuple[int, int] | None:
        """First and last row that the elements at `positions`, by axis, see together; None where they see nothing."""
        part = self.ends
        for axis, position in positions.items():
            if axis + 1 < part.ndim and part.shape[axis + 1] > 1:
                part = part.take([position], axis=axis + 1)
        return sight.rows(part)


Views = tuple[Seen | None, ...]
"""What a tensor sees of each axis that is followed; None where it does not depend on that input."""


def read(views: Views, span: Exact, operand: Size | None, result: Size | None) -> Views:
    """An operand's views as its op's result has them."""
    if operand is None or result is None or span is OPAQUE:
        return all_of(views, result)
    before, after = operand.shape, result.shape
    made: list[Seen | None] = []
    for seen in views:
        if seen is None:
            made.append(None)
            continue
        ends = None if seen.ends.ndim - 1 != len(before) else sight.read(seen.ends, span, before, after)
        if ends is None:
            made.append(Seen(sight.hull(seen.ends, len(after)), "opaque"))
        elif _picks(span, seen):
            made.append(Seen(ends, "data_dependent"))
        else:
            made.append(seen if ends is seen.ends else Seen(ends, seen.trust))
    return tuple(made)


def _picks(span: Exact, seen: Seen) -> bool:
    """Whether the data picks rows that do not all see the same, or perhaps none."""
    return (
        seen.trust == "exact"
        and type(span) is tuple
        and any(
            type(way) is Read
            and way.kind == "data_dependent"
            and (way.spare or seen.ends.shape[axis + 1] > 1)
            for axis, way in enumerate(span[: seen.ends.ndim - 1])
        )
    )


def all_of(views: Views, size: Size | None, trust: Trust = "opaque") -> Views:
    """Every element of a tensor of this size sees what all together see."""
    rank = 0 if size is None else size.rank
    return tuple(view and Seen(sight.hull(view.ends, rank), _worse(view.trust, trust)) for view in views)


def doubted(views: Views, trust: Trust) -> Views:
    """The same, to be trusted no more than told."""
    return tuple(view and Seen(view.ends, _worse(view.trust, trust)) for view in views)


def worst(views: Iterable[Seen]) -> Trust:
    """What all of them together can be trusted."""
    return max((view.trust for view in views), key=_RANK.__getitem__)


def _worse(a: Trust, b: Trust) -> Trust:
    return a if _RANK[a] >= _RANK[b] else b


def joined(parts: list[Views]) -> Views:
    """Branches where they meet: what any of them sees."""
    if len(parts) == 1:
        return parts[0]
    return tuple(map(_met, zip(*parts, strict=True)))


def _met(parts: tuple[Seen | None, ...]) -> Seen | None:
    told = list({id(part): part for part in parts if part is not None}.values())
    if len(told) < 2:
        return told[0] if told else None
    ends = np.minimum(told[0].ends, told[1].ends)
    for part in told[2:]:
        wide = np.broadcast_shapes(ends.shape, part.ends.shape) != ends.shape
        ends = np.minimum(ends, part.ends, out=None if wide else ends)
    return Seen(ends, worst(told))


def merged(a: Views | None, b: Views | None) -> Views | None:
    if a is None or b is None:
        return a or b
    return joined([a, b])


def same(a: Views | None, b: Views | None) -> bool:
    """Whether two views see the same."""
    if a is None or b is None:
        return a is b
    return all(
        x is y or (x is not None and y is not None and np.array_equal(x.ends, y.ends))
        for x, y in zip(a, b, strict=True)
    )


def taken(ends: Ends, axis: int, row: int | None = None) -> Ends:
    """One row of an axis, which vanishes; None: all of them together."""
    place = axis + 1
    if row is None:
        return ends.min(axis=place)  # type: ignore[no-any-return]  # numpy says Any
    return ends[(slice(None),) * place + (row if ends.shape[place] > 1 else 0,)]


def ranked(views: Views, size: Size | None) -> Views:
    """As a tensor of this size has them; of another rank, nobody can tell which element sees what."""
    rank = 0 if size is None else size.rank
    if all(view is None or view.ends.ndim - 1 == rank for view in views):
        return views
    return all_of(views, size)


def fit(views: Views, inner: Size | None, outer: Size | None) -> Views:
    """A body's result as its caller's."""
    if inner is not None and outer is not None and inner.shape != outer.shape:
        return all_of(views, outer)
    return ranked(views, outer)
