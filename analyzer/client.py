"""The other end of the gRPC door: send a model to a server, get the Report that `analyze` would have given here."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, TypeVar

import grpc
import msgspec
from google.rpc import status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_status import rpc_status

from analyzer.devices import Device
from analyzer.errors import AnalyzerError, BadInput, Unavailable
from analyzer.load import strip
from analyzer.options import Options
from analyzer.plan.record import Plan
from analyzer.report import Report
from analyzer.wire import from_message, from_status, to_message
from analyzer.wire.v1 import analyzer_pb2
from analyzer.wire.v1.analyzer_pb2 import (
    AnalyzeModelRequest,
    ListDevicesRequest,
    PlanModelRequest,
    PlanStart,
    Start,
)
from analyzer.wire.v1.analyzer_pb2_grpc import AnalyzerServiceStub

__all__ = ["Client"]

Record = TypeVar("Record", bound=msgspec.Struct)

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
        start = Start(
            options=to_message(options),
            name=_name(model, name),
            total_bytes=sent_bytes,
            file_bytes=file_bytes,
        )
        requests = _requests(AnalyzeModelRequest, start, file)
        call = self._analyzer.AnalyzeModel(requests, timeout=timeout_seconds)
        return self._last(call, "report", Report, progress)

    def plan(
        self,
        model: str | os.PathLike[str] | bytes,
        memory: Device | int,
        options: Options = Options(),
        *,
        target_batch: int | None = None,
        name: str | None = None,
        progress: Callable[[str, int], None] | None = None,
        timeout_seconds: float | None = None,
    ) -> Plan:
        """What of a model fits: the server's `analyzer.plan.plan`. Its weights stay here; raises what that raises."""
        file, sent_bytes, file_bytes = _thin(model)
        device = memory if isinstance(memory, Device) else None
        start = PlanStart(
            options=to_message(msgspec.structs.replace(options, device=device)),
            name=_name(model, name),
            total_bytes=sent_bytes,
            file_bytes=file_bytes,
            memory_bytes=memory if isinstance(memory, int) else None,
            target_batch=target_batch,
        )
        call = self._analyzer.PlanModel(_requests(PlanModelRequest, start, file), timeout=timeout_seconds)
        return self._last(call, "plan", Plan, progress)

    def devices(self) -> tuple[Device, ...]:
        """The devices that the server knows by name."""
        call: Any = self._analyzer.ListDevices
        try:
            answer = call(ListDevicesRequest(), timeout=_HEALTH_SECONDS)
        except grpc.RpcError as error:
            raise self._error(error) from None
        return tuple(_record(device, Device) for device in answer.devices)

    def _last(
        self, call: Any, field: str, kind: type[Record], progress: Callable[[str, int], None] | None
    ) -> Record:
        """The last answer's `field`, the answers before it told to `progress`."""
        found = None
        try:
            for answer in call:
                if answer.HasField(field):
                    found = getattr(answer, field)
                elif progress is not None:
                    progress(answer.progress.stage, answer.progress.received_bytes)
        except grpc.RpcError as error:
            raise self._error(error) from None
        finally:
            call.cancel()  # where `progress` raised, or Ctrl-C came; nothing otherwise
        if found is None:
            raise AnalyzerError("NO_REPORT", f"the server ended the call without a {field}")
        return _record(found, kind)

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


def _name(model: str | os.PathLike[str] | bytes, name: str | None) -> str:
    """What the answer is to call the model."""
    if name is not None:
        return name
    return "model" if isinstance(model, bytes) else Path(model).stem


def _requests(request: Any, start: Start | PlanStart, file: IO[bytes]) -> Iterator[Any]:
    """The upload, in messages of the type `request`."""
    with file:
        yield request(start=start)
        while chunk := file.read(_CHUNK_BYTES):
            yield request(chunk=chunk)


def _record(message: Any, kind: type[Record]) -> Record:
    try:
        return from_message(message, kind)
    except msgspec.ValidationError as error:
        what = kind.__name__.lower()
        line = f"the server's {what} cannot be read, which means that it is another version: {error}"
        raise AnalyzerError("VERSION_MISMATCH", line) from None
