"""Bytes in, ModelProto out; and, where the bytes are no model, one line that says why."""

from __future__ import annotations

import os
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

from analyzer.errors import BadInput, BadModel

_VARINT, _LENGTH_DELIMITED = 0, 2
_LAST_FIELD = 30
"""No field of a ModelProto has a number above this; a higher one is no model's."""


def bytes_of(model: str | os.PathLike[str] | bytes) -> bytes:
    """The bytes of a model given as such or by path."""
    if isinstance(model, bytes):
        return model
    path = os.fspath(model)
    try:
        return Path(path).read_bytes()
    except FileNotFoundError:
        raise BadInput("FILE_NOT_FOUND", f"no such file: {path}", path=path) from None
    except IsADirectoryError:
        raise BadInput(
            "IS_A_DIRECTORY", f"{path} is a directory, not an .onnx file (use `batch`)", path=path
        ) from None
    except (OSError, ValueError) as error:
        raise BadInput("FILE_UNREADABLE", f"cannot read {path}: {error}", path=path) from None


def parse(data: bytes) -> onnx.ModelProto:
    """The message, or a BadModel that tells an empty file, a text, a cut-off upload and other bytes apart."""
    if not data:
        raise BadModel("EMPTY_FILE", "the file is empty: nothing to analyse")
    try:
        proto = onnx.ModelProto.FromString(data)
    except DecodeError as error:
        if "Depth" in str(error):
            raise BadModel("NESTED_TOO_DEEPLY", "bodies are nested more deeply than protobuf reads") from None
        raise _not_a_model(data) from None
    if not proto.HasField("graph") or not proto.HasField("ir_version"):
        missing = "a graph" if proto.HasField("ir_version") else "an ir_version"
        raise BadModel("NOT_ONNX", f"not an ONNX model: it parses as protobuf but has not {missing}")
    return proto


def _not_a_model(data: bytes) -> BadModel:
    """Why protobuf refused the bytes, as far as their beginning and top-level fields tell."""
    head = data[:512]
    if b"\x00" not in head and sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in head) > 0.95 * len(head):
        return BadModel(
            "NOT_ONNX", "not an ONNX model: this is a text file; export or convert the model to .onnx first"
        )
    offset, cut = _overrun(data)
    if cut and offset:
        return BadModel(
            "TRUNCATED",
            f"the file ends at byte {len(data)} inside the field begun at byte {offset}: cut off?",
            offset=offset,
        )
    return BadModel("NOT_ONNX", f"not an ONNX model: no valid protobuf from byte {offset} on", offset=offset)


def _overrun(data: bytes) -> tuple[int, bool]:
    """Walk the top-level fields: where the walk stops, and whether the data ends inside a field of ours."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        if tag is None:
            return start, position > len(data)
        field, wire = tag >> 3, tag & 7
        if not 1 <= field <= _LAST_FIELD or wire not in (0, 1, 2, 5):
            return start, False
        if wire in (_VARINT, _LENGTH_DELIMITED):
            number, position = _varint(data, position)
            if number is None:
                return start, position > len(data)
            position += number if wire == _LENGTH_DELIMITED else 0
        else:
            position += 8 if wire == 1 else 4
        if position > len(data):
            return start, True
    return position, False


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    """A varint and the position after it; None where it has more than ten bytes, or (then past the end) is cut off."""
    value = 0
    for index in range(10):
        if position + index >= len(data):
            return None, len(data) + 1
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return None, position
