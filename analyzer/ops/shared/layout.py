"""Layouts: what is known of an op on [N, C, *spatial], said of the same op on [N, *spatial, C]. Not a family:
no op is named here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from analyzer.graph import Size
from analyzer.ops.rule import Facts
from analyzer.spans import OPAQUE, Read, Regroup, Route, Routes, Span, Word

Ints = tuple[int, ...]


def channels_first(shape: Ints) -> Ints:
    """[N, *spatial, C] as [N, C, *spatial]."""
    return (shape[0], shape[-1], *shape[1:-1])


def channels_last(said_of: Callable[[Size], Facts], x: Size) -> Facts:
    """What `said_of` says of its operand and results, for an operand x and results whose channels are the last axis."""
    inner = Size(channels_first(x.shape), x.dtype, exact=x.exact)
    said = said_of(inner)
    outputs = said.outputs if isinstance(said.outputs, tuple) else (said.outputs,)
    turned = {id(size): _turned(size) for size in outputs if isinstance(size, Size)}
    turned[id(inner)] = x
    return msgspec.structs.replace(
        said,
        outputs=tuple(None if size is None else turned[id(size)] for size in outputs),
        spans=_spans(said, x.rank),
        exact=None,
        saved=tuple(turned.get(id(size), size) for size in said.saved),
        inplace=tuple(turned.get(id(size), size) for size in said.inplace),
    )


def _turned(size: Size) -> Size:
    return Size((size.shape[0], *size.shape[2:], size.shape[1]), size.dtype, exact=size.exact)


def _spans(said: Facts, rank: int) -> Span | tuple[Span, ...]:
    """Operand 0 has its axes turned like the result's; all operands find the result's axes in other places."""
    if not isinstance(said.spans, tuple):
        return said.spans if isinstance(said.spans, Word) else OPAQUE
    place = {0: 0, 1: rank - 1, **{axis: axis - 1 for axis in range(2, rank)}}
    operands = 1 if isinstance(said.spans[0], (Route, Read)) else len(said.spans)
    first, *others = (_renamed(said.span(index), place) for index in range(operands))
    if isinstance(first, tuple):
        first = (first[0], *first[2:], first[1])
    return (first, *others)


def _renamed(said: Span, place: dict[int, int]) -> Span:
    """A span, the result's axes by their new places."""
    if isinstance(said, Word):
        return said
    if isinstance(said, Regroup):
        return OPAQUE
    routes: Routes = tuple(
        Route(place[way.axis], way.taps)
        if isinstance(way, Route)
        else Read(way.kind, None if way.axis is None else place[way.axis], way.shift)
        for way in said
    )
    return routes
