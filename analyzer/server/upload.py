"""What a caller sends, checked as it comes: first a start, then bytes, neither more nor fewer than announced."""

from __future__ import annotations

import errno
import re
from collections.abc import Iterator
from typing import IO

import msgspec
from google.protobuf.unknown_fields import UnknownFieldSet

from analyzer.errors import BadInput, BadModel, BadOption, TooLarge
from analyzer.options import Options
from analyzer.wire import from_message
from analyzer.wire.v1.analyzer_pb2 import AnalyzeModelRequest, Start


def start(requests: Iterator[AnalyzeModelRequest], max_bytes: int) -> Start:
    """The first message. Raises BadInput where it is none, TooLarge where it announces too much."""
    first = next(requests, None)
    if first is None or not first.HasField("start"):
        raise BadInput("START_MISSING", "the first message must be `start`, with the options")
    if first.start.total_bytes > max_bytes:
        raise _too_large(max_bytes, first.start.total_bytes)
    return first.start


def options(start: Start) -> Options:
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


def chunks(requests: Iterator[AnalyzeModelRequest], start: Start, max_bytes: int) -> Iterator[bytes]:
    """The model's bytes. Raises BadInput where something else comes, or another number of bytes than announced."""
    received = 0
    for request in requests:
        if not request.HasField("chunk"):
            raise BadInput("START_TWICE", "after the first message only `chunk`s may come")
        received += len(request.chunk)
        if received > max_bytes:
            raise _too_large(max_bytes)
        yield request.chunk
    if received == 0:
        raise BadModel("EMPTY_FILE", "no bytes came after the options: nothing to analyse")
    if start.HasField("total_bytes") and received != start.total_bytes:
        line = f"the upload is not whole: {start.total_bytes} bytes were announced and {received} came"
        raise BadInput("UPLOAD_INCOMPLETE", line, total_bytes=start.total_bytes, received_bytes=received)


def write(chunk: bytes, file: IO[bytes]) -> None:
    """Raises TooLarge where the disk has no room."""
    try:
        file.write(chunk)
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise TooLarge("UPLOAD_NO_SPACE", "the server has no room left for the upload") from None


def _too_large(max_bytes: int, total_bytes: int | None = None) -> TooLarge:
    line = f"the model is larger than the {max_bytes} bytes that this server takes"
    return TooLarge("UPLOAD_TOO_LARGE", line, max_upload_bytes=max_bytes, total_bytes=total_bytes)
