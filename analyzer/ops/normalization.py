"""Normalisation and softmax.

elementwise, per element: batch norm 4 (subtract, divide, scale, shift); LRN one square and add per channel of its window,
then scale, power and divide; layer, instance and group norm 7 (mean, subtract, square, mean, divide, scale, shift); RMS norm 4;
softmax 5 (maximum, subtract, exponential, sum, divide), log softmax 6.
"""

from __future__ import annotations

import math
from typing import Any

from analyzer.graph import FLOAT32, Size
from analyzer.ops.rule import Buffer, Facts, Setting, axis_of, refuse, rule
from analyzer.spans import NOTHING, POINTWISE, WHOLE, Affine, Read, Route, straight


def _reading(rank: int, axes: tuple[int, ...]) -> tuple[Route | Read, ...]:
    """Every axis keeps its place, but a position reads the whole of `axes`."""
    routes: list[Route | Read] = list(straight(rank))
    for axis in axes:
        routes[axis] = WHOLE
    return tuple(routes)


def _batch_norm(x: Size, scale: Size, mean: Size, training: bool) -> Facts:
    if len(x.shape) > 1 and scale.count != x.shape[1]:
        raise refuse("CHANNEL_MISMATCH", f"input has {x.shape[1]} channels, scale has {scale.count}")
    y = Size(x.shape, x.dtype)
    statistics = tuple(Size(mean.shape, mean.dtype) for _ in range(4))
    if not training:
        return Facts((y, *statistics), elementwise=4 * y.count, spans=(POINTWISE, WHOLE_VECTOR), saved=(x, scale), inplace=(x,))
    axes = (0, *range(2, len(x.shape)))
    kept = (Size(mean.shape, FLOAT32), Size(mean.shape, FLOAT32))
    return Facts(
        (y, *statistics), elementwise=7 * y.count, spans=(_reading(len(x.shape), axes), WHOLE_VECTOR), saved=(x, scale, *kept)
    )


WHOLE_VECTOR = (WHOLE,)


@rule("BatchNormalization", since=14)
def batch_normalization(
    x: Size, scale: Size, b: Size, mean: Buffer, var: Buffer, *, epsilon: float = 1e-5, momentum: float = 0.9, training_mode: int = 0
) -> Facts:
    """x [N, C, ...]. In training mode the statistics are the batch's; autograd keeps the input and two vectors."""
    return _batch_norm(x, scale, mean, bool(training_mode))


@rule("BatchNormalization", since=7, until=13)
def batch_normalization_7(
    x: Size, scale: Size, b: Size, mean: Buffer, var: Buffer, *, epsilon: float = 1e-5, momentum: float = 0.9, spatial: int = 1, results: int
) -> Facts:
    """Before opset 14 five outputs mean training. `spatial` ended with opset 9."""
    return _batch_norm(x, scale, mean, results > 1)


@rule("LRN")
def lrn(x: Size, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Facts:
    """Each element over a power of the squares of `size` neighbouring channels."""
    y = Size(x.shape, x.dtype)
    low, high = (size - 1) // 2, size - 1 - (size - 1) // 2
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[1] = Route(1, Affine(1, 1, (-low,), (high,)))
    return Facts(y, elementwise=(2 * size + 3) * y.count, spans=tuple(routes), saved=(x, y))


def _normalized(x: Size, axes: tuple[int, ...], stats: tuple[int, ...], steps: int, *saved: Size) -> Facts:
    y = Size(x.shape, x.dtype)
    mean, deviation = Size(stats, FLOAT32), Size(stats, FLOAT32)
    spans = (_reading(len(x.shape), axes), POINTWISE, POINTWISE)
    return Facts((y, mean, deviation), elementwise=steps * y.count, spans=spans, saved=(x, mean, deviation, *saved))


@rule("LayerNormalization", since=17)
def layer_normalization(x: Size, scale: Size, b: Size | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1) -> Facts:
    """Over `axis` and all after it; mean and inverse deviation are kept per row."""
    axis = axis_of(axis, len(x.shape))
    stats = x.shape[:axis] + (1,) * (len(x.shape) - axis)
    return _normalized(x, tuple(range(axis, len(x.shape))), stats, 7, scale)


@rule("InstanceNormalization")
def instance_normalization(x: Size, scale: Size, b: Size, *, epsilon: float = 1e-5) -> Facts:
    """Over the spatial axes of each channel."""
    facts = _normalized(x, tuple(range(2, len(x.shape))), x.shape[:2], 7, scale)
    return Facts(facts.outputs[0], elementwise=facts.elementwise, spans=facts.spans, saved=facts.saved)  # type: ignore[index]


@rule("GroupNormalization", since=18)
def group_normalization(
    x: Size, scale: Size, b: Size, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Facts:
    """Over the channels of a group and the spatial axes."""
    if num_groups < 1 or x.shape[1] % num_groups:
        raise refuse("GROUP", f"num_groups {num_groups} does not divide {x.shape[1]} channels", attribute="num_groups")
    each = x.shape[1] // num_groups
    facts = _normalized(x, tuple(range(2, len(x.shape))), (x.shape[0], num_groups), 7, scale)
    routes: Any = list(facts.spans[0])  # type: ignore[arg-type,index]
    routes[1] = Route(1, Affine(each, each, (0,) * each, (each - 1,) * each))
    spans = (tuple(routes), WHOLE_VECTOR)
    return Facts(facts.outputs[0], elementwise=facts.elementwise, spans=spans, saved=facts.saved)  # type: ignore[index]


@rule("Softmax", since=13)
def softmax(x: Size, *, axis: int = -1) -> Facts:
    """Along one axis. Autograd keeps the output."""
    return _softmax(x, (axis_of(axis, len(x.shape)),), 5)


@rule("LogSoftmax", since=13)
def log_softmax(x: Size, *, axis: int = -1) -> Facts:
    """Along one axis. Autograd keeps the output."""
    return _softmax(x, (axis_of(axis, len(x.shape)),), 6)


@rule("Softmax", until=12)
def softmax_flat(x: Size, *, axis: int = 1) -> Facts:
    """Before opset 13 `axis` and all after it are one."""
    return _softmax(x, tuple(range(axis_of(axis, len(x.shape)), len(x.shape))), 5)


@rule("LogSoftmax", until=12)
def log_softmax_flat(x: Size, *, axis: int = 1) -> Facts:
    """Before opset 13 `axis` and all after it are one."""
    return _softmax(x, tuple(range(axis_of(axis, len(x.shape)), len(x.shape))), 6)


def _softmax(x: Size, axes: tuple[int, ...], steps: int) -> Facts:
    y = Size(x.shape, x.dtype)
    return Facts(y, elementwise=steps * math.prod(x.shape), spans=_reading(len(x.shape), axes), saved=(y,), inplace=(x,))


@rule("Dropout", until=11)
def dropout_by_attribute(x: Size, *, is_test: int = 0, ratio: float = 0.5) -> Facts:
    """An inference graph's dropout passes its input on."""
    return Facts((Size(x.shape, x.dtype), Size(x.shape, x.dtype)), spans=POINTWISE, view=x)


@rule("Dropout", since=12)
def dropout(x: Size, ratio: Setting | None = None, training_mode: Setting | None = None, *, seed: int = 0) -> Facts:
    """Passes its input on unless training; then autograd keeps the mask, as floats (torch on CPU)."""
    y, mask = Size(x.shape, x.dtype, x.value), Size(x.shape, FLOAT32)
    live = training_mode is not None and (training_mode.value is None or bool(training_mode.value.any()))
    if not live or (ratio is not None and ratio.value is not None and not ratio.value.any()):
        return Facts((y, _mask(x)), spans=(POINTWISE, NOTHING, NOTHING), view=x)
    return Facts((y, _mask(x)), elementwise=2 * y.count, spans=(POINTWISE, NOTHING, NOTHING), saved=(mask,), random=True)


def _mask(x: Size) -> Size:
    from analyzer.graph import BOOL

    return Size(x.shape, BOOL)
