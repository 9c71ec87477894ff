"""The structure of a model, read off the wire: protobuf's fields are walked, and the data of large tensors is skipped.

What comes out is a model again, in protobuf, a legal one: where numbers were left out, the tensor says that they lie
in an external file (which nobody ever opens). What goes in may be gigabytes, on disk, in memory or still on its way;
what is held is the structure alone. Of a file on disk the weights are not even read.

Fields that may hold a tensor, at any depth, are those that onnx's own descriptors name. A message of less
than `WHOLE_BYTES` is taken as it is, unknown fields pass through, and the order of fields stays, so that a
parser finds in the structure what it would find in the model. A fault is told with its byte offset.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any, BinaryIO

import onnx

from analyzer.errors import BadModel, TooLarge

WHOLE_BYTES = 64 << 10
"""Messages shorter than this are not looked into: no tensor in them is large."""

DEPTH_LIMIT = 100
"""Messages within messages: protobuf's own limit."""

LARGEST = (2 << 30) - 1
"""Bytes of the largest message that protobuf parses."""

_SHORT = 1 << 14
"""Numbers of at most two bytes are below this; a field that is shorter is never looked into."""

_LAST_FIELD = 30
"""No field of a ModelProto has a number above this; a higher one is no model's."""

_BLOCK = 64 << 10
_STRIDE = 1 << 10
"""Bytes read behind what was skipped: what comes next is often little."""

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5
FEW_BYTES = 20 << 10
"""Numbers of a tensor up to this size are kept: no small tensor's are more, however they are written."""

_NUMBERS: Mapping[int, tuple[int, int]] = {
    onnx.TensorProto.DESCRIPTOR.fields_by_name[name].number: (_LENGTH, wire)
    for name, wire in (
        ("raw_data", _LENGTH), ("float_data", _FIXED32), ("int32_data", _VARINT), ("int64_data", _VARINT),
        ("double_data", _FIXED64), ("uint64_data", _VARINT),
    )
}  # fmt: skip
"""The fields of a tensor that hold its numbers, and their wire types, packed and one by one; of another, nobody knows
the field.
"""
_ABSENT = onnx.TensorProto(
    data_location=onnx.TensorProto.EXTERNAL,
    external_data=[onnx.StringStringEntryProto(key="location", value="weights.bin")],
).SerializeToString()
"""The fields that a tensor without its numbers ends with."""


def structure_of(file: BinaryIO, whole_bytes: int = WHOLE_BYTES, limit: int = LARGEST) -> bytes:
    """The structure of the model that a binary file holds from here to its end; it is read once, forward.

    Raises BadModel with the byte offset: TRUNCATED, NESTED_TOO_DEEPLY, or NOT_ONNX where the bytes break the rules; and
    TooLarge("STRUCTURE_TOO_LARGE") as soon as more than `limit` bytes are to be kept.
    """
    return _Reader(file, whole_bytes, limit).model()


def structure_of_chunks(
    chunks: Iterable[bytes], limit: int = LARGEST, whole_bytes: int = WHOLE_BYTES
) -> bytes:
    """The same of a stream of chunks, cut anywhere."""
    file = io.BufferedReader(_Chunks(chunks), _BLOCK)  # type: ignore[type-var]  # the stubs ask for more
    return structure_of(file, whole_bytes, limit)


def fault_in(data: bytes) -> BadModel:
    """Why a parser refused these bytes, looked for at every depth."""
    reader = _Reader(io.BytesIO(data), 0)
    try:
        reader.model()
    except BadModel as fault:
        if fault.reason != "TRUNCATED" or (fault.facts["offset"] != "0" and reader.highest <= _LAST_FIELD):
            return fault
        offset = fault.facts["offset"]
        return BadModel(
            "NOT_ONNX", f"not an ONNX model: no valid protobuf from byte {offset} on", offset=offset
        )
    return BadModel("NOT_ONNX", "not an ONNX model: its fields are not those of one")


class _Chunks(io.RawIOBase):
    """Chunks as a file that can only be read forward."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self.chunks = iter(chunks)
        self.left = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]  # any writable buffer
        while not self.left:
            chunk = next(self.chunks, None)
            if chunk is None:
                return 0
            self.left = memoryview(chunk)
        count = min(len(buffer), len(self.left))
        buffer[:count] = self.left[:count]
        self.left = self.left[count:]
        return count


@cache
def _inside(message: str) -> Mapping[int, str]:
    """Fields of a message type that hold messages in which, at some depth, there may be a tensor."""
    descriptor = _DESCRIPTORS[message]
    children = {
        field.number: field.message_type.name for field in descriptor.fields if field.message_type is not None
    }
    return {number: child for number, child in children.items() if child in _holders()}


@cache
def _holders() -> frozenset[str]:
    """Message types that are, or may hold, a tensor."""
    holders = {"TensorProto"}
    while True:
        more = {
            name
            for name, descriptor in _DESCRIPTORS.items()
            if any(
                field.message_type is not None and field.message_type.name in holders
                for field in descriptor.fields
            )
        }
        if more <= holders:
            return frozenset(holders)
        holders |= more


@cache
def _plain(message: str) -> tuple[int | None, ...]:
    """By first byte of a field of a message type: its wire type, where it may be kept unread. The tag is that byte, and
    the field holds no numbers of a tensor.
    """
    return tuple(
        byte & 7
        if 8 <= byte < 0x80
        and byte & 7 in (_VARINT, _LENGTH)
        and not (message == "TensorProto" and byte >> 3 in _NUMBERS)
        else None
        for byte in range(0x100)
    )


_DESCRIPTORS: dict[str, Any] = dict(onnx.ModelProto.DESCRIPTOR.file.message_types_by_name)


class _Reader:
    """A position in a file, a block of which is in memory."""

    def __init__(self, file: BinaryIO, whole_bytes: int, limit: int = LARGEST) -> None:
        self.file, self.whole_bytes, self.limit = file, whole_bytes, limit
        self.block, self.at, self.before = b"", 0, 0  # the block, the place in it, and the bytes before it
        self.ahead = _BLOCK  # bytes of the next block
        self.size = _size(file)
        self.kept = 0  # bytes
        self.numbers: list[bytes] = []  # of the tensor that is being read
        self.numbers_bytes = 0
        self.highest = 0  # number of a field of the model itself

    @property
    def offset(self) -> int:
        return self.before + self.at

    def model(self) -> bytes:
        """The whole file as one message."""
        pieces: list[bytes] = []
        while self.more():
            self.field("ModelProto", None, pieces, 0)
        return b"".join(pieces)

    def message(self, kind: str, end: int, depth: int) -> list[bytes]:
        """The fields of one message up to `end`."""
        if depth > DEPTH_LIMIT:
            raise _fault(
                "NESTED_TOO_DEEPLY", self.offset, f"messages are nested more than {DEPTH_LIMIT} deep"
            )
        pieces: list[bytes] = []
        while self.before + self.at < end:
            self.more()
            self.run(kind, end, pieces)
            if self.before + self.at < end:
                self.field(kind, end, pieces, depth)
        if self.before + self.at != end:
            raise _fault("NOT_ONNX", end, f"a field passes the end of its {kind}")
        if kind == "TensorProto":
            self.keep(pieces, *(self.numbers if self.numbers_bytes <= FEW_BYTES else (_ABSENT,)))
            self.numbers.clear()
            self.numbers_bytes = 0
        return pieces

    def run(self, kind: str, end: int, pieces: list[bytes]) -> None:
        """Short fields in a row, kept in one piece as they are, up to the first that is not one."""
        if self.whole_bytes < _SHORT:
            return
        block, plain = self.block, _plain(kind)
        at = start = self.at
        stop = min(len(block), end - self.before)
        while at + 2 < stop:
            wire, value = plain[block[at]], block[at + 1]
            after = at + 2
            if value >= 0x80:
                value += (block[after] - 1) << 7
                after += 1
            if wire == _LENGTH:
                after += value
            if wire is None or value >= _SHORT or after > stop:
                break
            at = after
        if at > start:
            self.at = at
            self.keep(pieces, block[start:at])

    def field(self, kind: str, end: int | None, pieces: list[bytes], depth: int) -> None:
        """One field: kept, looked into, or, where it holds a large tensor's numbers, skipped."""
        start = self.before + self.at
        tag, tag_bytes = self.varint()
        number, wire = tag >> 3, tag & 7
        is_number = kind == "TensorProto" and number in _NUMBERS and wire in _NUMBERS[number]
        keep = self.keep_number if is_number else self.keep
        if end is None:
            self.highest = max(self.highest, number)
        if number == 0:
            raise _fault("NOT_ONNX", start, "a field has number 0")
        if wire == _LENGTH:
            length, length_bytes = self.varint()
            stop = self.before + self.at + length
            if end is not None and stop > end:
                raise _fault("NOT_ONNX", start, f"field {number} of {kind} is longer than what holds it")
            if is_number and length > FEW_BYTES:
                self.skip(length, start, number)
                self.numbers_bytes += length
            elif length >= self.whole_bytes and (child := _inside(kind).get(number)) is not None:
                within = self.message(child, stop, depth + 1)
                self.keep(pieces, tag_bytes, _varint(sum(map(len, within))))
                pieces += within
            else:
                keep(pieces, tag_bytes, length_bytes, self.take(length, start, number))
        elif wire == _VARINT:
            keep(pieces, tag_bytes, self.varint()[1])
        elif wire in (_FIXED32, _FIXED64):
            keep(pieces, tag_bytes, self.take(4 if wire == _FIXED32 else 8, start, number))
        else:
            raise _fault("NOT_ONNX", start, f"field {number} of {kind} has wire type {wire}")

    def keep(self, pieces: list[bytes], *data: bytes) -> None:
        """Add these to what is kept."""
        pieces += data
        self.kept += sum(map(len, data))
        if self.kept > self.limit:
            raise _too_large(self.limit)

    def keep_number(self, _: list[bytes], *data: bytes) -> None:
        """Set numbers of a tensor aside, as long as they are few."""
        self.numbers_bytes += sum(map(len, data))
        if self.numbers_bytes <= FEW_BYTES:
            self.numbers += data
        else:
            self.numbers.clear()

    def more(self) -> bool:
        """Whether a byte is left."""
        if self.at < len(self.block):
            return True
        self.before += len(self.block)
        self.block, self.at = self.file.read(self.ahead), 0
        self.ahead = min(2 * self.ahead, _BLOCK)
        return bool(self.block)

    def varint(self) -> tuple[int, bytes]:
        """A number of up to ten bytes, seven bits each, lowest first; and the bytes that it was written in."""
        block, at = self.block, self.at
        if at < len(block) and block[at] < 0x80:  # one byte, as of most
            self.at = at + 1
            return block[at], block[at : at + 1]
        value = shift = 0
        for byte in block[at : at + 10]:
            value |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                self.at = after = at + shift // 7
                return value & 0xFFFF_FFFF_FFFF_FFFF, block[at:after]
        if shift == 70:
            raise _fault("NOT_ONNX", self.offset, "a number is longer than ten bytes")
        return self.cut_varint()

    def cut_varint(self) -> tuple[int, bytes]:
        """The same, where the block ends inside of it."""
        start, begun = self.offset, self.block[self.at :]
        self.at = len(self.block)
        if not self.more():
            raise _fault("TRUNCATED", start, "the file ends inside a number: cut off?")
        self.block, self.before = begun + self.block, start
        return self.varint()

    def take(self, length: int, start: int, number: int) -> bytes:
        """The next `length` bytes."""
        stop = self.at + length
        if stop <= len(self.block):
            data = self.block[self.at : stop]
            self.at = stop
            return data
        data = self.block[self.at :]
        wanted = min(
            length, max(self.limit - self.kept + 1, len(data))
        )  # what is said to follow may not come
        rest = self.file.read(wanted - len(data))
        if len(data) + len(rest) == wanted < length:
            raise _too_large(self.limit)
        self.before += self.at + length
        self.block, self.at = b"", 0
        if len(data) + len(rest) < length:
            raise _cut(start, number, self.before - length + len(data) + len(rest))
        return data + rest

    def skip(self, length: int, start: int, number: int) -> None:
        """Past `length` bytes that nobody wants."""
        stop = self.at + length
        if stop <= len(self.block):
            self.at = stop
            return
        rest = stop - len(self.block)
        self.before += stop
        self.block, self.at, self.ahead = b"", 0, _STRIDE
        if self.size is not None:
            if self.before > self.size:
                raise _cut(start, number, self.size)
            self.file.seek(rest, io.SEEK_CUR)
            return
        while rest:
            read = len(self.file.read(min(rest, _BLOCK)))
            if not read:
                raise _cut(start, number, self.before - rest)
            rest -= read


def _size(file: BinaryIO) -> int | None:
    """Bytes from here to the end of a file, None where only reading tells; its place stays."""
    if not file.seekable():
        return None
    place = file.tell()
    end = file.seek(0, io.SEEK_END)
    file.seek(place)
    return end - place


def _varint(value: int) -> bytes:
    if value < 0x80:
        return bytes((value,))
    encoded = bytearray()
    while value >= 0x80:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


def _cut(start: int, number: int, size: int) -> BadModel:
    return _fault(
        "TRUNCATED", start, f"the file ends at byte {size} inside field {number}, begun there: cut off?"
    )


def _too_large(limit: int) -> TooLarge:
    line = f"the model without its weights is larger than {limit} bytes"
    return TooLarge("STRUCTURE_TOO_LARGE", line, max_structure_bytes=limit)


def _fault(reason: str, offset: int, message: str) -> BadModel:
    return BadModel(
        reason,
        f"not an ONNX model: at byte {offset} {message}"
        if reason == "NOT_ONNX"
        else f"at byte {offset} {message}",
        offset=offset,
    )
