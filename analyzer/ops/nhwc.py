"""Ops with the channels last, as onnxruntime's layout passes make them of [N, C, *spatial] ones; they say what
those say.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Facts, rule
from analyzer.ops.shared.layout import channels_last
from analyzer.ops.shared.sliding import Ints
from analyzer.ops.shared.standard import activated, standard

Floats = tuple[float, ...]
INTERNAL = "com.ms.internal.nhwc"
"""A domain of the runtime's own: standard ops of the same opset version, x and the result turned."""


@rule("NhwcFusedConv", domain=MICROSOFT)
def nhwc_fused_conv(
    x: Size,
    w: Size,
    b: Size | None = None,
    z: Size | None = None,
    *,
    activation: str | None = None,
    activation_params: Floats | None = None,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """activation(x * w + b + z), z and the result laid out as x; the weight is [M, C/group, *kernel] all the same."""

    def first(x: Size) -> Facts:
        said = standard(
            "Conv", x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
            pads=pads, strides=strides,
        )  # fmt: skip
        return activated(said, activation, z)

    return channels_last(first, x)


@rule("Conv", domain=INTERNAL)
def conv(
    x: Size,
    w: Size,
    b: Size | None = None,
    *,
    activation: str | None = None,
    activation_params: Floats | None = None,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """activation(x * w + b)."""
    return nhwc_fused_conv(
        x, w, b, activation=activation, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip


@rule("NhwcConv", domain=MICROSOFT)
def nhwc_conv(
    x: Size,
    w: Size,
    b: Size | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """x * w + b."""
    return nhwc_fused_conv(
        x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip


@rule("NhwcMaxPool", domain=MICROSOFT)
def nhwc_max_pool(
    x: Size,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """The largest under each window."""
    return max_pool(
        x, auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip


@rule("MaxPool", domain=INTERNAL)
def max_pool(
    x: Size,
    *,
    activation: str | None = None,
    activation_params: Floats | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    storage_order: int = 0,
    strides: Ints | None = None,
) -> Facts:
    """The largest under each window, and where it lay."""
    return channels_last(
        lambda inner: standard(
            "MaxPool", inner, auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations, kernel_shape=kernel_shape,
            pads=pads, strides=strides,
        ), x,
    )  # fmt: skip


@rule("AveragePool", domain=INTERNAL)
def average_pool(
    x: Size,
    *,
    activation: str | None = None,
    activation_params: Floats | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    dilations: Ints | None = None,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """The mean under each window."""
    return channels_last(
        lambda inner: standard(
            "AveragePool", inner, auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations,
            kernel_shape=kernel_shape, pads=pads, strides=strides,
        ), x,
    )  # fmt: skip


@rule("GlobalAveragePool", domain=INTERNAL)
def global_average_pool(x: Size) -> Facts:
    """The mean of each channel."""
    return channels_last(lambda inner: standard("GlobalAveragePool", inner), x)


@rule("GlobalMaxPool", domain=INTERNAL)
def global_max_pool(x: Size) -> Facts:
    """The largest of each channel."""
    return channels_last(lambda inner: standard("GlobalMaxPool", inner), x)
