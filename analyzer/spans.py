"""Receptive-field arithmetic: what an op's output positions read of its operands, and how such reads compose.

Two halves. The *vocabulary* is what a rule says of its op: for each operand a Span, that is, where each axis
of the operand goes (`Route`), or one of the words POINTWISE, NOTHING, OPAQUE. The *arithmetic* is `Reach`:
the rows of one graph input that the positions of one tensor axis see on an infinite canvas; it composes along
a path (`Reach.through`) and joins at a branch (`join`). No op type is known here.

A Reach is periodic and affine: position P*m + f sees input rows A*m + low[f] up to A*m + high[f]. Without
upsampling the period P is 1 and the three figures of the literature are stride = A, size = high - low + 1 and
padding = -low (Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
2019).
"""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Literal

import msgspec

# ---------------------------------------------------------------------------------------------- vocabulary


class Affine(msgspec.Struct, frozen=True, gc=False):
    """A map from output positions to operand rows: position p*n + g reads rows a*n + low[g] up to a*n + high[g],
    each `step`-th of them.

    An empty phase (no row is read, as between the taps of a sparse transposed convolution) has None for both.
    """

    period: int
    advance: int
    lows: tuple[int | None, ...]
    highs: tuple[int | None, ...]
    step: int = 1


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
    """

    kind: Literal["global", "prefix", "suffix", "data_dependent"]
    axis: int | None = None


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


class Each(msgspec.Struct, frozen=True, gc=False):
    """Spans of an op whose results read differently: for each result, what would otherwise hold for all."""

    results: tuple[Span | tuple[Span, ...], ...]


Spans = Span | tuple[Span, ...] | Each


def window(kernel: int, stride: int = 1, dilation: int = 1, pad: int = 0) -> Affine:
    """A sliding window of `kernel` taps: position i reads rows stride*i - pad + dilation*t. `pad` is that at
    the start.
    """
    return Affine(1, stride, (-pad,), (dilation * (kernel - 1) - pad,), dilation)


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


def moved(permutation: tuple[int, ...]) -> Routes:
    """A transpose: output axis k is operand axis permutation[k]."""
    target = {source: axis for axis, source in enumerate(permutation)}
    return tuple(Route(target[axis]) for axis in range(len(permutation)))


# ---------------------------------------------------------------------------------------------- arithmetic


class Reach(msgspec.Struct, frozen=True, gc=False):
    """Rows of one input axis seen from the positions of one tensor axis, on an infinite canvas.

    `path_min` and `path_max` are the sizes along the narrowest and the widest path.
    """

    period: int
    advance: int
    lows: tuple[int | None, ...]
    highs: tuple[int | None, ...]
    path_min: int
    path_max: int

    @property
    def stride_text(self) -> str:
        """Input rows per position, as a fraction: "32", "1/2"."""
        return str(self.advance) if self.period == 1 else str(Fraction(self.advance, self.period))

    @property
    def largest(self) -> int:
        """Most rows that a position sees."""
        return max(map(_rows, self.lows, self.highs))

    @property
    def smallest(self) -> int:
        """Fewest rows that a position sees; 0 where some see only padding."""
        return min(map(_rows, self.lows, self.highs))

    def through(self, taps: Affine) -> Reach | None:
        """The Reach of an op's output that reads this one through `taps`; None where it has too many phases."""
        if taps is SAME:
            return self
        if self.period == 1 and taps.period == 1:
            return self._through_window(taps)
        turns = self.period // math.gcd(taps.advance, self.period)
        if taps.period * turns > PHASES:
            return None
        bounds = [self._hull(taps, turn, phase) for turn in range(turns) for phase in range(taps.period)]
        lows, highs = tuple(low for low, _ in bounds), tuple(high for _, high in bounds)
        advance = self.advance * (taps.advance * turns // self.period)
        made = Reach(taps.period * turns, advance, lows, highs, 0, 0)
        grown = made.largest - self.largest
        return msgspec.structs.replace(made, path_min=self.path_min + grown, path_max=self.path_max + grown)

    def _through_window(self, taps: Affine) -> Reach:
        """`through` where neither side has phases: the recurrence of the literature."""
        low, high, first, last = self.lows[0], self.highs[0], taps.lows[0], taps.highs[0]
        if low is None or high is None or first is None or last is None:
            return Reach(1, self.advance * taps.advance, (None,), (None,), 0, 0)
        step = self.advance
        grown = step * (last - first)
        return Reach(
            1,
            step * taps.advance,
            (low + step * first,),
            (high + step * last,),
            self.path_min + grown,
            self.path_max + grown,
        )

    def _hull(self, taps: Affine, turn: int, phase: int) -> tuple[int | None, int | None]:
        """Lowest and highest input row seen through one phase of `taps`, `turn` advances on."""
        first, last = taps.lows[phase], taps.highs[phase]
        if first is None or last is None:
            return None, None
        rows = range(first + turn * taps.advance, last + turn * taps.advance + 1, taps.step)
        cycle = self.period // math.gcd(taps.step, self.period)  # rows until the phases come round again
        lows = [self._row(self.lows, row) for row in rows[:cycle]]
        highs = [self._row(self.highs, row) for row in rows[-cycle:]]
        seen_low, seen_high = [x for x in lows if x is not None], [x for x in highs if x is not None]
        return (min(seen_low), max(seen_high)) if seen_low and seen_high else (None, None)

    def rows(self, position: int) -> tuple[int | None, int | None]:
        """First and last input row that a position sees; None twice where it sees only padding."""
        return self._row(self.lows, position), self._row(self.highs, position)

    def _row(self, bounds: tuple[int | None, ...], position: int) -> int | None:
        bound = bounds[position % self.period]
        return None if bound is None else bound + self.advance * (position // self.period)


def _rows(low: int | None, high: int | None) -> int:
    return 0 if low is None or high is None else high - low + 1


POINT = Reach(1, 1, (0,), (0,), 1, 1)
"""An input axis seen from itself."""


def join(a: Reach, b: Reach) -> Reach | None:
    """Both at once, where branches meet: the hull, phase by phase. None where strides disagree: no finite
    field exists.
    """
    if a is b:
        return a
    if a.advance * b.period != b.advance * a.period:
        return None
    period = math.lcm(a.period, b.period)
    lows: list[int | None] = []
    highs: list[int | None] = []
    for phase in range(period):
        low, high = a.rows(phase)
        low_b, high_b = b.rows(phase)
        if low is None or high is None:
            low, high = low_b, high_b
        elif low_b is not None and high_b is not None:
            low, high = min(low, low_b), max(high, high_b)
        lows.append(low)
        highs.append(high)
    narrow, wide = min(a.path_min, b.path_min), max(a.path_max, b.path_max)
    return Reach(period, a.advance * (period // a.period), tuple(lows), tuple(highs), narrow, wide)


def aligned(a: Reach, b: Reach) -> bool:
    """Whether two fields of one stride have the same centre at every position."""
    for phase in range(math.lcm(a.period, b.period)):
        low, high = a.rows(phase)
        low_b, high_b = b.rows(phase)
        if low is None or high is None or low_b is None or high_b is None:
            continue
        if low + high != low_b + high_b:
            return False
    return True
