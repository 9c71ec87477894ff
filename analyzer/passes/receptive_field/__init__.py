"""Receptive fields of every tensor with respect to every axis of every graph input, on an infinite canvas.

One walk carries, per tensor and input axis, a View: where in the tensor the positions lie, and their Reach. An op's
spans say where positions go; branches join by their hull. A view becomes global when its positions are read whole; the
field beside the global part is carried on apart (`local`), so that a squeeze-and-excite gate does not hide the field of
the path that it gates.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.describe import Missing, Scene
from analyzer.graph import Node
from analyzer.ops.rule import Facts, Run
from analyzer.passes.receptive_field.loops import turned
from analyzer.passes.receptive_field.meeting import Meeting
from analyzer.passes.receptive_field.views import Digit, View, Views, data_dependent, opaque, passed
from analyzer.spans import OPAQUE, POINT

__all__ = ["Axis", "Fields", "View", "Views", "trace"]

Axis = tuple[str, int]
"""A graph input and one of its axes."""

ENTRIES_LIMIT = 1_000
"""Most bodies that are entered: what a result sees hangs on what its operands saw, so each call is followed anew."""


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
            if type(said) is Facts and said.runs and self.bodies(scene, node, said, views):
                continue
            for place, name in enumerate(node.outputs):
                if name:
                    parts = _parts(scene, node, said, place, views)
                    if parts:
                        views[name] = self.meet(parts, name, node)

    def meet(self, parts: list[Views], name: str, node: Node) -> Views:
        """Branches joined in one tensor."""
        first = parts[0]
        if len(parts) == 1 or all(part is first for part in parts):
            return first
        meeting = Meeting(parts)
        self.misaligned.update((name, axis) for axis in meeting.misaligned)
        if meeting.mismatched:
            self.mismatched[node.name] = None
        return meeting.views

    def bodies(self, scene: Scene, node: Node, said: Facts, views: dict[str, Views]) -> bool:
        """Whether what a node's bodies see could be told."""
        if said.transparent:
            self.enter(node, said, views)
        elif said.turns is not None and all(scene.size(name) for name in node.outputs if name):
            for name, parts in zip(node.outputs, turned(node, said, views, self.body), strict=True):
                if name and parts:
                    views[name] = self.meet(parts, name, node)
        else:
            return False
        return True

    def body(self, run: Run, inner: dict[str, Views]) -> list[Views | None] | None:
        """What a body's results see; None once too many were entered."""
        self.entries -= 1
        if self.entries <= 0:
            return None
        deeper = _Walk(self.entries)
        deeper.scene(run.scene, inner)
        self.entries = deeper.entries
        return [inner.get(tensor.name) for tensor in run.scene.graph.outputs]

    def enter(self, node: Node, said: Facts, views: dict[str, Views]) -> None:
        """A function or the branches of a choice: what their results see is what the node's results see."""
        found: list[list[Views]] = [[] for _ in node.outputs]
        decided = [data_dependent(views[name]) for name in node.inputs if name in views and said.exclusive]
        for run in said.runs:
            if run.never:
                continue
            inner = {name: views[name] for name in node.captures if name in views}
            for formal, actual in zip(run.scene.graph.inputs, run.operands, strict=False):
                if actual in views:
                    inner[formal.name] = views[actual]
            results = self.body(run, inner)
            if results is None:  # functions that call functions that call functions: there is an end to it
                decided += [opaque(views[name]) for name in (*node.inputs, *node.captures) if name in views]
                break
            for parts, seen in zip(found, results, strict=False):
                parts += [seen] if seen is not None else []
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
            seen = passed(carried, span, scene.sizes[operand], made)
            if seen is not None:
                parts.append(seen)
    if node.captures:
        parts += [opaque(views[operand]) for operand in node.captures if operand in views]
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
            View("local", (Digit(axis, 1, shape[axis]),), POINT, POINT) if source == name else None
            for source, axis in axes
        )
        for name, shape in shapes.items()
    }
    return axes, views
