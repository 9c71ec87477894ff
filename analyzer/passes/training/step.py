"""Memory through one training step: forward, backward in reverse, and the optimizer's.

Beside what stands all the time (parameters, buffers, inputs, the optimizer's state), and in this order:

    forward    a result is held until its last reader is done; what is kept of it, until its keeper is on the way back
    backward   each node takes the gradients of its results and makes those of its operands; a gradient is held from the
               node that first makes it to the node that takes it, those of parameters to the end. Gradients of several
               readers are added up in place, unless somebody else holds the storage
    optimizer  every gradient is there, and what the optimizer makes beside

The loss is the sum of the outputs, which are held to the end. With checkpoints a segment keeps what crosses into it
alone, and is run again before its way back.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence, Set
from operator import add
from typing import Literal

import msgspec

from analyzer.describe import Scene
from analyzer.graph import FLOAT32, Node, Size
from analyzer.ops.rule import Facts
from analyzer.passes.training import Saved
from analyzer.passes.training.segments import Segment
from analyzer.strides import channels_last

Phase = Literal["forward", "backward", "optimizer"]
Names = tuple[str, ...]
NONE = (0, 0)
"""Bytes of workspace, forward and backward, of most ops."""


class Step(msgspec.Struct, frozen=True):
    """Most bytes alive at once in a step beside what stands all the time, and where: the phase, and its node.

    `accumulating_bytes` is the same where gradients of earlier micro-batches stand too, and includes them. `recomputed`
    are nodes that run twice.
    """

    peak_bytes: int
    phase: Phase
    node: int | None
    accumulating_bytes: int
    recomputed: int


class Held(msgspec.Struct, eq=False, gc=False):
    """A gradient's storage, and how many tensors' gradients lie in it."""

    bytes: int
    holders: int = 1


def step(
    scene: Scene,
    kept: Saved,
    parameters: Mapping[str, int],
    *,
    bodies: Mapping[int, int] = {},
    segments: Sequence[Segment] = (),
    half: bool = False,
    copied_bytes: int = 0,
    optimizer_bytes: int = 0,
) -> Step:
    """One step of `scene`, of which autograd keeps `kept`.

    `parameters` are those that learn, with their bytes; `bodies` the bytes of those that the bodies of a node hold, by
    its index; `half`: results of float32 take two bytes; `copied_bytes` stand until the way back is done;
    `optimizer_bytes` are what the optimizer makes beside its state.
    """
    return _Step(scene, kept, parameters, bodies, segments, half).run(copied_bytes, optimizer_bytes)


class _Step:
    """What is alive while a step goes on."""

    def __init__(
        self,
        scene: Scene,
        kept: Saved,
        parameters: Mapping[str, int],
        bodies: Mapping[int, int],
        segments: Sequence[Segment],
        half: bool,
    ) -> None:
        self.scene, self.kept, self.parameters = scene, kept, parameters
        self.nodes, self.facts, self.sizes = scene.graph.nodes, scene.facts, scene.sizes
        self.bodies, self.first, self.phrases = bodies, kept.storages.first, kept.phrases
        self.segments = segments or (Segment(0, len(scene.facts), again=False),)
        self.outputs = {self.first.get(tensor.name, tensor.name) for tensor in scene.graph.outputs}
        self.standing = scene.constants | {tensor.name for tensor in scene.graph.inputs} | {""}
        self.learning = kept.learned - (scene.graph.initializers.keys() - parameters.keys())
        self.amounts = _amounts(scene, kept, half)
        self.keeps: dict[int, list[str]] = {}
        self.fresh = [amount or 0 for amount in kept.node_bytes]
        for storage, index in kept.keeper.items():
            self.keeps.setdefault(index, []).append(storage)
            self.fresh[index] -= kept.storages.bytes(storage)
        self.workspaces: dict[int, tuple[int, int]] = {}
        for index, said in enumerate(scene.facts):
            if type(said) is Facts and said.workspace != NONE:
                self.workspaces[index] = self.workspace(self.nodes[index], said)
        for index in kept.learners:
            said = scene.facts[index]
            self.fresh[index] += said.reserve if type(said) is Facts else 0
        self.held: dict[str, int] = {}
        self.grads: dict[str, Held] = {}
        self.alive = self.peak = self.apart = self.gathered = self.recomputed = 0
        self.at: tuple[Phase, int | None] = ("forward", None)

    def run(self, copied_bytes: int, optimizer_bytes: int) -> Step:
        """Forward, back, and the optimizer's turn."""
        self.alive += copied_bytes
        crossing = self.crossing() if len(self.segments) > 1 else {}
        for segment in self.segments:
            self.forward(segment, crossing.keys(), keeping=not segment.again)
        self.start()
        for number, segment in reversed(list(enumerate(self.segments))):
            if segment.again:
                others = {storage for storage, (maker, _) in crossing.items() if maker != number}
                self.forward(segment, others, keeping=True)
                self.recomputed += segment.end - segment.start
            self.back(segment)
            for storage, (_, reader) in crossing.items():
                if reader == number:
                    self.drop(storage)
        self.alive -= copied_bytes
        self.see("optimizer", None, optimizer_bytes)
        total = sum(self.parameters.values()) + sum(self.bodies.values())
        return Step(self.peak, *self.at, self.apart + total, self.recomputed)

    def see(self, phase: Phase, node: int | None, beside: int) -> None:
        """A moment with so many bytes more."""
        now = self.alive + beside
        if now > self.peak:
            self.peak, self.at = now, (phase, node)
        if now - self.gathered > self.apart:
            self.apart = now - self.gathered

    # -- forward

    def forward(self, segment: Segment, staying: Set[str], keeping: bool) -> None:
        """Run nodes; a storage goes after its last reader, unless it is kept or `staying`."""
        span, keeper, held = range(segment.start, segment.end), self.kept.keeper, self.held
        kept = [storage for storage, index in keeper.items() if index in span] if keeping else []
        change, amounts = [0] * (len(span) + 1), self.amounts
        stays, last = self.outputs.union(staying, kept), self.last_touches(span)
        for storage, index in self.births(span):
            amount = amounts.get(storage, 0)
            change[index - segment.start] += amount
            if storage in stays:
                held[storage] = amount
            else:
                change[last.get(storage, index) - segment.start + 1] -= amount
        for storage in kept:
            if storage not in held and storage not in self.standing:  # laid out anew
                held[storage] = amount = amounts.get(storage, 0)
                change[keeper[storage] - segment.start] += amount
        if keeping:
            change[:-1] = map(add, change, self.fresh[segment.start : segment.end])
        for index, more in zip(span, change, strict=False):
            self.alive += more
            if more > 0 or index in self.workspaces:
                self.see("forward", index, self.workspaces.get(index, NONE)[0])
        self.alive += change[-1]

    def births(self, span: range) -> Iterator[tuple[str, int]]:
        """Storages that are not there yet and the nodes that fill them; those inside of a phrase never are."""
        nodes, phrases = self.nodes, self.phrases
        first, standing, held = self.first, self.standing, self.held
        for index in span:
            if index not in phrases or phrases[index] is not None:
                for name in nodes[index].outputs:
                    if name not in first and name not in standing and name not in held:
                        yield name, index

    def last_touches(self, span: range) -> dict[str, int]:
        """The last node to read each storage."""
        first, last = self.first, dict[str, int]()
        for index in span:
            node = self.nodes[index]
            for name in node.inputs + node.captures if node.captures else node.inputs:
                last[first.get(name, name)] = index
        for index, phrase in self.phrases.items():
            if phrase is not None and index in span:
                for name in phrase.inputs:
                    storage = first.get(name, name)
                    last[storage] = max(index, last.get(storage, index))
        return last

    def reads(self, index: int) -> Names:
        """What a node reads, and the op that it is the last of."""
        node, phrase = self.nodes[index], self.phrases.get(index)
        names = node.inputs + node.captures if node.captures else node.inputs
        return names if phrase is None else names + phrase.inputs

    def crossing(self) -> dict[str, tuple[int, int]]:
        """Storages that are read by another segment than makes them: the one that does, and the first other."""
        maker: dict[str, int] = {}
        found: dict[str, tuple[int, int]] = {}
        for number, segment in enumerate(self.segments):
            for index in range(segment.start, segment.end):
                for name in self.reads(index):
                    storage = self.first.get(name, name)
                    if maker.get(storage, number) != number and storage not in found:
                        found[storage] = maker[storage], number
                for name in self.nodes[index].outputs:
                    if name not in self.first:
                        maker[name] = number
        return found

    def workspace(self, node: Node, said: Facts) -> tuple[int, int]:
        """What an op takes beside its results, forward and backward, as its operand is laid out."""
        if isinstance(said.workspace, tuple):
            return said.workspace
        strides, size = self.kept.storages.strides.get(node.inputs[0]), self.scene.size(node.inputs[0])
        return said.workspace(size is not None and channels_last(size.shape, strides))

    def drop(self, storage: str) -> None:
        """One that is not needed any more; outputs are to the end."""
        if storage not in self.outputs:
            self.alive -= self.held.pop(storage, 0)

    # -- backward

    def start(self) -> None:
        """The gradients of the outputs."""
        for tensor in self.scene.graph.outputs:
            if tensor.name in self.learning:
                self.grads[tensor.name] = self.fill(self.amounts.get(tensor.name, 0))
        self.see("backward", None, 0)

    def back(self, segment: Segment) -> None:
        """The nodes of a segment, last first."""
        grads, waiting, fresh = self.grads, self.grads.keys(), self.fresh
        learners = self.kept.learners
        learners = learners[bisect_left(learners, segment.start) : bisect_left(learners, segment.end)]
        for index in reversed(learners):
            node = self.nodes[index]
            if not waiting.isdisjoint(node.outputs):
                said = self.facts[index]
                taken = [grads.pop(name) for name in node.outputs if name in grads]
                if type(said) is Facts:
                    self.through(index, node, said, taken[0])
                for gradient in taken:
                    self.leave(gradient)
            self.alive -= fresh[index]
            if index in self.keeps:
                for storage in self.keeps[index]:
                    self.drop(storage)

    def through(self, index: int, node: Node, said: Facts, taken: Held) -> None:
        """The gradients of a node's operands, made of that of its result."""
        inputs, phrase = node.inputs, self.phrases.get(index)
        if phrase is not None:
            inputs, said = phrase.inputs, phrase.said
        elif node.captures:
            inputs += node.captures
        arriving: dict[str, Held] = {}
        for name in inputs:
            if name in self.learning and name not in arriving:
                if self.lets_through(name, node, said):
                    taken.holders += 1
                    arriving[name] = taken
                else:
                    made = self.parameters if name in self.parameters else self.amounts
                    arriving[name] = self.fill(made.get(name, 0))
        if index in self.bodies:
            self.alive += self.bodies[index]
            self.gathered += self.bodies[index]
        self.see("backward", index, self.workspaces.get(index, NONE)[1])
        for name, gradient in arriving.items():
            if name in self.grads:
                self.add_up(name, gradient)
            else:
                self.grads[name] = gradient
                if name in self.parameters:
                    self.gathered += self.parameters[name]

    def lets_through(self, name: str, node: Node, said: Facts) -> bool:
        """Whether an operand's gradient is that of the result as it stands: the op says so, or its one result shows all
        of the operand and lies in its storage.
        """
        size = self.sizes[name]
        if size in said.passes:
            return True
        if (size is not said.view and size is not said.strided) or len(node.outputs) > 1:
            return False
        first, output = self.first, node.outputs[0]
        result = self.sizes[output]
        alike = first.get(output, output) == first.get(name, name)
        return alike and type(result) is type(size) is Size and result.count == size.count

    def fill(self, amount: int) -> Held:
        """A new gradient."""
        self.alive += amount
        return Held(amount)

    def leave(self, gradient: Held) -> None:
        """One tensor less lies in a gradient's storage."""
        gradient.holders -= 1
        if not gradient.holders:
            self.alive -= gradient.bytes

    def add_up(self, name: str, gradient: Held) -> None:
        """Add a gradient to what is there already."""
        there = self.grads[name]
        if there.holders == 1:
            self.leave(gradient)
        elif gradient.holders == 1:
            self.leave(there)
            self.grads[name] = gradient
        else:
            self.grads[name] = self.fill(self.amounts.get(name, 0))
            self.see("backward", None, 0)
            self.leave(there)
            self.leave(gradient)


def _amounts(scene: Scene, kept: Saved, half: bool) -> Mapping[str, int]:
    """Bytes of tensors and storages as they are computed."""
    amounts = scene.bytes
    if half:
        halved = [name for name in amounts if (size := scene.size(name)) and size.dtype is FLOAT32]
        amounts = {**amounts, **{name: amounts[name] // 2 for name in halved}}
    anew = kept.keeper.keys() - amounts.keys()
    return (
        {**amounts, **{name: amounts.get(kept.storages.named(name), 0) for name in anew}} if anew else amounts
    )
