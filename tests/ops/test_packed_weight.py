import pytest

from analyzer import Options, analyze
from analyzer.errors import BadModel
from tests.ops.graphs import facts, model, predicted, run, runs

PRODUCTS = [  # (graph, macs, weights)
    # 5 rows of 48 codes in blocks of 32, so 2 blocks of 16 bytes each
    ("""(float[2,3,48] a) => (y) <uint8[5,2,16] w, float[5,2] s>
     { y = com.microsoft.MatMulNBits<K=48, N=5, bits=4, block_size=32>(a, w, s) }""", 6 * 5 * 48, 48 * 5),
    ("""(float[48] a) => (y) <uint8[5,3,16] w, float[5,3] s>
     { y = com.microsoft.MatMulNBits<K=48, N=5, bits=8, block_size=16>(a, w, s) }""", 5 * 48, 48 * 5),
    ("""(float[7,64] a) => (y) <uint8[5,2,8] w, float[10] s>
     { y = com.microsoft.MatMulNBits<K=64, N=5, bits=2, block_size=32>(a, w, s) }""", 7 * 5 * 64, 64 * 5),
    ("""(float[7,64] a) => (y) <uint8[5,2,16] w, float[10] s, uint8[5] z, float[5] b>
     { y = com.microsoft.MatMulNBits<K=64, N=5, block_size=32>(a, w, s, z, , b) }""", 7 * 5 * 64, 64 * 5),
    ("""(float[2,3,64] a) => (y) <uint8[1024] w, float[64] s>
     { y = com.microsoft.MatMulBnb4<K=64, N=32, block_size=32, quant_type=1>(a, w, s) }""", 6 * 32 * 64, 64 * 32),
    ("""(float[3,32] a) => (y) <uint8[1024] w, float[64] s>
     { y = com.microsoft.MatMulBnb4<K=64, N=32, block_size=32, quant_type=0, transB=0>(a, w, s) }""",
     3 * 32 * 64, 64 * 32),
    # a blob: for each of 32 columns 2 blocks of 32 codes in 16 bytes, with a scale of 4 and a zero point of 1
    ("""(float[3,64] a) => (y) <uint8[1344] w, int64[2] s={64,32}>
     { y = com.microsoft.MatMulFpQ4(a, w, s) }""", 3 * 32 * 64, 64 * 32),
]  # fmt: skip

LOOKUPS = [
    """(int64[1,3] i) => (y) <uint8[10,32] d, float[10,4] s>
     { y = com.microsoft.GatherBlockQuantized<block_size=16>(d, i, s) }""",
    """(int64[1,3] i) => (y) <uint8[10,64] d, float[10,4] s>
     { y = com.microsoft.GatherBlockQuantized<block_size=16, bits=8>(d, i, s) }""",
    """(int64[3] i) => (y) <int4[10,64] d, float[10,4] s, int4[10,4] z>
     { y = com.microsoft.GatherBlockQuantized<block_size=16>(d, i, s, z) }""",
    """(int32[2,3] i) => (y) <uint4[3,10,32] d, float16[3,10,2] s>
     { y = com.microsoft.GatherBlockQuantized<block_size=16, gather_axis=1, quantize_axis=2>(d, i, s) }""",
]  # fmt: skip


@pytest.mark.parametrize(("graph", "macs", "weights"), PRODUCTS)
def test_a_product_with_packed_weights_is_the_runtimes(graph: str, macs: int, weights: int) -> None:
    """rows x columns x depth, however the weight lies; each weight is dequantised once, in 2 steps."""
    assert predicted(graph) == run(graph)
    said = facts(graph)
    assert (said.macs, said.elementwise) == (macs, 2 * weights)


@pytest.mark.parametrize("graph", LOOKUPS)
def test_a_lookup_of_packed_rows_is_the_runtimes(graph: str) -> None:
    """uint8 holds 8 / bits codes; each number looked up is dequantised in 2 steps."""
    assert predicted(graph) == run(graph)
    shape = predicted(graph)["y"][1]
    assert facts(graph).elementwise == 2 * _count(shape)


def _count(shape: tuple[int, ...]) -> int:
    return 1 if not shape else shape[0] * _count(shape[1:])


def test_it_costs_what_dequantising_before_the_product_costs() -> None:
    """5 rows of 64 int4 codes in blocks of 32, against MatMulNBits of the same."""
    parts = """(float[7,64] a) => (y) <int4[5,64] w, float[5,2] s>
    { d = DequantizeLinear<axis=1, block_size=32>(w, s)  t = Transpose(d)  y = MatMul(a, t) }"""
    packed = """(float[7,64] a) => (y) <uint8[5,2,16] w, float[5,2] s>
     { y = com.microsoft.MatMulNBits<K=64, N=5, block_size=32>(a, w, s) }"""
    one, other = (
        analyze(model(graph).SerializeToString(), Options()).to_dict()["totals"] for graph in (parts, packed)
    )
    for figure in ("macs", "elementwise_flops", "parameter_bytes", "buffers"):
        assert one[figure] == other[figure], figure


REFUSED = [
    ("WEIGHT_SHAPE", """(float[3,64] a) => (y) <uint8[5,2,8] w, float[5,2] s>
     { y = com.microsoft.MatMulNBits<K=64, N=5, block_size=32>(a, w, s) }"""),
    ("DEPTH_MISMATCH", """(float[3,63] a) => (y) <uint8[5,2,16] w, float[5,2] s>
     { y = com.microsoft.MatMulNBits<K=64, N=5, block_size=32>(a, w, s) }"""),
    ("BLOCK_SIZE", """(float[3,64] a) => (y) <uint8[5,2,16] w, float[5,2] s>
     { y = com.microsoft.MatMulNBits<K=64, N=5, block_size=0>(a, w, s) }"""),
    ("AXIS_OUT_OF_RANGE", """(int64[3] i) => (y) <int4[10,64] d, float[10,4] s>
     { y = com.microsoft.GatherBlockQuantized<block_size=16, gather_axis=2>(d, i, s) }"""),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "graph"), REFUSED)
def test_packed_weights_that_do_not_fit_are_refused(reason: str, graph: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
    assert not runs(graph)
