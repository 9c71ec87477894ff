"""Rows of the report's `roofline`, one for each of its `nodes` and in their order."""

from __future__ import annotations

from collections.abc import Iterator

from analyzer.assemble.rows import Scope
from analyzer.devices import Device
from analyzer.passes import roofline
from analyzer.passes.roofline import Effort
from analyzer.report import Bound, Roofline, RooflineRow


def drawn(main: Scope, device: Device) -> Roofline:
    """The roofline of the main graph and of every body, with the least time of a pass."""
    time = roofline.total(main.scene, device)
    timed = bool(device.flops_per_second) or device.bytes_per_second is not None
    return Roofline(
        device=device.name,
        bytes_per_second=device.bytes_per_second,
        least_seconds=time.least_seconds if timed else None,
        compute_seconds=time.compute_seconds if device.flops_per_second else None,
        memory_seconds=time.memory_seconds if device.bytes_per_second is not None else None,
        status="complete" if time.complete else "partial" if timed else "unavailable",
        nodes=tuple(_rows(main, device)),
    )


def _rows(scope: Scope, device: Device) -> Iterator[RooflineRow]:
    scene = scope.scene
    for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
        yield _row(scope.prefix + node.name, roofline.effort(scene, node, said, device))
        for below in scope.bodies.get(index, ()):
            yield from _rows(below, device)


def _row(name: str, one: Effort) -> RooflineRow:
    known = [seconds for seconds in (one.compute_seconds, one.memory_seconds) if seconds is not None]
    return RooflineRow(
        name=name,
        dtype=one.dtype,
        moved_bytes=one.moved_bytes,
        intensity=one.flops / one.moved_bytes if one.flops is not None and one.moved_bytes else None,
        bound=_bound(one),
        least_seconds=max(known, default=None),
    )


def _bound(one: Effort) -> Bound | None:
    """What it waits for; nothing where it takes no time, and where one side is not known."""
    compute, memory = one.compute_seconds, one.memory_seconds
    if compute is None or memory is None or not compute + memory:
        return None
    return "compute" if compute >= memory else "memory"
