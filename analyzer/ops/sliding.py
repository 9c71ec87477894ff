"""Sliding windows: the geometry that convolution and pooling share. Not a family: no op is named here.

One `Axis` per spatial axis holds kernel, stride, dilation, both paddings and the number of output positions, with
`auto_pad` and `ceil_mode` resolved for the size at hand.
"""

from __future__ import annotations

import msgspec

from analyzer.ops.rule import refuse
from analyzer.spans import Affine, Route, window

Ints = tuple[int, ...]


class Axis(msgspec.Struct, frozen=True):
    """A window sliding along one axis. `pad` is that at the start."""

    kernel: int
    stride: int
    dilation: int
    pad: int
    out: int

    @property
    def taps(self) -> Affine:
        return window(self.kernel, self.stride, self.dilation, self.pad)


def slide(
    spatial: Ints,
    kernel: Ints,
    strides: Ints | None = None,
    pads: Ints | None = None,
    dilations: Ints | None = None,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
) -> tuple[Axis, ...]:
    """One Axis per entry of `spatial`. Raises BadModel where attributes do not fit or a window exceeds the padded input."""
    rank = len(spatial)
    strides, dilations = strides or (1,) * rank, dilations or (1,) * rank
    pads = pads or (0,) * (2 * rank)
    for name, value, length in (
        ("kernel_shape", kernel, rank), ("strides", strides, rank), ("dilations", dilations, rank), ("pads", pads, 2 * rank),
    ):  # fmt: skip
        if len(value) != length:
            raise refuse("ATTRIBUTE_LENGTH", f"{name} has {len(value)} entries, {length} are needed", attribute=name)
    if min(kernel, default=1) < 1:
        raise refuse("KERNEL_SHAPE", f"kernel_shape {kernel} is not positive", attribute="kernel_shape")
    if min(strides, default=1) < 1 or min(dilations, default=1) < 1:
        raise refuse("STRIDE", f"strides {strides} and dilations {dilations} must be positive", attribute="strides")
    return tuple(
        _axis(spatial[i], kernel[i], strides[i], dilations[i], pads[i], pads[rank + i], auto_pad, ceil_mode) for i in range(rank)
    )


def _axis(size: int, kernel: int, stride: int, dilation: int, begin: int, end: int, auto_pad: str, ceil_mode: int) -> Axis:
    extent = dilation * (kernel - 1) + 1
    if auto_pad in ("SAME_UPPER", "SAME_LOWER"):
        out = -(-size // stride)
        total = max((out - 1) * stride + extent - size, 0)
        begin = total // 2 if auto_pad == "SAME_UPPER" else total - total // 2
        return Axis(kernel, stride, dilation, begin, out)
    if auto_pad == "VALID":
        begin = end = 0
    room = size + begin + end - extent
    if room < 0:
        raise refuse(
            "KERNEL_TOO_LARGE",
            f"a kernel that spans {extent} does not fit an axis of {size} padded by {begin} and {end}",
            attribute="kernel_shape",
        )
    out = room // stride + 1
    if ceil_mode and room % stride:
        out += out * stride < size + begin  # the extra window must start inside the input or its left padding
    return Axis(kernel, stride, dilation, begin, out)


def routes(axes: tuple[Axis, ...], first: int = 2) -> tuple[Route, ...]:
    """Spatial axes as spans: operand axis i goes to output axis i through its window."""
    return tuple(Route(index, axis.taps) for index, axis in enumerate(axes, first))
