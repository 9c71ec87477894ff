"""Where the shapes that a rule takes end: a graph is refused only where onnxruntime does not run it."""

from __future__ import annotations

import pytest

from analyzer import BadModel
from tests.ops.graphs import facts, predicted, run, runs

BIASES = ["", "[1]", "[3]", "[4]", "[4,1]", "[1,4]"]
SCALES = ["", "[1]", "[7]", "[8]", "[3,8]", "[3,1]", "[3]", "[2,1,8]", "[4,3,8]", "[1,1,1,8]"]
TERMS = ["", "[1]", "[2]", "[8]", "[8,1]", "[1,2]", "[8,2]", "[2,8]", "[1,1,2]"]
ELEMENTS = ["[3,2]", "[4,2]", "[3,4]", "[3,2,1]", "[3,0]", "[0,4]"]
MASKS = [
    "", "[6]", "[4,6]", "[1,6]", "[4,7]", "[4,5]", "[3,6]", "[8,4,6]", "[3,4,6]", "[1,1,4,6]", "[2,8,4,6]", "[3,8,4,6]",
]  # fmt: skip
CODES = "(uint8[1,4,8,8] x) => (y) <float s, uint8 z, uint8[4,4,3,3] w, "
PACKED = "{ y = com.microsoft.MatMulNBits<K=64,N=8,bits=4,block_size=32>(x, w, s) }"
CHOOSE = (
    "<then_branch = t () => (float[3] p) { p = Relu(x) }, else_branch = e () => (float[3] q) { q = Abs(x) }>"
)
BODY = "<body = b (int64 i, bool g, float[3] s) => (bool h, float[3] r) { h = Identity(g) r = Relu(s) }>"

# Opset, a graph, and what @ stands for in it, one after the other.
TABLE = [
    (21, "(float[1,4,8,8] x, float@ b) => (y) <float[4,4,3,3] w> { y = Conv(x, w, b) }", BIASES),
    (21, "(float[1,4,8,8] x, float@ b) => (y) <float[4,4,3,3] w> { y = ConvTranspose(x, w, b) }", BIASES),
    (21, "(float[1,4,8,8] x, float@ b) => (y) <float[4,4,3,3] w> { y = com.microsoft.FusedConv(x, w, b) }", BIASES),
    (21, CODES + "float@ u> { y = QLinearConv(x, s, z, w, u, z, s, z) }", BIASES),
    (21, CODES + "uint8@ u> { y = QLinearConv(x, s, z, w, s, u, s, z) }", BIASES),
    (21, CODES + "int32@ u> { y = QLinearConv(x, s, z, w, s, z, s, z, u) }", BIASES),
    (7, "(float[8,4] a, float[4,2] b, float@ c) => (y) { y = Gemm(a, b, c) }", TERMS),
    (13, "(float[8,4] a, float[4,2] b, float@ c) => (y) { y = Gemm<beta=0.0>(a, b, c) }", TERMS),
    (23, "(float[2,3,8] x, float@ s) => (y) { y = LayerNormalization<axis=1>(x, s) }", SCALES),
    (23, "(float[2,3,8] x, float@ b) => (y) <float[8] s> { y = LayerNormalization(x, s, b) }", SCALES),
    (23, "(float[2,3,8] x, float@ s) => (y) { y = RMSNormalization(x, s) }", SCALES),
    (23, "(float[2,3,8] x, float@ s) => (y) { y = RMSNormalization<axis=1>(x, s) }", SCALES),
    (10, '(float[4] x) => (y) { y = Pad<mode="reflect",pads=@>(x) }', [
        "[3,3]", "[4,0]", "[0,4]", "[-1,2]", "[-1,3]", "[3,-1]", "[2,-1]", "[-2,1]", "[-2,2]", "[-4,3]",
    ]),
    (10, '(float[0,4] x) => (y) { y = Pad<mode="reflect",pads=@>(x) }', ["[0,5,0,5]", "[1,0,0,0]", "[0,0,1,0]"]),
    (21, "(float[3,2] a, float@ b) => (y) { s = SequenceConstruct(a, b) y = ConcatFromSequence<axis=0>(s) }", ELEMENTS),
    (21, "(float[3,2] a, float@ b) => (y) { s = SequenceConstruct(b, a) y = ConcatFromSequence<axis=1>(s) }", ELEMENTS),
    (21, "(float[4,64] x, float@ s) => (y) <uint8[8,2,16] w>" + PACKED, ["[8,2]", "[16]", "[8,1]", "[8,3]"]),
    (21, "(float[3] x, bool@ c) => (y) { y = If(c)" + CHOOSE + "}", ["", "[1]", "[1,1]", "[2]", "[0]"]),
    (21, "(float[3] x, int64@ m, bool c) => (y) { y = Loop(m, c, x)" + BODY + "}", ["", "[1]", "[2]"]),
]  # fmt: skip

ATTENTION = (
    "(float[2,8,4,16] q, float[2,8,6,16] k, float[2,8,6,16] v, float@ m) => (y) { y = Attention(q, k, v, m) }"
)


def refused(graph: str, opset: int) -> bool:
    """With a reason of its own: the one for whatever nobody thought of is a fault of the rule."""
    try:
        facts(graph, opset)
    except BadModel as error:
        return error.reason != "OPERANDS_DO_NOT_FIT"
    return False


@pytest.mark.parametrize(
    ("opset", "graph"),
    [(opset, graph.replace("@", shape)) for opset, graph, shapes in TABLE for shape in shapes],
)
def test_what_is_refused_does_not_run_and_the_other_way_round(opset: int, graph: str) -> None:
    """For every operand that only has to fit: a bias, a scale, a condition, padding."""
    assert refused(graph, opset) is not runs(graph, opset)


@pytest.mark.parametrize("mask", MASKS)
@pytest.mark.parametrize("opset", [23, 24, 25])
def test_a_mask_that_the_runtime_takes_is_not_refused(mask: str, opset: int) -> None:
    """Up to opset 24 its kernels take less than the standard, from 25 on the standard's own definition runs."""
    graph = ATTENTION.replace("@", mask)
    if runs(graph, opset):
        assert predicted(graph, opset) == run(graph, opset)
    elif refused(graph, opset):
        assert not runs(graph, opset)
    else:
        assert opset < 25  # a stretched mask: the standard's


@pytest.mark.parametrize("mask", ["[4,7]", "[3,6]", "[3,4,6]", "[3,8,4,6]"])
def test_a_mask_that_cannot_be_stretched_is_refused(mask: str) -> None:
    """Along any axis."""
    assert refused(ATTENTION.replace("@", mask), 23)
