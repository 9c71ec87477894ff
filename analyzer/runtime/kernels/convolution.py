"""Convolution and its transpose in float32.

Sources, under onnxruntime: core/providers/cpu/nn/conv.cc, conv_integer.cc, conv_transpose.cc;
contrib_ops/cpu/fused_conv.cc, nchwc_ops.cc, word_conv_embedding.cc.
"""

from __future__ import annotations

import math

from analyzer.runtime.kernel import MICROSOFT, NCHWC, NOTHING, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_constant, operand
from analyzer.runtime.mlas import FLOAT_BYTES, convolution_bytes

Ints = tuple[int, ...]


def is_direct(call: Call, kernel_shape: Ints) -> bool:
    """A pointwise kernel that reads its input as it lies; only what the node says itself counts."""
    steps = call.attributes.get("strides") or (1,)
    pads = call.attributes.get("pads") or (0,)
    return math.prod(kernel_shape) == 1 and set(steps) == {1} and not any(pads)


def _pads(
    call: Call, spatial: Ints, kernel_shape: Ints, positions: Ints, strides: Ints, dilations: Ints
) -> Ints:
    """Padding before and after each axis; where it is automatic, which side has more does not matter here."""
    rank = len(spatial)
    auto = call.attributes.get("auto_pad", "NOTSET")
    if auto == "VALID":
        return (0,) * (2 * rank)
    if auto == "NOTSET":
        return tuple(call.attributes.get("pads") or (0,) * (2 * rank))
    total = [
        max((positions[i] - 1) * strides[i] + dilations[i] * (kernel_shape[i] - 1) + 1 - spatial[i], 0)
        for i in range(rank)
    ]
    return (*(t // 2 for t in total), *(t - t // 2 for t in total))


@kernel("Conv")
def conv(call: Call) -> Usage | None:
    """Up to three spatial axes are MLAS's; more are unfolded as a whole, group by group. Other types have no kernel."""
    x, w, y = operand(call, 0), operand(call, 1), call.outputs[0]
    if y is None or x.dtype.name != "float32":
        return None
    if not y.count:
        return NOTHING
    spatial, kernel_shape, positions = x.shape[2:], w.shape[2:], y.shape[2:]
    rank = len(spatial)
    if rank > 3:
        return Usage(scratch=((math.prod(w.shape[1:]) * math.prod(positions) * FLOAT_BYTES,),))
    groups = int(call.attributes.get("group", 1))
    strides = tuple(call.attributes.get("strides") or (1,) * rank)
    dilations = tuple(call.attributes.get("dilations") or (1,) * rank)
    need = convolution_bytes(
        x.shape[0],
        groups,
        w.shape[1],
        w.shape[0] // groups,
        spatial,
        kernel_shape,
        positions,
        strides=strides,
        dilations=dilations,
        pads=_pads(call, spatial, kernel_shape, positions, strides, dilations),
        threads=call.threads,
    )
    return Usage(scratch=((need,),)) if need else NOTHING


# The sum that is added (operand 3) may become the result.
kernel("FusedConv", domain=MICROSOFT, inplace=((3, 0),))(conv)


@kernel("ConvInteger")
def conv_integer(call: Call) -> Usage | None:
    """One group of one image is unfolded at a time, in bytes."""
    w, y = operand(call, 1), call.outputs[0]
    if y is None:
        return None
    if not y.count or is_direct(call, w.shape[2:]):
        return NOTHING
    return Usage(scratch=((math.prod(w.shape[1:]) * math.prod(y.shape[2:]),),))


def _conv_transpose(call: Call) -> Usage | None:
    """All taps of one group of one image before they are added up; a stored weight is transposed once (in the arena
    proper), but not where that would change nothing.
    """
    x, w, y = operand(call, 0), operand(call, 1), call.outputs[0]
    if y is None or x.dtype.name != "float32":
        return None
    depth, columns = w.shape[0] // int(call.attributes.get("group", 1)), math.prod(w.shape[1:])
    packs = is_constant(call, 1) and len(w.shape) > 2 and depth > 1 and columns > 1
    taps = columns * math.prod(x.shape[2:]) * FLOAT_BYTES
    return Usage(
        prepacked=(w.count * FLOAT_BYTES,) if packs else (),
        replaces=(1,) if packs else (),
        scratch=((taps,),) if y.count else (),
    )


kernel("ConvTranspose")(_conv_transpose)
kernel("ConvTransposeWithDynamicPads", domain=MICROSOFT)(_conv_transpose)


@kernel("WordConvEmbedding", domain=MICROSOFT)
def word_conv_embedding(call: Call) -> Usage | None:
    """Characters looked up, lengths of words, then the windows unfolded, convolved and activated."""
    characters, w, table = operand(call, 0), operand(call, 1), operand(call, 3)
    words, length = math.prod(characters.shape[:-1]), characters.shape[-1]
    filters, taps = w.shape[0], math.prod(w.shape[1:])
    windows = words * (length - w.shape[2] + 1) * FLOAT_BYTES
    looked_up = characters.count * table.shape[1] * FLOAT_BYTES
    return Usage(scratch=((looked_up, words * 4, windows * taps, windows * filters, windows * filters),))


# Blocked layout: weights were reordered when the graph was optimised, and kernels read their input as it lies.
plain("Conv", domain=NCHWC, inplace=((3, 0),))
plain("ReorderInput", "ReorderOutput", "Upsample", domain=NCHWC)
plain("MaxPool", "AveragePool", "GlobalMaxPool", "GlobalAveragePool", domain=NCHWC)
