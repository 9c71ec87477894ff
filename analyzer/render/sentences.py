"""What a reader takes away from a report, a sentence each: the bulk, the peak, training, and what is not known."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from analyzer.render import fields
from analyzer.units import show_bytes, show_count, show_seconds

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.render.stages import Stage
    from analyzer.report import ArenaBytes, Metric, Report, TrainingMemory

MOST_WARNINGS = 5
MOST_NAMED = 4
ASSUMED = "ASSUMED_DIM"


def sentences(report: Report, stages: list[Stage]) -> list[tuple[str, str]]:
    """Label and text of each line, in the order in which they are read."""
    lines = [
        ("computation", _computation(report, stages)),
        ("parameters", _parameters(report, stages)),
        ("memory", _memory(report, stages)),
        ("peak", _peak(report)),
        ("arena", _arena(report)),
        ("savings", _savings(report)),
        ("onnxruntime", _runtime(report)),
        ("lowering", _lowering(report)),
        ("training", _training(report)),
        ("roofline", _roofline(report)),
        ("depth", _depth(report)),
        ("field", _field(report)),
        ("not known", _unknown(report)),
    ]
    return [(label, text) for label, text in lines if text] + _warnings(report)


def show_metric(metric: Metric, show: Callable[[int | None], str]) -> str:
    """A total; with "≥" in front where something is left out, "?" where nothing is known."""
    if metric.known is None or metric.status == "unavailable":
        return "?"
    if metric.status == "partial":
        return f"≥ {show(metric.known)}" if metric.known else "?"
    return show(metric.known)


def headline(report: Report) -> list[str]:
    """What was analysed: the model, its inputs and outputs, and every dimension that had to be bound."""
    model = report.model
    ends = {
        role: [
            f"{row.name} {show_shape(row.shape)} {row.dtype or '?'}"
            for row in report.tensors
            if row.role == role
        ]
        for role in ("input", "output")
    }
    opsets = ", ".join(
        f"opset {number}" if domain in ("", "ai.onnx") else f"{domain} {number}"
        for domain, number in model.opsets.items()
    )
    about = [opsets, f"IR {model.ir_version}", model.producer, f"{show_bytes(model.file_bytes)} on disk"]
    assumed = {warning.message for warning in report.warnings if warning.reason == ASSUMED}
    bound = ", ".join(
        f"{symbol} = {value}" + (" (assumed)" if any(repr(symbol) in text for text in assumed) else "")
        for symbol, value in report.dims.items()
    )
    flow = f"{_some(ends['input']) or '?'} -> {_some(ends['output']) or '?'}"
    lines = [model.name or "(unnamed model)", flow, ", ".join(part for part in about if part)]
    return lines + ([f"bound: {bound}"] if bound else [])


def show_shape(shape: tuple[int, ...] | None) -> str:
    """A shape as "1x64x56x56"; "scalar" for no dimensions, "?" for no shape."""
    return "?" if shape is None else "x".join(map(str, shape)) or "scalar"


def _computation(report: Report, stages: list[Stage]) -> str:
    totals = report.totals
    macs = show_metric(totals.macs, show_count)
    exact = (
        f" ({totals.macs.known:,})"
        if totals.macs.known is not None and totals.macs.status == "complete"
        else ""
    )
    flops = show_metric(totals.flops, show_count)
    steps = show_metric(totals.elementwise_flops, show_count)
    bulk = _bulk([(stage.name, stage.cost.macs.known) for stage in stages], totals.macs)
    return f"{macs} MACs{exact}; {flops} FLOPs = 2 x MACs + {steps} elementwise{bulk}"


def _parameters(report: Report, stages: list[Stage]) -> str:
    totals = report.totals
    number = show_metric(totals.parameters, show_count)
    exact = f" ({totals.parameters.known:,})" if totals.parameters.known is not None else ""
    size = show_metric(totals.parameter_bytes, show_bytes)
    buffers = f", buffers {show_count(totals.buffers.known)}" if totals.buffers.known else ""
    bulk = _bulk([(stage.name, stage.cost.parameters.known) for stage in stages], totals.parameters)
    return f"{number}{exact} in {size}{buffers}{bulk}"


def _memory(report: Report, stages: list[Stage]) -> str:
    memory = report.memory.inference
    bulk = _bulk(
        [(stage.name, stage.cost.output_bytes.known) for stage in stages], report.totals.outputs_bytes
    )
    outputs = show_metric(report.totals.outputs_bytes, show_bytes)
    least = _least(memory.status)
    return (
        f"{least}{show_bytes(memory.lecture_bytes)} with nothing reused: parameters "
        f"{show_bytes(memory.parameter_bytes)} + all outputs {outputs}{bulk}"
    )


def _peak(report: Report) -> str:
    memory = report.memory.inference
    if memory.peak_live_bytes is None:
        return "?"
    held = [f"{tensor.name} {show_bytes(tensor.bytes)}" for tensor in memory.live_at_peak]
    alive = f": {_some(held)}" if held else ""
    at = f" at {memory.peak_node}" if memory.peak_node else ""
    least = _least(memory.status)
    return f"{least}{show_bytes(memory.peak_live_bytes)} of activations alive at once{at}{alive}"


def _arena(report: Report) -> str:
    """How near a plan of offsets comes to the peak, below which none can be."""
    memory = report.memory.inference
    if not memory.arena_bytes or not memory.peak_live_bytes:
        return ""
    above = memory.arena_bytes / memory.peak_live_bytes - 1
    told = f"{100 * above:.1f}% above the peak" if above >= 0.0005 else "no more than the peak"
    return f"{_least(memory.status)}{show_bytes(memory.arena_bytes)} in one block, planned greedily by size: {told}"


def _savings(report: Report) -> str:
    """Nothing where nobody asked."""
    memory = report.memory.inference
    found = memory.savings
    if found is None:
        return ""
    told = ["no other order was searched for"]
    if found.order is not None:
        lower = (
            f"another order peaks at {show_bytes(found.order.peak_live_bytes)}" if found.order.nodes else ""
        )
        proof = "none is lower" if found.order.proven else "the search was cut short"
        told = [f"{lower or 'no better order was found'} ({proof})"]
    if found.missed_inplace:
        missed = [f"{one.result} over {one.operand} {show_bytes(one.bytes)}" for one in found.missed_inplace]
        told.append(f"not done in place: {_some(missed, 2)}")
    if found.waiting:
        waiting = [f"{one.name} {show_bytes(one.bytes)} for {one.steps} nodes" for one in found.waiting]
        told.append(f"waiting at the peak: {_some(waiting, 2)}")
    return "; ".join(told)


def _lowering(report: Report) -> str:
    """The largest matrix of a convolution that is written as a matrix product."""
    lowered = [node for node in report.nodes if node.lowering_bytes]
    if not lowered:
        return ""
    node = max(lowered, key=lambda node: node.lowering_bytes or 0)
    return (
        f"{show_bytes(node.lowering_bytes)} for the largest im2col matrix, {node.name} [{node.lowering_rows} x "
        f"{node.lowering_columns}]: made whole by caffe, {show_bytes(node.lowering_tile_bytes)} at a time by a blocked "
        "lowering, not at all by cuDNN's implicit GEMM"
    )


def _runtime(report: Report) -> str:
    """Nothing where nobody asked."""
    taken = report.memory.inference.onnxruntime
    if taken is None:
        return ""
    least = _least(taken.status)
    threads = "1 thread" if taken.threads == 1 else f"{taken.threads} threads"
    missing = [f"{number} {op}" for op, number in taken.unmodelled.items()]
    without = f"; not modelled: {_some(missing)}" if missing else ""
    session = f"{taken.release}, level {taken.level}, {threads}"
    distinct, zeros = taken.distinct, ""
    if (taken.peak_bytes, taken.held_bytes) != (distinct.peak_bytes, distinct.held_bytes):
        zeros = (
            f"; if all weights were zeros, equal ones kept once: {least}{show_bytes(taken.peak_bytes)}, "
            f"{show_bytes(taken.held_bytes)} held"
        )
    return (
        f"{least}{show_bytes(distinct.peak_bytes)} at the peak of its arena{_luck(distinct)}, "
        f"{least}{show_bytes(distinct.held_bytes)} held, {least}{show_bytes(distinct.base_bytes)} before it runs, with "
        f"trained weights ({session}){zeros}{without}"
    )


def _luck(taken: ArenaBytes) -> str:
    """How much less it is where chance orders the nodes better."""
    if taken.least_peak_bytes == taken.peak_bytes:
        return ""
    return f" (in some sessions {show_bytes(taken.least_peak_bytes)}: the order of nodes is left to chance)"


def _training(report: Report) -> str:
    memory, outputs = report.memory.training, report.memory.inference.outputs_bytes
    if memory.lecture_bytes is None and memory.saved_bytes is None:
        return f"? at batch {_plain(memory.batch)} with {memory.optimizer}"
    parts = {
        "parameters": memory.parameter_bytes,
        "gradients": memory.gradient_bytes,
        "optimizer": memory.optimizer_bytes,
        "outputs": _part(outputs, memory.status),
        "error signals": _part(memory.error_signal_bytes, memory.status),
    }
    sums = " + ".join(f"{name} {show_bytes(value)}" for name, value in parts.items())
    kept = _part(memory.saved_bytes, memory.status)
    least = _least(memory.status)
    peak = _part(memory.peak_bytes, memory.status)
    step = "" if peak is None else f"; a step of PyTorch holds at most {show_bytes(peak)} at once"
    return (
        f"{least}{show_bytes(memory.lecture_bytes)} at batch {_plain(memory.batch)} with {memory.optimizer}, "
        f"nothing reused: {sums}; autograd keeps {show_bytes(kept)} for the backward pass{_assumed(memory)}"
        f"{step}"
    )


def _assumed(memory: TrainingMemory) -> str:
    """What stands behind a figure that the graph alone does not tell."""
    low, high = memory.saved_least_bytes, memory.saved_most_bytes
    if low is None or high is None or show_bytes(low) == show_bytes(high):
        return ""
    counted = {"batch norms": memory.assumed_batch_norms, "dropouts": memory.assumed_dropouts}
    names = " and ".join(f"{number} {name}" for name, number in counted.items() if number)
    told = f"{names} assumed; " if names else ""
    return f" ({told}{show_bytes(low)} to {show_bytes(high)} with none and all of what an export may hide)"


def _roofline(report: Report) -> str:
    """Nothing where no device was named."""
    drawn = report.roofline
    if drawn is None:
        return ""
    if drawn.least_seconds is None:
        return f"? on {drawn.device}, whose rates are not known"
    least = _least(drawn.status)
    waiting = Counter(row.bound for row in drawn.nodes)
    took = {"computing": drawn.compute_seconds, "moving": drawn.memory_seconds}
    alone = ", ".join(f"{show_seconds(seconds)} of {name} alone" for name, seconds in took.items())
    return (
        f"{least}{show_seconds(drawn.least_seconds)} a pass on {drawn.device}, node by node, at its peaks ({alone}); "
        f"{waiting['compute']} nodes wait for computing, {waiting['memory']} for memory"
    )


def _depth(report: Report) -> str:
    return f"{_plain(report.depth)} weighted layers on the longest path"


def _field(report: Report) -> str:
    rows = fields.last_local(report, fields.by_tensor(report))
    shape = next((row.shape for row in report.tensors if rows and row.name == rows[0].input), None)
    return fields.tell(rows, dict(enumerate(shape or ()))) if rows else ""


def _unknown(report: Report) -> str:
    """Which ops left something out, with counts; what is partial for want of a size counts as well."""
    ops = Counter(
        f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else node.op_type
        for node in report.nodes
        if node.status != "complete"
    )
    if not ops:
        return ""
    listed = [f"{number} {op}" for op, number in sorted(ops.items(), key=lambda item: (-item[1], item[0]))]
    return f"cost or size of {ops.total()} nodes: {_some(listed, 12)}"


def _warnings(report: Report) -> list[tuple[str, str]]:
    """One line for all that is said in the same words; dimensions that were assumed are in the headline."""
    nodes: dict[str, list[str]] = {}
    for warning in report.warnings:
        if warning.reason != ASSUMED:
            nodes.setdefault(warning.message, []).extend([warning.node] if warning.node else [])
    lines = [("warning", f"{text} ({_some(named, 1)})" if named else text) for text, named in nodes.items()]
    more = len(lines) - MOST_WARNINGS
    return lines[:MOST_WARNINGS] + ([("warning", f"{more} more: see the JSON report")] if more > 0 else [])


def _bulk(shares: list[tuple[str, int]], total: Metric) -> str:
    """The fewest stages that make half of a total: "; 52% in layer3, layer2"."""
    if not total.known or len(shares) < 2:
        return ""
    chosen, reached = [], 0
    for name, value in sorted(shares, key=lambda share: -share[1]):
        if 2 * reached >= total.known or value <= 0:
            break
        chosen.append(name)
        reached += value
    known = "" if total.status == "complete" else " of what is known"
    return f"; {100 * reached / total.known:.0f}%{known} in {_some(chosen)}" if chosen else ""


def _some(texts: list[str], most: int = MOST_NAMED) -> str:
    more = len(texts) - most
    return ", ".join(texts[:most]) + (f" and {more} more" if more > 0 else "")


def _plain(value: int | None) -> str:
    return "?" if value is None else str(value)


def _part(value: int | None, status: str) -> int | None:
    """None for a sum of which nothing is known: its zero is no answer."""
    return None if value == 0 and status != "complete" else value


def _least(status: str) -> str:
    return "≥ " if status == "partial" else ""
