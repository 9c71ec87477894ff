"""One tensor's view of one input axis, how it passes through an op, and how views join where branches meet."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Literal

import msgspec

from analyzer.graph import Size
from analyzer.spans import (
    DATA,
    NOTHING,
    OPAQUE,
    PHASES,
    POINTWISE,
    SAME,
    Affine,
    Reach,
    Read,
    Regroup,
    Route,
    Span,
    regrouped,
)

Status = Literal["local", "scattered", "prefix", "suffix", "global", "data_dependent", "opaque"]
"""As in the report; `scattered`, of which the report says opaque: each position sees a window, but where it lies cannot
be told by a period and a step.
"""

RANK: Mapping[str, int] = {
    "local": 0,
    "scattered": 1,
    "prefix": 2,
    "suffix": 2,
    "global": 3,
    "data_dependent": 4,
    "opaque": 5,
}

Shape = tuple[int, ...]


class Digit(msgspec.Struct, frozen=True, gc=False):
    """A part of a position, as a digit is of a number: index along `axis`, divided by `low`, modulo `extent`; it counts
    `step` positions.
    """

    axis: int
    low: int
    extent: int
    step: int = 1


class View(msgspec.Struct, frozen=True, gc=False):
    """One tensor's view of one input axis. `reach` is None unless the status is local; `local` is the field without its
    global part.

    A position lies along one axis, or, cut up by reshapes, along several: `digits` tell where, the most significant
    first, the last one counting single positions. Without any all positions see the same. Where the view is scattered
    they only name the axes.
    """

    status: Status
    digits: tuple[Digit, ...]
    reach: Reach | None
    local: Reach | None

    def through(self, taps: Affine, digits: tuple[Digit, ...]) -> View:
        """The view of what reads this one through `taps`; scattered where that has too many phases."""
        reach = self.reach and self.reach.through(taps)
        local = reach if self.local is self.reach else self.local and self.local.through(taps)
        if self.reach is not None and reach is None:
            return scattered(digit.axis for digit in digits)
        return View(self.status, digits, reach, local)


OPAQUE_VIEW = View("opaque", (), None, None)


def scattered(axes: Iterable[int]) -> View:
    """Positions along these axes, nobody knows in which order."""
    digits = tuple([Digit(axis, 1, 0) for axis in sorted(set(axes))])
    return View("scattered" if digits else "global", digits, None, None)


Views = tuple[View | None, ...]
"""A tensor's views, one per entry of `Fields.axes`; None where the tensor does not depend on that input."""


def passed(views: Views, span: Span, operand: object, result: object) -> Views | None:
    """An operand's views as its op's result has them; None where nothing of it is read."""
    if span is NOTHING:
        return None
    if type(operand) is not Size or type(result) is not Size or span is OPAQUE:
        return opaque(views)
    if span is POINTWISE:
        return views if operand.shape == result.shape else _broadcast(views, operand.shape, result.shape)
    if type(span) is Regroup:
        moved = tuple([view and _regrouped(view, span) for view in views])
    else:
        assert type(span) is tuple
        moved = tuple([view and _routed(view, span, operand.shape, result.shape) for view in views])
    return views if moved == views else moved  # what is shared is read once


def opaque(views: Views) -> Views:
    """What nobody can tell anything of."""
    return tuple([view and OPAQUE_VIEW for view in views])


def data_dependent(views: Views) -> Views:
    """Of what decides whether or how often something is done."""
    return tuple([view and View("data_dependent", (), None, None) for view in views])


def _broadcast(views: Views, operand: Shape, result: Shape) -> Views:
    """Pointwise: axes aligned from the right; an axis of 1 that is stretched carries no position any more."""
    shift = len(result) - len(operand)
    if shift < 0:  # a second result of another rank, of which the span does not speak
        return opaque(views)
    moved: list[View | None] = []
    for view in views:
        if view is None or not view.digits:
            moved.append(view)
            continue
        digits = tuple(
            [
                Digit(digit.axis + shift, digit.low, digit.extent, digit.step)
                for digit in view.digits
                if operand[digit.axis] == result[digit.axis + shift]
            ]
        )
        moved.append(View(view.status, digits, view.reach, view.local))
    return tuple(moved)


def _routed(view: View, routes: tuple[Route | Read, ...], operand: Shape, result: Shape) -> View:
    """Follow each digit along its route, the least significant first."""
    digits = view.digits
    if not digits:
        return view
    if view.status == "scattered":
        return _strayed(view, routes, result)
    made = view
    for place in range(len(digits) - 1, -1, -1):
        step = _step(made, place, routes, operand, result)
        if step is None:
            return _strayed(view, routes, result)
        if step.status != view.status:
            return step
        made = step
    return made


def _strayed(view: View, routes: tuple[Route | Read, ...], result: Shape) -> View:
    """Where the axes go on which positions lie; once all of them are read whole, everything is seen."""
    ways = [routes[digit.axis] if digit.axis < len(routes) else DATA for digit in view.digits]
    targets = [way.axis for way in ways if way.axis is not None]
    kinds: list[Status] = [way.kind for way in ways if isinstance(way, Read)]
    worst: Status = max(kinds, key=RANK.__getitem__, default="global")
    if worst == "data_dependent" or not targets:
        return View(worst, (), None, None)
    return scattered(targets) if max(targets) < len(result) else OPAQUE_VIEW


def _step(
    view: View, place: int, routes: tuple[Route | Read, ...], operand: Shape, result: Shape
) -> View | None:
    """One digit along its route, those behind it having arrived; None where period and step cannot tell its place."""
    digit = view.digits[place]
    if digit.axis >= len(routes):
        return None
    route = routes[digit.axis]
    target = route.axis
    if target is not None and target >= len(result):  # a second result of another rank
        return None
    if type(route) is Read:
        return _whole(view, place, route, result)
    assert type(route) is Route
    kept = result[route.axis] >= operand[digit.axis]  # else fewer are left, and a digit tells how many
    if kept and (route.taps is SAME or (len(view.digits) > 1 and route.taps == SAME)):
        if route.axis == digit.axis:
            return view
        moved = Digit(route.axis, digit.low, digit.extent, digit.step)
        return View(view.status, _with(view.digits, place, moved), view.reach, view.local)
    if digit.low * digit.extent != operand[digit.axis]:
        return None
    if digit.low != 1:  # positions that see the same in runs
        if len(view.digits) > 1 or digit.low > PHASES:
            return None
        view = view.through(runs_of(digit.low), (Digit(digit.axis, 1, operand[digit.axis]),))
        if view.status == "scattered":
            return None
    moved = Digit(route.axis, 1, result[route.axis], digit.step)
    if digit.step == 1 and place == 0:
        return view.through(route.taps, (moved,))
    if place or route.taps.period != 1 or digit.step > PHASES:
        return None
    return view.through(_lifted(route.taps, digit.step), _with(view.digits, place, moved))


def _with(digits: tuple[Digit, ...], place: int, digit: Digit) -> tuple[Digit, ...]:
    return (*digits[:place], digit, *digits[place + 1 :])


def runs_of(length: int) -> Affine:
    """Runs of positions that read the same one."""
    return Affine(length, 1, (0,) * length, (0,) * length)


def _lifted(taps: Affine, step: int) -> Affine:
    """Taps over blocks of `step` positions, each place of a block on its own."""
    low, high = taps.lows[0], taps.highs[0]
    if low is None or high is None:
        return Affine(step, step * taps.advance, (None,) * step, (None,) * step)
    places = range(step)
    return Affine(
        step,
        step * taps.advance,
        tuple(low * step + place for place in places),
        tuple(high * step + place for place in places),
        taps.step * step,
    )


def _whole(view: View, place: int, way: Read, result: Shape) -> View:
    """A digit of which more than a window is read. The last of several is a block, which stays local."""
    digit, last = view.digits[place], place == len(view.digits) - 1
    if place and last and way.kind == "global":
        block = Affine(1, digit.extent, (0,), (digit.extent - 1,))
        rest = [Digit(d.axis, d.low, d.extent, d.step // digit.extent) for d in view.digits[:-1]]
        return view.through(block, tuple(rest))
    if place and way.kind == "global":  # some blocks, but not all of each
        return View("global", (), None, None)
    status = way.kind if RANK[way.kind] >= RANK[view.status] else view.status
    kept: tuple[Digit, ...] = ()
    if way.axis is not None and len(view.digits) == 1:
        kept = (Digit(way.axis, 1, result[way.axis]),)
    return View(status, kept, None, None)


def _regrouped(view: View, span: Regroup) -> View:
    """A reshape: a digit is a run of digits of the flat index; it goes where that run lies in the new axes, cut where
    axes meet.
    """
    if not view.digits:
        return view
    digits: list[Digit] | None = []
    for run in _flat(view.digits, span.before) if view.status != "scattered" else ():
        placed = _placed(*run, span.after)
        digits = None if placed is None or digits is None else [*digits, *placed]
    if view.status == "scattered" or digits is None:
        return scattered(_spread({digit.axis for digit in view.digits}, span))
    if not digits:
        return View(view.status, _unit(span.after), view.reach, view.local)
    return _fewer(View(view.status, tuple(digits), view.reach, view.local))


def _flat(digits: tuple[Digit, ...], before: Shape) -> list[tuple[int, int, int]]:
    """Digits as runs of the flat index (low, extent, step), those that follow one another as one."""
    runs: list[tuple[int, int, int]] = []
    for digit in digits:
        low = digit.low * math.prod(before[digit.axis + 1 :])
        if digit.extent == 1:
            continue
        if runs and runs[-1][0] == low * digit.extent and runs[-1][2] == digit.step * digit.extent:
            runs[-1] = (low, runs[-1][1] * digit.extent, digit.step)
        else:
            runs.append((low, digit.extent, digit.step))
    return runs


def _spread(axes: set[int], span: Regroup) -> set[int]:
    """The new axes that may hold a part of the old ones."""
    found: set[int] = set()
    old = new = 0
    for before, after in regrouped(span.before, span.after):
        if axes & set(range(old, old + len(before))):
            found |= set(range(new, new + len(after)))
        old, new = old + len(before), new + len(after)
    return found


def _fewer(view: View) -> View:
    """Without a last digit on which nothing hangs."""
    reach, last = view.reach, view.digits[-1].extent
    if len(view.digits) == 1 or reach is None or reach.period % last or view.local is not reach:
        return view
    for bounds in (reach.lows, reach.highs):
        if any(bounds[i : i + last] != bounds[i : i + 1] * last for i in range(0, reach.period, last)):
            return view
    period = reach.period // last
    lows, highs = reach.lows[::last], reach.highs[::last]
    shared = msgspec.structs.replace(reach, period=period, lows=lows, highs=highs).simplest()
    rest = [Digit(d.axis, d.low, d.extent, d.step // last) for d in view.digits[:-1]]
    return View(view.status, tuple(rest), shared, shared)


def _placed(low: int, extent: int, step: int, after: Shape) -> list[Digit] | None:
    """A run of the flat index as digits of the new axes; None where axes cut it unevenly."""
    digits: list[Digit] = []
    below = 1
    for axis in range(len(after) - 1, -1, -1):
        above = below * after[axis]
        if low < above:
            if low % below:
                return None
            if above % (low * extent) == 0:
                return [Digit(axis, low // below, extent, step), *digits]
            room = above // low
            if above % low or extent % room:
                return None
            if room > 1:
                digits.insert(0, Digit(axis, low // below, room, step))
            low, extent, step = above, extent // room, step * room
        below = above
    return None


def _unit(after: Shape) -> tuple[Digit, ...]:
    """An axis of extent 1 has one position; any axis of 1 that is left stands for it."""
    return next(((Digit(axis, 1, 1),) for axis, dim in enumerate(after) if dim == 1), ())
