"""A stored tensor: its size, its numbers where they are few, and what of the file was not needed for that."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from analyzer.errors import BadModel
from analyzer.graph import DTYPES, DType, Size, Value
from analyzer.load.strip import forget, is_small

_EXTERNAL = onnx.TensorProto.EXTERNAL
_TYPED = {1: "float_data", 6: "int32_data", 7: "int64_data", 9: "int32_data", 11: "double_data"}
"""Element types whose typed field holds one number per element."""


def is_whole(proto: onnx.TensorProto) -> bool:
    """Whether all of its numbers are here, and none of them is to be forgotten."""
    dtype = DTYPES.get(proto.data_type)
    return dtype is not None and proto.data_location != _EXTERNAL and is_small(dtype, math.prod(proto.dims))


def size_of(proto: onnx.TensorProto) -> Size:
    """A stored tensor: its size, and its value where that is small and present. Clears the data of a large one."""
    dtype = DTYPES.get(proto.data_type)
    if dtype is None:
        raise BadModel(
            "UNKNOWN_DTYPE",
            f"tensor {proto.name!r} has unknown element type {proto.data_type}",
            tensor=proto.name,
        )
    shape = tuple(proto.dims[:])
    count = math.prod(shape)
    if shape and min(shape) < 0:
        raise _negative(proto.name, shape)
    if proto.data_location == _EXTERNAL:
        _check_external(proto, dtype, count)
        forget(proto)
        return Size(shape, dtype)
    if not is_small(dtype, count):
        forget(proto)
        return Size(shape, dtype)
    return Size(
        shape, dtype, _value(proto, dtype.numpy, shape, count) if count else _nothing(shape, dtype.numpy)
    )


def _check_external(proto: onnx.TensorProto, dtype: DType, count: int) -> None:
    """Raises BadModel (EXTERNAL_DATA_LENGTH) where less data is said to lie outside of the file than the dims need."""
    for entry in reversed(proto.external_data):  # of two the last one counts, and exporters write it last
        if entry.key == "length":
            told, needed = str(entry.value), (count * (dtype.bits or 0) + 7) // 8
            if not told.isdecimal() or (len(told) <= 20 and int(told) < needed):
                raise BadModel(
                    "EXTERNAL_DATA_LENGTH",
                    f"tensor {proto.name!r} of shape {tuple(proto.dims)} needs {needed} bytes, "
                    f"but {told!r} are said to lie in its external file",
                    tensor=proto.name,
                )
            return


def _nothing(shape: tuple[int, ...], dtype: np.dtype[Any]) -> Value | None:
    """An array without elements; None where its other axes are longer than numpy allows."""
    try:
        return np.zeros(shape, dtype)
    except ValueError:
        return None


def _value(proto: onnx.TensorProto, dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> Value | None:
    raw = proto.raw_data
    field = _TYPED.get(proto.data_type)
    if not raw and field is not None:
        numbers = list(getattr(proto, field))
        if len(numbers) == count:
            return np.array(numbers, dtype).reshape(shape)
        if not numbers:
            return None  # they were cut out
        raise BadModel(
            "TENSOR_DATA_LENGTH",
            f"tensor {proto.name!r} of shape {shape} needs {count} numbers but holds {len(numbers)}",
            tensor=proto.name,
        )
    if (
        not raw or dtype.hasobject or proto.data_type > onnx.TensorProto.BFLOAT16
    ):  # packed and small types, strings, complex numbers
        try:
            return numpy_helper.to_array(proto)
        except (ValueError, TypeError):
            return None
    if len(raw) != count * dtype.itemsize:
        raise BadModel(
            "TENSOR_DATA_LENGTH",
            f"tensor {proto.name!r} of shape {shape} needs {count * dtype.itemsize} bytes but holds {len(raw)}",
            tensor=proto.name,
        )
    return np.frombuffer(raw, dtype).reshape(shape)


def sparse_size_of(proto: onnx.SparseTensorProto) -> Size:
    """A sparse tensor as the dense one it stands for."""
    dtype = DTYPES.get(proto.values.data_type)
    if dtype is None:
        raise BadModel(
            "UNKNOWN_DTYPE",
            f"sparse tensor {proto.values.name!r} has unknown element type",
            tensor=proto.values.name,
        )
    shape = tuple(proto.dims)
    if shape and min(shape) < 0:
        raise _negative(proto.values.name, shape)
    for part in (proto.values, proto.indices):
        kind, count = DTYPES.get(part.data_type, dtype), math.prod(part.dims)
        if part.data_location == _EXTERNAL:
            _check_external(part, kind, count)
            forget(part)
        elif not is_small(kind, count):
            forget(part)
    return Size(shape, dtype)


def _negative(name: str, shape: tuple[int, ...]) -> BadModel:
    return BadModel("NEGATIVE_DIM", f"stored tensor {name!r} has a negative dimension: {shape}", tensor=name)
