"""Products of quantised codes: convolution, matrix product, recurrence.

macs are those of the plain product; it is taken in integers. elementwise, for each of its elements: 4 where the
sums become codes again (scale, round, shift, saturate), 1 where they become floats (scale), 0 where they stay
sums; and 6 for each element that is quantised by its own extremes on the way. Nothing of this is trained, so
autograd keeps nothing. A constant operand of codes is a weight whatever its dtype; scales and zero points are
buffers.
"""

from __future__ import annotations

from analyzer.graph import DTYPE_NAMED, FLOAT32, INT32, DType, Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, Weight, refuse, rule
from analyzer.ops.shared.layout import channels_last as turned
from analyzer.ops.shared.sliding import Ints
from analyzer.ops.shared.standard import result, standard
from analyzer.spans import POINTWISE, WHOLE, Span

REQUANTISE, RESCALE, QUANTISE_DYNAMICALLY = 4, 1, 6
BESIDE: Span = (WHOLE,)
"""A scale, a zero point or a bias: a scalar, or a vector that is taken whole."""


def _of_codes(said: Facts, dtype: DType, steps: int, *spans: Span, more: int = 0) -> Facts:
    """A plain product as one of codes: `steps` for each element, and `more`; the last span is for all operands left."""
    y = Size(result(said).shape, dtype)
    return Facts(y, macs=said.macs, elementwise=steps * y.count + more, spans=spans, lowering=said.lowering)


@rule("ConvInteger", since=10)
def conv_integer(
    x: Size,
    w: Weight,
    x_zero: Buffer | None = None,
    w_zero: Buffer | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """A convolution of codes; its sums stay as they are."""
    said = standard(
        "Conv", x, w, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip
    return _of_codes(said, INT32, 0, said.span(0), said.span(1), BESIDE)


@rule("QLinearConv", since=10)
def qlinear_conv(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer,
    w: Weight,
    w_scale: Buffer,
    w_zero: Buffer,
    y_scale: Buffer,
    y_zero: Buffer,
    b: Weight | None = None,
    *,
    auto_pad: str = "NOTSET",
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """A convolution of codes to codes; the weight may have a scale for each output channel."""
    for name, vector in (("w_scale", w_scale), ("w_zero_point", w_zero)):
        if vector.shape not in ((), (1,), w.shape[:1]):
            raise refuse(
                "SCALE_SHAPE",
                f"{name} {vector.shape} is neither one number nor one for each of {w.shape[0]} output channels",
                attribute=name,
            )
    said = standard(
        "Conv", x, w, b, auto_pad=auto_pad, dilations=dilations, group=group, kernel_shape=kernel_shape,
        pads=pads, strides=strides,
    )  # fmt: skip
    return _of_codes(said, y_zero.dtype, REQUANTISE, said.span(0), BESIDE, BESIDE, said.span(1), BESIDE)


@rule("QLinearConv", domain=MICROSOFT)
def qlinear_conv_microsoft(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer,
    w: Weight,
    w_scale: Buffer,
    w_zero: Buffer,
    y_scale: Buffer,
    y_zero: Buffer,
    b: Weight | None = None,
    *,
    auto_pad: str = "NOTSET",
    channels_last: int = 0,
    dilations: Ints | None = None,
    group: int = 1,
    kernel_shape: Ints | None = None,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """The same; with `channels_last`, x and the result are [N, *spatial, C]."""

    def first(x: Size) -> Facts:
        return qlinear_conv(
            x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero, b, auto_pad=auto_pad, dilations=dilations,
            group=group, kernel_shape=kernel_shape, pads=pads, strides=strides,
        )  # fmt: skip

    return turned(first, x) if channels_last else first(x)


@rule("MatMulInteger", since=10)
def matmul_integer(a: Size, b: Weight, a_zero: Buffer | None = None, b_zero: Buffer | None = None) -> Facts:
    """A product of codes; its sums stay as they are."""
    said = standard("MatMul", a, b)
    return _of_codes(said, INT32, 0, said.span(0), said.span(1), BESIDE)


@rule("MatMulInteger16", domain=MICROSOFT)
def matmul_integer_16(a: Size, b: Weight) -> Facts:
    """A product of 16-bit codes; its sums are unsigned if both sides are."""
    said = standard("MatMul", a, b)
    unsigned = a.dtype.kind == b.dtype.kind == "u"
    return _of_codes(said, DTYPE_NAMED["uint32"] if unsigned else INT32, 0, said.span(0), said.span(1))


@rule("QLinearMatMul", since=10)
def qlinear_matmul(
    a: Size,
    a_scale: Buffer,
    a_zero: Buffer,
    b: Weight,
    b_scale: Buffer,
    b_zero: Buffer,
    y_scale: Buffer,
    y_zero: Buffer,
) -> Facts:
    """A product of codes to codes."""
    said = standard("MatMul", a, b)
    return _of_codes(said, y_zero.dtype, REQUANTISE, said.span(0), BESIDE, BESIDE, said.span(1), BESIDE)


@rule("QGemm", domain=MICROSOFT)
def qgemm(
    a: Size,
    a_scale: Buffer,
    a_zero: Buffer,
    b: Weight,
    b_scale: Buffer,
    b_zero: Buffer,
    c: Weight | None = None,
    y_scale: Buffer | None = None,
    y_zero: Buffer | None = None,
    *,
    alpha: float = 1.0,
    transA: int = 0,
    transB: int = 0,
) -> Facts:
    """A matrix product of codes, to codes where the result has a zero point, else to floats."""
    said = standard("Gemm", a, b, transA=transA, transB=transB)
    dtype, steps = (FLOAT32, RESCALE) if y_zero is None else (y_zero.dtype, REQUANTISE)
    left, right = said.span(0), said.span(1)
    return _of_codes(said, dtype, steps, left, BESIDE, BESIDE, right, BESIDE, BESIDE, POINTWISE, BESIDE)


@rule("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(
    a: Size,
    b: Weight,
    a_scale: Buffer,
    b_scale: Buffer,
    a_zero: Buffer | None = None,
    b_zero: Buffer | None = None,
    bias: Size | None = None,
) -> Facts:
    """A product of codes, to floats."""
    said = standard("MatMul", a, b)
    return _of_codes(said, a_scale.dtype, RESCALE, said.span(0), said.span(1), BESIDE)


@rule("DynamicQuantizeMatMul", domain=MICROSOFT)
def dynamic_quantize_matmul(
    a: Size, b: Weight, b_scale: Buffer, b_zero: Buffer | None = None, bias: Size | None = None
) -> Facts:
    """As MatMulIntegerToFloat, a quantised on the way by its own extremes: so every result sees all of it."""
    said = standard("MatMul", a, b)
    more = QUANTISE_DYNAMICALLY * a.count
    return _of_codes(said, a.dtype, RESCALE, (WHOLE,) * a.rank, said.span(1), BESIDE, more=more)


@rule("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_quantize_lstm(
    x: Size,
    w: Weight,
    r: Weight,
    b: Size | None = None,
    sequence_lens: Setting | None = None,
    initial_h: Size | None = None,
    initial_c: Size | None = None,
    p: Size | None = None,
    w_scale: Buffer | None = None,
    w_zero: Buffer | None = None,
    r_scale: Buffer | None = None,
    r_zero: Buffer | None = None,
    *,
    activation_alpha: tuple[float, ...] | None = None,
    activation_beta: tuple[float, ...] | None = None,
    activations: tuple[str, ...] | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
) -> Facts:
    """An LSTM, weights [directions, inputs, gates]; its input and each state are quantised by their own extremes."""
    turned_w, turned_r = (Size((m.shape[0], m.shape[2], m.shape[1]), x.dtype) for m in (w, r))
    said = standard(
        "LSTM", x, turned_w, turned_r, b, sequence_lens, initial_h, initial_c, p, activations=activations,
        clip=clip, direction=direction, hidden_size=hidden_size, input_forget=input_forget,
    )  # fmt: skip
    states = x.shape[0] * x.shape[1] * r.shape[0] * r.shape[1]
    quantised, rescaled = x.count + states, 2 * 4 * states
    plain = said.elementwise
    steps = None if plain is None else plain + QUANTISE_DYNAMICALLY * quantised + RESCALE * rescaled
    return Facts(said.outputs, macs=said.macs, elementwise=steps, spans=((WHOLE,) * 3, BESIDE))
