"""A verification: predicted, measured and the difference, a line each; below, what is off and what was not measured."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from analyzer.render.table import printable
from analyzer.units import show_bytes, show_seconds
from analyzer.verify.record import Figure, Section, Verification

HEADS = ("", "batch", "threads", "level", "predicted", "measured", "difference", "")
SHOWN = 12
"""Most differences of one kind that are listed; JSON has all."""
WORDS = {
    "shape": "shapes",
    "dtype": "element types",
    "scratch": "scratch of nodes",
    "outputs": "outputs, optimised",
    "field": "receptive fields",
}


def table(found: Verification) -> str:
    """Text for a terminal."""
    rows = [HEADS, *(row for section in found.sections for row in _rows(section))]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    grid = [
        "  ".join((row[0].ljust(widths[0]), *map(str.rjust, row[1:-1], widths[1:-1]), row[-1]))
        for row in rows
    ]
    lines = [*_head(found), "", *grid, *_differing(found), "", _verdict(found)]
    return "\n".join(printable(line).rstrip() for line in lines) + "\n"


def json(found: Verification) -> str:
    """One object."""
    plain = {**msgspec.to_builtins(found), "passed": found.passed}
    return msgspec.json.format(msgspec.json.encode(plain), indent=2).decode() + "\n"


def _head(found: Verification) -> list[str]:
    machine = found.machine
    where = machine.processor if machine.gpu is None else f"{machine.gpu}, driver {machine.driver}"
    made_up = f"; {found.invented} stored tensors were absent and made up" if found.invented else ""
    return [f"{found.model or '(unnamed model)'} in onnxruntime {found.release}, {found.provider}",
            f"{where}, {machine.processors} processors, {found.date}{made_up}"]  # fmt: skip


def _rows(section: Section) -> list[tuple[str, ...]]:
    if section.kind in ("memory", "device", "time") and section.figures:
        return [_row(section, figure) for figure in section.figures]
    what = WORDS.get(section.kind, section.kind)
    if not section.compared:
        return [(what, *_setting(section), "", "not measured", "", "")]
    agreed = f"{section.agreed:,} of {section.compared:,} agree"
    return [(what, *_setting(section), agreed, "", "", "" if section.within else "off")]


def _row(section: Section, figure: Figure) -> tuple[str, ...]:
    show = _seconds if section.kind == "time" else _bytes
    off = (
        "" if figure.difference is None else "exact" if not figure.difference else f"{figure.difference:+.2%}"
    )
    name = figure.name.removesuffix("_bytes").replace("_", " ")
    verdict = "" if figure.within else "off"
    note = ", ".join(filter(None, (verdict, figure.note)))
    return (name, *_setting(section), show(figure.predicted), show(figure.measured), off, note)


def _setting(section: Section) -> tuple[str, str, str]:
    level = (section.level or "") + (
        " without pattern" if section.pattern is False and section.kind == "memory" else ""
    )
    return (
        "" if section.batch is None else str(section.batch),
        "" if section.threads is None else str(section.threads),
        level,
    )


def _bytes(value: object) -> str:
    return show_bytes(value) if isinstance(value, int) else "?" if value is None else str(value)


def _seconds(value: object) -> str:
    return show_seconds(value) if isinstance(value, float) else "?" if value is None else str(value)


def _differing(found: Verification) -> list[str]:
    """Every figure that is off, and every reason why there are none."""
    lines = []
    for section in found.sections:
        what = f"{WORDS.get(section.kind, section.kind)}{_at(section)}"
        if section.unmeasured:
            lines.append(f"{what}: {section.unmeasured}")
        if section.kind in ("memory", "device", "time"):
            continue
        lines += [f"{what}: {figure.name}: {_pair(figure)}" for figure in section.figures[:SHOWN]]
        if len(section.figures) > SHOWN:
            lines.append(f"{what}: and {len(section.figures) - SHOWN} more")
    return ["", *dict.fromkeys(lines)] if lines else []


def _pair(figure: Figure) -> str:
    if figure.predicted is None:
        return figure.note or f"{figure.difference:.2g} apart"
    off = "" if figure.difference is None else f" ({figure.difference:+.2%})"
    note = f", {figure.note}" if figure.note else ""
    return f"predicted {figure.predicted}, measured {figure.measured}{off}{note}"


def _at(section: Section) -> str:
    told = [
        f"{name} {value}"
        for name, value in zip(("batch", "threads"), _setting(section)[:2], strict=True)
        if value
    ]
    return f" at {', '.join(told)}" if told else ""


def _verdict(found: Verification) -> str:
    off = sum(not section.within for section in found.sections)
    silent = any(section.unmeasured is not None for section in found.sections)
    told = f"{off} of {len(found.sections)} comparisons are off" if off else "nothing is off"
    return f"{told}; something was not measured" if silent else told


FORMS: Mapping[str, Callable[[Verification], str]] = {"table": table, "json": json}
