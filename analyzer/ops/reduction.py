"""Reductions over axes. elementwise: one step per element read, and one more per element where each is transformed.

A determinant is that of elimination: n(n-1)/2 divisions, a multiply and a subtract for each element of each smaller
square, and n-1 multiplications along the diagonal.

Autograd keeps the input where the gradient depends on it (a mean or a sum needs only the shape).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analyzer.graph import INT32, INT64, Size, Value
from analyzer.ops.rule import Facts, Setting, axis_of, known, refuse, rule
from analyzer.spans import NOTHING, POINTWISE, WHOLE, Routes, reduced, straight

Ints = tuple[int, ...]
Keeps = Callable[[Size, Size], tuple[Size, ...]]
EXACT_LIMIT = 2**53
"""Up to here doubles, in which runtimes add integers up, count every one."""


def reduction(
    op_type: str, steps: int, keeps: Keeps, since: int, value: Callable[..., Any] | None = None
) -> None:
    """Register both forms of one reduction: axes as an attribute below opset `since`, as an operand from it on."""

    @rule(op_type, until=since - 1)
    def by_attribute(x: Size, *, axes: Ints | None = None, keepdims: int = 1) -> Facts:
        """Axes as an attribute; none means all."""
        return _reduce(x, axes, keepdims, steps, keeps, value)

    @rule(op_type, since=since)
    def by_operand(
        x: Size, axes: Setting | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0
    ) -> Facts:
        """Axes as an operand; none, or an empty one, means all unless `noop_with_empty_axes`."""
        if axes is not None and axes.value is None:
            return Facts(None)
        named = axes.ints() if axes is not None and axes.count else None
        if named is None and noop_with_empty_axes:
            y = Size(x.shape, x.dtype, None if value is None else x.value)
            return Facts(y, elementwise=(steps - 1) * x.count, spans=(POINTWISE, NOTHING))
        return _reduce(x, named, keepdims, steps, keeps, value)


def _reduce(
    x: Size, axes: Ints | None, keepdims: int, steps: int, keeps: Keeps, value: Callable[..., Any] | None
) -> Facts:
    rank = len(x.shape)
    gone = tuple(range(rank)) if not axes else tuple({axis_of(axis, rank): None for axis in axes})
    shape = tuple(
        1 if axis in gone else dim for axis, dim in enumerate(x.shape) if keepdims or axis not in gone
    )
    number = None
    if value is not None and x.value is not None and (x.count or value in _OF_NOTHING):
        number = known(math.prod(shape), value, x, axis=gone, keepdims=bool(keepdims))
        number = None if number is None else _fitting(number, x)
    y = Size(shape, x.dtype, number)
    spans = (reduced(rank, gone, bool(keepdims)), NOTHING)
    return Facts(y, elementwise=steps * x.count, spans=spans, saved=keeps(x, y))


def _fitting(number: Value, x: Size) -> Value | None:
    """The number in the type of x; None where runtimes, adding up in doubles, would lose digits, or overflow."""
    if not x.dtype.is_float and number.dtype.kind == "f":
        limits = np.iinfo(x.dtype.numpy)
        low, high = max(limits.min, -EXACT_LIMIT + 1), min(limits.max, EXACT_LIMIT - 1)
        if not ((number >= low) & (number <= high)).all():
            return None
    return number.astype(x.dtype.numpy, copy=False)


def _wide(x: Value) -> Value:
    return x if x.dtype.kind == "f" else x.astype(np.float64)


def _sum(x: Value, **over: Any) -> Any:
    return np.sum(_wide(x), **over)


def _product(x: Value, **over: Any) -> Any:
    return np.prod(_wide(x), **over)


def _mean(x: Value, **over: Any) -> Any:
    """Integers are cut off toward zero, and a mean of nothing is zero."""
    total = np.sum(_wide(x), **over)
    count = x.size // max(total.size, 1)
    mean = total / max(count, 1)
    return mean if x.dtype.kind == "f" else np.trunc(mean)


def _nothing(x: Size, y: Size) -> tuple[Size, ...]:
    return ()


def _input(x: Size, y: Size) -> tuple[Size, ...]:
    return (x,)


def _both(x: Size, y: Size) -> tuple[Size, ...]:
    return (x, y)


_OF_NOTHING = (_sum, _product, _mean)
"""What is known even of no element."""

reduction("ReduceSum", 1, _nothing, 13, _sum)
reduction("ReduceMean", 1, _nothing, 18, _mean)
reduction("ReduceMax", 1, _both, 18, np.max)
reduction("ReduceMin", 1, _both, 18, np.min)
reduction("ReduceProd", 1, _both, 18, _product)
reduction("ReduceL1", 2, _input, 18)
reduction("ReduceL2", 2, _both, 18)
reduction("ReduceSumSquare", 2, _input, 18)
reduction("ReduceLogSum", 1, _both, 18)
reduction("ReduceLogSumExp", 2, _both, 18)


def arg_extreme(op_type: str, pick: Callable[..., Any]) -> None:
    """Register the place of one extreme along an axis: the first of equals, unless `select_last_index`."""

    @rule(op_type)
    def function(x: Size, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Facts:
        axis = axis_of(axis, len(x.shape))
        shape = (*x.shape[:axis], *((1,) if keepdims else ()), *x.shape[axis + 1 :])
        number = None
        if x.value is not None and x.value_exact and x.count:
            last = x.shape[axis] - 1
            found = last - pick(np.flip(x.value, axis), axis) if select_last_index else pick(x.value, axis)
            number = np.asarray(found, np.int64).reshape(shape)
        y = Size(shape, INT64, number)
        return Facts(y, elementwise=x.count, spans=reduced(len(x.shape), (axis,), bool(keepdims)))


arg_extreme("ArgMax", np.argmax)
arg_extreme("ArgMin", np.argmin)


@rule("Det", since=11)
def determinant(x: Size) -> Facts:
    """[..., n, n] -> [...]. Autograd keeps the factors, the row swaps and the result."""
    *batch, rows, columns = x.shape
    if rows != columns:
        raise refuse("NOT_SQUARE", f"matrices of {rows} by {columns} have no determinant")
    y = Size(tuple(batch), x.dtype)
    squares = (rows - 1) * rows * (2 * rows - 1) // 6
    steps = rows * (rows - 1) // 2 + 2 * squares + max(rows - 1, 0)
    routes: Routes = (*straight(len(batch)), WHOLE, WHOLE)
    kept = (Size(x.shape, x.dtype), Size((*batch, rows), INT32), y)
    return Facts(y, elementwise=math.prod(batch) * steps, spans=routes, saved=kept)
