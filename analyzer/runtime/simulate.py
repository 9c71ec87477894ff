"""The replay: a session is made and runs, and the arena counts."""

from __future__ import annotations

import msgspec

from analyzer.runtime.control import FLOWS
from analyzer.runtime.creation import Creation
from analyzer.runtime.frame import Frame, Replay
from analyzer.runtime.planner import Block, Outcome, Program


def simulate(program: Program) -> Outcome:
    """Make a session and run it: once, and with the memory pattern a second time; the worst of the orders that chance
    may choose.
    """
    blocks = [program.main, *(_reordered(program.main, order) for order in program.orders or ())]
    replays = [_replayed(program, block) for block in blocks]
    peaks = [replay.arena.peak_bytes for replay in replays]
    first = replays[0]
    return Outcome(
        base_bytes=first.arena.requested_bytes if first.base_bytes is None else first.base_bytes,
        peak_bytes=max(peaks),
        held_bytes=max(replay.arena.held_bytes for replay in replays),
        least_peak_bytes=min(peaks),
        requested_peak_bytes=max(replay.requested_peak_bytes for replay in replays),
        unmodelled=first.unmodelled,
    )


def _replayed(program: Program, block: Block) -> Replay:
    replay = Replay(program.pattern, FLOWS)
    Creation(replay, program.blank).make(block)
    for _ in range(2 if program.pattern else 1):
        frame = Frame(replay, block, {})
        frame.run()
        for buffer in frame.leave():
            replay.drop(buffer)
    return replay


def _reordered(block: Block, order: tuple[int, ...]) -> Block:
    """The same steps in another order. Their kernels are made as before."""
    place = {index: after for after, index in enumerate(order)}
    made = range(len(order)) if block.created is None else block.created
    return msgspec.structs.replace(
        block,
        steps=tuple(block.steps[index] for index in order),
        created=tuple(place[index] for index in made),
    )
