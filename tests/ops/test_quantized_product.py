import pytest

from analyzer import Options, analyze
from analyzer.errors import BadModel
from analyzer.spans import WHOLE, Route, window
from tests.ops.graphs import facts, model, predicted, run

SCALED = "<float s={0.1}, uint8 z={3}, int8 n={0}, float[6] sm, int8[6] zm, int32[6] b"

CONVOLUTIONS = [  # (graph, macs): each of the output's elements takes one multiplication per weight of its channel
    # 6 x 7x7 outputs of 4 x 3x3 weights
    ("(uint8[1,4,9,9] x) => (y) <uint8[6,4,3,3] w> { y = ConvInteger(x, w) }", 6 * 49 * 36),
    # two groups: 2 x 3x3 weights each; the padding's taps count
    ("""(uint8[1,4,9,9] x) => (y) <uint8[6,2,3,3] w, uint8 z={3}>
     { y = ConvInteger<group=2, pads=[1,1,1,1]>(x, w, z, z) }""", 6 * 81 * 18),
    # every second position: 5x5
    (f"""(uint8[1,4,9,9] x) => (y) {SCALED}, int8[6,4,3,3] w>
     {{ y = QLinearConv<strides=[2,2], pads=[1,1,1,1]>(x, s, z, w, sm, zm, s, z, b) }}""", 6 * 25 * 36),
    (f"""(uint8[1,4,9,9] x) => (y) {SCALED}, int8[6,4,3,3] w>
     {{ y = QLinearConv<auto_pad="SAME_UPPER">(x, s, z, w, s, n, s, z) }}""", 6 * 81 * 36),
    (f"""(uint8[1,4,9,9] x) => (y) {SCALED}, int8[6,4,3,3] w>
     {{ y = com.microsoft.QLinearConv(x, s, z, w, s, n, s, z) }}""", 6 * 49 * 36),
    (f"""(uint8[1,9,8,4] x) => (y) {SCALED}, int8[6,4,3,3] w>
     {{ y = com.microsoft.QLinearConv<channels_last=1>(x, s, z, w, s, n, s, z, b) }}""", 7 * 6 * 6 * 36),
]  # fmt: skip

PRODUCTS = [  # (graph, macs): rows x columns x depth, over the batch
    ("""(uint8[2,3,4] a) => (y) <int8[4,5] b, uint8 z={3}, int8[5] n>
     { y = MatMulInteger(a, b, z, n) }""", 2 * 3 * 5 * 4),
    (f"""(uint8[2,3,4] a) => (y) {SCALED}, int8[4,5] w>
     {{ y = QLinearMatMul(a, s, z, w, s, n, s, z) }}""", 2 * 3 * 5 * 4),
    ("(int16[3,4] a) => (y) <int16[4,5] b> { y = com.microsoft.MatMulInteger16(a, b) }", 3 * 5 * 4),
    (f"""(uint8[3,4] a) => (y) {SCALED}, int8[6,4] w>
     {{ y = com.microsoft.QGemm<transB=1>(a, s, z, w, sm, zm, b, s, z) }}""", 3 * 6 * 4),
    (f"""(uint8[4,3] a) => (y) {SCALED}, int8[4,6] w>
     {{ y = com.microsoft.QGemm<transA=1>(a, s, z, w, s, n) }}""", 3 * 6 * 4),
    (f"""(uint8[2,3,4] a) => (y) {SCALED}, int8[4,6] w, float[6] c>
     {{ y = com.microsoft.MatMulIntegerToFloat(a, w, s, s, z, n, c) }}""", 2 * 3 * 6 * 4),
    (f"""(float[2,3,4] a) => (y) {SCALED}, int8[4,6] w, float[6] c>
     {{ y = com.microsoft.DynamicQuantizeMatMul(a, w, s, n, c) }}""", 2 * 3 * 6 * 4),
]  # fmt: skip

LAYERS = [  # (graph, macs): 4 gates take 3 inputs and 5 states to 5 states, for 7 steps, 2 rows and each direction
    ("""(float[7,2,3] x) => (y, h, c) <uint8[1,3,20] w, uint8[1,5,20] r, float[1,40] b, float[1] s, uint8[1] z>
     { y, h, c = com.microsoft.DynamicQuantizeLSTM<hidden_size=5>(x, w, r, b, , , , , s, z, s, z) }""",
     7 * 2 * 4 * 5 * (3 + 5)),
    ("""(float[7,2,3] x) => (y, h, c) <int8[2,3,20] w, int8[2,5,20] r, float[2] s, int8[2] z={0,0}, float[2,2,5] i>
     { y, h, c = com.microsoft.DynamicQuantizeLSTM<hidden_size=5, direction="bidirectional">
       (x, w, r, , , i, i, , s, z, s, z) }""",
     2 * 7 * 2 * 4 * 5 * (3 + 5)),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "macs"), CONVOLUTIONS + PRODUCTS + LAYERS)
def test_a_product_of_codes_is_the_runtimes_and_costs_its_macs(graph: str, macs: int) -> None:
    """Types and shapes of all results as onnxruntime makes them; macs as derived beside."""
    assert predicted(graph) == run(graph)
    assert facts(graph).macs == macs


def test_weights_of_codes_are_parameters_and_their_scales_are_buffers() -> None:
    """6 x 4 x 3 x 3 codes and 6 biases; a scale and a zero point for each of 6 channels, and those of x and y."""
    totals = analyze(model(CONVOLUTIONS[2][0]).SerializeToString(), Options()).to_dict()["totals"]
    assert totals["parameters"]["known"] == 6 * 36 + 6
    assert totals["parameter_bytes"]["known"] == 6 * 36 + 4 * 6
    assert totals["buffers"]["known"] == 6 + 6 + 1 + 1


def test_sums_are_rescaled_once_for_each_element() -> None:
    """4 steps to codes, 1 to floats, none where sums stay; a dynamic product quantises its operand first, 6 each."""
    assert facts(CONVOLUTIONS[0][0]).elementwise == 0
    assert facts(CONVOLUTIONS[2][0]).elementwise == 4 * 6 * 25
    assert facts(PRODUCTS[4][0]).elementwise == 3 * 6
    assert facts(PRODUCTS[6][0]).elementwise == 2 * 3 * 6 + 6 * 2 * 3 * 4


def test_a_channels_last_convolution_slides_over_the_middle_axes() -> None:
    """x [N, H, W, C]: rows through the kernel to axis 1, columns to axis 2, channels taken whole."""
    spans = facts(CONVOLUTIONS[5][0]).spans
    assert isinstance(spans, tuple)
    assert spans[0] == (Route(0), Route(1, window(3)), Route(2, window(3)), WHOLE)


def test_what_is_quantised_by_its_extremes_is_seen_whole() -> None:
    """One outlier changes every result."""
    spans = facts(PRODUCTS[6][0]).spans
    assert isinstance(spans, tuple)
    assert spans[0] == (WHOLE, WHOLE, WHOLE)


@pytest.mark.parametrize(
    ("reason", "graph"),
    [
        ("CHANNEL_MISMATCH", "(uint8[1,4,9,9] x) => (y) <uint8[6,3,3,3] w> { y = ConvInteger(x, w) }"),
        ("GROUP", "(uint8[1,4,9,9] x) => (y) <uint8[6,4,3,3] w> { y = ConvInteger<group=0>(x, w) }"),
        ("DEPTH_MISMATCH", "(uint8[2,3] x) => (y) <uint8[4,5] w> { y = MatMulInteger(x, w) }"),
    ],
)
def test_products_that_do_not_fit_are_refused_as_the_plain_ones_are(reason: str, graph: str) -> None:
    """The same reasons: the same arithmetic is asked."""
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
