"""Stages as rows of text, for every form that shows a table to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from analyzer.render import fields
from analyzer.render.sentences import show_metric, show_shape
from analyzer.units import show_bytes, show_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from analyzer.render.stages import Stage, Sum
    from analyzer.report import Metric, Report

COLUMNS = ("stage", "output", "nodes", "params", "MACs", "%", "activations", "field")


class Row(msgspec.Struct, frozen=True):
    """One row: a text per column, the ops with their numbers, and the share of the macs (None: not known)."""

    texts: dict[str, str]
    ops: tuple[tuple[str, int], ...] = ()
    nodes: int = 0
    share: float | None = None

    def __getitem__(self, column: str) -> str:
        return self.texts[column]

    def mix(self, width: int | None = None) -> str:
        """Ops and their numbers, "13 Conv, 13 Relu"; in a narrow column those that fit: "57 Conv, +80"."""
        if not self.ops:
            return self.texts["nodes"]
        parts: list[str] = []
        left = self.nodes
        for number, op in ((number, op) for op, number in self.ops):
            longer = [*parts, f"{number} {op}"]
            if width is None or len(_mixed(longer, left - number)) <= width:
                parts, left = longer, left - number
        return _mixed(parts, left)


def _mixed(parts: list[str], left: int) -> str:
    rest = [f"+{left}" if parts else _nodes(left)] if left else []
    return ", ".join(parts + rest)


def titles() -> Row:
    """The names of the columns."""
    return Row({column: column for column in COLUMNS})


def rows(report: Report, stages: list[Stage]) -> list[Row]:
    """A row per stage."""
    seen = fields.by_tensor(report)
    return [_row(stage, seen, report.totals.macs) for stage in stages]


def total(report: Report) -> Row:
    """The last line, from the report's own totals."""
    totals = report.totals
    complete = totals.macs.status == "complete" and totals.macs.known
    texts = {
        "stage": "total",
        "output": "",
        "nodes": f"{show_metric(totals.nodes, _plain)} nodes",
        "params": show_metric(totals.parameters, show_count),
        "MACs": show_metric(totals.macs, show_count),
        "%": "100" if complete else "",
        "activations": show_metric(totals.outputs_bytes, show_bytes),
        "field": "",
    }
    return Row(texts)


def _row(stage: Stage, seen: fields.Axes, macs: Metric) -> Row:
    cost, all_macs, partial = stage.cost, macs.known, macs.status != "complete"
    share = cost.macs.known / all_macs if all_macs and not _lost(cost.macs) else None
    texts = {
        "stage": stage.name,
        "output": "" if stage.last is None else show_shape(stage.shape),
        "nodes": _nodes(cost.nodes) if cost.nodes else "",
        "params": _show(cost.parameters, show_count),
        "MACs": _show(cost.macs, show_count),
        "%": _percent(share, partial) if all_macs else "",
        "activations": _show(cost.output_bytes, show_bytes),
        "field": fields.show(seen[stage.last]) if stage.last in seen else "",
    }
    return Row(texts, cost.ops, cost.nodes, share)


def _lost(sum: Sum) -> bool:
    return sum.missing > 0 and sum.known == 0


def _show(sum: Sum, show: Callable[[int | None], str]) -> str:
    if _lost(sum):
        return "?"
    return f"≥ {show(sum.known)}" if sum.missing else show(sum.known)


def _nodes(number: int) -> str:
    return f"{number} node" if number == 1 else f"{number} nodes"


def _percent(share: float | None, partial: bool) -> str:
    """A whole number; "<1" rather than a zero that is none; "≤" where the whole may be more than is known."""
    if share is None:
        return "?"
    if 0 < share < 0.005:
        return "<1"
    return f"{'≤' if partial and share else ''}{100 * share:.0f}"


def _plain(value: int | None) -> str:
    return "?" if value is None else str(value)
