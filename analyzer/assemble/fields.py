"""Rows of the report's `receptive_fields`."""

from __future__ import annotations

from typing import Any

import msgspec

from analyzer.describe import Scene
from analyzer.passes.receptive_field import Fields, View
from analyzer.report import FieldRow, LocalField


def field_rows(scene: Scene, fields: Fields) -> tuple[FieldRow, ...]:
    """A row per tensor that depends on an input, and input axis. Tensors share views, so the figures of each
    are read once.
    """
    dims = [scene.sizes[source].shape[axis] for source, axis in fields.axes]  # type: ignore[union-attr]  # an input with axes
    axes = [(source, axis, dim) for (source, axis), dim in zip(fields.axes, dims, strict=True)]
    read: dict[int, tuple[Any, ...]] = {id(None): ("none",)}
    rows: list[FieldRow] = []
    for name, views in fields.views.items():
        for (source, axis, dim), view in zip(axes, views, strict=True):
            figures = read.get(id(view))
            if figures is None:
                assert view is not None
                figures = read[id(view)] = _figures(view, dim)
            rows.append(FieldRow(name, source, axis, *figures))
    if fields.misaligned:
        first = {name: place * len(axes) for place, name in enumerate(fields.views)}
        for name, place in fields.misaligned:
            row = first[name] + place
            rows[row] = msgspec.structs.replace(rows[row], aligned=False)
    return tuple(rows)


def _figures(view: View, dim: int) -> tuple[Any, ...]:
    """The columns of a FieldRow from `status` on, for an input axis of `dim` rows."""
    reach = view.reach
    if reach is None:
        return view.status, None, None, None, None, None, None, None, None, None, _local(view)
    smallest, largest = reach.smallest, reach.largest
    padding = -(reach.lows[0] or 0)
    return (
        view.status, largest, smallest, reach.stride_text, padding, (largest - 1) / 2 - padding,
        reach.path_min, reach.path_max, largest > dim, True, None,
    )  # fmt: skip


def _local(view: View) -> LocalField | None:
    local = view.local
    if local is None or local.lows[0] is None:
        return None
    return LocalField(local.largest, local.stride_text, -local.lows[0])
