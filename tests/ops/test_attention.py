"""Attention of the standard. macs: batch x query heads x queries x keys x (width + value width)."""

from __future__ import annotations

import onnx.parser
import pytest

from analyzer import Options, analyze
from analyzer.errors import BadModel
from analyzer.spans import Read
from tests.ops.graphs import evaluated, facts, predicted, run, runs
from tests.ops.seen import Probe

SPLIT = "float[2,6,4,8] q, float[2,3,5,8] k, float[2,3,5,10] v"
MERGED = "float[2,4,48] q, float[2,5,24] k, float[2,5,30] v"
PAST = ", float[2,3,7,8] pk, float[2,3,7,10] pv"
ALL = "y, present_key, present_value, scores"
HEADS = "q_num_heads=6, kv_num_heads=3"

ROWS = [  # (opset, inputs, call, macs, steps for each score)
    (23, "float[2,3,4,8] q, float[2,3,5,8] k, float[2,3,5,8] v", "Attention(q, k, v)", 2 * 3 * 4 * 5 * (8 + 8), 6),
    (23, SPLIT, "Attention(q, k, v)", 2 * 6 * 4 * 5 * (8 + 10), 6),
    (23, MERGED, f"Attention<{HEADS}>(q, k, v)", 2 * 6 * 4 * 5 * (8 + 10), 6),
    (24, SPLIT, "Attention<is_causal=1>(q, k, v)", 2 * 6 * 4 * 5 * (8 + 10), 6),
    (24, SPLIT + PAST, "Attention(q, k, v, , pk, pv)", 2 * 6 * 4 * (7 + 5) * (8 + 10), 6),
    (24, MERGED + PAST, f"Attention<{HEADS}>(q, k, v, , pk, pv)", 2 * 6 * 4 * (7 + 5) * (8 + 10), 6),
    (23, SPLIT + ", float[4,5] m", "Attention(q, k, v, m)", 2 * 6 * 4 * 5 * (8 + 10), 6 + 1),
    (24, SPLIT + ", bool[2,1,4,5] m", "Attention<softcap=2.0>(q, k, v, m)", 2 * 6 * 4 * 5 * (8 + 10), 6 + 1 + 3),
    (23, SPLIT, "Attention<scale=0.5, softcap=2.0, softmax_precision=1>(q, k, v)", 2 * 6 * 4 * 5 * (8 + 10), 6 + 3),
    (23, SPLIT, "Attention<qk_matmul_output_mode=3>(q, k, v)", 2 * 6 * 4 * 5 * (8 + 10), 6),
]  # fmt: skip

CACHE = "(float[2,6,4,8] q, float[2,3,9,8] k, float[2,3,9,10] v) => (y) <int64[2] filled={5,9}>"

SPANS = [  # (graph, operand, axis): the axis's route is exact
    ("(float[2,6,4,8] q, float[2,3,5,8] k, float[2,3,5,10] v) => (y) { y = Attention(q, k, v) }", "q", 0),
    ("(float[2,6,4,8] q, float[2,3,5,8] k, float[2,3,5,10] v) => (y) { y = Attention(q, k, v) }", "q", 2),
    ("(float[2,6,4,8] q, float[2,3,5,8] k, float[2,3,5,10] v) => (y) { y = Attention(q, k, v) }", "k", 1),
    ("(float[2,6,4,8] q, float[2,3,5,8] k, float[2,3,5,10] v) => (y) { y = Attention(q, k, v) }", "v", 3),
    (f"({MERGED}) => (y) {{ y = Attention<{HEADS}>(q, k, v) }}", "q", 1),
    (f"({MERGED}) => (y) {{ y = Attention<{HEADS}>(q, k, v) }}", "q", 2),
    (f"({MERGED}) => (y) {{ y = Attention<{HEADS}>(q, k, v) }}", "k", 2),
    (f"({MERGED}) => (y) {{ y = Attention<{HEADS}>(q, k, v) }}", "v", 2),
    (f"({MERGED}{PAST}) => (y, a, b) {{ y, a, b = Attention<{HEADS}>(q, k, v, , pk, pv) }}", "pk", 1),
    (f"({MERGED}) => (y) {{ y = Attention<{HEADS}, is_causal=1>(q, k, v) }}", "v", 1),
    (f"({SPLIT}{PAST}) => (y, a, b) {{ y, a, b = Attention<is_causal=1>(q, k, v, , pk, pv) }}", "v", 2),
    (f"({SPLIT}, float[4,5] m) => (y) {{ y = Attention(q, k, v, m) }}", "m", 0),
    (f"({SPLIT}, float[2,6,4,5] m) => (y) {{ y = Attention(q, k, v, m) }}", "m", 1),
    (f"({MERGED}, float[2,6,4,5] m) => (y) {{ y = Attention<{HEADS}>(q, k, v, m) }}", "m", 1),
]

WINDOWS = [  # (attributes, operand): of 4 queries after 7 keys of the past
    ("left_window_size=2, right_window_size=1", "v"),
    ("left_window_size=2, right_window_size=1", "pv"),
    ("left_window_size=3, is_causal=1", "v"),
    ("left_window_size=3, is_causal=1", "pv"),
    ("right_window_size=0", "v"),
]

REFUSED = [
    ("HEADS", "(float[2,4,24] q, float[2,5,12] k, float[2,5,12] v)", "q_num_heads=5, kv_num_heads=3"),
    ("HEADS", "(float[2,4,24] q, float[2,5,12] k, float[2,5,12] v)", "scale=1.0"),
    ("HEADS", "(float[2,4,24] q, float[2,5,16] k, float[2,5,16] v)", "q_num_heads=6, kv_num_heads=4"),
    ("DEPTH_MISMATCH", "(float[2,4,24] q, float[2,5,18] k, float[2,5,12] v)", HEADS),
    ("LENGTH_MISMATCH", "(float[2,4,24] q, float[2,5,12] k, float[2,6,12] v)", HEADS),
    ("RANK", "(float[4,24] q, float[5,12] k, float[5,12] v)", HEADS),
]


@pytest.mark.parametrize(("opset", "inputs", "call", "macs", "steps"), ROWS)
def test_attention_is_the_runtimes(opset: int, inputs: str, call: str, macs: int, steps: int) -> None:
    """All four results; every query head counts, and a causal mask saves nothing."""
    graph = f"({inputs}) => ({ALL}) {{ {ALL} = {call} }}"
    assert predicted(graph, opset) == run(graph, opset)
    said = facts(graph, opset)
    batch, heads, queries, keys = predicted(graph, opset)["scores"][1]
    assert (said.macs, said.elementwise) == (macs, steps * batch * heads * queries * keys)


def test_the_attention_of_a_small_transformer_costs_what_it_should() -> None:
    """8 heads of 128 queries and keys, 64 wide: 2 x 8 x 128 x 128 x 64 = 16,777,216."""
    graph = (
        "(float[1,8,128,64] q, float[1,8,128,64] k, float[1,8,128,64] v) => (y) { y = Attention(q, k, v) }"
    )
    assert facts(graph, 23).macs == 16_777_216


def test_a_cache_that_is_partly_filled_counts_whole() -> None:
    """Which keys are padding is the data's to say, and padding saves nothing."""
    graph = CACHE + " { y = Attention(q, k, v, , , , filled) }"
    assert predicted(graph, 24) == run(graph, 24)
    assert facts(graph, 24).macs == 2 * 6 * 4 * 9 * (8 + 10)


def test_where_the_data_places_the_queries_a_causal_mask_bounds_nothing() -> None:
    """Keys are then read whole: how far, each row of the batch has for itself."""
    graph = CACHE + " { y = Attention<is_causal=1>(q, k, v, , , , filled) }"
    assert facts(graph, 24).span(1)[2] == Read("global")  # type: ignore[index]


@pytest.mark.parametrize(("graph", "operand", "axis"), SPANS)
def test_heads_and_tokens_keep_to_themselves(graph: str, operand: str, axis: int) -> None:
    """A row that is changed changes those positions of the result that the axis's route says, and no others."""
    Probe(graph, 23).check(operand, axis)


@pytest.mark.parametrize(("inputs", "attributes"), [(SPLIT, "scale=1.0"), (MERGED, HEADS)])
@pytest.mark.parametrize(
    ("operand", "axis", "place"),
    [("k", 0, 1), ("k", 1, 1), ("k", 2, 1), ("pk", 2, 1), ("v", 2, 2), ("pv", 1, 2)],
)
def test_new_keys_lie_behind_the_past(
    inputs: str, attributes: str, operand: str, axis: int, place: int
) -> None:
    """And each part of the cache reads its own."""
    graph = f"({inputs}{PAST}) => (y, a, b) {{ y, a, b = Attention<{attributes}>(q, k, v, , pk, pv) }}"
    Probe(graph, 23, place).check(operand, axis)


@pytest.mark.parametrize(("attributes", "operand"), WINDOWS)
def test_a_window_is_a_window(attributes: str, operand: str) -> None:
    """Keys of the past are rows before the first query."""
    graph = f"({SPLIT}{PAST}) => (y, a, b) {{ y, a, b = Attention<{attributes}>(q, k, v, , pk, pv) }}"
    assert predicted(graph, 25) == evaluated(graph, 25)
    Probe(graph, 25).check(operand, 2)


def test_autograd_keeps_what_torchs_flash_kernel_keeps() -> None:
    """Of 8 heads of queries and 2 of keys (batch 2, 10 tokens, width 16) torch 2.15 keeps 26,240 bytes; of 8 heads each
    with a mask, which it adds as numbers, 42,000.
    """
    shared = "(float[2,8,10,16] q, float[2,2,10,16] k, float[2,2,10,16] v) => (y) { y = Attention(q, k, v) }"
    masked = """(float[2,8,10,16] q, float[2,8,10,16] k, float[2,8,10,16] v, bool[10,10] m) => (y)
    { y = Attention(q, k, v, m) }"""
    for graph, amount in ((shared, 26_240), (masked, 42_000)):
        assert sum(size.bytes or 0 for size in facts(graph, 23).saved) == amount


FLEX = """<ir_version: 13, opset_import: ["": 26, "ai.onnx.preview": 1]>
g (float[1,2,3,4] q, float[1,2,5,4] k, float[1,2,5,4] v) => (float[1,2,3,4] y) {
  y = ai.onnx.preview.FlexAttention%s(q, k, v)
}"""


def test_a_body_on_the_scores_is_counted() -> None:
    """2 heads of 3 x 5 scores, each doubled: 30 steps more; QK and PV are 2 x 3 x 5 x (4 + 4) either way."""
    doubled = """<score_mod = m (float[1,2,3,5] s) => (float[1,2,3,5] t) { t = Add(s, s) }>"""
    plain, modified = (
        analyze(onnx.parser.parse_model(FLEX % body).SerializeToString(), Options()).to_dict()["totals"]
        for body in ("", doubled)
    )
    assert plain["macs"] == modified["macs"] == {"known": 240, "status": "complete"}
    assert modified["elementwise_flops"]["known"] - plain["elementwise_flops"]["known"] == 30


@pytest.mark.parametrize(("reason", "inputs", "attributes"), REFUSED)
def test_heads_that_do_not_fit_are_refused(reason: str, inputs: str, attributes: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    graph = f"{inputs} => (y) {{ y = Attention<{attributes}>(q, k, v) }}"
    with pytest.raises(BadModel) as caught:
        facts(graph, 24)
    assert caught.value.reason == reason
    assert not runs(graph, 24)
