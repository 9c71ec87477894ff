"""Activation checkpoints: a graph cut into segments, of which only what crosses between them is held after the way
forward.
"""

from __future__ import annotations

from itertools import accumulate

import msgspec

from analyzer.describe import Scene
from analyzer.passes.training import Saved


class Segment(msgspec.Struct, frozen=True, gc=False):
    """Nodes from `start` to before `end`. `again`: they keep nothing, and run once more before their way back."""

    start: int
    end: int
    again: bool


def cut(scene: Scene, kept: Saved, number: int) -> tuple[Segment, ...]:
    """At most `number` segments that keep about as much each, cut where least crosses; the last runs once."""
    goals = [amount or 0 for amount in kept.node_bytes]
    crossing, reached = _crossing(scene, kept), list(accumulate(goals))
    total, ends, end = sum(goals), list[int](), 0
    for turn in range(1, number):
        low, high = ((2 * turn - 1) * total / (2 * number), (2 * turn + 1) * total / (2 * number))
        window = []
        while end < len(goals) - 1 and reached[end] <= high:
            if reached[end] >= low:
                window.append(end)
            end += 1
        if window:
            middle = turn * total / number
            ends.append(min(window, key=lambda at: (crossing[at], abs(reached[at] - middle))) + 1)
    starts = (0, *ends)
    return tuple(
        Segment(start, end, again=end < len(goals))
        for start, end in zip(starts, (*ends, len(goals)), strict=True)
    )


def keepers(kept: Saved) -> int:
    """Nodes that are the first to keep something."""
    return sum(1 for amount in kept.node_bytes if amount)


def _crossing(scene: Scene, kept: Saved) -> list[int]:
    """After each node, the bytes that were made and are still to be read."""
    storages, born, dies = kept.storages, dict[str, int](), dict[str, int]()
    for index, node in enumerate(scene.graph.nodes):
        for name in node.inputs:
            dies[storages.of(name)] = index
        for name in node.outputs:
            born.setdefault(storages.of(name), index)
    change = [0] * (len(scene.graph.nodes) + 1)
    for storage, birth in born.items():
        change[birth] += storages.bytes(storage)
        change[max(dies.get(storage, birth), birth)] -= storages.bytes(storage)
    return list(accumulate(change))
