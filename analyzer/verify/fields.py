"""Receptive fields as they show when a model runs, held against those that were read from its graph.

How a field is worked out is known to neither side of the other: `analyzer.passes.clipped` reads the graph,
`analyzer.verify.rows` runs the model.
"""

from __future__ import annotations

import os
import random
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from analyzer.describe import Scene, describe
from analyzer.load import load
from analyzer.ops import extend
from analyzer.options import Options
from analyzer.passes.clipped import Trust, trace
from analyzer.verify import feeds
from analyzer.verify.feeds import Feed
from analyzer.verify.measure import Limits
from analyzer.verify.rows import BEYOND, Query, Rows, measure
from analyzer.verify.stage import Staged, stage

__all__ = ["BEYOND", "VERDICTS", "Agreement", "Finding", "Query", "Verdict", "agreement", "drawn", "held"]
Verdict = Literal["agree", "conservative", "disagree", "not run"]
_LIMITS = Limits()
VERDICTS: tuple[Verdict, ...] = ("agree", "conservative", "disagree", "not run")


class Finding(msgspec.Struct, frozen=True):
    """One position held against one input axis: rows as analysed and as measured.

    An answer is conservative where it takes in what was measured and more; it says so itself, by `trust`, or is wrong.
    """

    query: Query
    input: str
    axis: int
    analytic: Rows
    measured: Rows
    trust: Trust
    verdict: Verdict
    reason: str = ""


class Agreement(msgspec.Struct, frozen=True):
    """What came of a model. `reason` says why nothing was measured at all."""

    findings: tuple[Finding, ...]
    methods: dict[str, str] = {}
    runs: int = 0
    reason: str | None = None

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict == verdict for finding in self.findings)

    @property
    def tensors(self) -> dict[str, Verdict]:
        """The worst that was found of each tensor; what was not run counts if nothing else was."""
        order: tuple[Verdict, ...] = ("not run", "agree", "conservative", "disagree")
        found: dict[str, Verdict] = {}
        for finding in self.findings:
            name = finding.query.tensor
            found[name] = max(found.get(name, "not run"), finding.verdict, key=order.index)
        return found


def agreement(
    model: str | os.PathLike[str] | bytes,
    count: int | None = None,
    options: Options = Options(),
    *,
    tensors: Sequence[str] | None = None,
    every: bool = False,
    seed: int = 0,
    limits: Limits = _LIMITS,
) -> Agreement:
    """Hold `count` tensors drawn at random (or `tensors`, or all) against runs of the model.

    Five positions of each axis are looked at; `every`: all of them. Raises BadInput where it is no model, or one that
    may not be run.
    """
    extend()
    with tempfile.TemporaryDirectory(prefix="onnx-analyzer-") as place:
        folder = Path(place, "run")
        folder.mkdir()
        path = Path(place, "model.onnx")
        if isinstance(model, bytes):
            path.write_bytes(model)
        else:
            path = Path(model)
        staged, scene = stage(path, folder), describe(load(path), options)
        fed = feeds.write(scene, folder, "field")
        if isinstance(fed, str):
            return Agreement((), reason=fed)
        return held(
            scene, staged, fed, drawn(scene, count, seed) if tensors is None else tensors, every, limits
        )


def held(
    scene: Scene,
    staged: Staged,
    fed: Mapping[str, Feed],
    tensors: Sequence[str],
    every: bool = False,
    limits: Limits = _LIMITS,
) -> Agreement:
    """The same of a model that is staged already."""
    queries = [query for name in tensors for query in asked(scene, name, every)]
    if not queries:
        return Agreement((), reason="there is no tensor whose size is known")
    measured = measure(staged, fed, queries, limits)
    if isinstance(measured, str):
        return Agreement((), reason=measured)
    traced = trace(scene, tensors)
    findings = []
    for query in queries:
        views = traced.views.get(query.tensor) or (None,) * len(traced.axes)
        at = {} if query.axis is None else {query.axis: query.position}
        doubts = {
            name: view.trust
            for (name, _), view in zip(traced.axes, views, strict=True)
            if view and view.trust != "exact"
        }
        for (name, axis), view in zip(traced.axes, views, strict=True):
            analytic, trust = (None, "exact") if view is None else (view.at(at), view.trust)
            seen = measured.rows.get(query, {})
            reason = measured.unseen.get(query) or ("" if (name, axis) in seen else "out of time")
            rows = seen.get((name, axis))
            if rows is None:  # what the data decide of one axis may leave nothing of the others
                trust = doubts.get(name, trust)
            findings.append(_finding(query, name, axis, analytic, rows, trust, reason))
    return Agreement(tuple(findings), measured.methods, measured.runs)


def _finding(
    query: Query, name: str, axis: int, analytic: Rows, measured: Rows, trust: Trust, reason: str
) -> Finding:
    verdict: Verdict = "disagree"
    if reason:
        verdict = "not run"
    elif analytic == measured:
        verdict = "agree"
    elif trust != "exact" and _holds(analytic, measured):
        verdict = "conservative"
    return Finding(query, name, axis, analytic, measured, trust, verdict, reason)


def _holds(wide: Rows, narrow: Rows) -> bool:
    """Whether one range takes in another."""
    return narrow is None or (wide is not None and wide[0] <= narrow[0] and narrow[1] <= wide[1])


def drawn(scene: Scene, count: int | None, seed: int = 0) -> list[str]:
    """Results of nodes of the main graph, at random, in the order in which they are made; all without a count."""
    names = [
        name for node in scene.graph.nodes for name in node.outputs if name and name not in scene.constants
    ]
    sized = [name for name in names if (size := scene.size(name)) is not None and size.count]
    if count is None or count >= len(sized):
        return sized
    picked = set(random.Random(seed).sample(sized, count))
    return [name for name in sized if name in picked]


def asked(scene: Scene, tensor: str, every: bool = False) -> list[Query]:
    """First, second, middle, last but one and last position of each axis, or every one."""
    size = scene.size(tensor)
    if size is None:
        return []
    if not size.shape:
        return [Query(tensor, None, 0)]
    found = []
    for axis, length in enumerate(size.shape):
        five = {0, 1, length // 2, length - 2, length - 1}
        places = range(length) if every else sorted(five.intersection(range(length)))
        found += [Query(tensor, axis, position) for position in places]
    return found
