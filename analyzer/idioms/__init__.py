"""What a group of nodes spells: ops of a framework that an exporter writes as several ONNX ops.

An idiom is a formula and what autograd keeps of the op that it spells, instead of what its nodes would keep one by
one. A row of a table where that is some of the formula's operands or the result, a function where more is to be said:

    row("x * Sigmoid(x)", "x")                  # torch.nn.functional.silu keeps its input

    @idiom("Log(Sigmoid(x))")
    def log_sigmoid(x: Size, y: Size) -> Spelled: ...

A function takes the tensors of the formula by name, the result if it asks for `y`, and if it asks for `learned` the
names of those that need a gradient; it returns None where the nodes are something else after all. Of idioms that end at
one node the first one written wins, and no node belongs to two.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Mapping, Set

import msgspec

from analyzer.graph import Size
from analyzer.idioms.pattern import Bound, Call, Text, parse
from analyzer.ops.rule import Facts, Kept

__all__ = ["Phrase", "Spelled", "Text", "idiom", "row", "spoken"]


class Spelled(msgspec.Struct, frozen=True, eq=False):
    """What an idiom says of the op that it spells, in the words of `Facts`."""

    saved: tuple[Size | Kept, ...] = ()
    alike: Size | None = None


class Phrase(msgspec.Struct, frozen=True, eq=False):
    """One op that several nodes spell: the tensors that it reads, what is to be said of it, and the idiom's name."""

    inputs: tuple[str, ...]
    said: Facts
    word: str


Meaning = Callable[..., Spelled | None]


class Idiom(msgspec.Struct, frozen=True):
    """A formula, and what it means given the sizes of tensors by name."""

    pattern: Call
    makers: tuple[frozenset[str], ...]
    needed: frozenset[str]
    meaning: Meaning
    wanted: tuple[str, ...]


_IDIOMS: dict[str, list[Idiom]] = {}
"""By the op type of the last node."""


def idiom(*formulas: str) -> Callable[[Meaning], Meaning]:
    """Make a function the meaning of `formulas`."""

    def register(meaning: Meaning) -> Meaning:
        wanted = tuple(inspect.signature(meaning).parameters)
        for formula in formulas:
            _enter(parse(formula), meaning, wanted)
        return meaning

    return register


def row(formula: str, *kept: str) -> None:
    """An op that keeps tensors of its formula by name, the result by the name y."""

    def meaning(*sizes: Size) -> Spelled:
        return Spelled(sizes)

    _enter(parse(formula), meaning, kept)


def _enter(pattern: Call, meaning: Meaning, wanted: tuple[str, ...]) -> None:
    found = Idiom(pattern, pattern.makers, pattern.needed, meaning, wanted)
    _IDIOMS.setdefault(pattern.op_type, []).append(found)


def spoken(text: Text, changed: Set[str] = frozenset()) -> Mapping[int, Phrase | None]:
    """The phrases among nodes whose results need a gradient, by the index of their last node; None for the nodes that
    came before in one. No phrase goes over a tensor that was `changed` on its way to a reader.
    """
    found: dict[int, Phrase | None] = {}
    present = text.places.keys()
    idioms = {end: [i for i in _IDIOMS[end] if i.needed <= present] for end in _IDIOMS.keys() & present}
    ends = [index for end, candidates in idioms.items() if candidates for index in text.places[end]]
    for index in sorted(ends, reverse=True):  # the longest phrase ends last
        if index in found:
            continue
        makers = text.makers(index)
        for candidate in idioms[text.nodes[index].op_type]:
            if any(map(makers.isdisjoint, candidate.makers)):
                continue
            match = text.find(candidate.pattern, index)
            if match is None or not match[1].isdisjoint(found):
                continue
            if changed and any(not changed.isdisjoint(text.nodes[i].outputs) for i in match[1] - {index}):
                continue
            phrase = _phrase(text, index, match, candidate)
            if phrase is not None:
                found.update(dict.fromkeys(match[1]))
                found[index] = phrase
                break
    return found


def _phrase(text: Text, index: int, match: tuple[Bound, set[int]], candidate: Idiom) -> Phrase | None:
    """What a match means, if anything. What its own nodes make it does not read."""
    scene, (bound, group) = text.scene, match
    known: dict[str, object] = {name: scene.size(tensor) for name, tensor in bound.items()}
    known["y"] = scene.size(scene.graph.nodes[index].outputs[0])
    known["learned"] = {name for name, tensor in bound.items() if tensor in text.grads}
    spelled = candidate.meaning(*(known.get(name) for name in candidate.wanted))
    said = scene.facts[index]
    if spelled is None or type(said) is not Facts:
        return None
    said = msgspec.structs.replace(said, saved=spelled.saved, alike=spelled.alike, view=None, strided=None)
    within = {name for place in group for name in scene.graph.nodes[place].outputs}
    inputs = tuple(dict.fromkeys(name for name in bound.values() if name not in within))
    return Phrase(inputs, said, candidate.meaning.__name__)


for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
