"""Constants, fills and ranges: sizes and values are onnxruntime's."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from analyzer.graph import VALUE_LIMIT, Size
from tests.ops.runtime import check, check_known, check_refused, facts_of, floats, ints, scene_of

SPELLINGS: list[tuple[int, dict[str, Any]]] = [
    (7, {"value": helper.make_tensor("t", TensorProto.INT32, [2, 1], [3, 4])}),
    (11, {"value": helper.make_tensor("t", TensorProto.DOUBLE, [], [0.5])}),
    (13, {"value_int": 3}),
    (13, {"value_ints": [3, 4]}),
    (13, {"value_float": 0.25}),
    (13, {"value_floats": [0.25, 1]}),
    (13, {"value_string": "a"}),
    (13, {"value_strings": ["a", "b"]}),
]


@pytest.mark.parametrize(("opset", "attributes"), SPELLINGS)
def test_a_constant_has_its_value_in_every_spelling(opset: int, attributes: dict[str, Any]) -> None:
    """A lone number is a scalar, several are a vector."""
    check_known("Constant", opset=opset, **attributes)


def test_a_constant_may_be_sparse() -> None:
    """Its size is that of the dense tensor that it stands for."""
    values = helper.make_tensor("v", TensorProto.FLOAT, [2], [1, 2])
    places = helper.make_tensor("i", TensorProto.INT64, [2], [0, 4])
    sparse = helper.make_sparse_tensor(values, places, [2, 3])
    size = facts_of("Constant", opset=13, sparse_value=sparse).outputs
    assert isinstance(size, Size)
    assert (size.shape, size.dtype.name) == ((2, 3), "float32")


def test_a_constant_without_a_value_is_refused() -> None:
    """One of the spellings is needed."""
    check_refused("MISSING_ATTRIBUTE", "Constant", opset=9)
    check_refused("MISSING_ATTRIBUTE", "Constant", opset=13)


@pytest.mark.parametrize("shape", [(2, 3), (0, 4), ()])
def test_a_fill_is_as_large_as_it_is_told(shape: tuple[int, ...]) -> None:
    """A float zero where nothing is said; integers and booleans keep their value."""
    check("ConstantOfShape", ints(*shape), opset=9)
    for kind, number in ((TensorProto.INT64, 7), (TensorProto.BOOL, 1), (TensorProto.FLOAT, 0.5)):
        sizes = check("ConstantOfShape", ints(*shape), value=helper.make_tensor("t", kind, [1], [number]))
        assert (sizes[0].value is not None) == (kind != TensorProto.FLOAT)


def test_a_large_fill_has_a_size_only() -> None:
    """Values ride along as far as the limit."""
    one = helper.make_tensor("t", TensorProto.INT64, [1], [1])
    assert check("ConstantOfShape", ints(VALUE_LIMIT), value=one)[0].value is not None
    assert check("ConstantOfShape", ints(VALUE_LIMIT + 1), value=one)[0].value is None
    assert check("Range", np.int64(0), np.int64(VALUE_LIMIT + 1), np.int64(1))[0].value is None


RANGES = [
    (0, 5, 2, np.int64), (5, 0, -2, np.int64), (1, 0, 1, np.int64), (0, 10, 3, np.int32), (0, 5, 2, np.int16),
    (2**60, 2**60 + 3, 1, np.int64), (-7, 7, 4, np.int64), (3, 3, 1, np.int64), (0, -9, -4, np.int32),
    (0, 1, 0.1, np.float32), (0, 1, 0.1, np.float64), (0, 0.7, 0.1, np.float32), (1, 0, -0.3, np.float32),
    (0.5, 20, 1.1, np.float64), (0, 3, 7.5, np.float32),
]  # fmt: skip


@pytest.mark.parametrize(("start", "limit", "delta", "kind"), RANGES)
@pytest.mark.parametrize("opset", [11, 27])
def test_a_range_has_the_numbers_of_the_runtime(
    start: float, limit: float, delta: float, kind: Any, opset: int
) -> None:
    """How many, and each to the last digit: runtimes add up, rounding as they go."""
    (size,) = check_known("Range", kind(start), kind(limit), kind(delta), opset=opset)
    assert facts_of("Range", kind(start), kind(limit), kind(delta), stored=True).elementwise == size.count


def test_a_range_that_does_not_move_is_refused() -> None:
    """Delta 0 would never arrive."""
    check_refused("RANGE_DELTA", "Range", np.int64(0), np.int64(3), np.int64(0))


@pytest.mark.parametrize(
    ("dtype", "k"), [(None, 0), (TensorProto.INT64, 1), (TensorProto.INT32, -1), (TensorProto.DOUBLE, 9)]
)
def test_a_unit_matrix_is_as_large_as_another(dtype: int | None, k: int) -> None:
    """Of its type, or of one that is asked for; integers keep their value."""
    attributes = {"k": k} if dtype is None else {"k": k, "dtype": dtype}
    check("EyeLike", floats(2, 3), **attributes)  # type: ignore[arg-type]  # mypy spreads them over all keywords
    check_refused("RANK", "EyeLike", floats(2, 3, 1))


def test_a_fill_that_a_bound_shapes_is_a_bound() -> None:
    """What is sized by an upper bound is one: no fill is more certain than its shape."""
    nodes = [
        helper.make_node("NonZero", ["x"], ["places"]),
        helper.make_node("Shape", ["places"], ["shape"]),
        helper.make_node("ConstantOfShape", ["shape"], ["zeros"]),
        helper.make_node("RandomUniformLike", ["zeros"], ["noise"]),
        helper.make_node("EyeLike", ["zeros"], ["unit"]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, (3, 4))
    graph = helper.make_graph(
        nodes, "g", [x], [helper.make_tensor_value_info("unit", TensorProto.FLOAT, None)]
    )
    scene = scene_of(helper.make_model(graph))
    for name in ("places", "zeros", "noise", "unit"):
        size = scene.size(name)
        assert size is not None
        assert (size.shape, size.exact) == ((2, 12), False)
    shape = scene.size("shape")
    assert shape is not None
    assert (shape.exact, shape.value_exact) == (True, False)
