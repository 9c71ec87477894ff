"""A server for a test to talk to."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from analyzer.server import Limits, Server, start
from tests.doors.standins import OBEDIENT

PATIENCE = 60.0
"""Seconds that a busy machine may take; no test is expected to use them."""


class Place(NamedTuple):
    """A running server."""

    server: Server

    @property
    def address(self) -> str:
        return self.server.address

    def calls(self) -> int:
        """How many are inside now."""
        return self.server._gate._inside


@contextmanager
def place(*, analysis: str = OBEDIENT, **limits: Any) -> Iterator[Place]:
    """A server on loopback with these Limits; once it has stopped, nobody may be inside."""
    asked = Limits(**{"workers": 1, "deadline_seconds": PATIENCE, **limits})
    with start("localhost:0", asked, analysis=analysis) as server:
        yield Place(server)
    assert Place(server).calls() == 0


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
