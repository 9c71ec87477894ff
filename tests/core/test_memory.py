"""Live bytes against a replay: storages are made, shared and freed one by one, and somebody looks at what is alive.

The replay below knows only the definitions: a view lies in its operand's storage; an op that may overwrite an operand
does so if nobody needs it any more and the size is the same; inputs belong to the caller and stay, outputs stay,
everything else goes with its last reader.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from analyzer import Options, Report, analyze
from analyzer.describe import Scene, describe
from analyzer.load import load
from analyzer.ops.rule import Facts
from tests.conftest import LIGHT_MODELS, SHIPPED_MODELS, light, shipped, text_model


class Step(NamedTuple):
    """One node: what it reads and makes, which operand its first result is a view of, which it may overwrite."""

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    view: str = ""
    inplace: tuple[str, ...] = ()


class Storage:
    """Bytes somewhere, the tensors that lie in them, and the steps at which they are there."""

    def __init__(self, name: str, amount: int, step: int) -> None:
        self.name, self.amount, self.tensors, self.steps = name, amount, {name}, {step}


class Replay(NamedTuple):
    """Bytes newly made, the peak, the node that reaches it first, what is alive there, what each node touches, bytes
    alive at each node, and every storage in order of its making.
    """

    made: int
    peak: int
    node: str | None
    alive: dict[str, int]
    needs: list[int]
    totals: list[int]
    storages: list[Storage]


def replay(
    steps: Sequence[Step],
    sizes: Mapping[str, int],
    inputs: Sequence[str],
    outputs: Sequence[str],
    constants: set[str],
) -> Replay:
    """Run the steps one after the other. Slow on purpose: who is needed later is asked anew each time."""

    def needed_after(storage: Storage, index: int) -> bool:
        later = {name for step in steps[index + 1 :] for name in step.inputs}
        return not storage.tensors.isdisjoint({*later, *outputs, *inputs})

    alive = [Storage(name, sizes[name], -1) for name in inputs]
    storages, totals = list(alive), []
    made, peak, node = 0, sum(storage.amount for storage in alive), None
    held = {storage.name: storage.amount for storage in alive}
    needs = []
    for index, step in enumerate(steps):
        if step.outputs and step.outputs[0] in constants:
            totals.append(sum(storage.amount for storage in alive))
            continue
        for place, name in enumerate(step.outputs):
            if not name:
                continue
            home = None
            if place == 0:
                home = next((s for s in alive if step.view in s.tensors), None)
                if home is None:
                    made += sizes[name]
                    for operand in step.inplace:
                        storage = next((s for s in alive if operand in s.tensors), None)
                        fits = storage is not None and sizes[operand] == sizes[name] == storage.amount
                        if storage is not None and fits and not needed_after(storage, index):
                            home = storage
                            break
            else:
                made += sizes[name]
            if home is None:
                alive.append(Storage(name, sizes[name], index))
                storages.append(alive[-1])
            else:
                home.tensors.add(name)
        for storage in alive:
            storage.steps.add(index)
        total = sum(storage.amount for storage in alive)
        totals.append(total)
        if total > peak:
            peak, node = total, step.name
            held = {storage.name: storage.amount for storage in alive}
        touched = {*step.inputs, *step.outputs}
        needs.append(sum(storage.amount for storage in alive if not storage.tensors.isdisjoint(touched)))
        alive = [storage for storage in alive if needed_after(storage, index)]
    held = {name: amount for name, amount in held.items() if amount}
    return Replay(made, peak, node, held, needs, totals, storages)


def steps_of(scene: Scene) -> list[Step]:
    """The nodes of a described graph, with what their rules say of views and overwriting."""
    steps = []
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        assert isinstance(said, Facts)
        names = {id(scene.sizes[name]): name for name in node.inputs if name}
        view = names.get(id(said.view), "")
        inplace = tuple(names[id(size)] for size in said.inplace if id(size) in names)
        steps.append(Step(node.name, node.inputs, node.outputs, view, inplace))
    return steps


def replayed(scene: Scene) -> Replay:
    sizes = {name: size.bytes or 0 for name in scene.sizes if (size := scene.size(name)) is not None}
    inputs = [tensor.name for tensor in scene.graph.inputs]
    outputs = [tensor.name for tensor in scene.graph.outputs]
    return replay(steps_of(scene), sizes, inputs, outputs, set(scene.constants))


@cache
def described(path: Path) -> tuple[Scene, Report]:
    return describe(load(path), Options()), analyze(path)


MODELS = [*map(light, LIGHT_MODELS), *map(shipped, SHIPPED_MODELS)]
every_model = pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)


@every_model
def test_the_peak_of_a_known_network_is_that_of_a_replay(path: Path) -> None:
    """The bytes, the node where they are reached first, and every storage that is alive there."""
    scene, report = described(path)
    memory, truth = report.memory.inference, replayed(scene)
    assert memory.status == "complete"
    assert memory.peak_live_bytes == truth.peak
    assert memory.peak_node == truth.node
    assert {tensor.name: tensor.bytes for tensor in memory.live_at_peak} == truth.alive
    assert memory.outputs_bytes == truth.made
    assert [node.live_bytes for node in report.nodes] == truth.totals


@every_model
def test_the_peak_lies_between_what_one_node_needs_and_everything(path: Path) -> None:
    """What a node reads and makes is alive together; nothing is alive twice."""
    scene, report = described(path)
    memory = report.memory.inference
    given = sum(row.bytes or 0 for row in report.tensors if row.role == "input")
    assert memory.peak_live_bytes is not None
    assert memory.outputs_bytes is not None
    assert max(replayed(scene).needs) <= memory.peak_live_bytes <= memory.outputs_bytes + given
    amounts = [tensor.bytes or 0 for tensor in memory.live_at_peak]
    assert sum(amounts) == memory.peak_live_bytes
    assert amounts == sorted(amounts, reverse=True)


@every_model
def test_sums_of_memory_are_sums(path: Path) -> None:
    """Totals, memory at test time and memory at training time tell one story."""
    _, report = described(path)
    inference, training = report.memory.inference, report.memory.training
    assert (
        inference.outputs_bytes
        == report.totals.outputs_bytes.known
        == sum(n.output_bytes or 0 for n in report.nodes)
    )
    assert inference.parameter_bytes == report.totals.parameter_bytes.known == training.parameter_bytes
    assert inference.outputs_bytes is not None
    assert inference.parameter_bytes is not None
    assert inference.lecture_bytes == inference.parameter_bytes + inference.outputs_bytes
    assert training.saved_bytes == sum(node.saved_bytes or 0 for node in report.nodes)
    assert training.error_signal_bytes == inference.outputs_bytes
    assert training.lecture_bytes == 2 * (inference.parameter_bytes + inference.outputs_bytes)


BATCHED = [
    name for name in SHIPPED_MODELS if name != "tiny_transformer"
]  # whose positions are one for the batch


def per_batch(report: Report) -> list[int]:
    """Figures that grow with the batch."""
    totals, memory = report.totals, report.memory
    figures = [
        totals.outputs_bytes.known,
        memory.inference.peak_live_bytes,
        memory.inference.arena_bytes,
        totals.macs.known,
        totals.elementwise_flops.known,
    ]
    assert all(figures)
    return [figure or 0 for figure in figures]


@pytest.mark.parametrize("name", BATCHED)
def test_twice_the_batch_is_twice_the_activations(name: str) -> None:
    """Outputs, the peak, the arena; macs too. Parameters stay. What is saved for the backward pass grows as evenly, but
    for statistics over the batch, which stay as well.
    """
    one, two, six = (analyze(shipped(name), Options(dims={"batch": batch})) for batch in (1, 2, 6))
    for report, times in ((two, 2), (six, 6)):
        assert per_batch(report) == [times * amount for amount in per_batch(one)]
        assert report.totals.parameters == one.totals.parameters
        assert report.memory.inference.peak_node == one.memory.inference.peak_node
    saved = [report.memory.training.saved_bytes or 0 for report in (one, two, six)]
    assert saved[0] < saved[1] <= 2 * saved[0]
    assert saved[2] - saved[1] == 4 * (saved[1] - saved[0])


# ---- by hand


def peak(text: str) -> tuple[int | None, str | None]:
    memory = analyze(text_model(text)).memory.inference
    assert sum(tensor.bytes or 0 for tensor in memory.live_at_peak) == memory.peak_live_bytes
    return memory.peak_live_bytes, memory.peak_node


BY_HAND = [
    # x is the caller's and stays: no activation may overwrite it. 400 + 400
    pytest.param("g (float[100] x) => (y) { [a] y = Relu(x) }", 800, "a", id="one-node"),
    # t is overwritten by each that follows
    pytest.param(
        "g (float[100] x) => (y) { [a] t = Relu(x) [b] u = Tanh(t) [c] y = Sigmoid(u) }", 800, "a", id="in-place"
    ),
    # t is read again at the end, so b cannot overwrite it: x, t, u; then the sum overwrites one of them
    pytest.param(
        "g (float[100] x) => (y) { [a] t = Relu(x) [b] u = Tanh(t) [c] y = Add(t, u) }", 1200, "b", id="read-again"
    ),
    # views cost nothing, and keep what they look at
    pytest.param(
        "g (float[100] x) => (y) <int64[1] s = {-1}> "
        "{ [a] t = Relu(x) [b] u = Reshape(t, s) [c] v = Identity(u) [d] w = Concat<axis = 0>(v, v) [e] y = Relu(w) }",
        400 + 400 + 800, "d", id="views",
    ),
    # a graph output stays: c may not overwrite t
    pytest.param(
        "g (float[100] x) => (t, y) { [a] t = Relu(x) [b] u = Tanh(t) [c] y = Sigmoid(u) }", 1200, "b", id="stays"
    ),
    # a view of an output keeps the storage as well
    pytest.param(
        "g (float[100] x) => (v, y) { [a] t = Relu(x) [b] v = Identity(t) [c] y = Tanh(t) }", 1200, "c", id="view-stays"
    ),
    # results that nobody reads are there while their node runs, and gone at the next: 400 + 400, then 400 + 200
    pytest.param(
        "g (float[100] x) => (y) { [a] dead = Relu(x) [b] y, z = Split<num_outputs = 2>(x) }", 800, "a", id="dead"
    ),
    # all inputs are there before the first node
    pytest.param("g (float[100] x, float[300] w) => (y) { [a] y = Relu(x) }", 2000, "a", id="unused-input"),
    # stored tensors and what is made of them alone are parameters
    pytest.param(
        "g (float[100] x) => (y) <float[100] w = [\"location\": \"w\"]> { [a] v = Relu(w) [b] y = Mul(x, v) }",
        800, "b", id="weights",
    ),
    # nothing is larger than the input alone
    pytest.param("g (float[0] x) => (y) { [a] y = Relu(x) }", 0, None, id="nothing"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "amount", "node"), BY_HAND)
def test_the_peak_of_a_small_graph_by_hand(text: str, amount: int, node: str | None) -> None:
    """Added up in the comment above each."""
    assert peak(text) == (amount, node)


def test_a_dead_branch_is_gone_when_its_node_is_done() -> None:
    """It makes bytes, but raises no peak that comes later; a late one keeps its operand."""
    chain = "[a] t = Relu(x) [b] u = Concat<axis = 0>(t, t) {} [c] w = Concat<axis = 0>(u, u) [d] y = Relu(w)"
    model = "g (float[100] x) => (y) {{ {} }}"
    without = analyze(text_model(model.format(chain.replace("{}", ""))))
    beside = analyze(text_model(model.format(chain.replace("{}", "[dead] v = Tanh(x)"))))
    keeping = analyze(text_model(model.format(chain.replace("{}", "") + " [dead] v = Tanh(t)")))
    assert without.memory.inference.peak_live_bytes == 400 + 800 + 1600
    assert beside.memory.inference.peak_live_bytes == 400 + 800 + 1600
    assert beside.memory.inference.outputs_bytes == (without.memory.inference.outputs_bytes or 0) + 400
    assert keeping.memory.inference.peak_live_bytes == 400 + 400 + 800 + 1600


def test_strings_have_no_known_bytes() -> None:
    """A sum without them is a part, and says so."""
    memory = analyze(
        text_model("g (string[3] x, float[2] z) => (y, w) { y = Identity(x) w = Relu(z) }")
    ).memory.inference
    assert memory.status == "partial"


def test_sub_byte_types_are_rounded_up_per_tensor() -> None:
    """Three int4 are two bytes, not one and a half, and not three."""
    report = analyze(
        text_model("g (int4[3] x) => (y, z) { y = Identity(x) z = Concat<axis = 0>(x, x, x) }", opset=25)
    )
    assert {row.name: row.bytes for row in report.tensors} == {"x": 2, "y": 2, "z": 5}
    assert report.totals.outputs_bytes.known == 5


# ---- random graphs


class Drawn(NamedTuple):
    """A graph made up by hypothesis."""

    steps: list[tuple[str, tuple[str, ...], tuple[str, ...]]]
    sizes: dict[str, int]
    inputs: list[str]
    outputs: list[str]


def steady(examples: int) -> settings:
    """The same examples in every run."""
    return settings(max_examples=examples, deadline=None, derandomize=True, database=None)


VIEWS = {"Identity", "Reshape"}
OVERWRITING = {"Relu": (0,), "Sigmoid": (0,), "Add": (0, 1)}


@st.composite
def graphs(draw: st.DrawFn, longest: int = 12) -> Drawn:
    """Vectors of some lengths, made of one another by ops with and without views, overwriting and several results."""
    inputs = [f"x{i}" for i in range(draw(st.integers(1, 2)))]
    lengths = {name: draw(st.sampled_from([2, 4, 8])) for name in inputs}
    steps = []
    for index in range(draw(st.integers(1, longest))):
        op = draw(st.sampled_from(["Relu", "Sigmoid", "Add", "Concat", "Split", "Identity", "Reshape"]))
        a = draw(st.sampled_from(sorted(lengths)))
        b = draw(st.sampled_from(sorted(name for name in lengths if lengths[name] == lengths[a])))
        outputs: tuple[str, ...] = (f"t{index}",)
        match op:
            case "Add" | "Concat":
                operands: tuple[str, ...] = (a, b)
                lengths[outputs[0]] = lengths[a] * (1 if op == "Add" else 2)
            case "Split":
                operands, outputs = (a,), (f"t{index}", f"u{index}")
                lengths[outputs[0]], lengths[outputs[1]] = (
                    (lengths[a] + 1) // 2,
                    lengths[a] - (lengths[a] + 1) // 2,
                )
                if not lengths[outputs[1]]:
                    del lengths[outputs[0]], lengths[outputs[1]]
                    continue
            case "Reshape":
                operands, lengths[outputs[0]] = (a, "flat"), lengths[a]
            case _:
                operands, lengths[outputs[0]] = (a,), lengths[a]
        steps.append((op, operands, outputs))
    made = sorted(lengths.keys() - set(inputs)) or inputs
    outputs_drawn = draw(st.lists(st.sampled_from(made), min_size=1, max_size=3, unique=True))
    return Drawn(steps, {name: 4 * length for name, length in lengths.items()}, inputs, outputs_drawn)


def model_of(graph: Drawn) -> bytes:
    nodes = []
    for index, (op, operands, outputs) in enumerate(graph.steps):
        attributes: dict[str, Any] = {"Concat": {"axis": 0}, "Split": {"num_outputs": 2}}.get(op, {})
        nodes.append(helper.make_node(op, operands, outputs, name=f"n{index}", **attributes))
    inputs = [
        helper.make_tensor_value_info(n, TensorProto.FLOAT, [graph.sizes[n] // 4]) for n in graph.inputs
    ]
    outputs_declared = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in graph.outputs]
    flat = helper.make_tensor("flat", TensorProto.INT64, [1], [-1])
    model = helper.make_model(
        helper.make_graph(nodes, "g", inputs, outputs_declared, [flat]),
        ir_version=10,
        opset_imports=[helper.make_opsetid("", 21)],
    )
    return model.SerializeToString()


def truth_of(graph: Drawn) -> Replay:
    steps = [
        Step(
            f"n{index}",
            operands,
            outputs,
            operands[0] if op in VIEWS else "",
            tuple(operands[place] for place in OVERWRITING.get(op, ())),
        )
        for index, (op, operands, outputs) in enumerate(graph.steps)
    ]
    return replay(steps, {**graph.sizes, "flat": 8}, graph.inputs, graph.outputs, {"flat"})


@steady(150)
@given(graphs())
def test_the_peak_of_any_graph_is_that_of_a_replay(graph: Drawn) -> None:
    """Here the test has its own table of views and overwriting, so the rules are checked along."""
    report, truth = analyze(model_of(graph)), truth_of(graph)
    memory = report.memory.inference
    assert memory.peak_live_bytes == truth.peak
    assert memory.peak_node == truth.node
    assert {tensor.name: tensor.bytes for tensor in memory.live_at_peak} == truth.alive
    assert memory.outputs_bytes == truth.made
    assert [node.live_bytes for node in report.nodes] == truth.totals


@steady(60)
@given(graphs())
def test_the_peak_of_any_graph_has_its_bounds(graph: Drawn) -> None:
    """At least every single node's operands and results, at most everything there is."""
    memory = analyze(model_of(graph)).memory.inference
    given_bytes = sum(graph.sizes[name] for name in graph.inputs)
    assert memory.peak_live_bytes is not None
    assert memory.outputs_bytes is not None
    assert (
        max(truth_of(graph).needs, default=0) <= memory.peak_live_bytes <= memory.outputs_bytes + given_bytes
    )


@steady(60)
@given(graphs(), st.data())
def test_a_dead_node_beside_an_input_raises_no_later_peak(graph: Drawn, data: st.DataObject) -> None:
    """An input is there anyway, so a node that reads it in vain adds its own result, for one step and no other."""
    place = data.draw(st.integers(0, len(graph.steps)))
    source = graph.inputs[0]
    steps = [*graph.steps[:place], ("Sigmoid", (source,), ("dead",)), *graph.steps[place:]]
    wider = graph._replace(steps=steps, sizes={**graph.sizes, "dead": graph.sizes[source]})
    narrow, wide = analyze(model_of(graph)), analyze(model_of(wider))
    alive = [node.live_bytes for node in wide.nodes]
    assert alive[:place] + alive[place + 1 :] == [node.live_bytes for node in narrow.nodes]
    before, after = narrow.memory.inference, wide.memory.inference
    assert after.peak_live_bytes is not None
    assert before.peak_live_bytes is not None
    assert before.peak_live_bytes <= after.peak_live_bytes <= before.peak_live_bytes + graph.sizes[source]
    if after.peak_live_bytes > before.peak_live_bytes:
        assert after.peak_node == f"n{place}"
