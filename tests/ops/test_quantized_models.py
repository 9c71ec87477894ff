"""Whole models as onnxruntime's own quantiser and optimiser write them: one small network, in every form that
they give it.
"""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import ValueInfoProto

from analyzer import Options, analyze
from analyzer.describe import describe
from analyzer.load import load
from tests.ops.graphs import model

runtime: Any = pytest.importorskip("onnxruntime")
quantisation: Any = pytest.importorskip("onnxruntime.quantization")

NETWORK = """(float[1,3,32,32] x) => (y)
<float[16,3,3,3] w0, float[16] b0, float[16,16,3,3] w1, float[16] b1, float[10,32] w2, float[10] b2>
{ a = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w0, b0)  r = Relu(a)
  p = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(r)
  c = Conv<pads=[1,1,1,1]>(p, w1, b1)  s = Sigmoid(c)  d = Add(s, p)  e = LeakyRelu(d)
  f = AveragePool<kernel_shape=[2,2], strides=[2,2]>(e)  g = Concat<axis=1>(f, f)
  h = GlobalAveragePool(g)  i = Flatten(h)  j = Gemm<transB=1>(i, w2, b2)  y = Softmax<axis=1>(j) }"""
PARAMETERS = (16 * 27 + 16) + (16 * 144 + 16) + (10 * 32 + 10)
MACS = 16 * 16 * 16 * 27 + 8 * 8 * 16 * 144 + 10 * 32

LAYER = """(float[7,2,12] x) => (y) <float[2,32,12] w, float[2,32,8] r, float[2,64] b>
{ y = LSTM<hidden_size=8, direction="bidirectional">(x, w, r, b) }"""


class Ones(quantisation.CalibrationDataReader):  # type: ignore[misc]  # onnxruntime ships no types
    """Calibration data: the same input twice."""

    def __init__(self, *shape: int) -> None:
        self.left: Iterator[dict[str, Any]] = iter([{"x": np.ones(shape, np.float32)}] * 2)

    def get_next(self) -> dict[str, Any] | None:
        return next(self.left, None)


def written(kind: str, folder: Path) -> Path:
    """The network's file in one form: as it is, or as the quantiser writes it."""
    plain, made = folder / "plain.onnx", folder / "made.onnx"
    onnx.save(model(LAYER if "layer" in kind else NETWORK, 17), plain)
    logging.disable()  # it warns that it was not asked to prepare the model first
    try:
        if "plain" in kind:
            return plain
        if "dynamic" in kind:
            quantisation.quantize_dynamic(plain, made)
        else:
            quantisation.quantize_static(
                plain,
                made,
                Ones(1, 3, 32, 32),
                quant_format=quantisation.QuantFormat.QDQ
                if "qdq" in kind
                else quantisation.QuantFormat.QOperator,
                per_channel="channels" in kind,
            )
    finally:
        logging.disable(logging.NOTSET)
    return made


def session(stored: onnx.ModelProto, saved: Path | None = None) -> Any:
    """A session that optimises nothing; or one that optimises all it can, and saves what comes of it."""
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    if saved is None:
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    else:
        options.optimized_model_filepath = str(saved)
    return runtime.InferenceSession(stored.SerializeToString(), options, providers=["CPUExecutionProvider"])


FORMS = ["plain", "qdq", "qdq channels", "operators", "operators channels", "dynamic", "dynamic layer"]


@pytest.mark.parametrize("optimised", [False, True])
@pytest.mark.parametrize("form", FORMS)
def test_every_tensor_of_a_quantised_model_is_the_runtimes(
    form: str, optimised: bool, tmp_path: Path
) -> None:
    """However it is written, before and after the optimiser: the same weights and macs, and sizes as they run."""
    stored = onnx.load(written(form, tmp_path))
    if optimised:
        session(stored, tmp_path / "optimised.onnx")
        stored = onnx.load(tmp_path / "optimised.onnx")
    told = {output.name for output in stored.graph.output}
    bare = stored.SerializeToString()
    names = [name for node in stored.graph.node for name in node.output if name and name not in told]
    stored.graph.output.extend(ValueInfoProto(name=name) for name in names)
    running = session(stored)
    values = running.run(None, {"x": np.ones(running.get_inputs()[0].shape, np.float32)})
    described = describe(load(bare), Options())
    for output, value in zip(running.get_outputs(), values, strict=True):
        size = described.size(output.name)
        assert size is not None, output.name
        assert size.dtype.name == value.dtype.name
        assert size.shape == value.shape or not size.exact, output.name
    totals = analyze(bare, Options()).to_dict()["totals"]
    assert totals["macs"] == {
        "known": 7 * 2 * 2 * 32 * (12 + 8) if "layer" in form else MACS,
        "status": "complete",
    }
    assert totals["parameters"]["known"] == (2 * 32 * (12 + 8) + 2 * 64 if "layer" in form else PARAMETERS)
