"""The arena that onnxruntime's CPU provider takes its memory from: best fit with coalescing, and its counters.

Rules and constants are those of `core/framework/bfc_arena.cc` in its default configuration (grow by powers of two).
"""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable

from analyzer.runtime.kernel import Reserved

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30

UNIT_BYTES = 256
"""Every chunk is a multiple of this."""
FIRST_REGION_BYTES = MIB
MOST_DOUBLED_BYTES = GIB
"""Regions double up to here; a larger one is made only for a larger request."""
MOST_WASTED_BYTES = 128 * MIB
"""A chunk that fits is split where half of it would lie idle, or this much."""


class Chunk:
    """A stretch of a region, in use or free, with its neighbours in the same region; or memory that is reserved."""

    __slots__ = ("address", "after", "before", "bytes", "free", "requested_bytes", "reserved")

    def __init__(self, address: int, size: int, before: Chunk | None, after: Chunk | None) -> None:
        self.address, self.bytes, self.before, self.after = address, size, before, after
        self.free, self.requested_bytes, self.reserved = True, 0, False


class Arena:
    """Regions cut into chunks. What is taken is given back by the Chunk that was returned; no region ever goes back to
    the system.

    in_use_bytes     chunks in use, whole, and what is reserved
    requested_bytes  the same as it was asked for
    peak_bytes       the most that `in_use_bytes` ever was
    held_bytes       regions, and what is reserved
    """

    def __init__(self) -> None:
        self.in_use_bytes = self.requested_bytes = self.peak_bytes = self.held_bytes = 0
        self.region_bytes = FIRST_REGION_BYTES
        self.lowest_address = 0
        self.idle: list[tuple[int, int, Chunk]] = []

    def take(self, size: int) -> Chunk | None:
        """The smallest free chunk that fits, the lowest of equal ones; for Reserved bytes, memory of their own."""
        if not size:
            return None
        if isinstance(size, Reserved):
            return self._reserve(size)
        wanted = -(-size // UNIT_BYTES) * UNIT_BYTES
        place = bisect_left(self.idle, wanted, key=lambda entry: entry[0])
        if place == len(self.idle):
            self._extend(wanted)
            place = bisect_left(self.idle, wanted, key=lambda entry: entry[0])
        chunk = self.idle.pop(place)[2]
        if chunk.bytes >= 2 * wanted or chunk.bytes - wanted >= MOST_WASTED_BYTES:
            self._split(chunk, wanted)
        chunk.free, chunk.requested_bytes = False, size
        self._count(chunk.bytes, size)
        return chunk

    def give(self, chunk: Chunk | None) -> None:
        """Take a chunk back, and make it one with its free neighbours."""
        if chunk is None:
            return
        self._count(-chunk.bytes, -chunk.requested_bytes)
        if chunk.reserved:
            self.held_bytes -= chunk.bytes
            return
        chunk.free = True
        for left, right in ((chunk, chunk.after), (chunk.before, chunk)):
            if left is not None and right is not None and left.free and right.free:
                self._leave(right if left is chunk else left)
                left.bytes += right.bytes
                left.after = right.after
                if right.after is not None:
                    right.after.before = left
                chunk = left
        self._enter(chunk)

    def _reserve(self, size: int) -> Chunk:
        """Memory outside of every region, exactly as much as asked for; it goes back to the system."""
        chunk = Chunk(0, size, None, None)
        chunk.free, chunk.requested_bytes, chunk.reserved = False, size, True
        self.held_bytes += size
        self._count(size, size)
        return chunk

    def pass_through(self, phases: Iterable[Iterable[int]]) -> None:
        """Take everything of a phase in order, give it all back, and go on to the next."""
        for phase in phases:
            for chunk in [self.take(size) for size in phase]:
                self.give(chunk)

    def _count(self, in_use: int, requested: int) -> None:
        self.in_use_bytes += in_use
        self.requested_bytes += requested
        self.peak_bytes = max(self.peak_bytes, self.in_use_bytes)

    def _extend(self, wanted: int) -> None:
        """A new region as one free chunk. It is as large as the next one in turn, doubled until the request fits; only
        where none of this doubling was needed is the turn after it twice as large.
        """
        fits = wanted <= self.region_bytes
        while wanted > self.region_bytes:
            self.region_bytes *= 2
        size = self.region_bytes
        if fits:
            self.region_bytes = min(2 * size, MOST_DOUBLED_BYTES)
        self.held_bytes += size
        self.lowest_address -= size  # the system maps downwards
        self._enter(Chunk(self.lowest_address, size, None, None))

    def _split(self, chunk: Chunk, wanted: int) -> None:
        rest = Chunk(chunk.address + wanted, chunk.bytes - wanted, chunk, chunk.after)
        if chunk.after is not None:
            chunk.after.before = rest
        chunk.after, chunk.bytes = rest, wanted
        self._enter(rest)

    def _enter(self, chunk: Chunk) -> None:
        insort(self.idle, (chunk.bytes, chunk.address, chunk))

    def _leave(self, chunk: Chunk) -> None:
        place = bisect_left(self.idle, (chunk.bytes, chunk.address), key=lambda entry: entry[:2])
        del self.idle[place]
