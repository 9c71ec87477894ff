"""Memory at training time that one forward pass leaves behind: what autograd keeps for the backward pass.

Each storage counts once, whole, however many ops keep it or a part of it; stored tensors (parameters, buffers,
constants) are not counted here. Nothing is kept for a result that needs no gradient, and a gradient is needed by
whatever was computed with a stored tensor of floating point. Views are those of a framework with strides: a transpose
moves nothing, and a reshape copies where strides leave it no choice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set

import msgspec

from analyzer.describe import Scene
from analyzer.graph import Node, Size
from analyzer.idioms import Phrase, Text, spoken
from analyzer.idioms.folding import folded
from analyzer.idioms.lost import Lost, lost
from analyzer.ops.rule import Facts, Kept, Run
from analyzer.passes.training.storages import Names, Storages
from analyzer.spans import NOTHING, POINTWISE


class Saved(msgspec.Struct, frozen=True):
    """Bytes kept in all, and per node those that it is the first to keep. `learners` are the nodes on the way back:
    those whose results need a gradient, and those that run bodies.

    Of `bytes`, `assumed_bytes` are of dropout that an inference graph has at rest, of `dropouts` that are not in it but
    are the habit where they are assumed, and of `batch_norms` that are not in it either, but that names say were folded
    away. `possible_bytes` more would be kept had all weights that can have taken in a norm done so, where no name says
    otherwise, and had dropout stood wherever it may. `complete` is False where a node said nothing.

    For a body: `outside` are tensors of its caller that it keeps; `same` tells of a result which tensor of the body or
    of the caller it shares its storage with; `kept` are the storages.
    """

    bytes: int
    node_bytes: tuple[int | None, ...]
    learners: tuple[int, ...]
    complete: bool
    outside: frozenset[str]
    same: Mapping[str, str]
    kept: set[str]
    keeper: Mapping[str, int]
    learned: set[str]
    storages: Storages
    phrases: Mapping[int, Phrase | None]
    batch_norms: int = 0
    dropouts: int = 0
    assumed_bytes: int = 0
    possible_bytes: int = 0


def saved(scene: Scene, unfold: bool = True, frozen: Set[str] = frozenset()) -> Saved:
    """What autograd keeps of one run of `scene`, bodies included. `unfold`: dropout is at work, and batch norms that
    were folded away are back. Stored tensors that are `frozen` need no gradient.
    """
    keeper = _Keeper(scene, frozenset(), {}, unfold)
    keeper.grads |= {name for name in keeper.stored if _learned(name, scene.size(name))}
    if not keeper.grads:  # parameters are written out as constants
        written = (name for node in scene.graph.nodes if not node.inputs for name in node.outputs)
        keeper.grads |= {
            name for name in written if name in scene.constants and _learned(name, scene.size(name))
        }
    keeper.grads -= frozen
    grads = set(keeper.grads)
    kept = keeper.read()
    if kept.phrases is keeper.spelled:
        return kept
    plain = _Keeper(scene, frozenset(), {}, unfold=False)
    plain.grads |= grads
    return msgspec.structs.replace(kept, assumed_bytes=kept.bytes - plain.read(keeper.spelled).bytes)


class _Keeper:
    """What was kept so far of one graph's tensors, what needs a gradient, and bodies that were read before."""

    def __init__(
        self, scene: Scene, outside: frozenset[str], read: dict[object, Saved], unfold: bool
    ) -> None:
        self.scene, self.outside, self.known, self.unfold = scene, outside, read, unfold
        self.batch_norms = self.dropouts = self.assumed = self.possible = 0
        self.lost = Lost()
        self.spelled: Mapping[int, Phrase | None] = {}
        self.storages = Storages(scene)
        self.kept: set[str] = set()
        self.keeper: dict[str, int] = {}
        self.index = 0
        self.stored = set(scene.graph.initializers)
        self.grads: set[str] = set()

    def read(self, spelled: Mapping[int, Phrase | None] | None = None) -> Saved:
        """Walk the nodes, whose phrases as they are `spelled` may be known."""
        learning, learners = self.learn(), list[int]()
        phrases = self.phrases() if spelled is None else spelled
        places = self.lost.places
        amounts: list[int | None] = []
        for index, (node, said) in enumerate(zip(self.scene.graph.nodes, self.scene.facts, strict=True)):
            self.index = index
            if type(said) is not Facts:
                amounts.append(None)
                continue
            if learning[index] or said.runs:
                learners.append(index)
            if index in phrases:
                amounts.append(self.speak(node, phrases[index]))
            elif said.runs:
                amounts.append(self.enter(node, said))
            elif learning[index]:
                amounts.append(self.visit(node, said))
            else:
                self.pass_by(node, said)
                amounts.append(0)
            if places and node.outputs and node.outputs[0] in places and amounts[-1] is not None:
                amounts[-1] += self.drop(node.outputs[0], phrases.get(index, Lost) is None)
        known = [amount for amount in amounts if amount is not None]
        return Saved(
            sum(known),
            tuple(amounts),
            tuple(learners),
            len(known) == len(amounts),
            frozenset(self.kept & self.outside),
            {tensor.name: self.storages.of(tensor.name) for tensor in self.scene.graph.outputs},
            self.kept,
            self.keeper,
            self.grads,
            self.storages,
            phrases,
            self.batch_norms,
            self.dropouts,
            self.assumed,
            self.possible,
        )

    def learn(self) -> list[bool]:
        """Find what needs a gradient, floating point made with something that does; whether each node makes some."""
        grads, sizes, learning = self.grads, self.scene.sizes, list[bool]()
        for node, said in zip(self.scene.graph.nodes, self.scene.facts, strict=True):
            learns = False
            if not grads.isdisjoint(node.inputs) or (node.captures and not grads.isdisjoint(node.captures)):
                for name in node.outputs if type(said) is not Facts or said.spans is not NOTHING else ():
                    size = sizes.get(name)
                    if type(size) is Size and size.dtype.is_float:
                        grads.add(name)
                        learns = True
            learning.append(learns)
        return learning

    def phrases(self) -> Mapping[int, Phrase | None]:
        """The ops that several nodes spell, with what the graph has lost among them."""
        text = Text(self.scene, self.grads)
        self.spelled = spoken(text)
        self.lost = lost(text, self.spelled)
        within = (
            name
            for index, phrase in self.spelled.items()
            if phrase is None
            for name in text.nodes[index].outputs
        )
        broken = self.unfold and not self.lost.likely.isdisjoint(within)
        return spoken(text, self.lost.likely) if broken else self.spelled

    # -- nodes

    def speak(self, node: Node, phrase: Phrase | None) -> int:
        """A group of nodes that spell one op counts at the last of them."""
        return 0 if phrase is None else self.keep_all(phrase.inputs, node.outputs, phrase.said)

    def visit(self, node: Node, said: Facts) -> int:
        """Bytes that a node adds whose result needs a gradient."""
        if said.training is not None and self.unfold:
            amount = self.keep_all(node.inputs, node.outputs, said.training)
            self.assumed += amount
            return amount
        amount = self.keep_all(node.inputs, node.outputs, said)
        return amount if said.folds is None else amount + self.norm(node, said.folds)

    def norm(self, node: Node, folds: tuple[Size, Size]) -> int:
        """Bytes that a batch norm behind a node would keep, its input and two vectors, if one was folded into it."""
        weight, bias = (self.scene.named(node.inputs, size) for size in folds)
        y = self.scene.size(node.outputs[0])
        found = folded(node.name, weight, bias)
        if y is None or found is False or bias not in self.scene.constants:
            return 0
        amount = (y.bytes or 0) + 2 * (folds[1].bytes or 0)
        if not (found and self.unfold):
            self.possible += amount
            return 0
        self.assumed += amount
        self.batch_norms += 1
        return amount

    def drop(self, name: str, within: bool) -> int:
        """Bytes of the mask of dropout on a result, if any is likely. What is kept of a result before and after is two
        tensors; `within` a phrase, which dropout breaks up, those are kept as well.
        """
        lost, mask = self.lost, self.scene.bytes.get(name, 0)
        twice = self.storages.of(name) in self.kept
        if self.unfold and name in lost.likely:
            if twice:
                self.storages.drop(name)
            self.dropouts += 1
            self.assumed += mask
            return mask
        if name in lost.possible or name in lost.likely:
            self.possible += mask * (3 if within else 2 if twice else 1)
        return 0

    def pass_by(self, node: Node, said: Facts) -> None:
        """A node whose result needs no gradient: it may lie in another storage, or be as good as stored, as constants
        are, numbers of the program and what is known of shapes.
        """
        outputs = node.outputs
        first = self.scene.sizes.get(outputs[0]) if outputs else None
        if type(first) is not Size:
            return
        if first.value is None:
            if node.inputs or said.random:
                self.storages.place(node.inputs, outputs, said, first)
                return
        elif node.inputs and math.prod(first.shape) > 1:
            source = said.view or said.strided
            if source is None or self.storages.of(self.scene.named(node.inputs, source)) not in self.stored:
                return
        self.stored.update(outputs)

    # -- what is kept

    def keep_all(self, inputs: Names, outputs: Names, said: Facts) -> int:
        """Bytes that an op adds, once its results have their place: the storage of a tensor the first time that it is
        kept, a fresh one always.
        """
        first = self.scene.sizes.get(outputs[0])
        if type(first) is Size:
            self.storages.place(inputs, outputs, said, first)
        amount, named = 0, self.scene.named
        for item in said.saved:
            size = item.size if isinstance(item, Kept) else item
            name = named(inputs, size) or named(outputs, size)
            if not name:
                amount += size.bytes or 0
            elif isinstance(item, Kept):
                amount += self.keep(name, named(inputs, item.beside) if item.beside else "", item, said)
            else:
                amount += self.take(name)
        return amount

    def keep(self, name: str, beside: str, item: Kept, said: Facts) -> int:
        """Bytes that keeping something under a condition adds."""
        if beside and (beside not in self.grads or (said.spans is POINTWISE and self.is_table(beside))):
            return 0
        copy = self.storages.copied(name, item.size, item)
        return self.take(name) if copy is None else copy.bytes or 0

    def is_table(self, name: str) -> bool:
        """Whether a factor is a stored table (of sines by place and channel) and not learned: it varies along more than
        one axis, where a learned scale has one number per channel or head.
        """
        storage = self.storages.of(name)
        size = self.scene.size(storage) if storage in self.stored else None
        return size is not None and sum(dim > 1 for dim in size.shape) > 1

    def take(self, name: str) -> int:
        """Bytes that keeping the tensor `name` adds."""
        storage = self.storages.of(name)
        if storage in self.stored or storage in self.kept:
            return 0
        self.kept.add(storage)
        if storage in self.outside:
            return 0
        self.keeper[storage] = self.index
        amount = self.storages.bytes(storage)
        if self.storages.is_dropped(storage):
            self.assumed += amount
        return amount

    # -- bodies

    def enter(self, node: Node, said: Facts) -> int | None:
        """What the bodies of a node keep: of exclusive ones the most, of one that repeats as often as it runs."""
        totals: list[int] = []
        for run in said.runs:
            actual = dict(zip([formal.name for formal in run.scene.graph.inputs], run.operands, strict=False))
            body = self.body(run, actual)
            if not body.complete or run.repeat is None:
                return None
            caller = sum([self.take(actual.get(name, name)) for name in body.outside])
            totals.append(body.bytes * run.repeat + caller)
            self.batch_norms += body.batch_norms * run.repeat
            self.dropouts += body.dropouts * run.repeat
            self.assumed += body.assumed_bytes * run.repeat
            self.possible += body.possible_bytes * run.repeat
            if said.transparent:
                for outer, result in zip(node.outputs, run.scene.graph.outputs, strict=False):
                    origin = body.same[result.name]
                    if origin in body.kept:
                        self.kept.add(self.storages.of(outer))
                    self.storages.share(outer, actual.get(origin, origin if origin in node.captures else ""))
        return max(totals, default=0) if said.exclusive else sum(totals)

    def body(self, run: Run, actual: Mapping[str, str]) -> Saved:
        """A body read by itself, once for the same knowledge of what comes from outside."""
        graph = run.scene.graph
        made = {name for node in graph.nodes for name in node.outputs}
        outside = frozenset(run.scene.sizes) - made - graph.initializers.keys()
        grads = {name for name in graph.initializers if _learned(name, run.scene.size(name))}
        if not run.operands:  # what a loop carries is the body's own at every turn
            carried = {formal.name for formal in graph.inputs}
            outside -= carried
            grads |= {name for name in carried if _floats(run.scene.size(name))}
        grads |= {name for name in outside if actual.get(name, name) in self.grads}
        stored = {name for name in outside if self.storages.of(actual.get(name, name)) in self.stored}
        key = (id(run.scene), frozenset(grads), frozenset(stored))
        if key not in self.known:
            keeper = _Keeper(run.scene, outside, self.known, self.unfold)
            keeper.grads |= grads
            keeper.stored |= stored
            self.known[key] = keeper.read()
        return self.known[key]


def _floats(size: Size | None) -> bool:
    return size is not None and size.dtype.is_float


def _learned(name: str, size: Size | None) -> bool:
    """Whether a stored tensor is a parameter. A lone number is one only under the dotted name of a module's own."""
    return size is not None and size.dtype.is_float and (size.count > 1 or "." in name)
