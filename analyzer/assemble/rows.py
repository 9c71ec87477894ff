"""Rows of the report's `nodes` and `tensors`: the main graph's, and those of every body, once for each distinct call.

A scope is a described graph with the prefix of its names and how often it runs; a body that is called from many places
with the same sizes is one scope, named after the first place, and nothing is ever expanded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain

import msgspec

from analyzer.describe import Missing, Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts
from analyzer.passes.memory import Live
from analyzer.passes.parameters import Parameters
from analyzer.passes.training import Saved
from analyzer.report import NodeRow, Role, TensorRow

TILE = 128
"""Rows and columns of the tile in which a blocked lowering makes its matrix: a usual matrix product's own blocks."""

_Lowered = tuple[int | None, int | None, int | None, int | None]
_NO_LOWERING: _Lowered = (None, None, None, None)


class Scope(msgspec.Struct, frozen=True, eq=False):
    """A described graph as the report lists it. `repeat` is None where the data decides it; `outer` tells the report's
    name of a tensor that is not the scope's own, and `bodies` the scopes first called by each node.
    """

    scene: Scene
    prefix: str
    repeat: int | None
    outer: Mapping[str, str]
    bodies: Mapping[int, tuple[Scope, ...]]

    def name(self, tensor: str) -> str:
        """A tensor's name in the report."""
        return self.outer.get(tensor) or self.prefix + tensor if tensor else ""


def in_order(scene: Scene) -> Scope:
    """The main scope, with every distinct body hung below the node that first runs it."""
    return _scope(scene, "", {}, _runs(scene), set())


def _scope(
    scene: Scene, prefix: str, outer: Mapping[str, str], runs: Mapping[int, int | None], seen: set[int]
) -> Scope:
    seen.add(id(scene))
    bodies: dict[int, tuple[Scope, ...]] = {}
    for index, called in scene.calls.items():
        node, below = scene.graph.nodes[index], []
        for run in called:
            if id(run.scene) not in seen:
                named = {name: outer.get(name) or prefix + name for name in node.captures}
                actuals = zip(run.scene.graph.inputs, run.operands, strict=False)
                named.update(
                    {formal.name: outer.get(name) or prefix + name for formal, name in actuals if name}
                )
                below.append(_scope(run.scene, f"{prefix}{node.name}/", named, runs, seen))
        bodies[index] = tuple(below)
    return Scope(scene, prefix, runs[id(scene)], outer, bodies)


def _runs(scene: Scene) -> dict[int, int | None]:
    """How often each distinct body runs in one run of the main graph; callers come before what they call."""
    callers_first: list[Scene] = []
    _visit(scene, callers_first, set())
    runs: dict[int, int | None] = {id(scene): 1}
    for caller in reversed(callers_first):
        times = runs[id(caller)]
        for run in chain.from_iterable(caller.calls.values()):
            before = runs.get(id(run.scene), 0)
            known = before is not None and times is not None and run.repeat is not None
            runs[id(run.scene)] = before + times * run.repeat if known else None  # type: ignore[operator]
    return runs


def _visit(scene: Scene, callees_first: list[Scene], seen: set[int]) -> None:
    seen.add(id(scene))
    for run in chain.from_iterable(scene.calls.values()):
        if id(run.scene) not in seen:
            _visit(run.scene, callees_first, seen)
    callees_first.append(scene)


def nodes(main: Scope, weights: Parameters, live: Live | None, kept: Saved | None) -> Iterator[NodeRow]:
    """Rows of the main graph, each followed by those of the bodies that it is the first to run; without bytes where
    memory was not asked for.
    """
    first_read: dict[int, int] = {}
    for name, index in weights.first_reader.items():
        first_read[index] = first_read.get(index, 0) + weights.weights[name].count
    scene, bodies = main.scene, main.bodies
    nobody: Sequence[int | None] = (None,) * len(scene.facts)
    made = nobody if live is None else live.node_bytes
    alive = nobody if live is None else live.live_bytes[1:]
    saved = nobody if kept is None else kept.node_bytes
    for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
        yield _node(main, node, said, first_read.get(index, 0), made[index], saved[index], alive[index])
        if index in bodies:
            yield from _bodies(main, index, live, alive[index])


def _bodies(scope: Scope, index: int, live: Live | None, alive: int | None) -> Iterator[NodeRow]:
    """Rows of the bodies that a node is the first to run, at which so many bytes are alive."""
    said = scope.scene.facts[index]
    if live is None or alive is None or type(said) is not Facts:
        for body in scope.bodies[index]:
            yield from _body_nodes(body, None, 0)
        return
    inner = live.bodies[index]
    around = alive - max(body.extra_bytes for body in inner)
    lives = {id(run.scene): body for run, body in zip(said.runs, inner, strict=True)}
    for body in scope.bodies[index]:
        yield from _body_nodes(body, lives[id(body.scene)], around)


def _body_nodes(scope: Scope, live: Live | None, around: int) -> Iterator[NodeRow]:
    """Rows of a body, `around` which so many bytes are alive."""
    scene = scope.scene
    for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
        made = alive = None
        if live is not None:
            made, alive = _made(scene, node), around + max(live.live_bytes[index + 1] - live.lent_bytes, 0)
        yield _node(scope, node, said, 0, made, None, alive)
        if index in scope.bodies:
            yield from _bodies(scope, index, live, alive)


def _made(scene: Scene, node: Node) -> int | None:
    """Bytes of a node's outputs."""
    sizes = [scene.size(name) for name in node.outputs if name and name not in scene.constants]
    amounts = [None if size is None else size.bytes for size in sizes]
    return None if None in amounts else sum(filter(None, amounts))


def _node(
    scope: Scope,
    node: Node,
    said: Facts | Missing,
    parameters: int,
    output_bytes: int | None,
    saved: int | None,
    alive: int | None,
) -> NodeRow:
    name, inputs, outputs = node.name, node.inputs, node.outputs
    if scope.prefix:
        name = scope.prefix + name
        inputs, outputs = tuple(map(scope.name, inputs)), tuple(map(scope.name, outputs))
    if type(said) is not Facts:
        return NodeRow(
            name, node.op_type, node.domain, inputs, outputs, scope.repeat, "unavailable",
            None, None, None, parameters, output_bytes, None, None, alive,
        )  # fmt: skip
    macs, elementwise = said.macs, said.elementwise
    flops = None if macs is None or elementwise is None else 2 * macs + elementwise
    lowered, rows, columns, tile = (
        _lowered(scope.scene, node, said.lowering) if said.lowering else _NO_LOWERING
    )
    return NodeRow(
        name, node.op_type, node.domain, inputs, outputs, scope.repeat, "partial" if flops is None else "complete",
        macs, elementwise, flops, parameters, output_bytes, lowered, saved, alive, rows, columns, tile,
    )  # fmt: skip


def _lowered(scene: Scene, node: Node, matrix: tuple[int, int]) -> _Lowered:
    """Bytes, rows and columns of the im2col matrix, and bytes of a tile, in the element type of what is convolved."""
    rows, columns = matrix
    size = scene.size(node.inputs[0])
    bits = None if size is None else size.dtype.bits
    if bits is None:
        return None, rows, columns, None
    tile = min(rows, TILE) * min(columns, TILE)
    return (rows * columns * bits + 7) // 8, rows, columns, (tile * bits + 7) // 8


def tensors(scope: Scope, weights: Parameters) -> Iterator[TensorRow]:
    """Inputs, stored tensors, then what nodes make, in order; then the same of bodies, whose inputs are not theirs."""
    scene, stored, prefix = scope.scene, weights.weights, scope.prefix
    sizes, amounts, constants = scene.sizes, scene.bytes, scene.constants
    outputs = set() if prefix else {tensor.name for tensor in scene.graph.outputs}
    for tensor in scene.graph.inputs if not prefix else ():
        yield _tensor(tensor.name, "input", sizes[tensor.name], amounts.get(tensor.name))
    for name in scene.graph.initializers:
        shown = prefix + name
        yield _tensor(shown, "weight" if shown in stored else "constant", sizes[name], amounts.get(name))
    for node in scene.graph.nodes:
        for name in node.outputs:
            shown = prefix + name
            if name in constants:
                yield _tensor(
                    shown, "weight" if shown in stored else "constant", sizes[name], amounts.get(name)
                )
            elif name:
                yield _tensor(
                    shown, "output" if name in outputs else "activation", sizes[name], amounts.get(name)
                )
    for below in scope.bodies.values():
        for body in below:
            yield from tensors(body, weights)


def _tensor(name: str, role: Role, size: object, amount: int | None) -> TensorRow:
    if type(size) is not Size:
        return TensorRow(name, role, None, None, None, False)
    return TensorRow(name, role, size.dtype.name, size.shape, amount, size.exact)
