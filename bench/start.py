"""How long the command line takes to start: `onnx-analyzer analyze` of a small model against `import onnx, networkx`.

    python bench/start.py [MODEL]

Prints seconds of processor time, children counted (medians of interleaved runs), and their ratio; asserts nothing.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
from pathlib import Path

SMALL = Path(__file__).parent.parent / "models" / "lenet5.onnx"
RUNS = 9


def seconds(command: list[str]) -> float:
    """Processor time of one run of a command."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else str(SMALL)
    bare = [sys.executable, "-c", "import onnx, networkx"]
    ours = [sys.executable, "-c", "from analyzer.cli import main; raise SystemExit(main())", "analyze", model]
    for command in (bare, ours):
        seconds(command)  # compiles what is imported
    pairs = [(seconds(bare), seconds(ours)) for _ in range(RUNS)]
    below, taken = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(f"{'import onnx, networkx':<40}{below:>8.3f} s")
    print(f"{'onnx-analyzer analyze ' + Path(model).name:<40}{taken:>8.3f} s{taken / below:>8.2f} times")


if __name__ == "__main__":
    main()
