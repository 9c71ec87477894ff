"""Memory at training time that one forward pass leaves behind: what autograd keeps for the backward pass.

Each storage counts once however many ops keep it; parameters, buffers and constants are not counted here. A
tensor that is a view of another keeps the other's storage alive.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts, Run


class Saved(msgspec.Struct, frozen=True):
    """Bytes kept in all, and per node those that it is the first to keep.

    `complete` is False where a node said nothing. For a body: `outside` are tensors of its caller that it keeps, with
    their bytes, which are the caller's to count; `same` tells of a result which tensor of the body or of the caller it
    shares its storage with; `kept` are the storages.
    """

    bytes: int
    node_bytes: tuple[int | None, ...]
    complete: bool
    outside: Mapping[str, int]
    same: Mapping[str, str]
    kept: set[str]


def saved(scene: Scene) -> Saved:
    """What autograd keeps of one run of `scene`, bodies included."""
    return _Keeper(scene, frozenset(), {}).read()


class _Keeper:
    """The storages of one graph's tensors, those that were kept so far, and bodies that were read before."""

    def __init__(self, scene: Scene, outside: frozenset[str], read: dict[int, Saved]) -> None:
        self.scene, self.outside, self.known = scene, outside, read
        self.storage: dict[str, str] = {}
        self.kept: set[str] = set()
        self.kept_outside: dict[str, int] = {}

    def read(self) -> Saved:
        """Walk the nodes."""
        constants = self.scene.constants
        amounts: list[int | None] = []
        for node, said in zip(self.scene.graph.nodes, self.scene.facts, strict=True):
            if type(said) is not Facts:
                amounts.append(None)
            elif node.outputs and node.outputs[0] in constants:
                amounts.append(0)
            elif said.runs:
                amounts.append(self.enter(node, said))
            else:
                if said.view is not None and node.outputs:
                    self.share(node.outputs[0], self.scene.named(node.inputs, said.view))
                amounts.append(sum([self.keep(node, size) for size in said.saved]) if said.saved else 0)
        known = [amount for amount in amounts if amount is not None]
        same = {tensor.name: self.where(tensor.name) for tensor in self.scene.graph.outputs}
        return Saved(
            sum(known), tuple(amounts), len(known) == len(amounts), self.kept_outside, same, self.kept
        )

    def keep(self, node: Node, size: Size) -> int:
        """Bytes that keeping `size` adds: a tensor's storage the first time, a fresh one always, a constant's never."""
        name = self.scene.named(node.inputs, size) or self.scene.named(node.outputs, size)
        return self.take(name, size.bytes or 0) if name else size.bytes or 0

    def take(self, name: str, amount: int) -> int:
        """Bytes that keeping the tensor `name` adds."""
        storage = self.where(name)
        if name in self.scene.constants or storage in self.kept:
            return 0
        self.kept.add(storage)
        if storage in self.outside:
            self.kept_outside[storage] = amount
            return 0
        return amount

    def enter(self, node: Node, said: Facts) -> int | None:
        """What the bodies of a node keep: of exclusive ones the most, of one that repeats as often as it runs."""
        totals: list[int] = []
        for run in said.runs:
            body = self.body(run)
            if not body.complete or run.repeat is None:
                return None
            actual = dict(zip([formal.name for formal in run.scene.graph.inputs], run.operands, strict=False))
            caller = sum(self.take(actual.get(name, name), amount) for name, amount in body.outside.items())
            totals.append(body.bytes * run.repeat + caller)
            if said.transparent:
                for outer, result in zip(node.outputs, run.scene.graph.outputs, strict=False):
                    origin = body.same[result.name]
                    if origin in body.kept:
                        self.kept.add(self.where(outer))
                    self.share(outer, actual.get(origin, origin if origin in node.captures else ""))
        return max(totals, default=0) if said.exclusive else sum(totals)

    def body(self, run: Run) -> Saved:
        """A body read by itself, once."""
        key = id(run.scene)
        if key not in self.known:
            made = {name for node in run.scene.graph.nodes for name in node.outputs}
            outside = frozenset(run.scene.sizes) - made - run.scene.graph.initializers.keys()
            if not run.operands:  # what a loop carries is the body's own at every turn
                outside -= {formal.name for formal in run.scene.graph.inputs}
            self.known[key] = _Keeper(run.scene, outside, self.known).read()
        return self.known[key]

    def share(self, name: str, other: str) -> None:
        """`name` lies in the storage of `other`, if there is one."""
        if other:
            self.storage[name] = self.where(other)

    def where(self, name: str) -> str:
        """The storage that a tensor lies in, by the name of what first lay there."""
        return self.storage.get(name, name)
