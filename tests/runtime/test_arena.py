"""The arena and the memory pattern as data structures: what must hold whatever is taken and given back."""

from __future__ import annotations

from bisect import insort
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analyzer.runtime.arena import GIB, MIB, Arena, Chunk
from analyzer.runtime.kernel import Reserved
from analyzer.runtime.pattern import lay_out

SIZES = st.one_of(st.integers(1, 5000), st.integers(1, 3 * MIB))
MOVES = st.lists(st.one_of(SIZES, SIZES.map(Reserved), st.integers(-40, -1)), max_size=120)
"""A positive number is taken; a negative one gives back the one that was taken so long ago, if it is still there."""


def replayed(moves: list[int]) -> tuple[Arena, list[tuple[int, Chunk]]]:
    """An arena after these moves, and what is in use."""
    arena, used = Arena(), list[tuple[int, Chunk]]()
    for move in moves:
        if move > 0:
            chunk = arena.take(move)
            assert chunk is not None
            used.append((move, chunk))
        elif -move <= len(used):
            arena.give(used.pop(move)[1])
    return arena, used


@given(MOVES)
def test_nothing_overlaps(moves: list[int]) -> None:
    """Chunks in use and free ones lie side by side, never on one another, and fill the regions whole."""
    arena, used = replayed(moves)
    chunks = [chunk for _, chunk in used if not chunk.reserved] + [chunk for _, _, chunk in arena.idle]
    places: list[tuple[int, int]] = []
    for chunk in chunks:
        insort(places, (chunk.address, chunk.address + chunk.bytes))
    assert all(end <= start for (_, end), (start, _) in pairwise(places))
    assert sum(chunk.bytes for chunk in chunks) == -arena.lowest_address


@given(MOVES)
def test_the_counters_are_sums(moves: list[int]) -> None:
    """In use, requested and held are what one counts by hand; the peak is never below what is in use."""
    arena, used = replayed(moves)
    aside = sum(size for size, chunk in used if chunk.reserved)
    assert arena.requested_bytes == sum(size for size, _ in used)
    assert arena.in_use_bytes == sum(chunk.bytes for _, chunk in used)
    assert arena.held_bytes == aside - arena.lowest_address
    assert arena.held_bytes >= arena.in_use_bytes >= arena.requested_bytes
    assert arena.peak_bytes >= arena.in_use_bytes


@given(MOVES)
def test_free_neighbours_are_one(moves: list[int]) -> None:
    """No free chunk lies beside another; once everything is given back, a region is one chunk and a peak remains."""
    arena, used = replayed(moves)
    for _, _, chunk in arena.idle:
        assert chunk.free
        assert chunk.after is None or not chunk.after.free
    peak = arena.peak_bytes
    for _, chunk in used:
        arena.give(chunk)
    assert all(chunk.before is chunk.after is None for _, _, chunk in arena.idle)
    assert (arena.in_use_bytes, arena.requested_bytes, arena.peak_bytes) == (0, 0, peak)


@pytest.mark.parametrize(
    ("taken", "held"),
    [
        ([1], [MIB]),
        ([MIB], [MIB]),
        ([MIB, 1], [MIB, 2 * MIB]),
        ([MIB, 1, 2 * MIB], [MIB, 2 * MIB, 4 * MIB]),
        ([MIB + 1], [2 * MIB]),
        ([MIB + 1, 2 * MIB], [2 * MIB, 2 * MIB]),
        ([5 * MIB, 5 * MIB, 5 * MIB], [8 * MIB, 8 * MIB, 16 * MIB]),
        ([Reserved(100)], [100]),
    ],
)
def test_regions_double(taken: list[int], held: list[int]) -> None:
    """The first region is a MiB; the next is twice as large unless the last had been doubled for its request."""
    arena = Arena()
    for size in taken:
        arena.take(size)
    assert arena.held_bytes == sum(held)


@pytest.mark.parametrize(
    ("region", "asked", "given"),
    [
        (MIB, MIB // 2, MIB // 2),
        (MIB, MIB // 2 + 1, MIB),
        (GIB, GIB - 128 * MIB, GIB - 128 * MIB),
        (GIB, GIB - 127 * MIB, GIB),
    ],
)
def test_a_chunk_is_split_where_enough_is_left(region: int, asked: int, given: int) -> None:
    """What remains must be as large as what is asked for, or 128 MiB; else the chunk is given whole."""
    arena = Arena()
    arena.give(arena.take(region))
    chunk = arena.take(asked)
    assert chunk is not None
    assert chunk.bytes == given


def test_the_tightest_chunk_is_taken() -> None:
    """Of free chunks the smallest that fits is taken, whichever was free first."""
    arena = Arena()
    large, _, small, _ = (arena.take(size) for size in (4096, 256, 2048, 256))
    arena.give(large)
    arena.give(small)
    assert arena.take(1536) is small


TENSORS = st.lists(st.tuples(st.sampled_from("abcdefgh"), st.integers(1, 9000)), max_size=60)


@given(TENSORS)
def test_tensors_of_a_pattern_never_meet(moves: list[tuple[str, int]]) -> None:
    """A tensor that is named again is given back. Those alive at once lie apart, all of them within the block."""
    alive: set[str] = set()
    together: list[set[str]] = []
    trace: list[tuple[str, int | None]] = []
    for index, (letter, size) in enumerate(moves):
        named = next((name for name in alive if name[0] == letter), None)
        if named is None:
            alive.add(f"{letter}{index}")
            trace.append((f"{letter}{index}", size))
            together.append(set(alive))
        else:
            alive.remove(named)
            trace.append((named, None))
    pattern = lay_out(trace)
    for names in together:
        spans = sorted(pattern.places[name] for name in names)
        assert all(one + size <= other for (one, size), (other, _) in pairwise(spans))
        assert spans[-1][0] + spans[-1][1] <= pattern.bytes


@pytest.mark.parametrize(
    ("trace", "places"),
    [
        ([("a", 512), ("b", 256)], {"a": 0, "b": 512}),
        ([("a", 512), ("b", 256), ("a", None), ("c", 300)], {"a": 0, "b": 512, "c": 0}),
        ([("a", 512), ("b", 256), ("a", None), ("c", 768)], {"a": 0, "b": 512, "c": 768}),
        # what the block has had behind `b` is a tighter gap than what `a` leaves
        ([("a", 768), ("b", 256), ("x", 256), ("a", None), ("x", None), ("c", 256)], {"c": 1024}),
    ],
)
def test_a_tensor_goes_into_the_tightest_gap(
    trace: list[tuple[str, int | None]], places: dict[str, int]
) -> None:
    """Between those alive, or behind the last of them where the block is already as long; else it grows."""
    found = {name: offset for name, (offset, _) in lay_out(trace).places.items()}
    assert {name: found[name] for name in places} == places
