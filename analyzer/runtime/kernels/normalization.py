"""Normalisation. Float32 works in place of its result; half precision computes in float32 copies of everything.

Sources, under onnxruntime: core/providers/cpu/nn/layer_norm_impl.cc, batch_norm.h, instance_norm.cc, lp_norm.cc;
core/providers/cpu/tensor/mean_variance_normalization.cc; contrib_ops/cpu/skip_layer_norm.cc, bert/embed_layer_norm.cc.
"""

from __future__ import annotations

from analyzer.runtime.kernel import MICROSOFT, NOTHING, Call, Reserved, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_constant, is_given, is_wanted, operand
from analyzer.runtime.mlas import FLOAT_BYTES

SKIP, SKIP_RESULT = 1, 3

plain("InstanceNormalization", "LpNormalization")
plain("EmbedLayerNormalization", "GatedRMSNorm", "BranchwiseRMSNorm", domain=MICROSOFT)


def _is_half(call: Call) -> bool:
    return operand(call, 0).dtype.name == "float16"


def _floats(call: Call, index: int) -> int:
    return operand(call, index).count * FLOAT_BYTES


@kernel("LayerNormalization", "SimplifiedLayerNormalization", "RMSNormalization")
def layer_normalization(call: Call) -> Usage:
    """Half precision: scale and bias in float32, once for all where they are stored."""
    if not _is_half(call):
        return NOTHING
    operands = [index for index in (1, 2) if is_given(call, index)]
    stored = tuple(index for index in operands if is_constant(call, index))
    return Usage(
        prepacked=tuple(Reserved(_floats(call, index)) for index in stored),
        replaces=stored,
        private=True,
        scratch=(tuple(_floats(call, index) for index in operands if index not in stored),),
    )


@kernel("SkipLayerNormalization", "SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(call: Call) -> Usage:
    """Half precision: the input, what is added to it, the result and the sum in float32; the rest as above."""
    if not _is_half(call):
        return NOTHING
    operands = [index for index in (1, 2, 3, 4) if is_given(call, index)]
    stored = tuple(index for index in operands if is_constant(call, index))
    input_bytes = _floats(call, 0)
    added = (_floats(call, SKIP),) * (SKIP not in stored)
    summed = (input_bytes,) * is_wanted(call, SKIP_RESULT)
    rest = tuple(_floats(call, index) for index in operands if index != SKIP and index not in stored)
    return Usage(
        prepacked=tuple(Reserved(_floats(call, index)) for index in stored),
        replaces=stored,
        private=True,
        scratch=((input_bytes, input_bytes, *added, *summed, *rest),),
    )


@kernel("BatchNormalization", alias=((3, 1), (4, 2)))
def batch_normalization(call: Call) -> Usage:
    """In training the batch's own statistics, where the model does not name them."""
    if not call.attributes.get("training_mode", 0):
        return NOTHING
    statistics = operand(call, 3).bytes or 0
    return Usage(scratch=(tuple(statistics for index in (3, 4) if not is_wanted(call, index)),))


@kernel("MeanVarianceNormalization")
def mean_variance_normalization(call: Call) -> Usage:
    """Axes that are not the last ones are moved there, and back again."""
    x = operand(call, 0)
    axes = sorted(axis % x.rank for axis in call.attributes.get("axes", (0, 2, 3)))
    if call.version < 9:
        axes = [1] * (not call.attributes.get("across_channels", 0))
    trailing = axes == list(range(x.rank - len(axes), x.rank))
    return NOTHING if trailing else Usage(scratch=((x.bytes or 0,) * 2,))
