"""Pooling, sampling and what rearranges images. Most kernels write their result straight from their input.

Sources, under onnxruntime: core/providers/cpu/nn/pool.cc, lp_pool, Unpool.cc, roi_pool.cc, lrn.cc, deform_conv.cc;
core/providers/cpu/object_detection/roialign.cc; core/providers/cpu/tensor/grid_sample.cc, space_depth_ops.h, col2im.cc,
affine_grid.cc; contrib_ops/cpu/maxpool_with_mask.h, crop_and_resize.cc, quantization/qlinear_pool.cc,
quantization/qlinear_global_average_pool.cc, quantization/nhwc_max_pool.cc.
"""

from __future__ import annotations

import math

from analyzer.runtime.kernel import MICROSOFT, NOTHING, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import operand
from analyzer.runtime.mlas import FLOAT_BYTES, round_up

POINTER_BYTES = 8
PLAN_LANES = 8
"""Positions whose bilinear weights are stored side by side."""
PLAN_INDEX_BYTES = 4
CORNERS = 4

plain("MaxPool", "AveragePool", "LpPool", "MaxUnpool", "MaxRoiPool", "RoiAlign")
plain("GlobalAveragePool", "GlobalMaxPool", "GlobalLpPool")
plain("DepthToSpace", "SpaceToDepth", "Col2Im", "GridSample", "AffineGrid")
plain("Crop", "ImageScaler")
plain("GridSample", "MaxpoolWithMask", "CropAndResize", "QLinearGlobalAveragePool", domain=MICROSOFT)


@kernel("LRN")
def lrn(call: Call) -> Usage:
    """The scale of every element, and one image's squares with the window's border of channels."""
    _, channels, *spatial = operand(call, 0).shape
    border = int(call.attributes["size"]) - 1
    padded = (channels + border) * math.prod(spatial) * FLOAT_BYTES
    return Usage(scratch=((operand(call, 0).count * FLOAT_BYTES, padded),))


@kernel("DeformConv")
def deform_conv(call: Call) -> Usage | None:
    """One image unfolded, and four corners with their weights for every tap of every position and offset group."""
    x, w, offset, y = operand(call, 0), operand(call, 1), operand(call, 2), call.outputs[0]
    bits = x.dtype.bits
    if y is None or bits is None:
        return None
    if not y.count:
        return NOTHING
    taps, positions = math.prod(w.shape[2:]), math.prod(y.shape[2:])
    corner = PLAN_INDEX_BYTES + bits // 8
    plan = offset.shape[1] // 2 * round_up(positions, PLAN_LANES) * CORNERS * corner
    return Usage(scratch=((x.shape[1] * taps * positions * bits // 8, plan),))


@kernel("NhwcMaxPool", domain=MICROSOFT)
def nhwc_max_pool(call: Call) -> Usage | None:
    """A pointer for every tap of every position of one image."""
    y = call.outputs[0]
    if y is None:
        return None
    positions, taps = math.prod(y.shape[1:-1]), math.prod(call.attributes["kernel_shape"])
    return Usage(scratch=((positions * taps * POINTER_BYTES,),))


@kernel("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(call: Call) -> Usage:
    """The whole input in float32."""
    return Usage(scratch=((operand(call, 0).count * FLOAT_BYTES,),))
