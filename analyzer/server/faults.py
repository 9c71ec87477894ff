"""Errors to statuses, in one place: what a call raises is what its caller is told, and no more."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import grpc
from grpc_status import rpc_status

from analyzer.errors import AnalyzerError, Crashed
from analyzer.wire import to_status

_log = logging.getLogger(__name__)

_Self = TypeVar("_Self")
_Requests = TypeVar("_Requests")
_Response = TypeVar("_Response")
_Call = Callable[[_Self, _Requests, grpc.ServicerContext], Iterator[_Response]]


def told(call: _Call[_Self, _Requests, _Response]) -> _Call[_Self, _Requests, _Response]:
    """The same call, its AnalyzerErrors told as statuses with details, other exceptions logged and told as INTERNAL."""

    @functools.wraps(call)
    def answered(self: _Self, requests: _Requests, context: grpc.ServicerContext) -> Iterator[_Response]:
        try:
            yield from call(self, requests, context)
        except AnalyzerError as error:
            _abort(context, error)
        except grpc.RpcError:  # the caller has gone
            raise
        except Exception:  # noqa: BLE001  # logged, and not the caller's business
            _log.exception("a call failed")
            _abort(context, Crashed("INTERNAL", "the server failed, and its log says why"))

    return answered


def _abort(context: grpc.ServicerContext, error: AnalyzerError) -> Any:
    context.abort_with_status(rpc_status.to_status(to_status(error)))
