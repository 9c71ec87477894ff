"""One call, from its options to its report."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Executor, Future, wait
from typing import TypeVar

import grpc

from analyzer.errors import Unavailable
from analyzer.report import Report
from analyzer.server import upload
from analyzer.server.faults import told
from analyzer.wire import to_message
from analyzer.wire.v1.analyzer_pb2 import AnalyzeModelRequest, AnalyzeModelResponse, Progress
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceServicer
from analyzer.workers import Workers

_PROGRESS_SECONDS = 0.25

T = TypeVar("T")


class Service(AnalyzerServiceServicer):
    """The RPCs. An upload is read in a thread of `readers`, which keeps its structure, while its call tells how far."""

    def __init__(
        self, gate: Gate, readers: Executor, workers: Workers, max_upload_bytes: int, max_structure_bytes: int
    ) -> None:
        self._gate, self._readers, self._workers = gate, readers, workers
        self._max_upload_bytes, self._max_structure_bytes = max_upload_bytes, max_structure_bytes

    @told
    def AnalyzeModel(
        self, requests: Iterator[AnalyzeModelRequest], context: grpc.ServicerContext
    ) -> Iterator[AnalyzeModelResponse]:
        with self._gate:
            start = upload.start(requests, self._max_upload_bytes)
            options = upload.options(start)
            chunks = upload.Chunks(requests, start, self._max_upload_bytes)
            reading = self._readers.submit(upload.model, chunks, self._max_structure_bytes)
            model = yield from _awaited(reading, "receiving", chunks)
            size = start.file_bytes if start.HasField("file_bytes") else chunks.received_bytes
            analysis = self._workers.submit(model, options, name=start.name or "model", file_bytes=size)
            _stop_with(context, analysis)
            report = yield from _awaited(analysis, "analyzing", chunks)
            yield AnalyzeModelResponse(report=to_message(report))


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
    future: Future[T], stage: str, chunks: upload.Chunks
) -> Generator[AnalyzeModelResponse, None, T]:
    """What another thread or process is at work on, with progress until it is there."""
    while not future.done():
        yield AnalyzeModelResponse(progress=Progress(stage=stage, received_bytes=chunks.received_bytes))
        wait([future], _PROGRESS_SECONDS)
    try:
        return future.result()
    except CancelledError:
        raise Unavailable("SHUTTING_DOWN", "the server is shutting down: try again later") from None


def _stop_with(context: grpc.ServicerContext, analysis: Future[Report]) -> None:
    """End the analysis when the caller goes."""

    def stop() -> None:
        analysis.cancel()

    if not context.add_callback(stop):  # gone already
        stop()
