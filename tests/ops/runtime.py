"""A model of one node, as onnxruntime runs it and as the analyzer describes it.

Operands are numpy arrays; None leaves an optional one out. Small vectors of integers and booleans are stored in the
model, as exporters store shapes and axes, everything else is fed. With `stored=True` all is stored, so that values can
be known; operands at the places `fed` are fed, so that the data decides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, ValueInfoProto, helper, numpy_helper

from analyzer.describe import Missing, Scene, describe
from analyzer.errors import BadModel
from analyzer.graph import Size
from analyzer.load import load
from analyzer.ops.rule import Facts
from analyzer.options import Options

Array = NDArray[Any]
Operand = Array | np.generic | float | None
SMALL = 64


def model_of(
    op_type: str,
    *operands: Operand,
    opset: int = 18,
    results: int = 1,
    domain: str = "",
    domain_version: int = 1,
    stored: bool = False,
    fed: tuple[int, ...] = (),
    **attributes: Any,
) -> tuple[ModelProto, dict[str, Array]]:
    """The model, and what is to be fed to it."""
    names, inputs, constants, feeds = [], [], [], {}
    for index, operand in enumerate(operands):
        name = "" if operand is None else f"x{index}"
        names.append(name)
        if operand is None:
            continue
        array = np.asarray(operand)
        small = array.dtype.kind in "iub" and array.ndim <= 1 and array.size <= SMALL
        if (stored or small) and index not in fed:
            constants.append(numpy_helper.from_array(array, name))
        else:
            kind = "STRING" if array.dtype.kind in "OU" else None
            code = 8 if kind else helper.np_dtype_to_tensor_dtype(array.dtype)
            inputs.append(helper.make_tensor_value_info(name, code, array.shape))
            feeds[name] = array
    outputs = [f"y{index}" for index in range(results)]
    node = helper.make_node(op_type, names, outputs, "node", domain=domain, **attributes)
    graph = helper.make_graph(
        [node], "one", inputs, [ValueInfoProto(name=name) for name in outputs], constants
    )
    imports = [helper.make_opsetid("", opset)]
    if domain:
        imports.append(helper.make_opsetid(domain, domain_version))
    return helper.make_model(graph, opset_imports=imports, ir_version=10), feeds


def run(model: ModelProto, feeds: dict[str, Array]) -> list[Any]:
    """What onnxruntime makes of it, optimising nothing."""
    runtime: Any = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    results: list[Any] = session.run(None, feeds)
    return results


def scene_of(model: ModelProto) -> Scene:
    """What we say of it."""
    return describe(load(model.SerializeToString()), Options())


def facts_of(op_type: str, *operands: Operand, **options: Any) -> Facts:
    """What the node's rule says."""
    facts = scene_of(model_of(op_type, *operands, **options)[0]).facts[0]
    assert not isinstance(facts, Missing), facts.message
    return facts


def check(op_type: str, *operands: Operand, exact: bool = True, **options: Any) -> list[Size]:
    """Every output as described is as onnxruntime makes it: shape, dtype, and the value where one is claimed.

    With `exact=False` shapes are upper bounds, and say so.
    """
    model, feeds = model_of(op_type, *operands, **options)
    scene, sizes = scene_of(model), []
    for index, real in enumerate(run(model, feeds)):
        size = scene.size(f"y{index}")
        assert size is not None, f"output {index} has no size"
        assert size.exact == exact
        _same(size, np.asarray(real), index)
        sizes.append(size)
    return sizes


def _same(size: Size, real: Array, index: int) -> None:
    dtype = "string" if real.dtype.kind in "OU" else real.dtype.name
    assert size.dtype.name == dtype, f"output {index}"
    if not size.exact:
        assert size.rank == real.ndim
        assert all(most >= dim for most, dim in zip(size.shape, real.shape, strict=True)), (
            size.shape,
            real.shape,
        )
        return
    assert size.shape == real.shape, f"output {index}"
    if size.value is None:
        return
    assert size.value.shape == real.shape
    assert size.value.dtype == size.dtype.numpy
    if real.dtype.kind in "fc":
        np.testing.assert_allclose(size.value, real, rtol=1e-6, atol=1e-7)
    else:
        np.testing.assert_array_equal(size.value, real)


def check_known(op_type: str, *operands: Operand, **options: Any) -> list[Size]:
    """The same with every operand stored: then the value of the first output must be known."""
    sizes = check(op_type, *operands, stored=True, **options)
    assert sizes[0].value is not None, "the value is not known"
    return sizes


def check_named(reason: str, op_type: str, *operands: Operand, **options: Any) -> None:
    """We name the fault, whoever else does."""
    with pytest.raises(BadModel) as refusal:
        scene_of(model_of(op_type, *operands, **options)[0])
    assert refusal.value.reason == reason


def check_refused(reason: str, op_type: str, *operands: Operand, **options: Any) -> None:
    """We name the fault, and onnxruntime does not run the model either."""
    check_named(reason, op_type, *operands, **options)
    model, feeds = model_of(op_type, *operands, **options)
    with pytest.raises(Exception, match=r"."):  # its errors share no base
        run(model, feeds)


def floats(*shape: int) -> Array:
    """As many numbers as the shape has places: each tells where it came from."""
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def ints(*numbers: int) -> Array:
    """A vector, as exporters store shapes and axes."""
    return np.array(numbers, np.int64)
