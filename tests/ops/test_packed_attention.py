"""Attention with the padding left out: no kernel on CPU has it, so that sizes are those of its forms with padding."""

from __future__ import annotations

from tests.ops.graphs import facts, predicted, scene

WITHOUT = "int32[2,4] o, int32[3] c"


def test_padding_left_out_and_put_back() -> None:
    """How many tokens are left is the data's to say: at most all of them."""
    graph = """(float[2,4,32] x, int32[2] n) => (t, o, c, l, y) {
      t, o, c, l = com.microsoft.RemovePadding(x, n)
      y = com.microsoft.RestorePadding(t, o)
    }"""
    assert predicted(graph) == {
        "t": ("float32", (8, 32)),
        "o": ("int32", (2, 4)),
        "c": ("int32", (3,)),
        "l": ("int32", (1,)),
        "y": ("float32", (2, 4, 32)),
    }
    tokens = scene(graph).size("t")
    assert tokens is not None
    assert not tokens.exact


def test_heads_count_as_if_the_padding_were_there() -> None:
    """5 tokens of two sequences of up to 4: heads of 2 x 4 x 4 scores, a projection of 5 tokens."""
    whole = """(float[2,4,32] q, float[2,4,32] k, float[2,4,32] v) => (y)
    { y = com.microsoft.MultiHeadAttention<num_heads=4>(q, k, v) }"""
    packed = f"""(float[5,32] q, float[5,32] k, float[5,32] v, {WITHOUT}) => (y)
    {{ y = com.microsoft.PackedMultiHeadAttention<num_heads=4>(q, k, v, , o, c) }}"""
    together = f"""(float[5,4,3,8] q, {WITHOUT}) => (y)
    {{ y = com.microsoft.PackedMultiHeadAttention<num_heads=4>(q, , , , o, c) }}"""
    projected = f"""(float[5,16] x, {WITHOUT}) => (y) <float[16,96] w, float[96] b>
    {{ y = com.microsoft.PackedAttention<num_heads=4>(x, w, b, o, c) }}"""
    for graph in (packed, together, projected):
        assert predicted(graph) == {"y": ("float32", (5, 32))}
    heads = facts(whole).macs
    assert heads == facts(packed).macs == facts(together).macs == 2 * 4 * 4 * 4 * 16
    assert facts(projected).macs == heads + 5 * 16 * 96
