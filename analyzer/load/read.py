"""Bytes in, ModelProto out; and, where the bytes are no model, one line that says why."""

from __future__ import annotations

import os

import onnx
from google.protobuf.message import DecodeError

from analyzer.errors import BadInput, BadModel

_GRAPH, _IR_VERSION = 7, 1
_LENGTH_DELIMITED = 2


def bytes_of(model: str | os.PathLike[str] | bytes) -> bytes:
    """The bytes of a model given as such or by path."""
    if isinstance(model, bytes):
        return model
    path = os.fspath(model)
    try:
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise BadInput("FILE_NOT_FOUND", f"no such file: {path}", path=path) from None
    except IsADirectoryError:
        raise BadInput("IS_A_DIRECTORY", f"{path} is a directory, not an .onnx file (use `batch`)", path=path) from None
    except (OSError, ValueError) as error:
        raise BadInput("FILE_UNREADABLE", f"cannot read {path}: {error}", path=path) from None


def parse(data: bytes) -> onnx.ModelProto:
    """The message, or a BadModel that tells an empty file, a text, a cut-off upload and other bytes apart."""
    if not data:
        raise BadModel("EMPTY_FILE", "the file is empty: nothing to analyse")
    try:
        proto = onnx.ModelProto.FromString(data)
    except DecodeError:
        raise _not_a_model(data) from None
    if not proto.HasField("graph") or not proto.HasField("ir_version"):
        missing = "a graph" if proto.HasField("ir_version") else "an ir_version"
        raise BadModel("NOT_ONNX", f"not an ONNX model: it parses as protobuf but has not {missing}")
    return proto


def _not_a_model(data: bytes) -> BadModel:
    """Why protobuf refused the bytes, as far as their beginning and top-level fields tell."""
    head = data[:512]
    if b"\x00" not in head and sum(32 <= byte < 127 or byte in b"\t\n\r" for byte in head) > 0.95 * len(head):
        return BadModel("NOT_ONNX", "not an ONNX model: this is a text file; export or convert the model to .onnx first")
    offset, field = _overrun(data)
    if field is not None:
        return BadModel(
            "TRUNCATED", f"the file ends at byte {len(data)} inside field {field}, begun at byte {offset}: cut off?",
            offset=offset, field=field,
        )  # fmt: skip
    return BadModel("NOT_ONNX", f"not an ONNX model: no valid protobuf from byte {offset} on", offset=offset)


def _overrun(data: bytes) -> tuple[int, int | None]:
    """Walk the top-level fields: where the walk stops, and the field whose length passes the end, if that is why."""
    position = 0
    while position < len(data):
        start = position
        tag, position = _varint(data, position)
        if tag is None:
            return start, None
        field, wire = tag >> 3, tag & 7
        if field == 0 or wire not in (0, 1, 2, 5):
            return start, None
        if wire == _LENGTH_DELIMITED:
            length, position = _varint(data, position)
            if length is None:
                return start, None
            position += length
            plausible = field <= 30 and start > 0
            if position > len(data):
                return start, field if plausible else None
        elif wire == 0:
            _, position = _varint(data, position)
        else:
            position += 8 if wire == 1 else 4
    return position, None


def _varint(data: bytes, position: int) -> tuple[int | None, int]:
    """A varint and the position after it; None where it does not end within ten bytes or within the data."""
    value = 0
    for index in range(10):
        if position + index >= len(data):
            return None, position
        byte = data[position + index]
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    return None, position
