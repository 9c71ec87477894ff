"""The report for a terminal: what was analysed, a row per stage, and a few sentences."""

from __future__ import annotations

import shutil
import sys
import textwrap
from typing import TYPE_CHECKING

from analyzer.render import cells
from analyzer.render.sentences import headline, sentences
from analyzer.render.stages import gather

if TYPE_CHECKING:
    from analyzer.render.cells import Row
    from analyzer.report import Report

NARROWEST, USUAL, WIDEST = 80, 100, 120
BAR_CELLS = 8
GAP = "  "
FEW_COLUMNS = 90
YIELDING = (
    *(("nodes", 22), ("stage", 24), ("nodes", 12), ("field", 13), ("output", 13), ("stage", 12)),
    *(("field", 7), ("nodes", 8), ("output", 8), ("stage", 6)),
)
"""Which columns give way, in this order, and how far."""

_LEFT = ("stage", "output", "nodes")


def render(report: Report, width: int | None = None) -> str:
    """Plain text, at most `width` columns; by default the terminal's, between 80 and 120, or 100 without one."""
    columns = _columns() if width is None else width
    stages = gather(report)
    body = cells.rows(report, stages)
    total = cells.total(report)
    lines = [line for text in headline(report) for line in _wrap("", printable(text), columns)]
    lines += ["", *_lay_out(body, total, columns), ""]
    lines += [
        line for label, text in sentences(report, stages) for line in _wrap(label, printable(text), columns)
    ]
    return "\n".join(line.rstrip() for line in lines) + "\n"


def printable(text: str) -> str:
    """Names come from the model: what would move a cursor or end a line is shown by its code."""
    return "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)


def _columns() -> int:
    if not sys.stdout.isatty():
        return USUAL
    return min(WIDEST, max(NARROWEST, shutil.get_terminal_size((USUAL, 24)).columns))


def _lay_out(body: list[Row], total: Row, columns: int) -> list[str]:
    """The rows between rules. The bar goes where columns are few."""
    every = [cells.titles(), *body, total]
    widths = {name: max(len(_text(row, name)) for row in every) for name in cells.COLUMNS}
    bars = BAR_CELLS + 1 if columns >= FEW_COLUMNS else 0
    excess = sum(widths.values()) + bars + len(GAP) * (len(widths) - 1) - columns
    for name, least in YIELDING:
        given = max(0, min(excess, widths[name] - least))
        widths[name], excess = widths[name] - given, excess - given
    largest = max((row.share or 0 for row in body), default=0) or 1
    rule = "-" * (sum(widths.values()) + bars + len(GAP) * (len(widths) - 1))

    def line(row: Row) -> str:
        texts = {name: _fit(row, name, widths[name]) for name in cells.COLUMNS}
        if bars:
            texts["%"] += " " + ("█" * round(BAR_CELLS * (row.share or 0) / largest)).ljust(BAR_CELLS)
        return GAP.join(texts.values())

    return [line(every[0]), rule, *map(line, body), rule, line(total)]


def _text(row: Row, name: str) -> str:
    return printable(row.mix() if name == "nodes" else row[name])


def _fit(row: Row, name: str, width: int) -> str:
    """A cell. What is too long loses its middle; of many ops as many are named as fit."""
    text = printable(row.mix(width)) if name == "nodes" else _text(row, name)
    if len(text) > width:
        tail = (width - 1) // 2
        text = text[: width - 1 - tail] + "…" + text[len(text) - tail :]
    return text.ljust(width) if name in _LEFT else text.rjust(width)


def _wrap(label: str, text: str, columns: int) -> list[str]:
    first = f"{label:<13}" if label else ""
    return textwrap.wrap(
        text,
        columns,
        initial_indent=first,
        subsequent_indent=" " * 13,
        break_long_words=True,
        break_on_hyphens=False,
    ) or [first]
