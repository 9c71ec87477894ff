"""One model that is to be measured: its private copy, and what is predicted of it at each batch."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import msgspec

from analyzer.analysis import study
from analyzer.describe import Missing, Scene, describe
from analyzer.errors import AnalyzerError
from analyzer.load import load, strip
from analyzer.ops import extend
from analyzer.options import Level, Options
from analyzer.plan import batch as batches
from analyzer.report import Report, TensorRow
from analyzer.runtime import planned
from analyzer.runtime.kernel import find
from analyzer.runtime.planner import Outcome, Program
from analyzer.runtime.session import Optimised, optimised
from analyzer.runtime.simulate import simulate
from analyzer.units import show_bytes
from analyzer.verify import feeds
from analyzer.verify.feeds import Feed
from analyzer.verify.measure import LIMITS, Limits
from analyzer.verify.profile import Arena
from analyzer.verify.stage import stage


class Bound(msgspec.Struct, frozen=True, eq=False):
    """The model at one batch: None where it was bound by the caller's options alone."""

    batch: int | None
    report: Report
    scene: Scene
    feeds: dict[str, Feed]

    @property
    def rows(self) -> dict[str, TensorRow]:
        """What is predicted of each tensor."""
        return {row.name: row for row in self.report.tensors}

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: feed.shape for name, feed in self.feeds.items()}

    @property
    def random(self) -> bool:
        """Whether some node draws numbers, other ones at each run."""
        return any(not isinstance(said, Missing) and said.random for said in self.scene.facts)


class Forecast(msgspec.Struct, frozen=True):
    """What the arena is predicted to take at worst; `note` says what that leaves open. `least_peak_bytes` is lower than
    the peak where onnxruntime leaves the order of nodes to chance.
    """

    arena: Arena
    least_peak_bytes: int
    note: str = ""


class Subject:
    """A model in a directory of its own, and what onnxruntime's optimiser makes of it, asked once a level."""

    def __init__(self, model: Path, place: Path, options: Options = Options()) -> None:
        extend()
        self.path, self.place, self.options = model, place, options
        self.staged = stage(model, place)  # first: what it refuses nobody else is to read
        self.loaded = load(model)
        self.model = self.staged.write("model.onnx")
        self._made: dict[Level, Optimised | AnalyzerError] = {}

    @cached_property
    def thin(self) -> bytes:
        return strip(self.path)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        return tuple(tensor.name for tensor in self.loaded.graph.outputs)

    def at(self, batch: int | None, limits: Limits = LIMITS) -> Bound | str:
        """The model at a batch, or why it cannot be had there, or not be run within the limits."""
        base = study(self.loaded, self.options)
        bound: Options | str = self.options if batch is None else self._options(base, batch)
        if isinstance(bound, str):
            return bound
        report = study(self.loaded, bound)
        needed = _needed(report, self.staged.weight_bytes)
        if needed > limits.memory_bytes:
            return f"it takes at least {show_bytes(needed)}, the limit is {show_bytes(limits.memory_bytes)}"
        scene = describe(self.loaded, bound)
        fed = feeds.write(scene, self.place, f"feed{batch or ''}-")
        return fed if isinstance(fed, str) else Bound(batch, report, scene, fed)

    def _options(self, base: Report, batch: int) -> Options | str:
        entry = batches.find(self.loaded.graph.inputs, self.options)
        if entry.written is not None:  # onnxruntime holds a caller to it
            if entry.written == batch:
                return self.options
            return f"the batch is written in the file: {entry.written}"
        found = batches.described(
            entry, base, lambda size: study(self.loaded, batches.bound(entry, self.options, base, size))
        )
        if found.fixed is not None:
            if found.fixed == batch:
                return self.options
            return f"the batch is fixed at {found.fixed}: {found.reason}"
        return batches.bound(entry, self.options, base, batch)

    def program(self, bound: Bound, level: Level, threads: int) -> tuple[Program, bool] | AnalyzerError:
        """The program that a session runs, and whether all is known of it."""
        if level not in self._made:
            try:
                self._made[level] = optimised(self.thin, level)
            except AnalyzerError as error:
                self._made[level] = error
        made = self._made[level]
        if isinstance(made, AnalyzerError):
            return made
        try:
            program, certain = planned(made, self.loaded.graph, bound.shapes, level, threads)
        except AnalyzerError as error:
            return error
        return msgspec.structs.replace(program, blank=False), certain

    def forecast(self, bound: Bound, level: Level, threads: int, pattern: bool) -> Forecast | str:
        """The arena's figures, or why nobody can tell them."""
        program = self.program(bound, level, threads)
        if isinstance(program, AnalyzerError):
            return f"not predicted: {program.message}"
        return forecast(*program, pattern)


def forecast(program: Program, certain: bool, pattern: bool) -> Forecast | str:
    """The arena's figures of a program."""
    try:
        outcome = simulate(msgspec.structs.replace(program, pattern=pattern))
    except AssertionError:
        return "not predicted: the optimised graph has tensors whose size nobody can tell"
    arena = Arena(outcome.base_bytes, outcome.peak_bytes, outcome.held_bytes)
    return Forecast(arena, outcome.least_peak_bytes, "; ".join(_doubts(outcome, program, certain)))


def _doubts(outcome: Outcome, program: Program, certain: bool) -> Iterator[str]:
    """Why the arena may take less than is predicted, or more."""
    if outcome.least_peak_bytes < outcome.peak_bytes:
        yield f"the worst order of nodes: chance may choose one that peaks at {outcome.least_peak_bytes:,}"
    if program.orders is None:
        yield "the order of nodes is left to chance"
    elif not certain:
        yield "sizes are left to the data: upper bounds"
    if outcome.unmodelled:
        nodes = sorted(outcome.unmodelled.items())
        yield "without " + ", ".join(f"{count} {op_type}" for (_, op_type), count in nodes)


def scratch(program: Program) -> dict[str, int | None]:
    """Temporary bytes that each node's kernel is predicted to ask for, all together; None where nobody described it."""
    told: dict[str, int | None] = {}
    for step in program.main.steps:
        entry = find(step.call.domain, step.call.op_type)
        sized = all(
            size is not None for name, size in zip(step.inputs, step.call.inputs, strict=True) if name
        )
        usage = entry.usage(step.call) if entry is not None and sized and not step.bodies else None
        told[step.name] = (
            None
            if usage is None
            else sum(max(amount, 0) for amount in usage.steps) + sum(map(sum, usage.scratch))
        )
    return told


def _needed(report: Report, weight_bytes: int) -> int:
    """The least that a run takes: the weights, and the most that is alive at once."""
    return weight_bytes + (report.memory.inference.peak_live_bytes or 0)
