"""What to try where training does not fit at the smallest batch: other options, each an analysis of its own."""

from __future__ import annotations

from collections.abc import Iterator
from glob import escape
from typing import Literal

import msgspec

from analyzer.options import Optimizer, Options
from analyzer.plan.record import Measure
from analyzer.report import Report

SMALLER: dict[Optimizer, tuple[Literal["momentum", "sgd"], ...]] = {
    "adam": ("momentum", "sgd"),
    "momentum": ("sgd",),
    "sgd": (),
}
"""Optimizers that hold less than another."""
SEGMENTS = ("sqrt", "2", "4", "8", "16")
"""Checkpoints that are tried; the best of them is told."""


def remedies(options: Options, report: Report) -> Iterator[tuple[Measure, Options]]:
    """Each measure that is not taken yet, with the options that take it. Checkpoints come in several numbers."""
    for optimizer in SMALLER[options.optimizer]:
        yield optimizer, msgspec.structs.replace(options, optimizer=optimizer)
    if options.precision == "fp32" and any(
        row.dtype == "float32" for row in report.tensors if row.role == "weight"
    ):
        yield "mixed_precision", msgspec.structs.replace(options, precision="fp16")
    if options.checkpoint == "none":
        for number in SEGMENTS:
            yield "checkpointing", msgspec.structs.replace(options, checkpoint=number)
    early = _before_last(report)
    if early and not options.freeze:
        yield "frozen", msgspec.structs.replace(options, freeze=tuple(map(escape, early)))


def _before_last(report: Report) -> list[str]:
    """Weights of all layers but the last."""
    made_by = {name: node for node in report.nodes for name in node.outputs}
    last = next((node for node in reversed(report.nodes) if node.parameters), None)
    weights = {row.name for row in report.tensors if row.role == "weight"}
    pending, own = list(last.inputs if last else ()), set[str]()
    constant = weights | {row.name for row in report.tensors if row.role == "constant"}
    while pending:
        name = pending.pop()
        if name in constant and name not in own:
            own.add(name)
            pending.extend(made_by[name].inputs if name in made_by else ())
    return sorted(weights - own)
