"""Limits that a model must keep: a budget file in TOML, and the breaches of it that a report shows.

    allow_partial = false              # whether a value that is only partly known may pass

    [max]
    totals.macs = "5G"                 # the names of the JSON report; K M G T count in 1000s
    memory.inference.peak_live_bytes = "64MiB"
    depth = 60

    [min]
    totals.parameters = 1_000_000

What is not known passes no limit: that would be a check that never fails.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from analyzer.errors import BadOption
from analyzer.report import InferenceMemory, Metric, Report, Totals, TrainingMemory
from analyzer.units import parse_quantity, show_bytes, show_count

Bound = Literal["max", "min"]
Reason = Literal["exceeded", "unknown", "not_fully_known"]


class Limit(msgspec.Struct, frozen=True):
    """One line of a budget: the field's path in the JSON report and the value it must not pass."""

    path: str
    bound: Bound
    value: int


class Budget(msgspec.Struct, frozen=True):
    """All limits, in the file's order."""

    limits: tuple[Limit, ...]
    allow_partial: bool = False


class Breach(msgspec.Struct, frozen=True):
    """A limit that is not kept, or not known to be kept. `known` is the part that could be counted, if any."""

    limit: Limit
    reason: Reason
    known: int | None
    partial: bool = False

    def __str__(self) -> str:
        """One line: "totals.macs 7.09 G exceeds max 5.00 G (by 42%)"."""
        path, bound = self.limit.path, self.limit.bound
        show = show_bytes if path.endswith("_bytes") else show_count
        limit = f"{bound} {show(self.limit.value)}"
        if self.reason == "unknown":
            return f"{path} is unknown, so {limit} may not hold"
        known = f"{path} {'is at least ' if self.partial else ''}{show(self.known)}"
        if self.reason == "not_fully_known":
            return f"{known}, not fully known, so {limit} may not hold (allow_partial = true accepts it)"
        verb = "exceeds" if bound == "max" else "is below"
        return f"{known}{',' if self.partial else ''} {verb} {limit}{self._by()}"

    def _by(self) -> str:
        """How far past the limit, in percent of it; three digits hide a small breach, so the numbers follow it."""
        if self.known is None or self.limit.value == 0:
            return ""
        percent = 100 * abs(self.known - self.limit.value) / self.limit.value
        exact = f": {self.known:,} to {self.limit.value:,}" if percent < 1 else ""
        return f" (by {'<1' if percent < 0.5 else f'{percent:.0f}'}%{exact})"


def load(path: str | Path) -> Budget:
    """The budget that a file holds. Raises BadOption where it is no budget."""
    try:
        return parse(tomllib.loads(Path(path).read_text(encoding="utf-8")), source=str(path))
    except OSError as error:
        raise BadOption("NO_BUDGET", f"cannot read the budget {path}: {error.strerror}", path=path) from error
    except ValueError as error:
        raise BadOption("BAD_BUDGET", f"{path} is no TOML: {error}", path=path) from error


def parse(plain: Mapping[str, Any], source: str = "the budget") -> Budget:
    """A budget from the plain tables of TOML. Paths are checked here, so that a typo is no limit that always holds."""
    tables = dict(plain)
    allow_partial = tables.pop("allow_partial", False)
    if not isinstance(allow_partial, bool):
        raise BadOption("BAD_BUDGET", f"{source}: allow_partial is true or false, not {allow_partial!r}")
    limits: list[Limit] = []
    for name, table in tables.items():
        if name not in ("max", "min") or not isinstance(table, Mapping):
            what = f"{name!r} is neither [max] nor [min] nor allow_partial"
            raise BadOption("BAD_BUDGET", f"{source}: {what}", field=name)
        bound: Bound = "max" if name == "max" else "min"
        limits += [Limit(_known(path), bound, _value(path, value)) for path, value in _leaves(table)]
    if not limits:
        raise BadOption("BAD_BUDGET", f"{source} sets no limit: give it a [max] or [min] table")
    return Budget(tuple(limits), allow_partial)


def check(report: Report, budget: Budget) -> tuple[Breach, ...]:
    """Every limit that the report breaches or cannot be said to keep, in the budget's order."""
    found = (_judge(limit, *_measured(report, limit.path), budget.allow_partial) for limit in budget.limits)
    return tuple(breach for breach in found if breach is not None)


def paths() -> tuple[str, ...]:
    """Every field that a budget may limit, as a dotted path in the JSON report."""
    memory = {"memory.inference": InferenceMemory, "memory.training": TrainingMemory}
    fields = [(f"totals.{name}", name) for name in Totals.__struct_fields__]
    for prefix, record in memory.items():
        fields += [(f"{prefix}.{name}", name) for name in record.__struct_fields__ if name.endswith("_bytes")]
    return (*(path for path, _ in fields), "depth", "model.file_bytes")


def _judge(limit: Limit, known: int | None, partial: bool, allow_partial: bool) -> Breach | None:
    if known is None:
        return Breach(limit, "unknown", None)
    if limit.bound == "max" and known > limit.value:
        return Breach(limit, "exceeded", known, partial)
    if limit.bound == "min" and known >= limit.value:
        return None  # the unknown part only adds to it
    if partial and not allow_partial:
        return Breach(limit, "not_fully_known", known, partial)
    return Breach(limit, "exceeded", known, partial) if limit.bound == "min" else None


def _measured(report: Report, path: str) -> tuple[int | None, bool]:
    """The value at a path, and whether it is only a part of the truth."""
    value: Any = report
    status = "complete"
    for name in path.split("."):
        value = getattr(value, name)
        status = getattr(value, "status", status)
    if isinstance(value, Metric):
        value = value.known
    return (None if status == "unavailable" else value), status != "complete"


def _leaves(table: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted paths and values; TOML reads `totals.macs = 1` as nested tables, and `"totals.macs" = 1` as one name."""
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _known(path: str) -> str:
    if path in paths():
        return path
    ends = {known.rpartition(".")[2]: known for known in paths()}
    near = difflib.get_close_matches(path, paths(), n=3, cutoff=0.6)
    near += [ends[name] for name in difflib.get_close_matches(path.rpartition(".")[2], ends, n=2, cutoff=0.7)]
    hint = f"did you mean {' or '.join(dict.fromkeys(near))}?" if near else f"there are {', '.join(paths())}"
    raise BadOption("UNKNOWN_FIELD", f"a budget cannot limit {path!r}: {hint}", field=path)


def _value(path: str, value: object) -> int:
    if isinstance(value, str):
        try:
            return parse_quantity(value)
        except ValueError as error:
            raise BadOption("BAD_LIMIT", f"the limit of {path}: {error}", field=path) from error
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise BadOption("BAD_LIMIT", f"the limit of {path} is a number from 0 up, not {value!r}", field=path)
    return round(value)
