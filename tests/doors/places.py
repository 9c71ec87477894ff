"""A server for a test to talk to, and the folder in which its uploads lie for as long as they are needed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from analyzer.server import Limits, Server, start
from tests.doors.standins import OBEDIENT

PATIENCE = 60.0
"""Seconds that a busy machine may take; no test is expected to use them."""


class Place(NamedTuple):
    """A running server and its uploads."""

    server: Server
    folder: Path

    @property
    def address(self) -> str:
        return self.server.address

    def uploads(self) -> list[Path]:
        """Every file that is there now."""
        return [path for path in self.folder.rglob("*") if path.is_file()]


@contextmanager
def place(folder: Path, *, analysis: str = OBEDIENT, **limits: Any) -> Iterator[Place]:
    """A server on loopback with these Limits; once it has stopped, its folder must be empty."""
    asked = Limits(**{"workers": 1, "deadline_seconds": PATIENCE, "upload_dir": str(folder), **limits})
    with start("localhost:0", asked, analysis=analysis) as server:
        yield Place(server, folder)
    assert list(folder.iterdir()) == []


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait for something that is about to happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
