"""A path or bytes in, ModelProto out; and, where the bytes are no model, one line that says why."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import BinaryIO

import onnx
from google.protobuf.message import DecodeError

from analyzer.errors import BadInput, BadModel
from analyzer.load.wire import fault_in, structure_of

DIRECT_BYTES = 4 << 20
"""Models up to this size are parsed as they are; of larger ones the structure alone."""


def read(model: str | os.PathLike[str] | bytes) -> tuple[onnx.ModelProto, int]:
    """The message, large tensors' data left out where the model is large, and the model's size in bytes."""
    if isinstance(model, bytes):
        return parse(io.BytesIO(model), len(model)), len(model)
    path = os.fspath(model)
    try:
        with Path(path).open("rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            return parse(file, size), size
    except FileNotFoundError:
        raise BadInput("FILE_NOT_FOUND", f"no such file: {path}", path=path) from None
    except IsADirectoryError:
        raise BadInput(
            "IS_A_DIRECTORY", f"{path} is a directory, not an .onnx file (use `batch`)", path=path
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput("FILE_UNREADABLE", f"cannot read {path}: {error}", path=path) from None


def parse(file: BinaryIO, size: int) -> onnx.ModelProto:
    """The message, or a BadModel that tells an empty file, a text, a cut-off upload and other bytes apart."""
    if not size:
        raise BadModel("EMPTY_FILE", "the file is empty: nothing to analyse")
    data = b""
    try:
        data = file.read() if size <= DIRECT_BYTES else structure_of(file)
        proto = onnx.ModelProto.FromString(data)
        if not proto.HasField("graph") or not proto.HasField("ir_version"):
            missing = "a graph" if proto.HasField("ir_version") else "an ir_version"
            raise BadModel("NOT_ONNX", f"not an ONNX model: it parses as protobuf but has not {missing}")
    except (DecodeError, BadModel) as error:
        file.seek(0)
        if _is_text(file.read(512)):
            told = "not an ONNX model: this is a text file; export or convert the model to .onnx first"
            raise BadModel("NOT_ONNX", told) from None
        if isinstance(error, BadModel):
            raise
        if "Depth" in str(error):
            raise BadModel("NESTED_TOO_DEEPLY", "bodies are nested more deeply than protobuf reads") from None
        raise fault_in(data) from None
    return proto


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in head) > 0.95 * len(
        head
    )
