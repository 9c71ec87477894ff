from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status

from analyzer.client import Client
from analyzer.errors import BadInput, Crashed, TooSlow, Unavailable
from analyzer.server import SERVICE, start
from analyzer.wire import to_message
from analyzer.wire.v1.analyzer_pb2 import AnalyzeModelRequest, Options, Start
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceStub
from tests.doors import standins
from tests.doors.places import PATIENCE, Place, place, until

ROOT = Path(__file__).parents[2]
LIMIT = 80 << 20
CHUNK = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("uploads"), workers=2, max_upload_bytes=LIMIT) as it:
        yield it


@pytest.fixture
def served(shared: Place) -> Iterator[Place]:
    """A server whose folder is empty again after each test."""
    yield shared
    until(lambda: shared.uploads() == [])


@pytest.fixture
def client(served: Place) -> Iterator[Client]:
    with Client(served.address) as it:
        yield it


def beginning(**fields: Any) -> AnalyzeModelRequest:
    return AnalyzeModelRequest(start=Start(**fields))


def chunk(data: bytes) -> AnalyzeModelRequest:
    return AnalyzeModelRequest(chunk=data)


def call(channel: grpc.Channel, requests: Iterator[AnalyzeModelRequest]) -> Any:
    return AnalyzerServiceStub(channel).AnalyzeModel(requests, timeout=PATIENCE)


# ---- what comes in


@pytest.mark.parametrize("mebibytes", [64, 1024])
def test_an_upload_many_times_the_message_limit_passes(mebibytes: int, tmp_path: Path) -> None:
    """gRPC's default limit is 4 MiB a message. The gigabyte is a hole in a file: nothing is stored on our side."""
    model = tmp_path / "large.onnx"
    with model.open("wb") as file:
        file.truncate(mebibytes << 20)
    (tmp_path / "uploads").mkdir()
    with place(tmp_path / "uploads") as served, Client(served.address) as client:
        assert client.analyze(model).model.file_bytes == mebibytes << 20
        until(lambda: served.uploads() == [])


def test_a_report_larger_than_the_message_limit_arrives(client: Client) -> None:
    report = client.analyze(b"rows 200000")
    assert to_message(report).ByteSize() > 4 << 20
    assert report.tensors == standins.report(rows=200_000).tensors


def test_64_uploads_at_once(served: Place) -> None:
    """Each over a connection of its own, each gets its own report."""

    def ask(number: int) -> tuple[str, int]:
        with Client(served.address) as client:
            model = client.analyze(b"x" * (1000 + number), name=f"model_{number}").model
            return model.name, model.file_bytes

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(ask, range(64)))
    assert answers == [(f"model_{number}", 1000 + number) for number in range(64)]


REFUSED = {
    "nothing": ([], "INVALID_ARGUMENT", "START_MISSING"),
    "no options": ([chunk(b"abc")], "INVALID_ARGUMENT", "START_MISSING"),
    "options twice": ([beginning(), chunk(b"abc"), beginning()], "INVALID_ARGUMENT", "START_TWICE"),
    "no bytes": ([beginning()], "INVALID_ARGUMENT", "EMPTY_FILE"),
    "empty chunks": ([beginning(total_bytes=0), chunk(b""), chunk(b"")], "INVALID_ARGUMENT", "EMPTY_FILE"),
    "a word unknown": (
        [beginning(options=Options(optimizer="adamw")), chunk(b"abc")], "INVALID_ARGUMENT", "OPTION_INVALID",
    ),
    "an option unknown": (
        [beginning(options=Options.FromString(b"\xf8\x3f\x01")), chunk(b"abc")], "INVALID_ARGUMENT", "UNKNOWN_OPTION",
    ),
    "cut off": ([beginning(total_bytes=4), chunk(b"abc")], "INVALID_ARGUMENT", "UPLOAD_INCOMPLETE"),
    "too long": ([beginning(total_bytes=2), chunk(b"abc")], "INVALID_ARGUMENT", "UPLOAD_INCOMPLETE"),
    "too large, announced": ([beginning(total_bytes=LIMIT + 1)], "RESOURCE_EXHAUSTED", "UPLOAD_TOO_LARGE"),
    "too large": ([beginning()] + [chunk(bytes(CHUNK))] * 81, "RESOURCE_EXHAUSTED", "UPLOAD_TOO_LARGE"),
}  # fmt: skip


@pytest.mark.parametrize(("requests", "status", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_an_upload_that_is_none_is_refused(
    served: Place, requests: list[AnalyzeModelRequest], status: str, reason: str
) -> None:
    """A canonical status, a stable reason, one line."""
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(call(channel, iter(requests)))
    error: Any = caught.value
    info = error_details_pb2.ErrorInfo()
    assert error.code().name == status
    assert rpc_status.from_call(error).details[0].Unpack(info)
    assert (info.reason, info.domain) == (reason, "onnx-analyzer")
    assert "\n" not in error.details()


@pytest.mark.parametrize(
    ("options", "model", "field"),
    [(Options(optimizer="adamw"), b"abc", "start.options.optimizer"), (Options(), b"bad option", "start.options.dims")],
)  # fmt: skip
def test_a_bad_option_is_named_as_a_field(served: Place, options: Options, model: bytes, field: str) -> None:
    """Whether it is refused at the door or by the analysis."""
    with grpc.insecure_channel(served.address) as channel, pytest.raises(grpc.RpcError) as caught:
        list(call(channel, iter([beginning(options=options), chunk(model)])))
    error: Any = caught.value
    request = error_details_pb2.BadRequest()
    (detail,) = (d for d in rpc_status.from_call(error).details if d.Is(request.DESCRIPTOR))
    detail.Unpack(request)
    assert [violation.field for violation in request.field_violations] == [field]


# ---- what goes wrong on the way


def test_cancelling_an_upload_leaves_nothing(served: Place) -> None:
    """Half way, with the file already on disk."""
    half_way = threading.Event()

    def requests() -> Iterator[AnalyzeModelRequest]:
        yield beginning(total_bytes=2 * CHUNK)
        yield chunk(bytes(CHUNK))
        half_way.wait(PATIENCE)

    with grpc.insecure_channel(served.address) as channel:
        answers = call(channel, requests())
        assert next(answers).progress.received_bytes == CHUNK
        assert len(served.uploads()) == 1
        answers.cancel()
        until(lambda: served.uploads() == [])
        half_way.set()


def test_a_caller_that_dies_in_an_upload_leaves_nothing(served: Place, tmp_path: Path) -> None:
    """Killed as a process: no goodbye, only a connection that ends. Its model is a pipe that never does."""
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)
    script = "import sys; from analyzer.client import Client; Client(sys.argv[1]).analyze(sys.argv[2])"
    command = [sys.executable, "-c", script, served.address, str(pipe)]
    with subprocess.Popen(command, cwd=ROOT) as caller, pipe.open("wb", buffering=0) as model:
        try:
            model.write(bytes(CHUNK))
            until(lambda: any(path.stat().st_size > 0 for path in served.uploads()), PATIENCE)
        finally:
            caller.kill()
    until(lambda: served.uploads() == [])


def test_cancelling_an_analysis_frees_its_worker(tmp_path: Path) -> None:
    """There is one worker, it would take an hour, and the next caller is served at once."""
    with place(tmp_path) as served, grpc.insecure_channel(served.address) as channel:
        answers = call(channel, iter([beginning(), chunk(b"sleep 3600")]))
        until(lambda: next(answers).progress.stage == "analyzing")
        answers.cancel()
        until(lambda: served.uploads() == [])
        with Client(served.address) as client:
            assert client.analyze(b"hello", timeout_seconds=PATIENCE / 2).model.file_bytes == 5


def test_the_deadline_ends_an_analysis_and_the_next_is_served(tmp_path: Path) -> None:
    with place(tmp_path, deadline_seconds=1.0) as served, Client(served.address) as client:
        with pytest.raises(TooSlow) as caught:
            client.analyze(b"sleep 3600")
        assert (caught.value.reason, caught.value.facts) == ("DEADLINE", {"deadline_seconds": "1"})
        assert served.uploads() == []
        assert client.analyze(b"hello").model.file_bytes == 5


def test_a_worker_that_dies_is_an_error_and_the_next_is_served(client: Client) -> None:
    with pytest.raises(Crashed) as caught:
        client.analyze(b"die")
    assert caught.value.reason == "WORKER_DIED"
    assert client.analyze(b"hello").model.file_bytes == 5


def test_a_fault_is_logged_by_the_server_and_not_told(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(Crashed) as caught:
        client.analyze(b"fault")
    assert caught.value.reason == "INTERNAL"
    assert "secret" not in caught.value.message
    assert "secret" in caplog.text


def test_a_fault_of_the_server_itself_is_told_without_its_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Here its folder has gone away."""
    with place(tmp_path) as served, Client(served.address) as client, caplog.at_level(logging.ERROR):
        (room,) = tmp_path.iterdir()
        room.rmdir()
        with pytest.raises(Crashed) as caught:
            client.analyze(b"hello")
        room.mkdir()
    assert str(room) not in caught.value.message
    assert str(room) in caplog.text


def test_one_caller_too_many_is_sent_away_at_once(tmp_path: Path) -> None:
    """The place is free again when the first has gone."""
    with place(tmp_path, max_uploads=1) as served, grpc.insecure_channel(served.address) as channel:
        first = call(channel, iter([beginning(), chunk(b"sleep 3600")]))
        next(first)
        with Client(served.address) as client:
            with pytest.raises(Unavailable) as caught:
                client.analyze(b"hello")
            assert caught.value.reason == "BUSY"
            assert client.health()
            first.cancel()
            until(lambda: served.uploads() == [])
            assert client.analyze(b"hello", timeout_seconds=PATIENCE / 2).model.file_bytes == 5


# ---- health, reflection, beginning and end


def test_health_and_reflection_know_the_service(served: Place) -> None:
    """Standard tools find the service, its method and its messages."""
    with grpc.insecure_channel(served.address) as channel:
        stub: Any = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            answer = stub.Check(health_pb2.HealthCheckRequest(service=name), timeout=PATIENCE)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
        reflected = ProtoReflectionDescriptorDatabase(channel)
        assert {SERVICE, "grpc.health.v1.Health"} <= set(reflected.get_services())
        file = reflected.FindFileContainingSymbol(SERVICE)
        assert [method.name for method in file.service[0].method] == ["AnalyzeModel"]


def test_draining_finishes_what_is_there_and_takes_nothing_new(tmp_path: Path) -> None:
    """Health says NOT_SERVING, a new caller is told to try later, and the one inside gets its report."""
    with place(tmp_path) as served, Client(served.address) as client, ThreadPoolExecutor() as threads:
        inside = threads.submit(client.analyze, b"sleep 2")
        until(lambda: served.uploads(), PATIENCE)
        ending = threads.submit(served.server.stop, PATIENCE)
        until(lambda: not client.health())
        with pytest.raises(Unavailable) as caught:
            client.analyze(b"hello")
        assert caught.value.reason == "SHUTTING_DOWN"
        assert inside.result(PATIENCE).model.file_bytes == 7
        ending.result(PATIENCE)


def test_stopping_without_grace_ends_everything(tmp_path: Path) -> None:
    """Within seconds, though an analysis would take an hour and an upload hangs."""
    hanging = threading.Event()

    def requests() -> Iterator[AnalyzeModelRequest]:
        yield beginning()
        yield chunk(b"abc")
        hanging.wait(PATIENCE)

    with place(tmp_path, workers=1) as served, grpc.insecure_channel(served.address) as channel:
        answers = [call(channel, requests()), call(channel, iter([beginning(), chunk(b"sleep 3600")]))]
        for answer in answers:
            next(answer)
        started = time.monotonic()
        served.server.stop()
        assert time.monotonic() - started < 5
        for answer in answers:
            with pytest.raises(grpc.RpcError):
                list(answer)
        hanging.set()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_serve_runs_until_a_signal(number: signal.Signals, tmp_path: Path) -> None:
    """It says where it listens, serves, and at the signal ends well with nothing left on disk."""
    script = (
        "import sys; from analyzer.server import Limits, serve\n"
        "serve('localhost:0', limits=Limits(workers=1, upload_dir=sys.argv[1]), analysis='tests.doors.standins:obey',\n"
        "      on_ready=lambda address: print(address, flush=True))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as server:
        assert server.stdout is not None
        try:
            with Client(server.stdout.readline().strip()) as client:
                assert client.analyze(b"hello", timeout_seconds=PATIENCE).model.file_bytes == 5
            server.send_signal(number)
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()
    assert list(tmp_path.iterdir()) == []


def test_a_port_that_is_taken_is_an_error(served: Place) -> None:
    """Never two servers that share it in silence."""
    with pytest.raises(BadInput) as caught:
        start(served.address)
    assert caught.value.reason == "ADDRESS_UNUSABLE"


def test_every_reason_of_the_door_is_documented() -> None:
    """`docs/grpc.md` is where one looks a reason up."""
    documented = (ROOT / "docs" / "grpc.md").read_text()
    assert [reason for _, _, reason in REFUSED.values() if f"`{reason}`" not in documented] == []
    for reason in (
        "BUSY",
        "SHUTTING_DOWN",
        "DEADLINE",
        "WORKER_DIED",
        "INTERNAL",
        "UPLOAD_NO_SPACE",
        "NUMBER_TOO_LARGE",
    ):
        assert f"`{reason}`" in documented
