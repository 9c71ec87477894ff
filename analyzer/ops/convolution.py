"""Convolution and its transpose.

macs: every tap of every output position counts, padding included; a transposed convolution counts from its input.
Bias is excluded. Autograd keeps the input and the weight.
"""

from __future__ import annotations

import math

from analyzer.errors import BadModel
from analyzer.graph import Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.ops.shared.sliding import Ints, check_auto_pad, grouped, routes, slide
from analyzer.spans import PHASES, WHOLE, Read, Route, Routes, spread


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
    if b is not None and b.shape != w.shape[:1]:
        raise _unfit(b, outputs)
    axes = slide(x.shape[2:], tuple(kernel), strides, pads, dilations, auto_pad)
    positions = math.prod(axis.out for axis in axes)
    y = Size((x.shape[0], outputs, *(axis.out for axis in axes)), x.dtype)
    depth = math.prod(w.shape[1:])
    reads: Routes = (Route(0), grouped(group, inputs, outputs), *routes(axes))
    weight: Routes = (Route(1), *(WHOLE,) * (len(w.shape) - 1))
    return Facts(
        y,
        macs=y.count * depth,
        spans=(reads, weight),
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
    if b is not None and b.shape != (w.shape[1] * group,):
        raise _unfit(b, w.shape[1] * group)
    kernel, rank = w.shape[2:], len(x.shape) - 2
    check_auto_pad(auto_pad)
    _check_lengths(rank, strides, dilations, output_padding, pads, output_shape)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    if min(*strides, *dilations) < 1:
        raise refuse(
            "STRIDE", f"strides {strides} and dilations {dilations} must be positive", attribute="strides"
        )
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
    if min(out) < 1:
        raise refuse("PADS", f"pads leave {out} of {full}", attribute="pads")
    y = Size((x.shape[0], w.shape[1] * group, *out), x.dtype)
    spatial = tuple(
        Route(2 + i, spread(kernel[i], strides[i], dilations[i], begin[i]))
        if strides[i] <= PHASES
        else Read("global", 2 + i)
        for i in range(rank)
    )
    reads: Routes = (Route(0), grouped(group, w.shape[0] // group, y.shape[1]), *spatial)
    weight: Routes = (WHOLE, Route(1) if group == 1 else WHOLE, *(WHOLE,) * rank)
    return Facts(
        y,
        macs=x.count * math.prod(w.shape[1:]),
        spans=(reads, weight),
        saved=(x, w),
        lowering=math.prod(x.shape[2:]) * math.prod(w.shape[1:]),
    )


def _unfit(b: Size, outputs: int) -> BadModel:
    return refuse(
        "CHANNEL_MISMATCH", f"bias {b.shape} is not one number for each of {outputs} output channels"
    )


def _check_lengths(
    rank: int,
    strides: Ints | None,
    dilations: Ints | None,
    output_padding: Ints | None,
    pads: Ints | None,
    output_shape: Ints | None,
) -> None:
    """Every list must speak of all spatial axes; `output_shape` may speak of batch and channels too."""
    for name, value, lengths in (
        ("strides", strides, (rank,)),
        ("dilations", dilations, (rank,)),
        ("output_padding", output_padding, (rank,)),
        ("pads", pads, (2 * rank,)),
        ("output_shape", output_shape, (rank, rank + 2)),
    ):
        if value and len(value) not in lengths:
            raise refuse(
                "ATTRIBUTE_LENGTH",
                f"{name} has {len(value)} entries, {lengths[0]} are needed",
                attribute=name,
            )


def _crop(
    spatial: Ints, full: Ints, strides: Ints, pads: Ints, wanted: Ints | None, auto_pad: str
) -> tuple[Ints, Ints]:
    """Padding at the start of each axis and the output's spatial shape."""
    rank = len(spatial)
    if wanted is None and auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        wanted = tuple(
            min(size * stride, most) for size, stride, most in zip(spatial, strides, full, strict=True)
        )
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
