"""A run of a block, and what outlives it: who holds which memory, and when it goes back.

Results are taken as the plan says (`core/framework/execution_frame.cc`); with the memory pattern, a block's first run
is traced and every later one takes one block for all that was traced.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping

from analyzer.graph import Size
from analyzer.runtime.arena import Arena, Chunk
from analyzer.runtime.kernel import Usage
from analyzer.runtime.pattern import Pattern, lay_out
from analyzer.runtime.planner import Block, Plan, Step

STRING_BYTES = 32
"""What a string takes in a tensor, its characters aside where they are many."""


def storage_bytes(size: Size | None) -> int:
    """What a tensor takes; nothing where it is no tensor, or nobody knows."""
    if size is None:
        return 0
    return size.count * STRING_BYTES if size.bytes is None else size.bytes


class Buffer:
    """Memory of a tensor with the number of those who hold it. `chunk` is None where it is not of the arena: it is the
    caller's, lies in a pattern's block, or has no bytes.
    """

    __slots__ = ("chunk", "holders")

    def __init__(self, chunk: Chunk | None = None) -> None:
        self.chunk, self.holders = chunk, 1


Provider = Callable[[], Buffer]
Flow = Callable[["Frame", Step], None]


class Replay:
    """What outlives a run: the arena, the plan of each block, the patterns, and what was seen on the way.

    `base_bytes` was requested when the first kernel began, of those that end first: a body's before its node's.
    """

    def __init__(self, pattern: bool, flows: Mapping[str, Flow]) -> None:
        self.pattern, self.flows = pattern, flows
        self.arena = Arena()
        self.plans: dict[int, Plan] = {}
        self.usages: dict[int, Usage] = {}
        self.patterns: dict[int, Pattern] = {}
        self.base_bytes: int | None = None
        self.requested_peak_bytes = 0
        self.unmodelled: Counter[tuple[str, str]] = Counter()

    def take(self, size: int) -> Buffer:
        """A buffer of the arena, held once."""
        return Buffer(self.arena.take(size))

    def drop(self, buffer: Buffer) -> None:
        """One holder less; with the last the memory goes back."""
        buffer.holders -= 1
        if not buffer.holders:
            self.arena.give(buffer.chunk)


class Frame:
    """One run of a block: its tensors' buffers by name.

    `fed` are the buffers of inputs and captured tensors (of those that are not in it the frame knows nothing, and they
    cost nothing). `provided` tells for an output of the block where else its buffer comes from: it is asked when the
    output is made, and the frame then holds what it gives.
    """

    def __init__(
        self,
        replay: Replay,
        block: Block,
        fed: Mapping[str, Buffer],
        provided: Mapping[str, Provider] | None = None,
    ) -> None:
        self.replay, self.block, self.provided = replay, block, provided or {}
        self.plan = replay.plans[id(block)]
        self.buffers: dict[str, Buffer] = {}
        for name, buffer in fed.items():
            buffer.holders += 1
            self.buffers[name] = buffer
        for name in block.outputs:
            if name in block.initializers:
                self._own(name)
        self.trace: list[tuple[str, int | None]] = []
        self.pattern = replay.patterns.get(id(block)) if self._patterned() else None
        self.shared = replay.take(self.pattern.bytes if self.pattern is not None else 0)

    def _patterned(self) -> bool:
        """Whether there is to be a pattern: never where something is fed that is no tensor."""
        known = (self.block.values.get(name) for name in self.block.inputs)
        return self.replay.pattern and all(value is None or value.size is not None for value in known)

    def run(self) -> None:
        """Every step in order; what nobody needs any more goes after each."""
        replay, arena = self.replay, self.replay.arena
        for step, released in zip(self.block.steps, self.plan.released, strict=True):
            before = arena.requested_bytes
            flow = replay.flows.get(step.call.op_type) if step.bodies else None
            if flow is None:
                self._compute(step)
            else:
                flow(self, step)
            replay.base_bytes = before if replay.base_bytes is None else replay.base_bytes
            replay.requested_peak_bytes = max(replay.requested_peak_bytes, arena.requested_bytes)
            for name in released:
                self.release(name)

    def _compute(self, step: Step) -> None:
        """A kernel that runs no body: its results and what it needs beside them, in the order it takes them."""
        arena, usage = self.replay.arena, self.replay.usages[id(step)]
        taken: list[Chunk | None] = []
        for amount in usage.steps or (0,):
            if amount > 0:
                taken.append(arena.take(amount))
            elif amount < 0:
                arena.give(taken[-amount - 1])
                taken[-amount - 1] = None
            else:
                for name in step.outputs:
                    self.allocate(name)
        for chunk in taken:
            arena.give(chunk)
        arena.pass_through(usage.scratch)

    def allocate(self, name: str) -> Buffer:
        """The buffer of a result, as planned: another's, one that is provided, a place in the pattern's block, or its
        own.
        """
        if not name:
            return Buffer()
        home = self.plan.homes[name]
        if home == name:
            return self.buffers[name] if name in self.buffers else self._own(name)
        if name in self.block.outputs:  # a loop's state that is passed on
            self.buffers[name] = self.lend(home)
        if home in self.plan.homes and home not in self.buffers:  # it went before it was wanted again
            self._own(home)
        return self.buffers.get(home) or Buffer()

    def lend(self, name: str) -> Buffer:
        """The buffer that a tensor lies in, held once more: another may keep it."""
        buffer = self.buffers.get(self.plan.homes.get(name, name))
        if buffer is None:
            return Buffer()
        buffer.holders += 1
        return buffer

    def _own(self, name: str) -> Buffer:
        value = self.block.values.get(name)
        size = value.size if value is not None else self.block.initializers.get(name)
        if name in self.provided:
            buffer = self.provided[name]()
            buffer.holders += 1
        elif name in self.block.outputs:
            buffer = self.replay.take(storage_bytes(size))
        else:
            buffer = self._inner(name, size)
        self.buffers[name] = buffer
        return buffer

    def _inner(self, name: str, size: Size | None) -> Buffer:
        """A tensor that does not leave the block. Strings are never part of a pattern."""
        amount = storage_bytes(size)
        if size is None or size.bytes is None:
            return self.replay.take(amount)
        if self.pattern is not None and self.pattern.holds(name, amount):
            return Buffer()
        self.trace.append((name, amount))
        return self.replay.take(amount)

    def release(self, name: str) -> None:
        buffer = self.buffers.pop(name, None)
        if buffer is not None:
            self.replay.drop(buffer)
            self.trace.append((name, None))

    def leave(self) -> list[Buffer]:
        """End the run: the outputs' buffers, held for the caller; all else goes. A first run leaves its pattern."""
        if self.pattern is None and self._patterned():
            self.replay.patterns[id(self.block)] = lay_out(self.trace)
        fetched = [self.buffers.get(name) or Buffer() for name in self.block.outputs]
        for buffer in fetched:
            buffer.holders += 1
        for buffer in self.buffers.values():
            self.replay.drop(buffer)
        self.replay.drop(self.shared)
        return fetched
