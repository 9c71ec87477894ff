"""Activations as transformers fuse them, with a bias, a residual or a gate; dropout with a bias.

elementwise, per element: GELU 5, its approximation by tanh 8, by a sigmoid 6, SiLU 5; 1 for each tensor that
is added, 1 for a gate; dropout in training 2. Autograd keeps what the activation saw, the sum
where there is one.
"""

from __future__ import annotations

from analyzer.graph import BOOL, Size
from analyzer.ops.rule import MICROSOFT, Facts, Setting, broadcast, refuse, rule
from analyzer.spans import NOTHING, POINTWISE, Affine, Each, Route, straight

GELU_STEPS, TANH_GELU_STEPS, SIGMOID_GELU_STEPS, SWISH_STEPS = 5, 8, 6, 5


def _activated(x: Size, bias: Size | None, steps: int) -> Facts:
    """One activation of x, or of x and a bias."""
    y = Size(x.shape if bias is None else broadcast(x.shape, bias.shape), x.dtype)
    seen = x if bias is None else Size(y.shape, y.dtype)
    count = (steps + (bias is not None)) * y.count
    return Facts(y, elementwise=count, spans=POINTWISE, saved=(seen,), inplace=(x,))


@rule("Gelu", domain=MICROSOFT)
def gelu(x: Size) -> Facts:
    """By the error function."""
    return _activated(x, None, GELU_STEPS)


@rule("BiasGelu", domain=MICROSOFT)
def bias_gelu(a: Size, b: Size) -> Facts:
    """By the error function."""
    return _activated(a, b, GELU_STEPS)


@rule("FastGelu", domain=MICROSOFT)
def fast_gelu(x: Size, bias: Size | None = None) -> Facts:
    """By tanh of a cubic."""
    return _activated(x, bias, TANH_GELU_STEPS)


@rule("QuickGelu", domain=MICROSOFT)
def quick_gelu(x: Size, *, alpha: float = 1.702) -> Facts:
    """By a sigmoid."""
    return _activated(x, None, SIGMOID_GELU_STEPS)


@rule("SwiGLU", since=28)
def swiglu(a: Size, b: Size, *, alpha: float = 1.0) -> Facts:
    """SiLU of a, times b. Autograd keeps both and the SiLU."""
    if a.shape != b.shape:
        raise refuse("SHAPES_DIFFER", f"gate {a.shape} and value {b.shape} must have one shape")
    y = Size(a.shape, a.dtype)
    gate = Size(a.shape, a.dtype)
    return Facts(
        y, elementwise=(SWISH_STEPS + 1) * y.count, spans=POINTWISE, saved=(a, b, gate), inplace=(a, b)
    )


@rule("BiasSplitGelu", domain=MICROSOFT)
def bias_split_gelu(x: Size, bias: Size) -> Facts:
    """The first half of the channels, times GELU of the second, a bias on both."""
    half = x.shape[-1] // 2
    if x.shape[-1] % 2 or bias.shape != x.shape[-1:]:
        raise refuse(
            "CHANNEL_MISMATCH", f"input {x.shape} does not split in two, or does not fit a bias {bias.shape}"
        )
    y = Size((*x.shape[:-1], half), x.dtype)
    summed, gate = Size(x.shape, x.dtype), Size(y.shape, y.dtype)
    last = len(x.shape) - 1
    both = Route(last, Affine(1, 1, (0,), (half,)))  # channel j reads j and half + j
    spans = ((*straight(last), both), (both,))
    return Facts(y, elementwise=(2 + GELU_STEPS + 1) * y.count, spans=spans, saved=(summed, gate))


@rule("BiasAdd", domain=MICROSOFT)
def bias_add(x: Size, bias: Size, skip: Size) -> Facts:
    """x + bias + skip."""
    y = Size(x.shape, x.dtype)
    return Facts(y, elementwise=2 * y.count, spans=POINTWISE, inplace=(x, skip))


@rule("BiasDropout", domain=MICROSOFT)
def bias_dropout(
    data: Size,
    bias: Size,
    residual: Size | None = None,
    ratio: Setting | None = None,
    training_mode: Setting | None = None,
    *,
    seed: int | None = None,
) -> Facts:
    """data + bias, dropped in training, + residual; results: that, and the mask. Autograd keeps the mask, as
    floats (torch on CPU).
    """
    y, mask = Size(data.shape, data.dtype), Size(data.shape, BOOL)
    live = training_mode is not None and (training_mode.value is None or bool(training_mode.value.any()))
    live = live and (ratio is None or ratio.value is None or bool(ratio.value.any()))
    steps = 1 + (residual is not None) + 2 * live
    spans = Each(((POINTWISE, POINTWISE, POINTWISE, NOTHING, NOTHING), NOTHING))
    kept = (Size(data.shape, data.dtype),) if live else ()
    return Facts(
        (y, mask), elementwise=steps * y.count, spans=spans, saved=kept, inplace=(data,), random=live
    )
