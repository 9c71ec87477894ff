"""From a described graph to a Program: the same nodes, with what onnxruntime knew of their results before it ran."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Graph, Node, Size
from analyzer.load import Declared
from analyzer.ops.rule import Facts, Run
from analyzer.options import Level
from analyzer.runtime.chance import orders
from analyzer.runtime.kernel import Call
from analyzer.runtime.order import created, running
from analyzer.runtime.planner import Block, Body, Dims, Program, Step, Value

NOTHING_DECLARED = Declared()


def program_of(
    scene: Scene, declared: Declared, dims: Mapping[str, Dims], original: Graph, level: Level, threads: int
) -> Program:
    """The program of an optimised model: `dims` of its main graph's results outrank what the file declares.

    `original` is the graph before it was optimised: kernels are made in the order in which nodes came to be.
    """
    known = msgspec.structs.replace(declared, dims={**declared.dims, **dims})
    block = _Blocks(threads).block(scene, known, _Outside(), original)
    nodes = [scene.graph.nodes[place] for place in running(scene.graph, original)]
    return Program(block, level, threads, orders=orders(nodes, original))


class _Outside(msgspec.Struct, frozen=True):
    """What the graphs around a body give it: names of constants, and dims of tensors as far as they are known."""

    constants: frozenset[str] = frozenset()
    dims: Mapping[str, Dims | None] = {}


class _Blocks:
    """Blocks of one program; `threads` is told to every call."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def block(
        self, scene: Scene, declared: Declared, outside: _Outside, original: Graph | None = None
    ) -> Block:
        """A graph with its nodes; without `original` they run as they stand."""
        graph = scene.graph
        constants = outside.constants | (frozenset(graph.initializers) - declared.replaceable)
        known: Mapping[str, Dims | None] = {**outside.dims, **_stored(graph), **declared.dims}
        if outside.constants or outside.dims:
            known = _inferred(scene, known, constants)
        inside = _Outside(constants, known)
        places = range(len(graph.nodes)) if original is None else running(graph, original)
        nodes = [graph.nodes[place] for place in places]
        before = {} if original is None else {_result(node): node for node in original.nodes}
        steps = tuple(
            self.step(node, scene.facts[place], scene, declared, inside, before.get(_result(node)))
            for place, node in zip(places, nodes, strict=True)
        )
        names = [tensor.name for tensor in graph.inputs] + [
            name for node in graph.nodes for name in node.outputs
        ]
        values = {name: _value(scene.size(name), known.get(name)) for name in names if name}
        stored = {name: tensor.size for name, tensor in graph.initializers.items() if tensor.size is not None}
        values.update((name, Value(size, size.shape)) for name, size in stored.items())
        return Block(
            steps=steps,
            inputs=tuple(tensor.name for tensor in graph.inputs),
            outputs=tuple(tensor.name for tensor in graph.outputs),
            initializers=stored,
            values=values,
            external=declared.external,
            created=None if original is None else created(nodes, original),
        )

    def step(
        self,
        node: Node,
        said: object,
        scene: Scene,
        declared: Declared,
        inside: _Outside,
        original: Node | None,
    ) -> Step:
        call = Call(
            op_type=node.op_type,
            domain=node.domain,
            version=node.version,
            inputs=tuple(scene.size(name) if name else None for name in node.inputs),
            outputs=tuple(scene.size(name) if name else None for name in node.outputs),
            constant=tuple(name in inside.constants for name in node.inputs),
            attributes=node.attributes,
            threads=self.threads,
        )
        bodies = self.bodies(node, said, scene, declared, inside, original) if type(said) is Facts else ()
        return Step(node.name, call, node.inputs, node.outputs, node.captures, bodies)

    def bodies(
        self,
        node: Node,
        said: Facts,
        scene: Scene,
        declared: Declared,
        inside: _Outside,
        original: Node | None,
    ) -> tuple[Body, ...]:
        """The graphs among a node's attributes, as they are when they run last, and how often they do."""
        found = []
        taken = _taken(node, said, scene)
        for name, graph in node.attributes.items():
            runs = [run for run in said.runs if type(graph) is Graph and run.scene.graph is graph]
            if runs:
                within = declared.bodies.get((_result(node), name), NOTHING_DECLARED)
                trips = sum(1 if run.repeat is None else run.repeat for run in runs)
                if taken is not None and taken not in runs:
                    trips = 0
                before = None if original is None else original.attributes.get(name)
                block = self.block(
                    runs[-1].scene, within, inside, before if isinstance(before, Graph) else None
                )
                found.append(Body(name, block, trips))
        return tuple(found)


def _result(node: Node) -> str:
    return next(filter(None, node.outputs), "")


def _stored(graph: Graph) -> dict[str, Dims | None]:
    return {name: None if t.size is None else t.size.shape for name, t in graph.initializers.items()}


def _inferred(
    scene: Scene, known: Mapping[str, Dims | None], constants: frozenset[str]
) -> Mapping[str, Dims | None]:
    """Dims of a body's tensors as onnxruntime infers them: of known dims, and of settings that are stored."""
    found = dict(known)
    for node, rule in zip(scene.graph.nodes, scene.rules, strict=True):
        operands = [
            name in constants
            if rule is not None and rule.role(place) == "setting"
            else _is_settled(found.get(name))
            for place, name in enumerate(node.inputs)
            if name
        ]
        if node.captures or not all(operands):
            continue
        sizes = [(name, scene.size(name)) for name in node.outputs if name]
        found.update((name, size.shape) for name, size in sizes if size is not None and size.exact)
    return found


def _is_settled(dims: Dims | None) -> bool:
    return dims is not None and all(isinstance(dim, int) for dim in dims)


def _taken(node: Node, said: Facts, scene: Scene) -> Run | None:
    """Of branches the one that the condition chooses, or the one that makes more where nobody knows it."""
    if not said.exclusive or len(said.runs) != 2:
        return None
    condition = scene.size(node.inputs[0]) if node.inputs else None
    if condition is not None and condition.value is not None and condition.value_exact:
        return said.runs[0 if condition.value.any() else 1]
    return max(said.runs, key=_made_bytes)


def _made_bytes(run: Run) -> int:
    sizes = [run.scene.size(name) for node in run.scene.graph.nodes for name in node.outputs]
    return sum(size.bytes or 0 for size in sizes if size is not None)


def _value(size: Size | None, dims: Dims | None) -> Value:
    """What is known of a value, before and when it runs. A session tells of a scalar what it tells of no known rank."""
    if not dims and (size is None or size.shape):
        dims = None
    return Value(size, dims)
