"""How long a whole zoo takes, model by model, in one warm process.

    python bench/zoo.py [FOLDER]

Analyses every .onnx file of a folder (by default the shipped models), three times each, and prints the median time of
all, their sum, and the five slowest. Models that cannot be analysed are named.
"""

from __future__ import annotations

import statistics
import sys
import time
from pathlib import Path

from analyzer import AnalyzerError, analyze

SHIPPED = Path(__file__).parent.parent / "models"


def seconds(path: Path, runs: int = 3) -> float:
    """The median time of a full report."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        analyze(path)
        times.append(time.perf_counter() - started)
    return statistics.median(times)


def main() -> None:
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else SHIPPED
    paths = sorted(folder.glob("*.onnx"))
    taken: dict[str, float] = {}
    for path in paths:
        try:
            taken[path.stem] = seconds(path)
        except AnalyzerError as error:
            print(f"{path.stem}: {error.reason}: {error}")
    print(
        f"{len(taken)} of {len(paths)} models, {sum(taken.values()):.2f} s in all, "
        f"median {1e3 * statistics.median(taken.values()):.1f} ms; the slowest:"
    )
    for name, time_taken in sorted(taken.items(), key=lambda entry: -entry[1])[:5]:
        print(f"{1e3 * time_taken:>10.1f} ms  {name}")


if __name__ == "__main__":
    main()
