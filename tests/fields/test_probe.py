"""The numeric reader itself: what it finds is what row after row shows, and what goes wrong in it is said."""

from __future__ import annotations

import ast
import contextlib
import random
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

pytest.importorskip("onnxruntime")

from analyzer.passes.clipped import Clipped, Seen, Trust
from analyzer.spans.ends import entered
from analyzer.verify import fields, integers, probe, rows
from analyzer.verify.fields import agreement
from analyzer.verify.measure import Limits
from analyzer.verify.probe import Search
from tests.conftest import text_model
from tests.fields import here, upsampling
from tests.fields.test_fields import NETS

READERS = ("flatten", "integers", "patterns", "probe", "rows", "taint")
RULES = ("analyzer.spans", "analyzer.ops", "analyzer.passes")
TEXT = NETS["small-unet"].text


@pytest.mark.parametrize("module", READERS)
def test_it_shares_nothing_with_the_rules_that_it_checks(module: str) -> None:
    """Of the rooms that work fields out it imports none."""
    tree = ast.parse(Path(rows.__file__).with_name(f"{module}.py").read_text())
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    imported |= {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    assert not [name for name in imported if name.startswith(RULES)]


def test_the_table_names_ops_that_there_are() -> None:
    """No row of it is a slip of the pen."""
    known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if not schema.domain}
    fused_in_place = {"SimplifiedLayerNormalization"}  # onnxruntime's optimiser writes it without a domain
    assert {op for domain, op in integers.PATTERNS if not domain} <= known | fused_in_place


@pytest.mark.parametrize("seed", range(20))
def test_halving_finds_what_a_look_at_every_row_finds(seed: int) -> None:
    """First and last row of any set, of many sets at once, in about sixteen runs for each."""
    draw = random.Random(seed)
    length = draw.randint(1, 300)
    sets = {n: {draw.randrange(length) for _ in range(draw.randint(1, 5))} for n in range(draw.randint(1, 8))}
    search = Search(set(sets), length)
    for cut in search.cuts():
        marked = set(range(*cut.indices(length)))
        search.hear(cut, {number for number, seen in sets.items() if seen & marked})
    assert {number: search.seen(number) for number in sets} == {n: (min(s), max(s)) for n, s in sets.items()}
    assert search.seen(99) is None
    assert search.runs <= 18 * len(sets)


def test_what_sees_nothing_is_not_searched() -> None:
    """A query that no mark of the whole input changed needs no run."""
    assert not list(Search(set(), 100).cuts())


@pytest.mark.parametrize("name", ["small-unet", "roll-then-window", "deconv-2/3", "squeeze-and-excite"])
def test_a_sweep_row_by_row_has_the_same_ends(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each row is marked on its own; the first and the last that show are those that halving found."""
    swept: dict[tuple[fields.Query, int], set[int]] = {}

    def sweeping(place: Path, order: dict[str, Any], limits: Limits) -> tuple[list[Any], str | None]:
        if order["task"] == "probe":
            told = msgspec.to_builtins(order)
            with contextlib.chdir(place):
                reading = probe.Reading(told["readings"][0], told["queries"])
            everything = set(range(len(told["queries"])))
            for axis, length in enumerate(told["inputs"]["x"]):
                for row in range(length):
                    for number in reading.hits("x", axis, slice(row, row + 1), everything):
                        swept.setdefault((order["queries"][number], axis), set()).add(row)
        return here.child(place, order, limits)

    monkeypatch.setattr(rows, "_child", sweeping)
    found = agreement(text_model(NETS[name].text), every=True, limits=here.UNLIMITED)
    assert found.findings
    for one in found.findings:
        seen = swept.get((one.query, one.axis))
        assert one.measured == (None if seen is None else (min(seen), max(seen)))


@pytest.mark.parametrize(
    ("analytic", "trust", "verdict"),
    [
        ((3, 7), "exact", "agree"),
        ((3, 8), "exact", "disagree"),
        ((3, 6), "exact", "disagree"),
        (None, "exact", "disagree"),
        ((3, 8), "data_dependent", "conservative"),
        ((2, 7), "opaque", "conservative"),
        ((3, 6), "opaque", "disagree"),
        ((4, 8), "data_dependent", "disagree"),
        (None, "data_dependent", "disagree"),
    ],
)
def test_a_wrong_prediction_is_caught(
    analytic: tuple[int, int] | None, trust: Trust, verdict: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A field a row too narrow or too wide disagrees; too wide is borne where the answer says that it may be."""
    seen = Seen(entered((13,), 0), trust)
    monkeypatch.setattr(Seen, "at", lambda self, positions: analytic)
    monkeypatch.setattr(fields, "trace", lambda scene, names: Clipped((("x", 2),), {"y": (seen,)}))
    monkeypatch.setattr(rows, "_child", here.child)
    found = agreement(text_model(NETS["inception"].text), tensors=["y"], limits=here.UNLIMITED, every=True)
    assert [one.verdict for one in found.findings if (one.query.axis, one.query.position) == (2, 5)] == [
        verdict
    ]


def test_a_model_that_takes_too_long_is_ended() -> None:
    """Its positions are told as not run, with the reason."""
    found = agreement(text_model(TEXT), limits=Limits(seconds=0.01))
    assert found.reason == "not finished within 0.01 seconds and ended"


def test_a_process_that_dies_is_a_finding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the signal that ended it."""
    deadly = tmp_path / "probe.py"
    deadly.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(probe, "__file__", str(deadly))
    assert agreement(text_model(TEXT)).reason == "onnxruntime ended by SIGSEGV"


def test_what_loses_a_nan_is_looked_at_in_a_second_way() -> None:
    """Of a body nobody knows what it does with a mark: numbers are changed as well, and both ways joined."""
    found = agreement(text_model(NETS["a-loop"].text), every=True)
    assert found.methods == {"y": "nan-taint+perturb"}
    assert found.count("disagree") == 0
    assert agreement(text_model(TEXT), tensors=["y"]).methods == {"y": "nan-taint"}


def test_a_nan_that_was_there_before_is_no_mark() -> None:
    """What is not finite unmarked cannot be measured, and is said."""
    text = "g (float[1, 4] x) => (y) <float[4, 1] n = {-1, -1, -1, -1}> { w = Sqrt(n) y = MatMul(x, w) }"
    found = agreement(text_model(text), tensors=["y"])
    assert {one.reason for one in found.findings} == {"not finite before anything was marked"}


def test_weights_that_would_overflow_are_made_small() -> None:
    """Their numbers say nothing of what is seen."""
    text = "g (float[1, 4] x) => (y) <float[4, 2] w = {1e38, -1e38, 1e38, 1e38, 1e38, 1e38, 1e38, 1e38}> "
    found = agreement(
        text_model(text + "{ a = MatMul(x, w) t = Transpose(w) b = MatMul(a, t) y = MatMul(b, w) }")
    )
    assert {one.verdict for one in found.findings} == {"agree"}


def test_zero_weights_of_the_op_are_no_taps() -> None:
    """Of a line made twice as long, every other row is a copy of one row, and sees no neighbour."""
    found = agreement(
        text_model(upsampling.RESIZED["resize-linear-asymmetric"].text), tensors=["u"], every=True
    )
    seen = {
        one.query.position: one.measured for one in found.findings if one.query.axis == 3 and one.axis == 3
    }
    assert [seen[place] for place in range(2, 6)] == [(1, 1), (1, 2), (2, 2), (2, 3)]
