"""Holds every prediction against a real run, for a folder of models: `python bench/ledger.py MODELS -o LEDGER.json`.

Each model at batch 1 and 8, with 1 and 2 threads, at levels disable, basic and all, with memory pattern and without.
LEDGER.json is written after each model, and what it holds already is not measured again: stop and go on at any time.
With --again nothing is measured: what is in it already is held against what is predicted now. The page is made from it
by bench/verification_page.py.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib.metadata import version
from itertools import product
from pathlib import Path

import msgspec

from analyzer.errors import AnalyzerError
from analyzer.options import Level
from analyzer.verify import Limits, cpu
from analyzer.verify.machine import machine
from analyzer.verify.record import Kind, Machine, Section
from analyzer.verify.subject import Bound, Subject

BATCHES, THREADS = (1, 8), (1, 2)
LEVELS: tuple[Level, ...] = ("disable", "basic", "all")
ROOT = Path(__file__).parents[1]


class Memory(msgspec.Struct, frozen=True, array_like=True):
    """One session: predicted and measured bytes as base, peak, held; predicted is None where `note` says why."""

    batch: int
    threads: int
    level: Level
    pattern: bool
    predicted: tuple[int, int, int] | None
    measured: tuple[int, int, int]
    note: str = ""


class Check(msgspec.Struct, frozen=True, omit_defaults=True):
    """A kind of figures at one batch, sessions of one level together. `off` are those that differ, the first few."""

    kind: Kind
    batch: int
    level: Level | None = None
    compared: int = 0
    agreed: int = 0
    off: tuple[str, ...] = ()
    unmeasured: str | None = None
    failed: bool = False


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One model. `refusal` says why it could not even be read."""

    model: str
    seconds: float
    structure_sha256: str = ""
    refusal: str | None = None
    checks: tuple[Check, ...] = ()
    memory: tuple[Memory, ...] = ()


class Ledger(msgspec.Struct, frozen=True):
    """All of it. `of` is the number of models in the folder; `date` that of the last one measured."""

    command: str
    date: str
    revision: str
    machine: Machine
    versions: dict[str, str]
    of: int
    entries: tuple[Entry, ...] = ()


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("models", type=Path)
    asked.add_argument("-o", "--output", type=Path, required=True)
    asked.add_argument("--match", default="", help="only models with this in their name")
    asked.add_argument("--minutes", type=float, default=60.0, help="no model begins later")
    asked.add_argument("--seconds", type=float, default=60.0, help="for one session")
    asked.add_argument("--memory", type=float, default=6.0, help="GiB for one process")
    asked.add_argument("--again", action="store_true", help="predict again, and keep what was measured")
    arguments = asked.parse_args()
    limits = Limits(arguments.seconds, int(arguments.memory * (1 << 30)))
    paths = sorted(path for path in arguments.models.glob("*.onnx") if arguments.match in path.stem)
    known = (
        msgspec.json.decode(arguments.output.read_bytes(), type=Ledger) if arguments.output.exists() else None
    )
    fresh = _ledger(f"python bench/ledger.py MODELS -o {arguments.output.name}", len(paths))
    if known is not None and (known.versions, known.machine) != (fresh.versions, fresh.machine):
        asked.error(
            f"{arguments.output} is of other versions or another machine: one ledger is of one of each"
        )
    if arguments.again:
        write(arguments.output, again(arguments.models, known or fresh))
        return
    entries = {entry.model: entry for entry in known.entries} if known is not None else {}
    random.Random(0).shuffle(paths)  # so that a part of it is a sample of the whole
    end = time.monotonic() + 60 * arguments.minutes
    for path in paths:
        if path.stem in entries or time.monotonic() > end:
            continue
        entries[path.stem] = entry = measured(path, limits)
        done = tuple(sorted(entries.values(), key=lambda one: one.model))
        write(arguments.output, msgspec.structs.replace(fresh, date=_now(), entries=done))
        told = f"{len(entries)}/{len(paths)} {entry.model} {entry.seconds:.1f} s {entry.refusal or ''}"
        print(told, flush=True)


def again(models: Path, known: Ledger) -> Ledger:
    """What was measured, held against what is predicted now."""
    entries = []
    for entry in known.entries:
        memory = entry.memory
        if memory:
            with tempfile.TemporaryDirectory() as place:
                subject = Subject(models / f"{entry.model}.onnx", Path(place))
                bounds = {batch: subject.at(batch) for batch in BATCHES}
                memory = tuple(_again(subject, bounds[row.batch], row) for row in memory)
        entries.append(msgspec.structs.replace(entry, memory=memory))
        print(
            f"{entry.model} {sum(row.predicted == row.measured for row in memory)} of {len(memory)}",
            flush=True,
        )
    return msgspec.structs.replace(known, revision=_revision(), entries=tuple(entries))


def _again(subject: Subject, bound: Bound | str, row: Memory) -> Memory:
    said = bound if isinstance(bound, str) else subject.forecast(bound, row.level, row.threads, row.pattern)
    if isinstance(said, str):
        return msgspec.structs.replace(row, predicted=None, note=said)
    arena = said.arena
    figures = (arena.base_bytes, arena.peak_bytes, arena.held_bytes)
    return msgspec.structs.replace(row, predicted=figures, note=said.note)


def measured(path: Path, limits: Limits) -> Entry:
    """One model at every setting."""
    start = time.monotonic()
    checks: list[Check] = []
    memory: list[Memory] = []
    try:
        with tempfile.TemporaryDirectory() as place:
            subject = Subject(path, Path(place))
            digest = subject.loaded.structure_sha256
            for batch in BATCHES:
                sections = _at(subject, batch, limits)
                checks += _checks(
                    section for section in sections if section.kind != "memory" or not section.figures
                )
                memory += [
                    _memory(section) for section in sections if section.kind == "memory" and section.figures
                ]
    except AnalyzerError as error:
        return Entry(path.stem, time.monotonic() - start, refusal=f"{error.reason}: {error.message}")
    return Entry(path.stem, round(time.monotonic() - start, 1), digest, None, tuple(checks), tuple(memory))


def _at(subject: Subject, batch: int, limits: Limits) -> list[Section]:
    bound = subject.at(batch, limits)
    if isinstance(bound, str):
        return [Section("session", batch, unmeasured=bound)]
    settings = [cpu.Setting(*setting) for setting in product(LEVELS, THREADS, (False, True))]
    return cpu.sections(subject, bound, settings, limits=limits)


def _checks(sections: Iterable[Section]) -> list[Check]:
    together: dict[tuple[object, ...], Check] = {}
    for section in sections:
        key = (section.kind, section.batch, section.level, section.unmeasured)
        old = together.get(key) or Check(
            section.kind,
            section.batch or 0,
            section.level,
            unmeasured=section.unmeasured,
            failed=section.failed,
        )
        off = [f"{one.name}: {one.predicted} for {one.measured}" if one.predicted is not None
               else f"{one.name}: {one.note or f'{one.difference:.2g} apart'}" for one in section.figures]  # fmt: skip
        together[key] = msgspec.structs.replace(
            old,
            compared=old.compared + section.compared,
            agreed=old.agreed + section.agreed,
            off=tuple(dict.fromkeys((*old.off, *off[:5]))),
        )
    return [*together.values()]


def _memory(section: Section) -> Memory:
    predicted, measured = (
        tuple(int(getattr(figure, side)) for figure in section.figures) for side in ("predicted", "measured")
    )
    return msgspec.convert(
        (
            section.batch,
            section.threads,
            section.level,
            section.pattern,
            predicted,
            measured,
            section.figures[0].note,
        ),
        Memory,
    )


def _ledger(command: str, of: int) -> Ledger:
    """An empty one of this machine."""
    versions = {name: version(name) for name in ("onnxruntime", "onnx", "numpy")}
    versions["python"] = sys.version.split()[0]
    return Ledger(command, _now(), _revision(), machine(), versions, of)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _revision() -> str:
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    return subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip()


def write(path: Path, ledger: Ledger) -> None:
    """JSON with a line for each model, there whole or not at all."""
    head = msgspec.json.format(msgspec.json.encode(msgspec.structs.replace(ledger, entries=())), indent=1)
    lines = b",\n".join(map(msgspec.json.encode, ledger.entries))
    partial = path.with_suffix(".partial")
    partial.write_bytes(head.replace(b'"entries": []', b'"entries": [\n' + lines + b"\n]") + b"\n")
    partial.replace(path)


if __name__ == "__main__":
    main()
