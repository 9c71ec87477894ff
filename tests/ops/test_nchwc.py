"""The blocked layout is onnxruntime's own affair: its optimiser writes these ops, so it writes the models here."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ValueInfoProto

from analyzer import Options
from analyzer.describe import describe
from analyzer.errors import BadModel
from analyzer.load import load
from analyzer.spans import Affine, Route
from tests.ops.graphs import Seen, facts, model, predicted

NETS = {  # 3 channels enter as they are; 20, 24, 36 and 40 are no multiples of a block
    "sums, pools and a depthwise kernel": """(float[1,3,32,32] x) => (y, v)
     <float[24,3,3,3] w0, float[24,1,3,3] w1, float[40,24,1,1] w2, float[24,40,1,1] w3, float[20,24,3,3] w4>
     { a = Conv<pads=[1,1,1,1]>(x, w0)  r = Relu(a)  b = Conv<group=24, pads=[1,1,1,1]>(r, w1)  q = Clip(b)
       c = Conv(q, w2)  d = Conv(c, w3)  e = Add(d, r)  p = MaxPool<kernel_shape=[3,3], strides=[2,2]>(e)
       v = Identity(p)  h = Conv<strides=[2,2]>(p, w4)  s = Sigmoid(h)  y = GlobalAveragePool(s) }""",
    "an average, a maximum, a resampling by rows": """(float[1,32,20,20] x) => (y, m)
     <float[32,32,3,3] w0, float[32,16,1,1] w1, float[4] s = {1,1,2,3}>
     { a = Conv(x, w0)  b = AveragePool<kernel_shape=[2,2], strides=[2,2]>(a)  c = Conv<group=2>(b, w1)
       m = GlobalMaxPool(c)
       y = Resize<mode="nearest", nearest_mode="floor", coordinate_transformation_mode="asymmetric">(c, , s) }""",
    "a resampling between rows": """(float[1,32,20,20] x) => (y) <float[32,32,3,3] w, float[4] s = {1,1,2,2}>
     { a = Conv(x, w)  y = Resize<mode="linear", coordinate_transformation_mode="half_pixel">(a, , s) }""",
    "channels last outside": """(float[1,20,20,36] x) => (y) <float[40,36,3,3] w>
     { t = Transpose<perm=[0,3,1,2]>(x)  a = Conv(t, w)  y = Transpose<perm=[0,2,3,1]>(a) }""",
    "parts side by side": """(float[1,64,20,20] x) => (y)
     <float[16,64,3,3] w0, float[32,64,3,3] w1, float[40,48,1,1] w2>
     { a = Conv(x, w0)  b = Conv(x, w1)  c = Concat<axis=1>(a, b)  y = Conv(c, w2) }""",
}


def session(stored: onnx.ModelProto, saved: Path | None = None) -> Any:
    """A session of onnxruntime: one that optimises all it can and saves that, or one that optimises nothing."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if saved is None:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(saved)
    return runtime.InferenceSession(stored.SerializeToString(), options, providers=["CPUExecutionProvider"])


def optimised(graph: str, folder: Path) -> onnx.ModelProto:
    """The graph as onnxruntime's highest level leaves it."""
    session(model(graph, 18), folder / "optimised.onnx")
    return onnx.load(folder / "optimised.onnx")


def every_tensor(stored: onnx.ModelProto) -> Seen:
    """Type and shape of every tensor that some node makes."""
    told = {output.name for output in stored.graph.output}
    names = [name for node in stored.graph.node for name in node.output if name and name not in told]
    stored.graph.output.extend(ValueInfoProto(name=name) for name in names)
    running = session(stored)
    entered = running.get_inputs()[0]
    values = running.run(None, {entered.name: np.ones(entered.shape, np.float32)})
    named = zip((output.name for output in running.get_outputs()), values, strict=True)
    return {name: (value.dtype.name, value.shape) for name, value in named}


@pytest.mark.parametrize("net", NETS)
def test_every_tensor_of_an_optimised_model_is_the_runtimes(net: str, tmp_path: Path) -> None:
    """Channels filled up to blocks where the runtime fills them up, or no further than said where it may not."""
    found = optimised(NETS[net], tmp_path)
    if not any(node.domain == "com.microsoft.nchwc" for node in found.graph.node):
        pytest.skip("this processor has no blocked kernels")
    described = describe(load(found.SerializeToString()), Options())
    for name, (dtype, shape) in every_tensor(found).items():
        size = described.size(name)
        assert size is not None, name
        assert size.dtype.name == dtype
        assert size.shape == shape or (not size.exact and all(map(int.__ge__, size.shape, shape))), name


def test_a_convolution_counts_the_channels_that_it_is_filled_up_with() -> None:
    """20 channels in a block of 32: 32 x 18 x 18 outputs of 16 x 3 x 3 weights."""
    graph = """(float[1,16,20,20] x) => (y) <float[32,16,3,3] w, float[32] b>
    { y = com.microsoft.nchwc.Conv<activation="Relu">(x, w, b) }"""
    assert predicted(graph) == {"y": ("float32", (1, 32, 18, 18))}
    assert facts(graph).macs == 32 * 18 * 18 * 16 * 9


@pytest.mark.parametrize(
    ("channels", "filled", "exact"),
    [(3, 16, False), (8, 16, False), (9, 16, True), (16, 16, True), (20, 32, False), (36, 48, False), (60, 64, True)],
)  # fmt: skip
def test_blocks_are_of_16_unless_8_would_do_with_less(channels: int, filled: int, exact: bool) -> None:
    """A processor with narrow vectors has blocks of 8, and the file does not say: then the shape is a bound."""
    said = facts(f"(float[1,{channels},5,5] x) => (y) {{ y = com.microsoft.nchwc.ReorderInput(x) }}")
    size: Any = said.outputs
    assert (size.shape, size.exact) == ((1, filled, 5, 5), exact)


def test_axes_are_followed_into_blocks_and_out_again() -> None:
    """[N, H, W, C] to [N, C, H, W], and back without what was filled up."""
    into = facts("(float[1,5,6,36] x) => (y) { y = com.microsoft.nchwc.ReorderInput<channels_last=1>(x) }")
    assert into.spans == (Route(0), Route(2), Route(3), Route(1))
    out = "(float[1,48,5,6] x) => (y) { y = com.microsoft.nchwc.ReorderOutput<channels=36, channels_last=1>(x) }"
    assert facts(out).spans == (Route(0), Route(3), Route(1), Route(2))
    assert predicted(out) == {"y": ("float32", (1, 5, 6, 36))}


def test_an_upsampled_row_lies_at_or_between_rows() -> None:
    """Twice as many rows: the nearest below is row 0, 0, 1, 1; at half pixels -1 and 0, 0 and 1, and so on."""
    graph = """(float[1,16,5,5] x) => (y) {{ y = com.microsoft.nchwc.Upsample<scales=[1,1,2,2], mode="{}",
    coordinate_transformation_mode="{}">(x) }}"""
    nearest: Any = facts(graph.format("nearest", "asymmetric")).spans
    assert nearest[0][2] == Route(2, Affine(2, 1, (0, 0), (0, 0)))
    between: Any = facts(graph.format("linear", "half_pixel")).spans
    assert between[0][2] == Route(2, Affine(2, 1, (-1, 0), (0, 1)))


@pytest.mark.parametrize(
    ("reason", "call"),
    [
        ("CHANNEL_MISMATCH", "ReorderOutput<channels=17>(x)"),
        ("CHANNEL_MISMATCH", "ReorderOutput(x)"),
        ("SCALES", "Upsample<scales=[1,2,2]>(x)"),
        ("SCALES", "Upsample(x)"),
    ],
)
def test_blocks_that_do_not_fit_are_refused(reason: str, call: str) -> None:
    """More channels than there are, or a scale too few."""
    with pytest.raises(BadModel) as caught:
        facts(f"(float[1,16,5,5] x) => (y) {{ y = com.microsoft.nchwc.{call} }}")
    assert caught.value.reason == reason
