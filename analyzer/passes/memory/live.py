"""One run of a described graph, replayed: what each node makes, what is alive while it runs."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import accumulate

import msgspec

from analyzer.describe import Scene
from analyzer.ops.rule import Facts
from analyzer.passes.memory.storages import Ledger, Storage


class Live(msgspec.Struct, frozen=True):
    """What is held while a graph runs: storages in order of their first steps, the `owner` of each tensor among them.

    `node_bytes` are the bytes that each node newly makes, None where a size is not known; then `complete` is False.
    `live_bytes` are those alive before the first node, and then while each node runs, with what the `bodies` that it
    runs (by its index) hold beyond that. `peak_step` is the first node with most of them, -1 for before the first.
    `lent_bytes` are the graph's own inputs and outputs, and `extra_bytes` the peak beyond them: what a run of it as a
    body adds.
    """

    outputs_bytes: int
    node_bytes: tuple[int | None, ...]
    live_bytes: tuple[int, ...]
    peak_bytes: int
    peak_step: int
    lent_bytes: int
    extra_bytes: int
    storages: tuple[Storage, ...]
    owner: Mapping[str, Storage]
    bodies: Mapping[int, tuple[Live, ...]]
    complete: bool

    def alive_at(self, step: int) -> tuple[Storage, ...]:
        """Storages that are held at a step, largest first."""
        held = [s for s in self.storages if s.bytes and s.birth <= step <= s.death]
        return tuple(sorted(held, key=lambda storage: (-storage.bytes, storage.name)))


def measure(scene: Scene, measured: dict[int, Live] | None = None) -> Live:
    """Replay one run of `scene`: every storage from its first node to its last reader. Bodies are `measured` once."""
    measured = {} if measured is None else measured
    ledger = Ledger(scene)
    made, complete = ledger.made, ledger.complete
    alive = _alive(ledger)
    bodies = {}
    for index, runs in scene.calls.items():
        said = scene.facts[index]
        assert type(said) is Facts
        for run in runs:
            if id(run.scene) not in measured:
                measured[id(run.scene)] = measure(run.scene, measured)
        inner = bodies[index] = tuple(measured[id(run.scene)] for run in runs)
        made[index] = _made(said, inner, made[index])
        alive[index + 1] += max(live.extra_bytes for live in inner)
        complete &= all(live.complete for live in inner)
    peak, lent = max(alive), sum(storage.bytes for storage in ledger.storages if storage.lent)
    return Live(
        outputs_bytes=sum(filter(None, made)),
        node_bytes=tuple(made),
        live_bytes=tuple(alive),
        peak_bytes=peak,
        peak_step=alive.index(peak) - 1,
        lent_bytes=lent,
        extra_bytes=max(peak - lent, 0),
        storages=tuple(ledger.storages),
        owner=ledger.owner,
        bodies=bodies,
        complete=complete and None not in made,
    )


def _alive(ledger: Ledger) -> list[int]:
    """Bytes alive before the first node, then at each."""
    change = [0] * (ledger.end + 3)
    for storage in ledger.storages:
        change[storage.birth + 1] += storage.bytes
        change[storage.death + 2] -= storage.bytes
    return list(accumulate(change[: ledger.end + 1]))


def _made(said: Facts, inner: tuple[Live, ...], made: int | None) -> int | None:
    """The bytes that a node and the bodies which it runs make."""
    if made is None or any(run.repeat is None for run in said.runs):
        return None
    sums = [live.outputs_bytes * (run.repeat or 0) for live, run in zip(inner, said.runs, strict=True)]
    within = max(sums) if said.exclusive else sum(sums)
    return max(within, made) if said.transparent else within + made
