"""Loops: what a body sees turn by turn, or, where nobody knows how many turns there are, in any of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from analyzer.describe import Scene
from analyzer.graph import Node
from analyzer.ops.rule import Facts, Turns
from analyzer.passes.clipped.views import (
    Seen,
    Views,
    all_of,
    doubted,
    joined,
    merged,
    ranked,
    same,
    taken,
    worst,
)
from analyzer.spans.ends import blind

if TYPE_CHECKING:
    from analyzer.passes.clipped.walk import Walk

ROUNDS_LIMIT = 64
"""Most rounds in which a loop of unknown length is followed until nothing new is seen."""

Given = list[Views | None]


class Loop:
    """One loop: what it carries and scans, and how its body turns that into what it carries on and stacks.

    `decides` is what its end hangs on: whatever the loop's own operands and results see.
    """

    def __init__(
        self,
        walk: Walk,
        scene: Scene,
        node: Node,
        said: Facts,
        turns: Turns,
        views: Mapping[str, Views],
        prefix: str,
    ) -> None:
        self.walk, self.scene, self.node = walk, scene, node
        self.said, self.turns, self.prefix = said, turns, prefix
        self.captured = {name: views[name] for name in node.captures if name in views}
        decides, self.state, self.scanned = turns.apart([views.get(name) for name in node.inputs])
        self.decides = [seen for seen in decides if seen is not None]

    def results(self) -> Given:
        """The node's results, each of which sees what decides how many turns there are."""
        count = self.said.turn_count
        if count is None or count * len(self.said.turn(0).scene.graph.nodes) > self.walk.visits:
            found = [seen and doubted(seen, "opaque") for seen in self.until_nothing_is_new()]
        else:
            found = self.turn_by_turn(count)
        made: Given = []
        for name, seen in zip(self.node.outputs, found, strict=False):
            size = self.scene.size(name)
            parts = [] if seen is None else [ranked(seen, size)]
            parts += [all_of(other, size, "data_dependent") for other in self.decides]
            made.append(joined(parts) if parts else None)
        return made + [None] * (len(self.node.outputs) - len(made))

    def turn_by_turn(self, count: int) -> Given:
        """As many turns as there are, each with its row of what is scanned."""
        carried = self.turns.carried
        stacks: list[Given] = [[] for _ in self.turns.stacked]
        for number in range(count):
            given = self.turn(number, [self.row(place, number, count) for place in range(len(self.scanned))])
            self.state = given[:carried]
            for stack, seen in zip(stacks, given[carried:], strict=False):
                stack.append(seen)
        return [*self.state, *map(self.stacked, stacks, self.turns.stacked)]

    def until_nothing_is_new(self) -> Given:
        """Any number of turns: whatever any of them could see."""
        rows: Given = [
            seen and tuple(view and Seen(taken(view.ends, axis), view.trust) for view in seen)
            for seen, (axis, _) in zip(self.scanned, self.turns.scanned, strict=False)
        ]
        carried = self.turns.carried
        for _ in range(ROUNDS_LIMIT):
            before = self.state
            given = self.turn(0, rows)
            self.state = [merged(a, b) for a, b in zip(before, given[:carried], strict=True)]
            if all(map(same, before, self.state)):
                ways = zip(given[carried:], self.turns.stacked, strict=False)
                return [*self.state, *(self.stacked([seen], way) for seen, way in ways)]
        known = [seen for seen in (*self.state, *self.scanned, *self.captured.values()) if seen is not None]
        return [joined([all_of(seen, None) for seen in known])] * len(self.node.outputs)

    def turn(self, number: int, rows: Given) -> Given:
        """What the body gives back of the values that it carries, and the rows that are stacked."""
        run = self.said.turn(number)
        self.walk.visits -= len(run.scene.graph.nodes)
        inner = dict(self.captured)
        formals = run.scene.graph.inputs[self.turns.lead :]
        for formal, seen in zip(formals, (*self.state, *rows), strict=False):
            if seen is not None:
                inner[formal.name] = ranked(seen, run.scene.size(formal.name))
        self.walk.scene(run.scene, inner, self.prefix)
        given = [inner.get(tensor.name) for tensor in run.scene.graph.outputs]
        self.decides += [seen for seen in given[: self.turns.told] if seen is not None]
        return given[self.turns.told :]

    def row(self, place: int, number: int, count: int) -> Views | None:
        """What one turn sees of a scanned operand."""
        seen = self.scanned[place]
        axis, backwards = self.turns.scanned[place]
        at = count - 1 - number if backwards else number
        return seen and tuple(view and Seen(taken(view.ends, axis, at), view.trust) for view in seen)

    def stacked(self, stack: Given, way: tuple[int, bool]) -> Views | None:
        """Rows of every turn along a new axis."""
        axis, backwards = way
        ordered = stack[::-1] if backwards else stack
        made: list[Seen | None] = []
        for place in range(self.walk.axes):
            parts = [None if seen is None else seen[place] for seen in ordered]
            told = [part for part in parts if part is not None]
            if not told:
                made.append(None)
                continue
            nothing = blind(told[0].ends.ndim - 1)
            ends = np.broadcast_arrays(*(nothing if part is None else part.ends for part in parts))
            made.append(Seen(np.stack(ends, axis=axis + 1), worst(told)))
        return tuple(made) if any(made) else None
