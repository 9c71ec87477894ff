"""A pattern: a formula over ONNX ops, and the search for it among the nodes of a graph.

A pattern is written as the formula that it stands for, in Python's words:

    x * Sigmoid(x)                              a name is a tensor, the same one wherever it stands
    0.5 * (x * (1 + Erf(x / 1.41421356)))       a number is a constant with that value
    Softmax(MatMul(q, k) + mask)                a call is an op; operands that are not written may be anything
    Split[1](x)                                 the op's second result
    x - (mean := ReduceMean(x))                 a result on the way has a name too
    Sqrt(x ** 2 | x * x)                        one or the other, which their ops tell apart

`+` and `*` are Add and Mul, with operands in either order; `-`, `/`, `**` are Sub, Div and Pow. Every tensor between
the operands and the result must be of no use to anyone else. A search costs what the pattern has nodes.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from functools import cached_property

import msgspec

from analyzer.describe import Scene
from analyzer.ops.rule import ONNX

_OPERATORS = {ast.Add: "Add", ast.Mult: "Mul", ast.Sub: "Sub", ast.Div: "Div", ast.Pow: "Pow"}
_PLAIN = ("", ONNX)
_EITHER_WAY = frozenset({"Add", "Mul"})
_CLOSE = 2e-3
"""Half precision writes constants this far off."""


class Name(msgspec.Struct, frozen=True):
    """Any tensor, and the same one for the same name."""

    name: str


class Number(msgspec.Struct, frozen=True):
    """A constant of one element, `value`."""

    value: float


class Call(msgspec.Struct, frozen=True):
    """The result of an op."""

    op_type: str
    operands: tuple[Pattern, ...]
    result: int = 0
    name: str = ""

    @property
    def makers(self) -> tuple[frozenset[str], ...]:
        """Of each operand that is the result of an op, that op; of one that may be written in several ways, all."""
        return tuple(
            frozenset(call.op_type for call in ways) for operand in self.operands if (ways := _ways(operand))
        )

    @property
    def needed(self) -> frozenset[str]:
        """The ops that it is never written without."""
        return frozenset({self.op_type}).union(*(p.needed for p in self.operands if type(p) is Call))


class Either(msgspec.Struct, frozen=True):
    """The result of one of several ops."""

    calls: tuple[Call, ...]


def _ways(pattern: Pattern) -> tuple[Call, ...]:
    """The calls that a pattern may be; none where it is no op's result."""
    if isinstance(pattern, Either):
        return pattern.calls
    return (pattern,) if isinstance(pattern, Call) else ()


Pattern = Name | Number | Call | Either
Names = tuple[str, ...]
Bound = dict[str, str]
"""Tensors by the names that a pattern gives them."""


def parse(text: str) -> Call:
    """The pattern that a formula is."""
    made = _pattern(ast.parse(text, mode="eval").body)
    assert isinstance(made, Call), text
    return made


def _pattern(tree: ast.expr) -> Pattern:
    match tree:
        case ast.BinOp(_, ast.BitOr(), _):
            return Either(tuple(_calls(tree)))
        case ast.BinOp(left, operator, right):
            return Call(_OPERATORS[type(operator)], (_pattern(left), _pattern(right)))
        case ast.Call(ast.Name(op_type), operands):
            return Call(op_type, tuple(map(_pattern, operands)))
        case ast.Call(ast.Subscript(ast.Name(op_type), ast.Constant(int() as result)), operands):
            return Call(op_type, tuple(map(_pattern, operands)), result)
        case ast.NamedExpr(ast.Name(name), call):
            named = _pattern(call)
            assert isinstance(named, Call)
            return msgspec.structs.replace(named, name=name)
        case ast.Name(name):
            return Name(name)
        case ast.Constant(float() | int() as value):
            return Number(float(value))
    raise ValueError(f"{ast.unparse(tree)} is no part of a pattern")


def _calls(tree: ast.expr) -> Iterator[Call]:
    """The ways in which an operand may be written."""
    if isinstance(tree, ast.BinOp) and isinstance(tree.op, ast.BitOr):
        yield from _calls(tree.left)
        yield from _calls(tree.right)
    else:
        call = _pattern(tree)
        assert isinstance(call, Call), ast.unparse(tree)
        yield call


class Text:
    """A graph to search: the nodes that make or read a tensor of `grads`, all and by their ops, and which of them made
    each tensor.
    """

    def __init__(self, scene: Scene, grads: Set[str]) -> None:
        self.scene, self.grads, self.nodes = scene, grads, scene.graph.nodes
        self.made: dict[str, int] = {}
        self.among: list[int] = []
        self.places: dict[str, list[int]] = {}
        for index, node in enumerate(self.nodes):
            outputs = node.outputs
            if outputs and (outputs[0] in grads or not grads.isdisjoint(node.inputs)):
                self.among.append(index)
                self.places.setdefault(node.op_type, []).append(index)
                for name in outputs:
                    self.made[name] = index

    @cached_property
    def readers(self) -> Mapping[str, list[int]]:
        """The nodes that read each tensor, each as often as it does."""
        readers: dict[str, list[int]] = {}
        for index in self.among:
            for name in self.nodes[index].inputs:
                readers.setdefault(name, []).append(index)
        return readers

    @cached_property
    def shown(self) -> Set[str]:
        """Tensors that are of use outside of the nodes that read them: the graph's results and what bodies read."""
        captured = (node.captures for node in self.nodes if node.captures)
        return {tensor.name for tensor in self.scene.graph.outputs}.union(*captured)

    def makers(self, index: int) -> set[str]:
        """The ops whose results a node reads."""
        made = self.made
        return {self.nodes[made[name]].op_type for name in self.nodes[index].inputs if name in made}

    def find(self, pattern: Call, root: int) -> tuple[Bound, set[int]] | None:
        """The tensors and the nodes of `pattern` where the node at `root` is its last; None where it is not there."""
        bound: Bound = {}
        group: set[int] = set()
        if not self.call(pattern, root, bound, group):
            return None
        inner = Counter(name for index in group for name in self.nodes[index].inputs)
        for index in group - {root}:
            for name in self.nodes[index].outputs:
                if name in self.shown or len(self.readers.get(name, ())) != inner[name]:
                    return None
        return bound, group

    def call(self, pattern: Call, index: int, bound: Bound, group: set[int]) -> bool:
        """Whether a node is the last of a pattern, given what is bound already; what it binds is added."""
        node, operands = self.nodes[index], pattern.operands
        if node.op_type != pattern.op_type or node.domain not in _PLAIN or len(operands) > len(node.inputs):
            return False
        group.add(index)
        if pattern.op_type not in _EITHER_WAY:
            return self.tensors(operands, node.inputs, bound, group)
        for inputs in (node.inputs, node.inputs[::-1]):
            if all(map(self.may_be, operands, inputs)):
                before, seen = dict(bound), set(group)
                if self.tensors(operands, inputs, bound, group):
                    return True
                bound.clear()
                bound.update(before)
                group.intersection_update(seen)
        return False

    def tensors(self, patterns: tuple[Pattern, ...], names: Names, bound: Bound, group: set[int]) -> bool:
        """Whether tensors are what patterns say, one after the other."""
        pairs = zip(patterns, names, strict=False)
        return all(self.tensor(pattern, name, bound, group) for pattern, name in pairs)

    def may_be(self, pattern: Pattern, name: str) -> bool:
        """Whether a tensor is made by the op of a pattern, if that is one: what can be told at a glance."""
        if type(pattern) is Either:
            return any(self.may_be(call, name) for call in pattern.calls)
        if type(pattern) is not Call:
            return True
        index = self.made.get(name)
        return index is not None and self.nodes[index].op_type == pattern.op_type

    def tensor(self, pattern: Pattern, name: str, bound: Bound, group: set[int]) -> bool:
        """Whether a tensor is what a pattern says."""
        if type(pattern) is Either:
            return any(
                self.may_be(call, name) and self.tensor(call, name, bound, group) for call in pattern.calls
            )
        if type(pattern) is Call:
            if not self.may_be(pattern, name):
                return False
            index = self.made[name]
            if name != self.nodes[index].outputs[pattern.result]:
                return False
            if pattern.name and bound.setdefault(pattern.name, name) != name:
                return False
            return self.call(pattern, index, bound, group)
        if type(pattern) is Name:
            return bound.setdefault(pattern.name, name) == name or self.equal(bound[pattern.name], name)
        size = self.scene.size(name)
        if type(pattern) is not Number or size is None or size.value is None or size.count != 1:
            return False
        return math.isclose(float(size.value.reshape(())), pattern.value, rel_tol=_CLOSE)

    def equal(self, one: str, other: str) -> bool:
        """Whether two tensors are constants of one value."""
        a, b = self.scene.size(one), self.scene.size(other)
        if a is None or b is None or a.value is None or b.value is None:
            return False
        return a.shape == b.shape and bool((a.value == b.value).all())
