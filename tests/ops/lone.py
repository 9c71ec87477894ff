"""One op alone: as onnxruntime runs it on given numbers, beside what its rule says of it.

Operands are arrays; None leaves an optional one out. Scalars and vectors are stored in the model, so that a rule knows
their numbers; the rest is fed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import onnx
import onnx.reference
import pytest
from onnx import helper, numpy_helper

from analyzer import BadModel, Options
from analyzer.describe import Scene, describe
from analyzer.load import load
from analyzer.ops.rule import Facts
from analyzer.spans import Affine, Read, Route

Array = np.ndarray[Any, np.dtype[Any]]
Operands = Sequence[Array | None]


class Refused(Exception):
    """onnxruntime's refusal to load or run."""


class Lone:
    """One node with its operands and attributes, at an opset."""

    def __init__(
        self, op_type: str, operands: Operands, opset: int, outputs: int = 1, **attributes: Any
    ) -> None:
        self.named = {f"x{place}": value for place, value in enumerate(operands) if value is not None}
        names = [f"x{place}" if value is not None else "" for place, value in enumerate(operands)]
        while names and not names[-1]:
            names.pop()
        results = [f"y{place}" for place in range(outputs)]
        stored = {name: value for name, value in self.named.items() if value.ndim < 2}
        self.fed = {name: value for name, value in self.named.items() if value.ndim >= 2}
        graph = helper.make_graph(
            [helper.make_node(op_type, names, results, **attributes)],
            "lone",
            [
                helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
                for name, value in self.fed.items()
            ],
            [onnx.ValueInfoProto(name=name) for name in results],
            [numpy_helper.from_array(value, name) for name, value in stored.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        self.model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
        self._session: Any = None

    def run(self, **fed: Array) -> list[Array]:
        """Outputs for the operands given, or for others of their sizes. Raises Refused."""
        runtime = pytest.importorskip("onnxruntime")
        try:
            if self._session is None:
                options = runtime.SessionOptions()
                options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
                options.intra_op_num_threads = 1
                options.log_severity_level = 4
                providers = ["CPUExecutionProvider"]
                self._session = runtime.InferenceSession(self.model, options, providers=providers)
            outputs: list[Array] = self._session.run(None, {**self.fed, **fed})
        except Exception as error:  # noqa: BLE001  # each reason has a class of its own
            raise Refused(str(error)) from None
        return outputs

    def evaluate(self, **fed: Array) -> list[Array]:
        """The same from onnx's reference implementation, where onnxruntime is wrong."""
        model = onnx.load_from_string(self.model)
        made: Any = onnx.reference.ReferenceEvaluator(model).run(None, {**self.fed, **fed})
        return list(made)

    def scene(self) -> Scene:
        return describe(load(self.model), Options())

    def facts(self) -> Facts:
        """What the rule says. Raises BadModel."""
        (said,) = self.scene().facts
        assert isinstance(said, Facts), said
        return said

    def reason(self) -> str:
        """Why the rule refuses the op; empty where it does not."""
        try:
            self.scene()
        except BadModel as error:
            return error.reason
        return ""

    def fault(self) -> str:
        """Why onnxruntime refuses it; empty where it does not."""
        try:
            self.run()
        except Refused as error:
            return str(error)
        return ""

    def check(self) -> None:
        """Shapes and types of all outputs are those of the run."""
        scene = self.scene()
        for place, made in enumerate(self.run()):
            size = scene.size(f"y{place}")
            assert size is not None, scene.facts
            assert (size.shape, size.dtype.name) == (made.shape, made.dtype.name)

    def route(self, axis: int, place: int = 0) -> Route | Read:
        """Where an axis of an operand goes."""
        spans: Any = self.facts().spans
        span = spans if isinstance(spans[0], Route | Read) else spans[place]
        found: Route | Read = span[axis]
        return found

    def taps(self, axis: int, place: int = 0) -> Affine:
        """Through what an axis of an operand is read."""
        route = self.route(axis, place)
        assert isinstance(route, Route)
        return route.taps

    def rows(self, axis: int, run: Callable[..., list[Array]] | None = None) -> list[set[int]]:
        """For each position of the first operand's axis in output 0 the rows that it reads: each row by itself is
        set to one and all others to zero. Only for ops that are linear in it.
        """
        route, operand = self.route(axis), self.named["x0"]
        assert route.axis is not None
        seen: list[set[int]] = []
        for row in range(operand.shape[axis]):
            probe = np.zeros_like(operand)
            probe[(slice(None),) * axis + (row,)] = 1
            (made,) = (run or self.run)(x0=probe)
            others = tuple(other for other in range(made.ndim) if other != route.axis)
            hit = np.asarray((abs(made) > 1e-5).any(axis=others))
            seen = seen or [set() for _ in range(len(hit))]
            for position in np.flatnonzero(hit):
                seen[position].add(row)
        return seen


def read(taps: Affine, position: int) -> list[int]:
    """The rows that a position reads on an infinite canvas."""
    turn, phase = divmod(position, taps.period)
    low, high = taps.lows[phase], taps.highs[phase]
    if low is None or high is None:
        return []
    return [row + turn * taps.advance for row in range(low, high + 1, taps.step)]


def inside(taps: Affine, positions: int, rows: int) -> Iterator[set[int]]:
    """The same for the first positions, without what is outside of an axis of `rows`."""
    for position in range(positions):
        yield {row for row in read(taps, position) if 0 <= row < rows}
