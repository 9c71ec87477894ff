from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from tests.ops.graphs import facts, predicted, run, runs
from tests.ops.seen import Probe

MS = "com.microsoft."
AT = "int64[2,3] p={0,1,2,0,1,2}"

ROTATIONS = [  # (inputs, constants, call, rotated elements)
    ("float[2,4,3,8] x, float[9,4] c", AT, "RotaryEmbedding(x, c, c, p)", 2 * 4 * 3 * 8),
    ("float[2,4,3,8] x, float[2,3,4] c", "", "RotaryEmbedding(x, c, c)", 2 * 4 * 3 * 8),
    ("float[2,3,32] x, float[9,4] c", AT, "RotaryEmbedding<num_heads=4>(x, c, c, p)", 2 * 4 * 3 * 8),
    ("float[2,3,32] x, float[9,3] c", AT, "RotaryEmbedding<num_heads=4, rotary_embedding_dim=6>(x, c, c, p)",
     2 * 4 * 3 * 6),
    ("float[2,4,3,8] x, float[9,4] c", AT, "RotaryEmbedding<interleaved=1>(x, c, c, p)", 2 * 4 * 3 * 8),
    ("float[2,4,3,8] x, float[9,4] c", AT, MS + "RotaryEmbedding(x, p, c, c)", 2 * 4 * 3 * 8),
    ("float[2,3,32] x, float[9,4] c", "int64[1] p={0}", MS + "RotaryEmbedding(x, p, c, c)", 2 * 4 * 3 * 8),
    ("float[2,3,32] x, float[9,3] c", AT,
     MS + "RotaryEmbedding<num_heads=4, rotary_embedding_dim=6>(x, p, c, c)", 2 * 4 * 3 * 6),
    ("float[1,4,2,16] x, float[9,8] c", "int64[3,1,2] p={0,1,0,1,0,1}",
     MS + "MRotaryEmbedding<mrope_section=[2, 3, 3]>(x, p, c, c)", 4 * 2 * 16),
]  # fmt: skip

REFUSED = [
    ("ROTARY_WIDTH", "float[2,4,3,8] x, float[9,3] c", "RotaryEmbedding(x, c, c, p)"),
    ("HEADS", "float[2,3,32] x, float[9,4] c", "RotaryEmbedding<num_heads=5>(x, c, c, p)"),
    ("RANK", "float[6,32] x, float[9,4] c", "RotaryEmbedding<num_heads=4>(x, c, c, p)"),
]


@pytest.mark.parametrize(("inputs", "constants", "call", "rotated"), ROTATIONS)
def test_a_rotation_is_the_runtimes(inputs: str, constants: str, call: str, rotated: int) -> None:
    """Two products and a sum for each element that is turned; the others pass."""
    graph = f"({inputs}) => (y) <{constants}> {{ y = {call} }}"
    assert predicted(graph, 23) == run(graph, 23)
    said = facts(graph, 23)
    assert (said.macs, said.elementwise) == (0, 3 * rotated)


@pytest.mark.parametrize(("operand", "axis"), [("x", 0), ("x", 1), ("x", 2), ("c", 1)])
def test_a_token_is_turned_by_its_own_angles(operand: str, axis: int) -> None:
    """And a channel with one other of its head."""
    probe = Probe(
        "(float[2,3,32] x, float[2,3,4] c) => (y) { y = RotaryEmbedding<num_heads=4>(x, c, c) }", 23
    )
    if axis < 2:
        probe.check(operand, axis)
    for shown, told in zip(probe.shown(operand, axis, axis), probe.told(operand, axis, axis), strict=True):
        assert shown <= told


@pytest.mark.parametrize(("reason", "inputs", "call"), REFUSED)
def test_a_rotation_that_does_not_fit_is_refused(reason: str, inputs: str, call: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    graph = f"({inputs}) => (y) <{AT}> {{ y = {call} }}"
    with pytest.raises(BadModel) as caught:
        facts(graph, 23)
    assert caught.value.reason == reason
    assert not runs(graph, 23)


def test_gemma_turns_queries_and_keys_at_once() -> None:
    """A cosine and a sine for each angle, 3 steps for each element of either."""
    graph = """(float[2,3,8] e, float16[2,4,3,8] q, float16[2,4,3,8] r, float16[2,1,3,8] k, float16[2,1,3,8] s)
    => (a, b) { a, b = com.microsoft.GemmaRotaryEmbedding(e, q, r, k, s) }"""
    assert predicted(graph) == {"a": ("float16", (2, 4, 3, 8)), "b": ("float16", (2, 1, 3, 8))}
    assert facts(graph).elementwise == 2 * 48 + 3 * (192 + 48)


def test_a_bias_by_distance_is_as_long_as_it_is_told() -> None:
    """Of a table [buckets, heads]; unknown where the lengths are."""
    told = """() => (y) <float[32,4] t, int64 q={5}, int64 k={7}>
    { y = com.microsoft.RelativePositionBias<max_distance=8>(t, q, k) }"""
    assert predicted(told) == {"y": ("float32", (1, 4, 5, 7))}
    untold = """(int64 q) => (y) <float[32,4] t> { y = com.microsoft.RelativePositionBias<max_distance=8>(t, q, q) }"""
    assert facts(untold).outputs is None


def test_a_gated_bias_costs_its_product() -> None:
    """2 x 4 x 3 queries of 8 channels by a weight [8, 16]; a product for each bias, and its gates."""
    graph = """(float[2,3,32] q, float[1,4,3,3] r) => (y) <float[32] b, float[8,16] w, float[16] c, float[1,4,1,1] e>
    { y = com.microsoft.GatedRelativePositionBias<num_heads=4>(q, b, r, w, c, e) }"""
    assert predicted(graph) == {"y": ("float32", (2, 4, 3, 3))}
    said = facts(graph)
    assert said.macs == 2 * 4 * 3 * 8 * 16
    assert said.elementwise == 2 * 4 * 3 * 3 + 2 * 4 * 3 * (16 + 2 * 4 + 3)
