"""The full report, and the cost alone, against the floor: `onnx.load` without external data plus C++ `infer_shapes`
with data propagation, side by side in one warm process.

    python bench/floor.py [MODEL or FOLDER ...]

Without arguments: the models that the project ships. Prints milliseconds of processor time (medians of interleaved
runs), their ratios to the floor, and the medians of the ratios; models that cannot be analysed as they are, are named.
Asserts nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx

from analyzer import AnalyzerError, Options, analyze
from analyzer.load import load

SHIPPED = Path(__file__).parent.parent / "models"
COST = Options(passes=("cost",))
RUNS = 7


def floor(path: Path) -> None:
    """What any tool that wants shapes must pay."""
    onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False), data_prop=True)


def report(path: Path) -> None:
    """Ours: every pass of the contract."""
    analyze(path)


def cost(path: Path) -> None:
    """Ours: operations, parameters and depth."""
    analyze(path, COST)


def milliseconds(function: Callable[[Path], None], path: Path) -> float:
    started = time.process_time()
    function(path)
    return (time.process_time() - started) * 1e3


def compare(path: Path, *functions: Callable[[Path], None]) -> list[float]:
    """The median time of each function over interleaved runs, after one warm-up."""
    for function in functions:
        function(path)
    rounds = [[milliseconds(function, path) for function in functions] for _ in range(RUNS)]
    return [statistics.median(times) for times in zip(*rounds, strict=True)]


def models(arguments: list[str]) -> Iterator[Path]:
    for place in map(Path, arguments or [str(SHIPPED)]):
        yield from sorted(place.glob("*.onnx")) if place.is_dir() else [place]


def main() -> None:
    head = ("nodes", "floor ms", "report ms", "ratio", "cost ms", "ratio")
    print(f"{'model':<44}{head[0]:>6}{''.join(f'{word:>11}' for word in head[1:])}")
    ratios = []
    for path in models(sys.argv[1:]):
        try:
            below, whole, part = compare(path, floor, report, cost)
        except AnalyzerError as error:
            print(f"{path.stem}: {error.reason}: {error}")
            continue
        ratios.append((whole / below, part / below))
        figures = (below, whole, whole / below, part, part / below)
        print(
            f"{path.stem:<44}{len(load(path).graph.nodes):>6}{''.join(f'{x:>11.2f}' for x in figures)}",
            flush=True,
        )
    if ratios:
        whole, part = (statistics.median(column) for column in zip(*ratios, strict=True))
        print(f"{'median of ' + str(len(ratios)):<50}{whole:>33.2f}{part:>22.2f}")


if __name__ == "__main__":
    main()
