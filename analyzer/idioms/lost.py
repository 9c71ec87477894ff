"""What an exported graph has lost without a trace: dropout.

That of an inference graph leaves no node, but its places are a matter of habit, and three habits are strong enough
to be counted on:

    the first transformers, whose norm stands behind the sum of a layer and its shortcut: on what goes into each sum, on
    what goes into the first, and, where there is no decoder, on the attention's weights
    torch's own transformer layer, known by the names of its parameters: on what goes into each sum, on the attention's
    weights, and between its linear layers
    numbered modules: between linear layers where the numbers leave a gap, since one module made no node

Everywhere else it may have been or not.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property

import msgspec

from analyzer.graph import Node
from analyzer.idioms import Phrase, Text
from analyzer.ops.rule import Facts

_NORMS = frozenset({"LayerNormalization", "RMSNormalization", "SimplifiedLayerNormalization"})
_LINEAR = frozenset({"Gemm", "MatMul"})
_NUMBERED = re.compile(r"(.*?)(\d+)\.weight")
_MODULES = 3
"""Most modules between two linear layers that are looked through."""


class Lost(msgspec.Struct, frozen=True):
    """Tensors on which dropout may have been: `likely` by habit, or only `possible`."""

    likely: frozenset[str] = frozenset()
    possible: frozenset[str] = frozenset()

    @property
    def places(self) -> frozenset[str]:
        """All of them."""
        return self.likely | self.possible


def lost(text: Text, phrases: Mapping[int, Phrase | None]) -> Lost:
    """What may be missing among nodes whose results need a gradient; nothing where the graph has dropout itself."""
    if any(type(said) is Facts and (said.random or said.training is not None) for said in text.scene.facts):
        return Lost()
    return _Search(text, phrases).lost()


class _Sum(msgspec.Struct, frozen=True):
    """A branch and the shortcut around it, as they are added up; `branch` is "" where no layer of weights ends it, and
    `norm` the norm that is made of the sum, if nothing else is.
    """

    branch: str
    shortcut: str
    norm: str


class _Search:
    def __init__(self, text: Text, phrases: Mapping[int, Phrase | None]) -> None:
        self.text, self.scene, self.phrases = text, text.scene, phrases
        self.nodes, self.facts = self.scene.graph.nodes, self.scene.facts
        self.given = {tensor.name for tensor in self.scene.graph.inputs}

    def nodes_of(self, *op_types: str) -> Iterator[Node]:
        """Nodes of these types."""
        return (self.nodes[index] for kind in op_types for index in self.text.places.get(kind, ()))

    def lost(self) -> Lost:
        sums = list(self.sums()) if self.norms or "Softmax" in self.text.places else []
        weights, entries = frozenset(self.weights()), self.entries(sums)
        branches = {each.branch for each in sums if each.branch}
        likely = frozenset(self.gaps())
        if inner := set(self.inner()):
            likely |= inner | weights | branches
        elif self.first_kind(sums):
            likely |= entries | {each.branch for each in sums if each.branch and each.norm}
            if len(entries) == 1:  # no decoder
                likely |= weights
        possible = weights.union(branches, entries, self.linear_operands())
        return Lost(likely, possible - likely)

    # -- places

    def weights(self) -> Iterator[str]:
        """What attention weighs values with; rows that are masked as a whole may have been set to zero."""
        for node in self.nodes_of("Softmax"):
            if self.maker(name := node.outputs[0]) is not None:
                for index in self.readers(name):
                    if self.nodes[index].op_type == "Where":
                        name = self.nodes[index].outputs[0]
                if any(self.is_product(index) for index in self.readers(name)):
                    yield name

    def is_product(self, index: int) -> bool:
        """Whether a node is a product of two tensors that are computed."""
        said, operands = self.facts[index], self.nodes[index].inputs[:2]
        return type(said) is Facts and bool(said.macs) and len(self.computed(operands)) == len(operands)

    def sums(self) -> Iterator[_Sum]:
        """Where a branch joins the shortcut around it, which is read by the branch and by the sum."""
        for node in self.nodes_of("Add"):
            roots = [*map(self.origin, node.inputs)]
            if not all(self.maker(name) is not None or name in self.given for name in roots):
                continue
            one, other = (self.scene.size(name) for name in node.inputs)
            if one is None or other is None or one.shape != other.shape:
                continue
            wide = [len(self.readers(name)) > 1 for name in roots]
            if wide[0] == wide[1]:
                continue
            shortcut, branch = (roots[0], node.inputs[1]) if wide[0] else (roots[1], node.inputs[0])
            branch = branch if self.is_from_layer(branch) else ""
            yield _Sum(branch, shortcut, self.norm_of(node.outputs[0]))

    def first_kind(self, sums: list[_Sum]) -> bool:
        """Whether norms stand behind sums, and make the shortcut around the next layer."""
        norms = set(self.norms.values())
        behind = [each for each in sums if each.norm]
        return sum(each.shortcut in norms for each in behind) > max(len(sums) // 2, 1)

    def entries(self, sums: list[_Sum]) -> set[str]:
        """What goes into the first of several layers: shortcuts that no sum has made."""
        return {each.shortcut for each in sums if each.norm} - {each.norm for each in sums}

    def inner(self) -> Iterator[str]:
        """What the second linear layer reads in torch's own transformer layer, which is known by its names."""
        stored = self.scene.graph.initializers
        attentive = {name.partition(".self_attn.")[0] for name in stored if ".self_attn." in name}
        seconds = {name for name in stored if name.partition(".linear2.")[0] in attentive}
        if not seconds:
            return
        for index in self.text.among:
            node = self.nodes[index]
            if seconds.isdisjoint(node.inputs):
                continue
            if node.op_type == "Add":  # the bias
                index = next(map(self.text.made.__getitem__, self.computed(node.inputs)), index)
            if self.is_linear(index):
                yield from self.computed([self.origin(self.nodes[index].inputs[0])])

    def linear_operands(self) -> Iterator[str]:
        """What linear layers read that neither a norm nor attention has made."""
        norms = set(self.norms.values())
        for node in self.nodes_of(*_LINEAR):
            if self.maker(node.inputs[1]) is None:
                name = self.origin(node.inputs[0])
                maker = self.maker(name)
                if maker is not None and name not in norms and not self.is_product(maker):
                    yield name

    def gaps(self) -> Iterator[str]:
        """Between numbered modules."""
        numbered: dict[int, tuple[str, int]] = {}
        for index in self.text.places.get("Gemm", ()):
            node = self.nodes[index]
            if not (found := _NUMBERED.fullmatch(node.inputs[1])):
                continue
            container, number = found[1], int(found[2])
            before, between = self.linear_before(node.inputs[0])
            there = numbered.get(before)
            if there is not None and there[0] == container and number - there[1] - between == 2:
                yield node.inputs[0]
            numbered[index] = container, number

    def linear_before(self, name: str) -> tuple[int, int]:
        """The linear layer before a tensor, and how many modules were in between; -1 where it is none of a chain."""
        for between in range(_MODULES + 1):
            index = self.maker(name)
            if index is None or self.is_linear(index):
                return -1 if index is None else index, between
            phrase = self.phrases.get(index)
            operands = phrase.inputs if phrase is not None else self.nodes[index].inputs
            name = next(iter(self.computed(operands)), "")
        return -1, 0

    # -- what is what

    @cached_property
    def norms(self) -> Mapping[str, str]:
        """The results of norms by what is normalised."""
        found = {
            self.origin(node.inputs[0]): node.outputs[0]
            for node in self.nodes_of(*_NORMS)
            if self.maker(node.outputs[0]) is not None
        }
        for index, phrase in self.phrases.items():
            if phrase is not None and phrase.word == "layer_norm":
                found[self.origin(phrase.inputs[0])] = self.nodes[index].outputs[0]
        return found

    def norm_of(self, name: str) -> str:
        """The norm of a tensor that nothing else reads, "" if there is none."""
        readers = self.readers(name)
        plain = all(
            self.nodes[index].op_type in _NORMS or self.phrases.get(index, self) is None for index in readers
        )
        return self.norms.get(name, "") if plain else ""

    def is_linear(self, index: int) -> bool:
        node = self.nodes[index]
        return node.op_type in _LINEAR and self.maker(node.inputs[1]) is None

    def is_layer(self, index: int) -> bool:
        """Whether a node is a product with a weight."""
        said, inputs = self.facts[index], self.nodes[index].inputs
        return type(said) is Facts and bool(said.macs) and len(inputs) > 1 and self.maker(inputs[1]) is None

    def is_from_layer(self, name: str) -> bool:
        """Whether a tensor is a product of tokens with a weight, a bias added to it."""
        index = self.maker(self.origin(name))
        if index is not None and self.nodes[index].op_type == "Add":
            computed = self.computed(self.nodes[index].inputs)
            index = self.maker(self.origin(computed[0])) if len(computed) == 1 else None
        if index is None:
            return False
        size = self.scene.size(name)
        tokens = self.nodes[index].op_type in _LINEAR or (size is not None and size.rank == 3)
        return tokens and self.is_layer(index)

    def maker(self, name: str) -> int | None:
        """The node that computes a tensor which needs a gradient; None where nothing does."""
        index = self.text.made.get(name)
        if index is None or name not in self.text.grads:
            return None
        said = self.facts[index]
        works = type(said) is not Facts or said.macs or said.elementwise
        return index if works or name not in self.scene.constants else None

    def computed(self, names: Sequence[str]) -> list[str]:
        """Those that something computes."""
        return [name for name in names if self.maker(name) is not None]

    def origin(self, name: str) -> str:
        """The tensor that this one is a view of, else itself."""
        while (index := self.text.made.get(name)) is not None and (source := self.viewed(index)):
            name = source
        return name

    def readers(self, name: str) -> set[int]:
        """The nodes that read a tensor or a view of it, views apart."""
        found, views = set[int](), [name]
        for view in views:
            for index in self.text.readers.get(view, ()):
                if self.viewed(index) == view:
                    views += self.nodes[index].outputs
                else:
                    found.add(index)
        return found

    def viewed(self, index: int) -> str:
        """The operand that a node's results are views of, "" where there is none."""
        said = self.facts[index]
        source = (said.view or said.strided) if type(said) is Facts else None
        return "" if source is None else self.scene.named(self.nodes[index].inputs, source)
