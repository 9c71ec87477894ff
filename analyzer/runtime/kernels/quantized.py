"""Quantised products and what is computed between them.

Sources, under onnxruntime/core/providers/cpu: quantization/matmul_integer_base.h, matmul_integer.cc,
quantize_linear.cc, dynamicquantizelinear.cc, math/quantize_linear_matmul.cc; under contrib_ops/cpu/quantization:
dynamic_quantize_matmul.cc, quant_gemm.cc, attention_quant.cc, qlinear_binary_op.cc, qlinear_lookup_table.cc,
qlinear_softmax.cc, qlinear_concat.cc, qlinear_where.cc. Tables of 256 results are vectors of the kernel's own, outside
of the arena.
"""

from __future__ import annotations

import math

import numpy as np

from analyzer.runtime.kernel import MICROSOFT, NOTHING, Call, Reserved, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_constant, is_given, operand
from analyzer.runtime.mlas import FLOAT_BYTES, INT32_BYTES, quantized_packed_bytes

HEAD_BYTES = 64
"""What attention takes for every head of every image beside its products."""


def _signed(call: Call, index: int) -> bool:
    return operand(call, index).dtype.name == "int8"


def _packed(call: Call, index: int, *, signed_a: bool, transposed: bool = False) -> Usage | None:
    """A stored matrix of bytes, packed where the processor has a kernel for it; turned before, in the arena proper."""
    b = operand(call, index)
    if not is_constant(call, index) or len(b.shape) != 2:
        return NOTHING
    depth, columns = b.shape[::-1] if transposed else b.shape
    need = quantized_packed_bytes(depth, columns, signed_a=signed_a, signed_b=_signed(call, index))
    if need is None:
        return None
    packing = ((b.count,),) if transposed else ()
    return Usage((Reserved(need),), packing, (index,)) if need else Usage(packing=packing)


@kernel("MatMulInteger")
@kernel("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer(call: Call) -> Usage | None:
    """Products go straight to the result, which has their four bytes."""
    return _packed(call, 1, signed_a=_signed(call, 0))


@kernel("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(call: Call) -> Usage | None:
    """The input is quantised to unsigned bytes before there is a result."""
    packed = _packed(call, 1, signed_a=False)
    return packed and Usage(
        packed.prepacked, packed.packing, packed.replaces, steps=(operand(call, 0).count, 0)
    )


@kernel("QLinearMatMul")
def qlinear_matmul(call: Call) -> Usage | None:
    """Products in int32 before they are scaled to bytes."""
    packed, y = _packed(call, 3, signed_a=_signed(call, 0)), call.outputs[0]
    if packed is None or y is None:
        return None
    scratch = ((y.count * INT32_BYTES,),) if y.count else ()
    return Usage(packed.prepacked, packed.packing, packed.replaces, scratch)


@kernel("QGemm", domain=MICROSOFT)
def qgemm(call: Call) -> Usage | None:
    """Operands that lie the other way round are copied before there is a result; sums are int32 where that is bytes."""
    turned = [bool(call.attributes.get(name, 0)) for name in ("transA", "transB")]
    packed, y = _packed(call, 3, signed_a=_signed(call, 0), transposed=turned[1]), call.outputs[0]
    if packed is None or y is None:
        return None
    first = [operand(call, 0).count] * turned[0] + [operand(call, 3).count] * (
        turned[1] and not packed.prepacked
    )
    sums = (y.count * INT32_BYTES,) if y.dtype.bits == 8 else ()
    return Usage(packed.prepacked, packed.packing, packed.replaces, steps=(*first, 0, *sums))


@kernel("QAttention", domain=MICROSOFT)
def qattention(call: Call) -> Usage | None:
    """Queries, keys and values of all heads, the mask, the probabilities, and the result before its heads are put
    side by side. The stored weight is packed head by head.
    """
    x, w = operand(call, 0), operand(call, 1)
    heads = int(call.attributes["num_heads"])
    batch, length, _ = x.shape
    hidden = w.shape[1] // 3
    every = length + (operand(call, 8).shape[3] if is_given(call, 8) else 0)
    rows = batch * length * hidden * FLOAT_BYTES
    scores = batch * length * every * FLOAT_BYTES
    scratch = (3 * rows, *_mask(call, batch, scores, every), heads * scores, batch * heads * HEAD_BYTES, rows)
    packed: tuple[Reserved, ...] = ()
    if is_constant(call, 1):
        need = quantized_packed_bytes(
            w.shape[0], hidden // heads, signed_a=_signed(call, 0), signed_b=_signed(call, 1)
        )
        if need is None:
            return None
        packed = (Reserved(3 * heads * need),) if need else ()
    return Usage(packed, replaces=(1,) if packed else (), scratch=(scratch,))


def _mask(call: Call, batch: int, scores: int, every: int) -> tuple[int, ...]:
    """A row for every image, a matrix where each position has its own."""
    given = is_given(call, 5)
    if call.attributes.get("unidirectional", 0) or (given and len(operand(call, 5).shape) > 2):
        return (scores,)
    return (batch * every * FLOAT_BYTES,) if given else ()


@kernel("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(call: Call) -> Usage:
    """An axis that is not the last one is brought there and back (before opset 13 it meant all that follow)."""
    x = operand(call, 0)
    axis = int(call.attributes.get("axis", -1)) % len(x.shape)
    if int(call.attributes["opset"]) < 13 or axis == len(x.shape) - 1:
        return NOTHING
    return Usage(scratch=((x.count, x.count),))


@kernel("QLinearWhere", domain=MICROSOFT)
def qlinear_where(call: Call) -> Usage:
    """Each side with the condition, before there is a result."""
    condition = operand(call, 0).shape
    sides = [math.prod(np.broadcast_shapes(condition, operand(call, index).shape)) for index in (1, 4)]
    return Usage(steps=(*sides, 0)) if all(sides) else NOTHING


plain("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear")
plain("QuantizeLinear", "DequantizeLinear", "MatMulInteger16", "GatherBlockQuantized", domain=MICROSOFT)
plain("QLinearAdd", "QLinearMul", "QLinearSigmoid", "QLinearLeakyRelu", "QLinearConcat", domain=MICROSOFT)
plain("QEmbedLayerNormalization", domain=MICROSOFT)
