"""What would lower the peak, against every order there is, and by hand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given

from analyzer import BadOption, Options, analyze
from analyzer.report import MissedInplace, Report, Savings, WaitingTensor
from tests.conftest import text_model
from tests.core.test_memory import (
    MODELS,
    Drawn,
    described,
    graphs,
    model_of,
    replay,
    steady,
    steps_of,
    truth_of,
)

SAVINGS = Options(details=("savings",))


def savings(report: Report) -> Savings:
    assert report.memory.inference.savings is not None
    return report.memory.inference.savings


def orders(graph: Drawn, chosen: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every order in which a node comes after those that make what it reads."""
    if len(chosen) == len(graph.steps):
        yield chosen
    made = {name for index in chosen for name in graph.steps[index][2]} | {*graph.inputs, "flat"}
    for index, (_, operands, _) in enumerate(graph.steps):
        if index not in chosen and made.issuperset(operands):
            yield from orders(graph, (*chosen, index))


def peak_of(graph: Drawn, order: tuple[int, ...]) -> int:
    return truth_of(graph._replace(steps=[graph.steps[index] for index in order])).peak


@steady(120)
@given(graphs(longest=6))
def test_the_best_order_of_a_small_graph_is_the_best_of_all(graph: Drawn) -> None:
    """Small graphs are searched through, so what is found is proven: no order of all has a lower peak."""
    found = savings(analyze(model_of(graph), SAVINGS)).order
    assert found is not None
    assert found.proven
    assert found.peak_live_bytes == min(peak_of(graph, order) for order in orders(graph))
    if found.nodes:
        order = tuple(int(name.removeprefix("n")) for name in found.nodes)
        assert peak_of(graph, order) == found.peak_live_bytes < truth_of(graph).peak


@steady(60)
@given(graphs())
def test_an_order_that_is_found_is_one_and_has_its_peak(graph: Drawn) -> None:
    """Nothing is read before it is made, and a replay of the new order comes to the bytes that were said."""
    found = savings(analyze(model_of(graph), SAVINGS)).order
    assert found is not None
    order = tuple(int(name.removeprefix("n")) for name in found.nodes) or tuple(range(len(graph.steps)))
    made = {*graph.inputs, "flat"}
    for index in order:
        assert made.issuperset(graph.steps[index][1])
        made.update(graph.steps[index][2])
    assert peak_of(graph, order) == found.peak_live_bytes


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_order_found_for_a_known_network_has_its_peak_in_a_replay(path: Path) -> None:
    """Never above the given one, and below it where it differs."""
    scene, report = described(path)
    found = savings(analyze(path, SAVINGS)).order
    assert found is not None
    given_peak = report.memory.inference.peak_live_bytes
    assert given_peak is not None
    steps = {step.name: step for step in steps_of(scene)}
    assert len(steps) == len(scene.graph.nodes)
    sizes = {name: size.bytes or 0 for name in scene.sizes if (size := scene.size(name)) is not None}
    inputs = [tensor.name for tensor in scene.graph.inputs]
    outputs = [tensor.name for tensor in scene.graph.outputs]
    if found.nodes:
        assert sorted(found.nodes) == sorted(steps)
        order = [steps[name] for name in found.nodes]
        assert replay(order, sizes, inputs, outputs, set(scene.constants)).peak == found.peak_live_bytes
        assert found.peak_live_bytes < given_peak
    else:
        assert found.peak_live_bytes == given_peak


# ---- by hand

TWO_ARMS = """
g (float[10] x) => (y) {
    [wide] a = Concat<axis = 0>(x, x, x, x, x, x)
    [broad] b = Concat<axis = 0>(x, x, x, x, x, x)
    [shrink] c = ReduceSum<keepdims = 1>(a)
    [squeeze] d = ReduceSum<keepdims = 1>(b)
    [join] y = Add(c, d)
}
"""


def test_one_arm_after_the_other_holds_one_wide_tensor_at_a_time() -> None:
    """x 40, a and b 240 each, c 4: given both are alive at `shrink`; in turn one is, with the other arm's sum."""
    report = analyze(text_model(TWO_ARMS), SAVINGS)
    found = savings(report)
    assert report.memory.inference.peak_live_bytes == 40 + 240 + 240 + 4
    assert found.order is not None
    assert found.order.proven
    assert found.order.peak_live_bytes == 40 + 240 + 4 + 4
    assert found.order.nodes == ("wide", "shrink", "broad", "squeeze", "join")
    assert found.waiting == (WaitingTensor("b", 240, "broad", "squeeze", 2),)


def test_an_op_that_may_not_overwrite_is_a_chance_missed() -> None:
    """At `turn` t ends, and its result has its bytes; but a transpose reads what it would have overwritten."""
    model = text_model(
        "g (float[4, 8] x) => (y) { [make] t = Relu(x) [turn] u = Transpose(t) [end] y = ReduceSum(u) }"
    )
    found = savings(analyze(model, SAVINGS))
    assert found.missed_inplace == (MissedInplace("turn", "t", "u", 128),)
    assert found.waiting == ()
    assert found.order is not None
    assert found.order.proven
    assert not found.order.nodes


def test_what_waits_is_told_by_bytes_times_steps() -> None:
    """At `wide` s has waited since `skip` for `add`, four nodes on; of two of equal bytes the longer wait is first."""
    model = text_model(
        "g (float[10] x) => (z) { [early] r = Tanh(x) [skip] s = Sigmoid(x) [a] t = Relu(x) "
        "[wide] u = Concat<axis = 0>(t, t, t, t) [b] v, w, o, p = Split<num_outputs = 4>(u) "
        "[add] y = Add(s, v) [last] z = Add(y, r) }"
    )
    found = savings(analyze(model, SAVINGS))
    assert found.waiting == (
        WaitingTensor("r", 40, "early", "last", 6),
        WaitingTensor("s", 40, "skip", "add", 4),
    )


def test_savings_come_only_on_request() -> None:
    """They are searched for, which takes longer than the rest; without sizes there is no order to tell."""
    assert analyze(text_model(TWO_ARMS)).memory.inference.savings is None
    unknown = analyze(
        text_model('<ir_version: 10, opset_import: ["": 21, "o": 1]> g (float[4] x) => (y) { y = o.Odd(x) }'),
        SAVINGS,
    )
    assert savings(unknown).order is None


def test_a_detail_that_is_none_is_refused() -> None:
    """A slip would otherwise look like a model with nothing to save."""
    with pytest.raises(BadOption) as told:
        Options(details=("saving",))  # type: ignore[arg-type]
    assert told.value.reason == "UNKNOWN_DETAIL"
