"""One call, from its options to its report."""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Future
from typing import IO

import grpc

from analyzer.errors import Unavailable
from analyzer.report import Report
from analyzer.server import upload
from analyzer.server.faults import told
from analyzer.wire import to_message
from analyzer.wire.v1.analyzer_pb2 import AnalyzeModelRequest, AnalyzeModelResponse, Progress, Start
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceServicer
from analyzer.workers import Workers

_PROGRESS_SECONDS = 0.25


class Service(AnalyzerServiceServicer):
    """The RPCs. An upload lies in `room`, in a file of its own that goes when its analysis ends, however it ends."""

    def __init__(self, gate: Gate, workers: Workers, room: str, max_upload_bytes: int) -> None:
        self._gate, self._workers, self._room, self._max_upload_bytes = gate, workers, room, max_upload_bytes

    @told
    def AnalyzeModel(
        self, requests: Iterator[AnalyzeModelRequest], context: grpc.ServicerContext
    ) -> Iterator[AnalyzeModelResponse]:
        with self._gate:
            start = upload.start(requests, self._max_upload_bytes)
            options = upload.options(start)
            with tempfile.NamedTemporaryFile(dir=self._room, suffix=".onnx") as file:
                received_bytes = yield from self._receive(requests, start, file)
                future = self._workers.submit(file.name, options, name=start.name or "model")
                report = yield from _awaited(future, received_bytes, context)
            yield AnalyzeModelResponse(report=to_message(report))

    def _receive(
        self, requests: Iterator[AnalyzeModelRequest], start: Start, file: IO[bytes]
    ) -> Generator[AnalyzeModelResponse, None, int]:
        """Write the upload to the file and return its bytes. Whatever drops the weights as they come belongs here."""
        received_bytes, due = 0, time.monotonic()
        for chunk in upload.chunks(requests, start, self._max_upload_bytes):
            upload.write(chunk, file)
            received_bytes += len(chunk)
            if time.monotonic() >= due:
                yield _progress("receiving", received_bytes)
                due = time.monotonic() + _PROGRESS_SECONDS
        file.flush()
        return received_bytes


class Gate:
    """Lets in `places` calls at once, and none once it is closed. A `with` block is a call."""

    def __init__(self, places: int) -> None:
        self._places, self._inside, self._closed = places, 0, False
        self._changed = threading.Condition()

    def __enter__(self) -> None:
        with self._changed:
            if self._closed:
                raise Unavailable("SHUTTING_DOWN", "the server is shutting down: try again later")
            if self._inside >= self._places:
                line = f"the server is at work on {self._places} models, its limit: try again later"
                raise Unavailable("BUSY", line, max_uploads=self._places)
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            self._changed.notify_all()

    def close(self, grace_seconds: float) -> None:
        """Let nobody in any more; returns when all have left, or after `grace_seconds`."""
        with self._changed:
            self._closed = True
            self._changed.wait_for(lambda: self._inside == 0, grace_seconds)


def _awaited(
    future: Future[Report], received_bytes: int, context: grpc.ServicerContext
) -> Generator[AnalyzeModelResponse, None, Report]:
    """The report from a worker, which is stopped when the caller goes."""

    def stop() -> None:
        future.cancel()

    if not context.add_callback(stop):  # gone already
        stop()
    yield _progress("analyzing", received_bytes)
    while True:
        try:
            return future.result(_PROGRESS_SECONDS)
        except TimeoutError:
            yield _progress("analyzing", received_bytes)
        except CancelledError:
            raise Unavailable("SHUTTING_DOWN", "the server is shutting down: try again later") from None


def _progress(stage: str, received_bytes: int) -> AnalyzeModelResponse:
    return AnalyzeModelResponse(progress=Progress(stage=stage, received_bytes=received_bytes))
