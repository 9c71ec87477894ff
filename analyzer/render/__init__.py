"""A report in the forms that people and programs read. One file per form with a `render(report)`, one row here."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.report import Report

SUFFIXES = {
    "table": (".txt",),
    "json": (".json",),
    "markdown": (".md", ".markdown"),
}
"""Every form and the file name endings that ask for it. A form's module has its name and is loaded when asked for."""

FORMS = tuple(SUFFIXES)


def render(report: Report, form: str = "table") -> str:
    """The report in one of FORMS, as text that ends in a newline."""
    text: str = import_module(f"{__name__}.{form}").render(report)
    return text


def form_of(path: str) -> str | None:
    """The form that a file's name asks for, or None where its ending says nothing."""
    return next((form for form, endings in SUFFIXES.items() if path.lower().endswith(endings)), None)
