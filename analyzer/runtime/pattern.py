"""The memory pattern: what one run took and gave back, laid out in one block for the runs that follow.

The layout is that of `core/framework/mem_pattern_planner.h`: each tensor, as it is taken, goes into the tightest gap
between those that are alive, what the block has already had behind the last of them being one; else behind the last.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from analyzer.runtime.arena import UNIT_BYTES


class Pattern(msgspec.Struct, frozen=True):
    """One block of memory, and which tensors lie in it: each one's offset and its bytes, rounded up."""

    bytes: int
    places: Mapping[str, tuple[int, int]]

    def holds(self, name: str, size: int) -> bool:
        """Whether a tensor of this size has a place here; one that has grown or shrunk since is taken by itself."""
        return name in self.places and self.places[name][1] == rounded(size)


def rounded(size: int) -> int:
    return -(-size // UNIT_BYTES) * UNIT_BYTES


def lay_out(trace: Iterable[tuple[str, int | None]]) -> Pattern:
    """The pattern of a run, told as (tensor, bytes) where one was taken and (tensor, None) where it was given back."""
    alive: list[tuple[int, int, str]] = []  # by offset: offset, end, tensor
    places: dict[str, tuple[int, int]] = {}
    top = 0
    for name, size in trace:
        if size is None:
            alive = [block for block in alive if block[2] != name]
            continue
        need = rounded(size)
        if not need:
            places[name] = (0, 0)
            continue
        place, offset = _tightest(alive, need, top)
        alive.insert(place, (offset, offset + need, name))
        places[name] = (offset, need)
        top = max(top, offset + need)
    return Pattern(top, places)


def _tightest(alive: list[tuple[int, int, str]], need: int, top: int) -> tuple[int, int]:
    """Where a tensor goes: its place among those alive, and its offset."""
    ends = [0, *(end for _, end, _ in alive)]
    starts = [*(offset for offset, _, _ in alive), top]
    gaps = [start - end for end, start in zip(ends, starts, strict=True)]
    _, place = min(((gap, place) for place, gap in enumerate(gaps) if gap >= need), default=(0, len(alive)))
    return place, ends[place]
