"""Write the table of docs/plan.md: what of the lecture's networks fits on the lecture's devices.

python models/fits.py            # rewrite the table in the page
"""

from __future__ import annotations

from pathlib import Path

from analyzer.devices import find
from analyzer.options import Options
from analyzer.plan import plan

NETWORKS = {"AlexNet": "alexnet", "VGG-16": "vgg16", "GoogLeNet": "googlenet", "ResNet-50": "resnet50"}
DEVICES = ("GeForce GTX Titan X", "GeForce GTX 980", "Tesla K40", "Tesla K20")
TARGET = 256
PAGE = Path(__file__).parent.parent / "docs" / "plan.md"
BEGIN, END = "<!-- python models/fits.py writes from here -->\n", "<!-- to here -->\n"


def table() -> str:
    """A row for each network, a column for each device: the largest batch, and the steps to TARGET."""
    found = {name: find(name) for name in DEVICES}
    heads = [f"{name.split(maxsplit=1)[1]}, {found[name].memory_bytes >> 30} GiB" for name in DEVICES]
    lines = ["| network | " + " | ".join(heads) + " |", "| :-- |" + " --: |" * len(DEVICES)]
    for network, stem in NETWORKS.items():
        cells = []
        for name in DEVICES:
            path = Path(__file__).parent / f"{stem}.onnx"
            answer = plan(path, found[name], Options(optimizer="momentum"), target_batch=TARGET)
            steps = "-" if answer.schedule is None else answer.schedule.accumulation_steps
            cells.append(f"{answer.training.largest_batch} / {steps}")
        lines.append(f"| {network} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """The page with today's table in it."""
    before, _, rest = text.partition(BEGIN)
    return before + BEGIN + "\n" + table() + "\n" + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    print(f"wrote the table of {PAGE.name}")
