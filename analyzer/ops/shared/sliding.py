"""Sliding windows: the geometry that convolution and pooling share. Not a family: no op is named here.

`Windows` holds one `Axis` per spatial axis, with kernel, stride, dilation, the padding at the start and the number of
output positions, `auto_pad` and `ceil_mode` resolved for the size at hand, as onnxruntime does in every opset:

- a window that `ceil_mode` adds must start inside the input or its left padding (onnx's own inference forgets
  this below opset 22);
- a pool whose kernel is larger than the padded input counts positions rounded toward zero: one that hangs over the
  end, or none; a convolution is refused;
- for `auto_pad` SAME_*, pools take the kernel as if it were not dilated, so fewer than ceil(size / stride)
  positions are left.
"""

from __future__ import annotations

import math
from functools import lru_cache

import msgspec

from analyzer.ops.rule import refuse
from analyzer.spans import WHOLE, Affine, Read, Route, in_runs, window

Ints = tuple[int, ...]


class Axis(msgspec.Struct, frozen=True):
    """A window sliding along one axis. `pad` is that at the start; `fitted`: to the size at hand."""

    kernel: int
    stride: int
    dilation: int
    pad: int
    out: int
    fitted: bool = False

    @property
    def taps(self) -> Affine:
        return window(self.kernel, self.stride, self.dilation, self.pad, self.fitted)


class Windows(msgspec.Struct, frozen=True):
    """The axes; output positions along each (`outs`) and in all; what they read: operand axis i, from 2 on, goes to
    output axis i.
    """

    axes: tuple[Axis, ...]
    outs: Ints
    positions: int
    routes: tuple[Route, ...]


@lru_cache(maxsize=4096)  # a network asks for the same few windows over and over
def slide(
    spatial: Ints,
    kernel: Ints,
    strides: Ints | None = None,
    pads: Ints | None = None,
    dilations: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    pooling: bool = False,
) -> Windows:
    """Windows over `spatial`, an Axis per entry. Raises BadModel where attributes do not fit or no window fits the
    padded input.
    """
    rank = len(spatial)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = pads or (0,) * (2 * rank)
    for name, value, length in (
        ("kernel_shape", kernel, rank),
        ("strides", strides, rank),
        ("dilations", dilations, rank),
        ("pads", pads, 2 * rank),
    ):
        if len(value) != length:
            raise refuse(
                "ATTRIBUTE_LENGTH", f"{name} has {len(value)} entries, {length} are needed", attribute=name
            )
    if min(kernel, default=1) < 1:
        raise refuse("KERNEL_SHAPE", f"kernel_shape {kernel} is not positive", attribute="kernel_shape")
    if min(strides, default=1) < 1 or min(dilations, default=1) < 1:
        raise refuse(
            "STRIDE", f"strides {strides} and dilations {dilations} must be positive", attribute="strides"
        )
    check_auto_pad(auto_pad)
    if pooling:
        _check_pads(kernel, pads)
    axes = []
    for i, size in enumerate(spatial):
        extent = dilations[i] * (kernel[i] - 1) + 1
        begin, end = pads[i], pads[rank + i]
        if auto_pad != "NOTSET":
            begin, end = _padding(size, kernel[i] if pooling else extent, strides[i], auto_pad, pooling)
        out = _positions(size, extent, strides[i], begin, end, ceil_mode, pooling)
        fitted = auto_pad.startswith("SAME") and strides[i] > 1 and (pooling or extent > 1)
        axes.append(Axis(kernel[i], strides[i], dilations[i], begin, out, fitted))
    outs = tuple(axis.out for axis in axes)
    reads = tuple(Route(index, axis.taps) for index, axis in enumerate(axes, 2))
    return Windows(tuple(axes), outs, math.prod(outs), reads)


_AUTO_PADS = ("NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID")


def check_auto_pad(auto_pad: str) -> None:
    """Raises BadModel where there is no such way to pad."""
    if auto_pad not in _AUTO_PADS:
        raise refuse("MODE", f"auto_pad {auto_pad!r} is not {', '.join(_AUTO_PADS)}", attribute="auto_pad")


def _check_pads(kernel: Ints, pads: Ints) -> None:
    """A pool's window must not lie in the padding alone, however far apart its taps are."""
    if not all(0 <= pad < size for pad, size in zip(pads, kernel * 2, strict=True)):
        raise refuse(
            "PADS",
            f"pads {pads} of a pool are not below its kernel_shape {kernel}, or below 0",
            attribute="pads",
        )


def _padding(size: int, extent: int, stride: int, auto_pad: str, pooling: bool) -> tuple[int, int]:
    """Both paddings: none for VALID; for SAME_* what ceil(size / stride) positions need, the odd one at the end
    for UPPER. Where the stride exceeds the kernel less than none may be needed: a pool then skips rows.
    """
    if auto_pad == "VALID":
        return 0, 0
    total = (-(-size // stride) - 1) * stride + extent - size
    if not pooling:
        total = max(total, 0)
    begin = int((total + (auto_pad == "SAME_LOWER")) / 2)  # toward zero, as C divides
    return begin, total - begin


def _positions(
    size: int, extent: int, stride: int, begin: int, end: int, ceil_mode: int, pooling: bool
) -> int:
    room = size + begin + end - extent
    if room < 0:
        if pooling and size and -room < 2 * stride:
            return int(room > -stride)
        raise refuse(
            "KERNEL_TOO_LARGE",
            f"a kernel that spans {extent} does not fit an axis of {size} padded by {begin} and {end}",
            attribute="kernel_shape",
        )
    out = room // stride + 1
    if ceil_mode and room % stride:
        out += out * stride < size + begin
    return out


def grouped(group: int, inputs: int, outputs: int) -> Route | Read:
    """Which of `inputs` channels per group an output channel reads: all, or the block of its group."""
    return WHOLE if group == 1 else in_runs(1, outputs // group, inputs, inputs)
