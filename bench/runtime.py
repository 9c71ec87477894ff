"""How near the prediction of onnxruntime's memory comes to what was measured: `python bench/runtime.py MODELS`.

MODELS is a folder of NAME.onnx with NAME.json, whose `onnxruntime_memory` says what onnxruntime's own profile counted.
Every configuration counts; one without a prediction counts as missed. Errors are relative, exact is to the byte.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec

from analyzer.errors import AnalyzerError
from analyzer.load import load, strip
from analyzer.ops import extend
from analyzer.options import LEVELS, Level
from analyzer.runtime import prepare
from analyzer.runtime.planner import Outcome
from analyzer.runtime.simulate import simulate

FIGURES = ("base_bytes", "peak_bytes", "held_bytes")
NEAR = 0.01
COLUMNS = (
    "configs", "exact", "within 1%", "mean", "median", "p95", "worst", ">1% low", "of these not flagged", "partial",
)  # fmt: skip


class Config(msgspec.Struct, frozen=True):
    """One measured session of one model. `errors`: predicted over measured, less one; None without a prediction."""

    model: str
    run: int
    level: Level
    pattern: bool
    measured: dict[str, int]
    errors: dict[str, float] | None
    partial: bool
    told: str


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("models", type=Path)
    asked.add_argument("--match", default="", help="only models with this in their name")
    asked.add_argument("--levels", nargs="*", default=LEVELS, choices=LEVELS)
    asked.add_argument("--runs", type=int, default=1, help="bindings of the inputs, of each model")
    asked.add_argument(
        "--worst", type=int, default=20, help="how many of the worst to list, by level and pattern"
    )
    asked.add_argument("--jobs", type=int, default=1)
    asked.add_argument("--json", type=Path, help="every configuration, written here")
    arguments = asked.parse_args()
    extend()
    paths = [path for path in sorted(arguments.models.glob("*.onnx")) if arguments.match in path.stem]
    with ThreadPoolExecutor(arguments.jobs) as pool:
        found = [*pool.map(lambda path: [*configs(path, arguments.levels, arguments.runs)], paths)]
    everything = [config for several in found for config in several]
    print(table(everything))
    print(*worst(everything, arguments.worst), sep="\n")
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(everything)))


def configs(path: Path, levels: list[Level], runs: int) -> Iterator[Config]:
    """Every session that was measured of one model, a session of ours for each level."""
    truth = json.loads(path.with_suffix(".json").read_text())
    original, thin = load(path).graph, strip(path)
    for index, run in enumerate(truth.get("runs", [])[:runs]):
        shapes = {name: tuple(shape) for name, (_, shape) in run["inputs"].items()}
        for level in levels:
            wanted = [
                one
                for one in truth.get("onnxruntime_memory", [])
                if (one["run"], one["level"]) == (index, level) and "peak_bytes" in one
            ]
            if not wanted:
                continue
            try:
                _, program, certain = prepare(thin, original, shapes, level, wanted[0]["threads"])
            except AnalyzerError as error:
                yield from (
                    _config(path, one, None, True, f"{error.reason} {error.message}") for one in wanted
                )
                continue
            for one in wanted:
                try:
                    outcome = simulate(msgspec.structs.replace(program, pattern=one["mem_pattern"]))
                except Exception as error:  # noqa: BLE001  # a fault of ours is a miss
                    yield _config(path, one, None, True, f"{type(error).__name__}: {error}")
                    continue
                told = ", ".join(f"{count} {op[1]}" for op, count in outcome.unmodelled.items())
                partial = bool(outcome.unmodelled) or not certain
                yield _config(path, one, outcome, partial, told or ("" if certain else "left to the data"))


def _config(path: Path, one: dict[str, Any], outcome: Outcome | None, partial: bool, told: str) -> Config:
    measured = {figure: one[figure] for figure in FIGURES if figure in one}
    errors = None
    if outcome is not None:
        errors = {name: getattr(outcome, name) / max(value, 1) - 1 if value or getattr(outcome, name) else 0.0
                  for name, value in measured.items()}  # fmt: skip
    return Config(path.stem, one["run"], one["level"], one["mem_pattern"], measured, errors, partial, told)


def table(everything: list[Config]) -> str:
    """A row for each level, pattern and figure, in Markdown."""
    lines = [
        "| level | pattern | figure | " + " | ".join(COLUMNS) + " |",
        "| --- | --- | --- " + "| --: " * len(COLUMNS) + "|",
    ]
    keys = sorted(
        {(config.level, config.pattern) for config in everything},
        key=lambda key: (LEVELS.index(key[0]), key[1]),
    )
    for level, pattern in keys:
        some = [config for config in everything if (config.level, config.pattern) == (level, pattern)]
        shown = f"| {level} | {_word(pattern)} |"
        lines += [f"{shown} {figure} | {_row(some, figure)} |" for figure in FIGURES]
    return "\n".join(lines)


def _row(some: list[Config], figure: str) -> str:
    pairs = [
        (config, -1.0 if config.errors is None else config.errors[figure])
        for config in some
        if figure in config.measured
    ]
    errors = [error for _, error in pairs]
    sizes = sorted(map(abs, errors))
    low = [config for config, error in pairs if error < -NEAR]
    cells = [
        str(len(pairs)),
        f"{sum(not size for size in sizes) / len(sizes):.1%}",
        f"{sum(size <= NEAR for size in sizes) / len(sizes):.1%}",
        f"{statistics.mean(sizes):.2%}",
        f"{statistics.median(sizes):.2%}",
        f"{sizes[int(0.95 * (len(sizes) - 1))]:.2%}",
        f"{max(errors, key=abs):+.1%}",
        str(len(low)),
        str(sum(not config.partial for config in low)),
        str(sum(config.partial for config, _ in pairs)),
    ]
    return " | ".join(cells)


def worst(everything: list[Config], most: int) -> Iterator[str]:
    """The configurations that are furthest off at their peak."""
    for config in sorted(everything, key=lambda config: -_miss(config))[:most]:
        if _miss(config):
            told = {name: f"{error:+.2%}" for name, error in (config.errors or {}).items()}
            session = f"run {config.run} {config.level} pattern {_word(config.pattern)}"
            yield f"{config.model} {session}: {told} {config.told}"


def _word(pattern: bool) -> str:
    return "on" if pattern else "off"


def _miss(config: Config) -> float:
    return 1.0 if config.errors is None else abs(config.errors["peak_bytes"])


if __name__ == "__main__":
    main()
