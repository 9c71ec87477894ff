"""Memory at training time that one forward pass leaves behind: what autograd keeps for the backward pass.

Each storage counts once however many ops keep it; parameters, buffers and constants are not counted here. A tensor that is a
view of another keeps the other's storage alive.
"""

from __future__ import annotations

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts


class Saved(msgspec.Struct, frozen=True):
    """Bytes kept in all, and per node those that it is the first to keep; `complete` is False where a node said nothing."""

    bytes: int
    node_bytes: tuple[int | None, ...]
    complete: bool


def saved(scene: Scene) -> Saved:
    """What autograd keeps of one run of `scene`."""
    storage: dict[str, str] = {}
    kept: set[str] = set()
    per_node: list[int | None] = []
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        if not isinstance(said, Facts):
            per_node.append(None)
            continue
        if said.view is not None and node.outputs:
            viewed = _owner(scene, node.inputs, said.view)
            if viewed:
                storage[node.outputs[0]] = storage.get(viewed, viewed)
        per_node.append(sum(_newly_kept(scene, node, size, storage, kept) for size in said.saved))
    known = [amount for amount in per_node if amount is not None]
    return Saved(sum(known), tuple(per_node), len(known) == len(per_node))


def _newly_kept(scene: Scene, node: Node, size: Size, storage: dict[str, str], kept: set[str]) -> int:
    """Bytes that keeping `size` adds: a tensor's storage the first time, a fresh one always, a constant's never."""
    if node.outputs and node.outputs[0] in scene.constants:
        return 0
    name = _owner(scene, node.inputs, size) or _owner(scene, node.outputs, size)
    if not name:
        return size.bytes or 0
    if name in scene.constants:
        return 0
    name = storage.get(name, name)
    if name in kept:
        return 0
    kept.add(name)
    return size.bytes or 0


def _owner(scene: Scene, names: tuple[str, ...], size: Size) -> str:
    """The tensor among `names` that a Size belongs to: identity tells."""
    for name in names:
        if scene.sizes[name] is size:
            return name
    return ""
