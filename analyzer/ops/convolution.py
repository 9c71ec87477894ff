"""Convolution and its transpose.

macs: every tap of every output position counts, padding included; a transposed convolution counts from its input. Bias is
excluded. Autograd keeps the input and the weight.
"""

from __future__ import annotations

import math

from analyzer.graph import Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.ops.sliding import Ints, routes, slide
from analyzer.spans import SAME, WHOLE, Affine, Read, Route, spread


@rule("Conv")
def conv(
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
    """x [N, C, *spatial], w [M, C/group, *kernel] -> [N, M, *spatial]."""
    _check(x, w, group, kernel_shape)
    outputs, inputs, *kernel = w.shape
    if x.shape[1] != inputs * group:
        raise refuse(
            "CHANNEL_MISMATCH",
            f"input has {x.shape[1]} channels, weight takes {inputs} x {group} groups",
            attribute="group",
        )
    if outputs % group:
        raise refuse(
            "GROUP", f"group {group} does not divide the {outputs} output channels", attribute="group"
        )
    axes = slide(x.shape[2:], tuple(kernel), strides, pads, dilations, auto_pad)
    positions = math.prod(axis.out for axis in axes)
    y = Size((x.shape[0], outputs, *(axis.out for axis in axes)), x.dtype)
    depth = math.prod(w.shape[1:])
    return Facts(
        y,
        macs=y.count * depth,
        spans=((Route(0), _channels(group, inputs, outputs), *routes(axes)), _weight(len(w.shape))),
        saved=(x, w),
        lowering=positions * depth,
    )


@rule("ConvTranspose")
def conv_transpose(
    x: Size,
    w: Size,
    b: Size | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    output_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """x [N, C, *spatial], w [C, M/group, *kernel] -> [N, M, *spatial], each input element spread over a kernel."""
    _check(x, w, group, kernel_shape)
    if x.shape[1] != w.shape[0]:
        raise refuse("CHANNEL_MISMATCH", f"input has {x.shape[1]} channels, weight takes {w.shape[0]}")
    kernel, rank = w.shape[2:], len(x.shape) - 2
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    extra = output_padding or (0,) * rank
    for axis in range(rank):
        if extra[axis] and not 0 <= extra[axis] < max(strides[axis], dilations[axis]):
            raise refuse(
                "OUTPUT_PADDING",
                f"output_padding {extra} is not below stride or dilation",
                attribute="output_padding",
            )
    full = tuple(
        strides[i] * (x.shape[2 + i] - 1) + dilations[i] * (kernel[i] - 1) + 1 + extra[i] for i in range(rank)
    )
    begin, out = _crop(x.shape[2:], full, strides, pads or (0,) * (2 * rank), output_shape, auto_pad)
    y = Size((x.shape[0], w.shape[1] * group, *out), x.dtype)
    spatial = tuple(Route(2 + i, spread(kernel[i], strides[i], dilations[i], begin[i])) for i in range(rank))
    return Facts(
        y,
        macs=x.count * math.prod(w.shape[1:]),
        spans=(
            (Route(0), _channels(group, w.shape[0] // group, y.shape[1]), *spatial),
            _weight(len(w.shape)),
        ),
        saved=(x, w),
        lowering=math.prod(x.shape[2:]) * math.prod(w.shape[1:]),
    )


def _crop(
    spatial: Ints, full: Ints, strides: Ints, pads: Ints, wanted: Ints | None, auto_pad: str
) -> tuple[Ints, Ints]:
    """Padding at the start of each axis and the output's spatial shape."""
    rank = len(spatial)
    if wanted is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(size * stride for size, stride in zip(spatial, strides, strict=True))
    if wanted is None:
        begin = (0,) * rank if auto_pad == "VALID" else pads[:rank]
        end = (0,) * rank if auto_pad == "VALID" else pads[rank:]
        return begin, tuple(size - b - e for size, b, e in zip(full, begin, end, strict=True))
    wanted = wanted[-rank:]
    total = [max(size - out, 0) for size, out in zip(full, wanted, strict=True)]
    upper = auto_pad == "SAME_UPPER"
    return tuple(t // 2 if upper else t - t // 2 for t in total), wanted


def _check(x: Size, w: Size, group: int, kernel_shape: Ints | None) -> None:
    if len(x.shape) < 3 or len(w.shape) != len(x.shape):
        raise refuse("RANK", f"input {x.shape} and weight {w.shape} must have one rank of at least 3")
    if group < 1:
        raise refuse("GROUP", f"group is {group}", attribute="group")
    if x.shape[1] % group:
        raise refuse(
            "GROUP", f"group {group} does not divide the {x.shape[1]} input channels", attribute="group"
        )
    if kernel_shape and kernel_shape != w.shape[2:]:
        raise refuse(
            "KERNEL_SHAPE",
            f"kernel_shape {kernel_shape} is not the weight's {w.shape[2:]}",
            attribute="kernel_shape",
        )


def _channels(group: int, inputs: int, outputs: int) -> Route | Read:
    """Which input channels an output channel reads: all, or the block of its group."""
    if group == 1:
        return WHOLE
    each = outputs // group
    if inputs == each == 1:
        return Route(1, SAME)
    return Route(1, Affine(each, inputs, (0,) * each, (inputs - 1,) * each))


def _weight(rank: int) -> tuple[Route | Read, ...]:
    """A weight is read whole but for its output channel."""
    return (WHOLE,) * rank
