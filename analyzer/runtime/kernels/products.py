"""Matrix products of numbers that are not quantised. Of what is stored, float32 matrices alone are packed.

Sources, under onnxruntime: core/providers/cpu/math/matmul.cc, gemm.cc, det.cc; contrib_ops/cpu/fused_matmul.cc,
fused_gemm.cc, inverse.cc, cdist.cc, quantization/matmul_bnb4.cc, matmul_fp_q4.cc. Half precision has no kernels of its
own here: the session puts Casts around.
"""

from __future__ import annotations

from analyzer.runtime.kernel import MICROSOFT, NOTHING, Call, Reserved, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_constant, operand
from analyzer.runtime.mlas import FLOAT_BYTES, packed_bytes


def _packed(call: Call, transposed: str | None) -> Usage:
    b = operand(call, 1)
    if not is_constant(call, 1) or len(b.shape) != 2 or b.dtype.name != "float32":
        return NOTHING
    turned = bool(transposed and call.attributes.get(transposed, 0))
    depth, columns = b.shape[::-1] if turned else b.shape
    packed = Usage(prepacked=(Reserved(packed_bytes(depth, columns)),), replaces=(1,), turned=turned)
    return packed if b.count else NOTHING


@kernel("MatMul")
def matmul(call: Call) -> Usage:
    """A stored float32 matrix is packed; a stack of matrices is not."""
    return _packed(call, None)


@kernel("FusedMatMul", "TransposeMatMul", domain=MICROSOFT)
@kernel("Gemm")
@kernel("FusedGemm", domain=MICROSOFT)
def gemm(call: Call) -> Usage:
    """The same, turned before it is packed."""
    return _packed(call, "transB")


@kernel("MatMulBnb4", domain=MICROSOFT)
def matmul_bnb4(call: Call) -> Usage:
    """The whole weight is made float32 before there is a result."""
    weight = int(call.attributes["K"]) * int(call.attributes["N"]) * FLOAT_BYTES
    return Usage(steps=(weight, 0))


# Distances and inverses work in vectors of their own, outside of the arena.
plain("CDist", "Inverse", "MatMulFpQ4", domain=MICROSOFT)
plain("Det")
