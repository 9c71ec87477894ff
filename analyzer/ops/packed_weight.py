"""Weights in blocks of few bits: products with them, and lookups in them.

elementwise: 2 steps for each number that is dequantised (shift, scale), as if DequantizeLinear stood before the
product or behind the lookup. The codes are weights, counted as they are stored: two 4-bit codes lie in one
uint8. Scales and zero points are buffers.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, Weight, axis_of, refuse, rule
from analyzer.spans import OPAQUE, WHOLE, Route, Routes, straight

DEQUANTISE = 2


def _product(a: Size, inner: int, columns: int) -> Facts:
    """a [..., inner] times a packed matrix -> [..., columns]."""
    if not a.shape or a.shape[-1] != inner:
        raise refuse("DEPTH_MISMATCH", f"a is {a.shape}, the weight has depth {inner}", attribute="K")
    y = Size((*a.shape[:-1], columns), a.dtype)
    span: Routes = (*straight(a.rank - 1), WHOLE)
    steps = DEQUANTISE * inner * columns
    return Facts(y, macs=y.count * inner, elementwise=steps, spans=(span, OPAQUE))


@rule("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(
    a: Size,
    b: Weight,
    scales: Buffer,
    zero_points: Buffer | None = None,
    g_idx: Setting | None = None,
    bias: Size | None = None,
    *,
    K: int,
    N: int,
    accuracy_level: int = 0,
    bits: int = 4,
    block_size: int,
    weight_prepacked: int = 0,
) -> Facts:
    """a [..., K] times the transpose of b, N rows of K codes in blocks that share a scale."""
    if block_size < 1 or not 1 <= bits <= 8:
        raise refuse("BLOCK_SIZE", f"blocks of {block_size} codes of {bits} bits", attribute="block_size")
    blocks = -(-K // block_size)
    stored = N * blocks * (block_size * bits // 8)
    if not weight_prepacked and b.count != stored:
        raise refuse("WEIGHT_SHAPE", f"weight {b.shape} is not {N} rows of {blocks} blocks: {stored} bytes")
    if not weight_prepacked and scales.count != N * blocks:
        raise refuse(
            "SCALE_SHAPE",
            f"scales {scales.shape} are not {N} rows of {blocks}, one for a block",
            attribute="scales",
        )
    return _product(a, K, N)


@rule("MatMulBnb4", domain=MICROSOFT)
def matmul_bnb4(
    a: Size,
    b: Weight,
    absmax: Buffer,
    *,
    K: int,
    N: int,
    block_size: int,
    quant_type: int,
    training_mode: int = 0,
    transB: int = 1,
) -> Facts:
    """a [..., K] times the transpose of b, N rows of K codes in one run; without `transB`, a [..., N] times b."""
    return _product(a, K, N) if transB else _product(a, N, K)


@rule("MatMulFpQ4", domain=MICROSOFT)
def matmul_fp_q4(a: Size, b: Weight, b_shape: Setting, *, blk_quant_type: int = 1) -> Facts:
    """a [..., K] times b, a blob whose scales lie between its codes; `b_shape` is [K, N]."""
    if b_shape.value is None:
        return Facts(None, macs=None, elementwise=None)
    inner, columns = b_shape.ints()
    return _product(a, inner, columns)


@rule("GatherBlockQuantized", domain=MICROSOFT)
def gather_block_quantized(
    data: Weight,
    indices: Size,
    scales: Buffer,
    zero_points: Buffer | None = None,
    *,
    bits: int = 4,
    block_size: int = 128,
    gather_axis: int = 0,
    quantize_axis: int = 1,
) -> Facts:
    """Rows of an embedding, dequantised; in uint8 data, 8 / bits codes lie side by side along the last axis."""
    axis = axis_of(gather_axis, data.rank)
    codes = 8 // bits if data.dtype.name == "uint8" else 1
    full = (*data.shape[:-1], data.shape[-1] * codes)
    y = Size((*full[:axis], *indices.shape, *full[axis + 1 :]), scales.dtype)
    chosen: Routes = tuple(Route(axis + place) for place in range(indices.rank))
    return Facts(y, elementwise=DEQUANTISE * y.count, spans=(OPAQUE, chosen, OPAQUE), saved=(indices,))
