"""Element by element. Broadcasting needs no memory but where there are more than two operands.

Sources, under onnxruntime: core/providers/cpu/math/element_wise_ops.cc, activation/activations.h, tensor/where_op.cc,
tensor/cast_op.cc; contrib_ops/cpu/bert/bias_gelu.cc, fast_gelu.cc.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from analyzer.graph import Size
from analyzer.runtime.kernel import MICROSOFT, NOTHING, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_given, operand

OVER_ITSELF = ((0, 0),)
OUTPUTS = 0
"""Among the steps of a Usage: here the results are taken."""
BROADCASTS = 8
"""From this version on Max, Min, Mean and Sum broadcast; before, they add up in the result."""

plain("Add", "Sub", "Mul", "Div", "Pow", "Mod", "PRelu", "BitShift")
plain("And", "Or", "Xor", "Not", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot")
plain("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "IsInf", "IsNaN")
plain("Abs", "Neg", "Sign", "Ceil", "Floor", "Round", "Reciprocal", "Sqrt", "Exp", "Log", "Erf")
plain("Sin", "Cos", "Tan", "Asin", "Acos", "Atan", "Sinh", "Cosh", "Asinh", "Acosh", "Atanh")
plain("Gelu", "Affine", "Scale", "Dropout")
plain("Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", inplace=OVER_ITSELF)
plain("Sigmoid", "HardSigmoid", "Tanh", "ScaledTanh", inplace=OVER_ITSELF)
plain("Softplus", "ParametricSoftplus", "Softsign", "Shrink", inplace=OVER_ITSELF)
plain("Clip", "Cast", "BitCast", inplace=OVER_ITSELF)
plain("Gelu", "QuickGelu", "ScaledSiLU", "GatedAdd", "MurmurHash3", domain=MICROSOFT)


@kernel("BiasGelu", "FastGelu", domain=MICROSOFT)
def biased_gelu(call: Call) -> Usage:
    """The sum with the bias."""
    return Usage(scratch=((operand(call, 0).bytes or 0,),)) if is_given(call, 1) else NOTHING


@kernel("Max", "Min", "Mean", "Sum")
def variadic(call: Call) -> Usage:
    """Two by two: what came out so far is given back when the next one is there, and the last one is the result."""
    if call.version < BROADCASTS:
        return NOTHING
    steps: list[int] = []
    for place in range(1, len(call.inputs) - 1):
        steps.append(_together([operand(call, index) for index in range(place + 1)]))
        steps += [-(place - 1)] * (place > 1)
    return Usage(steps=(*steps, OUTPUTS)) if steps else NOTHING


@kernel("Where")
def where(call: Call) -> Usage | None:
    """What either side gives, nothing where the other is chosen; then the result."""
    condition, x, y = (operand(call, index) for index in range(3))
    if x.bytes is None:
        return None
    return Usage(steps=(_together([x, condition], x), _together([y, condition], y), OUTPUTS))


def _together(operands: Sequence[Size], like: Size | None = None) -> int:
    """Bytes of operands broadcast to one shape."""
    shape = np.broadcast_shapes(*(size.shape for size in operands))
    return Size(shape, (like or operands[0]).dtype).bytes or 0
