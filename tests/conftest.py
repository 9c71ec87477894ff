"""What every test may use: models in ONNX text, and where the models lie that others made."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import onnx
import onnx.parser
import pytest

ROOT = Path(__file__).parents[1]
MODELS = ROOT / "models"
LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
ZOO = ROOT.parent / "shared" / "zoo"

HEADER = '<ir_version: 10, opset_import: ["" : {opset}]>'


def text_model(text: str, opset: int = 21) -> bytes:
    """The bytes of a model in ONNX text; a header is put before a text that has none.

    A stored tensor without its numbers is written `float[64, 3] w = ["location": "weights.bin"]`.
    """
    if not text.lstrip().startswith("<"):
        text = HEADER.format(opset=opset) + text
    return onnx.parser.parse_model(text).SerializeToString()


@pytest.fixture(name="text_model")
def text_model_fixture() -> Callable[..., bytes]:
    """`text_model`, for tests that do not import it."""
    return text_model


def shipped(name: str) -> Path:
    """A model that the project ships."""
    return MODELS / f"{name}.onnx"


def light(name: str) -> Path:
    """One of the nine models of the onnx wheel; their weights are computed inside the graph."""
    return LIGHT / f"light_{name}.onnx"


def in_zoo(name: str) -> Path:
    """A real export from the folder beside the repository; the test is skipped where that is not there."""
    path = ZOO / f"{name}.onnx"
    if not path.exists():
        pytest.skip(f"no {path.name} in {ZOO}")
    return path


SHIPPED_MODELS = sorted(path.stem for path in MODELS.glob("*.onnx"))
LIGHT_MODELS = sorted(path.stem.removeprefix("light_") for path in LIGHT.glob("light_*.onnx"))
