"""What a caller sends, checked as it comes: first a start, then bytes, neither more nor fewer than announced."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from google.protobuf.unknown_fields import UnknownFieldSet

from analyzer.errors import BadInput, BadModel, BadOption, TooLarge
from analyzer.load import structure_of_chunks
from analyzer.load.read import DIRECT_BYTES
from analyzer.options import Options
from analyzer.wire import from_message
from analyzer.wire.v1.analyzer_pb2 import PlanStart, Start


def start(requests: Iterator[Any], max_bytes: int) -> Any:
    """The first message, of whichever call. Raises BadInput where it is none, TooLarge where it announces too much."""
    first = next(requests, None)
    if first is None or not first.HasField("start"):
        raise BadInput("START_MISSING", "the first message must be `start`, with the options")
    if first.start.total_bytes > max_bytes:
        raise _too_large(max_bytes, first.start.total_bytes)
    return first.start


def options(start: Start | PlanStart) -> Options:
    """The options. Raises BadOption: one that we do not know must not be left out in silence."""
    unknown = UnknownFieldSet(start.options)
    if len(unknown):
        number = unknown[0].field_number
        line = f"option number {number} is unknown here: the server is older than its caller"
        raise BadOption("UNKNOWN_OPTION", line, option=number)
    try:
        return from_message(start.options, Options)
    except msgspec.ValidationError as error:
        place = re.search(r"\$\.(\w+)", str(error))
        raise BadOption("OPTION_INVALID", f"options: {error}", option=place and place[1]) from None


class Chunks:
    """The model's bytes as they come, to be read once; `received_bytes` tells how many have.

    Raises BadInput where something else comes, or another number of bytes than announced.
    """

    def __init__(self, requests: Iterator[Any], start: Start | PlanStart, max_bytes: int) -> None:
        self.received_bytes = 0
        self._requests, self._start, self._max_bytes = requests, start, max_bytes

    def __iter__(self) -> Iterator[bytes]:
        for request in self._requests:
            if not request.HasField("chunk"):
                raise BadInput("START_TWICE", "after the first message only `chunk`s may come")
            self.received_bytes += len(request.chunk)
            if self.received_bytes > self._max_bytes:
                raise _too_large(self._max_bytes)
            yield request.chunk
        received, announced = self.received_bytes, self._start.total_bytes
        if received == 0:
            raise BadModel("EMPTY_FILE", "no bytes came after the options: nothing to analyse")
        if self._start.HasField("total_bytes") and received != announced:
            line = f"the upload is not whole: {announced} bytes were announced and {received} came"
            raise BadInput("UPLOAD_INCOMPLETE", line, total_bytes=announced, received_bytes=received)


def model(chunks: Iterable[bytes], max_structure_bytes: int) -> bytes:
    """What a worker needs of an upload: a small one as it is, of any other the structure. Reads to the end.

    Raises what reading the structure raises, TooLarge("STRUCTURE_TOO_LARGE") among it.
    """
    coming = iter(chunks)
    held = bytearray()
    for chunk in coming:
        held += chunk
        if len(held) > min(DIRECT_BYTES, max_structure_bytes):
            return structure_of_chunks(_after(held, coming), max_structure_bytes)
    return bytes(held)


def _after(held: bytearray, coming: Iterator[bytes]) -> Iterator[bytes]:
    """What was held back, then let go, and what comes."""
    yield bytes(held)
    held.clear()
    yield from coming


def _too_large(max_bytes: int, total_bytes: int | None = None) -> TooLarge:
    line = f"the model is larger than the {max_bytes} bytes that this server takes"
    return TooLarge("UPLOAD_TOO_LARGE", line, max_upload_bytes=max_bytes, total_bytes=total_bytes)
