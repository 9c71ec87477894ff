"""Which bytes each tensor of a described graph lies in, and from which node to which they are held."""

from __future__ import annotations

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node
from analyzer.ops.rule import Facts


class Storage(msgspec.Struct, eq=False, gc=False):
    """Where tensors lie one after the other, named after the first: its bytes, its first and its last step.

    The step of graph inputs is -1, before the first node; what stays to the end is held past the last. `lent`: a graph
    input or output lies in it, which a body shares with its surroundings.
    """

    name: str
    bytes: int
    birth: int
    death: int
    lent: bool = False


class Ledger:
    """Every storage in order of first steps, the one in which each tensor lies, and the bytes that each node makes."""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.end, self.complete = scene, len(scene.graph.nodes), True
        self.constants, self.amounts = scene.constants, scene.bytes
        self.last_read = _last_reads(scene)
        self.storages: list[Storage] = []
        self.owner: dict[str, Storage] = {}
        for tensor in scene.graph.inputs:
            amount = self.amounts.get(tensor.name)
            self.complete &= amount is not None
            self.open(tensor.name, -1, amount)
            self.owner[tensor.name].death = self.end
        self.made = [
            self.enter(index, node, said)
            for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True))
        ]
        for tensor in (*scene.graph.inputs, *scene.graph.outputs):
            if tensor.name in self.owner:
                self.owner[tensor.name].lent = True

    def open(self, name: str, step: int, amount: int | None) -> None:
        """A new storage."""
        storage = self.owner[name] = Storage(name, amount or 0, step, self.last_read.get(name, step))
        self.storages.append(storage)

    def share(self, name: str, storage: Storage) -> None:
        """One more tensor in a storage that exists."""
        self.owner[name] = storage
        storage.death = max(storage.death, self.last_read.get(name, -1))

    def enter(self, index: int, node: Node, said: object) -> int | None:
        """Place a node's outputs; the bytes it newly makes."""
        total: int | None = 0
        for place, name in enumerate(node.outputs):
            if not name or name in self.constants:
                continue
            if self.scene.bounded and self.is_bound(name):
                self.complete = False
            amount = self.amounts.get(name)
            taken = None
            if place == 0 and type(said) is Facts:
                if said.view is not None:
                    viewed = self.owner.get(self.scene.named(node.inputs, said.view))
                    if viewed is not None:
                        self.share(name, viewed)
                        continue
                if said.inplace:
                    taken = self.overwritable(index, node, said, amount)
            if taken is not None:
                self.share(name, taken)
            else:
                self.open(name, index, amount)
            total = None if total is None or amount is None else total + amount
        return total

    def is_bound(self, name: str) -> bool:
        """Whether the size of a tensor is an upper bound."""
        size = self.scene.size(name)
        return size is not None and not size.exact

    def overwritable(self, index: int, node: Node, said: Facts, amount: int | None) -> Storage | None:
        """The storage of an operand of equal bytes that nobody reads after this node."""
        for operand in said.inplace:
            storage = self.owner.get(self.scene.named(node.inputs, operand))
            if storage is not None and storage.death <= index and storage.bytes == amount == operand.bytes:
                return storage
        return None


def _last_reads(scene: Scene) -> dict[str, int]:
    """The last step at which each tensor is read; past the end for graph outputs."""
    last: dict[str, int] = {}
    for index, node in enumerate(scene.graph.nodes):
        for name in (*node.inputs, *node.captures) if node.captures else node.inputs:
            last[name] = index
    for tensor in scene.graph.outputs:
        last[tensor.name] = len(scene.graph.nodes)
    return last
