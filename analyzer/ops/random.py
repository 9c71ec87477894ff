"""Chance: dropout and random numbers. What is drawn differs from run to run, so it is never a constant.

elementwise, per element: dropout 2 while training (mask, scale), 0 otherwise; a random number 2 (scale, shift); a coin
1 (compare); a draw from k classes 1, and k once a row for the running sum.
"""

from __future__ import annotations

from analyzer.graph import BOOL, DTYPES, FLOAT32, DType, Size
from analyzer.ops.rule import Facts, Setting, refuse, rule
from analyzer.spans import NOTHING, POINTWISE, WHOLE, Route

Ints = tuple[int, ...]


@rule("Dropout", until=11)
def dropout_by_attribute(x: Size, *, is_test: int = 0, ratio: float = 0.5, version: int) -> Facts:
    """An inference graph's dropout passes its input on. Its mask has the input's type until opset 9."""
    mask = Size(x.shape, BOOL if version >= 10 else x.dtype)
    live = Facts(None, spans=(POINTWISE,), saved=(Size(x.shape, x.dtype),), random=True) if ratio else None
    return Facts((Size(x.shape, x.dtype, x.value), mask), spans=(POINTWISE,), view=x, training=live)


@rule("Dropout", since=12)
def dropout(
    x: Size, ratio: Setting | None = None, training_mode: Setting | None = None, *, seed: int | None = None
) -> Facts:
    """Passes its input on unless training; then autograd keeps the mask, as floats (torch on CPU)."""
    live = training_mode is not None and (training_mode.value is None or bool(training_mode.value.any()))
    certain = ratio is not None and ratio.value is not None and not ratio.value.any()
    spans = (POINTWISE, NOTHING, NOTHING)
    mask = Size(x.shape, BOOL)
    y, kept = Size(x.shape, x.dtype), Size(x.shape, FLOAT32)
    said = Facts((y, mask), elementwise=2 * y.count, spans=spans, saved=(kept,), random=True)
    if live and not certain:
        return said
    rest = Size(x.shape, x.dtype, x.value)
    return Facts((rest, mask), spans=spans, view=x, training=None if certain else said)


@rule("RandomNormal")
def random_normal(
    *, dtype: int = 1, mean: float = 0.0, scale: float = 1.0, seed: float | None = None, shape: Ints
) -> Facts:
    """Normally distributed numbers."""
    return _drawn(shape, _dtype(dtype), 2)


@rule("RandomUniform")
def random_uniform(
    *, dtype: int = 1, high: float = 1.0, low: float = 0.0, seed: float | None = None, shape: Ints
) -> Facts:
    """Evenly distributed numbers."""
    return _drawn(shape, _dtype(dtype), 2)


@rule("RandomNormalLike")
def random_normal_like(
    x: Size, *, dtype: int | None = None, mean: float = 0.0, scale: float = 1.0, seed: float | None = None
) -> Facts:
    """Normally distributed numbers, as many as x has."""
    return _drawn(x.shape, _dtype(dtype, x), 2, x.exact)


@rule("RandomUniformLike")
def random_uniform_like(
    x: Size, *, dtype: int | None = None, high: float = 1.0, low: float = 0.0, seed: float | None = None
) -> Facts:
    """Evenly distributed numbers, as many as x has."""
    return _drawn(x.shape, _dtype(dtype, x), 2, x.exact)


def _drawn(shape: Ints, dtype: DType, steps: int, exact: bool = True) -> Facts:
    y = Size(shape, dtype, exact=exact)
    if min(shape, default=0) < 0:
        raise refuse("NEGATIVE_DIM", f"shape {shape} has a negative dimension", attribute="shape")
    return Facts(y, elementwise=steps * y.count, spans=NOTHING, random=True)


def _dtype(code: int | None, like: Size | None = None) -> DType:
    """The element type asked for, or that of an operand."""
    if code is None and like is not None:
        return like.dtype
    if code is None or code not in DTYPES:
        raise refuse("UNKNOWN_DTYPE", f"element type {code} does not exist", attribute="dtype")
    return DTYPES[code]


@rule("Bernoulli", since=15)
def bernoulli(x: Size, *, dtype: int | None = None, seed: float | None = None) -> Facts:
    """Ones and zeros, each drawn with the probability in its place."""
    return Facts(Size(x.shape, _dtype(dtype, x)), elementwise=x.count, spans=POINTWISE, random=True)


@rule("Multinomial", since=7)
def multinomial(x: Size, *, dtype: int = 6, sample_size: int = 1, seed: float | None = None) -> Facts:
    """[N, classes] of unnormalised log-probabilities -> [N, sample_size] of classes drawn."""
    if len(x.shape) != 2:
        raise refuse("RANK", f"{x.shape} is not [batch, classes]")
    y = Size((x.shape[0], sample_size), _dtype(dtype))
    return Facts(y, elementwise=x.count + y.count, spans=(Route(0), WHOLE), random=True)
