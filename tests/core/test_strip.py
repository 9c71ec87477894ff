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
    beside them a small constant and a vocabulary.
    """
    model = onnx.ModelProto.FromString(
        text_model("""
        <ir_version: 10, opset_import: ["" : 21, "own" : 1]>
        g (float[1, 64] x, bool yes) => (y, z)
        {
            c = Constant <value = float[1] {0.0}> ()
            a = MatMul(x, raw)
            b = MatMul(a, typed)
            d = Add(b, c)
            e = If (yes) <
                then_branch = yes () => (p) { k = Constant <value = float[1] {0.0}> () p = Add(d, k) },
                else_branch = no () => (q) { q = Identity(d) }
            >
            z = own.f(e)
            y = Reshape(z, shape)
        }
        <domain: "own", opset_import: ["" : 21]>
        f (u) => (v) { w = Constant <value = float[1] {0.0}> () v = MatMul(u, w) }
    """)
    )
    secret = numpy_helper.from_array(SECRET.reshape(64, 64), "raw")
    row = numpy_helper.from_array(SECRET[:64].repeat(2)[:128].reshape(2, 64)[:1].repeat(3, axis=0), "row")
    typed = TensorProto(name="typed", dims=[64, 64], data_type=TensorProto.FLOAT, float_data=SECRET)
    ids = numpy_helper.from_array(np.arange(4096, dtype=np.int64), "ids")
    values = numpy_helper.from_array(SECRET, "sparse")
    model.graph.initializer.extend((secret, typed))
    model.graph.initializer.append(numpy_helper.from_array(np.array([8, 8], np.int64), "shape"))
    words = np.array([f"word {index}" for index in range(300)], object)
    model.graph.initializer.append(numpy_helper.from_array(words, "words"))
    model.graph.sparse_initializer.add(values=values, indices=ids, dims=[9999])
    model.graph.node[0].attribute[0].t.CopyFrom(numpy_helper.from_array(SECRET[:64].repeat(64).reshape(64, 64)[:, :64]))
    model.graph.node[4].attribute[0].g.node[0].attribute[0].t.CopyFrom(row)
    model.functions[0].node[0].attribute[0].t.CopyFrom(secret)
    model.training_info.add(initialization=helper.make_graph([], "t", [], [], [secret]))
    return model
