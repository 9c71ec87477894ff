"""Normalisation and softmax.

elementwise, per element: batch norm 4 (subtract, divide, scale, shift), training 7 as layer norm; LRN a square and an
add per channel of its window, then scale, power and divide; layer, instance and group norm 7 (mean, subtract, square,
mean, divide, scale, shift), without scale and shift 5; p-norm 3 (power, sum, divide); softmax 5 (maximum, subtract,
exponential, sum, divide), log softmax 6, hard maximum 1.
"""

from __future__ import annotations

import math

from msgspec import structs

from analyzer.graph import FLOAT32, Size
from analyzer.ops.rule import Buffer, Facts, axis_of, broadcast, refuse, rule
from analyzer.spans import (
    POINTWISE,
    WHOLE,
    Affine,
    Each,
    Read,
    Route,
    Span,
    Spans,
    in_runs,
    reduced,
    straight,
)


def _reading(rank: int, axes: tuple[int, ...]) -> tuple[Route | Read, ...]:
    """Every axis keeps its place, but a position reads the whole of `axes`."""
    routes: list[Route | Read] = list(straight(rank))
    for axis in axes:
        routes[axis] = WHOLE
    return tuple(routes)


WHOLE_VECTOR = (WHOLE,)
BY_CHANNEL: tuple[Span, ...] = (POINTWISE, (Route(1),))


def _batch_norm(
    x: Size, scale: Size, others: tuple[Size, ...], per: tuple[int, ...], training: bool
) -> Facts:
    """`per` is what there is one number of scale, shift, mean and variance for."""
    length = math.prod(per)
    for size in (scale, *others):
        if size.count != length:
            raise refuse(
                "CHANNEL_MISMATCH", f"input {x.shape} and a vector of {size.shape} for {per} channels"
            )
    y, mean = Size(x.shape, x.dtype), others[-1]
    spans: Spans = BY_CHANNEL if len(per) == 1 and len(x.shape) > 1 else (POINTWISE, WHOLE_VECTOR)
    if training:
        beside = (0, *range(2, len(x.shape)))
        result = (_reading(len(x.shape), beside), WHOLE_VECTOR)
        statistic = (reduced(len(x.shape), beside, False), (Route(0),))
        spans = Each((result, *(statistic,) * 4))
    return Facts(
        (y, *[Size(mean.shape, mean.dtype) for _ in range(4)]),
        elementwise=(7 if training else 4) * y.count,
        spans=spans,
        saved=(x, scale, Size(mean.shape, scale.dtype), Size(mean.shape, scale.dtype)),
        follows=(x,),
        inplace=() if training else (x,),
        over_batch=True,
        workspace=(0, x.bytes or 0),  # backward a second array of the input's size
    )


@rule("BatchNormalization", since=14)
def batch_normalization(
    x: Size,
    scale: Size,
    b: Size,
    mean: Buffer,
    var: Buffer,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    training_mode: int = 0,
) -> Facts:
    """x [N, C, ...]. In training mode the statistics are the batch's; autograd keeps the input and two vectors."""
    return _batch_norm(x, scale, (b, var, mean), x.shape[1:2] or (1,), bool(training_mode))


@rule("BatchNormalization", since=7, until=13)
def batch_normalization_7(
    x: Size,
    scale: Size,
    b: Size,
    mean: Buffer,
    var: Buffer,
    *,
    epsilon: float = 1e-5,
    momentum: float = 0.9,
    spatial: int = 1,
    results: int,
) -> Facts:
    """Before opset 14 five outputs mean training. Until opset 8, `spatial=0` gives each element numbers of its own."""
    per = x.shape[1:2] or (1,) if spatial else x.shape[1:]
    return _batch_norm(x, scale, (b, var, mean), per, results > 1)


@rule("LRN")
def lrn(x: Size, *, alpha: float = 1e-4, beta: float = 0.75, bias: float = 1.0, size: int) -> Facts:
    """Each element over a power of the squares of `size` neighbouring channels."""
    if size < 1:
        raise refuse("KERNEL_SHAPE", f"size {size} is not positive", attribute="size")
    y = Size(x.shape, x.dtype)
    low, high = (size - 1) // 2, size - 1 - (size - 1) // 2
    routes: list[Route | Read] = list(straight(len(x.shape)))
    routes[1] = Route(1, Affine(1, 1, (-low,), (high,)))
    return Facts(y, elementwise=(2 * size + 3) * y.count, spans=tuple(routes), saved=(x, y))


def _normalized(
    x: Size, axes: tuple[int, ...], stats: tuple[int, ...], steps: int, vectors: Span, *saved: Size
) -> Facts:
    """Over `axes`; a mean and an inverse deviation each for the places of `stats`."""
    y, mean, deviation = Size(x.shape, x.dtype), Size(stats, FLOAT32), Size(stats, FLOAT32)
    spans = (_reading(len(x.shape), axes), vectors)
    saved = (x, mean, deviation, *saved)
    return Facts((y, mean, deviation), elementwise=steps * y.count, spans=spans, saved=saved)


@rule("LayerNormalization", since=17)
def layer_normalization(
    x: Size, scale: Size, b: Size | None = None, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Facts:
    """Over `axis` and all after it; mean and inverse deviation are kept per row."""
    rank = len(x.shape)
    axis = axis_of(axis, rank)
    for name, vector in (("scale", scale), ("bias", b)):
        if (
            vector is not None
            and vector.shape != x.shape[axis:]
            and broadcast(x.shape, vector.shape) != x.shape
        ):
            raise refuse("SCALE_SHAPE", f"{name} {vector.shape} does not broadcast to {x.shape}")
    stats = x.shape[:axis] + (1,) * (rank - axis)
    return _normalized(x, tuple(range(axis, rank)), stats, 7, POINTWISE, scale)


@rule("InstanceNormalization")
def instance_normalization(x: Size, scale: Size, b: Size, *, epsilon: float = 1e-5) -> Facts:
    """Over the spatial axes of each channel. Autograd keeps the scale once for each sample, unless it is 1."""
    if len(x.shape) < 3:
        raise refuse("RANK", f"input {x.shape} has no spatial axes")
    if scale.count != x.shape[1] or b.count != x.shape[1]:
        raise refuse("CHANNEL_MISMATCH", f"input has {x.shape[1]} channels, scale has {scale.count}")
    repeated = () if scale.value is not None and (scale.value == 1).all() else (Size(x.shape[:2], x.dtype),)
    return _normalized(x, tuple(range(2, len(x.shape))), x.shape[:2], 7, (Route(1),), scale, *repeated)


@rule("GroupNormalization", since=18)
def group_normalization(
    x: Size, scale: Size, b: Size, *, epsilon: float = 1e-5, num_groups: int, stash_type: int = 1
) -> Facts:
    """Over the channels of a group and the spatial axes."""
    channels = x.shape[1]
    if num_groups < 1 or channels % num_groups:
        raise refuse(
            "GROUP", f"num_groups {num_groups} does not divide {channels} channels", attribute="num_groups"
        )
    if scale.count not in (channels, num_groups):  # per group until opset 20
        raise refuse("CHANNEL_MISMATCH", f"input has {channels} channels, scale has {scale.count}")
    facts = _normalized(x, tuple(range(2, len(x.shape))), (x.shape[0], num_groups), 7, WHOLE_VECTOR, scale)
    each = channels // num_groups
    group = WHOLE if num_groups == 1 else in_runs(1, each, each, each)
    routes = (Route(0), group, *(WHOLE,) * (len(x.shape) - 2))
    vectors = Route(1) if scale.count == channels else in_runs(1, each)
    return structs.replace(facts, spans=(routes, (vectors,)))


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
    return Facts(
        y,
        elementwise=steps * math.prod(x.shape),
        spans=_reading(len(x.shape), axes),
        saved=(y,),
        inplace=(x,),
    )


@rule("Hardmax", since=13)
def hardmax(x: Size, *, axis: int = -1) -> Facts:
    """One at the first maximum along an axis, zero elsewhere; nothing flows back."""
    return _hardmax(x, (axis_of(axis, len(x.shape)),))


@rule("Hardmax", until=12)
def hardmax_flat(x: Size, *, axis: int = 1) -> Facts:
    """Before opset 13 `axis` and all after it are one."""
    return _hardmax(x, tuple(range(axis_of(axis, len(x.shape)), len(x.shape))))


def _hardmax(x: Size, axes: tuple[int, ...]) -> Facts:
    return Facts(
        Size(x.shape, x.dtype), elementwise=x.count, spans=_reading(len(x.shape), axes), inplace=(x,)
    )


@rule("LpNormalization")
def lp_normalization(x: Size, *, axis: int = -1, p: int = 2) -> Facts:
    """Divided by the p-norm along an axis, p being 1 or 2. Autograd keeps the input and the norms."""
    axis = axis_of(axis, len(x.shape))
    if p not in (1, 2):
        raise refuse("NORM_ORDER", f"p is {p}, only 1 and 2 are defined", attribute="p")
    norms = Size((*x.shape[:axis], 1, *x.shape[axis + 1 :]), x.dtype)
    y = Size(x.shape, x.dtype)
    return Facts(y, elementwise=3 * x.count, spans=_reading(len(x.shape), (axis,)), saved=(x, norms))


@rule("MeanVarianceNormalization", since=9)
def mean_variance_normalization(x: Size, *, axes: tuple[int, ...] = (0, 2, 3)) -> Facts:
    """Over `axes` to mean 0 and variance 1."""
    rank = len(x.shape)
    over = tuple(sorted({axis_of(axis, rank) for axis in axes}))
    stats = tuple(1 if axis in over else dim for axis, dim in enumerate(x.shape))
    return _normalized(x, over, stats, 5, WHOLE_VECTOR)
