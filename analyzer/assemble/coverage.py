"""Rows of the report's `coverage`: what the outputs and the last spatial tensor see of each axis of each input."""

from __future__ import annotations

from analyzer.describe import Scene
from analyzer.ops.rule import Facts
from analyzer.passes.clipped import Clipped, Seen
from analyzer.passes.receptive_field import Fields, View
from analyzer.report import CoverageRow


def looked_at(scene: Scene, fields: Fields) -> tuple[str, ...]:
    """The tensors whose clipped fields the rows are made from."""
    last = (_last_spatial(scene, fields, place) for place in range(len(fields.axes)))
    return (*_outputs(scene), *(name for name in last if name is not None))


def coverage_rows(scene: Scene, fields: Fields, clipped: Clipped) -> tuple[CoverageRow, ...]:
    """A row per input axis of more than one row."""
    rows = []
    for place, (source, axis) in enumerate(fields.axes):
        length = scene.sizes[source].shape[axis]  # type: ignore[union-attr]  # an input with axes
        if length < 2:
            continue
        last = _last_spatial(scene, fields, place)
        head, tail = _unseen([_seen(clipped, name, place) for name in _outputs(scene)], length)
        rows.append(
            CoverageRow(
                source,
                axis,
                exceeds_at=_exceeding(fields, place, length),
                unproductive=_unproductive(scene, fields, place, length),
                last_spatial=last,
                share_seen=None if last is None else _share(_seen(clipped, last, place), length),
                unseen_head=head,
                unseen_tail=tail,
            )
        )
    return tuple(rows)


def _outputs(scene: Scene) -> list[str]:
    return [tensor.name for tensor in scene.graph.outputs]


def _seen(clipped: Clipped, name: str, place: int) -> Seen | None:
    views = clipped.views.get(name)
    return None if views is None else views[place]


def _view(fields: Fields, name: str, place: int) -> View | None:
    views = fields.views.get(name)
    return None if views is None else views[place]


def _last_spatial(scene: Scene, fields: Fields, place: int) -> str | None:
    """The last tensor that sees windows of the input axis from the positions of an axis of its own."""
    for name in reversed(tuple(fields.views)):
        view, size = fields.views[name][place], scene.size(name)
        if view is None or view.reach is None or size is None or name == fields.axes[place][0]:
            continue
        if len(view.digits) == 1 and 1 < view.digits[0].extent == size.shape[view.digits[0].axis]:
            return name
    return None


def _exceeding(fields: Fields, place: int, length: int) -> str | None:
    """The first tensor whose field is larger than the input."""
    for name, views in fields.views.items():
        view = views[place]
        if view is not None and view.reach is not None and view.reach.largest > length:
            return name
    return None


def _unproductive(scene: Scene, fields: Fields, place: int, length: int) -> tuple[str, ...]:
    """Nodes that multiply and widen the field of what sees more than the axis already along its narrowest path."""
    found = []
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        if type(said) is not Facts or not said.macs or not node.inputs:
            continue
        before, after = _view(fields, node.inputs[0], place), _view(fields, node.outputs[0], place)
        if before is None or before.reach is None or after is None or after.reach is None:
            continue
        if before.reach.path_min > length and after.reach.largest > before.reach.largest:
            found.append(node.name)
    return tuple(found)


def _share(seen: Seen | None, length: int) -> float | None:
    """Part of the input that the position sees that sees most."""
    if seen is None:
        return None
    first, last = seen.ends[0].astype(int), -seen.ends[1].astype(int)
    return max(int((last - first).max()) + 1, 0) / length


def _unseen(outputs: list[Seen | None], length: int) -> tuple[int | None, int | None]:
    """Rows at the start and at the end that no output sees; None where nobody can tell."""
    told = [seen for seen in outputs if seen is not None]
    if any(seen.trust != "exact" for seen in told):
        return None, None
    rows = [seen.at({}) for seen in told]
    known = [row for row in rows if row is not None]
    if not known:
        return length, 0
    return min(first for first, _ in known), length - 1 - max(last for _, last in known)
