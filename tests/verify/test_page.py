"""What the documents say of measurements is what the ledger holds."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import ledger, verification_page
from bench.ledger import Check, Entry, Ledger, Memory
from bench.verification_page import LEDGER, PAGE, README

MACHINE = {"processor": "p", "processors": 2, "memory_bytes": 1, "system": "s"}
ROW = (1, 1, "all", True)


def made_up(*rows: tuple[tuple[int, int, int] | None, tuple[int, int, int]]) -> Ledger:
    """A ledger of one model with sessions as predicted and measured."""
    memory = tuple(msgspec.convert((*ROW, said, real, ""), Memory) for said, real in rows)
    checks = (
        Check("shape", 1, compared=3, agreed=2, off=("t: 1x2 for 1x3",)),
        Check("session", 8, unmeasured="no"),
    )
    entry = Entry("net", 1.0, "", None, checks, memory)
    return msgspec.convert(
        {"command": "c", "date": "2026-01-02", "revision": "r", "machine": MACHINE, "of": 1,
         "versions": {"onnxruntime": "1.2"}, "entries": [msgspec.to_builtins(entry)]}, Ledger,
    )  # fmt: skip


@pytest.fixture(name="held")
def held_fixture() -> Ledger:
    if not LEDGER.exists():
        pytest.skip("no ledger yet")
    return msgspec.json.decode(LEDGER.read_bytes(), type=Ledger)


def test_the_page_is_made_from_the_ledger(held: Ledger) -> None:
    """docs/verification/README.md is what the script writes."""
    assert PAGE.read_text(encoding="utf-8") == verification_page.page(held)


def test_the_headline_is_made_from_the_ledger(held: Ledger) -> None:
    """So is the line in the README."""
    readme = README.read_text(encoding="utf-8")
    assert verification_page.headline(held) in readme
    assert verification_page.headed(readme, verification_page.headline(held)) == readme


def test_a_ledger_is_read_back_as_it_was_written(tmp_path: Path) -> None:
    """A line for each model, and the same in it."""
    path = tmp_path / "ledger.json"
    written = made_up(((1, 2, 3), (1, 2, 3)))
    ledger.write(path, written)
    assert msgspec.json.decode(path.read_bytes(), type=Ledger) == written


CELLS = {
    "exact": ([0.0, 0.0], ["100.0%", "100.0%", "0.00%", "0.00%", "0.00%", "+0.0%", "+0.00%", "0.0%"]),
    "one is low": (
        [0.0, -0.5],
        ["50.0%", "50.0%", "25.00%", "25.00%", "50.00%", "-50.0%", "-25.00%", "50.0%"],
    ),
    "one is high": ([0.005, 0.1], ["0.0%", "50.0%", "5.25%", "5.25%", "10.00%", "+10.0%", "+5.25%", "0.0%"]),
}


@pytest.mark.parametrize("what", CELLS)
def test_the_distribution_is_of_every_session(what: str) -> None:
    """Exact, within 1%, mean, median, p95, worst, bias, under-predicted, by hand."""
    errors, cells = CELLS[what]
    assert verification_page._cells(errors) == cells


def test_what_was_not_predicted_is_missed_by_all_of_it() -> None:
    """No prediction counts as zero, and so as under-predicted."""
    found = made_up((None, (10, 20, 30)))
    assert [*verification_page._errors(found.entries[0].memory, 1)] == [-1.0]
    assert "| net | 1 of 1 | -100.0% |" in verification_page.page(found)


def test_failures_are_on_the_page() -> None:
    """What differs and what was not measured is named."""
    page = verification_page.page(made_up(((1, 2, 3), (1, 2, 3))))
    assert "- net, shape at batch 1: `t: 1x2 for 1x3`" in page
    assert "- session at batch 8: no: net" in page
    assert "None." in page
