"""Rows of the report's `receptive_fields`."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import msgspec

from analyzer.describe import Scene
from analyzer.passes.receptive_field import Fields, View
from analyzer.report import FieldRow, LocalField
from analyzer.spans import Reach


def field_rows(scene: Scene, fields: Fields) -> tuple[FieldRow, ...]:
    """A row per tensor that depends on an input, and input axis. Tensors share views, so the figures of each
    are read once.
    """
    dims = [scene.sizes[source].shape[axis] for source, axis in fields.axes]  # type: ignore[union-attr]  # an input with axes
    axes = [(source, axis, dim) for (source, axis), dim in zip(fields.axes, dims, strict=True)]
    free = [_assumed(scene, source, axis) for source, axis, _ in axes]
    read: list[dict[int, tuple[Any, ...]]] = [{} for _ in axes]
    columns: dict[int, list[tuple[Any, ...]]] = {}
    rows: list[FieldRow] = []
    for name, views in fields.views.items():
        if id(views) not in columns:
            columns[id(views)] = found = []
            for place, view in enumerate(views):
                figures = read[place].get(id(view))
                if figures is None:
                    source, axis, dim = axes[place]
                    figures = read[place][id(view)] = (source, axis, *_figures(view, dim, free[place]))
                found.append(figures)
        rows += [FieldRow(name, *column) for column in columns[id(views)]]
    if fields.misaligned:
        first = {name: place * len(axes) for place, name in enumerate(fields.views)}
        for name, place in fields.misaligned:
            row = first[name] + place
            rows[row] = msgspec.structs.replace(rows[row], aligned=False)
    return tuple(rows)


def _assumed(scene: Scene, source: str, axis: int) -> bool:
    """Whether an input axis is as long as nobody said."""
    tensor = next(tensor for tensor in scene.graph.inputs if tensor.name == source)
    dim = tensor.dims[axis] if tensor.dims is not None else None
    return (dim or f"{source}[{axis}]") in scene.assumed


def _figures(view: View | None, dim: int, unbound: bool) -> tuple[Any, ...]:
    """The columns of a FieldRow from `status` on, for an input axis of `dim` rows. Where nobody said how many there
    are, paddings that were made to fit them are not known.
    """
    if view is None:
        return ("none",)
    reach = view.reach
    if reach is None:
        status = "opaque" if view.status == "scattered" else view.status
        return status, None, None, None, None, None, None, None, None, None, _local(view, unbound)
    largest, smallest, stride = _measured(reach)
    padding = None if unbound and reach.fitted else -(reach.lows[0] or 0)
    center = None if padding is None else (largest - 1) / 2 - padding
    return (
        view.status, largest, smallest, stride, padding, center,
        reach.path_min, reach.path_max, largest > dim, True, None,
    )  # fmt: skip


def _local(view: View, unbound: bool) -> LocalField | None:
    local = view.local
    if local is None or local.lows[0] is None:
        return None
    padding = None if unbound and local.fitted else -local.lows[0]
    largest, _, stride = _measured(local)
    return LocalField(largest, stride, padding)


@lru_cache(maxsize=4096)  # rows and columns of a picture, and layers in a row, reach alike
def _measured(reach: Reach) -> tuple[int, int, str]:
    """Most and fewest rows that a position sees, and the stride."""
    return reach.largest, reach.smallest, reach.stride_text
