"""The full report against the floor: `onnx.load` plus C++ `infer_shapes`, side by side in one warm process.

    python bench/floor.py [MODEL ...]

Without arguments: GoogLeNet and ResNet-50, as the onnx wheel ships them and as this project does. Prints milliseconds
(median of interleaved runs) and the ratio; asserts nothing.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import onnx

from analyzer import analyze

LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"
SHIPPED = Path(__file__).parent.parent / "models"
DEFAULT = (
    LIGHT / "light_inception_v1.onnx", LIGHT / "light_resnet50.onnx", SHIPPED / "googlenet.onnx", SHIPPED /
    "resnet50.onnx",
)  # fmt: skip


def floor(path: Path) -> None:
    """What any tool that wants shapes must pay."""
    onnx.shape_inference.infer_shapes(onnx.load(path, load_external_data=False))


def report(path: Path) -> None:
    """Ours: every pass of the contract."""
    analyze(path)


def milliseconds(function: Callable[[Path], None], path: Path) -> float:
    started = time.perf_counter()
    function(path)
    return (time.perf_counter() - started) * 1e3


def compare(path: Path, runs: int = 25) -> tuple[float, float]:
    """Medians of floor and report over interleaved runs, after one warm-up of each."""
    floor(path)
    report(path)
    pairs = [(milliseconds(floor, path), milliseconds(report, path)) for _ in range(runs)]
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def main() -> None:
    paths = [Path(argument) for argument in sys.argv[1:]] or list(DEFAULT)
    print(f"{'model':<36}{'floor ms':>10}{'report ms':>11}{'ratio':>8}")
    for path in paths:
        below, ours = compare(path)
        print(f"{path.stem:<36}{below:>10.2f}{ours:>11.2f}{ours / below:>8.2f}")


if __name__ == "__main__":
    main()
