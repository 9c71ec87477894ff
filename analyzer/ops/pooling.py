"""Pooling: a window slides over each channel by itself.

elementwise: one compare, add or power per tap. Autograd keeps the input, and for a maximum where it was found (int64).
"""

from __future__ import annotations

import math

from analyzer.graph import INT64, Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.ops.shared.sliding import Ints, Windows, slide
from analyzer.spans import WHOLE, Route, Routes


@rule("MaxPool")
def max_pool(
    x: Size,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
) -> Facts:
    """[N, C, *spatial] -> the largest under each window, and where it lay."""
    windows = slide(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, ceil_mode, pooling=True)
    y = _pooled(x, windows)
    indices = Size(y.shape, INT64)
    steps = y.count * math.prod(kernel_shape)
    return Facts((y, indices), elementwise=steps, spans=_span(windows), saved=(x, indices), follows=(x,))


@rule("AveragePool")
def average_pool(
    x: Size,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """[N, C, *spatial] -> the mean under each window."""
    windows = slide(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, ceil_mode, pooling=True)
    y = _pooled(x, windows)
    return Facts(y, elementwise=y.count * math.prod(kernel_shape), spans=_span(windows), saved=(x,))


@rule("LpPool", since=2)
def lp_pool(
    x: Size,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    p: int = 2,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """[N, C, *spatial] -> the p-norm under each window: a power and an add per tap."""
    windows = slide(x.shape[2:], kernel_shape, strides, pads, dilations, auto_pad, ceil_mode, pooling=True)
    y = _pooled(x, windows)
    return Facts(y, elementwise=2 * y.count * math.prod(kernel_shape), spans=_span(windows), saved=(x, y))


@rule("GlobalAveragePool")
def global_average_pool(x: Size) -> Facts:
    """[N, C, *spatial] -> [N, C, 1...]. Autograd keeps nothing: a mean needs only the shape."""
    return _global(x)


@rule("GlobalMaxPool")
def global_max_pool(x: Size) -> Facts:
    """[N, C, *spatial] -> [N, C, 1...]."""
    return _global(x, x)


@rule("GlobalLpPool", since=2)
def global_lp_pool(x: Size, *, p: int = 2) -> Facts:
    """[N, C, *spatial] -> [N, C, 1...]."""
    return _global(x, x)


def _global(x: Size, *saved: Size) -> Facts:
    if len(x.shape) < 3:
        raise refuse("RANK", f"input {x.shape} has no spatial axes")
    spatial = len(x.shape) - 2
    y = Size(x.shape[:2] + (1,) * spatial, x.dtype)
    span: Routes = (Route(0), Route(1), *(WHOLE,) * spatial)
    return Facts(y, elementwise=x.count, spans=span, saved=saved)


def _pooled(x: Size, windows: Windows) -> Size:
    return Size(x.shape[:2] + windows.outs, x.dtype)


def _span(windows: Windows) -> Routes:
    return (Route(0), Route(1), *windows.routes)
