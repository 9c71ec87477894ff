"""The walk: in execution order, from the inputs to the tensors in question."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node
from analyzer.ops.rule import Facts
from analyzer.passes.clipped.loops import Loop
from analyzer.passes.clipped.views import Axis, Seen, Views, all_of, doubted, fit, joined, read
from analyzer.spans import NOTHING, OPAQUE
from analyzer.spans.ends import entered

VISITS_LIMIT = 200_000
"""Most nodes of bodies that are visited; what is beyond sees all that its operands see."""


class Clipped(msgspec.Struct, frozen=True, eq=False):
    """The axes that were followed, and what each tensor sees of them; a tensor that is not here sees nothing."""

    axes: tuple[Axis, ...]
    views: Mapping[str, Views]


def trace(
    scene: Scene, tensors: Collection[str] | None = None, axes: Iterable[Axis] | None = None
) -> Clipped:
    """What `tensors` (all, unless told) see of `axes` (all of all inputs, unless told).

    A tensor of a body goes by its scoped name, "call/inner"; it is what the last run of the body saw.
    """
    sizes = {tensor.name: scene.size(tensor.name) for tensor in scene.graph.inputs}
    shapes = {name: size.shape for name, size in sizes.items() if size is not None}
    every = ((name, axis) for name, shape in shapes.items() for axis in range(len(shape)))
    followed = tuple(every if axes is None else axes)
    views = {
        name: tuple(Seen(entered(shape, axis)) if source == name else None for source, axis in followed)
        for name, shape in shapes.items()
        if any(source == name for source, _ in followed)
    }
    wanted = None if tensors is None else frozenset(tensors)
    walk = Walk(len(followed), None if wanted is None else wanted - scene.sizes.keys())
    walk.scene(scene, views, wanted=wanted)
    return Clipped(followed, {**views, **walk.inner})


class Walk:
    """One walk: how many axes it follows, the tensors of bodies that it is to remember (None: all), and how many nodes
    of bodies it may still visit.
    """

    def __init__(self, axes: int, scoped: frozenset[str] | None) -> None:
        self.axes, self.scoped = axes, scoped
        self.inner: dict[str, Views] = {}
        self.visits = VISITS_LIMIT

    def scene(
        self, scene: Scene, views: dict[str, Views], prefix: str = "", wanted: frozenset[str] | None = None
    ) -> None:
        """Fill `views` with those of everything that nodes make; or only of what is `wanted` in the end."""
        needed, expiring = (None, {}) if wanted is None else _schedule(scene, wanted)
        for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
            if needed is None or index in needed:
                made = self.node(scene, node, said if type(said) is Facts else None, views, prefix)
                views.update(
                    (name, seen) for name, seen in zip(node.outputs, made, strict=True) if name and seen
                )
                for name in expiring.get(index, ()):
                    views.pop(name, None)
        if prefix and self.scoped != frozenset():
            scoped = self.scoped
            self.inner.update(
                (prefix + name, seen) for name, seen in views.items() if not scoped or prefix + name in scoped
            )

    def node(
        self, scene: Scene, node: Node, said: Facts | None, views: Mapping[str, Views], prefix: str
    ) -> list[Views | None]:
        """What each result of a node sees."""
        carried = [name for name in (*node.inputs, *node.captures) if name in views]
        if not carried or (node.outputs and node.outputs[0] in scene.constants):
            return [None] * len(node.outputs)
        if said is None or not said.runs:
            return [self.result(scene, node, said, place, views) for place in range(len(node.outputs))]
        self.visits -= sum(len(run.scene.graph.nodes) for run in said.runs)
        if self.visits > 0 and said.transparent:
            return self.called(scene, node, said, views, f"{prefix}{node.name}/")
        if self.visits > 0 and said.turns is not None:
            return Loop(self, scene, node, said, said.turns, views, f"{prefix}{node.name}/").results()
        return [joined([all_of(views[name], scene.size(made)) for name in carried]) for made in node.outputs]

    def result(
        self, scene: Scene, node: Node, said: Facts | None, place: int, views: Mapping[str, Views]
    ) -> Views | None:
        """One result of a node that runs no body."""
        made = scene.size(node.outputs[place])
        found: list[Views] = []
        for operand, source in enumerate(node.inputs):
            if source in views:
                span = OPAQUE if said is None else said.seen(operand, place)
                if span is not NOTHING:
                    found.append(read(views[source], span, scene.size(source), made))
        found += [all_of(views[source], made) for source in node.captures if source in views]
        return joined(found) if found else None

    def called(
        self, scene: Scene, node: Node, said: Facts, views: Mapping[str, Views], prefix: str
    ) -> list[Views | None]:
        """A function, or the branches of a choice of which any may be taken; then all see what decides, too."""
        runs = [run for run in said.runs if not run.never]
        results: list[list[Views]] = [[] for _ in node.outputs]
        for run in runs:
            inner = {name: views[name] for name in node.captures if name in views}
            actuals = zip(run.scene.graph.inputs, run.operands, strict=False)
            inner.update({formal.name: views[actual] for formal, actual in actuals if actual in views})
            self.scene(run.scene, inner, prefix)
            for name, tensor, found in zip(node.outputs, run.scene.graph.outputs, results, strict=False):
                if tensor.name in inner:
                    found.append(fit(inner[tensor.name], run.scene.size(tensor.name), scene.size(name)))
        if len(runs) > 1:
            deciding = [views[source] for source in node.inputs if source in views]
            for name, found in zip(node.outputs, results, strict=True):
                found += [all_of(seen, scene.size(name), "data_dependent") for seen in deciding]
                found[:] = [doubted(seen, "data_dependent") for seen in found]
        return [joined(found) if found else None for found in results]


def _schedule(scene: Scene, wanted: frozenset[str]) -> tuple[set[int], dict[int, list[str]]]:
    """The nodes that `wanted` tensors come from, and the tensors that are read last by each. A tensor of a body comes
    from the node that runs it.
    """
    needed: set[int] = set()
    expiring: dict[int, list[str]] = {}
    known = set(wanted)
    scoped = [name for name in wanted if name not in scene.sizes]
    for index in range(len(scene.graph.nodes) - 1, -1, -1):
        node = scene.graph.nodes[index]
        if known.isdisjoint(node.outputs) and not any(name.startswith(f"{node.name}/") for name in scoped):
            continue
        needed.add(index)
        read_here = {*node.inputs, *node.captures}
        expiring[index] = [name for name in read_here if name not in known]
        known |= read_here
    return needed, expiring
