"""What counts as a parameter: each stored weight once, however many names, readers and repackings it has."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from analyzer import Report, analyze
from analyzer.ops.rule import find
from tests.conftest import text_model


class Count(NamedTuple):
    """Elements and bytes of the weights, and elements beside them."""

    parameters: int
    parameter_bytes: int
    buffers: int = 0


CASES = [
    pytest.param(
        "g (float[1, 4] x) => (y) <float[4, 6] w = [\"location\": \"w\"], float[6] b = [\"location\": \"w\"]> "
        "{ y = Gemm(x, w, b) }",
        Count(24 + 6, 4 * 30), id="a-matrix-and-a-bias",
    ),
    pytest.param(
        "g (float[4, 4] x) => (y) <float[4, 4] w = [\"location\": \"w\"]> { a = MatMul(x, w) y = MatMul(a, w) }",
        Count(16, 64), id="tied",
    ),
    pytest.param(
        "g (float[4, 4] x) => (y) <float[4, 4] w = [\"location\": \"w\"]> "
        "{ v = Identity(w) u = Identity(v) a = MatMul(x, w) b = MatMul(a, v) y = MatMul(b, u) }",
        Count(16, 64), id="aliases",
    ),
    pytest.param(
        "g (float[4, 6] x) => (y) <float[4, 6] w = [\"location\": \"w\"]> "
        "{ t = Transpose(w) a = MatMul(x, t) y = MatMul(a, w) }",
        Count(24, 96), id="tied-and-transposed",
    ),
    pytest.param(
        "g (float[1, 24] x) => (y) <float[24] w = [\"location\": \"w\"], int64[2] s = {24, 1}> "
        "{ v = Reshape(w, s) y = MatMul(x, v) }",
        Count(24, 96), id="reshaped-weight-but-not-its-shape",
    ),
    pytest.param(
        "g (float[1, 3] x) => (y) <int64[2] s = {3, 5}> { w = ConstantOfShape(s) y = MatMul(x, w) }",
        Count(15, 60), id="made-by-ConstantOfShape",
    ),
    pytest.param(
        "g (float[1, 3] x) => (y) <int64[2] s = {3, 5}> "
        "{ w = ConstantOfShape <value = float16[1] {1}> (s) v = Cast <to = 1> (w) y = MatMul(x, v) }",
        Count(15, 30), id="made-then-cast",
    ),
    pytest.param(
        "g (float[1, 4] x) => (y) { w = Constant <value = float[4, 6] w = [\"location\": \"w\"]> () y = MatMul(x, w) }",
        Count(24, 96), id="in-a-Constant",
    ),
    pytest.param(
        "g (float[1, 4] x) => (y) <float[2, 6] a = [\"location\": \"w\"], float[2, 6] b = [\"location\": \"w\"]> "
        "{ w = Concat <axis = 0> (a, b) y = MatMul(x, w) }",
        Count(24, 96), id="joined",
    ),
    pytest.param(
        "g (float[1, 4] x) => (y) <float[4, 12] w = [\"location\": \"w\"]> "
        "{ q, k, v = Split <axis = 1, num_outputs = 3> (w) a = MatMul(x, q) b = MatMul(a, k) y = MatMul(b, v) }",
        Count(48, 192), id="split-in-three",
    ),
    pytest.param(
        "g (int64[1, 7] ids) => (y) <float[100, 8] table = [\"location\": \"w\"]> { y = Gather(table, ids) }",
        Count(800, 3200), id="an-embedding-table",
    ),
    pytest.param(
        "g (float[1, 3, 8, 8] x) => (y) <float[3] s = {1, 1, 1}, float[3] b = {0, 0, 0}, float[3] m = {0, 0, 0}, "
        "float[3] v = {1, 1, 1}> { y = BatchNormalization(x, s, b, m, v) }",
        Count(6, 24, buffers=6), id="batch-norm",
    ),
    pytest.param(
        "g (float[1, 24] x) => (y) <int64[2] s = {4, 6}, int64[1] axes = {1}> "
        "{ a = Reshape(x, s) y = ReduceSum(a, axes) }",
        Count(0, 0), id="shapes-and-axes",
    ),
    pytest.param(
        "g (float[1, 24] x) => (y) <float half = {0.5}, float[1] one = {1}> { a = Mul(x, half) y = Clip(a, half) }",
        Count(0, 0), id="scalars",
    ),
    pytest.param(
        "g (float[1, 24] x) => (y, z) <int64[2] s = {4, 6}> { a = Constant <value_ints = [6, 4]> () "
        "y = Reshape(x, s) z = Reshape(x, a) }",
        Count(0, 0), id="shapes-in-Constants",
    ),
    pytest.param(
        "g (float[1, 4] x) => (y) <float[4, 6] w = [\"location\": \"w\"], float[9, 9] unread = [\"location\": \"w\"]> "
        "{ y = MatMul(x, w) }",
        Count(24, 96), id="unread",
    ),
    pytest.param(
        "g (float16[1, 4] x) => (y) <float16[4, 6] w = [\"location\": \"w\"]> { y = MatMul(x, w) }",
        Count(24, 48), id="half-precision",
    ),
    pytest.param(
        "g (float[1, 4] x) => (y) <float[6] w = [\"location\": \"w\"]> { y = Mul(x, x) }", Count(0, 0), id="no-weights"
    ),
]  # fmt: skip


def counted(report: Report) -> Count:
    totals = report.totals
    assert totals.parameters.status == totals.parameter_bytes.status == totals.buffers.status == "complete"
    assert totals.parameters.known is not None
    assert totals.parameter_bytes.known is not None
    assert totals.buffers.known is not None
    return Count(totals.parameters.known, totals.parameter_bytes.known, totals.buffers.known)


@pytest.mark.parametrize(("text", "count"), CASES)
def test_parameters(text: str, count: Count) -> None:
    """Elements and bytes as stored, and the nodes' rows add up to them."""
    report = analyze(text_model(text))
    assert counted(report) == count
    assert sum(node.parameters or 0 for node in report.nodes) == count.parameters
    weights = [tensor for tensor in report.tensors if tensor.role == "weight"]
    assert sum(tensor.bytes or 0 for tensor in weights) == count.parameter_bytes


def test_a_shared_weight_is_its_first_readers() -> None:
    """One row has it, the other none."""
    report = analyze(
        text_model(
            'g (float[4, 4] x) => (y) <float[4, 4] w = ["location": "w"]> '
            "{ [first] a = MatMul(x, w) [second] y = MatMul(a, w) }"
        )
    )
    assert [(node.name, node.parameters) for node in report.nodes] == [("first", 16), ("second", 0)]


def test_one_element_vectors_are_weights_but_scalars_are_not() -> None:
    """A PRelu's single slope is learned, a factor of 0.5 is not."""
    slope = "g (float[1, 24] x) => (y) <float[1] slope = {0.25}> { y = PRelu(x, slope) }"
    factor = "g (float[1, 24] x) => (y) <float half = {0.5}> { y = Mul(x, half) }"
    assert counted(analyze(text_model(slope))) == Count(1, 4)
    assert counted(analyze(text_model(factor))) == Count(0, 0)


QUANTISED = """
    g (float[1, 4] x) => (y) <
        int8[4, 8] w = ["location": "w"], float[8] scale = ["location": "w"], int8[8] zero = ["location": "w"]
    > {
        d = DequantizeLinear <axis = 1> (w, scale, zero)
        y = MatMul(x, d)
    }
"""


@pytest.mark.skipif(
    find("ai.onnx", "DequantizeLinear", 21) is None, reason="no rule for DequantizeLinear yet"
)
@pytest.mark.parametrize(
    ("dtype", "stored"), [("int8", 32), ("uint8", 32), ("int4", 16), ("float8e4m3fn", 32), ("int2", 8)]
)
def test_a_quantised_weight_counts_its_stored_bytes(dtype: str, stored: int) -> None:
    """Thirty-two elements of the stored width; scale and zero point are buffers."""
    report = analyze(text_model(QUANTISED.replace("int8", dtype), opset=25))
    assert counted(report) == Count(32, stored, buffers=8 + 8)
    assert report.totals.macs.known == 4 * 8


@pytest.mark.skipif(
    find("ai.onnx", "DequantizeLinear", 21) is None, reason="no rule for DequantizeLinear yet"
)
def test_activations_that_are_quantised_and_back_bring_buffers_only() -> None:
    """Their scales and zero points are scalars that calibration found."""
    report = analyze(
        text_model("""
        g (float[1, 4] x) => (y) <float s = ["location": "w"], uint8 z = ["location": "w"]> {
            q = QuantizeLinear(x, s, z)
            y = DequantizeLinear(q, s, z)
        }
    """)
    )
    assert counted(report) == Count(0, 0, buffers=2)


def test_a_sparse_weight_counts_as_the_dense_one_that_it_stands_for() -> None:
    """A product with it costs as much as with any other."""
    model = onnx.ModelProto.FromString(text_model("g (float[1, 3] x) => (y) { y = MatMul(x, w) }"))
    values = numpy_helper.from_array(np.array([1.0, 2.0], np.float32), "w")
    indices = numpy_helper.from_array(np.array([0, 5]), "i")
    model.graph.sparse_initializer.append(onnx.helper.make_sparse_tensor(values, indices, [3, 4]))
    assert counted(analyze(model.SerializeToString())) == Count(12, 48)


@pytest.mark.skipif(find("ai.onnx", "RandomNormal", 21) is None, reason="no rule for RandomNormal yet")
def test_random_numbers_are_no_weights() -> None:
    """Another run has others."""
    text = "g (float[1, 4] x) => (y) { w = RandomNormal <shape = [4, 4]> () y = MatMul(x, w) }"
    assert counted(analyze(text_model(text))) == Count(0, 0)


def test_weights_of_branches_and_loops_count_once() -> None:
    """Where a body is run often, or reads its surroundings, its weights are stored once."""
    report = analyze(
        text_model("""
        g (float[4, 4] x, bool c) => (y, z) <float[4, 4] w = ["location": "w"], int64 n = {7}> {
            y = If<
                then_branch = t () => (p) <float[4, 4] own = ["location": "w"]>
                    { a = MatMul(x, own) p = MatMul(a, w) },
                else_branch = e () => (q) { q = MatMul(x, w) }
            >(c)
            z = Loop<body = b (int64 i, bool on, float[4, 4] s) => (bool on2, float[4, 4] r)
                <float[4, 4] inner = ["location": "w"]> { on2 = Identity(on) r = MatMul(s, inner) }
            >(n, , y)
        }
    """)
    )
    assert counted(report).parameters == 3 * 16
