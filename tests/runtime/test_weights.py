"""What packed weights take in real sessions: where all are zeros, of which equal ones are kept once, and where no two
are equal.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

from analyzer import Options, analyze
from analyzer.options import LEVELS, Level
from tests.conftest import text_model
from tests.runtime.test_predict import measured

pytest.importorskip("onnxruntime")

AWAY = '["location": "weights.bin"]'
MODELS = {
    "one matrix, read by several ops and turned": f"""g (float[10, 64] x) => (float[10, 64] y)
        <float[64, 64] w = {AWAY}> {{
        a = MatMul (x, w) b = MatMul (a, w) c = Gemm (b, w) d = Gemm (c, w) y = Gemm <transB = 1> (d, w) }}""",
    "layers of one shape that share a matrix": f"""g (float[7, 3, 20] x) => (float[7, 1, 3, 20] y)
        <float[1, 80, 20] w = {AWAY}, float[1, 80, 20] r = {AWAY}, float[1, 80, 20] v = {AWAY},
        int64[1] axis = {{1}}> {{
        a = LSTM <hidden_size = 20> (x, w, r) b = Squeeze (a, axis) y = LSTM <hidden_size = 20> (b, v, r) }}""",
    "two matrices that are kept or dropped together": f"""g (float[7, 3, 20] x) => (float[7, 1, 3, 20] y)
        <float[1, 60, 20] w = {AWAY}, float[1, 60, 20] r = {AWAY}, float[1, 60, 20] v = {AWAY},
        int64[1] axis = {{1}}> {{
        a = GRU <hidden_size = 20> (x, w, r) b = Squeeze (a, axis) y = GRU <hidden_size = 20> (b, v, r) }}""",
    "heads of one size in two layers": f"""g (float[2, 9, 64] x) => (float[2, 9, 64] y)
        <float[64, 192] w = {AWAY}, float[192] b = {AWAY}, float[64, 192] v = {AWAY}> {{
        a = com.microsoft.Attention <num_heads = 4> (x, w, b)
        y = com.microsoft.Attention <num_heads = 4> (a, v, b) }}""",
    "convolutions turned round": f"""g (float[1, 8, 9, 9] x) => (float[1, 8, 13, 13] y)
        <float[8, 8, 3, 3] w = {AWAY}, float[8, 8, 3, 3] v = {AWAY}> {{
        a = ConvTranspose (x, w) y = ConvTranspose (a, v) }}""",
}
HEADER = '<ir_version: 9, opset_import: ["" : 18, "com.microsoft" : 1]> '


def whole(text: str, kind: str) -> bytes:
    random = np.random.default_rng(0)
    model = onnx.ModelProto.FromString(text_model(HEADER + text))
    for stored in model.graph.initializer:
        if stored.data_location == onnx.TensorProto.EXTERNAL:
            numbers = random.random(tuple(stored.dims), np.float32)
            numbers = numbers if kind == "distinct" else np.zeros_like(numbers)
            stored.CopyFrom(onnx.numpy_helper.from_array(numbers, stored.name))
    return model.SerializeToString()


@pytest.mark.parametrize("kind", ["zero", "distinct"])
@pytest.mark.parametrize("name", MODELS)
def test_packed_weights_take_what_they_take(name: str, kind: str, tmp_path: Path) -> None:
    """Peak and held bytes of either kind are those of a real session with such weights."""
    model = whole(MODELS[name], kind)
    both = analyze(model, Options(runtime="onnxruntime")).memory.inference.onnxruntime
    assert both is not None
    assert both.status == "complete"
    said = both if kind == "zero" else both.distinct
    assert (said.peak_bytes, said.held_bytes) == measured(model, "all", tmp_path, 1)


FEW = "g (float[1, 6] x) => (float[1, 6] y) { a = Add (x, b) y = Mul (a, c) }"


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("away", [(), ("b",), ("b", "c")])
def test_small_tensors_of_another_file_are_not_copied(
    away: tuple[str, ...], level: Level, tmp_path: Path
) -> None:
    """Those in the model's own file lie in the arena; external ones are read where they are mapped."""
    model = onnx.ModelProto.FromString(text_model(HEADER + FEW))
    for place, name in enumerate("bc", start=1):
        numbers = np.arange(place, 6 + place, dtype=np.float32)
        stored = onnx.numpy_helper.from_array(numbers, name)
        if name in away:
            onnx.external_data_helper.set_external_data(stored, f"{name}.bin")
            (tmp_path / f"{name}.bin").write_bytes(stored.raw_data)
            stored.ClearField("raw_data")
        model.graph.initializer.append(stored)
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())
    said = analyze(path, Options(runtime="onnxruntime", runtime_level=level)).memory.inference.onnxruntime
    assert said is not None
    assert said.base_bytes == 24 * (2 - len(away))
    assert (said.peak_bytes, said.held_bytes) == measured(str(path), level, tmp_path, 1)


@pytest.mark.parametrize("name", MODELS)
def test_zeros_never_take_more(name: str) -> None:
    """What is kept once is part of what is kept twice."""
    both = analyze(
        whole(MODELS[name], "distinct"), Options(runtime="onnxruntime")
    ).memory.inference.onnxruntime
    assert both is not None
    assert both.base_bytes < both.distinct.base_bytes
    assert both.peak_bytes <= both.distinct.peak_bytes
