from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import FrameType
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status
from hypothesis import given
from hypothesis import strategies as st

from analyzer.client import Client
from analyzer.errors import BadInput, BadModel, Crashed, TooLarge, TooSlow, Unavailable
from analyzer.load import structure_of_chunks
from analyzer.server import SERVICE, start, upload
from analyzer.wire import to_message
from analyzer.wire.v1.analyzer_pb2 import AnalyzeModelRequest, Options, Start
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceStub
from tests.doors import standins
from tests.doors.places import PATIENCE, Place, place, until
from tests.doors.standins import HELLO, hollow, said, varint

ROOT = Path(__file__).parents[2]
LIMIT = 80 << 20
CHUNK = 1 << 20


@pytest.fixture(scope="module")
def shared() -> Iterator[Place]:
    with place(workers=2, max_upload_bytes=LIMIT) as it:
        yield it


@pytest.fixture
def served(shared: Place) -> Iterator[Place]:
    """A server that nobody is inside any more after each test."""
    yield shared
    until(lambda: shared.calls() == 0)


@pytest.fixture
def client(served: Place) -> Iterator[Client]:
    with Client(served.address) as it:
        yield it


def beginning(**fields: Any) -> AnalyzeModelRequest:
    return AnalyzeModelRequest(start=Start(**fields))


def chunk(data: bytes) -> AnalyzeModelRequest:
    return AnalyzeModelRequest(chunk=data)


def parts(model: bytes) -> list[bytes]:
    """A model in chunks."""
    return [model[start : start + CHUNK] for start in range(0, len(model), CHUNK)]


def call(channel: grpc.Channel, requests: Iterator[AnalyzeModelRequest]) -> Any:
    return AnalyzerServiceStub(channel).AnalyzeModel(requests, timeout=PATIENCE)


# ---- what comes in


@pytest.mark.parametrize("mebibytes", [8, 1024])
def test_of_a_whole_upload_the_structure_alone_is_kept(mebibytes: int, tmp_path: Path) -> None:
    """gRPC's default limit is 4 MiB a message. The gigabyte is a hole in a file: nothing is stored on our side."""
    model = hollow(tmp_path / "large.onnx", "hello", mebibytes << 20)
    with place() as served, Client(served.address) as client:
        report = client.analyze(model, with_weights=True)
    assert report.model.file_bytes == model.stat().st_size > mebibytes << 20
    assert report.depth is not None  # bytes that came to the worker
    assert report.depth < 1000


def test_reading_an_upload_takes_memory_for_its_structure_only() -> None:
    """64 MiB come, in chunks of 1 MiB; at most 16 are held at once, most of them before it is known to be large."""
    head, _, tail = said("hello", 64 * CHUNK).rpartition(bytes(64 * CHUNK))
    requests = (chunk(head if number == 0 else bytes(CHUNK)) for number in range(65))
    chunks = upload.Chunks(requests, Start(total_bytes=len(head) + 64 * CHUNK), LIMIT)
    assert tail == b""
    tracemalloc.start()
    try:
        structure = upload.model(chunks, CHUNK)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(structure) < 1000
    assert peak < 16 * CHUNK


@pytest.mark.parametrize("size", [3 * CHUNK, 12 * CHUNK])
def test_a_structure_too_large_is_refused(size: int) -> None:
    """It is names that are large here; a weight of the same size passes."""
    with place(max_structure_bytes=2 * CHUNK) as served, Client(served.address) as client:
        for with_weights in (False, True):
            with pytest.raises(TooLarge) as caught:
                client.analyze(said("x\0" * (size // 2)), with_weights=with_weights)
            assert caught.value.reason == "STRUCTURE_TOO_LARGE"
            assert caught.value.facts == {"max_structure_bytes": str(2 * CHUNK)}
        assert client.analyze(said("hello", size), with_weights=True).depth != size


@given(limit=st.integers(0, 4000), cuts=st.sets(st.integers(1, 170_000), max_size=5))
def test_a_limit_refuses_what_is_larger_and_nothing_else(limit: int, cuts: set[int]) -> None:
    """Wherever the stream is cut."""
    model = said("x" * 1000, 170_000)
    pieces = [model[start:end] for start, end in pairwise([0, *sorted(cuts), len(model)])]
    structure = structure_of_chunks(pieces)
    if limit >= len(structure):
        assert structure_of_chunks(pieces, limit) == structure
    else:
        with pytest.raises(TooLarge):
            structure_of_chunks(pieces, limit)


def test_a_length_is_not_believed_before_its_bytes_come() -> None:
    """Neither memory is taken for it, nor is a stream that ends early anything but cut off."""
    for length in (1 << 20, 1 << 34, (1 << 64) - 1):
        with pytest.raises(BadModel) as caught:
            structure_of_chunks([b"\x12" + varint(length) + b"abc"], 100)
        assert (caught.value.reason, caught.value.facts) == ("TRUNCATED", {"offset": "0"})


def test_a_report_larger_than_the_message_limit_arrives(client: Client) -> None:
    report = client.analyze(said("rows 200000"))
    assert to_message(report).ByteSize() > 4 << 20
    assert report.tensors == standins.report(rows=200_000).tensors


def test_64_uploads_at_once(served: Place) -> None:
    """Each over a connection of its own, each gets its own report."""

    def ask(number: int) -> tuple[str, int]:
        with Client(served.address) as client:
            model = client.analyze(said("hello", 1000 + number), name=f"model_{number}").model
            return model.name, model.file_bytes

    with ThreadPoolExecutor(64) as threads:
        answers = list(threads.map(ask, range(64)))
    assert answers == [(f"model_{number}", len(said("hello", 1000 + number))) for number in range(64)]


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
    "cut off, and large": (
        [beginning(total_bytes=LIMIT), *map(chunk, parts(said("x", 9 * CHUNK)))],
        "INVALID_ARGUMENT", "UPLOAD_INCOMPLETE",
    ),
    "no model, and large": ([beginning()] + [chunk(bytes(CHUNK))] * 9, "INVALID_ARGUMENT", "NOT_ONNX"),
    "too large": (
        [beginning(), *map(chunk, parts(said("x", LIMIT)))], "RESOURCE_EXHAUSTED", "UPLOAD_TOO_LARGE",
    ),
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
    [
        (Options(optimizer="adamw"), b"abc", "start.options.optimizer"),
        (Options(), said("bad option"), "start.options.dims"),
    ],
)
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
    """Half way, in the middle of a weight."""
    half_way, model = threading.Event(), said("hello", 16 * CHUNK)

    def requests() -> Iterator[AnalyzeModelRequest]:
        yield beginning(total_bytes=len(model))
        yield from map(chunk, parts(model)[:8])
        half_way.wait(PATIENCE)

    with grpc.insecure_channel(served.address) as channel:
        answers = call(channel, requests())
        until(lambda: next(answers).progress.received_bytes == 8 * CHUNK)
        assert served.calls() == 1
        answers.cancel()
        until(lambda: served.calls() == 0)
        until(lambda: reading() == 0)
        half_way.set()


def reading() -> int:
    """How many uploads are being read, in whatever server."""
    return sum(
        frame.f_code is upload.model.__code__
        for each in sys._current_frames().values()
        for frame in stack(each)
    )


def stack(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def test_a_caller_that_dies_in_an_upload_leaves_nothing(served: Place, tmp_path: Path) -> None:
    """Killed as a process: no goodbye, only a connection that ends. Its model is a pipe that never does."""
    pipe = tmp_path / "model.onnx"
    os.mkfifo(pipe)
    script = "import sys; from analyzer.client import Client; "
    script += "Client(sys.argv[1]).analyze(sys.argv[2], with_weights=True)"
    command = [sys.executable, "-c", script, served.address, str(pipe)]
    with subprocess.Popen(command, cwd=ROOT) as caller, pipe.open("wb", buffering=0) as model:
        try:
            model.write(bytes(CHUNK))
            until(lambda: served.calls() == 1, PATIENCE)
        finally:
            caller.kill()
    until(lambda: served.calls() == 0)
    until(lambda: reading() == 0)


def test_cancelling_an_analysis_frees_its_worker() -> None:
    """There is one worker, it would take an hour, and the next caller is served at once."""
    with place() as served, grpc.insecure_channel(served.address) as channel:
        answers = call(channel, iter([beginning(), chunk(said("sleep 3600"))]))
        until(lambda: next(answers).progress.stage == "analyzing")
        answers.cancel()
        until(lambda: served.calls() == 0)
        with Client(served.address) as client:
            assert client.analyze(HELLO, timeout_seconds=PATIENCE / 2).model.file_bytes == len(HELLO)


def test_the_deadline_ends_an_analysis_and_the_next_is_served() -> None:
    with place(deadline_seconds=1.0) as served, Client(served.address) as client:
        with pytest.raises(TooSlow) as caught:
            client.analyze(said("sleep 3600"))
        assert (caught.value.reason, caught.value.facts) == ("DEADLINE", {"deadline_seconds": "1"})
        until(lambda: served.calls() == 0)
        assert client.analyze(HELLO).model.file_bytes == len(HELLO)


def test_a_worker_that_dies_is_an_error_and_the_next_is_served(client: Client) -> None:
    with pytest.raises(Crashed) as caught:
        client.analyze(said("die"))
    assert caught.value.reason == "WORKER_DIED"
    assert client.analyze(HELLO).model.file_bytes == len(HELLO)


def test_a_fault_is_logged_by_the_server_and_not_told(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR), pytest.raises(Crashed) as caught:
        client.analyze(said("fault"))
    assert caught.value.reason == "INTERNAL"
    assert "secret" not in caught.value.message
    assert "secret" in caplog.text


def test_a_fault_of_the_server_itself_is_told_without_its_words(
    client: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(*_: object) -> bytes:
        raise ZeroDivisionError("a secret of the server")

    monkeypatch.setattr(upload, "model", failing)
    with caplog.at_level(logging.ERROR), pytest.raises(Crashed) as caught:
        client.analyze(HELLO)
    assert caught.value.reason == "INTERNAL"
    assert "secret" not in caught.value.message
    assert "secret" in caplog.text


def test_one_caller_too_many_is_sent_away_at_once() -> None:
    """The place is free again when the first has gone."""
    with place(max_uploads=1) as served, grpc.insecure_channel(served.address) as channel:
        first = call(channel, iter([beginning(), chunk(said("sleep 3600"))]))
        next(first)
        with Client(served.address) as client:
            with pytest.raises(Unavailable) as caught:
                client.analyze(HELLO)
            assert caught.value.reason == "BUSY"
            assert client.health()
            first.cancel()
            until(lambda: served.calls() == 0)
            assert client.analyze(HELLO, timeout_seconds=PATIENCE / 2).model.file_bytes == len(HELLO)


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
        calls = ["AnalyzeModel", "PlanModel", "ListDevices"]
        assert [method.name for method in file.service[0].method] == calls


def test_draining_finishes_what_is_there_and_takes_nothing_new() -> None:
    """Health says NOT_SERVING, a new caller is told to try later, and the one inside gets its report."""
    with place() as served, Client(served.address) as client, ThreadPoolExecutor() as threads:
        inside = threads.submit(client.analyze, said("sleep 2"))
        until(lambda: served.calls() == 1, PATIENCE)
        ending = threads.submit(served.server.stop, PATIENCE)
        until(lambda: not client.health())
        with pytest.raises(Unavailable) as caught:
            client.analyze(HELLO)
        assert caught.value.reason == "SHUTTING_DOWN"
        assert inside.result(PATIENCE).model.file_bytes == len(said("sleep 2"))
        ending.result(PATIENCE)


def test_stopping_without_grace_ends_everything() -> None:
    """Within seconds, though an analysis would take an hour and an upload hangs."""
    hanging = threading.Event()

    def requests() -> Iterator[AnalyzeModelRequest]:
        yield beginning()
        yield chunk(b"abc")
        hanging.wait(PATIENCE)

    with place(workers=1) as served, grpc.insecure_channel(served.address) as channel:
        answers = [call(channel, requests()), call(channel, iter([beginning(), chunk(said("sleep 3600"))]))]
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
    """It says where it listens, serves, and at the signal ends well. Nothing is ever written to disk."""
    script = (
        "from analyzer.server import Limits, serve\n"
        "serve('localhost:0', limits=Limits(workers=1), analysis='tests.doors.standins:obey',\n"
        "      on_ready=lambda address: print(address, flush=True))\n"
    )
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    seen: list[Path] = []
    with subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment
    ) as server:
        assert server.stdout is not None
        try:
            with Client(server.stdout.readline().strip()) as client:
                client.analyze(
                    said("sleep 0.3", 9 * CHUNK),
                    with_weights=True,
                    progress=lambda *_: seen.extend(tmp_path.iterdir()),
                    timeout_seconds=PATIENCE,
                )
            server.send_signal(number)
            assert server.wait(PATIENCE) == 0
        finally:
            server.kill()
    assert [*seen, *tmp_path.iterdir()] == []


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
        "STRUCTURE_TOO_LARGE",
        "NUMBER_TOO_LARGE",
    ):
        assert f"`{reason}`" in documented
