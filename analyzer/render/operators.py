"""The list of op types that have a rule: a table, Markdown, JSON."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from analyzer.catalog import Entry, entries

_FACTS = ("macs", "elementwise", "field", "saved", "in_place")
_HEADS = ("macs", "elementwise", "field", "saved", "in-place")

_PAGE = """# Operators

Every op type that has a rule: {count} in {domains} domains. This page is made by `onnx-analyzer ops --format
markdown -o docs/operators.md`, and a test keeps it fresh. An op that is not here is reported as such, and its
cost is unknown, never 0.

Versions are those of the domain's opset. The marks say which facts a rule states: multiply-accumulates, elementwise
steps, what an output sees of its operands, what autograd keeps, and which operands may be overwritten or share their
storage. A fact that a rule does not state does not apply: an addition keeps nothing, a reshape computes nothing.
"""


def table() -> str:
    """One line per op type."""
    listed = entries()
    wide = max(len(entry.op_type) for entry in listed)
    far = max(len(entry.domain) for entry in listed)
    versions = max(len(entry.versions) for entry in listed)
    lines = [f"{'domain':<{far}}  {'op':<{wide}}  {'versions':<{versions}}  {'  '.join(_HEADS)}"]
    for entry in listed:
        marks = "  ".join(
            f"{_mark(entry, fact):<{len(head)}}" for fact, head in zip(_FACTS, _HEADS, strict=True)
        )
        lines.append(
            f"{entry.domain:<{far}}  {entry.op_type:<{wide}}  {entry.versions:<{versions}}  {marks}".rstrip()
        )
    return "\n".join(lines) + "\n"


def markdown() -> str:
    """The page docs/operators.md."""
    listed = entries()
    domains = sorted({entry.domain for entry in listed})
    parts = [_PAGE.format(count=len(listed), domains=len(domains))]
    for domain in domains:
        rows = [entry for entry in listed if entry.domain == domain]
        parts.append(f"## {domain}\n\n{len(rows)} op types.\n")
        parts.append("| op | versions | " + " | ".join(_HEADS) + " |")
        parts.append("| :-- | :-- | " + " | ".join(":-:" for _ in _HEADS) + " |")
        for entry in rows:
            marks = " | ".join(_mark(entry, fact) for fact in _FACTS)
            parts.append(f"| {entry.op_type} | {entry.versions} | {marks} |")
        parts.append("")
    return "\n".join(parts)


def json() -> str:
    """A list of objects, one line each."""
    return "[\n" + ",\n".join(msgspec.json.encode(entry).decode() for entry in entries()) + "\n]\n"


def _mark(entry: Entry, fact: str) -> str:
    return "x" if getattr(entry, fact) else ""


FORMS: Mapping[str, Callable[[], str]] = {"table": table, "markdown": markdown, "json": json}
