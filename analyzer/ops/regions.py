"""Windows whose place is data: regions of interest, unpooling, columns folded into a picture, deformable
convolution.

macs: a deformable convolution counts as the convolution that it is once its taps are placed. elementwise:
sampling between pixels takes a multiply and an add per neighbour (2 an axis), a mask one multiply more; pooling
over a region takes those, and one step to gather, per sample; folding one add per column element. Where the boxes
decide how many samples there are, the number is unknown. Autograd keeps what the gradient is routed by: boxes,
maxima, offsets.
"""

from __future__ import annotations

import math

import numpy as np

from analyzer.graph import INT32, Size
from analyzer.ops.rule import Facts, Setting, refuse, rule
from analyzer.ops.shared.sliding import Axis, Ints, grouped, slide
from analyzer.spans import DATA, NOTHING, PHASES, WHOLE, Affine, Picks, Places, Read, Route, Routes, spread


@rule("RoiAlign", since=10, until=15)
def roi_align_10(
    x: Size,
    rois: Size,
    batch_indices: Size,
    *,
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Facts:
    """Pixels lie at integers here; otherwise as today's."""
    return roi_align(
        x, rois, batch_indices,
        mode=mode, output_height=output_height, output_width=output_width, sampling_ratio=sampling_ratio,
    )  # fmt: skip


@rule("RoiAlign", since=16)
def roi_align(
    x: Size,
    rois: Size,
    batch_indices: Size,
    *,
    coordinate_transformation_mode: str = "half_pixel",
    mode: str = "avg",
    output_height: int = 1,
    output_width: int = 1,
    sampling_ratio: int = 0,
    spatial_scale: float = 1.0,
) -> Facts:
    """x [N, C, H, W], rois [R, 4], batch_indices [R] -> [R, C, height, width]."""
    if mode not in ("avg", "max"):
        raise refuse("MODE", f"mode {mode!r} is neither avg nor max", attribute="mode")
    if rois.shape[1:] != (4,) or batch_indices.shape != rois.shape[:1]:
        raise refuse(
            "REGIONS", f"rois {rois.shape} and batch_indices {batch_indices.shape} must be [R, 4] and [R]"
        )
    y = _regions(x, rois, (output_height, output_width))
    steps = (2 * 4 + 1) * y.count * sampling_ratio**2 if sampling_ratio else None
    spans = (_PICKED, (Route(0), WHOLE), (Route(0),))
    return Facts(y, elementwise=steps, spans=spans, saved=(rois, batch_indices))


@rule("MaxRoiPool")
def max_roi_pool(x: Size, rois: Size, *, pooled_shape: Ints, spatial_scale: float = 1.0) -> Facts:
    """x [N, C, H, W], rois [R, 5] (picture, then corners) -> [R, C, *pooled_shape]."""
    if len(rois.shape) != 2 or rois.shape[1] != 5:
        raise refuse("REGIONS", f"rois {rois.shape} must be [R, 5]")
    y = _regions(x, rois, pooled_shape)
    return Facts(y, elementwise=None, spans=(_PICKED, (Route(0), WHOLE)), saved=(rois, Size(y.shape, INT32)))


_PLACES = Read("data_dependent", spare=True)
_PICKED: Routes = (DATA, Route(1), _PLACES, _PLACES)
"""Which picture and which of its rows, the boxes say; channels stay apart."""


def _regions(x: Size, rois: Size, pooled: Ints) -> Size:
    if len(x.shape) != 4:
        raise refuse("RANK", f"input {x.shape} must be [N, C, H, W]")
    if len(pooled) != 2 or min(pooled) < 1:
        raise refuse("REGIONS", f"a region cannot become {pooled}: two positive sizes are needed")
    return Size((rois.shape[0], x.shape[1], *pooled), x.dtype)


@rule("MaxUnpool", since=9)
def max_unpool(
    x: Size,
    indices: Size,
    output_shape: Setting | None = None,
    *,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """Maxima [N, C, *spatial] put back where they lay, zeros elsewhere."""
    rank = len(x.shape) - 2
    strides, pads = strides or (1,) * rank, pads or (0,) * (2 * rank)
    if indices.shape != x.shape or not len(kernel_shape) == len(strides) == len(pads) // 2 == rank:
        raise refuse(
            "ATTRIBUTE_LENGTH",
            f"kernel {kernel_shape}, strides {strides} and pads {pads} do not fit {x.shape}",
        )
    spread_out = ((x.shape[2 + i] - 1) * strides[i] + kernel_shape[i] for i in range(rank))
    least = (*x.shape[:2], *(dim - pads[i] - pads[rank + i] for i, dim in enumerate(spread_out)))
    if min(least) < 0:
        raise refuse("PADS", f"pads {pads} leave {least}", attribute="pads")
    placed: Routes = (
        Route(0),
        Route(1),
        *(Read("data_dependent", axis, spare=True) for axis in range(2, rank + 2)),
    )
    spans = (placed, placed, NOTHING)
    if output_shape is None:
        return Facts(Size(least, x.dtype), spans=spans, saved=(indices,))
    if output_shape.value is None:
        return Facts(None)
    wanted = output_shape.ints()
    if len(wanted) != rank + 2 or any(out < dim for out, dim in zip(wanted, least, strict=True)):
        raise refuse("UNPOOL", f"output_shape {wanted} is smaller than {least}")
    return Facts(Size(wanted, x.dtype, exact=output_shape.value_exact), spans=spans, saved=(indices,))


@rule("Col2Im", since=18)
def col2im(
    columns: Size,
    image_shape: Setting,
    block_shape: Setting,
    *,
    dilations: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """[N, C * block, blocks] -> [N, C, *image_shape]: overlapping blocks are added up. The inverse of im2col."""
    if image_shape.value is None or block_shape.value is None:
        return Facts(None)
    image, block = image_shape.ints(), block_shape.ints()
    windows = slide(image, block, strides, pads, dilations)
    taps, blocks = math.prod(block), windows.positions
    if len(columns.shape) != 3 or columns.shape[1] % taps or columns.shape[2] != blocks:
        raise refuse(
            "COLUMNS", f"{columns.shape} is not [N, C x {taps}, {blocks}], which the shapes call for"
        )
    shape = (columns.shape[0], columns.shape[1] // taps, *image)
    rows = Route(1, Affine(1, taps, (0,), (taps - 1,)))
    return Facts(
        Size(shape, columns.dtype, exact=image_shape.value_exact),
        elementwise=columns.count,
        spans=((Route(0), rows, _folded(windows.axes, blocks)), NOTHING, NOTHING),
        exact={0: lambda: Picks(_added_up(shape, columns.shape, windows.axes))},
    )


def _added_up(shape: Ints, columns: Ints, axes: tuple[Axis, ...]) -> Places:
    """The numbers of the elements of `columns` that are added up in each element of the picture: one for each tap of
    which a block lies there.
    """
    taps, blocks = [axis.kernel for axis in axes], [axis.out for axis in axes]
    tap = np.zeros((1,) * len(axes), np.int64)
    block = np.zeros((1,) * 2 * len(axes), np.int64)
    inside = np.ones((1,) * 2 * len(axes), bool)
    for place, axis in enumerate(axes):
        moved = np.arange(shape[2 + place])[:, None] + axis.pad - axis.dilation * np.arange(axis.kernel)
        lies = (moved % axis.stride == 0) & (moved >= 0) & (moved < axis.stride * axis.out)
        extents = [1] * 2 * len(axes)
        extents[place], extents[len(axes) + place] = moved.shape
        block = block * blocks[place] + (moved // axis.stride).reshape(extents)
        inside = inside & lies.reshape(extents)
        tap = tap * taps[place] + np.arange(axis.kernel).reshape(
            [-1 if p == place else 1 for p in range(len(axes))]
        )
    within = np.where(inside, tap * columns[2] + block, -1).reshape(*shape[2:], -1)
    planes = np.arange(shape[0] * shape[1]).reshape(*shape[:2], *(1,) * (len(axes) + 1))
    size = math.prod(taps) * columns[2]
    return np.where(within < 0, -1, planes * size + within)


def _folded(axes: tuple[Axis, ...], blocks: int) -> Route | Read:
    """Blocks in order, last axis fastest: a row of the picture's first axis reads the blocks that touch it."""
    axis = axes[0]
    if axis.stride > PHASES:
        return Read("global", 2)
    taps, each = spread(axis.kernel, axis.stride, axis.dilation, axis.pad), blocks // axis.out
    lows = tuple(low if low is None else low * each for low in taps.lows)
    highs = tuple(high if high is None else high * each + each - 1 for high in taps.highs)
    return Route(2, Affine(taps.period, each, lows, highs, taps.step if each == 1 else 1))


@rule("DeformConv", since=19)
def deform_conv(
    x: Size,
    w: Size,
    offset: Size,
    b: Size | None = None,
    mask: Size | None = None,
    *,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    offset_group: int = 1,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """x [N, C, *spatial], w [M, C/group, *kernel] -> [N, M, *spatial], each tap moved by its own offset."""
    rank = len(x.shape) - 2
    if rank < 1 or len(w.shape) != rank + 2:
        raise refuse("RANK", f"input {x.shape} and weight {w.shape} must have one rank of at least 3")
    outputs, inputs, *kernel = w.shape
    if kernel_shape and kernel_shape != tuple(kernel):
        raise refuse(
            "KERNEL_SHAPE",
            f"kernel_shape {kernel_shape} is not the weight's {kernel}",
            attribute="kernel_shape",
        )
    if group < 1 or outputs % group or x.shape[1] != inputs * group:
        raise refuse(
            "GROUP",
            f"group {group} does not fit {x.shape[1]} channels and weight {w.shape}",
            attribute="group",
        )
    if offset_group < 1 or x.shape[1] % offset_group:
        raise refuse(
            "GROUP",
            f"offset_group {offset_group} does not divide {x.shape[1]} channels",
            attribute="offset_group",
        )
    spatial = slide(x.shape[2:], tuple(kernel), strides, pads, dilations).outs
    taps = offset_group * math.prod(kernel)
    for name, operand, each in (("offset", offset, rank), ("mask", mask, 1)):
        if operand is not None and operand.shape != (x.shape[0], taps * each, *spatial):
            raise refuse("OFFSETS", f"{name} {operand.shape} is not {(x.shape[0], taps * each, *spatial)}")
    y = Size((x.shape[0], outputs, *spatial), x.dtype)
    depth, positions = math.prod(w.shape[1:]), math.prod(spatial)
    samples = x.shape[0] * x.shape[1] * math.prod(kernel) * positions
    places = range(2, rank + 2)
    moved: Routes = (
        Route(0),
        grouped(group, inputs, outputs),
        *(Read("data_dependent", axis, spare=True) for axis in places),
    )
    weight: Routes = (Route(1), *(WHOLE,) * (rank + 1))
    beside: Routes = (Route(0), WHOLE, *(Route(axis) for axis in places))
    return Facts(
        y,
        macs=y.count * depth,
        elementwise=(2 * 2**rank + (mask is not None)) * samples,
        spans=(moved, weight, beside, (Route(1),), beside),
        saved=tuple(operand for operand in (x, w, offset, mask) if operand is not None),
        lowering=(positions, depth),
    )
