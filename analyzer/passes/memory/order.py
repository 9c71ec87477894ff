"""The order of nodes with the lowest peak that a bounded search finds.

What is alive after some nodes have run does not depend on their order, so a state of the search is the set of nodes
that have run. A node that leaves no more alive than there was, and needs no more than must be had anyway, is run as
soon as it can be: no order gains by waiting with it. Where there is a choice, the best states of equal length go on,
fewer of them as the search grows long. If none was dropped, nothing is lower than what was found. Bodies run as one
node: their own orders stay.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node
from analyzer.ops.rule import Facts

MOST_NODES = 10_000
"""Of a graph that is searched: sets of nodes are bits, and their length goes into the time."""
MOST_TRIES = 2_000_000
"""Steps tried on states until one state alone goes on: a few seconds."""
WIDEST = 128


class Order(msgspec.Struct, frozen=True):
    """Steps in a new order, empty where the given one stays, and its peak. `proven`: no order has a lower one."""

    peak_bytes: int
    steps: tuple[int, ...]
    proven: bool


class _Group(msgspec.Struct, eq=False):
    """Tensors that are views of one another, held until all `readers` (bits) of any have run; for good where a graph's
    input (`given`) or output (`kept`) is among them.
    """

    bytes: int
    given: bool = False
    kept: bool = False
    readers: int = 0


class _Step(msgspec.Struct, eq=False):
    """A node to be ordered: the steps before it, in bits, and after it; what it reads and makes; the groups whose room
    its first result may take; what bodies need.
    """

    index: int
    before: int
    after: list[int]
    reads: list[_Group]
    makes: list[_Group]
    takes: list[_Group]
    extra: int


class _Cost(msgspec.Struct, gc=False):
    """A step in numbers: bytes that it needs and that stay of them; bytes that end with the last of their readers; the
    bytes that it needs less, where all readers of one of `takes` have run.
    """

    needs: int
    stays: int
    ends: tuple[tuple[int, int], ...]
    takes: tuple[int, ...]
    spared: int


class _State(msgspec.Struct, eq=False):
    """Steps that have run, in bits and in a chain; bytes alive after them; the peak so far; steps that can be next."""

    done: int
    alive: int
    peak: int
    ready: tuple[int, ...]
    path: tuple[Any, ...]


def search(scene: Scene, peak_bytes: int, extras: Mapping[int, int]) -> Order | None:
    """An order below `peak_bytes`, that of the given one; None for a graph too large. `extras` is what bodies need."""
    if len(scene.facts) > MOST_NODES:
        return None
    steps, start = _steps(scene, extras)
    least = max([start, *(start + _least(step) for step in steps)])
    if least >= peak_bytes:
        return Order(peak_bytes, (), True)
    best, whole = _Search(steps, least, peak_bytes).run(start)
    if best is None:
        return Order(peak_bytes, (), whole)
    order = [steps[place].index for place in _unwound(best.path)]
    among = set(order)
    constant = [index for index in range(len(scene.facts)) if index not in among]
    return Order(best.peak, (*constant, *order), whole or best.peak == least)


class _Search:
    """States by the number of steps that have run; each number's best go on."""

    def __init__(self, steps: list[_Step], least: int, limit: int) -> None:
        self.steps, self.least, self.limit, self.tries = steps, least, limit, 0
        self.costs = [_cost(step) for step in steps]
        self.levels: list[dict[int, _State]] = [{} for _ in range(len(steps) + 1)]

    def run(self, start: int) -> tuple[_State | None, bool]:
        """The best last state below the limit, if there is one, and whether no state was dropped on the way."""
        self.file(
            _State(0, start, start, tuple(i for i, step in enumerate(self.steps) if not step.before), ())
        )
        whole = True
        for level in range(len(self.steps)):
            states = sorted(self.levels[level].values(), key=lambda s: (max(s.peak, self.least), s.alive))
            self.levels[level] = {}
            left = 1 - self.tries / MOST_TRIES
            width = max(1, round(WIDEST * left))
            whole = whole and len(states) <= width
            tried: dict[int, int] = {}
            for state in states[:width]:
                for place in state.ready:
                    done, (need, alive) = state.done | 1 << place, self.after(state, place)
                    peak = max(state.peak, need)
                    if peak < min(self.limit, tried.get(done, self.limit)):
                        tried[done] = peak
                        self.file(self.moved(state, place, peak, alive))
        return next(iter(self.levels[-1].values()), None), whole

    def file(self, state: _State) -> None:
        """Keep a state if it is the best of its set, once all that need not wait has run."""
        while True:
            enough = max(state.peak, self.least)
            for place in state.ready:
                need, alive = self.after(state, place)
                if alive <= state.alive and need <= enough:
                    state = self.moved(state, place, max(state.peak, need), alive)
                    break
            else:
                level = self.levels[state.done.bit_count()]
                if state.done not in level or level[state.done].peak > state.peak:
                    level[state.done] = state
                return

    def after(self, state: _State, place: int) -> tuple[int, int]:
        """Bytes needed while a step runs, and alive after it."""
        self.tries += 1
        cost, done = self.costs[place], state.done | 1 << place
        alive = state.alive + cost.stays
        for amount, readers in cost.ends:
            if readers & done == readers:
                alive -= amount
        for readers in cost.takes:
            if readers & done == readers:
                return state.alive + cost.needs - cost.spared, alive
        return state.alive + cost.needs, alive

    def moved(self, state: _State, place: int, peak: int, alive: int) -> _State:
        """The state that a step leads to."""
        done, step = state.done | 1 << place, self.steps[place]
        ready = [other for other in state.ready if other != place]
        ready += [
            other for other in step.after if self.steps[other].before & done == self.steps[other].before
        ]
        return _State(done, alive, peak, tuple(ready), (state.path, place))


def _steps(scene: Scene, extras: Mapping[int, int]) -> tuple[list[_Step], int]:
    """The nodes that make more than constants, and the bytes of the graph's inputs, which are there before them."""
    outputs = {tensor.name for tensor in scene.graph.outputs}
    groups: dict[str, _Group] = {}
    maker: dict[str, int] = {}
    for tensor in scene.graph.inputs:
        groups[tensor.name] = _Group(_bytes(scene, tensor.name), given=True)
    start = sum(group.bytes for group in groups.values())
    steps: list[_Step] = []
    for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
        results = [name for name in node.outputs if name and name not in scene.constants]
        if not results:
            continue
        place = len(steps)
        operands = dict.fromkeys(name for name in (*node.inputs, *node.captures) if name in groups)
        reads = list({id(groups[name]): groups[name] for name in operands}.values())
        viewed, takes = _homes(scene, groups, node, said)
        step = _Step(index, 0, [], reads, [], takes, extras.get(index, 0))
        for earlier in {maker[name] for name in operands if name in maker}:
            step.before |= 1 << earlier
            steps[earlier].after.append(place)
        for group in reads:
            group.readers |= 1 << place
        for name in results:
            maker[name] = place
            if name == node.outputs[0] and viewed is not None:
                groups[name] = viewed
            else:
                groups[name] = _Group(_bytes(scene, name))
                step.makes.append(groups[name])
            groups[name].kept |= name in outputs
        steps.append(step)
    return steps, start


def _homes(
    scene: Scene, groups: Mapping[str, _Group], node: Node, said: object
) -> tuple[_Group | None, list[_Group]]:
    """The group of which a node's first result is a view; if none, those whose room it may take once they end."""
    first = node.outputs[0]
    if type(said) is not Facts or not first or first in scene.constants:
        return None, []
    viewed = None if said.view is None else groups.get(scene.named(node.inputs, said.view))
    if viewed is not None:
        return viewed, []
    amount = _bytes(scene, first)
    candidates = [(operand.bytes, groups.get(scene.named(node.inputs, operand))) for operand in said.inplace]
    return None, [group for size, group in candidates if group is not None and size == amount == group.bytes]


def _cost(step: _Step) -> _Cost:
    made = sum(group.bytes for group in step.makes)
    unread = sum(group.bytes for group in step.makes if not group.readers and not group.kept)
    return _Cost(
        needs=made + step.extra,
        stays=made - unread,
        ends=tuple((group.bytes, group.readers) for group in step.reads if not (group.given or group.kept)),
        takes=tuple(group.readers for group in step.takes if not (group.given or group.kept)),
        spared=step.makes[0].bytes if step.takes else 0,
    )


def _least(step: _Step) -> int:
    """What a step needs in any order, beyond the graph's inputs."""
    read = sum(group.bytes for group in step.reads if not group.given)
    cost = _cost(step)
    return read + cost.needs - (cost.spared if cost.takes else 0)


def _bytes(scene: Scene, name: str) -> int:
    size = scene.size(name)
    return 0 if size is None else size.bytes or 0


def _unwound(path: tuple[Any, ...]) -> list[int]:
    """The places on a chain of pairs, first to last."""
    places = []
    while path:
        path, place = path
        places.append(place)
    return places[::-1]
