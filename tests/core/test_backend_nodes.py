"""The node tests of the onnx package: what they compute, the analyzer must know the shape and dtype of.

Each is a model of one op, or of an op's function body, with inputs and real outputs. The declared shapes of the outputs are
dropped and small integer inputs become stored tensors, as exporters write axes and shapes; then every output's size
is compared with the real output, its value too where the analyzer claims to know it.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import onnx
import onnx.defs
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper
from onnx.backend.test.case.node import collect_testcases

from analyzer import AnalyzerError, Options, analyze
from analyzer.describe import describe
from analyzer.graph import Size
from analyzer.load import load

SMALL = 64

# Ops whose rule is not written yet. A name goes when its rule comes: the test fails while it is still here.
WITHOUT_RULE: set[str] = set()

# Ops of which only the data knows how large a result is.
DATA_DEPENDENT: set[str] = set()

Case = Any


@cache
def cases() -> dict[str, list[Case]]:
    """Every case by the op that it is about; an expanded function's is that of the test it was expanded from."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        collected = collect_testcases(None)
    about: dict[str, str] = {}
    for case in collected:
        if "_expanded" not in case.name:
            about[case.name] = case.model.graph.node[0].op_type if len(case.model.graph.node) == 1 else "several"
    found: dict[str, list[Case]] = {}
    for case in collected:
        base = case.name.partition("_expanded")[0]
        found.setdefault(about.get(base, "several"), []).append(case)
    return found


def settled(case: Case) -> ModelProto:
    """The model without its outputs' shapes, its small integer inputs stored."""
    model = ModelProto.FromString(case.model.SerializeToString())
    for value in model.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    inputs, _ = case.data_sets[0]
    for declared, given in zip(list(model.graph.input), inputs, strict=False):
        if isinstance(given, TensorProto):
            given = numpy_helper.to_array(given)
        if isinstance(given, (np.ndarray, np.generic)) and is_setting(np.asarray(given)):
            tensor = numpy_helper.from_array(np.asarray(given), declared.name)
            model.graph.initializer.append(tensor)
            model.graph.input.remove(declared)
    return model


def is_setting(given: np.ndarray[Any, Any]) -> bool:
    return given.dtype.kind in "iu" and given.ndim <= 1 and given.size <= SMALL


def verdict(case: Case) -> Iterator[str]:
    """What is wrong about one case; a missing rule is told as such."""
    data = settled(case).SerializeToString()
    try:
        report = analyze(data)
        scene = describe(load(data), Options())
    except AnalyzerError as error:
        yield f"refused: {error.reason}: {error}"
        return
    missing = sorted({w.message.split()[3] for w in report.warnings if w.reason == "NO_RULE"})
    if missing:
        yield f"no rule: {' '.join(missing)}"
        return
    for value, real in zip(case.model.graph.output, case.data_sets[0][1], strict=True):
        if isinstance(real, TensorProto):
            real = numpy_helper.to_array(real)
        if not isinstance(real, (np.ndarray, np.generic)):
            continue
        yield from compared(value.name, scene.size(value.name), np.asarray(real))


def compared(name: str, size: Size | None, real: np.ndarray[Any, Any]) -> Iterator[str]:
    dtype = "string" if real.dtype.kind in "OUS" else real.dtype.name
    if size is None:
        yield f"unknown: {name}"
        return
    if size.dtype.name != dtype:
        yield f"wrong: {name} is {size.dtype.name}, really {dtype}"
    if size.exact and size.shape != real.shape:
        yield f"wrong: {name} is {size.shape}, really {real.shape}"
    elif not size.exact:
        bounded = len(size.shape) == real.ndim and all(map(int.__ge__, size.shape, real.shape))
        yield f"bound: {name}" if bounded else f"wrong: {name} is at most {size.shape}, really {real.shape}"
    elif size.value is not None and size.value_exact and real.dtype.kind in "iubf":
        if size.value.shape != real.shape or not np.allclose(size.value.astype(real.dtype), real, rtol=1e-5, equal_nan=True):
            yield f"wrong: the value of {name}"
