"""Attention with a state. macs for each token: state heads x width x value width for the outer product, as much
again for a correction, and query heads x width x value width for the reading.
"""

from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from tests.ops.graphs import evaluated, facts, predicted, run, runs
from tests.ops.seen import Probe

MS = "com.microsoft."
QKV = "float[2,5,32] q, float[2,5,16] k, float[2,5,12] v"  # 4 query heads and 2 of the state, [8, 6] each
GATES = ", float[2,5,2] g, float[2,5,2] b"
HEADS = "q_num_heads=4, kv_num_heads=2"
CELL = 2 * 5 * 8 * 6
SCALE = 2 * 5 * 4 * 6

ROWS = [  # (inputs, attributes, operands, macs, elementwise)
    (QKV, 'update_rule="linear"', "q, k, v", CELL * (2 + 4), SCALE),
    (QKV + GATES, 'update_rule="gated"', "q, k, v, , g", CELL * (2 + 4), SCALE + CELL * 2 + 20),
    (
        QKV + ", float[2,5,16] g",
        'update_rule="gated"',
        "q, k, v, , g",
        CELL * (2 + 4),
        SCALE + CELL * 2 + 160,
    ),
    (QKV + GATES, 'update_rule="delta"', "q, k, v, , , b", CELL * (2 + 2 + 4), SCALE + 2 * 120),
    (QKV + GATES, "chunk_size=2", "q, k, v, , g, b", CELL * (2 + 2 + 4), SCALE + 2 * 120 + CELL * 2 + 20),
    (
        QKV + GATES + ", float[2,2,8,6] s",
        "scale=0.5",
        "q, k, v, s, g, b",
        CELL * 8,
        SCALE + 2 * 120 + CELL * 2 + 20,
    ),
]

CONVOLUTIONS = [  # (inputs, attributes, operands, taps)
    ("float[2,6,9] x, float[6,1,4] w", "", "x, w", 4),
    ("float[2,6,9] x, float[6,1,4] w, float[6] b, float[2,6,3] s", '<activation="silu">', "x, w, b, s", 4),
    ("float[2,6,1] x, float[6,1,3] w, float[2,6,2] s", '<activation="swish">', "x, w, , s", 3),
]


@pytest.mark.parametrize(("inputs", "attributes", "operands", "macs", "elementwise"), ROWS)
def test_a_state_sums_keys_and_values_up(
    inputs: str, attributes: str, operands: str, macs: int, elementwise: int
) -> None:
    """The standard's and onnxruntime's op are one; the first as onnx's reference implementation has it."""
    graph = f"({inputs}) => (y, n) {{ y, n = {{}}LinearAttention<{HEADS}, {attributes}>({operands}) }}"
    graph = graph.replace("{}", "%s")
    assert predicted(graph % "", 27) == evaluated(graph % "", 27)
    assert predicted(graph % MS) == run(graph % MS)
    for said in (facts(graph % "", 27), facts(graph % MS)):
        assert (said.macs, said.elementwise) == (macs, elementwise)


def test_there_may_be_more_states_than_query_heads() -> None:
    """The result then has a head for each state: 2 query heads, 4 states [8, 6]."""
    inputs = "float[2,5,16] q, float[2,5,16] k, float[2,5,24] v, float[2,5,4] g, float[2,5,4] b"
    graph = f"({inputs}) => (y, n) {{ y, n = {MS}LinearAttention<q_num_heads=2, kv_num_heads=4>(q, k, v, , g, b) }}"
    assert predicted(graph) == run(graph)
    assert facts(graph).macs == CELL * (4 + 4 + 4)


def test_states_of_several_tokens_may_be_handed_on() -> None:
    """They are stacked before the batch."""
    graph = (
        f"({QKV}{GATES}) => (y, n) {{ y, n = {MS}LinearAttention<{HEADS}, state_window=3>(q, k, v, , g, b) }}"
    )
    assert predicted(graph)["n"] == ("float32", (3, 2, 2, 8, 6))


@pytest.mark.parametrize(("operand", "axis"), [("q", 1), ("k", 1), ("v", 1), ("v", 0), ("g", 1), ("s", 0)])
def test_a_token_sees_the_tokens_before_it(operand: str, axis: int) -> None:
    """Queries keep to themselves, everything else sums up."""
    graph = f"({QKV}{GATES}, float[2,2,8,6] s) => (y, n) {{ y, n = {MS}LinearAttention<{HEADS}>(q, k, v, s, g, b) }}"
    Probe(graph).check(operand, axis)


@pytest.mark.parametrize(("inputs", "attributes", "operands", "taps"), CONVOLUTIONS)
def test_a_causal_convolution_keeps_its_last_positions(
    inputs: str, attributes: str, operands: str, taps: int
) -> None:
    """Each channel on its own: as many macs as taps for each element, and 5 steps for an activation."""
    graph = f"({inputs}) => (y, n) {{ y, n = %sCausalConvWithState{attributes}({operands}) }}"
    assert predicted(graph % "", 27) == evaluated(graph % "", 27)
    assert predicted(graph % MS) == run(graph % MS)
    count = 2 * 6 * (1 if "[2,6,1]" in inputs else 9)
    for said in (facts(graph % "", 27), facts(graph % MS)):
        assert (said.macs, said.elementwise) == (taps * count, 5 * count * bool(attributes))


def test_channels_may_come_last() -> None:
    """On as many axes as they like."""
    graph = f"(float[2,9,2,3] x, float[6,1,4] w) => (y, n) {{ y, n = {MS}CausalConvWithState<channels_last=1>(x, w) }}"
    assert predicted(graph) == run(graph)
    assert facts(graph).macs == 4 * 2 * 9 * 6


def test_taps_may_lie_apart_and_a_state_may_be_handed_on_for_several_positions() -> None:
    """(4 - 1) x 2 positions, three times; forms that no kernel on CPU has."""
    apart = f"""(float[2,6,9] x, float[6,1,4] w) => (y, n)
    {{ y, n = {MS}CausalConvWithState<dilation=2, state_window=3>(x, w) }}"""
    assert predicted(apart)["n"] == ("float32", (3, 2, 6, 6))
    space = (
        f"(float[2,6,5,9] x, float[6,1,3,4] w) => (y, n) {{ y, n = {MS}CausalConvWithState<ndim=2>(x, w) }}"
    )
    assert predicted(space)["n"] == ("float32", (2, 6, 5, 3))
    assert facts(space).macs == 2 * 6 * 5 * 9 * 12


@pytest.mark.parametrize(("operand", "axis"), [("x", 2), ("x", 1), ("s", 2)])
def test_a_position_sees_as_far_back_as_there_are_taps(operand: str, axis: int) -> None:
    """The state lies before the first position."""
    Probe(
        f"(float[2,6,9] x, float[2,6,3] s) => (y, n) <float[6,1,4] w>"
        f"{{ y, n = {MS}CausalConvWithState(x, w, , s) }}"
    ).check(operand, axis)


@pytest.mark.parametrize(("length", "operand"), [(9, "x"), (2, "x"), (2, "s")])
def test_the_state_is_the_end_of_past_and_input(length: int, operand: str) -> None:
    """Of an input that is shorter than the state, and of one that is longer."""
    graph = f"""(float[2,6,{length}] x, float[2,6,3] s) => (y, n) <float[6,1,4] w>
    {{ y, n = {MS}CausalConvWithState(x, w, , s) }}"""
    Probe(graph, place=1).check(operand, 2)


@pytest.mark.parametrize(("operand", "axis"), [("v", 0), ("s", 0), ("s", 1), ("s", 3)])
def test_a_state_is_made_of_all_tokens(operand: str, axis: int) -> None:
    """Rows of the batch, heads and values keep to themselves."""
    graph = f"({QKV}{GATES}, float[2,2,8,6] s) => (y, n) {{ y, n = {MS}LinearAttention<{HEADS}>(q, k, v, s, g, b) }}"
    Probe(graph, place=1).check(operand, axis)


def test_what_does_not_fit_is_refused() -> None:
    """By us with a reason, and by onnxruntime in some way."""
    rule = f'({QKV}{GATES}) => (y, n) {{ y, n = {MS}LinearAttention<{HEADS}, update_rule="sum">(q, k, v, , g, b) }}'
    channels = f"(float[2,6,9] x, float[5,1,4] w) => (y, n) {{ y, n = {MS}CausalConvWithState(x, w) }}"
    for reason, graph in (("UPDATE_RULE", rule), ("CHANNEL_MISMATCH", channels)):
        with pytest.raises(BadModel) as caught:
            facts(graph)
        assert caught.value.reason == reason
        assert not runs(graph)
