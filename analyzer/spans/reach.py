"""The arithmetic of the infinite canvas: rows of one graph input that the positions of one tensor axis see; it composes
along a path (`Reach.through`) and joins at a branch (`join`).

A Reach is periodic and affine: position P*m + f sees input rows A*m + low[f] up to A*m + high[f]. Without
upsampling the period P is 1 and the three figures of the literature are stride = A, size = high - low + 1 and
padding = -low (Araujo, Norris, Sim, "Computing Receptive Fields of Convolutional Neural Networks", Distill
2019).
"""

from __future__ import annotations

import math
from fractions import Fraction

import msgspec

from analyzer.spans.words import PHASES, SAME, Affine


class Reach(msgspec.Struct, frozen=True, gc=False):
    """Rows of one input axis seen from the positions of one tensor axis, on an infinite canvas.

    `path_min` and `path_max` are the sizes along the narrowest and the widest path. `fitted`: at another size of the
    input the rows would be others, as many of them.
    """

    period: int
    advance: int
    lows: tuple[int | None, ...]
    highs: tuple[int | None, ...]
    path_min: int
    path_max: int
    fitted: bool = False

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

    def simplest(self) -> Reach:
        """The same with as few phases as can be."""
        for period in range(1, self.period):
            advance, rest = divmod(self.advance * period, self.period)
            if self.period % period or rest:
                continue
            if all(self.rows(phase) == self._after(phase, period, advance) for phase in range(self.period)):
                lows, highs = self.lows[:period], self.highs[:period]
                return Reach(period, advance, lows, highs, self.path_min, self.path_max, self.fitted)
        return self

    def _after(self, position: int, period: int, advance: int) -> tuple[int | None, int | None]:
        """What a position sees if what the first `period` see goes on, `advance` rows further each time."""
        low, high = self.rows(position % period)
        if low is None or high is None:
            return None, None
        further = advance * (position // period)
        return low + further, high + further

    def through(self, taps: Affine) -> Reach | None:
        """The Reach of an op's output that reads this one through `taps`; None where it has too many phases."""
        if taps is SAME:
            return self
        if self.period == 1 and taps.period == 1:
            return self._through_window(taps)
        turns = self.period // math.gcd(taps.advance, self.period)
        if taps.period * turns > PHASES:
            return None
        hull = self._ends if self._rises() else self._hull
        bounds = [hull(taps, turn, phase) for turn in range(turns) for phase in range(taps.period)]
        lows, highs = tuple(low for low, _ in bounds), tuple(high for _, high in bounds)
        advance = self.advance * (taps.advance * turns // self.period)
        made = Reach(taps.period * turns, advance, lows, highs, 0, 0, self.fitted or taps.fitted)
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
            self.fitted or taps.fitted,
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

    def _rises(self) -> bool:
        """Whether a later position never sees an earlier row, so that the first and the last tap tell all."""
        for bounds in (self.lows, self.highs):
            before: int | None = bounds[0]
            for bound in (*bounds[1:], None if before is None else before + self.advance):
                if before is None or bound is None or bound < before:
                    return False
                before = bound
        return True

    def _ends(self, taps: Affine, turn: int, phase: int) -> tuple[int | None, int | None]:
        """`_hull` where rows never fall."""
        first, last = taps.lows[phase], taps.highs[phase]
        if first is None or last is None:
            return None, None
        start = first + turn * taps.advance
        end = start + (last - first) // taps.step * taps.step
        return self._row(self.lows, start), self._row(self.highs, end)

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
    advance, fitted = a.advance * (period // a.period), a.fitted or b.fitted
    return Reach(period, advance, tuple(lows), tuple(highs), narrow, wide, fitted)


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
