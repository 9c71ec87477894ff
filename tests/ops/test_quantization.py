import pytest

from analyzer import Options, analyze
from analyzer.errors import BadModel
from analyzer.spans import POINTWISE, Affine, Route
from tests.ops.graphs import evaluated, facts, model, predicted, run, runs

RUN = [  # (opset, graph): onnxruntime has these
    (10, "(float[2,3] x) => (y) <float s={0.1}, uint8 z={3}> { y = QuantizeLinear(x, s, z) }"),
    (10, "(float[2,3] x) => (y) <float s={0.1}> { y = QuantizeLinear(x, s) }"),
    (10, "(int8[2,3] x) => (y) <float s={0.1}, int8 z={3}> { y = DequantizeLinear(x, s, z) }"),
    (13, "(float[2,3] x) => (y) <float[3] s, int8[3] z> { y = QuantizeLinear<axis=-1>(x, s, z) }"),
    (13, "(uint8[2,3] x) => (y) <float[2] s> { y = DequantizeLinear<axis=0>(x, s) }"),
    (13, "(int32[2,3] x) => (y) <float s={0.1}> { y = DequantizeLinear(x, s) }"),
    (19, "(float16[2,3] x) => (y) <float16[1] s, uint8[1] z> { y = QuantizeLinear<saturate=0>(x, s, z) }"),
    (19, "(int8[2,3] x) => (y) <float16[1] s> { y = DequantizeLinear(x, s) }"),
    (21, """(float[2,8] x) => (y) <float[2,3] s, int8[2,3] z>
     { y = QuantizeLinear<axis=1, block_size=3>(x, s, z) }"""),
    (21, """(float[2,8] x) => (y) <float[1,8] s>
     { y = QuantizeLinear<axis=0, block_size=2, output_dtype=3>(x, s) }"""),
    (21, "(float[2,3] x) => (y) <float s={0.1}> { y = QuantizeLinear<output_dtype=4>(x, s) }"),
    (21, "(uint16[2,3] x) => (y) <float s={0.1}, uint16 z={3}> { y = DequantizeLinear(x, s, z) }"),
    (21, """(float[1] q) => (y) <int4[4,8] x, float[4,2] s>
     { y = DequantizeLinear<axis=1, block_size=4>(x, s) }"""),
    (21, "(float[1] q) => (y) <uint4[8] x, float s={2}, uint4[1] z> { y = DequantizeLinear(x, s, z) }"),
    (11, "(float[2,3] x) => (y, s, z) { y, s, z = DynamicQuantizeLinear(x) }"),
    (21, """(float[2,3] x) => (y) <float[3] s, uint8[3] z>
     { y = com.microsoft.QuantizeLinear<axis=1>(x, s, z) }"""),
    (21, "(float[2,3] x) => (y) <float s={0.1}> { y = com.microsoft.QuantizeLinear(x, s) }"),
    (21, """(uint8[2,3] x) => (y) <float[2] s, uint8[2] z>
     { y = com.microsoft.DequantizeLinear<axis=0>(x, s, z) }"""),
    (21, "(uint8[2,3] x) => (y) <float s={0.1}> { y = com.microsoft.DequantizeLinear(x, s) }"),
]  # fmt: skip

EVALUATED = [  # (opset, graph): types that only onnx's reference implementation has
    (19, "(float[2,3] x) => (y) <float s={0.1}, float8e4m3fn z={1}> { y = QuantizeLinear(x, s, z) }"),
    (21, "(float[2,3] x) => (y) <float s={0.1}, int4 z={1}> { y = QuantizeLinear(x, s, z) }"),
    (23, "(float[2,3] x) => (y) <float s={0.1}> { y = QuantizeLinear<output_dtype=23>(x, s) }"),
    (23, "(uint8[2,3] x) => (y) <float s={0.1}> { y = DequantizeLinear<output_dtype=10>(x, s) }"),
    (25, "(float[2,3] x) => (y) <float s={0.1}, uint2 z={1}> { y = QuantizeLinear(x, s, z) }"),
    (25, "(int2[2,3] x) => (y) <float16[1] s> { y = DequantizeLinear(x, s) }"),
]  # fmt: skip


@pytest.mark.parametrize(("opset", "graph"), RUN)
def test_codes_and_numbers_are_of_the_runtimes_type(opset: int, graph: str) -> None:
    """The zero point, the output_dtype or the scale says the type, by opset; nothing said means uint8 codes."""
    assert predicted(graph, opset) == run(graph, opset)


@pytest.mark.parametrize(("opset", "graph"), EVALUATED)
def test_narrow_codes_are_of_the_reference_implementations_type(opset: int, graph: str) -> None:
    """float8, float4, int4 and int2 among them."""
    assert predicted(graph, opset) == evaluated(graph, opset)


def test_a_weight_of_int4_in_blocks_takes_half_a_byte_each() -> None:
    """64 x 64 weights are 2,048 bytes; the 64 x 2 scales and zero points, one for 32 of a row, are buffers."""
    report = analyze(
        model(
            """(float[8,64] x) => (y) <int4[64,64] w, float[64,2] s, int4[64,2] z>
            { d = DequantizeLinear<axis=1, block_size=32>(w, s, z)  t = Transpose(d)  y = MatMul(x, t) }"""
        ).SerializeToString(),
        Options(),
    ).to_dict()
    totals = {name: total["known"] for name, total in report["totals"].items()}
    assert (totals["parameters"], totals["parameter_bytes"]) == (64 * 64, 2048)
    assert totals["buffers"] == 2 * 64 * 2
    assert totals["macs"] == 8 * 64 * 64


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int4"])
def test_codes_that_are_stored_are_weights_whatever_their_type(dtype: str) -> None:
    """A bias is int32, and counts like a weight of int8; scalar scales do not."""
    graph = f"""(float[2,3] x) => (y) <{dtype}[3] w, float s={{0.5}}>
     {{ d = DequantizeLinear(w, s)  y = Add(x, d) }}"""
    totals = analyze(model(graph).SerializeToString(), Options()).to_dict()["totals"]
    assert (totals["parameters"]["known"], totals["buffers"]["known"]) == (3, 1)


def test_steps_of_quantising_are_counted_for_each_element() -> None:
    """4 to quantise (divide, round, shift, saturate), 2 to dequantise (shift, scale), 2 + 4 to find the range first."""
    assert facts(RUN[0][1]).elementwise == 4 * 6
    assert facts(RUN[2][1]).elementwise == 2 * 6
    assert facts(RUN[14][1]).elementwise == (2 + 4) * 6


def test_an_element_reads_the_scale_of_its_row_or_block() -> None:
    """Elements 0..3 of an axis in blocks of 4 share row 0 of the scales, 4..7 share row 1."""
    row = facts("(float[2,3] x, float[3] s) => (y) { y = QuantizeLinear(x, s) }", 13)
    assert row.spans == (POINTWISE, (Route(1),))
    block = facts("(int8[2,8] x, float[2,2] s) => (y) { y = DequantizeLinear<block_size=4>(x, s) }")
    assert block.spans == (POINTWISE, (Route(0), Route(1, Affine(4, 1, (0, 0, 0, 0), (0, 0, 0, 0)))))


REFUSED = [
    ("SCALE_SHAPE", "(float[2,3] x) => (y) <float[2] s> { y = QuantizeLinear<axis=1>(x, s) }"),
    ("SCALE_SHAPE", "(float[2,8] x) => (y) <float[2,2] s> { y = QuantizeLinear<block_size=3>(x, s) }"),
    ("SCALE_SHAPE", "(int8[2,3] x) => (y) <float[3] s, int8[2] z> { y = DequantizeLinear(x, s, z) }"),
    ("AXIS_OUT_OF_RANGE", "(int8[2,3] x) => (y) <float[3] s> { y = DequantizeLinear<axis=2>(x, s) }"),
    ("UNKNOWN_DTYPE", "(float[2,3] x) => (y) <float s={1}> { y = QuantizeLinear<output_dtype=99>(x, s) }"),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "graph"), REFUSED)
def test_scales_that_do_not_fit_are_refused(reason: str, graph: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
    assert not runs(graph)
