"""Where results and progress go: stdout or a file, whole or not at all; stderr, a line at a time."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TextIO

from analyzer.errors import BadOption
from analyzer.render import render
from analyzer.units import show_bytes

if TYPE_CHECKING:
    from analyzer.report import Report

PROGRAM = "onnx-analyzer"


def show(report: Report, form: str, output: str | None) -> None:
    show_text(render(report, form), output)


def show_text(text: str, output: str | None) -> None:
    if output is None:
        write(text)
        return
    with replaced(output) as file:
        file.write(text.encode())


def write(text: str) -> None:
    """To stdout, in ASCII where the terminal knows no more."""
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        text = text.translate({ord("█"): "#", ord("≥"): ">=", ord("≤"): "<=", ord("…"): "~"})
        text = text.encode(sys.stdout.encoding, "backslashreplace").decode(sys.stdout.encoding)
    sys.stdout.write(text)
    sys.stdout.flush()


def tell(line: str) -> None:
    sys.stderr.write(f"{one_line(line)}\n")
    sys.stderr.flush()


def one_line(text: str) -> str:
    """Messages quote names from models and from the command line, which may hold anything."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


@contextmanager
def progress_line() -> Iterator[Callable[[str, int], None] | None]:
    """Progress on one line of a terminal, wiped at the end; nothing where stderr is a file."""
    if not sys.stderr.isatty():
        yield None
        return

    def progress(stage: str, received_bytes: int) -> None:
        sys.stderr.write(f"\r\x1b[K{one_line(stage)} {show_bytes(received_bytes)}")
        sys.stderr.flush()

    try:
        yield progress
    finally:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()


@contextmanager
def replaced(output: str) -> Iterator[BinaryIO]:
    """A file that is there whole or not at all. A device or a pipe is written as it is."""
    path = Path(output)
    if path.exists() and not path.is_file():
        with path.open("wb") as file:
            yield file
        return
    partial = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with _writing(output):
        try:
            with partial.open("xb") as file:
                yield file
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def appended(output: str | None) -> Iterator[TextIO]:
    """Lines for a batch: OUT.partial grows as they come and becomes OUT at the end; what was done survives a stop."""
    if output is None:
        yield sys.stdout
        return
    partial = Path(f"{output}.partial")
    with _writing(output):
        file = partial.open("w", encoding="utf-8")
    with file:
        yield file
    partial.replace(output)


@contextmanager
def _writing(output: str) -> Iterator[None]:
    """Says which file could not be written by the name that was asked for."""
    try:
        yield
    except OSError as error:
        line = f"cannot write {output}: {error.strerror or error}"
        raise BadOption("CANNOT_WRITE", line, path=output) from error
