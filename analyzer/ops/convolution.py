"""Convolution and its transpose.

macs: every tap of every output position counts, padding included; a transposed convolution counts from its input.
Bias is excluded. Autograd keeps the input and the weight.
"""

from __future__ import annotations

import math
from functools import lru_cache, partial

import numpy as np

from analyzer.errors import BadModel
from analyzer.graph import Shape, Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.ops.shared.sliding import Ints, Windows, check_auto_pad, grouped, slide
from analyzer.spans import PHASES, WHOLE, Affine, Read, Route, Routes, Rows, in_runs, spread

OF_BIAS = (Route(1),)


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
    windows = slide(x.shape[2:], tuple(kernel), strides, pads, dilations, auto_pad)
    y = Size((x.shape[0], outputs, *windows.outs), x.dtype)
    rows, columns = windows.positions, math.prod(w.shape[1:])
    reads: Routes = (Route(0), grouped(group, inputs, outputs), *windows.routes)
    return Facts(
        y,
        macs=x.shape[0] * outputs * rows * columns,
        spans=(reads, _of_weight(len(w.shape)), OF_BIAS),
        exact={1: partial(_taps_inside, windows, x.shape[2:])},
        saved=(x, w),
        follows=(x,),
        folds=None if b is None else (w, b),
        lowering=(rows, columns),
        workspace=partial(_workspace, x, w.shape, y.shape, windows, group),
    )


_BLOCK = 16
"""Channels that stand together in the layout of oneDNN's kernels, with AVX-512."""
_PLAIN_CHANNELS = 4
"""So few channels of an input stay as they are."""
_NATIVE_COUNT = 20480
"""Elements up to which one picture and small kernels are left to a product with the lowered matrix."""


def _workspace(
    x: Size, w: Shape, y: Shape, windows: Windows, group: int, channels_last: bool
) -> tuple[int, int]:
    """What PyTorch takes on a CPU, with the channels first or last."""
    strides, width = any(axis.stride > 1 for axis in windows.axes), (x.dtype.bits or 0) // 8
    elements = _blocks_last(w, y, group) if channels_last else _blocks(x.shape, w, y, group, strides)
    return elements[0] * width, elements[1] * width


@lru_cache(maxsize=4096)  # a network has few shapes
def _blocks(x: Shape, w: Shape, y: Shape, group: int, strides: bool) -> tuple[int, int]:
    """Elements of input, weight and output in blocks of channels, or of the lowered matrix.

    Forward the blocks of all three, then those of the output beside it. Backward, to the input, first blocks of all and
    then, where it strides, a second copy of the gradient; to the weight blocks again, beside the input's gradient, and
    in the end the weight's own.
    """
    plain, result, own = map(math.prod, (x, y, w))
    if group == 1 and x[0] == 1 and plain <= _NATIVE_COUNT and min(w[2:], default=1) <= 3:
        lowered = math.prod(y[2:]) * math.prod(w[1:]) if max(w[2:]) > 1 else 0
        return lowered, lowered
    inputs = 0 if x[1] <= _PLAIN_CHANNELS else _blocked(x)
    weight, outputs = _blocked(w), _blocked(y)
    forward = max(inputs + weight + outputs - result, outputs)
    to_input = inputs + (2 if strides else 1) * plain
    to_weight = plain + weight + max(inputs + outputs, own)
    return forward, max(to_input, to_weight) - plain - own


@lru_cache(maxsize=4096)
def _blocks_last(w: Shape, y: Shape, group: int) -> tuple[int, int]:
    """The same with channels last, as the kernels have them too: the weight's own layout remains, of which backward
    each group fills whole blocks of both channels.
    """
    outputs, inputs, *kernel = w
    blocks = -(-(outputs // group) // _BLOCK) * -(-inputs // _BLOCK) * group
    weight = blocks * _BLOCK * _BLOCK * math.prod(kernel)
    return _blocked(w), weight + max(math.prod(w), math.prod(y))


def _blocked(shape: Shape) -> int:
    """Elements with channels filled up to whole blocks."""
    count, channels = math.prod(shape), shape[1]
    return count // channels * -(-channels // _BLOCK) * _BLOCK if channels > 1 else count


@lru_cache
def _of_weight(rank: int) -> Routes:
    """An output channel reads its own filter."""
    return (Route(1), *(WHOLE,) * (rank - 1))


def _taps_inside(windows: Windows, spatial: Ints) -> tuple[Route | Read | Rows, ...]:
    """Of its own filter, each position reads the taps that do not lie in the padding."""
    found: list[Route | Read | Rows] = [*_of_weight(2)]
    for place, (axis, length) in enumerate(zip(windows.axes, spatial, strict=True), 2):
        taps = np.arange(axis.kernel)
        rows = axis.stride * np.arange(axis.out)[:, None] - axis.pad + axis.dilation * taps
        found.append(Rows(place, np.where((rows >= 0) & (rows < length), taps, -1)))
    return tuple(found)


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
    weight: Routes = (*_own_filters(group, w.shape), *(WHOLE,) * rank)
    return Facts(
        y,
        macs=x.count * math.prod(w.shape[1:]),
        spans=(reads, weight, OF_BIAS),
        exact={1: lambda: (*weight[:2], *_taps_met(kernel, strides, dilations, begin, x.shape[2:], out))},
        saved=(x, w),
        follows=(x,),
        folds=None if b is None else (w, b),
        lowering=(math.prod(x.shape[2:]), math.prod(w.shape[1:])),
    )


def _taps_met(
    kernel: Ints, strides: Ints, dilations: Ints, begin: Ints, spatial: Ints, out: Ints
) -> tuple[Rows, ...]:
    """The taps through which each position of the result is written to."""
    found = []
    for place, length in enumerate(spatial):
        taps = np.arange(kernel[place])
        moved = np.arange(out[place])[:, None] + begin[place] - dilations[place] * taps
        met = (moved >= 0) & (moved % strides[place] == 0) & (moved < strides[place] * length)
        found.append(Rows(2 + place, np.where(met, taps, -1)))
    return tuple(found)


def _own_filters(group: int, shape: Ints) -> Routes:
    """An output channel reads the rows of its group, and there the column that is its own."""
    each = shape[1]
    if group == 1:
        return (WHOLE, Route(1))
    if not 0 < each <= PHASES:
        return (WHOLE, WHOLE)
    columns = tuple(range(each))
    return (
        in_runs(1, each, shape[0] // group, shape[0] // group),
        Route(1, Affine(each, 0, columns, columns)),
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
