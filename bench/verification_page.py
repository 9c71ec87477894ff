"""The page of the ledger: `python -m bench.verification_page` writes docs/verification/README.md from cpu.json.

Between two marks in README.md stands the headline, and is written too. No figure is written by hand.
"""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from bench.ledger import Entry, Ledger, Memory

ROOT = Path(__file__).parents[1]
LEDGER = ROOT / "docs/verification/cpu.json"
PAGE = ROOT / "docs/verification/README.md"
README = ROOT / "README.md"
START, END = "<!-- headline: bench/verification_page.py -->", "<!-- end of headline -->"
FIGURES = ("base", "peak", "held")
NEAR, WORST = 0.01, 20
HEADS = ("exact", "within 1%", "mean", "median", "p95", "worst", "bias", "under-predicted")

INTRO = """# Verification

Every figure here was measured: models were run in onnxruntime, and what had been predicted without running them was
held against it. [cpu.json](cpu.json) holds every configuration of this page, which is made from it by
`python -m bench.verification_page`. Beside it lie

- [protocol.md](protocol.md): what is measured, by what, and what counts;
- [onnxruntime_cpu.md](onnxruntime_cpu.md): the arena again, against sessions of release 1.31;
- [training_cpu.json](training_cpu.json): what a training step takes in torch, the truth of
  [tests/core/test_training_peak.py](../../tests/core/test_training_peak.py);
- [cuda.md](cuda.md): what is known of GPUs, where nothing was measured yet.
"""
WIDTH = 120


def main() -> None:
    ledger = msgspec.json.decode(LEDGER.read_bytes(), type=Ledger)
    PAGE.write_text(page(ledger), encoding="utf-8")
    README.write_text(headed(README.read_text(encoding="utf-8"), headline(ledger)), encoding="utf-8")


def headline(ledger: Ledger) -> str:
    """Two sentences with the date and the number of configurations."""
    rows = [row for entry in ledger.entries for row in entry.memory]
    errors = [*_errors(rows, 1)]
    exact = sum(not error for error in errors)
    tensors, exactly = _sum(ledger, "shape")
    held = exactly + _bounded(ledger)
    models = sum(bool(entry.memory) for entry in ledger.entries)
    when, release, share = ledger.date[:10], ledger.versions["onnxruntime"], f"{exact / len(rows):.1%}"
    return (
        f"Held against onnxruntime {release} on {when}: {held:,} of {tensors:,} tensors have the predicted\n"
        f"shape or are within its bound, and in {exact:,} of {len(rows):,} sessions of {models} models ({share}) the\n"
        f"peak of the arena is the predicted one to the byte, the worst {max(map(abs, errors)):.1%} off\n"
        "([docs/verification](docs/verification/README.md)). On CUDA nothing was measured yet."
    )


def headed(readme: str, line: str) -> str:
    """The README with its headline."""
    before, _, rest = readme.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n{line}\n{END}{after}" if rest else readme


def page(ledger: Ledger) -> str:
    rows = [row for entry in ledger.entries for row in entry.memory]
    parts = [
        INTRO,
        *_provenance(ledger),
        *_kinds(ledger),
        *_distribution(rows),
        *_worst(ledger),
        *_models(ledger),
        *_silent(ledger),
    ]
    return "\n".join(parts).rstrip() + "\n"


def _provenance(ledger: Ledger) -> Iterator[str]:
    machine, names = ledger.machine, ", ".join(f"{name} {number}" for name, number in ledger.versions.items())
    done = len(ledger.entries)
    part = "all" if done == ledger.of else f"{done}, drawn at random,"
    yield "What was measured, and where:\n"
    yield from _item("Date", f"up to {ledger.date}, at revision `{ledger.revision}`")
    yield from _item("Versions", names)
    yield from _item("Machine", f"{machine.processors} processors ({machine.processor}), {machine.system}")
    yield from _item("Features", ", ".join(machine.flags) or "not told")
    yield from _item("Command", f"`{ledger.command}`")
    yield ""
    yield f"{part[0].upper()}{part[1:]} of {ledger.of} models. The project was developed on them; how well it does on"
    yield "models that it never saw is to be measured on such models.\n"


def _item(name: str, text: str) -> list[str]:
    """An item of a list, in lines of a page's width."""
    return textwrap.wrap(f"- **{name}**: {text}", WIDTH, subsequent_indent="  ", break_on_hyphens=False)


def _sum(ledger: Ledger, kind: str) -> tuple[int, int]:
    checks = [check for entry in ledger.entries for check in entry.checks if check.kind == kind]
    return sum(check.compared for check in checks), sum(check.agreed for check in checks)


def _bounded(ledger: Ledger) -> int:
    """Shapes that only the data decides and that lie below the bound that was predicted."""
    checks = [check for entry in ledger.entries for check in entry.checks if check.kind == "shape"]
    return sum(check.compared - check.agreed for check in checks if not check.off)


def _kinds(ledger: Ledger) -> Iterator[str]:
    yield "| compared | number | agree |\n| --- | --: | --: |"
    words = {"shape": "shapes of tensors", "dtype": "element types", "scratch": "scratch of kernels, unoptimised",
             "outputs": "outputs, optimised and not"}  # fmt: skip
    for kind, word in words.items():
        compared, agreed = _sum(ledger, kind)
        bounded = (
            f", {_bounded(ledger):,} more are within a bound" if kind == "shape" and _bounded(ledger) else ""
        )
        yield f"| {word} | {compared:,} | {agreed:,}{bounded} |"
    yield ""


def _errors(rows: Iterable[Memory], place: int) -> Iterator[float]:
    """Predicted over measured, less one; without a prediction it is missed by all of it."""
    for row in rows:
        said, real = (0 if row.predicted is None else row.predicted[place]), row.measured[place]
        yield said / real - 1 if real else float(bool(said))


def _distribution(rows: list[Memory]) -> Iterator[str]:
    yield "## Memory\n"
    yield f"{len(rows):,} sessions; errors are predicted over measured, less one. Under-predicted: more than 1% low.\n"
    yield "| level | pattern | figure | sessions | " + " | ".join(HEADS) + " |"
    yield "| --- | --- | --- | --: " + "| --: " * len(HEADS) + "|"
    for level in ("disable", "basic", "all"):
        for pattern in (False, True):
            some = [row for row in rows if (row.level, row.pattern) == (level, pattern)]
            for place, figure in enumerate(FIGURES if some else ()):
                cells = _cells([*_errors(some, place)])
                yield f"| {level} | {'on' if pattern else 'off'} | {figure} | {len(some)} | {' | '.join(cells)} |"
    yield ""


def _cells(errors: list[float]) -> list[str]:
    sizes = sorted(map(abs, errors))
    return [
        f"{sum(not size for size in sizes) / len(sizes):.1%}",
        f"{sum(size <= NEAR for size in sizes) / len(sizes):.1%}",
        f"{statistics.mean(sizes):.2%}",
        f"{statistics.median(sizes):.2%}",
        f"{sizes[min(int(0.95 * len(sizes)), len(sizes) - 1)]:.2%}",
        f"{max(errors, key=abs):+.1%}",
        f"{statistics.mean(errors):+.2%}",
        f"{sum(error < -NEAR for error in errors) / len(errors):.1%}",
    ]


def _worst(ledger: Ledger) -> Iterator[str]:
    """Every model with a session that is more than 1% off, by its worst."""
    found = []
    for entry in ledger.entries:
        errors = [
            (max((error for place in range(3) for error in _errors([row], place)), key=abs), row)
            for row in entry.memory
        ]
        off = [(error, row) for error, row in errors if abs(error) > NEAR]
        if off:
            found.append((max(off, key=lambda pair: abs(pair[0])), len(off), entry))
    yield "### Off by more than 1%\n"
    if not found:
        yield "None.\n"
        return
    yield "| model | sessions | worst | at | predicted | measured | cause |"
    yield "| --- | --: | --: | --- | --- | --- | --- |"
    for (error, row), number, entry in sorted(found, key=lambda one: -abs(one[0][0])):
        pattern = "" if row.pattern else ", no pattern"
        at = f"batch {row.batch}, {row.threads} threads, {row.level}{pattern}"
        said = "none" if row.predicted is None else _bytes(row.predicted)
        cause = row.note or "not known"
        yield (f"| {entry.model} | {number} of {len(entry.memory)} | {error:+.1%} | {at} | {said} "
               f"| {_bytes(row.measured)} | {cause} |")  # fmt: skip
    yield "\nBytes are base, peak and held.\n"


def _bytes(figures: tuple[int, ...]) -> str:
    return ", ".join(f"{value:,}" for value in figures)


def _models(ledger: Ledger) -> Iterator[str]:
    yield "## Models\n"
    yield "Sessions whose three figures are exact, and the worst error of the peak.\n"
    yield "| model | shapes | scratch | sessions | exact | worst peak |\n| --- | --: | --: | --: | --: | --: |"
    for entry in ledger.entries:
        if entry.memory:
            exact = sum(row.predicted == row.measured for row in entry.memory)
            peak = max(_errors(entry.memory, 1), key=abs)
            yield (f"| {entry.model} | {_agreed(entry, 'shape')} | {_agreed(entry, 'scratch')} | {len(entry.memory)} "
                   f"| {exact} | {'0' if not peak else f'{peak:+.2%}'} |")  # fmt: skip
    yield ""


def _agreed(entry: Entry, kind: str) -> str:
    checks = [check for check in entry.checks if check.kind == kind]
    compared, agreed = sum(check.compared for check in checks), sum(check.agreed for check in checks)
    return f"{agreed}" if agreed == compared else f"{agreed} of {compared}"


def _silent(ledger: Ledger) -> Iterator[str]:
    """What differs besides memory, and what was not measured."""
    off = [
        (entry.model, check.kind, check.batch, text)
        for entry in ledger.entries
        for check in entry.checks
        for text in check.off
    ]
    yield "## What else differs\n"
    yield "Scratch is measured as the sum of what a kernel asks for, and predicted as what it holds: one that takes and"
    yield "gives back for each signal shows more. Outputs of a model that picks by score may swap places.\n"
    yield from (f"- {model}, {kind} at batch {batch}: `{text}`" for model, kind, batch, text in off)
    yield "" if off else "Nothing.\n"
    yield "## Not measured\n"
    told: dict[str, list[str]] = {}
    for entry in ledger.entries:
        reasons = [entry.refusal] if entry.refusal else []
        reasons += [
            f"{check.kind} at batch {check.batch}: {check.unmeasured}"
            for check in entry.checks
            if check.unmeasured
        ]
        for reason in dict.fromkeys(reasons):
            told.setdefault(reason, []).append(entry.model)
    yield from (f"- {reason}: {', '.join(models)}" for reason, models in told.items())
    yield "" if told else "All was measured."


if __name__ == "__main__":
    main()
