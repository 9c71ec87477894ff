from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import pytest

from analyzer import analyze
from analyzer.client import Client
from analyzer.errors import AnalyzerError, BadInput, BadModel, BadOption, TooSlow, Unavailable
from analyzer.options import Options
from analyzer.workers import ANALYSIS
from tests.conftest import shipped
from tests.doors.places import Place, place, until


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with place(tmp_path_factory.mktemp("uploads"), workers=2) as it:
        yield it


@pytest.fixture
def client(shared: Place) -> Iterator[Client]:
    with Client(shared.address) as it:
        yield it
    until(lambda: shared.uploads() == [])


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    """A server that analyses."""
    with place(tmp_path_factory.mktemp("uploads"), analysis=ANALYSIS) as it:
        yield it


# ---- the report


@pytest.mark.parametrize("name", ["lenet5", "googlenet"])
def test_the_report_is_the_one_that_analyze_gives_here(real: Place, name: str) -> None:
    """By path and by bytes, options and name included: `==`."""
    path, options = shipped(name), Options(dims={"batch": 3}, optimizer="adam", lenient=True)
    with Client(real.address) as client:
        assert client.analyze(path) == analyze(path)
        assert client.analyze(path.read_bytes(), options) == analyze(path.read_bytes(), options)
        assert client.analyze(path, name="mine") == analyze(path, name="mine")


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [("dir/net.v2.onnx", None, "net.v2"), ("dir/net.onnx", "é/../x", "é/../x"), (b"hello", None, "model")],
)
def test_a_model_is_called_after_its_file_or_as_asked(
    client: Client, tmp_path: Path, given: str | bytes, name: str | None, expected: str
) -> None:
    """The name is the caller's affair: it names no file at the server."""
    if isinstance(given, str):
        (tmp_path / "dir").mkdir()
        (tmp_path / given).write_bytes(b"hello")
    model = given if isinstance(given, bytes) else tmp_path / given
    assert client.analyze(model, name=name).model.name == expected


def test_progress_tells_stages_in_order_and_bytes_that_grow(client: Client) -> None:
    heard: list[tuple[str, int]] = []
    client.analyze(
        b"sleep 1".ljust(3 << 20), progress=lambda stage, received: heard.append((stage, received))
    )
    stages = [stage for stage, _ in heard]
    assert stages == sorted(stages, key=["receiving", "analyzing"].index)
    assert set(stages) == {"receiving", "analyzing"}
    assert [received for _, received in heard] == sorted(received for _, received in heard)
    assert heard[-1] == ("analyzing", 3 << 20)


def test_progress_that_raises_ends_the_call(client: Client) -> None:
    """Ctrl-C in the caller's own code: the server stops, too."""

    def refuse(stage: str, received: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.analyze(b"sleep 3600", progress=refuse)


# ---- what goes wrong


@dataclasses.dataclass
class Bad:
    """A model that is none, and what its error is."""

    model: bytes
    options: Options
    kind: type[AnalyzerError]


LENET = shipped("lenet5")
BAD = {
    "empty": Bad(b"", Options(), BadModel),
    "text": Bad(b"this is not a model\n" * 9, Options(), BadModel),
    "random": Bad(bytes(range(255, 0, -1)), Options(), BadModel),
    "truncated": Bad(LENET.read_bytes()[:-40], Options(), BadModel),
    "dimension": Bad(LENET.read_bytes(), Options(dims={"nope": 3}), BadOption),
    "rank": Bad(LENET.read_bytes(), Options(shapes={"input": (1, 2)}), BadOption),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_error_is_the_one_that_analyze_raises_here(real: Place, bad: Bad) -> None:
    """Class, reason and facts; and the line, except that of an empty upload, which never was a file."""
    with Client(real.address) as client, pytest.raises(bad.kind) as there:
        client.analyze(bad.model, bad.options)
    with pytest.raises(bad.kind) as here:
        analyze(bad.model, bad.options)
    assert type(there.value) is type(here.value)
    assert (there.value.reason, there.value.facts) == (here.value.reason, here.value.facts)
    assert there.value.message == here.value.message or bad.model == b""
    assert real.uploads() == []


@pytest.mark.parametrize(
    ("path", "reason"),
    [("absent.onnx", "FILE_NOT_FOUND"), (".", "IS_A_DIRECTORY"), ("\0", "FILE_UNREADABLE")],
)
def test_a_file_that_cannot_be_read_is_the_same_error_as_without_a_server(path: str, reason: str) -> None:
    """Found out before anything is sent."""
    with Client("localhost:1") as client, pytest.raises(BadInput) as caught:
        client.analyze(path)
    assert caught.value.reason == reason
    with pytest.raises(BadInput) as here:
        analyze(path)
    assert here.value.reason == reason


def test_no_server_is_an_error_that_names_the_address() -> None:
    with Client("localhost:1") as client:
        assert not client.health()
        with pytest.raises(Unavailable, match="localhost:1") as caught:
            client.analyze(b"hello")
    assert caught.value.reason == "UNREACHABLE"


def test_a_server_of_something_else_is_an_error() -> None:
    """gRPC is spoken there, but not this service."""
    server = grpc.server(futures.ThreadPoolExecutor(1))
    port = server.add_insecure_port("localhost:0")
    server.start()
    try:
        with Client(f"localhost:{port}") as client:
            assert not client.health()
            with pytest.raises(AnalyzerError) as caught:
                client.analyze(b"hello")
        assert caught.value.reason == "UNIMPLEMENTED"
    finally:
        server.stop(None)


def test_a_caller_may_have_a_deadline_of_its_own(client: Client) -> None:
    with pytest.raises(TooSlow) as caught:
        client.analyze(b"sleep 3600", timeout_seconds=0.5)
    assert caught.value.reason == "DEADLINE_EXCEEDED"
