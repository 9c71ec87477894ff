"""One call, from its options to its report."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from concurrent.futures import CancelledError, Executor, Future, wait
from typing import Any, TypeVar

import grpc

from analyzer.devices import devices
from analyzer.errors import Unavailable
from analyzer.server import upload
from analyzer.server.faults import told
from analyzer.wire import to_message
from analyzer.wire.v1.analyzer_pb2 import (
    AnalyzeModelRequest,
    AnalyzeModelResponse,
    ListDevicesRequest,
    ListDevicesResponse,
    PlanModelRequest,
    PlanModelResponse,
    PlanStart,
    Progress,
    Start,
)
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceServicer
from analyzer.workers import PLANNING, Workers

_PROGRESS_SECONDS = 0.25

T = TypeVar("T")
R = TypeVar("R", AnalyzeModelResponse, PlanModelResponse)


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
            report = yield from self._answer(start, requests, context, AnalyzeModelResponse)
            yield AnalyzeModelResponse(report=to_message(report))

    @told
    def PlanModel(
        self, requests: Iterator[PlanModelRequest], context: grpc.ServicerContext
    ) -> Iterator[PlanModelResponse]:
        with self._gate:
            start = upload.start(requests, self._max_upload_bytes)
            asked = {
                name: getattr(start, name) if start.HasField(name) else None
                for name in ("memory_bytes", "target_batch")
            }
            plan = yield from self._answer(
                start, requests, context, PlanModelResponse, task=PLANNING, **asked
            )
            yield PlanModelResponse(plan=to_message(plan))

    def ListDevices(self, request: ListDevicesRequest, context: grpc.ServicerContext) -> ListDevicesResponse:
        return ListDevicesResponse(devices=map(to_message, devices()))

    def _answer(
        self,
        start: Start | PlanStart,
        requests: Iterator[Any],
        context: grpc.ServicerContext,
        response: type[R],
        **asked: Any,
    ) -> Generator[R, None, Any]:
        """What a worker says of the upload that follows `start`, with progress until it does."""
        options = upload.options(start)
        chunks = upload.Chunks(requests, start, self._max_upload_bytes)
        reading = self._readers.submit(upload.model, chunks, self._max_structure_bytes)
        model = yield from _awaited(reading, "receiving", chunks, response)
        size = start.file_bytes if start.HasField("file_bytes") else chunks.received_bytes
        answer = self._workers.submit(model, options, name=start.name or "model", file_bytes=size, **asked)
        _stop_with(context, answer)
        return (yield from _awaited(answer, "analyzing", chunks, response))


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
    future: Future[T], stage: str, chunks: upload.Chunks, response: type[R]
) -> Generator[R, None, T]:
    """What another thread or process is at work on, with progress until it is there."""
    while not future.done():
        yield response(progress=Progress(stage=stage, received_bytes=chunks.received_bytes))
        wait([future], _PROGRESS_SECONDS)
    try:
        return future.result()
    except CancelledError:
        raise Unavailable("SHUTTING_DOWN", "the server is shutting down: try again later") from None


def _stop_with(context: grpc.ServicerContext, analysis: Future[Any]) -> None:
    """End the analysis when the caller goes."""

    def stop() -> None:
        analysis.cancel()

    if not context.add_callback(stop):  # gone already
        stop()
