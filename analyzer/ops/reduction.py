"""Reductions over axes. elementwise: one step per element read, and one more per element where each is transformed first.

Autograd keeps the input where the gradient depends on it (a mean or a sum needs only the shape).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from analyzer.graph import INT64, Size
from analyzer.ops.rule import Facts, Setting, axis_of, known, rule
from analyzer.spans import NOTHING, POINTWISE, reduced

Ints = tuple[int, ...]
Keeps = Callable[[Size, Size], tuple[Size, ...]]


def reduction(op_type: str, steps: int, keeps: Keeps, value: Callable[..., Any] | None, since: int) -> None:
    """Register both forms of one reduction: axes as an attribute below opset `since`, as an operand from it on."""

    @rule(op_type, until=since - 1)
    def by_attribute(x: Size, *, axes: Ints | None = None, keepdims: int = 1) -> Facts:
        """Axes as an attribute; none means all."""
        return _reduce(x, axes, keepdims, steps, keeps, value)

    @rule(op_type, since=since)
    def by_operand(x: Size, axes: Setting | None = None, *, keepdims: int = 1, noop_with_empty_axes: int = 0) -> Facts:
        """Axes as an operand; none, or an empty one, means all unless `noop_with_empty_axes`."""
        if axes is not None and axes.value is None:
            return Facts(None)
        named = axes.ints() if axes is not None and axes.count else None
        if named is None and noop_with_empty_axes:
            y = Size(x.shape, x.dtype, x.value)
            return Facts(y, elementwise=(steps - 1) * x.count, spans=(POINTWISE, NOTHING))
        return _reduce(x, named, keepdims, steps, keeps, value)


def _reduce(x: Size, axes: Ints | None, keepdims: int, steps: int, keeps: Keeps, value: Callable[..., Any] | None) -> Facts:
    rank = len(x.shape)
    gone = tuple(range(rank)) if not axes else tuple({axis_of(axis, rank): None for axis in axes})
    shape = tuple(1 if axis in gone else dim for axis, dim in enumerate(x.shape) if keepdims or axis not in gone)
    number = None
    if value is not None and x.value is not None and x.count:
        reduce = value
        number = known(math.prod(shape), lambda v: reduce(v, axis=gone, keepdims=bool(keepdims)).astype(x.dtype.numpy), x)
    y = Size(shape, x.dtype, number)
    return Facts(y, elementwise=steps * x.count, spans=(reduced(rank, gone, bool(keepdims)), NOTHING), saved=keeps(x, y))


def _nothing(x: Size, y: Size) -> tuple[Size, ...]:
    return ()


def _input(x: Size, y: Size) -> tuple[Size, ...]:
    return (x,)


def _both(x: Size, y: Size) -> tuple[Size, ...]:
    return (x, y)


reduction("ReduceSum", 1, _nothing, np.sum, 13)
reduction("ReduceMean", 1, _nothing, np.mean, 18)
reduction("ReduceMax", 1, _both, np.max, 18)
reduction("ReduceMin", 1, _both, np.min, 18)
reduction("ReduceProd", 1, _both, np.prod, 18)
reduction("ReduceL1", 2, _input, None, 18)
reduction("ReduceL2", 2, _both, None, 18)
reduction("ReduceSumSquare", 2, _input, None, 18)
reduction("ReduceLogSum", 1, _both, None, 18)
reduction("ReduceLogSumExp", 2, _both, None, 18)


@rule("ArgMax", "ArgMin")
def arg_extreme(x: Size, *, axis: int = 0, keepdims: int = 1, select_last_index: int = 0) -> Facts:
    """Where the extreme lies along one axis."""
    axis = axis_of(axis, len(x.shape))
    shape = (*x.shape[:axis], *((1,) if keepdims else ()), *x.shape[axis + 1 :])
    return Facts(Size(shape, INT64), elementwise=x.count, spans=reduced(len(x.shape), (axis,), bool(keepdims)))


