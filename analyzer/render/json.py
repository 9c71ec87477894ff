"""The report as JSON, under the names of schema version 1 and in their order; one line per node, tensor and field."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from analyzer.report import Report


def render(report: Report) -> str:
    """JSON text. The long lists have one row per line, so that two reports can be compared line by line."""
    keys = report.__struct_fields__
    members = ",\n".join(f'  "{key}": {_value(getattr(report, key))}' for key in keys)
    return f"{{\n{members}\n}}\n"


def _value(value: object) -> str:
    if isinstance(value, tuple) and value:
        rows = ",\n".join(f"    {_compact(row)}" for row in value)
        return f"[\n{rows}\n  ]"
    return _compact(value)


def _compact(value: object) -> str:
    return msgspec.json.encode(value).decode()
