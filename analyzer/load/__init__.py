"""From an .onnx file to a Model: the only room that knows ONNX's protobuf.

    path or bytes ─▶ read (wire: weights left behind) ─▶ protobuf ─▶ convert ─▶ order (checks) ─▶ Model

Weights come in as sizes: their numbers are dropped here, and external data files are never opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from analyzer.graph import Model
from analyzer.load.convert import model_of
from analyzer.load.read import read

__all__ = ["load"]


def load(model: str | os.PathLike[str] | bytes, name: str | None = None) -> Model:
    """Read a model from a path or from its bytes; `name` replaces the file's stem in the report.

    Raises BadInput where there is no readable file, BadModel where the bytes are not a whole, well-formed model.
    """
    proto, size = read(model)
    if name is None:
        name = "model" if isinstance(model, bytes) else Path(model).stem
    return model_of(proto, name, size)
