"""Indices into a tensor: whether they exist, the box that they run through, and each element that they name. Not a
family: no op is named here.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from analyzer.graph import INT64, Size, Value
from analyzer.ops.rule import refuse
from analyzer.spans import DATA, PHASES, WHOLE, Affine, Places, Read, Route

Ints = tuple[int, ...]
Run = tuple[int, int]
"""The first row of an even run and its step."""


def checked(indices: Size, length: int) -> Size:
    """Indices that exist in an axis of `length`, as far as they are known."""
    rows = indices.value
    if rows is None or not indices.value_exact or not rows.size:
        return indices
    low, high = (rows.min(), rows.max()) if rows.size > 1 else (rows.item(), rows.item())
    if not -length <= low <= high < length:
        raise refuse("INDEX_OUT_OF_RANGE", f"indices {low} to {high} reach beyond {length} rows")
    return indices


def run_of(rows: Value, length: int) -> Run | None:
    """Rows of an axis of `length` as an even rising run, if they are one."""
    found = (rows.astype(np.int64) % max(length, 1)).tolist()
    if not found:
        return None
    step = found[1] - found[0] if len(found) > 1 else 1
    return (found[0], step) if step > 0 and found == list(range(found[0], found[-1] + 1, step)) else None


def numbered(shape: Ints) -> Places:
    """Elements by their numbers."""
    return np.arange(math.prod(shape)).reshape(shape)


def check_beside(what: str, indices: Size, x: Size, axis: int) -> None:
    """Indices of the rank of x, nowhere longer than x but along `axis`."""
    if len(indices.shape) != len(x.shape):
        raise refuse("RANK", f"{what} {indices.shape} and data {x.shape} differ in rank")
    if any(a > b for place, (a, b) in enumerate(zip(indices.shape, x.shape, strict=True)) if place != axis):
        raise refuse(
            "INDICES_SHAPE", f"{what} {indices.shape} reach beyond data {x.shape} beside axis {axis}"
        )


def elements_of(shape: Ints, indices: Value, batch_dims: int) -> Places:
    """The numbers of the elements that rows of `indices` name."""
    lead, named = math.prod(shape[:batch_dims]), indices.shape[-1]
    rows = indices.astype(np.int64).reshape(lead, -1, named)
    batch = np.arange(lead)[:, None]
    found: Places = numbered((lead, *shape[batch_dims:]))[(batch, *np.moveaxis(rows, -1, 0))]
    return found


def named_axes(x: Size, indices: Size, batch_dims: int = 0) -> tuple[int, int]:
    """How many axes of x a row of `indices` names, and over how many axes such rows are laid out."""
    if not indices.shape or not 0 <= batch_dims < min(len(indices.shape), len(x.shape)):
        raise refuse("RANK", f"indices {indices.shape} cannot name rows of {x.shape}", attribute="batch_dims")
    if indices.shape[:batch_dims] != x.shape[:batch_dims]:
        raise refuse(
            "INDICES_SHAPE",
            f"indices {indices.shape} and data {x.shape} differ in their first {batch_dims} axes",
        )
    named = indices.shape[-1]
    if batch_dims + named > len(x.shape):
        raise refuse("INDICES_SHAPE", f"rows of {named} indices cannot name elements of {x.shape}")
    if indices.value is not None:
        for place in range(named):
            column = Size(
                indices.shape[:-1], INT64, indices.value[..., place], value_exact=indices.value_exact
            )
            checked(column, x.shape[batch_dims + place])
    return named, len(indices.shape) - 1


def boxed(
    x: Size, indices: Size, first: int, named: int, taps: Callable[[Run], Affine]
) -> list[Route | Read]:
    """Spans of the `named` axes from `first` on: those of a slice where constant indices are laid out as one."""
    if indices.value is None:
        return [DATA] * named
    runs = box_of(indices.value, x.shape[first : first + named]) if not first else None
    if runs is None:
        return [WHOLE] * named
    return [Route(place, taps(run)) if run[1] <= PHASES else WHOLE for place, run in enumerate(runs)]


def box_of(indices: Value, shape: Ints) -> tuple[Run, ...] | None:
    """The run that each axis of a box goes through, if the rows of `indices` are a box of elements, laid out as one."""
    *grid, named = indices.shape
    if len(grid) != named or not indices.size:
        return None
    runs: list[Run] = []
    for place, length in enumerate(shape):
        column = np.moveaxis(indices[..., place], place, 0).reshape(grid[place], -1)
        run = run_of(column[:, 0], length) if (column == column[:, :1]).all() else None
        if run is None:
            return None
        runs.append(run)
    return tuple(runs)
