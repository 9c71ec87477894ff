"""Nodes gathered into stages, as a person draws a network: neighbours of one size and one place are one row.

Nothing is dropped: the stages, what only prepares constants and a last row for what no node owns add up to the totals.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import msgspec

from analyzer.render import fields
from analyzer.render.drawing import draw, title
from analyzer.render.places import settle

if TYPE_CHECKING:
    from collections.abc import Iterable

    from analyzer.render.drawing import Run
    from analyzer.report import Metric, NodeRow, Report


class Sum(msgspec.Struct, frozen=True):
    """A sum that knows how many of its terms are unknown."""

    known: int = 0
    missing: int = 0


class Cost(msgspec.Struct, frozen=True):
    """What the nodes of a row add up to. `ops` are sorted by their macs, then by number."""

    nodes: int
    ops: tuple[tuple[str, int], ...]
    parameters: Sum
    macs: Sum
    output_bytes: Sum


class Stage(msgspec.Struct, frozen=True):
    """One row. `shape` and `last` are of its last output; None where the row is no place in the network."""

    name: str
    cost: Cost
    shape: tuple[int, ...] | None = None
    last: str | None = None


def gather(report: Report) -> list[Stage]:
    """The report's nodes as a few stages in execution order, and what is left of the totals."""
    places, preparing = settle(report)
    stages = [_stage(title(run, places), run) for run in draw(places, fields.by_tensor(report))]
    if preparing:
        stages.append(Stage("(constants)", _add_up(preparing)))
    rest = _rest(report, stages)
    return [*stages, rest] if rest is not None else stages


def _stage(name: str, run: Run) -> Stage:
    last = next((output for output in run[-1].node.outputs if output), "")
    return Stage(name, _add_up([place.node for place in run]), run[-1].shape, last)


def _add_up(nodes: list[NodeRow]) -> Cost:
    """Bodies count as often as they run; their parameters are stored once."""
    work: Counter[str] = Counter()
    number: Counter[str] = Counter()
    for node in nodes:
        number[node.op_type] += node.repeat or 1
        work[node.op_type] += (node.macs or 0) * (node.repeat or 1)
    order = sorted(number, key=lambda op: (-work[op], -number[op], op))
    return Cost(
        nodes=number.total(),
        ops=tuple((op, number[op]) for op in order),
        parameters=_sum(node.parameters for node in nodes),
        macs=_sum(_times(node.macs, node.repeat) for node in nodes),
        output_bytes=_sum(_times(node.output_bytes, node.repeat) for node in nodes),
    )


def _times(value: int | None, repeat: int | None) -> int | None:
    if value == 0:
        return 0
    return None if value is None or repeat is None else value * repeat


def _sum(values: Iterable[int | None]) -> Sum:
    listed = list(values)
    return Sum(sum(value for value in listed if value is not None), listed.count(None))


def _rest(report: Report, stages: list[Stage]) -> Stage | None:
    """The totals less the rows, where they differ: more for weights that no node reads, less for branches not taken."""
    totals = report.totals
    costs = [stage.cost for stage in stages]

    def left(total: Metric, known: Iterable[int]) -> int:
        return 0 if total.known is None else total.known - sum(known)

    nodes = left(totals.nodes, (cost.nodes for cost in costs))
    parameters = left(totals.parameters, (cost.parameters.known for cost in costs))
    macs = left(totals.macs, (cost.macs.known for cost in costs))
    output_bytes = left(totals.outputs_bytes, (cost.output_bytes.known for cost in costs))
    if not (nodes or parameters or macs or output_bytes):
        return None
    name = "(not taken)" if max(nodes, parameters, macs, output_bytes) <= 0 else "(elsewhere)"
    return Stage(name, Cost(nodes, (), Sum(parameters), Sum(macs), Sum(output_bytes)))
