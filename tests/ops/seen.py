"""What an output sees of an operand: as a Span says it, and as it shows when onnxruntime runs the graph with one row
of the operand changed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from onnx import helper

from analyzer.ops.rule import Facts
from analyzer.spans import Affine, Read, Route
from tests.ops.graphs import facts, model

Rows = list[set[int]]
"""Rows of an operand's axis, by position along an axis of the output."""
CUTS: Mapping[str, Callable[[int], slice]] = {
    "global": lambda position: slice(None),
    "prefix": lambda position: slice(position + 1),
    "suffix": lambda position: slice(position, None),
}
"""Which rows of an axis a position reads, by the kind of a Read."""


class Probe:
    """A graph of one node whose inputs are random numbers, and what its output at `place` is for them."""

    def __init__(self, graph: str, opset: int = 22, place: int = 0) -> None:
        runtime = pytest.importorskip("onnxruntime")
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        stored = model(graph, opset)
        rng = np.random.default_rng(0)
        self.said: Facts = facts(graph, opset)
        self.operands = list(stored.graph.node[-1].input)
        self.place, self.name = place, stored.graph.node[-1].output[place]
        self.session = runtime.InferenceSession(
            stored.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        self.fed: dict[str, Any] = {
            info.name: rng.uniform(
                -0.5, 0.5, [dim.dim_value for dim in info.type.tensor_type.shape.dim]
            ).astype(helper.tensor_dtype_to_np_dtype(info.type.tensor_type.elem_type))
            for info in stored.graph.input
        }
        (self.base,) = self.session.run([self.name], self.fed)

    def check(self, operand: str, axis: int, hull: bool = False) -> None:
        """A position sees the rows that the axis's route says; `hull`: rows between the same ends."""
        route = self.route(operand, axis)
        assert route.axis is not None, "read whole: nothing to compare"
        told, shown = self.told(operand, axis, route.axis), self.shown(operand, axis, route.axis)
        if hull:
            assert all(rows <= allowed for rows, allowed in zip(shown, told, strict=True)), (shown, told)
            shown, told = ([{min(rows), max(rows)} for rows in side] for side in (shown, told))
        assert shown == told

    def route(self, operand: str, axis: int) -> Route | Read:
        span: Any = self.said.span(self.operands.index(operand), self.place)
        found: Route | Read = span[axis]
        return found

    def told(self, operand: str, axis: int, to: int) -> Rows:
        """As the Span says."""
        route, rows = self.route(operand, axis), range(self.fed[operand].shape[axis])
        positions = range(self.base.shape[to])
        if isinstance(route, Route):
            return [{row for row in _read(route.taps, position) if row in rows} for position in positions]
        return [set(rows[CUTS[route.kind](position)]) for position in positions]

    def shown(self, operand: str, axis: int, to: int) -> Rows:
        """As it shows."""
        seen: Rows = [set() for _ in range(self.base.shape[to])]
        noise = np.random.default_rng(1).random(np.delete(self.fed[operand].shape, axis)).astype(np.float32)
        for row in range(self.fed[operand].shape[axis]):
            changed = self.fed[operand].copy()
            changed[(slice(None),) * axis + (row,)] += noise
            (made,) = self.session.run([self.name], {**self.fed, operand: changed})
            others = tuple(other for other in range(made.ndim) if other != to)
            for position in np.flatnonzero((np.abs(made - self.base) > 1e-6).any(axis=others)):
                seen[position].add(row)
        return seen


def _read(taps: Affine, position: int) -> range:
    turn, phase = divmod(position, taps.period)
    low, high = taps.lows[phase], taps.highs[phase]
    if low is None or high is None:
        return range(0)
    return range(low + turn * taps.advance, high + turn * taps.advance + 1, taps.step)
