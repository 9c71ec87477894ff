"""The vocabulary: what a rule says of what its op's output positions read of an operand.

A Span holds for tensors of any size: it says where each axis of the operand goes (`Route`, `Read`), or is one of the
words POINTWISE, NOTHING, OPAQUE, or a reshape (`Regroup`). Where clipping a Span to the operand would not tell
everything, a rule adds what is read at the size at hand, in words that need not hold for any other: `Rows`, `Picks`,
`Abreast`, `Chain`.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Literal

import msgspec
import numpy as np


class Affine(msgspec.Struct, frozen=True, gc=False):
    """A map from output positions to operand rows: position p*n + g reads rows a*n + low[g] up to a*n + high[g],
    each `step`-th of them.

    An empty phase (no row is read, as between the taps of a sparse transposed convolution) has None for both. `fitted`:
    where the taps lie was made to fit the size at hand, and would be elsewhere at another.
    """

    period: int
    advance: int
    lows: tuple[int | None, ...]
    highs: tuple[int | None, ...]
    step: int = 1
    fitted: bool = False


PHASES = 4096
"""Most phases that a rule writes out; where an op has more, the axis is read whole."""

SAME = Affine(1, 1, (0,), (0,))
"""Output position i reads operand row i."""


class Route(msgspec.Struct, frozen=True, gc=False):
    """Where one operand axis goes: to output axis `axis`, read through `taps`."""

    axis: int
    taps: Affine = SAME


class Read(msgspec.Struct, frozen=True, gc=False):
    """An operand axis of which every output position reads more than a window.

    kind    global: all of it; prefix, suffix: all up to, or from, its own position; data_dependent: rows that
            the data picks
    axis    the output axis that keeps the position, where there is one
    shift   of a prefix or suffix: it ends, or begins, so many rows behind the position
    spare   of rows that the data picks: it may pick none, as coordinates do that lie outside
    """

    kind: Literal["global", "prefix", "suffix", "data_dependent"]
    axis: int | None = None
    shift: int = 0
    spare: bool = False


WHOLE = Read("global")
DATA = Read("data_dependent")


class Word(msgspec.Struct, frozen=True, gc=False):
    """A span that needs no axes."""

    name: str


class Regroup(msgspec.Struct, frozen=True, gc=False):
    """A reshape: the same elements in the same order, cut into other axes."""

    before: tuple[int, ...]
    after: tuple[int, ...]


POINTWISE = Word("pointwise")
"""Each output element reads the one operand element it is broadcast from (axes aligned from the right)."""

NOTHING = Word("nothing")
"""The operand's numbers are not read, only its shape."""

OPAQUE = Word("opaque")
"""Nobody has said what is read."""

Routes = tuple[Route | Read, ...]
Span = Word | Regroup | Routes


Places = np.ndarray[Any, np.dtype[np.int64]]


class Rows(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Among routes: output position i along `axis` reads the operand rows places[i], one or several; negative: none."""

    axis: int
    places: Places


class Picks(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Each output element reads the operand elements of these numbers (in row-major order; none where negative).

    `places` has the output's shape, or one axis more where an element reads several.
    """

    places: Places


class Abreast(msgspec.Struct, frozen=True, gc=False, eq=False):
    """Output positions along `axis` that do not read alike: for each of them what it reads."""

    axis: int
    parts: tuple[Exact, ...]


class Chain(msgspec.Struct, frozen=True, gc=False, eq=False):
    """One after another: each span with the shape that it results in."""

    links: tuple[tuple[Exact, tuple[int, ...]], ...]


Exact = Word | Regroup | tuple[Route | Read | Rows, ...] | Picks | Abreast | Chain
"""What is read of an operand at the size at hand."""


class Each(msgspec.Struct, frozen=True, gc=False):
    """Spans of an op whose results read differently: for each result, what would otherwise hold for all."""

    results: tuple[Span | tuple[Span, ...], ...]


Spans = Span | tuple[Span, ...] | Each


def window(kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0, fitted: bool = False) -> Affine:
    """A sliding window of `kernel` taps: position i reads rows stride*i - pad + dilation*t. `pad` is that at
    the start.
    """
    return Affine(1, stride, (-pad,), (dilation * (kernel - 1) - pad,), dilation, fitted)


def spread(kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0) -> Affine:
    """The transpose of `window`: row x is written to positions stride*x - pad + dilation*t; by phase of the
    position.
    """
    lows: list[int | None] = [None] * stride
    highs: list[int | None] = [None] * stride
    taps = range(-pad, dilation * kernel - pad, dilation)
    cycle = stride // math.gcd(dilation, stride)  # taps until the phases come round again
    for tap in taps[:cycle]:
        highs[tap % stride] = -(tap // stride)
    for tap in taps[-cycle:]:
        lows[tap % stride] = -(tap // stride)
    return Affine(stride, 1, tuple(lows), tuple(highs), dilation * cycle // stride)


def crop(start: int, step: int = 1) -> Affine:
    """Position i reads row start + step*i; a negative start is padding. `step` is positive."""
    return Affine(1, step, (start,), (start,))


def in_runs(axis: int, each: int, advance: int = 1, width: int = 1) -> Route | Read:
    """Runs of `each` positions that read the same `width` rows; from run to run they move on by `advance`.

    The channels of a group, a row that is repeated. Too long a run is read whole.
    """
    if not 0 < each <= PHASES:
        return Read("global", axis)
    if each == advance == width == 1:
        return Route(axis)
    return Route(axis, Affine(each, advance, (0,) * each, (width - 1,) * each))


def straight(rank: int) -> tuple[Route, ...]:
    """Every axis goes to the axis of its own number."""
    return _STRAIGHT[rank] if rank < len(_STRAIGHT) else tuple(Route(axis) for axis in range(rank))


_STRAIGHT = tuple(tuple(Route(axis) for axis in range(rank)) for rank in range(9))


@lru_cache(maxsize=1024)
def reduced(rank: int, axes: frozenset[int] | tuple[int, ...], keepdims: bool = True) -> Routes:
    """`axes` are read whole; the others go on, to the axis that is left for them where reduced axes vanish."""
    routes: list[Route | Read] = []
    place = 0
    for axis in range(rank):
        if axis in axes:
            routes.append(WHOLE)
            place += keepdims
        else:
            routes.append(Route(place))
            place += 1
    return tuple(routes)


@lru_cache(maxsize=1024)
def moved(permutation: tuple[int, ...]) -> Routes:
    """A transpose: output axis k is operand axis permutation[k]."""
    target = {source: axis for axis, source in enumerate(permutation)}
    return tuple(Route(target[axis]) for axis in range(len(permutation)))


@lru_cache(maxsize=4096)
def regrouped(
    before: tuple[int, ...], after: tuple[int, ...]
) -> tuple[tuple[tuple[int, ...], tuple[int, ...]], ...]:
    """Runs of axes that a reshape turns into one another, as short as they can be."""
    if 0 in before or 0 in after:
        return ((before, after),)
    groups = []
    i = j = 0
    while i < len(before) or j < len(after):
        start, begin = i, j
        have = want = 1
        if i < len(before):
            have, i = before[i], i + 1
        if j < len(after):
            want, j = after[j], j + 1
        while have != want:
            if have < want:
                have, i = have * before[i], i + 1
            else:
                want, j = want * after[j], j + 1
        groups.append((before[start:i], after[begin:j]))
    return tuple(groups)
