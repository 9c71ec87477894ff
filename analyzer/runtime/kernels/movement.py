"""Ops that move, choose or make elements. Where they need room it is in vectors of their own, outside of the arena.

Sources, under onnxruntime/core/providers/cpu: tensor/*.cc, generator/*.cc, object_detection/non_max_suppression.cc;
and contrib_ops/cpu for the ops of com.microsoft.
"""

from __future__ import annotations

from analyzer.runtime.kernel import MICROSOFT, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import operand

SAME = ((0, 0),)
DOUBLE_BYTES = 8

plain("Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", alias=SAME)
plain("ExpandDims", domain=MICROSOFT, alias=SAME)
plain("Transpose", "Slice", "DynamicSlice", "Concat", "Split", "Pad", "Tile", "Expand", "ReverseSequence")
plain("Gather", "GatherElements", "GatherND", "ScatterND", "OneHot", "Compress", "NonZero", "Unique")
plain("Scatter", "ScatterElements", "TensorScatter", "Trilu", inplace=SAME)
plain("Shape", "Size", "ConstantOfShape", "Range", "EyeLike", "NonMaxSuppression")
plain("RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike")
plain("Trilu", domain=MICROSOFT, inplace=SAME)
plain("GatherND", "Pad", "Range", "Unique", "UnfoldTensor", "NGramRepeatBlock", domain=MICROSOFT)
plain("CausalConvWithState", "DynamicTimeWarping", "SampleOp", domain=MICROSOFT)


@kernel("Multinomial")
def multinomial(call: Call) -> Usage:
    """The classes' probabilities, summed up, of one row."""
    return Usage(scratch=((operand(call, 0).shape[1] * DOUBLE_BYTES,),))
