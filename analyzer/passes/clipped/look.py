"""What one position of one tensor sees."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.describe import Scene
from analyzer.errors import BadOption
from analyzer.graph import Size
from analyzer.passes.clipped.views import Trust
from analyzer.passes.clipped.walk import trace


class Sight(msgspec.Struct, frozen=True):
    """The rows of one axis of one input that are seen, first and last; None where nothing is, or only padding.

    Where `trust` is data_dependent or opaque, rows in between may be seen or not, as the data decides, or as nobody can
    tell; none outside is.
    """

    input: str
    axis: int
    length: int
    rows: tuple[int, int] | None
    trust: Trust


class Look(msgspec.Struct, frozen=True):
    """What the elements of `tensor` at positions `at`, by axis, see together. `shape` is None where nobody knows it."""

    tensor: str
    shape: tuple[int, ...] | None
    at: dict[int, int]
    seen: tuple[Sight, ...]


def look(scene: Scene, tensor: str, at: Mapping[int, int]) -> Look:
    """What one position of a tensor sees. Raises BadOption where there is no such tensor, axis or position."""
    found = trace(scene, (tensor,))
    views = found.views.get(tensor)
    if views is None and tensor not in scene.sizes:
        raise BadOption("UNKNOWN_TENSOR", f"no tensor is named {tensor!r}", option="tensor", tensor=tensor)
    size = scene.size(tensor)
    at = dict(at) if size is None else _checked(at, size, tensor)
    seen = []
    for (source, axis), view in zip(found.axes, views or (None,) * len(found.axes), strict=True):
        length = scene.sizes[source].shape[axis]  # type: ignore[union-attr]  # an input with axes
        rows, trust = (None, "exact") if view is None else (view.at(at), view.trust)
        seen.append(Sight(source, axis, length, rows, trust))
    return Look(tensor, None if size is None else size.shape, at, tuple(seen))


def _checked(at: Mapping[int, int], size: Size, tensor: str) -> dict[int, int]:
    """Positions that exist, axes and positions counted from the end where negative."""
    checked = {}
    for axis, position in at.items():
        if not -size.rank <= axis < size.rank:
            told = f"{tensor!r} of shape {size.shape} has no axis {axis}"
            raise BadOption("UNKNOWN_AXIS", told, option="at", tensor=tensor)
        length = size.shape[axis]
        if not -length <= position < length:
            told = f"axis {axis} of {tensor!r} has positions 0 to {length - 1}, not {position}"
            raise BadOption("UNKNOWN_POSITION", told, option="at", tensor=tensor)
        checked[axis % size.rank] = position % length
    return checked
