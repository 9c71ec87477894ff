"""A plan: what fits, how to reach the batch that was asked for, and what to try where nothing fits."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from analyzer.plan.record import Fit, Plan, Remedy, Schedule
from analyzer.render.markdown import plain
from analyzer.render.table import printable
from analyzer.units import show_bytes

KINDS = ("parameters", "gradients", "optimizer", "activations", "error_signals")
HEADS = ("", "largest batch", "takes", "one more", *(kind.replace("_", " ") for kind in KINDS))
MEASURES = {
    "checkpointing": "keep activations at segment borders and compute the rest again",
    "mixed_precision": "activations of 16 bits, parameters of 32",
    "momentum": "momentum instead of adam",
    "sgd": "an optimizer without state",
    "frozen": "train the last layer alone",
}


def table(plan: Plan) -> str:
    """Text for a terminal."""
    rows = [HEADS, _row("inference", plan.inference), _row("training", plan.training)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    grid = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    told = [f"{label:<10} {text}" for label, text in sentences(plan)]
    return "\n".join(printable(line).rstrip() for line in [headline(plan), "", *grid, "", *told]) + "\n"


def markdown(plan: Plan) -> str:
    """The same for a comment on a pull request."""
    rows = [_row("inference", plan.inference), _row("training", plan.training)]
    grid = ["| " + " | ".join(row) + " |" for row in (HEADS, [":--", *["--:"] * (len(HEADS) - 1)], *rows)]
    told = [f"- **{label}**: {plain(text)}" for label, text in sentences(plan)]
    return "\n".join([f"### {plain(headline(plan))}", "", *grid, "", *told, ""])


def json(plan: Plan) -> str:
    """One object."""
    return msgspec.json.format(msgspec.json.encode(plan), indent=2).decode() + "\n"


def headline(plan: Plan) -> str:
    where = (
        f"{show_bytes(plan.memory_bytes)}"
        if plan.device is None
        else f"{plan.device}, {show_bytes(plan.memory_bytes)}"
    )
    held = plan.memory_bytes - plan.usable_bytes
    context = f" of which a context takes {show_bytes(held)}" if held else ""
    bound = "".join(f", {symbol} = {size}" for symbol, size in plan.dims.items())
    return f"{plan.model or '(unnamed model)'} in {where}{context}; {plan.optimizer}{bound}"


def sentences(plan: Plan) -> list[tuple[str, str]]:
    """Label and text of each line below the table."""
    lines = [("batch", _batch(plan))]
    if plan.schedule is not None:
        lines.append(("schedule", _schedule(plan.schedule)))
    lines += [
        (name, f"does not fit, not even at batch {plan.batch.fixed or 1}")
        for name, fit in (("inference", plan.inference), ("training", plan.training))
        if fit.largest_batch == 0
    ]
    lines += [("try", _remedy(remedy)) for remedy in plan.remedies]
    return lines + [("warning", warning.message) for warning in plan.warnings]


def _batch(plan: Plan) -> str:
    places = ", ".join(plan.batch.places) or "none"
    return places if plan.batch.fixed is None else f"{places}, fixed at {plan.batch.fixed}"


def _schedule(schedule: Schedule) -> str:
    if schedule.accumulation_steps == 1:
        return f"{schedule.target_batch} samples in one go take {show_bytes(schedule.needed_bytes)}"
    steps, micro, last = schedule.accumulation_steps, schedule.micro_batch, schedule.last_micro_batch
    odd = "" if last == micro else f", the last of {last}"
    return (
        f"{schedule.target_batch} samples in {steps} micro-batches of {micro}{odd} take "
        f"{show_bytes(schedule.needed_bytes)}: {steps} forward and {steps} backward passes, then one step of the "
        "optimizer"
    )


def _remedy(remedy: Remedy) -> str:
    extra = remedy.extra_forward_passes
    price = f", for {extra} more forward pass a step" if extra else ""
    fits = "fits" if remedy.fits else "does not fit either"
    return f"{MEASURES[remedy.measure]}: {show_bytes(remedy.needed_bytes)}{price}: {fits}"


def _row(name: str, fit: Fit) -> tuple[str, ...]:
    parts = {share.kind: share.bytes for share in fit.shares}
    least = "≥ " if fit.status == "partial" else ""
    largest = "?" if fit.largest_batch is None else f"{fit.largest_batch:,}"
    more = "" if fit.next_bytes is None else show_bytes(fit.next_bytes)
    kinds = (show_bytes(parts[kind]) if kind in parts else "" for kind in KINDS)
    return (name, largest, f"{least}{show_bytes(fit.needed_bytes)}", more, *kinds)


FORMS: Mapping[str, Callable[[Plan], str]] = {"table": table, "json": json, "markdown": markdown}
