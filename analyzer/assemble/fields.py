"""Rows of the report's `receptive_fields`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from analyzer.describe import Scene
from analyzer.passes.receptive_field import Fields, View
from analyzer.report import FieldRow, LocalField


def field_rows(scene: Scene, fields: Fields) -> Iterator[FieldRow]:
    """A row per tensor that depends on an input, and input axis. Tensors share views, so the figures of each
    are read once.
    """
    dims = [scene.sizes[source].shape[axis] for source, axis in fields.axes]  # type: ignore[union-attr]  # an input with axes
    axes = [(source, axis, dim) for (source, axis), dim in zip(fields.axes, dims, strict=True)]
    read: dict[int, tuple[Any, ...]] = {id(None): ("none",)}
    misaligned = fields.misaligned
    for name, views in fields.views.items():
        for place, view in enumerate(views):
            source, axis, dim = axes[place]
            figures = read.get(id(view))
            if figures is None:
                assert view is not None
                figures = read[id(view)] = _figures(view, dim)
            row = FieldRow(name, source, axis, *figures)
            if misaligned and (name, place) in misaligned:
                row = msgspec.structs.replace(row, aligned=False)
            yield row


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
