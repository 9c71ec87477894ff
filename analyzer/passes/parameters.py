"""Which stored tensors are weights, which are buffers, and which merely settle shapes and bounds.

What a constant is shows where it is used: walking with the constants, each carries the stored tensors that it
was made of to the first node that computes with the input, and that node's rule says what its operand means.
So a weight that the graph reshapes, dequantises or passes through Identity counts once, as it is stored; one
that the graph makes out of a shape alone (ConstantOfShape and friends) counts as the tensor made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import cached_property

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts, OperandRole, Rule

Origins = tuple[tuple[str, ...], tuple[str, ...]]
"""Stored tensors that a constant is made of: its numbers, and the statistics and scales mixed in."""


class Parameters(msgspec.Struct, frozen=True, dict=True):
    """Stored tensors by role, with the node of the main graph that first reads each weight (or whose body does).

    Tensors are named as in the report: those stored in a body are prefixed by its scope.
    """

    weights: Mapping[str, Size]
    buffers: Mapping[str, Size]
    first_reader: Mapping[str, int]

    @property
    def elements(self) -> int:
        return sum(size.count for size in self.weights.values())

    @cached_property
    def bytes(self) -> int | None:
        """Exact bytes of all weights; None where one has no known width."""
        total = 0
        for size in self.weights.values():
            amount = size.bytes
            if amount is None:
                return None
            total += amount
        return total

    @property
    def buffer_elements(self) -> int:
        return sum(size.count for size in self.buffers.values())


def collect(scene: Scene) -> Parameters:
    """Roles of every stored tensor of a described graph, bodies included, that some node computes with."""
    claims = _Claims()
    _Scope(claims, scene, "", {}).read()
    for name in claims.weights.keys() & claims.buffers.keys():
        del claims.buffers[name]
    return Parameters(claims.weights, claims.buffers, claims.readers)


class _Claims:
    """Stored tensors by what they were claimed for."""

    def __init__(self) -> None:
        self.weights: dict[str, Size] = {}
        self.buffers: dict[str, Size] = {}
        self.readers: dict[str, int] = {}
        self.entered: set[tuple[object, ...]] = (
            set()
        )  # calls whose bodies were read: with these constants, once
        self.named: dict[tuple[int, str], str] = {}  # (graph, tensor) of a body -> the name of its first call

    def claim(self, made_of: Origins, stored: Mapping[str, Size], role: OperandRole, index: int) -> None:
        """The node at `index` reads a constant as `role`."""
        if role == "setting":
            return
        numbers, beside = made_of
        for name in numbers:
            if role == "buffer":
                self.buffers[name] = stored[name]
            elif name not in self.weights:
                self.weights[name] = stored[name]
                self.readers[name] = index
        for name in beside:
            self.buffers[name] = stored[name]


class _Scope:
    """One graph's constants: what each is made of, and the sizes of what was stored."""

    def __init__(self, claims: _Claims, scene: Scene, prefix: str, entered: Mapping[str, Origins]) -> None:
        self.claims, self.scene, self.prefix = claims, scene, prefix
        self.origins: dict[str, Origins] = dict(entered)
        self.stored: dict[str, Size] = {}
        self.store(scene.graph.initializers)

    def store(self, names: Iterable[str]) -> None:
        """Constants that are their own origins. One of a body called twice is stored once, under its first name."""
        sizes = self.scene.sizes
        for name in names:
            size = sizes[name]
            if type(size) is Size:
                key = name
                if self.prefix:
                    key = self.claims.named.setdefault((id(self.scene.graph), name), self.prefix + name)
                self.stored[key] = size
                self.origins[name] = ((key,), ())

    def read(self, index: int | None = None) -> None:
        """Walk the nodes; `index` is the node of the main graph on whose behalf."""
        scene, origins = self.scene, self.origins
        constants, sizes = scene.constants, scene.sizes
        for place, (node, rule, said) in enumerate(
            zip(scene.graph.nodes, scene.rules, scene.facts, strict=True)
        ):
            at = place if index is None else index
            if type(said) is Facts and said.runs:
                self.enter(node, said, at)
            elif node.outputs and node.outputs[0] in constants:
                self.carry(node, rule)
            else:
                for position, name in enumerate(node.inputs):
                    made_of = origins.get(name)
                    if made_of is not None:
                        self.claims.claim(made_of, self.stored, _role(rule, position, sizes[name]), at)

    def carry(self, node: Node, rule: Rule | None) -> None:
        """A constant made of constants; one made out of settings alone is its own origin."""
        numbers: dict[str, None] = {}
        beside: dict[str, None] = {}
        for position, name in enumerate(node.inputs):
            made_of = self.origins.get(name)
            if made_of is None:
                continue
            role = _role(rule, position, self.scene.sizes[name])
            if role == "weight":
                numbers.update(dict.fromkeys(made_of[0]))
                beside.update(dict.fromkeys(made_of[1]))
            elif role == "buffer":
                beside.update(dict.fromkeys((*made_of[0], *made_of[1])))
        if numbers:
            self.origins.update(dict.fromkeys(node.outputs, (tuple(numbers), tuple(beside))))
        else:
            self.store(node.outputs)

    def enter(self, node: Node, said: Facts, index: int) -> None:
        """The bodies of a node, with the constants that they are given or capture."""
        for run in said.runs:
            graph = run.scene.graph
            entered = {name: self.origins[name] for name in node.captures if name in self.origins}
            for formal, actual in zip(graph.inputs, run.operands, strict=False):
                if actual in self.origins:
                    entered[formal.name] = self.origins[actual]
            call = (id(run.scene), *sorted(entered.items()))
            if call in self.claims.entered:
                continue
            self.claims.entered.add(call)
            scope = _Scope(self.claims, run.scene, f"{self.prefix}{node.name}/", entered)
            scope.stored = {**self.stored, **scope.stored}
            scope.read(index)


def _role(rule: Rule | None, place: int, size: object) -> OperandRole:
    """What a constant is as an operand. In a place for data, or of an op that nobody described, floating
    point and narrow integers are weights, and scalars and wide integers are not.
    """
    role = rule.role(place) if rule is not None and rule.roles else "data"
    if role != "data":
        return role
    if type(size) is not Size or not size.shape:
        return "setting"
    return (
        "weight"
        if size.dtype.is_float or ((size.dtype.bits or 64) <= 8 and size.dtype.kind in "iu")
        else "setting"
    )
