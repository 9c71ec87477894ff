"""Attention over a cache. macs: batch x query heads x queries x keys of all positions x 2 widths."""

from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from analyzer.spans import Read
from tests.ops.graphs import facts, predicted, run, runs
from tests.ops.seen import Probe

GQA = "com.microsoft.GroupQueryAttention<num_heads=4, kv_num_heads=2{more}>"
APART = "float[2,{t},64] q, float[2,{t},32] k, float[2,{t},32] v"
CACHE = ", float[2,2,{p},16] pk, float[2,2,{p},16] pv"
ALL = "y, nk, nv"


def told(total: int) -> str:
    return f"int32[2] last={{{total - 1},{total - 1}}}, int32 total={{{total}}}"


ROWS = [  # (inputs, constants, attributes, operands, macs, steps for each score, others)
    # a first call, a cache that is empty, one that grows from 7 to 8, one of 16 that holds 4
    (APART.format(t=3), told(3), "", "q, k, v, , , last, total", 2 * 4 * 3 * 3 * 32, 6, 0),
    (APART.format(t=3) + CACHE.format(p=0), told(3), "", "q, k, v, pk, pv, last, total", 2 * 4 * 3 * 3 * 32, 6, 0),
    (APART.format(t=1) + CACHE.format(p=7), told(8), "", "q, k, v, pk, pv, last, total", 2 * 4 * 1 * 8 * 32, 6, 0),
    (APART.format(t=1) + CACHE.format(p=16), told(5), "", "q, k, v, pk, pv, last, total", 2 * 4 * 1 * 5 * 32, 6, 0),
    # keys and values behind the queries: (4 + 2 + 2) x 16 channels; turned: 3 for each of 2 x 3 x (4 + 2) x 16
    ("float[2,3,128] q", told(3), "", "q, , , , , last, total", 2 * 4 * 3 * 3 * 32, 6, 0),
    ("float[2,3,128] q, float[8,8] c", told(3), ", do_rotary=1", "q, , , , , last, total, c, c",
     2 * 4 * 3 * 3 * 32, 6, 3 * 2 * 3 * 6 * 16),
    ("float[2,3,128] q, float[1,1,3,3] a", told(3), ", softcap=3.0", "q, , , , , last, total, , , , a",
     2 * 4 * 3 * 3 * 32, 6 + 1 + 3, 0),
    (APART.format(t=3), told(3), ", local_window_size=2", "q, k, v, , , last, total", 2 * 4 * 3 * 3 * 32, 6, 0),
]  # fmt: skip

QUANTISED = [  # caches of a byte, or half a byte, for each number
    ("int8[1,2,6,16] pk, int8[1,2,6,16] pv", 8),
    ("uint8[1,2,6,8] pk, uint8[1,2,6,8] pv", 4),
]

SPANS = [  # 6 tokens at once, or 1 after 6
    ("float[1,6,64] q, float[1,6,32] k, float[1,6,32] v", "6", "", "q, k, v, , ,", "v", 1),
    ("float[1,6,64] q, float[1,6,32] k, float[1,6,32] v", "6", "", "q, k, v, , ,", "v", 2),
    ("float[1,6,64] q, float[1,6,32] k, float[1,6,32] v", "6", ", local_window_size=2", "q, k, v, , ,", "v", 1),
    ("float[1,3,64] q, float[1,3,32] k, float[1,3,32] v, float[1,2,4,16] pk, float[1,2,4,16] pv", "7",
     ", local_window_size=3", "q, k, v, pk, pv,", "pv", 2),
    ("float[1,3,64] q, float[1,3,32] k, float[1,3,32] v, float[1,2,4,16] pk, float[1,2,4,16] pv", "7", "",
     "q, k, v, pk, pv,", "pk", 1),
]  # fmt: skip


def graph(inputs: str, constants: str, attributes: str, operands: str, results: str = ALL) -> str:
    return (
        f"({inputs}) => ({results}) <{constants}> {{ {results} = {GQA.format(more=attributes)}({operands}) }}"
    )


@pytest.mark.parametrize(("inputs", "constants", "attributes", "operands", "macs", "steps", "others"), ROWS)
def test_grouped_attention_is_the_runtimes(
    inputs: str, constants: str, attributes: str, operands: str, macs: int, steps: int, others: int
) -> None:
    """The cache grows, or is written into; every query head counts, a window saves nothing."""
    text = graph(inputs, constants, attributes, operands)
    assert predicted(text) == run(text)
    said = facts(text)
    assert (said.macs, said.elementwise) == (macs, macs // 32 * steps + others)


@pytest.mark.parametrize(("cache", "bits"), QUANTISED)
def test_a_quantised_cache_keeps_its_type(cache: str, bits: int) -> None:
    """Two numbers of 4 bits lie in a byte, so that half a head's width is stored."""
    kinds = f', k_quant_type="PER_TENSOR", v_quant_type="PER_TENSOR", kv_cache_bit_width={bits}'
    constants = "int32[1] last={6}, int32 total={7}, float[1] s"
    operands = "q, , , pk, pv, last, total, , , , , , s, s"
    text = graph(f"float[1,1,128] q, {cache}", constants, kinds, operands)
    assert predicted(text) == run(text)
    assert facts(text).macs == 4 * 7 * 32


def test_scores_may_be_handed_out() -> None:
    """Every query head against all positions."""
    text = graph("float[2,3,128] q", told(3), ", qk_output=1", "q, , , , , last, total", ALL + ", s")
    assert predicted(text) == run(text)


def test_a_cache_that_slides_keeps_its_size() -> None:
    """4 positions are held of the 10 that were seen."""
    inputs = "float[1,3,128] q, float[1,2,4,16] pk, float[1,2,4,16] pv"
    attributes = ", local_window_size=4, sliding_window_cache=1"
    text = graph(inputs, "int32[1] last={9}, int32 total={10}", attributes, "q, , , pk, pv, last, total")
    assert predicted(text) == run(text)


def test_where_only_the_data_tells_how_many_keys_there_are_the_cost_is_not_known() -> None:
    """The cache is then at most as long as the old one and the new tokens."""
    text = graph(
        APART.format(t=1) + CACHE.format(p=7) + ", int32[2] last, int32 total",
        "",
        "",
        "q, k, v, pk, pv, last, total",
    )
    assert facts(text).macs is None
    assert predicted(text)["nk"] == ("float32", (2, 2, 8, 16))


@pytest.mark.parametrize(("inputs", "total", "attributes", "operands", "operand", "axis"), SPANS)
def test_a_query_sees_what_comes_before_it(
    inputs: str, total: str, attributes: str, operands: str, operand: str, axis: int
) -> None:
    """In a window, as many keys as it is wide, its own among them; heads are shared by neighbours."""
    constants = f"int32[1] last={{{int(total) - 1}}}, int32 total={{{total}}}"
    Probe(graph(inputs, constants, attributes, f"{operands} last, total")).check(operand, axis)


def test_packed_queries_read_keys_before_them() -> None:
    """Queries, keys and values share an axis of tokens, so that it is read as keys are."""
    said = facts(graph("float[2,3,128] q", told(3), "", "q, , , , , last, total"))
    assert said.span(0)[1] == Read("prefix", 1)  # type: ignore[index]


@pytest.mark.parametrize(
    ("operand", "axis", "place"), [("k", 1, 1), ("k", 2, 1), ("pk", 2, 1), ("v", 1, 2), ("pv", 1, 2)]
)
def test_new_keys_lie_behind_the_past(operand: str, axis: int, place: int) -> None:
    """3 tokens behind 4."""
    inputs = "float[1,3,64] q, float[1,3,32] k, float[1,3,32] v, float[1,2,4,16] pk, float[1,2,4,16] pv"
    text = graph(inputs, "int32[1] last={6}, int32 total={7}", "", "q, k, v, pk, pv, last, total")
    Probe(text, place=place).check(operand, axis)


def test_query_heads_that_cannot_share_keys_are_refused() -> None:
    """By us with a reason, and by onnxruntime in some way."""
    text = graph(APART.format(t=3), told(3), "", "q, k, v, , , last, total").replace(
        "kv_num_heads=2", "kv_num_heads=3"
    )
    with pytest.raises(BadModel) as caught:
        facts(text)
    assert caught.value.reason == "HEADS"
    assert not runs(text)


UNKNOWN = [  # costs that tables in the data decide, and kernels that CPU lacks: (graph, shapes)
    (
        """(float[2,1,128] q, float[2,2,32,16] pk, float[2,2,32,16] pv, int32[1,3] r, int32[1,3] c, int32 t, int32[2] l)
        => (y, nk, nv) { y, nk, nv = com.microsoft.SparseAttention<num_heads=4, kv_num_heads=2, sparse_block_size=16>
        (q, , , pk, pv, r, c, t, l) }""",
        {"y": (2, 1, 64), "nk": (2, 2, 32, 16), "nv": (2, 2, 32, 16)},
    ),
    (
        """(float16[5,64] q, float16[5,32] k, float16[5,32] v, float16[9,16,2,16] pk, float16[9,16,2,16] pv, int32[3] c,
        int32[2] l, int32[2,4] t) => (y, nk, nv) { y, nk, nv = com.microsoft.PagedAttention<num_heads=4, kv_num_heads=2>
        (q, k, v, pk, pv, c, l, t) }""",
        {"y": (5, 64), "nk": (9, 16, 2, 16), "nv": (9, 16, 2, 16)},
    ),
    (
        """(float16[5,64] q, float16[5,16] k, float16[9,16,1,16] pk, int32[3] c, int32[2] l, int32[2,4] t) => (y, nk) {
        y, nk = com.microsoft.PagedAttention
        <num_heads=4, kv_num_heads=1, kv_cache_layout="LATENT", v_head_size=12, scale=1.0>(q, k, , pk, , c, l, t) }""",
        {"y": (5, 48), "nk": (9, 16, 1, 16)},
    ),
]


@pytest.mark.parametrize(("text", "shapes"), UNKNOWN)
def test_a_cost_that_tables_decide_is_not_known(text: str, shapes: dict[str, tuple[int, ...]]) -> None:
    """Caches keep their sizes, and the result is as wide as the heads' values."""
    assert {name: shape for name, (_, shape) in predicted(text).items()} == shapes
    assert facts(text).macs is None
    assert facts(text).elementwise is None
