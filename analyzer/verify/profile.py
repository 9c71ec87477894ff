"""What onnxruntime writes down of a session: counters of its arena and times in the profile, and scratch by node.

The counters are told by provider: of a CPU kernel those of the CPU's arena. Releases before 1.31 write none.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

_KERNEL = "_kernel_time"


class Arena(msgspec.Struct, frozen=True):
    """base: requested before the first kernel; peak: most in use since the beginning; held: taken from the device."""

    base_bytes: int
    peak_bytes: int
    held_bytes: int


class Kernel(msgspec.Struct, frozen=True):
    """One run of one node. Of a GPU the time is that of the host, which may be gone before the kernel is done."""

    node: str
    op_type: str
    provider: str
    microseconds: float


def events_of(path: Path) -> list[dict[str, Any]]:
    """The kernels of a profile, in the order in which they ended. Raises ValueError where it is no profile."""
    events = msgspec.json.decode(path.read_bytes())
    if not isinstance(events, list):
        raise ValueError(f"{path.name} is no profile")
    return [
        event
        for event in events
        if isinstance(event, dict)
        and event.get("cat") == "Node"
        and str(event.get("name", "")).endswith(_KERNEL)
    ]


def arena(events: Iterable[dict[str, Any]], provider: str) -> Arena | None:
    """The counters of a provider's arena after its last kernel; None where there are none."""
    counted = [
        args
        for event in events
        if (args := event.get("args", {})).get("provider") == provider and "mem_in_use_peak" in args
    ]
    if not counted:
        return None
    first, last = counted[0], counted[-1]
    base = int(first["mem_bytes_requested_in_use"]) - int(first.get("mem_requested_in_use_delta", 0))
    return Arena(base, int(last["mem_in_use_peak"]), int(last["mem_arena_held"]))


def kernels(events: Iterable[dict[str, Any]]) -> list[Kernel]:
    """Every run of every node."""
    return [
        Kernel(
            str(event["name"]).removesuffix(_KERNEL),
            str(event.get("args", {}).get("op_name", "")),
            str(event.get("args", {}).get("provider", "")),
            float(event.get("dur", 0)),
        )
        for event in events
    ]


def scratch(path: Path) -> dict[str, int]:
    """Temporary bytes by node, all that a run takes together, the most over all runs.

    A name ends in a digest of the node's neighbours, which is taken off; of two nodes of one name nothing is told.
    """
    found: dict[str, int | None] = {}
    with path.open(newline="") as file:
        for row in csv.DictReader(file):
            name = row["#name"].rpartition("_")[0]
            found[name] = None if name in found else int(row["total_temp_allocations"])
    return {name: amount for name, amount in found.items() if amount is not None}
