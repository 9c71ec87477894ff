"""Receptive fields held against runs in onnxruntime: `python bench/fields.py MODELS...`.

MODELS are .onnx files, folders of them, or the word `light` for the nine of the onnx wheel, of which every tensor of
four axes is looked at; of the others TENSORS drawn at random. Five positions of each axis: first, second, middle, last
but one, last. A model with NAME.json beside it is run at the shapes that this file tells. Disagreements are printed.
"""

from __future__ import annotations

import argparse
import collections
import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import onnx

from analyzer import AnalyzerError, Options
from analyzer.describe import describe
from analyzer.load import load
from analyzer.ops import extend
from analyzer.verify.fields import VERDICTS, Agreement, agreement, drawn
from analyzer.verify.measure import Limits

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
SHOWN = 4
"""Findings that are printed of one tensor."""


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("models", nargs="+")
    asked.add_argument("--match", default="", help="only models with this in their name")
    asked.add_argument("--tensors", type=int, default=10)
    asked.add_argument("--seed", type=int, default=0)
    asked.add_argument("--seconds", type=float, default=600, help="for each model")
    asked.add_argument("--jobs", type=int, default=1)
    asked.add_argument(
        "--json", type=Path, help="a line for each model, added to this file; models in it are not run again"
    )
    arguments = asked.parse_args()
    extend()
    done = _done(arguments.json)
    paths = [
        path for path in found(arguments.models) if arguments.match in path.stem and path.stem not in done
    ]
    totals: collections.Counter[str] = collections.Counter()
    limits = Limits(seconds=arguments.seconds)
    with ThreadPoolExecutor(arguments.jobs) as pool:
        jobs = pool.map(lambda path: (path, *timed(path, arguments.tensors, arguments.seed, limits)), paths)
        for path, result, seconds in jobs:
            totals.update(counted(result))
            print(f"{path.stem}: {told(result)}, {seconds:.0f} s", flush=True)
            for line in differing(result):
                print(f"    {line}", flush=True)
            if arguments.json:
                with arguments.json.open("a") as lines:
                    lines.write(
                        json.dumps({"model": path.stem, **counted(result), "reason": result.reason}) + "\n"
                    )
    print(dict(totals))


def found(models: list[str]) -> list[Path]:
    """The files that the arguments stand for."""
    paths = []
    for name in models:
        if name == "light":
            paths += sorted(LIGHT.glob("light_*.onnx"))
        elif Path(name).is_dir():
            paths += sorted(Path(name).glob("*.onnx"))
        else:
            paths.append(Path(name))
    return paths


def timed(path: Path, count: int, seed: int, limits: Limits) -> tuple[Agreement, float]:
    """One model and how long it took."""
    begun = time.perf_counter()
    try:
        options = Options(shapes=shapes(path))
        whole = four_axes(path, options) if path.stem.startswith("light_") else None
        result = agreement(path, count, options, tensors=whole, seed=seed, limits=limits)
    except AnalyzerError as error:
        result = Agreement((), reason=f"{error.reason}: {error.message}")
    return result, time.perf_counter() - begun


def shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """The shapes of the first run that a file beside the model tells of."""
    beside = path.with_suffix(".json")
    runs = json.loads(beside.read_text()).get("runs") if beside.exists() else None
    return {name: tuple(shape) for name, (_, shape) in runs[0]["inputs"].items()} if runs else {}


def four_axes(path: Path, options: Options) -> list[str]:
    scene = describe(load(path), options)
    return [name for name in drawn(scene, None) if (size := scene.size(name)) is not None and size.rank == 4]


def counted(result: Agreement) -> dict[str, int]:
    """Verdicts of positions, and of tensors; conservative ones by what is to be trusted of them."""
    counts: dict[str, int] = {verdict: result.count(verdict) for verdict in VERDICTS}
    for finding in result.findings:
        if finding.verdict == "conservative":
            counts[f"conservative ({finding.trust})"] = counts.get(f"conservative ({finding.trust})", 0) + 1
    for verdict in result.tensors.values():
        counts[f"tensors that {verdict}"] = counts.get(f"tensors that {verdict}", 0) + 1
    return {**counts, "models": 1, "models not run": int(result.reason is not None), "runs": result.runs}


def told(result: Agreement) -> str:
    if result.reason is not None:
        return f"not run: {result.reason}"
    reasons = collections.Counter(finding.reason for finding in result.findings if finding.reason)
    return f"{counted(result)} {dict(reasons) or ''}".rstrip()


def differing(result: Agreement) -> list[str]:
    """The disagreements, a few of each tensor."""
    lines = []
    for name, verdict in result.tensors.items():
        if verdict == "disagree":
            several = [one for one in result.findings if one.query.tensor == name and one.verdict == verdict]
            lines += [
                f"{one.verdict} {one.trust} {name!r} axis {one.query.axis} at {one.query.position}: {one.input} axis "
                f"{one.axis}: analysed {one.analytic}, measured {one.measured}"
                for one in several[:SHOWN]
            ]
            lines.append(f"... {len(several)} of {name!r} in all")
    return lines


def _done(path: Path | None) -> set[str]:
    if path is None or not path.exists():
        return set()
    return {json.loads(line)["model"] for line in path.read_text().splitlines()}


if __name__ == "__main__":
    main()
