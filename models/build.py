"""Draws the model zoo: `python models/build.py` rewrites every .onnx file in this folder, byte for byte the same.

Exit status: 0 done; 1 when `--check` finds a file that is not what the script would write.
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from onnx import ModelProto

sys.path.insert(
    0, str(Path(__file__).resolve().parents[1])
)  # a script finds its own folder, not the project's
from models import convnets, transformer

# A net's function gives its file the name: adding one here and a table to manifest.toml adds a model.
NETS: tuple[Callable[[], ModelProto], ...] = (
    convnets.lenet5,
    convnets.alexnet,
    convnets.vgg16,
    convnets.vgg19,
    convnets.vgg16_lecture,
    convnets.googlenet,
    convnets.resnet18,
    convnets.resnet50,
    convnets.resnet152,
    convnets.unet,
    transformer.tiny_transformer,
    convnets.mobilenet_v2,
)


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the .onnx files of the model zoo.")
    parser.add_argument(
        "-o", "--output", type=Path, default=Path(__file__).parent, help="folder of the files"
    )
    parser.add_argument("--check", action="store_true", help="write nothing; name each stale file and exit 1")
    arguments = parser.parse_args()
    files = {f"{net.__name__}.onnx": net().SerializeToString(deterministic=True) for net in NETS}
    if arguments.check:
        complaints = list(stale(arguments.output, files))
        print(*complaints, sep="\n", end="\n" if complaints else "")
        return 1 if complaints else 0
    arguments.output.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (arguments.output / name).write_bytes(data)
    return 0


def stale(folder: Path, files: dict[str, bytes]) -> Iterator[str]:
    """A line for each file that is missing, differs, or comes from no net."""
    for name, data in files.items():
        path = folder / name
        if not path.exists():
            yield f"{name}: missing; run python models/build.py"
        elif path.read_bytes() != data:
            yield f"{name}: differs from what is built; run python models/build.py"
    for path in sorted(folder.glob("*.onnx")):
        if path.name not in files:
            yield f"{path.name}: no net in models/build.py makes it; remove it or add its net"


if __name__ == "__main__":
    sys.exit(main())
