"""From an .onnx file to a Model: the only room that knows ONNX's protobuf.

    path or bytes ─▶ read (wire: weights left behind) ─▶ protobuf ─▶ convert ─▶ order (checks) ─▶ Model

Weights come in as sizes: their numbers are dropped here, and external data files are never opened.
"""

from __future__ import annotations

import os
from pathlib import Path

from analyzer.graph import Model
from analyzer.load.convert import model_of
from analyzer.load.declarations import Declared, declared_of, expose
from analyzer.load.read import read
from analyzer.load.strip import LOCATION, absent, stripped
from analyzer.load.wire import structure_of_chunks

__all__ = [
    "LOCATION",
    "Declared",
    "absent_bytes",
    "declared",
    "exposed",
    "load",
    "strip",
    "structure_of_chunks",
]


def load(
    model: str | os.PathLike[str] | bytes, name: str | None = None, file_bytes: int | None = None
) -> Model:
    """Read a model from a path or from its bytes.

    `name` replaces the file's stem in the report, `file_bytes` the size, for bytes that are a model's structure alone.
    Raises BadInput where there is no readable file, BadModel where the bytes are not a whole, well-formed model.
    """
    proto, size = read(model)
    if name is None:
        name = "model" if isinstance(model, bytes) else Path(model).stem
    return model_of(proto, name, size if file_bytes is None else file_bytes)


def strip(model: str | os.PathLike[str] | bytes) -> bytes:
    """The model without its weights: a legal .onnx file that refers to external data which is not there.

    Its analysis is the model's, but for the size of the file. Raises what `load` raises for bytes that are no model.
    """
    return stripped(read(model)[0])


def absent_bytes(model: bytes) -> int:
    """Size of the file LOCATION that a stripped copy refers to."""
    return absent(read(model)[0])


def declared(model: bytes) -> Declared:
    """What a model says of the shapes of its tensors, results of nodes among them, and of what a caller may replace."""
    return declared_of(read(model)[0])


def exposed(model: bytes) -> bytes:
    """A stripped copy with every result of the main graph's nodes among its outputs."""
    proto = read(model)[0]
    expose(proto)
    return proto.SerializeToString(deterministic=True)
