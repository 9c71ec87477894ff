"""One block of memory for a whole run: an offset for every storage, so that no two that are held at once overlap.

The plan is greedy by size (Pisarchyk and Lee, "Efficient memory management for deep neural net inference", 2020): the
largest storage first, each into the smallest gap between those that it meets in time, on top of them where none fits.
Graph inputs meet everything, so they lie side by side at the bottom. Offsets are not aligned: the bytes compare with
the live peak, below which no plan can be.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import msgspec

from analyzer.passes.memory.live import Live
from analyzer.passes.memory.storages import Storage

MOST_MEETINGS = 128
"""How many others a storage may meet on average for a plan to be made: the time that it takes goes with them."""


class Plan(msgspec.Struct, frozen=True):
    """Bytes of the block, and where in it each storage begins."""

    bytes: int
    storages: list[Storage]
    offsets: list[int]


def place(live: Live) -> Plan | None:
    """An arena for all storages of a run. The bodies run by a node have a block of their own while it runs."""
    return _place(live, live.storages, {})


def _place(live: Live, storages: Sequence[Storage], placed: dict[int, int | None]) -> Plan | None:
    blocks = []
    for index, bodies in live.bodies.items():
        for body in bodies:
            if id(body) not in placed:
                own = _place(body, [storage for storage in body.storages if not storage.lent], placed)
                placed[id(body)] = None if own is None else own.bytes
        sizes = [placed[id(body)] for body in bodies]
        if None in sizes:
            return None
        blocks.append(Storage("", max(filter(None, sizes), default=0), index, index))
    if blocks:
        storages = sorted((*storages, *blocks), key=lambda storage: storage.birth)
    return _plan(storages)


def _plan(storages: Sequence[Storage]) -> Plan | None:
    """Offsets for storages that come in order of their first steps; None where too many are held at once."""
    inputs = [storage for storage in storages if storage.birth < 0 and storage.bytes]
    others = [storage for storage in storages if storage.birth >= 0 and storage.bytes]
    *bottom, floor = accumulate((storage.bytes for storage in inputs), initial=0)
    sizes = [storage.bytes for storage in others]
    met = _meetings(others, sizes)
    if met is None:
        return None
    offsets = [floor] * len(others)
    top = floor
    for index in sorted(range(len(others)), key=sizes.__getitem__, reverse=True):
        size = sizes[index]
        if met[index]:
            taken = [(offsets[other], sizes[other]) for other in met[index]]
            offsets[index] = _gap(taken, floor, size)
        if offsets[index] + size > top:
            top = offsets[index] + size
    return Plan(top, inputs + others, bottom + offsets)


def _meetings(storages: Sequence[Storage], sizes: Sequence[int]) -> list[list[int]] | None:
    """For each storage those held at the same time that are placed before it: larger ones, of equals earlier ones."""
    deaths = [storage.death for storage in storages]
    met: list[list[int]] = []
    alive: list[int] = []
    left = MOST_MEETINGS * len(storages)
    for index, storage in enumerate(storages):
        birth, size = storage.birth, sizes[index]
        alive = [other for other in alive if deaths[other] >= birth]
        larger = []
        for other in alive:
            if sizes[other] >= size:
                larger.append(other)
            else:
                met[other].append(index)
        met.append(larger)
        left -= len(alive)
        if left < 0:
            return None
        alive.append(index)
    return met


def _gap(taken: list[tuple[int, int]], floor: int, size: int) -> int:
    """Where the smallest gap that holds `size` begins, from the floor up between what is taken; above all if none."""
    top, best, smallest = floor, -1, 0
    taken.sort()
    for start, length in taken:
        gap = start - top
        if gap >= size and (best < 0 or gap < smallest):
            best, smallest = top, gap
        if gap + length > 0:
            top = start + length
    return top if best < 0 else best
