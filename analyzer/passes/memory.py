"""Memory at test time: the sum of outputs, and the bytes that are alive at once over the execution order.

A storage is what a tensor's bytes lie in. A view shares its operand's storage, and an op that may overwrite
an operand which nobody needs any more takes its storage over. Graph inputs belong to the caller and stay for
the whole run; graph outputs stay from where they are made; everything else lives until its last reader.
Stored tensors and those made from them alone are parameters, not activations. A body's own peak stands on top
of what is alive around the node that runs it.
"""

from __future__ import annotations

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts


class Live(msgspec.Struct, frozen=True):
    """Sum of outputs, and the peak of live bytes: where it is reached and by which storages, largest first.

    `node_bytes` are the bytes that each node newly makes, None where a size is not known; then `complete` is
    False. `extra_bytes` is the peak beyond the graph's own inputs and outputs: what running it as a body adds
    to its surroundings.
    """

    outputs_bytes: int
    node_bytes: tuple[int | None, ...]
    peak_bytes: int
    peak_node: str | None
    at_peak: tuple[tuple[str, int], ...]
    complete: bool
    extra_bytes: int


def measure(scene: Scene, measured: dict[int, Live] | None = None) -> Live:
    """Replay one run of `scene`: every storage from its first node to its last reader. Bodies are `measured` once."""
    ledger = _Ledger(scene, {} if measured is None else measured)
    made = tuple(
        ledger.enter(index, node, said)
        for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True))
    )
    peak, step = ledger.peak()
    ends = (*scene.graph.inputs, *scene.graph.outputs)
    outside = {id(lent): lent.bytes for tensor in ends if (lent := ledger.owner.get(tensor.name)) is not None}
    return Live(
        outputs_bytes=sum(filter(None, made)),
        node_bytes=made,
        peak_bytes=peak,
        peak_node=scene.graph.nodes[step].name if step >= 0 else None,
        at_peak=ledger.alive_at(step),
        complete=None not in made and ledger.complete,
        extra_bytes=max(peak - sum(outside.values()), 0),
    )


class _Storage(msgspec.Struct, eq=False, gc=False):
    """Where tensors lie one after the other, named after the first: its bytes, its first and its last step."""

    name: str
    bytes: int
    birth: int
    death: int


class _Ledger:
    """Every storage, and the one in which each tensor lies."""

    def __init__(self, scene: Scene, measured: dict[int, Live]) -> None:
        self.measured = measured
        self.scene, self.end, self.complete = scene, len(scene.graph.nodes), True
        self.last_read = _last_reads(scene)
        self.storages: list[_Storage] = []
        self.owner: dict[str, _Storage] = {}
        self.inside: dict[int, int] = {}
        for tensor in scene.graph.inputs:
            size = scene.size(tensor.name)
            self.complete &= size is not None and size.bytes is not None
            self.open(tensor.name, -1, None if size is None else size.bytes)
            self.owner[tensor.name].death = self.end

    def open(self, name: str, step: int, amount: int | None) -> None:
        """A new storage."""
        storage = self.owner[name] = _Storage(name, amount or 0, step, self.last_read.get(name, step))
        self.storages.append(storage)

    def share(self, name: str, storage: _Storage) -> None:
        """One more tensor in a storage that exists."""
        self.owner[name] = storage
        storage.death = max(storage.death, self.last_read.get(name, -1))

    def enter(self, index: int, node: Node, said: object) -> int | None:
        """Place a node's outputs; the bytes it newly makes."""
        constants, sizes = self.scene.constants, self.scene.sizes
        total: int | None = 0
        for place, name in enumerate(node.outputs):
            if not name or name in constants:
                continue
            size = sizes.get(name)
            amount = None
            if type(size) is Size:
                amount = size.bytes
                self.complete &= size.exact
            taken = None
            if place == 0 and type(said) is Facts:
                if said.view is not None:
                    viewed = self.owner.get(self.scene.named(node.inputs, said.view))
                    if viewed is not None:
                        self.share(name, viewed)
                        continue
                taken = self.overwritable(index, node, said, amount)
            if taken is not None:
                self.share(name, taken)
            else:
                self.open(name, index, amount)
            total = None if total is None or amount is None else total + amount
        if type(said) is Facts and said.runs:
            return self.nest(index, said, total)
        return total

    def nest(self, index: int, said: Facts, made: int | None) -> int | None:
        """Bodies run by a node: their peaks beyond what they are given and give back, and the bytes that they make."""
        for run in said.runs:
            if id(run.scene) not in self.measured:
                self.measured[id(run.scene)] = measure(run.scene, self.measured)
        inner = [self.measured[id(run.scene)] for run in said.runs]
        self.inside[index] = max(live.extra_bytes for live in inner)
        self.complete &= all(live.complete for live in inner)
        if made is None or any(run.repeat is None for run in said.runs):
            return None
        sums = [live.outputs_bytes * (run.repeat or 0) for live, run in zip(inner, said.runs, strict=True)]
        within = max(sums) if said.exclusive else sum(sums)
        return max(within, made) if said.transparent else within + made

    def overwritable(self, index: int, node: Node, said: Facts, amount: int | None) -> _Storage | None:
        """The storage of an operand of equal bytes that nobody reads after this node."""
        for operand in said.inplace:
            storage = self.owner.get(self.scene.named(node.inputs, operand))
            if storage is not None and storage.death <= index and operand.bytes == amount == storage.bytes:
                return storage
        return None

    def peak(self) -> tuple[int, int]:
        """Most bytes alive at one step, and the first step that has them (-1: before the first node)."""
        change = [0] * (self.end + 3)
        for storage in self.storages:
            change[storage.birth + 1] += storage.bytes
            change[storage.death + 2] -= storage.bytes
        alive = best = 0
        at = -1
        for step in range(-1, self.end):
            alive += change[step + 1]
            need = alive + self.inside.get(step, 0) if self.inside else alive
            if need > best:
                best, at = need, step
        return best, at

    def alive_at(self, step: int) -> tuple[tuple[str, int], ...]:
        """Storages that are alive at a step, largest first."""
        held = [(s.name, s.bytes) for s in self.storages if s.bytes and s.birth <= step <= s.death]
        return tuple(sorted(held, key=lambda entry: (-entry[1], entry[0])))


def _last_reads(scene: Scene) -> dict[str, int]:
    """The last step at which each tensor is read; past the end for graph outputs."""
    last: dict[str, int] = {}
    for index, node in enumerate(scene.graph.nodes):
        for name in node.inputs:
            last[name] = index
        for name in node.captures:
            last[name] = index
    for tensor in scene.graph.outputs:
        last[tensor.name] = len(scene.graph.nodes)
    return last
