"""The report for a comment on a pull request: the same rows and sentences as the table, in GitHub's Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from analyzer.render import cells
from analyzer.render.sentences import headline, sentences
from analyzer.render.stages import gather

if TYPE_CHECKING:
    from analyzer.render.cells import Row
    from analyzer.report import Report

_ALIGNED = {"stage": ":--", "output": ":--", "nodes": ":--"}
_MARKUP = re.compile(r"([\\`*_{}\[\]<>|~#@])")


def render(report: Report) -> str:
    """Markdown text: a heading, a table, a list."""
    stages = gather(report)
    name, *about = headline(report)
    rule = "| " + " | ".join(_ALIGNED.get(column, "--:") for column in cells.COLUMNS) + " |"
    body = [_line(row) for row in cells.rows(report, stages)]
    total = _line(cells.total(report), strong=True)
    told = [f"- **{label}**: {plain(text)}" for label, text in sentences(report, stages)]
    return "\n".join(
        [
            f"### {plain(name)}",
            "",
            *("  \n".join(map(plain, about))).split("\n"),
            "",
            _line(cells.titles()),
            rule,
            *body,
            total,
            "",
            *told,
            "",
        ]
    )


def _line(row: Row, *, strong: bool = False) -> str:
    texts = [plain(row.mix() if column == "nodes" else row[column]) for column in cells.COLUMNS]
    return "| " + " | ".join(f"**{text}**" if strong and text else text for text in texts) + " |"


def plain(text: str) -> str:
    """Names come from the model and may hold markup, pipes, mentions and line ends: they are shown, not obeyed."""
    shown = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return _MARKUP.sub(r"\\\1", shown)
