"""Fused products: a convolution or a matrix product with what onnxruntime's optimiser melts into it.

macs are those of the product within. elementwise: the steps of the activation, as its own rule counts them, and
one add for each element of a summed operand; None where nobody knows the activation. Autograd would keep what
the unfused ops keep.
"""

from __future__ import annotations

import msgspec

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Facts, Setting, rule
from analyzer.ops.shared.sliding import Ints
from analyzer.ops.shared.standard import activated, standard
from analyzer.spans import NOTHING, POINTWISE, Routes, Span

Floats = tuple[float, ...]


@rule("FusedConv", domain=MICROSOFT)
def fused_conv(
    x: Size,
    w: Size,
    b: Size | None = None,
    z: Size | None = None,
    *,
    activation: str | None = None,
    activation_params: Floats | None = None,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """activation(x * w + b + z), [N, C, *spatial] -> [N, M, *spatial]; z has the result's shape."""
    said = standard(
        "Conv", x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip
    return activated(said, activation, z)


@rule("ConvTransposeWithDynamicPads", domain=MICROSOFT)
def conv_transpose_with_dynamic_pads(
    x: Size,
    w: Size,
    pads: Setting | None = None,
    b: Size | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    output_padding: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """As ConvTranspose, the padding an operand."""
    if pads is not None and pads.value is None:
        return Facts(None, macs=None)
    said = standard(
        "ConvTranspose", x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        output_padding=output_padding, pads=None if pads is None else pads.ints(), strides=strides,
    )  # fmt: skip
    return msgspec.structs.replace(said, spans=(said.span(0), said.span(1), NOTHING, said.span(2)))


@rule("FusedGemm", domain=MICROSOFT)
def fused_gemm(
    a: Size,
    b: Size,
    c: Size | None = None,
    *,
    activation: str | None = None,
    activation_alpha: float | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    beta: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Facts:
    """activation(a b + c) of matrices, either side transposed."""
    return activated(standard("Gemm", a, b, c, transA=transA, transB=transB), activation)


@rule("GemmFastGelu", domain=MICROSOFT)
def gemm_fast_gelu(x: Size, w: Size, bias: Size | None = None) -> Facts:
    """gelu(x w + bias), x of any rank."""
    said = standard("MatMul", x, w)
    return activated(msgspec.structs.replace(said, spans=(said.span(0), said.span(1), POINTWISE)), "Gelu")


@rule("TransposeMatMul", domain=MICROSOFT)
def transpose_matmul(a: Size, b: Size, *, alpha: float = 1.0, transA: int = 0, transB: int = 0) -> Facts:
    """A matrix product, the last two axes of either side transposed."""
    return _turned_product(a, b, _order(a.rank, transA, 0), _order(b.rank, transB, 0))


@rule("FusedMatMul", domain=MICROSOFT)
def fused_matmul(
    a: Size,
    b: Size,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Facts:
    """As TransposeMatMul; `transBatch` says that a side's rows are its first axis and its batch the axes between."""
    return _turned_product(a, b, _order(a.rank, transA, transBatchA), _order(b.rank, transB, transBatchB))


@rule("FusedMatMulActivation", domain=MICROSOFT)
def fused_matmul_activation(
    a: Size,
    b: Size,
    *,
    activation: str,
    activation_alpha: float | None = None,
    activation_axis: int | None = None,
    activation_beta: float | None = None,
    activation_gamma: float | None = None,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
    transBatchA: int = 0,
    transBatchB: int = 0,
) -> Facts:
    """As FusedMatMul, then an activation."""
    said = fused_matmul(a, b, transA=transA, transB=transB, transBatchA=transBatchA, transBatchB=transBatchB)
    return activated(said, activation)


def _order(rank: int, transposed: int, batch_inside: int) -> Ints:
    """Which stored axes are the batch, the rows and the columns of a product's operand; a vector has no order."""
    if rank < 2:
        return tuple(range(rank))
    order = (*range(1, rank - 1), 0, rank - 1) if batch_inside else tuple(range(rank))
    return (*order[:-2], order[-1], order[-2]) if transposed else order


def _turned_product(a: Size, b: Size, order_a: Ints, order_b: Ints) -> Facts:
    left, right = (
        Size(tuple(x.shape[i] for i in order), x.dtype) for x, order in ((a, order_a), (b, order_b))
    )
    said = standard("MatMul", left, right)
    spans = (_as_stored(said.span(0), order_a), _as_stored(said.span(1), order_b))
    return msgspec.structs.replace(said, spans=spans, saved=(a, b))


def _as_stored(said: Span, order: Ints) -> Span:
    """Routes of the turned operand, by its stored axes."""
    assert isinstance(said, tuple)
    routes: Routes = tuple(said[order.index(axis)] for axis in range(len(order)))
    return routes
