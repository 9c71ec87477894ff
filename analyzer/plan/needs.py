"""What a report says is needed: the one place that knows which of its figures make up a purpose's memory.

Inference: parameters, and the arena in which everything else lies. Training: the peak of a step, of which parameters, a
gradient for each that learns, the optimizer's copies and what is kept for the backward pass take their part, and error
signals, with what ops take beside, the rest. Accumulating: the same with the gradients of earlier micro-batches.
"""

from __future__ import annotations

from analyzer.plan.record import Kind, Purpose, Share
from analyzer.report import Report


def shares(report: Report, purpose: Purpose) -> tuple[Share, ...]:
    """The parts of what is needed, empty where that is not known."""
    parts = _inference(report) if purpose == "inference" else _training(report, purpose == "accumulating")
    known = {kind: amount for kind, amount in parts.items() if amount is not None}
    if len(known) < len(parts):
        return ()
    return tuple(Share(kind, amount) for kind, amount in known.items())


def needed(parts: tuple[Share, ...]) -> int | None:
    """Their sum, None where there are none."""
    return sum(share.bytes for share in parts) if parts else None


def _inference(report: Report) -> dict[Kind, int | None]:
    memory = report.memory.inference
    planned = memory.peak_live_bytes if memory.arena_bytes is None else memory.arena_bytes
    return {"parameters": memory.parameter_bytes, "activations": planned}


def _training(report: Report, accumulating: bool) -> dict[Kind, int | None]:
    memory = report.memory.training
    held: dict[Kind, int | None] = {
        "parameters": memory.parameter_bytes,
        "gradients": memory.gradient_bytes,
        "optimizer": memory.optimizer_bytes,
        "activations": memory.saved_bytes,
    }
    rest = memory.accumulating_peak_bytes if accumulating else memory.peak_bytes
    if rest is None:
        return {**held, "error_signals": None}
    for kind, amount in held.items():  # at the peak some of it may be gone already
        held[kind] = min(amount or 0, rest)
        rest -= held[kind] or 0
    return {**held, "error_signals": rest}
