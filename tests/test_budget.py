"""What a budget file may say, and what a report must show to keep it."""

from __future__ import annotations

import tomllib
from typing import Any

import msgspec
import pytest

from analyzer import budget
from analyzer.errors import BadOption
from analyzer.report import (
    InferenceMemory,
    Memory,
    Metric,
    ModelInfo,
    Report,
    Status,
    Totals,
    TrainingMemory,
)

ALL = Metric(1_000, "complete")


def report(**metrics: Metric) -> Report:
    """A report whose totals are 1000 each, save those given; 2 MiB at the peak, 100 bytes otherwise; depth 16."""
    totals = dict.fromkeys(Totals.__struct_fields__, ALL) | metrics
    inference = InferenceMemory(
        parameter_bytes=100,
        outputs_bytes=100,
        lecture_bytes=200,
        peak_live_bytes=2 << 20,
        peak_node="conv1",
        live_at_peak=(),
        arena_bytes=None,
        status="complete",
    )
    training = TrainingMemory(
        batch=1,
        optimizer="sgd",
        parameter_bytes=100,
        gradient_bytes=100,
        optimizer_bytes=0,
        saved_bytes=100,
        error_signal_bytes=100,
        lecture_bytes=400,
        peak_bytes=None,
        status="partial",
    )
    return Report(
        schema_version=1,
        model=ModelInfo("m", "0" * 64, 10, 8, {"ai.onnx": 17}, "hand"),
        dims={},
        warnings=(),
        totals=Totals(**totals),
        nodes=(),
        tensors=(),
        memory=Memory(inference, training),
        receptive_fields=(),
        depth=16,
    )


def told(toml: str, found: Report | None = None) -> list[str]:
    breaches = budget.check(found or report(), budget.parse(tomllib.loads(toml)))
    return [str(breach) for breach in breaches]


def metric(known: int | None, status: Status) -> Report:
    return report(macs=Metric(known, status))


@pytest.mark.parametrize(
    "toml",
    [
        "[max]\ntotals.macs = 1000",
        "[max]\ntotals.macs = 1e3",
        '[max]\ntotals.macs = "1K"',
        '[max]\n"totals.macs" = "1_000"',
        "[max.totals]\nmacs = 1000",
        "[min]\ntotals.macs = 1000",
        '[max]\nmemory.inference.peak_live_bytes = "2MiB"',
        '[max]\nmemory.inference.peak_live_bytes = "2.5 MiB"',
        "[max]\ndepth = 16\n[min]\ndepth = 16",
    ],
)
def test_a_limit_that_is_just_kept_is_no_breach(toml: str) -> None:
    assert told(toml) == []


@pytest.mark.parametrize(
    ("toml", "line"),
    [
        ('[max]\ntotals.macs = "0.5K"', "totals.macs 1.00 K exceeds max 500 (by 100%)"),
        ("[max]\ntotals.macs = 999", "totals.macs 1.00 K exceeds max 999 (by <1%: 1,000 to 999)"),
        ("[max]\ntotals.macs = 0", "totals.macs 1.00 K exceeds max 0"),
        ("[min]\ndepth = 20", "depth 16 is below min 20 (by 20%)"),
        (
            '[max]\nmemory.inference.peak_live_bytes = "1MiB"',
            "memory.inference.peak_live_bytes 2.00 MiB exceeds max 1.00 MiB (by 100%)",
        ),
        (
            "[max]\nmemory.inference.arena_bytes = 1",
            "memory.inference.arena_bytes is unknown, so max 1 B may not hold",
        ),
        (
            "[min]\nmemory.training.peak_bytes = 0",
            "memory.training.peak_bytes is unknown, so min 0 B may not hold",
        ),
    ],
)
def test_each_breach_is_a_line(toml: str, line: str) -> None:
    assert told(toml) == [line]


@pytest.mark.parametrize(
    ("known", "status", "bound", "allow", "reason"),
    [
        (None, "unavailable", "max", True, "unknown"),
        (0, "unavailable", "max", True, "unknown"),
        (None, "partial", "min", True, "unknown"),
        (400, "partial", "max", False, "not_fully_known"),
        (400, "partial", "max", True, None),
        (600, "partial", "max", True, "exceeded"),
        (600, "partial", "max", False, "exceeded"),
        (600, "partial", "min", False, None),
        (400, "partial", "min", False, "not_fully_known"),
        (400, "partial", "min", True, "exceeded"),
        (400, "complete", "min", False, "exceeded"),
        (500, "complete", "max", False, None),
        (500, "complete", "min", False, None),
    ],
)
def test_what_is_not_known_never_passes_in_silence(
    known: int | None, status: Status, bound: str, allow: bool, reason: str | None
) -> None:
    """The limit is 500 either way."""
    limits = budget.parse({"allow_partial": allow, bound: {"totals.macs": 500}})
    assert [breach.reason for breach in budget.check(metric(known, status), limits)] == (
        [reason] if reason else []
    )


def test_a_partial_total_says_that_it_may_be_more() -> None:
    limit = "[max]\ntotals.macs = 500"
    assert told(limit, metric(600, "partial")) == ["totals.macs is at least 600, exceeds max 500 (by 20%)"]
    (line,) = told(limit, metric(400, "partial"))
    assert line.startswith("totals.macs is at least 400, not fully known")


def test_the_status_of_a_memory_record_is_that_of_its_fields() -> None:
    """Training memory is partial in this report."""
    (line,) = told("[max]\nmemory.training.saved_bytes = 1000")
    assert "not fully known" in line


def test_breaches_come_in_the_order_of_the_file() -> None:
    toml = "[min]\ndepth = 20\n[max]\ntotals.macs = 1\ntotals.nodes = 2000\ntotals.flops = 1"
    assert [line.split()[0] for line in told(toml)] == ["depth", "totals.macs", "totals.flops"]


@pytest.mark.parametrize(
    ("toml", "reason", "hint"),
    [
        ("[max]\ntotals.mac = 1", "UNKNOWN_FIELD", "totals.macs"),
        ("[max]\nmacs = 1", "UNKNOWN_FIELD", "totals.macs"),
        ("[max]\npeak_live_bytes = 1", "UNKNOWN_FIELD", "memory.inference.peak_live_bytes"),
        ("[max]\nzzz = 1", "UNKNOWN_FIELD", "there are totals.nodes"),
        ("[max]\nmemory.training.batch = 1", "UNKNOWN_FIELD", "memory.training"),
        ("[max]\ntotals.macs.known = 1", "UNKNOWN_FIELD", "totals.macs"),
        ("[maximum]\ntotals.macs = 1", "BAD_BUDGET", "[max]"),
        ("totals.macs = 1", "BAD_BUDGET", "[max]"),
        ("max = 1", "BAD_BUDGET", "[max]"),
        ("", "BAD_BUDGET", "sets no limit"),
        ("allow_partial = 1\n[max]\ndepth = 1", "BAD_BUDGET", "true or false"),
        ('[max]\ndepth = "5MB"', "BAD_LIMIT", "MiB"),
        ('[max]\ndepth = "-5"', "BAD_LIMIT", "depth"),
        ("[max]\ndepth = -5", "BAD_LIMIT", "from 0 up"),
        ("[max]\ndepth = true", "BAD_LIMIT", "from 0 up"),
        ("[max]\ndepth = inf", "BAD_LIMIT", "from 0 up"),
        ("[max]\ndepth = nan", "BAD_LIMIT", "from 0 up"),
        ("[max]\ndepth = [1]", "BAD_LIMIT", "from 0 up"),
    ],
)
def test_a_budget_that_says_nothing_sensible_is_refused(toml: str, reason: str, hint: str) -> None:
    with pytest.raises(BadOption) as refused:
        budget.parse(tomllib.loads(toml))
    assert refused.value.reason == reason
    assert hint in refused.value.message


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "NO_BUDGET"), (b"[max", "BAD_BUDGET"), (b"\xff\xfe", "BAD_BUDGET")]
)
def test_a_file_that_is_no_budget_is_refused(tmp_path: Any, content: bytes | None, reason: str) -> None:
    path = tmp_path / "budget.toml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadOption) as refused:
        budget.load(path)
    assert refused.value.reason == reason
    assert str(path) in refused.value.message


def test_every_path_is_a_number_or_unknown_in_the_json_report() -> None:
    plain = msgspec.to_builtins(report())
    for path in budget.paths():
        value = plain
        for name in path.split("."):
            value = value[name]
        assert isinstance(value["known"] if isinstance(value, dict) else value, int | None)


def test_every_number_of_totals_and_memory_can_be_limited() -> None:
    """All but the batch, which the caller chose."""
    numbers = {f"totals.{name}" for name in Totals.__struct_fields__}
    for part, record in (("inference", InferenceMemory), ("training", TrainingMemory)):
        hints = msgspec.structs.fields(record)
        numbers |= {f"memory.{part}.{field.name}" for field in hints if field.type == int | None}
    assert numbers - {"memory.training.batch"} <= set(budget.paths())
