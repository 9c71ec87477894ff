"""The other end of the gRPC door: send a model to a server, get the Report that `analyze` would have given here."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, Any

import grpc
import msgspec
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from analyzer.errors import AnalyzerError, BadInput, Unavailable
from analyzer.load import strip
from analyzer.options import Options
from analyzer.report import Report
from analyzer.wire import from_message, from_status, to_message
from analyzer.wire.v1 import analyzer_pb2
from analyzer.wire.v1.analyzer_pb2 import AnalyzeModelRequest, AnalyzeModelResponse, Start
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceStub

__all__ = ["Client"]

_SERVICE = analyzer_pb2.DESCRIPTOR.services_by_name["AnalyzerService"].full_name
_HEALTH_SECONDS = 5.0
# As fast as larger chunks, and a server holds a few for each upload.
_CHUNK_BYTES = 1 << 18
_CHANNEL: tuple[tuple[str, int], ...] = (
    ("grpc.http2.bdp_probe", 0),
    ("grpc.max_receive_message_length", -1),  # a report of many nodes
    ("grpc.max_metadata_size", 64 << 10),  # an error with all its facts
)


class Client:
    """A connection to the server at `address`, "host:port". Use as a context manager, or `close()` it.

    It connects when it is first asked something. One client may be used from several threads.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._channel = grpc.insecure_channel(address, options=_CHANNEL)
        self._analyzer = AnalyzerServiceStub(self._channel)
        self._health: Any = health_pb2_grpc.HealthStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the connection; calls under way end with an error."""
        self._channel.close()

    def analyze(
        self,
        model: str | os.PathLike[str] | bytes,
        options: Options = Options(),
        *,
        name: str | None = None,
        with_weights: bool = False,
        progress: Callable[[str, int], None] | None = None,
        timeout_seconds: float | None = None,
    ) -> Report:
        """The report on a model, given by path or as bytes.

        Its weights stay here: what is sent is the structure, kilobytes of a model of gigabytes. `with_weights` sends
        the file as it is, read as it is sent, never whole. `name` replaces the file's stem in the report. `progress` is
        called with a stage ("receiving", "analyzing") and the bytes that the server has. Raises what `analyze` raises,
        and Unavailable where no server answers.
        """
        file, sent_bytes, file_bytes = _whole(model) if with_weights else _thin(model)
        if name is None:
            name = "model" if isinstance(model, bytes) else Path(model).stem
        start = Start(options=to_message(options), name=name, total_bytes=sent_bytes, file_bytes=file_bytes)
        call: Any = self._analyzer.AnalyzeModel(_requests(start, file), timeout=timeout_seconds)
        try:
            return _report(call, progress)
        except grpc.RpcError as error:
            raise self._error(error) from None
        finally:
            call.cancel()  # where `progress` raised, or Ctrl-C came; nothing otherwise

    def health(self) -> bool:
        """Whether a server answers and takes models."""
        try:
            answer = self._health.Check(
                health_pb2.HealthCheckRequest(service=_SERVICE), timeout=_HEALTH_SECONDS
            )
        except grpc.RpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    def _error(self, error: Any) -> AnalyzerError:
        """What the server raised; where it was not our server that spoke, an error of the status's class."""
        try:
            status = rpc_status.from_call(error)
        except ValueError:  # details that are not this call's
            status = None
        if status is not None:
            return from_status(status)
        code, details = error.code(), error.details() or "no details"
        if code is grpc.StatusCode.UNAVAILABLE:
            line = f"no server answers at {self._address}: {details}"
            return Unavailable("UNREACHABLE", line, address=self._address)
        return from_status(status_pb2.Status(code=code.value[0], message=f"{self._address}: {details}"))


_Upload = tuple[IO[bytes], int | None, int | None]
"""What to send; of how many bytes, if that can be told; and the size of the model's own file, where this is another."""


def _thin(model: str | os.PathLike[str] | bytes) -> _Upload:
    """The model without its weights. Raises what `analyze` raises where there is no model."""
    thin = strip(model)
    return io.BytesIO(thin), len(thin), len(model) if isinstance(model, bytes) else Path(model).stat().st_size


def _whole(model: str | os.PathLike[str] | bytes) -> _Upload:
    """The model's bytes as they are. Raises BadInput where there are none."""
    if isinstance(model, bytes):
        return io.BytesIO(model), len(model), None
    path = os.fspath(model)
    try:
        file = Path(path).open("rb", buffering=0)  # noqa: SIM115  # closed when its last byte is sent
    except FileNotFoundError:
        raise BadInput("FILE_NOT_FOUND", f"no such file: {path}", path=path) from None
    except IsADirectoryError:
        raise BadInput("IS_A_DIRECTORY", f"{path} is a directory, not an .onnx file", path=path) from None
    except (OSError, ValueError) as error:
        raise BadInput("FILE_UNREADABLE", f"cannot read {path}: {error}", path=path) from None
    about = os.fstat(file.fileno())
    return file, about.st_size if stat.S_ISREG(about.st_mode) else None, None


def _requests(start: Start, file: IO[bytes]) -> Iterator[AnalyzeModelRequest]:
    """The upload."""
    with file:
        yield AnalyzeModelRequest(start=start)
        while chunk := file.read(_CHUNK_BYTES):
            yield AnalyzeModelRequest(chunk=chunk)


def _report(answers: Iterable[AnalyzeModelResponse], progress: Callable[[str, int], None] | None) -> Report:
    """The last answer, the others told to `progress`."""
    report = None
    for answer in answers:
        if answer.HasField("report"):
            report = answer.report
        elif progress is not None:
            progress(answer.progress.stage, answer.progress.received_bytes)
    if report is None:
        raise AnalyzerError("NO_REPORT", "the server ended the call without a report")
    try:
        return from_message(report, Report)
    except msgspec.ValidationError as error:
        line = f"the server's report cannot be read, which means that it is another version: {error}"
        raise AnalyzerError("VERSION_MISMATCH", line) from None
