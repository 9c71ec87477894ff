"""The arena against a naive plan: every pair of storages is compared, step by step, byte by byte.

Greedy by size: inputs side by side at the bottom, then the largest storage first, of equals the earlier, each into the
smallest gap between those that are there at one of its steps, on top of them where none fits.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given

from analyzer import Options, Report, analyze
from analyzer.describe import Scene, describe
from analyzer.load import load
from analyzer.ops.rule import Facts
from analyzer.passes import memory
from analyzer.report import ArenaSlot
from tests.conformance import suite
from tests.conformance.suite import Case
from tests.conftest import text_model
from tests.core.test_memory import (
    MODELS,
    Drawn,
    Storage,
    described,
    graphs,
    model_of,
    replayed,
    steady,
    truth_of,
)

OFFSETS = Options(details=("arena_offsets",))
every_model = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)


def naive(storages: list[Storage]) -> tuple[int, dict[str, int]]:
    """Bytes of the plan, and each storage's offset."""
    offsets: dict[str, int] = {}
    held = [storage for storage in storages if storage.amount]
    inputs = [storage for storage in held if -1 in storage.steps]
    floor = 0
    for storage in inputs:
        offsets[storage.name], floor = floor, floor + storage.amount
    rest = [storage for storage in held if -1 not in storage.steps]
    for storage in sorted(rest, key=lambda storage: -storage.amount):
        taken = [
            (offsets[other.name], offsets[other.name] + other.amount)
            for other in held
            if other.name in offsets and other.steps & storage.steps
        ]
        starts = [floor, *(end for _, end in taken)]
        gaps = []
        for start in starts:
            above = [low for low, _ in taken if low >= start]
            inside = any(low <= start < high for low, high in taken)
            if above and not inside and min(above) - start >= storage.amount:
                gaps.append((min(above) - start, start))
        offsets[storage.name] = min(gaps)[1] if gaps else max(starts)
    top = max((offsets[storage.name] + storage.amount for storage in held), default=0)
    return top, offsets


def assert_apart(slots: tuple[ArenaSlot, ...], order: list[str], top: int) -> None:
    """No two slots that are held at the same node have a byte in common, and all lie in the arena."""
    place = {name: index for index, name in enumerate(order)}
    for index, one in enumerate(slots):
        assert 0 <= one.offset_bytes <= one.offset_bytes + one.bytes <= top
        for other in slots[:index]:
            (a, b), (c, d) = (
                (
                    -1 if slot.first_node is None else place[slot.first_node],
                    len(order) if slot.last_node is None else place[slot.last_node],
                )
                for slot in (one, other)
            )
            if a <= d and c <= b:
                assert (
                    one.offset_bytes + one.bytes <= other.offset_bytes
                    or other.offset_bytes + other.bytes <= one.offset_bytes
                )


def check(report: Report, storages: list[Storage], peak: int) -> None:
    found, (top, offsets) = report.memory.inference, naive(storages)
    assert found.arena_bytes == top
    assert found.arena_bytes >= peak
    assert {slot.name: slot.offset_bytes for slot in found.arena_offsets} == offsets
    assert_apart(found.arena_offsets, [node.name for node in report.nodes], top)


@every_model
def test_the_arena_of_a_known_network_is_that_of_a_naive_plan(path: Path) -> None:
    """Its bytes and every offset; nothing that is held at once overlaps; it is never below the live peak."""
    truth = replayed(described(path)[0])
    check(analyze(path, OFFSETS), truth.storages, truth.peak)


@steady(150)
@given(graphs())
def test_the_arena_of_any_graph_is_that_of_a_naive_plan(graph: Drawn) -> None:
    """The same of graphs made up."""
    truth = truth_of(graph)
    check(analyze(model_of(graph), OFFSETS), truth.storages, truth.peak)


@steady(60)
@given(graphs())
def test_twice_the_sizes_are_twice_the_arena(graph: Drawn) -> None:
    """A plan knows no unit: nothing is rounded."""
    once, twice = (
        analyze(model_of(graph)),
        analyze(model_of(graph._replace(sizes={name: 2 * amount for name, amount in graph.sizes.items()}))),
    )
    for name in ("peak_live_bytes", "arena_bytes", "outputs_bytes"):
        assert getattr(twice.memory.inference, name) == 2 * getattr(once.memory.inference, name)


def unshared(scene: Scene) -> Scene:
    """The same graph, had its ops neither views nor results in place."""
    facts = [
        msgspec.structs.replace(said, view=None, inplace=()) if isinstance(said, Facts) else said
        for said in scene.facts
    ]
    return msgspec.structs.replace(scene, facts=tuple(facts))


def compare_unshared(scene: Scene) -> None:
    shared, apart = memory.measure(scene), memory.measure(unshared(scene))
    assert shared.peak_bytes <= apart.peak_bytes
    assert all(a <= b for a, b in zip(shared.live_bytes, apart.live_bytes, strict=True))
    plans = memory.place(shared), memory.place(apart)
    assert plans[0] is not None
    assert plans[1] is not None
    assert plans[0].bytes <= plans[1].bytes


@every_model
def test_sharing_raises_neither_peak_nor_arena(path: Path) -> None:
    """Views and results in place take room away at some nodes, and add it at none."""
    compare_unshared(described(path)[0])


@steady(150)
@given(graphs())
def test_sharing_raises_nothing_in_any_graph(graph: Drawn) -> None:
    """The same of graphs made up."""
    compare_unshared(describe(load(model_of(graph)), Options()))


def test_outputs_that_all_stay_are_too_many_to_plan() -> None:
    """A plan would take time that goes with the square of their number: it is not made, and a warning says so."""
    names = [f"y{i}" for i in range(400)]
    nodes = " ".join(f"{name} = Relu(x)" for name in names)
    report = analyze(text_model(f"g (float[4] x) => ({', '.join(names)}) {{ {nodes} }}"))
    assert report.memory.inference.arena_bytes is None
    assert "TOO_MUCH_ALIVE" in {warning.reason for warning in report.warnings}
    assert report.memory.inference.peak_live_bytes == 16 * 401


# ---- bodies, by hand

LOOP = """
g (float[100] x) => (y) <int64 turns = {5}, bool go = {1}> {
    [before] a = Relu(x)
    [loop] b = Loop(turns, go, a) <body = inner (int64 i, bool c, float[100] s) => (bool d, float[100] t) {
        [same] d = Identity(c)
        [wide] w = Concat<axis = 0>(s, s)
        [narrow] t, u = Split<num_outputs = 2>(w)
    }>
    [after] y = Tanh(b)
}
"""


def test_a_body_stands_on_what_is_alive_around_it() -> None:
    """Around the loop are x, a and b, 400 each. In the body `narrow` needs w, t and u, 800 + 400 + 400, of which t is
    b and has been counted; the state s is a, and the counter and the condition, 8 + 1 and 1, are the loop's own.
    """
    report = analyze(text_model(LOOP), OFFSETS)
    found = report.memory.inference
    rows = {node.name: node.live_bytes for node in report.nodes}
    assert rows["before"] == 800
    assert rows["loop"] == found.peak_live_bytes == rows["loop/narrow"] == max(filter(None, rows.values()))
    assert rows["loop"] == 1200 + 800 + 400
    assert rows["loop/same"] == 1200
    assert rows["after"] == 800
    assert found.arena_bytes == 1200 + 800 + 400
    (block,) = (slot for slot in found.arena_offsets if not slot.name)
    assert (block.bytes, block.first_node, block.last_node) == (1200, "loop", "loop")


@pytest.mark.parametrize("case", suite.legal(), ids=lambda case: case.name)
def test_the_arena_is_not_below_the_peak_whatever_nests(case: Case) -> None:
    """A function in a loop, a loop in a loop, branches; no node's row is above the peak."""
    report = analyze(suite.model(case.text).SerializeToString(), Options(dims=case.dims))
    found = report.memory.inference
    assert found.arena_bytes is not None
    assert found.peak_live_bytes is not None
    assert found.arena_bytes >= found.peak_live_bytes
    assert all(
        node.live_bytes is not None and node.live_bytes <= found.peak_live_bytes for node in report.nodes
    )
