"""Resize and Upsample: where each position reads, and with which weights.

Sources, under onnxruntime/core/providers/cpu/tensor: upsample.cc, upsamplebase.h, upsample_antialias.h. Nearest and
cubic keep what they need in vectors of their own; antialiased filters do not.
"""

from __future__ import annotations

import math

import numpy as np

from analyzer.graph import Size
from analyzer.runtime.kernel import NOTHING, Call, Usage, kernel
from analyzer.runtime.kernels.operands import is_given, operand
from analyzer.runtime.mlas import FLOAT_BYTES

AXIS_BYTES = {"planes": 16, "volumes": 24}
"""For each position along an axis: two places and two weights; in a volume the places have words of eight bytes."""
SUPPORT = {"linear": 2.0, "cubic": 4.0}
"""Positions that a filter reads on both sides."""


@kernel("Resize", "Upsample")
def resize(call: Call) -> Usage:
    """Nothing where the shape stays, or each result is one element."""
    x, y = operand(call, 0), call.outputs[0]
    assert y is not None
    mode = call.attributes.get("mode", "nearest")
    if not y.count or x.shape == y.shape or mode not in SUPPORT:
        return NOTHING
    axes = _axes(x, y)
    if call.attributes.get("antialias", 0):
        return Usage(scratch=_antialiased(call, x, y, axes, SUPPORT[mode]))
    if mode == "cubic":
        return NOTHING
    each = AXIS_BYTES["volumes" if x.rank in (3, 5) else "planes"]
    return Usage(scratch=((each * sum(y.shape[axis] for axis in axes),),))


def _axes(x: Size, y: Size) -> tuple[int, ...]:
    """The axes that are resampled together; channels may come last in a plane."""
    if x.rank == 4 and x.shape[1] != y.shape[1]:
        return 1, 2
    return tuple(range(x.rank))[-2 if x.rank in (2, 4) else -3 :]


def _antialiased(
    call: Call, x: Size, y: Size, axes: tuple[int, ...], support: float
) -> tuple[tuple[int, ...], ...]:
    """Each axis' filters, the last axis first; then what is between the passes, of one image (a volume: of all)."""
    filters = tuple(
        _window(call, x, y, axis, support) * y.shape[axis] * FLOAT_BYTES for axis in reversed(axes)
    )
    item = (x.dtype.bits or 0) // 8
    width = y.shape[axes[-1]]
    channels = math.prod(n for axis, n in enumerate(x.shape) if axis and axis not in axes)
    image = channels * math.prod(x.shape[axis] for axis in axes[:-1]) * width * item
    if len(axes) < 3:
        return ((*filters, image),)
    batch = 1 if 0 in axes else x.shape[0]
    planes = batch * channels * x.shape[axes[0]] * y.shape[axes[1]] * width * item
    return ((*filters, planes, image),)


def _window(call: Call, x: Size, y: Size, axis: int, support: float) -> int:
    """Elements that a filter reads at most, in the precision that onnxruntime computes it in."""
    ratio = np.float32(y.shape[axis] / x.shape[axis])
    scales = 2 if len(call.inputs) > 2 else 1
    if is_given(call, scales) and operand(call, scales).count and operand(call, scales).value is not None:
        given = np.asarray(operand(call, scales).value, np.float32)
        ratio = given[axis] if given.size == x.rank else ratio
    shrink = max(np.float32(1) / ratio, np.float32(1))
    return 2 * math.ceil(np.float32(support / 2) * shrink) + 1
