from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import onnx
import pytest

from analyzer import analyze
from analyzer.client import Client
from analyzer.errors import AnalyzerError, BadInput, BadModel, BadOption, TooSlow, Unavailable
from analyzer.options import Options
from analyzer.workers import ANALYSIS
from tests.conftest import shipped
from tests.doors.places import Place, place, until
from tests.doors.standins import HELLO, hollow, said


@pytest.fixture(scope="module")
def shared() -> Iterator[Place]:
    with place(workers=2) as it:
        yield it


@pytest.fixture
def client(shared: Place) -> Iterator[Client]:
    with Client(shared.address) as it:
        yield it
    until(lambda: shared.calls() == 0)


@pytest.fixture(scope="module")
def real() -> Iterator[Place]:
    """A server that analyses."""
    with place(analysis=ANALYSIS) as it:
        yield it


# ---- the report


@pytest.fixture(scope="module")
def heavy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of three matrix products, of 12 MiB."""
    weights = [
        onnx.numpy_helper.from_array(np.full((1024, 1024), number, np.float32), f"w{number}")
        for number in range(3)
    ]
    nodes = [onnx.helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"x{n + 1}"]) for n in range(3)]
    ends = [onnx.helper.make_tensor_value_info(x, 1, ["batch", 1024]) for x in ("x0", "x3")]
    path = tmp_path_factory.mktemp("model") / "heavy.onnx"
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph(nodes, "g", ends[:1], ends[1:], weights)), path)
    return path


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("name", ["lenet5", "googlenet", "heavy"])
def test_the_report_is_the_one_that_analyze_gives_here(
    real: Place, name: str, heavy: Path, with_weights: bool
) -> None:
    """By path and by bytes, with its weights and without, options, name and file size included: `==`."""
    path = heavy if name == "heavy" else shipped(name)
    options = Options(dims={"batch": 3}, optimizer="adam", lenient=True)
    with Client(real.address) as client:
        ask = functools.partial(client.analyze, with_weights=with_weights)
        assert ask(path) == analyze(path)
        assert ask(path.read_bytes(), options) == analyze(path.read_bytes(), options)
        assert ask(path, name="mine") == analyze(path, name="mine")


def test_weights_stay_here_unless_they_are_asked_for(client: Client, tmp_path: Path) -> None:
    """Of a gigabyte some hundred bytes are sent, and the report tells the file's own size."""
    model = hollow(tmp_path / "large.onnx", "sleep 0.3", 1 << 30)
    heard: list[int] = []
    report = client.analyze(model, progress=lambda _, received: heard.append(received))
    assert 0 < max(heard) < 1000
    assert report.model.file_bytes == model.stat().st_size


@pytest.mark.parametrize(
    ("given", "name", "expected"),
    [("dir/net.v2.onnx", None, "net.v2"), ("dir/net.onnx", "é/../x", "é/../x"), (HELLO, None, "model")],
)
def test_a_model_is_called_after_its_file_or_as_asked(
    client: Client, tmp_path: Path, given: str | bytes, name: str | None, expected: str
) -> None:
    """The name is the caller's affair: it names no file at the server."""
    if isinstance(given, str):
        (tmp_path / "dir").mkdir()
        (tmp_path / given).write_bytes(HELLO)
    model = given if isinstance(given, bytes) else tmp_path / given
    assert client.analyze(model, name=name).model.name == expected


def test_progress_tells_stages_in_order_and_bytes_that_grow(client: Client) -> None:
    heard: list[tuple[str, int]] = []
    model = said("sleep 1", 8 << 20)
    client.analyze(model, with_weights=True, progress=lambda stage, received: heard.append((stage, received)))
    stages = [stage for stage, _ in heard]
    assert stages == sorted(stages, key=["receiving", "analyzing"].index)
    assert set(stages) == {"receiving", "analyzing"}
    assert [received for _, received in heard] == sorted(received for _, received in heard)
    assert heard[-1] == ("analyzing", len(model))


def test_progress_that_raises_ends_the_call(client: Client) -> None:
    """Ctrl-C in the caller's own code: the server stops, too."""

    def refuse(stage: str, received: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        client.analyze(said("sleep 3600"), progress=refuse)


# ---- what goes wrong


@dataclasses.dataclass
class Bad:
    """A model that is none, and what its error is."""

    model: bytes
    options: Options
    kind: type[AnalyzerError]


LENET = shipped("lenet5")
LARGE = said("hello", 6 << 20)
BAD = {
    "empty": Bad(b"", Options(), BadModel),
    "text": Bad(b"this is not a model\n" * 9, Options(), BadModel),
    "random": Bad(bytes(range(255, 0, -1)), Options(), BadModel),
    "truncated": Bad(LENET.read_bytes()[:-40], Options(), BadModel),
    "large and truncated": Bad(LARGE[:-40], Options(), BadModel),
    "large and broken": Bad(LARGE + b"\x0f", Options(), BadModel),
    "large and endless": Bad(b"\x12" + b"\xff" * 9 + b"\x01" + LARGE, Options(), BadModel),
    "large and hollow": Bad(b"\xf2\x7f\x80\x80\x80\x04" + bytes(8 << 20), Options(), BadModel),
    "dimension": Bad(LENET.read_bytes(), Options(dims={"nope": 3}), BadOption),
    "rank": Bad(LENET.read_bytes(), Options(shapes={"input": (1, 2)}), BadOption),
}


@pytest.mark.parametrize("with_weights", [False, True])
@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_an_error_is_the_one_that_analyze_raises_here(real: Place, bad: Bad, with_weights: bool) -> None:
    """Class, reason and facts; and the line, except that of an empty upload, which never was a file."""
    with Client(real.address) as client, pytest.raises(bad.kind) as there:
        client.analyze(bad.model, bad.options, with_weights=with_weights)
    with pytest.raises(bad.kind) as here:
        analyze(bad.model, bad.options)
    assert type(there.value) is type(here.value)
    assert (there.value.reason, there.value.facts) == (here.value.reason, here.value.facts)
    assert there.value.message == here.value.message or bad.model == b""
    until(lambda: real.calls() == 0)


@pytest.mark.parametrize(
    ("path", "reason"),
    [("absent.onnx", "FILE_NOT_FOUND"), (".", "IS_A_DIRECTORY"), ("\0", "FILE_UNREADABLE")],
)
@pytest.mark.parametrize("with_weights", [False, True])
def test_a_file_that_cannot_be_read_is_the_same_error_as_without_a_server(
    path: str, reason: str, with_weights: bool
) -> None:
    """Found out before anything is sent."""
    with Client("localhost:1") as client, pytest.raises(BadInput) as caught:
        client.analyze(path, with_weights=with_weights)
    assert caught.value.reason == reason
    with pytest.raises(BadInput) as here:
        analyze(path)
    assert here.value.reason == reason


def test_no_server_is_an_error_that_names_the_address() -> None:
    with Client("localhost:1") as client:
        assert not client.health()
        with pytest.raises(Unavailable, match="localhost:1") as caught:
            client.analyze(HELLO)
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
                client.analyze(HELLO)
        assert caught.value.reason == "UNIMPLEMENTED"
    finally:
        server.stop(None)


def test_a_caller_may_have_a_deadline_of_its_own(client: Client) -> None:
    with pytest.raises(TooSlow) as caught:
        client.analyze(said("sleep 3600"), timeout_seconds=0.5)
    assert caught.value.reason == "DEADLINE_EXCEEDED"
