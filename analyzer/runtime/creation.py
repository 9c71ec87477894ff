"""What a session takes before it runs: small stored tensors, and weights that its kernels pack.

The order is that of `core/framework/session_state.cc`: the main graph as a whole, then the bodies of each of its nodes.
What has been packed for every node that reads it is given back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from types import MappingProxyType

from analyzer.graph import Size
from analyzer.runtime.arena import Chunk
from analyzer.runtime.frame import Replay, storage_bytes
from analyzer.runtime.kernel import NOTHING, Reserved, Usage, find
from analyzer.runtime.planner import Block, Step, plan

SMALL_BYTES = 127
"""Stored tensors up to here are copied into memory of the session's own; larger ones stay where the file was read, as
do external ones of any size.
"""
FILTER = 1
"""The operand that most kernels pack."""

Stored = Mapping[str, Chunk | None]
NONE: Stored = MappingProxyType({})


class Creation:
    """One session in the making. `uses` counts the nodes that have yet to pack a stored tensor; `packed` is what is
    kept already: of two packed weights that are equal one is kept.
    """

    def __init__(self, replay: Replay, blank: bool) -> None:
        self.replay, self.arena, self.blank = replay, replay.arena, blank
        self.uses: Counter[str] = Counter()
        self.packed: set[object] = set()

    def make(self, main: Block) -> None:
        """The session of a main graph."""
        self.uses.update(name for block in _within(main) for name in _needed(block))
        self.block(main)

    def block(self, block: Block, within: str = "", outer: Stored = NONE) -> None:
        """Copy small stored tensors, make and pack kernel after kernel, then do the same for the bodies."""
        self.replay.plans[id(block)] = plan(block, within)
        stored = dict(outer)
        for name, size in block.initializers.items():
            amount = storage_bytes(size)
            copied = amount <= SMALL_BYTES and name not in block.external
            stored[name] = self.arena.take(Reserved(amount)) if copied else None
        order = range(len(block.steps)) if block.created is None else block.created
        for step in (block.steps[index] for index in order):
            self.replay.usages[id(step)] = usage = self._usage(step)
            self._pack(step, usage)
            for name in (step.inputs[place] for place in usage.replaces):
                self.uses[name] -= 1
                if not self.uses[name]:
                    self.arena.give(stored.get(name))
        for step in block.steps:
            for body in step.bodies:
                self.block(body.block, step.call.op_type, stored)

    def _usage(self, step: Step) -> Usage:
        """What a step's kernel takes. A step is noted where nobody modelled it, or a size of it is not known."""
        call = step.call
        kernel, usage = find(call.domain, call.op_type), None
        sized = _sized(step.inputs, call.inputs) and _sized(step.outputs, call.outputs)
        if step.bodies:
            usage = NOTHING if call.op_type in self.replay.flows else None
        elif kernel is not None and sized:
            usage = kernel.usage(call)
        if usage is None or not sized:
            self.replay.unmodelled[call.domain, call.op_type] += 1
        return usage or NOTHING

    def _pack(self, step: Step, usage: Usage) -> None:
        """Pack operand after operand all the same, then give back what another kernel of this op has packed to the same
        bytes.
        """
        if not usage.prepacked:
            self.arena.pass_through(usage.packing)
        for first, last, operand in _groups(usage):
            chunks = [self.arena.take(amount) for amount in usage.prepacked[first:last]]
            if last == len(usage.prepacked):
                self.arena.pass_through(usage.packing)
            key = (
                step.call.op_type,
                usage.prepacked[first:last],
                self._contents(step, operand, first, usage.turned),
            )
            if key in self.packed and not usage.private:
                for chunk in chunks:
                    self.arena.give(chunk)
            self.packed.add(key)

    def _contents(self, step: Step, operand: int, first: int, turned: bool) -> object:
        """What tells packed weights of one size apart: their numbers where they are known, else whose they are,
        unless all of them are zero.
        """
        size = step.call.inputs[operand]
        if size is not None and size.value is not None:
            return size.value.tobytes(), turned and bool(size.value.any())
        return None if self.blank else (step.inputs[operand], first, turned)


def _groups(usage: Usage) -> Iterator[tuple[int, int, int]]:
    """What was packed of one operand at once: its first and last place in `prepacked`, and the operand."""
    operands = usage.replaces or (FILTER,)
    counts = usage.together or (1,) * len(usage.prepacked)
    first = 0
    for place, count in enumerate(counts):
        yield first, first + count, operands[place if len(operands) == len(counts) else 0]
        first += count


def _sized(names: tuple[str, ...], sizes: tuple[Size | None, ...]) -> bool:
    return all(size is not None for name, size in zip(names, sizes, strict=True) if name)


def _within(block: Block) -> Iterator[Block]:
    """A block and all that lie in it."""
    yield block
    for step in block.steps:
        for body in step.bodies:
            yield from _within(body.block)


def _needed(block: Block) -> Iterator[str]:
    """What nodes and whoever runs the block read, each as often as it is read."""
    yield from (name for step in block.steps for name in step.inputs)
    yield from block.outputs
