"""Receptive fields of every tensor with respect to every axis of every graph input, on an infinite canvas.

One walk carries, per tensor and input axis, a View: along which axis of the tensor the positions lie (its carrier), and their
Reach. An op's spans say where the carrier goes; branches join by their hull. A view becomes global when its carrier is read
whole; the field beside the global part is carried on apart (`local`), so that a squeeze-and-excite gate does not hide the field of
the path that it gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from analyzer.describe import Missing, Scene
from analyzer.graph import Size
from analyzer.spans import NOTHING, OPAQUE, POINT, POINTWISE, SAME, Reach, Read, Regroup, Route, Span, Word, join

Axis = tuple[str, int]
"""A graph input and one of its axes."""

Status = Literal["local", "prefix", "suffix", "global", "data_dependent", "opaque"]
_RANK: Mapping[str, int] = {"local": 0, "prefix": 1, "suffix": 1, "global": 2, "data_dependent": 3, "opaque": 4}


class Carrier(msgspec.Struct, frozen=True):
    """Where positions lie in a tensor: index along `axis`, divided by `low`, modulo `extent`."""

    axis: int
    low: int
    extent: int


class View(msgspec.Struct, frozen=True):
    """One tensor's view of one input axis. `reach` is None unless the status is local; `local` is the field without its
    global part. `carrier` is None where all positions see the same."""

    status: Status
    carrier: Carrier | None
    reach: Reach | None
    local: Reach | None


Views = Mapping[Axis, View]
_EMPTY: Views = {}


class Fields(msgspec.Struct, frozen=True):
    """Views by tensor, and the nodes where branches of different strides meet."""

    views: Mapping[str, Views]
    mismatched: tuple[str, ...]


def trace(scene: Scene) -> Fields:
    """Walk `scene` from its inputs."""
    views: dict[str, Views] = {}
    for tensor in scene.graph.inputs:
        size = scene.size(tensor.name)
        shape = size.shape if size is not None else ()
        views[tensor.name] = {
            (tensor.name, axis): View("local", Carrier(axis, 1, dim), POINT, POINT) for axis, dim in enumerate(shape)
        }
    mismatched: list[str] = []
    constants = scene.constants
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        outputs = [name for name in node.outputs if name]
        if not outputs or outputs[0] in constants:
            continue
        if isinstance(said, Missing) or said.runs:
            seen = _joined([_opaque(views.get(name, _EMPTY)) for name in (*node.inputs, *node.captures)])
            for name in outputs:
                views[name] = seen[0]
            continue
        for name in outputs:
            size = scene.size(name)
            parts = []
            for place, operand in enumerate(node.inputs):
                carried = views.get(operand)
                if carried:
                    entered = scene.size(operand)
                    parts.append(_pass(carried, _span(said.spans, place), entered, size))
            views[name], clash = _joined(parts)
            if clash:
                mismatched.append(node.name)
    return Fields(views, tuple(dict.fromkeys(mismatched)))


def _span(spans: Span | tuple[Span, ...], place: int) -> Span:
    """The span of the operand at `place`: one for all, or the last for those beyond."""
    if isinstance(spans, (Word, Regroup)):
        return spans
    if not spans or isinstance(spans[0], (Route, Read)):
        return spans  # type: ignore[return-value]  # routes of one operand
    return spans[place] if place < len(spans) else spans[-1]  # type: ignore[return-value]


def _pass(views: Views, span: Span, operand: Size | None, result: Size | None) -> Views:
    """An operand's views as its op's result has them."""
    if span is NOTHING:
        return _EMPTY
    if operand is None or result is None or span is OPAQUE:
        return _opaque(views)
    if span is POINTWISE:
        return _broadcast(views, operand.shape, result.shape)
    if isinstance(span, Regroup):
        return {axis: _regroup(view, span) for axis, view in views.items()}
    assert not isinstance(span, Word)
    return {axis: _route(view, span, operand.shape, result.shape) for axis, view in views.items()}


def _opaque(views: Views) -> Views:
    return {axis: View("opaque", None, None, None) for axis in views}


def _broadcast(views: Views, operand: tuple[int, ...], result: tuple[int, ...]) -> Views:
    """Pointwise: axes aligned from the right; an axis of 1 that is stretched carries no position any more."""
    shift = len(result) - len(operand)
    stretched = [axis for axis, dim in enumerate(operand) if dim == 1 and result[axis + shift] != 1]
    if not shift and not stretched:
        return _settled(views)
    moved = {}
    for key, view in views.items():
        carrier = view.carrier
        if carrier is None:
            moved[key] = view
        elif carrier.axis in stretched:
            moved[key] = View(view.status, None, view.reach, view.local)
        else:
            moved[key] = View(view.status, Carrier(carrier.axis + shift, carrier.low, carrier.extent), view.reach, view.local)
    return moved


def _settled(views: Views) -> Views:
    """The same views; a misalignment is told only where branches meet."""
    if all(view.reach is None or view.reach.aligned for view in views.values()):
        return views
    return {
        axis: view if view.reach is None or view.reach.aligned else View(view.status, view.carrier, view.reach.through(SAME), view.local)
        for axis, view in views.items()
    }


def _route(view: View, routes: tuple[Route | Read, ...], operand: tuple[int, ...], result: tuple[int, ...]) -> View:
    """Follow the carrier along its route."""
    carrier = view.carrier
    if carrier is None:
        return view
    route = routes[carrier.axis] if carrier.axis < len(routes) else None
    if isinstance(route, Read):
        kept = None if route.axis is None else Carrier(route.axis, 1, result[route.axis])
        status: Status = route.kind
        if _RANK[status] < _RANK[view.status]:
            status = view.status
        return View(status, kept, None, None)
    if route is None:
        return View("opaque", None, None, None)
    if route.taps is SAME:
        if route.axis == carrier.axis and (view.reach is None or view.reach.aligned):
            return view
        placed = Carrier(route.axis, carrier.low, carrier.extent)
        return View(view.status, placed, view.reach and view.reach.through(SAME), view.local)
    if carrier.low != 1 or carrier.extent != operand[carrier.axis]:
        return View("opaque", None, None, None)
    placed = Carrier(route.axis, 1, result[route.axis])
    return View(view.status, placed, view.reach and view.reach.through(route.taps), view.local and view.local.through(route.taps))


def _regroup(view: View, span: Regroup) -> View:
    """A reshape: the carrier is a run of digits of the flat index; it goes where that run lies in the new axes."""
    carrier = view.carrier
    if carrier is None or carrier.extent == 1:
        return View(view.status, None if carrier is None else _unit(span.after), view.reach, view.local)
    low = carrier.low * math.prod(span.before[carrier.axis + 1 :])
    high = low * carrier.extent
    below = 1
    for axis in range(len(span.after) - 1, -1, -1):
        above = below * span.after[axis]
        if low < above:
            if low % below == 0 and high <= above:
                return View(view.status, Carrier(axis, low // below, carrier.extent), view.reach, view.local)
            break
        below = above
    return View("opaque", None, None, None)


def _unit(after: tuple[int, ...]) -> Carrier | None:
    """An axis of extent 1 has one position; any axis of 1 that is left stands for it."""
    return next((Carrier(axis, 1, 1) for axis, dim in enumerate(after) if dim == 1), None)


def _joined(parts: list[Views]) -> tuple[Views, bool]:
    """Views where branches meet, and whether some stride disagreed."""
    parts = [part for part in parts if part]
    if not parts:
        return _EMPTY, False
    first = parts[0]
    if all(part is first for part in parts[1:]):
        return first, False
    merged = dict(first)
    clash = False
    for part in parts[1:]:
        for axis, view in part.items():
            known = merged.get(axis)
            if known is None or known is view:
                merged[axis] = view
            else:
                merged[axis], apart = _meet(known, view)
                clash |= apart
    return merged, clash


def _meet(a: View, b: View) -> tuple[View, bool]:
    """Two views of one input axis at once: the less local status, the hull of the fields."""
    status = a.status if _RANK[a.status] >= _RANK[b.status] else b.status
    if {a.status, b.status} == {"prefix", "suffix"}:
        status = "global"
    local, local_clash = _hull(a.local, b.local)
    if status != "local":
        carrier = a.carrier if a.local is not None else b.carrier if b.local is not None else a.carrier or b.carrier
        return View(status, carrier, None, None if local_clash else local), False
    if a.carrier != b.carrier and a.carrier is not None and b.carrier is not None:
        return View("opaque", None, None, None), False
    reach, clash = _hull(a.reach, b.reach)
    if clash:
        return View("opaque", None, None, None), True
    return View("local", a.carrier or b.carrier, reach, local), False


def _hull(a: Reach | None, b: Reach | None) -> tuple[Reach | None, bool]:
    """The hull of two fields, and whether their strides disagree; a missing one adds nothing."""
    if a is None or b is None:
        return a or b, False
    met = join(a, b)
    return met, met is None
