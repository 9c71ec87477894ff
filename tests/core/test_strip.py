"""A model without its weights: the same report, the same digest, a file that other tools can open, and nothing of the
weights in it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from analyzer import BadModel, Options, analyze
from analyzer.load import load, strip, structure_of_chunks
from analyzer.load.strip import LOCATION
from tests.conftest import LIGHT_MODELS, SHIPPED_MODELS, ZOO, light, shipped, text_model

MODELS = [*map(shipped, SHIPPED_MODELS), *map(light, LIGHT_MODELS), *sorted(ZOO.glob("*.onnx"))]


@pytest.mark.parametrize("path", MODELS, ids=lambda path: path.stem)
def test_the_report_of_a_stripped_copy_is_the_models(path: Path) -> None:
    """Told the same name and file size, `==`; stripped again it stays as it is."""
    thin, size = strip(path), path.stat().st_size
    lenient = Options(lenient=True)  # some need their dimensions bound
    assert analyze(thin, lenient, name=path.stem, file_bytes=size) == analyze(path, lenient)
    assert strip(thin) == thin


# ---- a small model that stores its weights in every way

SECRET = np.frombuffer(b"the weights stay" * 1024, np.float32)


def thick() -> onnx.ModelProto:
    """Weights in initializers, raw, typed and sparse, in a Constant, a branch, a function and what is left of training;
    beside them a shape and a vocabulary.
    """
    model = onnx.ModelProto.FromString(
        text_model("""
        <ir_version: 10, opset_import: ["" : 21, "own" : 1]>
        g (float[1, 64] x, bool yes) => (float[8, 8] y)
        {
            c = Constant <value = float[1] {0.0}> ()
            a = MatMul(x, raw)
            b = MatMul(a, typed)
            d = MatMul(b, c)
            e = If (yes) <
                then_branch = one () => (p) { k = Constant <value = float[1] {0.0}> () p = MatMul(d, k) },
                else_branch = two () => (q) { q = Identity(d) }
            >
            f = own.f(e)
            y = Reshape(f, shape)
        }
        <domain: "own", opset_import: ["" : 21]>
        f (u) => (v) { w = Constant <value = float[1] {0.0}> () v = MatMul(u, w) }
    """)
    )
    weight = numpy_helper.from_array(SECRET.reshape(64, 64), "raw")
    initializers = model.graph.initializer
    initializers.append(weight)
    initializers.add(name="typed", dims=[64, 64], data_type=TensorProto.FLOAT, float_data=SECRET)
    initializers.append(numpy_helper.from_array(np.array([8, 8], np.int64), "shape"))
    words = np.array([f"word {index}" for index in range(300)], object)
    initializers.append(numpy_helper.from_array(words, "words"))
    branch = model.graph.node[4].attribute[0].g
    for node in (model.graph.node[0], branch.node[0], model.functions[0].node[0]):
        node.attribute[0].t.CopyFrom(weight)
    where = numpy_helper.from_array(np.arange(4096, dtype=np.int64), "where")
    model.graph.sparse_initializer.add(
        values=numpy_helper.from_array(SECRET, "sparse"), indices=where, dims=[9999]
    )
    model.training_info.add(initialization=helper.make_graph([], "t", [], [], [weight]))
    return model


def test_nothing_of_the_weights_is_left() -> None:
    """However they were stored; shapes and words stay."""
    thin = strip(thick().SerializeToString())
    assert b"the weights stay" not in thin
    assert b"word 299" in thin
    assert len(thin) < 8_000
    shape = load(thin).graph.initializers["shape"].size
    assert shape is not None
    assert shape.ints() == (8, 8)


def test_other_tools_open_a_stripped_copy(tmp_path: Path) -> None:
    """onnx reads it as it is; its checker and onnxruntime do once a file of the size that it tells lies beside it."""
    runtime = pytest.importorskip("onnxruntime")
    model = thick()
    del model.graph.sparse_initializer[:]  # of which onnxruntime wants the data
    path = tmp_path / "thin.onnx"
    path.write_bytes(strip(model.SerializeToString()))
    read = onnx.load(path, load_external_data=False)
    assert [tensor.name for tensor in read.graph.initializer] == ["raw", "typed", "shape", "words"]
    hollow(tmp_path / LOCATION, read)
    onnx.checker.check_model(path, full_check=True)
    feed = {"x": np.ones((1, 64), np.float32), "yes": np.array(True)}
    (y,) = runtime.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, feed)
    assert y.shape == (8, 8)
    assert not y.any()


def hollow(path: Path, model: onnx.ModelProto) -> None:
    """A file of nothing as long as the model's weights say."""
    entries = [
        {entry.key: entry.value for entry in tensor.external_data} for tensor in model.graph.initializer
    ]
    with path.open("wb") as file:
        file.truncate(10 * 4 * 4096)
    assert max(int(told["offset"]) + int(told["length"]) for told in entries if told) <= 10 * 4 * 4096


# ---- one digest


@pytest.mark.parametrize(
    "path", [shipped("lenet5"), *map(light, ("squeezenet", "resnet50"))], ids=lambda path: path.stem
)
def test_a_shipped_model_has_one_digest(path: Path) -> None:
    """By path, by bytes, by chunks, and stripped."""
    data = path.read_bytes()
    digest = load(path).structure_sha256
    pieces = [data[start : start + 1000] for start in range(0, len(data), 1000)]
    for other in (data, strip(path), structure_of_chunks(pieces)):
        assert load(other).structure_sha256 == digest


@pytest.mark.parametrize("threshold", [1024, 4096])
def test_a_model_keeps_its_digest_when_its_weights_move_out(tmp_path: Path, threshold: int) -> None:
    """As onnx moves them: by default all of 991 bytes and more, for it counts the head of a Python object too."""
    model = thick()
    sizes = {np.int64: (123, 124, 128), np.bool_: (990, 991, 1023, 1024), np.complex128: (61, 62, 64)}
    for kind, counts in sizes.items():
        for count in counts:
            values: np.ndarray[Any, Any] = np.ones(count, kind)
            model.graph.initializer.append(numpy_helper.from_array(values, f"{kind.__name__}{count}"))
    data = model.SerializeToString()
    path = tmp_path / "model.onnx"
    onnx.save_model(model, path, save_as_external_data=True, size_threshold=threshold)
    assert path.stat().st_size < len(data)
    assert load(path).structure_sha256 == load(data).structure_sha256 == load(strip(path)).structure_sha256
    assert analyze(path, file_bytes=len(data)) == analyze(data, name="model")


def test_where_data_lies_is_no_part_of_the_digest() -> None:
    """Nor is it that the file says in so many words that its data is inside, nor that it is in two places."""
    model = thick()
    digest = load(model.SerializeToString()).structure_sha256
    weight = model.graph.initializer[0]
    weight.data_location = TensorProto.DEFAULT
    assert load(model.SerializeToString()).structure_sha256 == digest
    weight.data_location = TensorProto.EXTERNAL
    weight.external_data.add(key="location", value="elsewhere.bin")
    assert load(model.SerializeToString()).structure_sha256 == digest
    assert b"the weights stay" not in strip(model.SerializeToString())


# ---- external data


def outside(length: str | None, dims: tuple[int, ...], dtype: int, location: str = "gone.bin") -> bytes:
    """A model whose one weight is said to lie in another file."""
    model = onnx.ModelProto.FromString(text_model("g (float[2] x) => (y) { y = Relu(x) }"))
    weight = model.graph.initializer.add(name="w", dims=dims, data_type=dtype)
    weight.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", "4096"), ("length", length)):
        if value is not None:
            weight.external_data.add(key=key, value=value)
    return model.SerializeToString()


LENGTHS: list[tuple[str | None, tuple[int, ...], int, bool]] = [
    (None, (1000, 10), TensorProto.FLOAT, True),  # it need not be said
    ("40000", (1000, 10), TensorProto.FLOAT, True),
    ("40064", (1000, 10), TensorProto.FLOAT, True),  # padded
    ("39999", (1000, 10), TensorProto.FLOAT, False),
    ("0", (1000, 10), TensorProto.FLOAT, False),
    ("0", (1000, 0), TensorProto.FLOAT, True),
    ("-1", (0,), TensorProto.FLOAT, False),
    ("many", (1,), TensorProto.FLOAT, False),
    ("", (1,), TensorProto.FLOAT, False),
    ("2", (3,), TensorProto.INT4, True),  # three halves of a byte
    ("1", (3,), TensorProto.INT4, False),
    ("9" * 5000, (1,), TensorProto.FLOAT, True),
    ("1" + "0" * 12, (10**6, 10**6), TensorProto.FLOAT, False),
]


@pytest.mark.parametrize(("length", "dims", "dtype", "enough"), LENGTHS)
def test_the_declared_length_of_external_data_suffices_for_the_shape(
    length: str | None, dims: tuple[int, ...], dtype: int, enough: bool
) -> None:
    """Or the model is refused, with the tensor's name."""
    data = outside(length, dims, dtype)
    if enough:
        assert load(data).graph.initializers["w"].size is not None
        return
    with pytest.raises(BadModel) as caught:
        load(data)
    assert (caught.value.reason, caught.value.facts["tensor"]) == ("EXTERNAL_DATA_LENGTH", "w")


@pytest.mark.parametrize("location", ["pipe", "../pipe", "/dev/zero", "\0", "http://example.com/w"])
@pytest.mark.parametrize("read", [load, strip, analyze])
def test_external_data_is_never_opened(tmp_path: Path, read: Callable[[Path], Any], location: str) -> None:
    """Whoever opened the pipe would wait for ever."""
    for folder in (tmp_path, tmp_path / "below"):
        folder.mkdir(exist_ok=True)
        os.mkfifo(folder / "pipe")
    path = tmp_path / "below" / "model.onnx"
    path.write_bytes(outside("40000", (1000, 10), TensorProto.FLOAT, location))
    read(path)
