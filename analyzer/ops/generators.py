"""Tensors out of nothing: constants, fills, ranges, casts of them. elementwise is 0 for a constant, one per element for a range."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analyzer.graph import DTYPES, FLOAT32, INT64, STRING, VALUE_LIMIT, DType, Size
from analyzer.ops.rule import Facts, Setting, known, refuse, rule
from analyzer.spans import NOTHING, POINTWISE


@rule("Constant")
def constant(
    *,
    value: Size | None = None,
    sparse_value: Size | None = None,
    value_float: float | None = None,
    value_floats: tuple[float, ...] | None = None,
    value_int: int | None = None,
    value_ints: tuple[int, ...] | None = None,
    value_string: str | None = None,
    value_strings: tuple[str, ...] | None = None,
) -> Facts:
    """A stored tensor among the nodes."""
    stored = value or sparse_value
    if stored is not None:
        return Facts(Size(stored.shape, stored.dtype, stored.value), spans=NOTHING)
    choices: tuple[tuple[Any, DType], ...] = (
        (value_float, FLOAT32), (value_floats, FLOAT32), (value_int, INT64), (value_ints, INT64), (value_string, STRING), (value_strings, STRING),
    )  # fmt: skip
    for given, dtype in choices:
        if given is not None:
            array = np.array(given, dtype.numpy)
            return Facts(Size(array.shape, dtype, array), spans=NOTHING)
    raise refuse("MISSING_ATTRIBUTE", "a Constant needs a value", attribute="value")


@rule("ConstantOfShape", since=9)
def constant_of_shape(shape: Setting, *, value: Size | None = None) -> Facts:
    """One number everywhere, a float zero where nothing is said."""
    if shape.value is None:
        return Facts(None)
    dims = shape.ints()
    if min(dims, default=0) < 0:
        raise refuse("NEGATIVE_DIM", f"shape {dims} has a negative dimension")
    dtype = FLOAT32 if value is None else value.dtype
    number = np.zeros((), dtype.numpy) if value is None or value.value is None else value.value.reshape(())
    small = math.prod(dims) <= VALUE_LIMIT
    return Facts(Size(dims, dtype, np.broadcast_to(number, dims) if small else None), spans=NOTHING)


@rule("Range", since=11)
def range_(start: Setting, limit: Setting, delta: Setting) -> Facts:
    """Numbers from `start` up to `limit`."""
    if start.value is None or limit.value is None or delta.value is None:
        return Facts(None)
    first, last, step = (float(x.value.reshape(-1)[0]) for x in (start, limit, delta))  # type: ignore[union-attr]
    if step == 0:
        raise refuse("RANGE_DELTA", "delta is 0")
    count = max(math.ceil((last - first) / step), 0)
    value = known(count, lambda a, _, d: (a.reshape(-1)[0] + np.arange(count) * d.reshape(-1)[0]).astype(start.dtype.numpy), start, limit, delta)
    return Facts(Size((count,), start.dtype, value), elementwise=count, spans=NOTHING)


@rule("Cast")
def cast(x: Size, *, to: int, saturate: int = 1, round_mode: str = "up") -> Facts:
    """Another element type; values ride along."""
    return _cast(x, DTYPES.get(to), to)


@rule("CastLike", since=15)
def cast_like(x: Size, like: Setting, *, saturate: int = 1, round_mode: str = "up") -> Facts:
    """The element type of another tensor."""
    return _cast(x, like.dtype, like.dtype.code)


def _cast(x: Size, dtype: DType | None, code: int) -> Facts:
    if dtype is None:
        raise refuse("UNKNOWN_DTYPE", f"element type {code} does not exist", attribute="to")
    value = None if dtype is STRING or x.dtype is STRING else known(x.count, lambda v: v.astype(dtype.numpy), x)
    y = Size(x.shape, dtype, value)
    return Facts(y, elementwise=y.count, spans=(POINTWISE, NOTHING), inplace=(x,) if dtype.bits == x.dtype.bits else ())
