from typing import Any

import pytest

from analyzer import Options, analyze
from analyzer.errors import BadModel
from tests.ops.graphs import claimed, facts, model, predicted, run, touched

W = "<float[6,2,3,3] w, float[6] b, float[6,4] m, float[6,4,3,3] v, float[4,3,3,3] u"

CONVOLUTIONS = [  # (graph, macs): outputs x weights of a channel
    (f"""(float[1,4,9,9] x, float[1,6,4,4] z) => (y) {W}>
     {{ y = com.microsoft.FusedConv<group=2, strides=[2,2], activation="Relu">(x, w, b, z) }}""", 6 * 16 * 18),
    (f"""(float[1,4,9,9] x) => (y) {W}>
     {{ y = com.microsoft.FusedConv<auto_pad="SAME_UPPER", activation="Clip", activation_params=[0.0, 6.0]>(x, v) }}""",
     6 * 81 * 36),
    (f"""(float[1,4,9,9] x) => (y) {W}>
     {{ y = com.microsoft.FusedConv<dilations=[2,2]>(x, v, b) }}""", 6 * 25 * 36),
]  # fmt: skip

TRANSPOSED = [  # 4 x 5x5 inputs, each to 3 channels of 3x3
    (f"""(float[1,4,5,5] x) => (y) {W}, int64[4] p={{1,1,0,0}}>
     {{ y = com.microsoft.ConvTransposeWithDynamicPads<strides=[2,2]>(x, u, p) }}""", 4 * 25 * 27),
]  # fmt: skip

PRODUCTS = [  # rows x columns x depth
    (f"""(float[4,2] x) => (y) {W}>
     {{ y = com.microsoft.FusedGemm<transA=1, transB=1, activation="Relu">(x, m, b) }}""", 2 * 6 * 4),
    ("(float[5,2] x, float[5,3] w) => (y) { y = com.microsoft.TransposeMatMul<transA=1>(x, w) }", 2 * 3 * 5),
    ("(float[5] x, float[5,3] w) => (y) { y = com.microsoft.FusedMatMul<transA=1>(x, w) }", 3 * 5),
    ("(float[2,5] x, float[5] w) => (y) { y = com.microsoft.FusedMatMul<transB=1>(x, w) }", 2 * 5),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "macs"), CONVOLUTIONS + TRANSPOSED + PRODUCTS)
def test_a_fused_product_is_the_runtimes_and_costs_its_macs(graph: str, macs: int) -> None:
    """Types and shapes as onnxruntime makes them; macs as derived beside."""
    assert predicted(graph) == run(graph)
    assert facts(graph).macs == macs


SIDES = {  # (transposed, batch inside): how [2, 3] matrices of 4 x 5 are stored
    (0, 0): "2,3,4,5", (1, 0): "2,3,5,4", (0, 1): "4,2,3,5", (1, 1): "5,2,3,4",
}  # fmt: skip
OTHERS = {(0, 0): "2,3,5,6", (1, 0): "2,3,6,5", (0, 1): "5,2,3,6", (1, 1): "6,2,3,5"}


@pytest.mark.parametrize("a", SIDES)
@pytest.mark.parametrize("b", OTHERS)
def test_either_side_of_a_fused_product_may_be_turned(a: tuple[int, int], b: tuple[int, int]) -> None:
    """[2, 3] products of 4 x 5 by 5 x 6, rows of a side before or behind its batch, matrices transposed or not."""
    graph = f"""(float[{SIDES[a]}] a, float[{OTHERS[b]}] b) => (y)
    {{ y = com.microsoft.FusedMatMul<transA={a[0]}, transBatchA={a[1]}, transB={b[0]}, transBatchB={b[1]}>(a, b) }}"""
    assert predicted(graph) == run(graph) == {"y": ("float32", (2, 3, 4, 6))}
    assert facts(graph).macs == 2 * 3 * 4 * 6 * 5


BRUTE = [
    *(
        f"""(float[{x}] x, float[{w}] w) => (y)
        {{ y = com.microsoft.FusedMatMul<transA={t}, transBatchA={i}, transB={s}, transBatchB={j}>(x, w) }}"""
        for (t, i, x), (s, j, w) in zip(
            [(0, 0, "2,3,4"), (1, 0, "2,4,3"), (0, 1, "3,2,4"), (1, 1, "4,2,3")],
            [(1, 1, "2,2,4"), (0, 1, "4,2,2"), (1, 0, "2,2,4"), (0, 0, "2,4,2")],
            strict=True,
        )
    ),
    """(float[1,2,5,5] x) => (y) <float[2,1,2,2] w>
     { y = com.microsoft.FusedConv<group=2, strides=[2,1], dilations=[1,2], pads=[1,0,0,1]>(x, w) }""",
    """(float[1,2,3,3] x) => (y) <float[2,2,2,2] w, int64[4] p={1,0,0,1}>
     { y = com.microsoft.ConvTransposeWithDynamicPads<strides=[2,3]>(x, w, p) }""",
    """(uint8[1,5,5,2] x) => (y)
     { y = com.microsoft.NhwcMaxPool<kernel_shape=[2,3], strides=[2,1], pads=[1,0,0,1]>(x) }""",
]  # fmt: skip


@pytest.mark.parametrize("graph", BRUTE)
def test_spans_are_what_every_element_really_reaches(graph: str) -> None:
    """One element of an operand at a time: the result changes exactly where the span says."""
    spans: Any = facts(graph).spans
    for place, operand in enumerate(model(graph).graph.input):
        shape = tuple(dim.dim_value for dim in operand.type.tensor_type.shape.dim)
        assert (claimed(spans[place], shape, predicted(graph)["y"][1]) == touched(graph, operand.name)).all()


ACTIVATIONS = ["Relu", "Tanh", "Sigmoid", "LeakyRelu", "HardSigmoid", "Clip", "HardSwish"]


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_a_fused_activation_costs_what_it_costs_alone(activation: str) -> None:
    """FusedConv against Conv, Add and the activation: the same macs, elementwise steps and shapes."""
    fused = f"""(float[1,4,9,9] x, float[1,6,7,7] z) => (y) {W}>
     {{ y = com.microsoft.FusedConv<activation="{activation}", activation_params=[0.5, 0.5]>(x, v, b, z) }}"""
    apart = f"""(float[1,4,9,9] x, float[1,6,7,7] z) => (y) {W}>
     {{ c = Conv(x, v, b)  s = Add(c, z)  y = {activation}(s) }}"""
    assert predicted(fused) == predicted(apart) == run(apart)
    one, other = (
        analyze(model(graph).SerializeToString(), Options()).to_dict()["totals"] for graph in (fused, apart)
    )
    assert one["flops"] == other["flops"]
    assert one["parameters"] == other["parameters"]


def test_an_activation_that_nobody_knows_leaves_the_steps_unknown() -> None:
    """The shape and the macs are known all the same."""
    said = facts(
        f'(float[4,2] x) => (y) {W}> {{ y = com.microsoft.FusedGemm<transA=1, transB=1, activation="Nonesuch">(x, m) }}'
    )
    assert (said.macs, said.elementwise) == (2 * 6 * 4, None)


def test_a_summed_operand_may_be_overwritten() -> None:
    """The result of a convolution takes the place of what is added to it, as in onnxruntime."""
    said = facts(CONVOLUTIONS[0][0])
    assert [size.shape for size in said.inplace] == [(1, 6, 4, 4)]


UNBUILT = [  # (graph, shape, macs): schemas of onnxruntime without a kernel in its wheel
    (f"""(float[1,9,9,4] x, float[1,7,7,6] z) => (y) {W}>
     {{ y = com.microsoft.NhwcFusedConv<activation="Relu">(x, v, b, z) }}""", (1, 7, 7, 6), 49 * 6 * 36),
    (f"""(float[1,9,8,4] x) => (y) {W}>
     {{ y = com.microsoft.NhwcConv<strides=[2,1]>(x, v) }}""", (1, 4, 6, 6), 24 * 6 * 36),
    (f"""(float[1,9,8,4] x) => (y) {W}>
     {{ y = com.ms.internal.nhwc.Conv<pads=[1,1,1,1]>(x, v, b) }}""", (1, 9, 8, 6), 72 * 6 * 36),
    ("""(float[1,9,8,4] x) => (y)
     { y = com.ms.internal.nhwc.MaxPool<kernel_shape=[3,2], strides=[3,2]>(x) }""", (1, 3, 4, 4), 0),
    ("""(float[1,9,8,4] x) => (y)
     { y = com.ms.internal.nhwc.AveragePool<kernel_shape=[3,2], strides=[3,2]>(x) }""", (1, 3, 4, 4), 0),
    ("(float[1,9,8,4] x) => (y) { y = com.ms.internal.nhwc.GlobalAveragePool(x) }", (1, 1, 1, 4), 0),
    ("(float[1,9,8,4] x) => (y) { y = com.ms.internal.nhwc.GlobalMaxPool(x) }", (1, 1, 1, 4), 0),
    ("""(float[2,5,4] x) => (y) <float[4,6] m, float[6] b>
     { y = com.microsoft.GemmFastGelu(x, m, b) }""", (2, 5, 6), 10 * 6 * 4),
    ("""(float[2,5,4] x, float[2,6,4] w) => (y)
     { y = com.microsoft.FusedMatMulActivation<transB=1, activation="Relu">(x, w) }""", (2, 5, 6), 10 * 6 * 4),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "shape", "macs"), UNBUILT)
def test_what_the_wheel_cannot_run_is_described_by_its_schema(
    graph: str, shape: tuple[int, ...], macs: int
) -> None:
    """Channels-last convolutions and pools turn [N, C, *spatial]; the rest multiply out."""
    assert predicted(graph, 18) == {"y": ("float32", shape)}
    assert facts(graph, 18).macs == macs


def test_a_fused_convolution_refuses_what_a_convolution_refuses() -> None:
    """The same rule is asked."""
    with pytest.raises(BadModel) as caught:
        facts(f"(float[1,3,9,9] x) => (y) {W}> {{ y = com.microsoft.FusedConv(x, v) }}")
    assert caught.value.reason == "CHANNEL_MISMATCH"
