"""Tensors out of nothing: constants, fills, ranges, unit matrices.

elementwise: 0 for what is only written, one per element for a range.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from analyzer.graph import DTYPES, FLOAT32, INT64, STRING, VALUE_LIMIT, DType, Size, Value
from analyzer.ops.rule import Facts, Setting, refuse, rule
from analyzer.spans import NOTHING


@rule("Constant", until=10)
def constant_tensor(*, value: Size) -> Facts:
    """A stored tensor among the nodes."""
    return Facts(Size(value.shape, value.dtype, value.value), spans=NOTHING)


@rule("Constant", since=11)
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
    """A stored tensor among the nodes, in one of several spellings."""
    stored = value or sparse_value
    if stored is not None:
        return constant_tensor(value=stored)
    choices: tuple[tuple[Any, DType], ...] = (
        (value_float, FLOAT32), (value_floats, FLOAT32), (value_int, INT64), (value_ints, INT64),
        (value_string, STRING), (value_strings, STRING),
    )  # fmt: skip
    for given, dtype in choices:
        if given is not None:
            array = np.array(given, dtype.numpy)
            return Facts(
                Size(array.shape, dtype, array if array.size <= VALUE_LIMIT else None), spans=NOTHING
            )
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
    exact = shape.value_exact
    if dtype.is_float or math.prod(dims) > VALUE_LIMIT:  # no shape is made of a fill of floats
        return Facts(Size(dims, dtype, exact=exact), spans=NOTHING)
    number = np.zeros((), dtype.numpy) if value is None or value.value is None else value.value.reshape(())
    return Facts(Size(dims, dtype, np.broadcast_to(number, dims), exact, exact), spans=NOTHING)


@rule("Range", since=11)
def range_(start: Setting, limit: Setting, delta: Setting, *, stash_type: int = 1) -> Facts:
    """Numbers from `start` up to `limit`."""
    if start.value is None or limit.value is None or delta.value is None:
        return Facts(None)
    first, last, step = (x.value.reshape(-1)[0] for x in (start, limit, delta) if x.value is not None)
    if not step:
        raise refuse("RANGE_DELTA", "delta is 0")
    if start.dtype.is_float:
        count = max(math.ceil(float(last - first) / float(step)), 0)
    else:
        count = max(-((int(first) - int(last)) // int(step)), 0)
    exact = start.value_exact and limit.value_exact and delta.value_exact
    half = start.dtype.is_float and (start.dtype.bits or 0) < 32  # what it is added up in, runtimes choose
    value = None if half or count > VALUE_LIMIT else _counted(first, step, count)
    return Facts(Size((count,), start.dtype, value, exact, exact), elementwise=count, spans=NOTHING)


def _counted(first: Any, step: Any, count: int) -> Value:
    """Each number is the one before and `step`, rounded as runtimes round it."""
    terms = np.full(count, step, first.dtype)
    terms[:1] = first
    return np.add.accumulate(terms, dtype=first.dtype)


@rule("EyeLike", since=9)
def eye_like(x: Size, *, dtype: int | None = None, k: int = 0) -> Facts:
    """Ones on the k-th diagonal of a matrix as large as x, zeros elsewhere."""
    if len(x.shape) != 2:
        raise refuse("RANK", f"{x.shape} is no matrix")
    if dtype is not None and dtype not in DTYPES:
        raise refuse("UNKNOWN_DTYPE", f"element type {dtype} does not exist", attribute="dtype")
    kind = x.dtype if dtype is None else DTYPES[dtype]
    small = x.count <= VALUE_LIMIT and not kind.is_float
    value = np.eye(*x.shape, k, kind.numpy) if small else None
    return Facts(Size(x.shape, kind, value, x.exact, x.exact), spans=NOTHING)
