"""onnxruntime's attention, each head with own keys. macs: batch x heads x queries x keys x (width + value width)."""

from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from tests.ops.graphs import facts, predicted, run, runs
from tests.ops.seen import Probe

MHA = "com.microsoft.MultiHeadAttention"
DECODER = "com.microsoft.DecoderMaskedMultiHeadAttention"
QKV = "float[2,3,32] q, float[2,5,32] k, float[2,5,24] v"
SAME = "float[2,5,32] q, float[2,5,32] k, float[2,5,32] v"
CROSS = "float[2,3,32] q, float[2,4,5,8] k, float[2,4,5,8] v"
PAST = ", float[2,4,7,8] pk, float[2,4,7,8] pv"
ONE = "float[2,1,32] q, float[2,1,32] k, float[2,1,32] v, float[2,4,7,8] pk, float[2,4,7,8] pv"
FILLED = "int32[1] filled={3}"

ROWS = [  # (inputs, results, constants, call, macs, steps for each score)
    (QKV, "y", "", f"{MHA}<num_heads=4>(q, k, v)", 2 * 4 * 3 * 5 * (8 + 6), 6),
    (QKV, "y", "float[88] b", f"{MHA}<num_heads=4>(q, k, v, b)", 2 * 4 * 3 * 5 * (8 + 6), 6),
    (QKV, "y, pk, pv, s", "", f"{MHA}<num_heads=4>(q, k, v)", 2 * 4 * 3 * 5 * (8 + 6), 6),
    (QKV + ", int32[2,5] m", "y", "", f"{MHA}<num_heads=4>(q, k, v, , m)", 2 * 4 * 3 * 5 * (8 + 6), 6 + 1),
    (QKV + ", float[1,4,3,5] a", "y", "", f"{MHA}<num_heads=4>(q, k, v, , , a)", 2 * 4 * 3 * 5 * (8 + 6), 6 + 1),
    (CROSS, "y", "", f"{MHA}<num_heads=4>(q, k, v)", 2 * 4 * 3 * 5 * (8 + 8), 6),
    (CROSS, "y, pk, pv", "", f"{MHA}<num_heads=4>(q, k, v)", 2 * 4 * 3 * 5 * (8 + 8), 6),
    ("float[2,3,32] q, float[2,5,32] k, float[2,5,32] v" + PAST, "y, nk, nv, s", "",
     f"{MHA}<num_heads=4, unidirectional=1>(q, k, v, , , , pk, pv)", 2 * 4 * 3 * (7 + 5) * (8 + 8), 6),
    # a cache of 7 that holds 3, and one more
    (ONE, "y, nk, nv", FILLED, f"{MHA}<num_heads=4>(q, k, v, , , , pk, pv, filled)", 2 * 4 * 1 * 4 * (8 + 8), 6),
    (ONE, "y, nk, nv", FILLED,
     f"{DECODER}<num_heads=4, past_present_share_buffer=1>(q, k, v, , , pk, pv, filled)", 2 * 4 * 1 * 4 * (8 + 8), 6),
    ("float[2,1,32] q, float[2,4,5,8] k, float[2,4,5,8] v", "y, , , s", "",
     f"{DECODER}<num_heads=4, output_qk=1>(q, k, v)", 2 * 4 * 1 * 5 * (8 + 8), 6),
]  # fmt: skip

WHOLE = f"{DECODER}<num_heads=4, past_present_share_buffer=1>(q, , , , , pk, pv, filled)"

PACKED = [  # forms that no kernel on CPU has: (inputs, constants, call, result, macs)
    ("float[2,3,4,3,8] q", "", f"{MHA}<num_heads=4>(q)", (2, 3, 32), 2 * 4 * 3 * 3 * (8 + 8)),
    (
        "float[2,3,32] q, float[2,5,4,2,8] k",
        "",
        f"{MHA}<num_heads=4>(q, k)",
        (2, 3, 32),
        2 * 4 * 3 * 5 * (8 + 8),
    ),
    ("float[2,1,96] q" + PAST, FILLED, WHOLE, (2, 1, 32), 2 * 4 * 1 * 4 * (8 + 8)),
]

SPANS = [
    (f"({QKV}) => (y) {{ y = {MHA}<num_heads=4>(q, k, v) }}", "q", 1),
    (f"({QKV}) => (y) {{ y = {MHA}<num_heads=4>(q, k, v) }}", "q", 2),
    (f"({QKV}) => (y) {{ y = {MHA}<num_heads=4>(q, k, v) }}", "k", 2),
    (f"({QKV}) => (y) {{ y = {MHA}<num_heads=4>(q, k, v) }}", "v", 2),
    (f"({CROSS}) => (y) {{ y = {MHA}<num_heads=4>(q, k, v) }}", "k", 1),
    (f"({SAME}) => (y) {{ y = {MHA}<num_heads=4, unidirectional=1>(q, k, v) }}", "v", 1),
    (f"({QKV}, float[1,4,3,5] a) => (y) {{ y = {MHA}<num_heads=4>(q, k, v, , , a) }}", "a", 2),
]

REFUSED = [
    ("DEPTH_MISMATCH", "float[2,3,32] q, float[2,3,24] k, float[2,3,32] v", 4),
    ("LENGTH_MISMATCH", "float[2,3,32] q, float[2,3,32] k, float[2,4,32] v", 4),
    ("HEADS", "float[2,3,32] q, float[2,3,32] k, float[2,3,32] v", 5),
]


@pytest.mark.parametrize(("inputs", "results", "constants", "call", "macs", "steps"), ROWS)
def test_multi_head_attention_is_the_runtimes(
    inputs: str, results: str, constants: str, call: str, macs: int, steps: int
) -> None:
    """All results; a shared cache keeps its size, and counts as far as it is filled."""
    typed = {"s": "float[a,b,c,d] s"}  # a type that onnxruntime does not infer
    named = ", ".join(typed.get(name, name) for name in results.split(", ") if name)
    graph = f"({inputs}) => ({named}) <{constants}> {{ {results} = {call} }}"
    assert predicted(graph) == run(graph)
    said = facts(graph)
    widths = 16 if "float[2,5,24]" not in inputs else 14
    assert (said.macs, said.elementwise) == (macs, macs // widths * steps)


@pytest.mark.parametrize(("inputs", "constants", "call", "shape", "macs"), PACKED)
def test_operands_may_be_packed_into_one(
    inputs: str, constants: str, call: str, shape: tuple[int, ...], macs: int
) -> None:
    """Queries, keys and values, or keys and values, side by side within each head."""
    graph = f"({inputs}) => (y) <{constants}> {{ y = {call} }}"
    assert predicted(graph)["y"] == ("float32", shape)
    assert facts(graph).macs == macs


def test_a_shared_cache_of_which_only_the_data_says_how_full_it_is_has_no_cost() -> None:
    """Its size is known all the same."""
    call = f"{MHA}<num_heads=4>(q, k, v, , , , pk, pv, filled)"
    graph = f"({ONE}, int32[1] filled) => (y, nk, nv) {{ y, nk, nv = {call} }}"
    assert predicted(graph)["nk"] == ("float32", (2, 4, 7, 8))
    assert facts(graph).macs is None


@pytest.mark.parametrize(("graph", "operand", "axis"), SPANS)
def test_a_head_reads_its_own_channels(graph: str, operand: str, axis: int) -> None:
    """A row that is changed changes those positions of the result that the axis's route says, and no others."""
    Probe(graph).check(operand, axis)


@pytest.mark.parametrize(
    ("operand", "axis", "place"), [("k", 1, 1), ("k", 2, 1), ("pk", 2, 1), ("v", 1, 2), ("pv", 3, 2)]
)
def test_new_keys_lie_behind_the_past(operand: str, axis: int, place: int) -> None:
    """And each part of the cache reads its own."""
    call = f"{MHA}<num_heads=4>(q, k, v, , , , pk, pv)"
    graph = f"({SAME}{PAST}) => (y, nk, nv) {{ y, nk, nv = {call} }}"
    Probe(graph, place=place).check(operand, axis)


@pytest.mark.parametrize(("reason", "inputs", "heads"), REFUSED)
def test_heads_that_do_not_fit_are_refused(reason: str, inputs: str, heads: int) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    graph = f"({inputs}) => (y) {{ y = {MHA}<num_heads={heads}>(q, k, v) }}"
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
    assert not runs(graph)
