"""Loops on an infinite canvas: what their results see, composed turn by turn.

What is carried is composed as often as there are turns, or until another turn changes nothing more. A row of a
scanned operand has its place among the turns: what a body makes of it alone has the same place where it is stacked,
what comes to it by a carried value are the rows so far.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from analyzer.graph import Node
from analyzer.ops.rule import Facts, Run, Turns
from analyzer.passes.receptive_field.meeting import Meeting
from analyzer.passes.receptive_field.views import (
    OPAQUE_VIEW,
    RANK,
    Digit,
    Status,
    View,
    Views,
    data_dependent,
    opaque,
    scattered,
)
from analyzer.spans import Affine

ROUNDS_LIMIT = 64
"""Most turns that are gone through, if each sees more than the one before it."""

Given = list[Views | None]
Body = Callable[[Run, dict[str, Views]], Given | None]
"""What the results of a body see, given what its inputs and the tensors that it captures do; None: too much work."""


def turned(node: Node, said: Facts, views: Mapping[str, Views], body: Body) -> list[list[Views]]:
    """By result of a loop, what it sees, in parts to be joined."""
    assert said.turns is not None
    found = _Loop(node, said, said.turns, views, body).results()
    if found is not None:
        return found
    carried = [opaque(views[name]) for name in (*node.inputs, *node.captures) if name in views]
    return [carried] * len(node.outputs)


class _Loop:
    def __init__(self, node: Node, said: Facts, turns: Turns, views: Mapping[str, Views], body: Body) -> None:
        self.node, self.said, self.turns, self.body = node, said, turns, body
        self.captured = {name: views[name] for name in node.captures if name in views}
        decides, self.state, self.scanned = turns.apart([views.get(name) for name in node.inputs])
        self.decides = [seen for seen in decides if seen is not None]
        self.count = said.turn_count

    def results(self) -> list[list[Views]] | None:
        """None where no end is in sight."""
        whole = self.as_a_whole()
        if whole is None:
            return None
        parts = [whole]
        for backwards in sorted({way[1] for way in self.turns.scanned}):
            placed = self.row_by_row(backwards)
            if placed is None:
                return None
            parts.append(placed)
        decides = [data_dependent(seen) for seen in self.decides]
        results = range(len(self.node.outputs))
        return [
            [*(seen for part in parts if (seen := part[place]) is not None), *decides] for place in results
        ]

    def turn(self, number: int, state: Given, rows: Given, captured: Mapping[str, Views]) -> Given | None:
        """One turn of the body: the values that it carries, and the rows that are stacked."""
        run = self.said.turn(number)
        inner = dict(captured)
        formals = run.scene.graph.inputs[self.turns.lead :]
        inner.update(
            (formal.name, seen) for formal, seen in zip(formals, (*state, *rows), strict=False) if seen
        )
        given = self.body(run, inner)
        if given is None:
            return None
        self.decides += [seen for seen in given[: self.turns.told] if seen is not None]
        return given[self.turns.told :]

    # -- what has no place among the turns

    def as_a_whole(self) -> Given | None:
        """What is carried and captured, and of scanned rows what lies across them."""
        rows = [
            seen and _across(seen, axis)
            for seen, (axis, _) in zip(self.scanned, self.turns.scanned, strict=False)
        ]
        carried, state = self.turns.carried, self.state
        stacks: list[list[Views]] = [[] for _ in self.turns.stacked]
        for number in range(ROUNDS_LIMIT if self.count is None else min(self.count, ROUNDS_LIMIT)):
            given = self.turn(number, state, rows, self.captured)
            if given is None:
                return None
            for stack, seen in zip(stacks, given[carried:], strict=False):
                stack += [seen] if seen else []
            new = given[:carried]
            if self.count is None:  # it may have ended before
                new = [_joined([seen for seen in pair if seen]) for pair in zip(state, new, strict=True)]
            if new == state and len(self.said.runs) == 1:
                break
            state = new
        else:
            if self.count is None or self.count > ROUNDS_LIMIT:
                return None
        ways = zip(stacks, self.turns.stacked, strict=True)
        return [*state, *(_joined([_shifted(seen, axis) for seen in stack]) for stack, (axis, _) in ways)]

    # -- what has one

    def row_by_row(self, backwards: bool) -> Given | None:
        """Of operands that are scanned in one direction, the axis that is."""
        carried, length = self.turns.carried, self.count or 0
        rows = [
            seen and _row(seen, axis, length) if turned is backwards else None
            for seen, (axis, turned) in zip(self.scanned, self.turns.scanned, strict=False)
        ]
        state: Given = [None] * carried
        so_far: Status = "suffix" if backwards else "prefix"
        for _ in range(ROUNDS_LIMIT):
            given = self.turn(0, state, rows, {})
            if given is None:
                return None
            before, state = state, [seen and _so_far(seen, so_far) for seen in given[:carried]]
            if before == state:
                break
        else:
            return None
        end = 0 if backwards else length - 1
        last = Affine(1, 1, (end,), (end,), fitted=not backwards)
        ends = [seen and tuple([view and _at_last(view, last) for view in seen]) for seen in given[:carried]]
        stacked = [
            seen and tuple([view and _placed(view, axis, length, turned is backwards) for view in seen])
            for seen, (axis, turned) in zip(given[carried:], self.turns.stacked, strict=False)
        ]
        return [*ends, *stacked]


def _joined(parts: Iterable[Views]) -> Views | None:
    told = list(parts)
    return Meeting(told).views if told else None


def _moved(view: View, digits: Iterable[Digit]) -> View:
    return View(view.status, tuple(digits), view.reach, view.local)


def _across(views: Views, axis: int) -> Views | None:
    """What a row sees of an operand whose positions do not lie along the axis that is scanned, which vanishes."""
    found: list[View | None] = []
    for view in views:
        along = view is not None and any(digit.axis == axis for digit in view.digits)
        if view is None or (along and len(view.digits) == 1):
            found.append(None)
        elif along:  # places of which the turn is a part
            found.append(OPAQUE_VIEW)
        else:
            found.append(
                _moved(view, (_on(digit, digit.axis - (digit.axis > axis)) for digit in view.digits))
            )
    return tuple(found) if any(found) else None


def _row(views: Views, axis: int, length: int) -> Views | None:
    """What a row sees at its own place; None where none has a place."""
    found: list[View | None] = []
    for view in views:
        if view is None or len(view.digits) != 1 or view.digits[0].axis != axis:
            found.append(None)
        elif view.status == "scattered" or view.digits[0].extent != length:
            found.append(View("global", (), None, None))
        else:
            found.append(_moved(view, ()))
    return tuple(found) if any(found) else None


def _on(digit: Digit, axis: int) -> Digit:
    return Digit(axis, digit.low, digit.extent, digit.step)


def _shifted(views: Views, axis: int) -> Views:
    """With one axis more."""
    return tuple([
        view and _moved(view, (_on(digit, digit.axis + (digit.axis >= axis)) for digit in view.digits))
        for view in views
    ])  # fmt: skip


def _so_far(views: Views, way: Status) -> Views:
    """What is carried on: rows of the turns so far."""
    found: list[View | None] = []
    for view in views:
        if view is not None and RANK[view.status] <= RANK[way]:
            view = View(way if view.status in ("local", way) else "global", (), None, None)
        found.append(view)
    return tuple(found)


def _at_last(view: View, last: Affine) -> View:
    """After the last turn."""
    if view.status == "local":
        return view.through(last, ())
    return View("global", (), None, None) if RANK[view.status] <= RANK["global"] else view


def _placed(view: View, axis: int, length: int, alike: bool) -> View:
    """Stacked along an axis in the order in which it was scanned, or in the opposite one."""
    if RANK[view.status] >= RANK["global"]:
        return view
    if alike:
        return _moved(view, [Digit(axis, 1, length)])
    return scattered([axis]) if view.status == "local" else View("global", (), None, None)
