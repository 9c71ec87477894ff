"""The least time that a device needs: per node, and for one pass through the whole model.

A node run by itself brings each operand from memory once and takes each result there once, computes at most at the
device's peak, and does the two at the same time at best: it takes the longer of them. A node that only moves reads no
more than it writes (a row of a table, a slice). Views move nothing, and what comes of constants alone was made before
the pass. A pass is the sum of its nodes, one after the other: a lower bound for a runtime that runs node by node. One
that fuses neighbours saves the way to memory between them.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from analyzer.describe import Missing, Scene
from analyzer.devices import Device
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts


class Effort(msgspec.Struct, frozen=True, gc=False):
    """One run of one node by itself; None is what is not known of the node or of the device.

    `dtype` is the first operand's, at whose rate it computes. `exact` is False where the data decides how much there
    is.
    """

    dtype: str | None = None
    moved_bytes: int | None = None
    flops: int | None = None
    compute_seconds: float | None = None
    memory_seconds: float | None = None
    exact: bool = True

    @property
    def complete(self) -> bool:
        return self.exact and self.compute_seconds is not None and self.memory_seconds is not None


class Time(msgspec.Struct, frozen=True):
    """Seconds of many nodes: at least in all, of computing alone and of moving alone."""

    least_seconds: float = 0.0
    compute_seconds: float = 0.0
    memory_seconds: float = 0.0
    complete: bool = True


NOTHING = Effort(None, 0, 0, 0.0, 0.0)


def effort(scene: Scene, node: Node, said: Facts | Missing, device: Device) -> Effort:
    """What one run of a node takes; bodies that it runs are their own nodes."""
    if node.outputs and node.outputs[0] in scene.constants:
        return NOTHING
    if type(said) is not Facts:
        return Effort()
    if said.view is not None or said.runs:
        return NOTHING
    operands = [scene.size(name) for name in dict.fromkeys(node.inputs) if name]
    results = [scene.size(name) for name in node.outputs if name]
    flops = None if said.macs is None or said.elementwise is None else 2 * said.macs + said.elementwise
    moved = _moved(_bytes(operands), _bytes(results), flops)
    dtype = next((size.dtype.name for size in (*operands, *results) if size is not None), None)
    rate = device.rate(dtype, bool(said.macs)) if dtype else None
    compute = 0.0 if flops == 0 else None if flops is None or rate is None else flops / rate
    speed = device.bytes_per_second
    memory = None if moved is None or speed is None else moved / speed
    exact = all(size is None or size.exact for size in (*operands, *results))
    return Effort(dtype, moved, flops, compute, memory, exact)


def total(scene: Scene, device: Device, known: dict[int, Time] | None = None) -> Time:
    """One pass through `scene`; bodies count as often as they run, of exclusive ones the longest."""
    known = {} if known is None else known
    times = []
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        one = effort(scene, node, said, device)
        compute, memory = one.compute_seconds or 0.0, one.memory_seconds or 0.0
        times.append(Time(max(compute, memory), compute, memory, one.complete))
        if type(said) is Facts and said.runs:
            times.append(_bodies(said, device, known))
    return _sum(times)


def _bodies(said: Facts, device: Device, known: dict[int, Time]) -> Time:
    times = []
    for run in said.runs:
        if id(run.scene) not in known:
            known[id(run.scene)] = total(run.scene, device, known)
        once, repeat = known[id(run.scene)], 1 if run.repeat is None else run.repeat
        times.append(
            Time(
                once.least_seconds * repeat,
                once.compute_seconds * repeat,
                once.memory_seconds * repeat,
                once.complete and run.repeat is not None,
            )
        )
    if not said.exclusive:
        return _sum(times)
    longest = max(times, key=lambda time: time.least_seconds)
    return msgspec.structs.replace(longest, complete=all(time.complete for time in times))


def _sum(times: Iterable[Time]) -> Time:
    listed = list(times)
    return Time(
        sum(time.least_seconds for time in listed),
        sum(time.compute_seconds for time in listed),
        sum(time.memory_seconds for time in listed),
        all(time.complete for time in listed),
    )


def _moved(read: int | None, made: int | None, flops: int | None) -> int | None:
    if read is None or made is None:
        return None
    return made + (min(read, made) if flops == 0 else read)


def _bytes(sizes: list[Size | None]) -> int | None:
    """None where one is not known."""
    amounts = [None if size is None else size.bytes for size in sizes]
    return None if None in amounts else sum(filter(None, amounts))
