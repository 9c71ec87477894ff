"""Fills the ledger of a GPU: `python bench/cuda.py MODELS -o LEDGER.json`, for a person who has one.

Needs `onnx-analyzer[verify-cuda]`. For each model: batches 1, 2, 4, ... as long as it runs, at level all and, for the
times of single nodes, at disable; then the largest batch that ran is held against that of `plan` on this card. The
card's context is measured first and written beside LEDGER.json as a device file. The project has not run it yet.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from analyzer.devices import Device, load
from analyzer.errors import AnalyzerError
from analyzer.options import Options
from analyzer.plan import plan
from analyzer.verify import Tolerances, Verification, Wanted, cuda, verify
from analyzer.verify.machine import release

TOLERANCE = 0.05
"""Of the arena's peak: what is aimed at in the first round."""


class Entry(msgspec.Struct, frozen=True):
    """One model: every verification, the largest batch that ran, and the largest that `plan` says."""

    model: str
    verifications: tuple[Verification, ...] = ()
    largest_run: int | None = None
    largest_planned: int | None = None
    refusal: str | None = None


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("models", type=Path)
    asked.add_argument("-o", "--output", type=Path, required=True)
    asked.add_argument("--largest", type=int, default=1024, help="no batch above this")
    asked.add_argument("--conv-search", default="EXHAUSTIVE")
    asked.add_argument("--conv-workspace", default="max")
    arguments = asked.parse_args()
    device = calibrated(arguments.output.with_suffix(".toml"))
    print(f"{device.name}: a context takes {device.context_bytes} bytes")
    entries = []
    for path in sorted(arguments.models.glob("*.onnx")):
        entries.append(entry := measured(path, device, arguments))
        arguments.output.write_bytes(msgspec.json.format(msgspec.json.encode(entries), indent=1))
        print(
            f"{entry.model}: largest batch {entry.largest_run}, planned {entry.largest_planned} {entry.refusal or ''}"
        )


def calibrated(path: Path) -> Device:
    """The card with what a context takes on it, from a file that is written where it is not there."""
    if not path.exists():
        gpu = cuda.card()
        with tempfile.TemporaryDirectory() as place:
            told = cuda.context(Path(place), gpu)
        if told.refusal is not None:
            raise SystemExit(f"no session on {gpu.name}: {told.refusal}")
        date = datetime.now(UTC).date().isoformat()
        path.write_text(cuda.calibrated(gpu, told.device, release(), date), encoding="utf-8")
    return load(path)


def measured(path: Path, device: Device, arguments: argparse.Namespace) -> Entry:
    """One model at every batch that runs."""
    try:
        found = tuple(_batches(path, device, arguments))
        planned = plan(path, device, Options())
    except AnalyzerError as error:
        return Entry(path.stem, refusal=f"{error.reason}: {error.message}")
    ran = [
        section.batch
        for one in found
        for section in one.sections
        if section.kind == "memory" and section.figures
    ]
    return Entry(
        path.stem, found, max((batch or 1 for batch in ran), default=None), planned.inference.largest_batch
    )


def _batches(path: Path, device: Device, arguments: argparse.Namespace) -> Iterator[Verification]:
    batch = 1
    while batch <= arguments.largest:
        wanted = Wanted(
            provider="cuda", batches=(batch,), levels=("all", "disable"), device=device,
            conv_search=arguments.conv_search, conv_workspace=arguments.conv_workspace,
            tolerances=Tolerances(memory=TOLERANCE),
        )  # fmt: skip
        yield (found := verify(path, wanted))
        if any(section.failed or section.kind == "session" for section in found.sections):
            return
        batch *= 2


if __name__ == "__main__":
    main()
