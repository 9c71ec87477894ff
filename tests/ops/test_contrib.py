from typing import Any

import pytest

from analyzer.errors import BadModel
from tests.ops.graphs import facts, predicted, run

RUN = [  # onnxruntime has kernels for these
    "(float[2,3,4] x) => (y) { y = com.microsoft.Trilu<upper=0>(x) }",
    "(float[2,3,4] x) => (y) <int64 k = {1}> { y = com.microsoft.Trilu(x, k) }",
    "(float[2,3] x) => (y) <int64[4] p = {1,0,0,2}> { y = com.microsoft.Pad(x, p) }",
    "(float[2,3] x) => (y) <float a = {1}, float b = {5}> { y = com.microsoft.Range(a, b) }",
    "(float[2,3] x) => (y) <int64 a = {9}, int64 b = {2}, int64 d = {-2}> { y = com.microsoft.Range(a, b, d) }",
    "(float[2,3,4] x, int64[5,2] i) => (y) { y = com.microsoft.GatherND(x, i) }",
    "(float[1,2,5,6] x, float[1,3,4,2] g) => (y) { y = com.microsoft.GridSample(x, g) }",
    "(float[2,3] x) => (y) <int32 a = {1}> { y = com.microsoft.ExpandDims(x, a) }",
    "(float[2,3] x) => (y) <int32 a = {-1}> { y = com.microsoft.ExpandDims(x, a) }",
    "(float[2,3] x) => (y) { y = com.microsoft.SampleOp(x) }",
    "(float[3,4] a, float[5,4] b) => (y) { y = com.microsoft.CDist(a, b) }",
    """(float[1,2,5,6] x, float[3,4] r) => (y) <int32[3] b = {0,0,0}, int32[2] s = {4,7}>
     { y = com.microsoft.CropAndResize(x, r, b, s) }""",
    "(float[2,9] x) => (y) { y = com.microsoft.UnfoldTensor<size=4, step=2>(x) }",
    "(float[9,2] x) => (y) { y = com.microsoft.UnfoldTensor<size=3, dim=0>(x) }",
    "(int32[2,3] x) => (y) { y = com.microsoft.MurmurHash3(x) }",
    "(int32[2,3] x) => (y) { y = com.microsoft.MurmurHash3<positive=0>(x) }",
    "(int64[2,5] i, float[2,9] s) => (y) { y = com.microsoft.NGramRepeatBlock<ngram_size=2>(i, s) }",
    "(int64[5] s, int64[4] c, int64 p) => (y, i) { y, i = com.microsoft.BifurcationDetector(s, c, p) }",
]  # fmt: skip


@pytest.mark.parametrize("graph", RUN)
def test_an_op_of_the_runtimes_own_is_as_it_runs(graph: str) -> None:
    """Types and shapes of all results."""
    assert predicted(graph) == run(graph)


def test_an_inverse_keeps_the_shape_of_its_matrices() -> None:
    """A matrix of ones has no inverse, so that onnxruntime's is not asked; each element takes a row times a column."""
    graph = "(float[2,3,3] x) => (y) { y = com.microsoft.Inverse(x) }"
    assert predicted(graph) == {"y": ("float32", (2, 3, 3))}
    assert facts(graph).elementwise == 2 * 3 * 18


BOUNDS = [
    "(float[5] x) => (y, i, c) { y, i, c = com.microsoft.Unique(x) }",
    """(int64[5] s, int64[4] c, int64 p, int64[5] q) => (y, i)
     { y, i = com.microsoft.BifurcationDetector(s, c, p, q) }""",
]


@pytest.mark.parametrize("graph", BOUNDS)
def test_a_size_that_the_data_decides_is_a_bound(graph: str) -> None:
    """No larger than said, and said to be a bound; the other results are as they run."""
    ours, theirs = predicted(graph), run(graph)
    outputs: Any = facts(graph).outputs
    for size, (name, (dtype, shape)) in zip(outputs, theirs.items(), strict=True):
        assert ours[name] == (size.dtype.name, size.shape)
        assert size.dtype.name == dtype
        assert shape == size.shape or (not size.exact and all(map(int.__le__, shape, size.shape)))
    assert not outputs[0].exact


UNBUILT = [  # (graph, shape): no kernel in the wheel
    ("(int64[1,2] i) => (y) <float[4,5] w> { y = com.microsoft.TorchEmbedding(w, i) }", (1, 2, 5)),
    ("""(float[2,3,4] x, float[1,3,4] b) => (y)
     { y = com.microsoft.BiasSoftmax<is_inner_broadcast=1>(x, b) }""", (2, 3, 4)),
    ("(float[2,9] x) => (y) { y = com.microsoft.Rfft(x) }", (2, 5, 2)),
    ("(float[2,9] x) => (y) { y = com.microsoft.Rfft<onesided=0>(x) }", (2, 9, 2)),
    ("(float[2,5,2] x) => (y) { y = com.microsoft.Irfft<signal_ndim=1>(x) }", (2, 8)),
]  # fmt: skip


@pytest.mark.parametrize(("graph", "shape"), UNBUILT)
def test_what_the_wheel_cannot_run_is_described_by_its_schema(graph: str, shape: tuple[int, ...]) -> None:
    """As the standard's own op of that meaning."""
    assert predicted(graph) == {"y": ("float32", shape)}


@pytest.mark.parametrize(
    ("reason", "graph"),
    [
        ("RANK", "(float[2,3] x) => (y) { y = com.microsoft.Inverse(x) }"),
        ("DEPTH_MISMATCH", "(float[3,4] a, float[5,6] b) => (y) { y = com.microsoft.CDist(a, b) }"),
        ("KERNEL_TOO_LARGE", "(float[2,3] x) => (y) { y = com.microsoft.UnfoldTensor<size=4>(x) }"),
    ],
)
def test_operands_that_do_not_fit_are_refused(reason: str, graph: str) -> None:
    """Each with its reason."""
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
