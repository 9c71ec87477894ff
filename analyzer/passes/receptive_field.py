"""Receptive fields of every tensor with respect to every axis of every graph input, on an infinite canvas.

One walk carries, per tensor and input axis, a View: along which axis of the tensor the positions lie (its
carrier), and their Reach. An op's spans say where the carrier goes; branches join by their hull. A view
becomes global when its carrier is read whole; the field beside the global part is carried on apart (`local`),
so that a squeeze-and-excite gate does not hide the field of the path that it gates.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import msgspec

from analyzer.describe import Missing, Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts
from analyzer.spans import (
    NOTHING,
    OPAQUE,
    POINT,
    POINTWISE,
    SAME,
    Reach,
    Read,
    Regroup,
    Route,
    Span,
    aligned,
    join,
)

Axis = tuple[str, int]
"""A graph input and one of its axes."""

Status = Literal["local", "prefix", "suffix", "global", "data_dependent", "opaque"]
_RANK: Mapping[str, int] = {
    "local": 0,
    "prefix": 1,
    "suffix": 1,
    "global": 2,
    "data_dependent": 3,
    "opaque": 4,
}


class Carrier(msgspec.Struct, frozen=True, gc=False):
    """Where positions lie in a tensor: index along `axis`, divided by `low`, modulo `extent`."""

    axis: int
    low: int
    extent: int


class View(msgspec.Struct, frozen=True, gc=False):
    """One tensor's view of one input axis. `reach` is None unless the status is local; `local` is the field without its
    global part. `carrier` is None where all positions see the same.
    """

    status: Status
    carrier: Carrier | None
    reach: Reach | None
    local: Reach | None


OPAQUE_VIEW = View("opaque", None, None, None)

ENTRIES_LIMIT = 1_000
"""Most bodies that are entered: what a result sees hangs on what its operands saw, so each call is followed anew."""

Views = tuple[View | None, ...]
"""A tensor's views, one per entry of `Fields.axes`; None where the tensor does not depend on that input."""


class Fields(msgspec.Struct, frozen=True):
    """Views by tensor (those that depend on an input), tensors in which branches of different centres meet,
    by axis, and nodes at which branches of different strides do.
    """

    axes: tuple[Axis, ...]
    views: Mapping[str, Views]
    misaligned: frozenset[tuple[str, int]]
    mismatched: tuple[str, ...]


def trace(scene: Scene) -> Fields:
    """Walk `scene` from its inputs."""
    axes, views = _entered(scene)
    walk = _Walk()
    walk.scene(scene, views)
    return Fields(axes, views, frozenset(walk.misaligned), tuple(walk.mismatched))


class _Walk:
    """What the walk found at merges: tensors and axes whose branches have different centres, nodes with
    different strides.
    """

    def __init__(self, entries: int = ENTRIES_LIMIT) -> None:
        self.entries = entries
        self.misaligned: set[tuple[str, int]] = set()
        self.mismatched: dict[str, None] = {}

    def scene(self, scene: Scene, views: dict[str, Views]) -> None:
        """Fill `views` with those of everything that nodes make."""
        constants = scene.constants
        for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
            if node.outputs and node.outputs[0] in constants:
                continue
            if type(said) is Facts and said.transparent:
                self.enter(node, said, views)
                continue
            for place, name in enumerate(node.outputs):
                if name:
                    parts = _parts(scene, node, said, place, views)
                    if parts:
                        views[name] = self.meet(parts, name, node)

    def meet(self, parts: list[Views], name: str, node: Node) -> Views:
        """Branches joined in one tensor."""
        if len(parts) == 1:
            return parts[0]
        meeting = _Meeting(parts)
        self.misaligned.update((name, axis) for axis in meeting.misaligned)
        if meeting.mismatched:
            self.mismatched[node.name] = None
        return meeting.views

    def enter(self, node: Node, said: Facts, views: dict[str, Views]) -> None:
        """A function or the branches of a choice: what their results see is what the node's results see."""
        found: list[list[Views]] = [[] for _ in node.outputs]
        decided = [_opaque(views[name]) for name in node.inputs if name in views and said.exclusive]
        for run in said.runs:
            inner = {name: views[name] for name in node.captures if name in views}
            for formal, actual in zip(run.scene.graph.inputs, run.operands, strict=False):
                if actual in views:
                    inner[formal.name] = views[actual]
            self.entries -= 1
            if (
                self.entries <= 0
            ):  # functions that call functions that call functions: say nothing rather than go on
                decided += [_opaque(views[name]) for name in (*node.inputs, *node.captures) if name in views]
                break
            deeper = _Walk(self.entries)
            deeper.scene(run.scene, inner)
            self.entries = deeper.entries
            for place, tensor in enumerate(run.scene.graph.outputs[: len(found)]):
                if tensor.name in inner:
                    found[place].append(inner[tensor.name])
        for name, parts in zip(node.outputs, found, strict=True):
            if name and (parts or decided):
                views[name] = self.meet([*parts, *decided], name, node)


def _parts(
    scene: Scene, node: Node, said: Facts | Missing, result: int, views: Mapping[str, Views]
) -> list[Views]:
    """Each operand's views as one result has them."""
    told = said if type(said) is Facts and not said.runs else None
    made = scene.sizes[node.outputs[result]]
    parts = []
    for place, operand in enumerate(node.inputs):
        carried = views.get(operand)
        if carried is not None:
            span = OPAQUE if told is None else told.span(place, result)
            passed = _pass(carried, span, scene.sizes[operand], made)
            if passed is not None:
                parts.append(passed)
    parts += [_opaque(views[operand]) for operand in node.captures if operand in views]
    return parts


def _entered(scene: Scene) -> tuple[tuple[Axis, ...], dict[str, Views]]:
    """Every axis of every input, and each input's view of itself."""
    shapes = {
        tensor.name: size.shape
        for tensor in scene.graph.inputs
        if (size := scene.size(tensor.name)) is not None
    }
    axes = tuple((name, axis) for name, shape in shapes.items() for axis in range(len(shape)))
    views = {
        name: tuple(
            View("local", Carrier(axis, 1, shape[axis]), POINT, POINT) if source == name else None
            for source, axis in axes
        )
        for name, shape in shapes.items()
    }
    return axes, views


def _pass(views: Views, span: Span, operand: object, result: object) -> Views | None:
    """An operand's views as its op's result has them; None where nothing of it is read."""
    if span is NOTHING:
        return None
    if type(operand) is not Size or type(result) is not Size or span is OPAQUE:
        return _opaque(views)
    if span is POINTWISE:
        return views if operand.shape == result.shape else _broadcast(views, operand.shape, result.shape)
    if type(span) is Regroup:
        return tuple(view and _regroup(view, span) for view in views)
    assert type(span) is tuple
    return tuple(view and _route(view, span, operand.shape, result.shape) for view in views)


def _opaque(views: Views) -> Views:
    return tuple(view and OPAQUE_VIEW for view in views)


def _broadcast(views: Views, operand: tuple[int, ...], result: tuple[int, ...]) -> Views:
    """Pointwise: axes aligned from the right; an axis of 1 that is stretched carries no position any more."""
    shift = len(result) - len(operand)
    if shift < 0:  # a second result of another rank, of which the span does not speak
        return _opaque(views)
    moved: list[View | None] = []
    for view in views:
        carrier = None if view is None else view.carrier
        if view is None or carrier is None:
            moved.append(view)
        elif operand[carrier.axis] != result[carrier.axis + shift]:
            moved.append(View(view.status, None, view.reach, view.local))
        else:
            placed = Carrier(carrier.axis + shift, carrier.low, carrier.extent)
            moved.append(View(view.status, placed, view.reach, view.local))
    return tuple(moved)


def _route(
    view: View, routes: tuple[Route | Read, ...], operand: tuple[int, ...], result: tuple[int, ...]
) -> View:
    """Follow the carrier along its route."""
    carrier = view.carrier
    if carrier is None:
        return view
    if carrier.axis >= len(routes):
        return OPAQUE_VIEW
    route = routes[carrier.axis]
    if route.axis is not None and route.axis >= len(result):  # the same
        return OPAQUE_VIEW
    if type(route) is Read:
        kept = None if route.axis is None else Carrier(route.axis, 1, result[route.axis])
        status = route.kind if _RANK[route.kind] >= _RANK[view.status] else view.status
        return View(status, kept, None, None)
    assert type(route) is Route
    if route.taps is SAME:
        if route.axis == carrier.axis:
            return view
        return View(view.status, Carrier(route.axis, carrier.low, carrier.extent), view.reach, view.local)
    if carrier.low != 1 or carrier.extent != operand[carrier.axis]:
        return OPAQUE_VIEW
    reach = view.reach and view.reach.through(route.taps)
    local = reach if view.local is view.reach else view.local and view.local.through(route.taps)
    if view.reach is not None and reach is None:
        return OPAQUE_VIEW
    return View(view.status, Carrier(route.axis, 1, result[route.axis]), reach, local)


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
    return OPAQUE_VIEW


def _unit(after: tuple[int, ...]) -> Carrier | None:
    """An axis of extent 1 has one position; any axis of 1 that is left stands for it."""
    return next((Carrier(axis, 1, 1) for axis, dim in enumerate(after) if dim == 1), None)


class _Meeting:
    """Views where branches meet, the axes on which centres differ, and whether strides did."""

    __slots__ = ("misaligned", "mismatched", "views")

    def __init__(self, parts: list[Views]) -> None:
        self.misaligned: list[int] = []
        self.mismatched = False
        self.views = parts[0]
        for part in parts[1:]:
            if part is not self.views:
                self.views = tuple(
                    a if b is None or a is b else b if a is None else self.meet(axis, a, b)
                    for axis, (a, b) in enumerate(zip(self.views, part, strict=True))
                )

    def meet(self, axis: int, a: View, b: View) -> View:
        """Two views of one input axis at once: the less local status, the hull of the fields."""
        status = a.status if _RANK[a.status] >= _RANK[b.status] else b.status
        if {a.status, b.status} == {"prefix", "suffix"}:
            status = "global"
        if status != "local":
            carrier = (
                a.carrier
                if a.local is not None
                else b.carrier
                if b.local is not None
                else a.carrier or b.carrier
            )
            return View(status, carrier, None, _hull(a.local, b.local))
        assert a.reach is not None
        assert b.reach is not None
        if a.carrier != b.carrier and a.carrier is not None and b.carrier is not None:
            return OPAQUE_VIEW
        if a.reach == b.reach and a.local == b.local:
            return a if a.carrier is not None else b
        reach = join(a.reach, b.reach)
        if reach is None:
            self.mismatched = True
            return OPAQUE_VIEW
        if not aligned(a.reach, b.reach):
            self.misaligned.append(axis)
        local = reach if a.local is a.reach and b.local is b.reach else _hull(a.local, b.local)
        return View("local", a.carrier or b.carrier, reach, local)


def _hull(a: Reach | None, b: Reach | None) -> Reach | None:
    """The hull of two fields, of which either may be missing; None too where strides disagree."""
    return a or b if a is None or b is None else join(a, b)
