"""AnalyzerError to google.rpc.Status and back, so that a client raises what the server raised.

The error travels as ErrorInfo: its reason, this project's domain, its facts as metadata, and its class under "error".
Where an option is at fault a BadRequest names the field. Long texts are cut: all of it must fit into HTTP/2 headers.
"""

from __future__ import annotations

from google.rpc import code_pb2, error_details_pb2, status_pb2

from analyzer.errors import (
    AnalyzerError,
    BadInput,
    BadModel,
    BadOption,
    Crashed,
    TooLarge,
    TooSlow,
    Unavailable,
)

DOMAIN = "onnx-analyzer"

_KIND = "error"  # the metadata key of the error's class
_KINDS: dict[str, type[AnalyzerError]] = {
    kind.__name__: kind
    for kind in (BadInput, BadModel, BadOption, TooLarge, TooSlow, Unavailable, Crashed, AnalyzerError)
}
_NAMES: dict[int, str] = {number: name for name, number in code_pb2.Code.items()}
_MESSAGE_CHARS, _FACT_CHARS, _FACTS = 1000, 200, 12


def to_status(error: AnalyzerError) -> status_pb2.Status:
    """What the caller is told of an error."""
    told = dict(list(error.facts.items())[:_FACTS])
    facts = {key: _cut(value, _FACT_CHARS) for key, value in told.items()} | {_KIND: type(error).__name__}
    message = _cut(error.message, _MESSAGE_CHARS)
    status = status_pb2.Status(code=code_pb2.Code.Value(error.status), message=message)
    status.details.add().Pack(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=facts))
    if isinstance(error, BadOption) and "option" in error.facts:
        field = f"start.options.{error.facts['option']}"
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    return status


def from_status(status: status_pb2.Status) -> AnalyzerError:
    """The error that `to_status` was given; one of the status's own class where somebody else made the status."""
    info = error_details_pb2.ErrorInfo()
    for detail in status.details:
        if detail.Unpack(info) and info.domain == DOMAIN:
            facts = {
                key: value for key, value in info.metadata.items() if key not in (_KIND, "reason", "message")
            }
            kind = _KINDS.get(info.metadata[_KIND]) or _kind_of(status.code)
            return kind(info.reason, status.message, **facts)
    return _kind_of(status.code)(_NAMES.get(status.code, "UNKNOWN"), status.message)


def _kind_of(code: int) -> type[AnalyzerError]:
    """The widest class that has this status."""
    return next((kind for kind in _KINDS.values() if kind.status == _NAMES.get(code)), AnalyzerError)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"
