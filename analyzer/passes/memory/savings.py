"""What would lower the peak: another order of the nodes, overwriting that no op does, tensors that wait at the peak."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from analyzer.describe import Scene
from analyzer.passes.memory.live import Live
from analyzer.passes.memory.order import Order, search


class Missed(msgspec.Struct, frozen=True):
    """A result at the peak that has the bytes of an operand which nobody reads later, and yet may not overwrite it."""

    node: str
    operand: str
    result: str
    bytes: int


class Held(msgspec.Struct, frozen=True):
    """A storage that the node at the peak does not touch: it waits `steps` from its last use to its next."""

    name: str
    bytes: int
    since: str
    until: str
    steps: int


class Savings(msgspec.Struct, frozen=True):
    """The best order found, None where sizes are not known or the graph is too large; what is missed at the nodes that
    reach the peak; what waits at the first of them, by bytes times steps.
    """

    order: Order | None
    missed: tuple[Missed, ...]
    held: tuple[Held, ...]


def save(scene: Scene, live: Live) -> Savings:
    """Ways to a lower peak than that of `live`, which is of this scene."""
    extras = {index: max(body.extra_bytes for body in bodies) for index, bodies in live.bodies.items()}
    return Savings(
        order=search(scene, live.peak_bytes, extras) if live.complete else None,
        missed=tuple(_missed(scene, live)),
        held=tuple(sorted(_held(scene, live), key=lambda held: (-held.bytes * held.steps, held.name))),
    )


def _missed(scene: Scene, live: Live) -> Iterator[Missed]:
    peak = live.peak_bytes
    for step, node in enumerate(scene.graph.nodes):
        if live.live_bytes[step + 1] < peak:
            continue
        owned = {id(live.owner[name]): live.owner[name] for name in node.inputs if name in live.owner}
        dying = [s for s in owned.values() if s.birth < step == s.death]
        made = {id(live.owner[name]): live.owner[name] for name in node.outputs if name in live.owner}
        for result in made.values():
            place = next((i for i, s in enumerate(dying) if s.bytes == result.bytes), None)
            if result.birth == step and result.bytes and place is not None:
                yield Missed(node.name, dying.pop(place).name, result.name, result.bytes)


def _held(scene: Scene, live: Live) -> Iterator[Held]:
    """Inputs of the graph, and outputs once they are made, are no tensors that could wait less."""
    step, nodes = live.peak_step, scene.graph.nodes
    outputs = {tensor.name for tensor in scene.graph.outputs}
    made = {name for node in nodes[: step + 1] for name in node.outputs if name in outputs}
    stay = {live.owner[name].name for name in made if name in live.owner}
    held = [storage for storage in live.alive_at(step) if storage.birth >= 0 and storage.name not in stay]
    waiting = {storage.name: storage for storage in held}
    last: dict[str, int] = {}
    following: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in (*node.inputs, *node.captures, *node.outputs):
            storage = live.owner.get(name)
            if storage is not None and storage.name in waiting:
                if index <= step:
                    last[storage.name] = index
                else:
                    following.setdefault(storage.name, index)
    for name, storage in waiting.items():
        if last[name] < step and name in following:
            since, until = last[name], following[name]
            yield Held(name, storage.bytes, nodes[since].name, nodes[until].name, until - since)
