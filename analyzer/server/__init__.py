"""The gRPC door: bytes come in by stream, their structure is analysed in another process, and the report goes out.

    requests ─▶ upload (limits, structure) ─▶ workers ─▶ report        service: one call from start to end
                                                                       faults:  errors to statuses

Synchronous, two threads for each upload: one reads, one tells how far it is. Both spend their lives waiting, a thread
that waits costs little, and gRPC asks for a stream's next chunk only when the last one is read. Weights are dropped as
they come and nothing is written to disk: what an upload takes is its structure, or its first 4 MiB while it may prove
no larger than that.
Nothing is encrypted here and nobody is asked who they are: bind to loopback, or stand behind something that does both.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import msgspec
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from analyzer.errors import BadInput
from analyzer.server.service import Gate, Service
from analyzer.wire.v1 import analyzer_pb2, analyzer_pb2_grpc
from analyzer.workers import ANALYSIS, Workers

__all__ = ["SERVICE", "Limits", "Server", "serve", "start"]

SERVICE: str = analyzer_pb2.DESCRIPTOR.services_by_name["AnalyzerService"].full_name
"""What the health service and reflection call the service."""

_SPARE_THREADS = 8  # health and reflection are answered although every place for an upload is taken
_LAST_SECONDS = 0.5  # for answers that are on their way when the server ends
_HOUR_MS = 3_600_000
_CHANNEL: tuple[tuple[str, int], ...] = (
    # The probe would fit each window to its line, at four times the memory for 64 uploads; a fixed one of 1 MiB lets
    # 17 MiB/s through at a round trip of 50 ms, where the usual 64 KiB lets 5.
    ("grpc.http2.bdp_probe", 0),
    ("grpc.http2.lookahead_bytes", 1 << 20),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a port shared in silence
    ("grpc.max_receive_message_length", 4 << 20),  # a chunk
    ("grpc.max_send_message_length", -1),  # a report: some 200 bytes a node
    ("grpc.keepalive_time_ms", 60_000),  # a caller whose machine has gone is noticed,
    ("grpc.keepalive_timeout_ms", 20_000),
    (
        "grpc.max_connection_age_ms",
        _HOUR_MS,
    ),  # and one that sends nothing keeps its place for two hours at most
    ("grpc.max_connection_age_grace_ms", _HOUR_MS),
)


def _cores() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much a server takes on.

    max_upload_bytes    of one model, weights included
    max_structure_bytes of what is left of it without its weights, which is what the server holds
    max_uploads         calls at once, waiting for a worker included; the next one is told to try later
    deadline_seconds    of one analysis, from the moment that a worker takes it up
    workers             analyses at once, each in a process
    grace_seconds       that calls get to finish when the server is asked to end
    """

    max_upload_bytes: int = 4 << 30
    max_structure_bytes: int = 512 << 20
    max_uploads: int = 64
    deadline_seconds: float = 60.0
    workers: int = msgspec.field(default_factory=_cores)
    grace_seconds: float = 30.0


_LIMITS = Limits()


class Server:
    """A server that runs: where it listens, and how to end it. Ends with a `with` block, too."""

    def __init__(self, address: str, limits: Limits, analysis: str) -> None:
        self._threads = ThreadPoolExecutor(limits.max_uploads + _SPARE_THREADS, thread_name_prefix="rpc")
        self._server = grpc.server(
            self._threads, options=_CHANNEL, maximum_concurrent_rpcs=2 * (limits.max_uploads + _SPARE_THREADS)
        )
        self.address = _bind(self._server, address)
        self._readers = ThreadPoolExecutor(limits.max_uploads, thread_name_prefix="upload")
        self._workers = Workers(
            limits.workers, limits.deadline_seconds, waiting=limits.max_uploads, analysis=analysis
        )
        self._gate = Gate(limits.max_uploads)
        self._health = health.HealthServicer(experimental_thread_pool=self._threads)
        self._health.set(SERVICE, health_pb2.HealthCheckResponse.SERVING)
        service = Service(
            self._gate, self._readers, self._workers, limits.max_upload_bytes, limits.max_structure_bytes
        )
        analyzer_pb2_grpc.add_AnalyzerServiceServicer_to_server(service, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection(
            (SERVICE, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server
        )
        self._server.start()

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self, grace_seconds: float = 0.0) -> None:
        """Take no more uploads, give those that are here `grace_seconds` to finish, then end. Twice does no harm.

        Until the last is done, health answers NOT_SERVING.
        """
        self._health.enter_graceful_shutdown()
        self._gate.close(grace_seconds)
        self._server.stop(_LAST_SECONDS).wait()
        self._workers.close()
        self._threads.shutdown()
        self._readers.shutdown()


def start(address: str, limits: Limits = _LIMITS, *, analysis: str = ANALYSIS) -> Server:
    """Serve in the background; port 0 picks a free one, and `address` of the result tells which.

    Raises BadInput where nothing can listen at the address.
    """
    return Server(address, limits, analysis)


def serve(
    address: str,
    *,
    limits: Limits = _LIMITS,
    on_ready: Callable[[str], None] | None = None,
    analysis: str = ANALYSIS,
) -> None:
    """Serve until SIGTERM or SIGINT, then drain. `on_ready` is called with the address once it listens.

    To be called from the main thread, where signals arrive.
    """
    ended = threading.Event()

    def end(*_: Any) -> None:
        ended.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        server = start(address, limits, analysis=analysis)
        try:
            if on_ready is not None:
                on_ready(server.address)
            ended.wait()
        finally:
            server.stop(limits.grace_seconds)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _bind(server: grpc.Server, address: str) -> str:
    """The address that clients can dial."""
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        line = f"cannot listen at {address}: is the port taken, or the host not this one?"
        raise BadInput("ADDRESS_UNUSABLE", line, address=address) from None
    host, colon, asked = address.rpartition(":")
    return f"{host}:{port}" if colon and asked.isdecimal() else address
