"""Parts of the report's `memory.inference` that come on request."""

from __future__ import annotations

from analyzer.describe import Scene
from analyzer.passes.memory import Plan
from analyzer.passes.memory import Savings as Found
from analyzer.report import ArenaSlot, FoundOrder, MissedInplace, Savings, WaitingTensor


def arena_slots(scene: Scene, plan: Plan) -> tuple[ArenaSlot, ...]:
    """What lies where in the arena, from its start on."""
    nodes = scene.graph.nodes
    slots = [
        ArenaSlot(
            name=held.name,
            offset_bytes=offset,
            bytes=held.bytes,
            first_node=nodes[held.birth].name if held.birth >= 0 else None,
            last_node=nodes[held.death].name if held.death < len(nodes) else None,
        )
        for held, offset in zip(plan.storages, plan.offsets, strict=True)
    ]
    return tuple(sorted(slots, key=lambda slot: slot.offset_bytes))


def found_savings(scene: Scene, found: Found) -> Savings:
    """What would lower the peak, by the names of nodes."""
    order = found.order
    nodes = () if order is None else tuple(scene.graph.nodes[step].name for step in order.steps)
    return Savings(
        order=None if order is None else FoundOrder(order.peak_bytes, order.proven, nodes),
        missed_inplace=tuple(
            MissedInplace(missed.node, missed.operand, missed.result, missed.bytes) for missed in found.missed
        ),
        waiting=tuple(
            WaitingTensor(held.name, held.bytes, held.since, held.until, held.steps) for held in found.held
        ),
    )
