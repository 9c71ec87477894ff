"""What can go wrong, each with a stable `reason` and the facts that a person or a program needs to act on it.

    AnalyzerError            status (a canonical gRPC code's name), reason (UPPER_SNAKE), message, facts
     ├─ BadInput             what the caller handed over cannot be analysed            INVALID_ARGUMENT
     │   ├─ BadModel         the bytes are no model, or one that no runtime could run  INVALID_ARGUMENT
     │   └─ BadOption        an option that does not fit the model, or does not parse  INVALID_ARGUMENT
     ├─ TooLarge             over a limit that the one who serves has set              RESOURCE_EXHAUSTED
     ├─ TooSlow              not finished by the deadline                              DEADLINE_EXCEEDED
     ├─ Unavailable          nobody to ask just now: no server, a busy one             UNAVAILABLE
     └─ Crashed              the process that analysed it died                         INTERNAL

Doors translate these (an exit status, a gRPC code); the core raises them and knows no door.
"""

from __future__ import annotations

__all__ = [
    "AnalyzerError",
    "BadInput",
    "BadModel",
    "BadOption",
    "Crashed",
    "TooLarge",
    "TooSlow",
    "Unavailable",
]


class AnalyzerError(Exception):
    """Base of all: `str(error)` is one clear line; `reason` and `facts` are the same as data.

    `facts` holds strings only (a node's name, a byte offset, an option), so that every door can carry them.
    """

    status = "UNKNOWN"

    def __init__(self, reason: str, message: str, **facts: object) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.facts = {key: str(value) for key, value in facts.items() if value is not None}

    def at(self, **facts: object) -> AnalyzerError:
        """The same error with more facts, for a caller that knows where it happened; facts already there stay."""
        told = {key: str(value) for key, value in facts.items() if value is not None}
        return type(self)(self.reason, self.message, **{**told, **self.facts})

    def __reduce__(self) -> tuple[object, ...]:  # errors cross process boundaries
        return _rebuild, (type(self), self.reason, self.message, self.facts)


class BadInput(AnalyzerError):
    """What the caller handed over cannot be analysed."""

    status = "INVALID_ARGUMENT"


class BadModel(BadInput):
    """The bytes are no ONNX model, or a model that no runtime could run; facts name the node and attribute."""


class BadOption(BadInput):
    """An option that does not parse or does not fit this model; facts name the option."""


class TooLarge(AnalyzerError):
    """Over a limit that the one who serves has set; facts name the limit and the value."""

    status = "RESOURCE_EXHAUSTED"


class TooSlow(AnalyzerError):
    """Not finished by the deadline; the process that worked on it was ended."""

    status = "DEADLINE_EXCEEDED"


class Unavailable(AnalyzerError):
    """Nobody to ask just now: no server answers, or it is busy or shutting down. The same request may pass later."""

    status = "UNAVAILABLE"


class Crashed(AnalyzerError):
    """The process that worked on the model died, out of memory or by a fault."""

    status = "INTERNAL"


def _rebuild(kind: type[AnalyzerError], reason: str, message: str, facts: dict[str, str]) -> AnalyzerError:
    return kind(reason, message, **facts)
