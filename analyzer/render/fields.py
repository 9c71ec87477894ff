"""Receptive fields in a few characters: "715/32" is a size of 715 rows and a stride of 32."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from analyzer.report import FieldRow, Report

Axes = dict[str, list["FieldRow"]]


def by_tensor(report: Report) -> Axes:
    """The fields of every tensor on the main input, the first that has any; batch and channel axes left out."""
    inputs = [tensor for tensor in report.tensors if tensor.role == "input"]
    ranks = {tensor.name: len(tensor.shape) for tensor in inputs if tensor.shape is not None}
    seen = {row.input for row in report.receptive_fields if row.status != "none"}
    main = next((tensor.name for tensor in inputs if tensor.name in seen), None)
    fields: Axes = {}
    for row in report.receptive_fields:
        rank = ranks.get(row.input, 3)
        first = 0 if rank < 2 else 1 if rank < 4 else 2  # batches and channels have no field to speak of
        if row.input == main and row.axis >= first:
            fields.setdefault(row.tensor, []).append(row)
    return fields


def show(rows: list[FieldRow]) -> str:
    """One piece if the axes agree, else one per axis. Axes that stay local tell most, and silence the global ones."""
    local = [row for row in rows if row.status == "local"]
    pieces = [_piece(row) for row in local or rows]
    if "?" in pieces:
        return "?"
    return pieces[0] if len(set(pieces)) == 1 else " x ".join(pieces)


def _piece(row: FieldRow) -> str:
    if row.status == "none":
        return "-"
    if row.status == "opaque" or (row.status == "local" and row.size is None):
        return "?"
    if row.status == "local":
        return f"{row.size}/{row.stride}"
    if row.status == "global" and row.without_global is not None:
        return f"global ({row.without_global.size}/{row.without_global.stride})"
    return row.status.replace("data_dependent", "by data")


def last_local(report: Report, fields: Axes) -> list[FieldRow]:
    """The fields of the last tensor that still has more than one position; empty if there is none."""
    shapes = {tensor.name: tensor.shape or () for tensor in report.tensors}
    for node in reversed(report.nodes):
        for name in node.outputs:
            rows = [row for row in fields.get(name, []) if row.status == "local" and row.size is not None]
            if rows and len(shapes[name]) > 2 and max(shapes[name][2:]) > 1:
                return rows
    return []


def tell(rows: list[FieldRow], length: dict[int, int]) -> str:
    """One sentence on a tensor's fields: size, stride and padding of each axis, and whether it sees past the input."""
    parts = []
    for row in _distinct(rows, length):
        of = f" of {length[row.axis]}" if row.axis in length else ""
        beyond = ", wider than the input" if row.exceeds_input else ""
        span = f"{row.size_min}-{row.size}" if row.size_min not in (None, row.size) else f"{row.size}"
        parts.append(f"{span}{of} at stride {row.stride}, padding {row.padding}{beyond}")
    return f"{rows[0].tensor} sees " + " x ".join(parts)


def _distinct(rows: list[FieldRow], length: dict[int, int]) -> list[FieldRow]:
    """One row where all axes say the same."""
    told = {(row.size, row.size_min, row.stride, row.padding, length.get(row.axis)) for row in rows}
    return rows[:1] if len(told) == 1 else rows
