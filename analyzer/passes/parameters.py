"""Which stored tensors are weights, which are buffers, and which merely settle shapes and bounds.

What a constant is shows where it is used: walking with the constants, each carries the stored tensors that it was made of to
the first node that computes with the input, and that node's rule says what its operand means. So a weight that the graph
reshapes, dequantises or passes through Identity counts once, as it is stored; one that the graph makes out of a shape alone
(ConstantOfShape and friends) counts as the tensor made.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node, Size
from analyzer.ops.rule import Facts, OperandRole, find

Origins = tuple[frozenset[str], frozenset[str]]
"""Stored tensors that a constant is made of: its numbers, and the statistics and scales mixed in."""

_NONE: frozenset[str] = frozenset()


class Parameters(msgspec.Struct, frozen=True):
    """Stored tensors by role, with the node that first reads each weight. Elements and exact bytes."""

    weights: Mapping[str, Size]
    buffers: Mapping[str, Size]
    first_reader: Mapping[str, int]

    @property
    def elements(self) -> int:
        return sum(size.count for size in self.weights.values())

    @property
    def bytes(self) -> int | None:
        sizes = [size.bytes for size in self.weights.values()]
        return None if None in sizes else sum(filter(None, sizes))

    @property
    def buffer_elements(self) -> int:
        return sum(size.count for size in self.buffers.values())


def collect(scene: Scene) -> Parameters:
    """Roles of every stored tensor of a described graph that some node computes with."""
    origins: dict[str, Origins] = {name: (frozenset((name,)), _NONE) for name in scene.graph.initializers}
    weights: dict[str, Size] = {}
    buffers: dict[str, Size] = {}
    readers: dict[str, int] = {}
    constants = scene.constants
    for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
        if type(said) is not Facts:
            _claim_unknown(scene, node, index, origins, weights, readers)
        elif node.outputs and node.outputs[0] in constants:
            _carry(scene, node, origins)
        else:
            for place, name in enumerate(node.inputs):
                if name in origins:
                    _claim(scene, origins[name], _role(node, place, scene), index, weights, buffers, readers)
    for name in weights.keys() & buffers.keys():
        del buffers[name]
    return Parameters(weights, buffers, readers)


def _role(node: Node, place: int, scene: Scene) -> OperandRole:
    rule = find(node.domain, node.op_type, node.version)
    role = rule.role(place) if rule is not None and rule.roles else "data"
    if role == "data":
        size = scene.size(node.inputs[place])
        return "weight" if size is not None and _counts(size) else "setting"
    return role


def _counts(size: Size) -> bool:
    """A constant in a place for data is a weight if it is floating point or narrow, and no scalar."""
    return bool(size.shape) and (size.dtype.is_float or (size.dtype.kind in "iu" and (size.dtype.bits or 64) <= 8))


def _carry(scene: Scene, node: Node, origins: dict[str, Origins]) -> None:
    """What a constant's makers are made of; a tensor made out of settings alone is its own origin."""
    numbers: frozenset[str] = _NONE
    beside: frozenset[str] = _NONE
    for place, name in enumerate(node.inputs):
        if name not in origins:
            continue
        role = _role(node, place, scene)
        if role in ("data", "weight"):
            numbers |= origins[name][0]
            beside |= origins[name][1]
        elif role == "buffer":
            beside |= origins[name][0] | origins[name][1]
    for name in node.outputs:
        if name:
            origins[name] = (numbers or frozenset((name,)), beside)


def _claim(
    scene: Scene, made_of: Origins, role: OperandRole, index: int,
    weights: dict[str, Size], buffers: dict[str, Size], readers: dict[str, int],
) -> None:  # fmt: skip
    if role == "setting":
        return
    for name in made_of[0]:
        size = scene.size(name)
        if size is None:
            continue
        if role == "buffer":
            buffers.setdefault(name, size)
        elif name not in weights:
            weights[name] = size
            readers[name] = index
    for name in made_of[1]:
        size = scene.size(name)
        if size is not None:
            buffers.setdefault(name, size)


def _claim_unknown(
    scene: Scene, node: Node, index: int, origins: Mapping[str, Origins], weights: dict[str, Size], readers: dict[str, int]
) -> None:
    """An op nobody described: its floating-point constants count as weights."""
    for name in node.inputs:
        if name in origins:
            _claim(scene, (origins[name][0], _NONE), _plain(scene, name), index, weights, {}, readers)


def _plain(scene: Scene, name: str) -> OperandRole:
    size = scene.size(name)
    return "weight" if size is not None and _counts(size) else "setting"
