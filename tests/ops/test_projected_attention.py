"""Attention with its projection. macs: batch x tokens x channels x (queries + keys + values), and the heads'."""

from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from tests.ops.graphs import facts, predicted, run, runs
from tests.ops.seen import Probe

ATTENTION = "com.microsoft.Attention"
QUANTISED = "com.microsoft.QAttention"
WEIGHTS = "float[32,96] w, float[96] b"
CODES = "uint8[32,96] w, float[96] b, float s={0.1}"

ROWS = [  # (inputs, constants, results, call, projection, macs of the heads, scores, steps for each)
    ("float[2,3,32] x", WEIGHTS, "y, p", f"{ATTENTION}<num_heads=4>(x, w, b)", 6 * 32 * 96, 2 * 4 * 9 * 16, 72, 6),
    ("float[2,3,32] x", WEIGHTS, "y", f"{ATTENTION}<num_heads=4>(x, w)", 6 * 32 * 96, 2 * 4 * 9 * 16, 72, 6),
    ("float[2,3,32] x, int32[2,3] m", WEIGHTS, "y, p", f"{ATTENTION}<num_heads=4, unidirectional=1>(x, w, b, m)",
     6 * 32 * 96, 2 * 4 * 9 * 16, 72, 7),
    ("float[2,3,32] x, float[1,4,3,3] a", WEIGHTS, "y", f"{ATTENTION}<num_heads=4>(x, w, b, , , a)",
     6 * 32 * 96, 2 * 4 * 9 * 16, 72, 7),
    ("float[2,3,20] x", "float[20,80] w, float[80] b", "y",
     f"{ATTENTION}<num_heads=4, qkv_hidden_sizes=[32, 32, 16]>(x, w, b)", 6 * 20 * 80, 2 * 4 * 9 * (8 + 4), 72, 6),
    # 7 positions of the past
    ("float[2,3,32] x, float[2,2,4,7,8] p", WEIGHTS, "y, n", f"{ATTENTION}<num_heads=4>(x, w, b, , p)",
     6 * 32 * 96, 2 * 4 * 3 * 10 * 16, 240, 6),
    ("uint8[2,3,32] x", CODES, "y", f"{QUANTISED}<num_heads=4>(x, w, b, s, s)", 6 * 32 * 96, 2 * 4 * 9 * 16, 72, 6),
    ("uint8[2,3,32] x, float[2,2,4,7,8] p", CODES + ", uint8 z={3}", "y, n",
     f"{QUANTISED}<num_heads=4, unidirectional=1>(x, w, b, s, s, , z, z, p)", 6 * 32 * 96, 2 * 4 * 3 * 10 * 16, 240, 6),
]  # fmt: skip

REFUSED = [
    ("WEIGHT_SHAPE", "float[30,96] w", "num_heads=4"),
    ("HEADS", "float[32,96] w", "num_heads=5"),
    ("WEIGHT_SHAPE", "float[32,96] w", "num_heads=4, qkv_hidden_sizes=[32, 16, 48]"),
]


@pytest.mark.parametrize(
    ("inputs", "constants", "results", "call", "projection", "heads", "scores", "steps"), ROWS
)
def test_attention_with_its_projection_is_the_runtimes(
    inputs: str, constants: str, results: str, call: str, projection: int, heads: int, scores: int, steps: int
) -> None:
    """Both are counted, and the past comes back with what is new."""
    graph = f"({inputs}) => ({results}) <{constants}> {{ {results} = {call} }}"
    assert predicted(graph) == run(graph)
    said = facts(graph)
    assert (said.macs, said.elementwise) == (projection + heads, scores * steps)


def test_it_costs_what_its_parts_cost() -> None:
    """A MatMul and MultiHeadAttention of its three parts."""
    whole = f"(float[2,3,32] x) => (y) <float[32,96] w> {{ y = {ATTENTION}<num_heads=4>(x, w) }}"
    product = "(float[2,3,32] x) => (y) <float[32,96] w> { y = MatMul(x, w) }"
    heads = """(float[2,3,32] q, float[2,3,32] k, float[2,3,32] v) => (y)
    { y = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v) }"""
    assert facts(whole).macs == (facts(product).macs or 0) + (facts(heads).macs or 0)


def test_a_shared_cache_counts_as_far_as_it_is_filled() -> None:
    """A cache of 7 that holds 3, and one token more; it keeps its size."""
    graph = (
        f"(float[2,1,32] x, float[2,2,4,7,8] p) => (y, n) <{WEIGHTS}, int32 filled={{3}}>"
        f"{{ y, n = {ATTENTION}<num_heads=4, past_present_share_buffer=1>(x, w, b, , p, , filled) }}"
    )
    assert predicted(graph) == {"y": ("float32", (2, 1, 32)), "n": ("float32", (2, 2, 4, 7, 8))}
    assert facts(graph).macs == 2 * 32 * 96 + 2 * 4 * 1 * 4 * 16
    decoder = graph.replace(ATTENTION, "com.microsoft.DecoderMaskedSelfAttention")
    assert predicted(decoder) == predicted(graph)
    assert facts(decoder).macs == facts(graph).macs


def test_longformers_cost_hangs_on_which_tokens_are_global() -> None:
    """Its size does not."""
    graph = """(float[2,8,32] x, float[2,8] m, int32[2,8] g) => (y) <float[32,96] w, float[96] b>
    { y = com.microsoft.LongformerAttention<num_heads=4, window=2>(x, w, b, m, w, b, g) }"""
    assert predicted(graph) == {"y": ("float32", (2, 8, 32))}
    assert facts(graph).macs is None


def test_a_quantised_weight_is_a_weight() -> None:
    """Its scale and zero point are not, and nothing flows back."""
    graph = f"(uint8[2,3,32] x) => (y) <{CODES}> {{ y = {QUANTISED}<num_heads=4>(x, w, b, s, s) }}"
    assert facts(graph).saved == ()


@pytest.mark.parametrize(("causal", "operand", "axis"), [(0, "x", 0), (1, "x", 0), (1, "x", 1), (1, "p", 1)])
def test_a_token_sees_those_before_it_if_it_must(causal: int, operand: str, axis: int) -> None:
    """Rows of the batch keep apart; the past is read whole."""
    Probe(
        f"(float[2,3,32] x, float[32,96] w, float[96] b, float[2,2,4,7,8] p) => (y, n)"
        f"{{ y, n = {ATTENTION}<num_heads=4, unidirectional={causal}>(x, w, b, , p) }}"
    ).check(operand, axis)


@pytest.mark.parametrize(("operand", "axis"), [("x", 0), ("x", 1), ("p", 0), ("p", 2), ("p", 3)])
def test_what_is_new_lies_behind_the_past(operand: str, axis: int) -> None:
    """Keys first and then values, as the past has them."""
    Probe(
        f"(float[2,3,32] x, float[32,96] w, float[96] b, float[2,2,4,7,8] p) => (y, n)"
        f"{{ y, n = {ATTENTION}<num_heads=4>(x, w, b, , p) }}",
        place=1,
    ).check(operand, axis)


@pytest.mark.parametrize(("reason", "weights", "attributes"), REFUSED)
def test_weights_that_do_not_fit_are_refused(reason: str, weights: str, attributes: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    graph = f"(float[2,3,32] x) => (y) <{weights}, float[96] b> {{ y = {ATTENTION}<{attributes}>(x, w, b) }}"
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
    assert not runs(graph)
