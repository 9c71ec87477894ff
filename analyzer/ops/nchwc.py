"""onnxruntime's blocked layout: shapes [N, C, *spatial], in memory [N, C/block, *spatial, block], C filled up
to whole blocks.

A graph that is saved after optimisation at the highest level holds these ops, with weights filled up likewise.
macs count what is multiplied, the filling included.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import msgspec
import numpy as np

from analyzer.graph import FLOAT32, Size
from analyzer.ops.rule import Facts, refuse, rule
from analyzer.ops.shared.layout import channels_first
from analyzer.ops.shared.sliding import Ints
from analyzer.ops.shared.standard import activated, standard
from analyzer.spans import Route, Routes, straight

NCHWC = "com.microsoft.nchwc"
BLOCK = 16
"""Channels of a block where the processor has 512-bit vectors; others have 8, and the file does not say which."""
_KNOWN: ContextVar[int | None] = ContextVar("block", default=None)


@contextmanager
def blocks_of(channels: int | None) -> Iterator[None]:
    """Within, blocks are known to have so many channels: for who can tell which processor a graph was made for."""
    token = _KNOWN.set(channels)
    try:
        yield
    finally:
        _KNOWN.reset(token)


@rule("Conv", domain=NCHWC)
def conv(
    x: Size,
    w: Size,
    b: Size | None = None,
    z: Size | None = None,
    *,
    activation: str | None = None,
    activation_params: tuple[float, ...] | None = None,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """activation(x * w + b + z); the weight says how many channels of x are meant."""
    inner = Size((x.shape[0], w.shape[1] * group, *x.shape[2:]), x.dtype)
    said = standard(
        "Conv", inner, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape, pads=pads,
        strides=strides,
    )  # fmt: skip
    return activated(msgspec.structs.replace(said, saved=(x, w), lowering=None), activation, z)


@rule("MaxPool", domain=NCHWC)
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
    """The largest under each window."""
    return standard(
        "MaxPool", x, auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip


@rule("AveragePool", domain=NCHWC)
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
    """The mean under each window."""
    return standard(
        "AveragePool", x, auto_pad=auto_pad, ceil_mode=ceil_mode, dilations=dilations, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip


@rule("GlobalMaxPool", domain=NCHWC)
def global_max_pool(x: Size) -> Facts:
    """The largest of each channel."""
    return standard("GlobalMaxPool", x)


@rule("GlobalAveragePool", domain=NCHWC)
def global_average_pool(x: Size) -> Facts:
    """The mean of each channel."""
    return standard("GlobalAveragePool", x)


@rule("ReorderInput", domain=NCHWC)
def reorder_input(x: Size, *, channels_last: int = 0) -> Facts:
    """Into blocks. The shape is a bound where blocks of 8 would need less filling than blocks of 16."""
    n, channels, *spatial = channels_first(x.shape) if channels_last else x.shape
    known = _KNOWN.get()
    block = known or BLOCK
    filled = -(-channels // block) * block
    y = Size((n, filled, *spatial), x.dtype, exact=known is not None or filled - channels < BLOCK // 2)
    last = x.rank - 1
    routes: Routes = (
        (Route(0), *(Route(axis + 1) for axis in range(1, last)), Route(1))
        if channels_last
        else straight(x.rank)
    )
    return Facts(y, spans=routes)


@rule("ReorderOutput", domain=NCHWC)
def reorder_output(x: Size, *, channels: int = 0, channels_last: int = 0) -> Facts:
    """Out of blocks: the filling goes."""
    if not 0 < channels <= x.shape[1]:
        raise refuse("CHANNEL_MISMATCH", f"{channels} channels of {x.shape[1]}", attribute="channels")
    n, _, *spatial = x.shape
    last = x.rank - 1
    if channels_last:
        routes: Routes = (Route(0), Route(last), *(Route(axis - 1) for axis in range(2, x.rank)))
        return Facts(Size((n, *spatial, channels), x.dtype), spans=routes)
    return Facts(Size((n, channels, *spatial), x.dtype), spans=straight(x.rank))


@rule("Upsample", domain=NCHWC)
def upsample(
    x: Size,
    *,
    coordinate_transformation_mode: str = "asymmetric",
    mode: str = "nearest",
    scales: Ints | None = None,
) -> Facts:
    """Every axis a whole number of times longer: as Resize, the nearest row being the one below."""
    if scales is None or len(scales) != x.rank or min(scales) < 1:
        raise refuse("SCALES", f"scales {scales} do not fit {x.shape}", attribute="scales")
    factors = Size((x.rank,), FLOAT32, np.array(scales, np.float32))
    said = standard(
        "Resize", x, None, factors, mode=mode, nearest_mode="floor",
        coordinate_transformation_mode=coordinate_transformation_mode,
    )  # fmt: skip
    return msgspec.structs.replace(said, spans=(said.span(0),))
