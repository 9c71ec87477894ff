"""Ops on quantised codes that work on the numbers behind them: what they say is said by the op that works on
numbers.

elementwise: the steps of that op, 2 for each element of its operands (shift, scale) and 4 for each of its
result (divide, round, shift, saturate): what DequantizeLinear, the op and QuantizeLinear come to. Nothing is
trained, so autograd keeps nothing. Scales and zero points are buffers, scalars all of them.
"""

from __future__ import annotations

from analyzer.graph import INT32, DType, Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, broadcast, refuse, rule
from analyzer.ops.shared.layout import channels_last as turned
from analyzer.ops.shared.sliding import Ints
from analyzer.ops.shared.standard import result, standard
from analyzer.spans import POINTWISE, Span

DEQUANTISE, QUANTISE = 2, 4


def _of_codes(said: Facts, dtype: DType, operands: tuple[Size, ...], spans: tuple[Span, ...]) -> Facts:
    """What is said of an op on numbers, of the same op on codes, `operands` to be dequantised."""
    y = Size(result(said).shape, dtype)
    read = sum(operand.count for operand in operands)
    plain = said.elementwise
    steps = None if plain is None else plain + DEQUANTISE * read + QUANTISE * y.count
    return Facts(y, elementwise=steps, spans=spans)


def _one(said: Facts, x: Size) -> Facts:
    """The same, of one operand."""
    return _of_codes(said, x.dtype, (x,), (said.span(0), POINTWISE))


def _two(op_type: str, a: Size, b: Size | None) -> Facts:
    """The same, of two operands that broadcast."""
    b = _needed(b)
    return _of_codes(standard(op_type, a, b), a.dtype, (a, b), (POINTWISE,))


def _needed(b: Size | None) -> Size:
    """An operand that stands behind one which may be left out, but may not itself."""
    if b is None:
        raise refuse("MISSING_OPERAND", "the second operand is missing")
    return b


@rule("QLinearAdd", domain=MICROSOFT)
def qlinear_add(
    a: Size,
    a_scale: Buffer,
    a_zero: Buffer | None = None,
    b: Size | None = None,
    b_scale: Buffer | None = None,
    b_zero: Buffer | None = None,
    c_scale: Buffer | None = None,
    c_zero: Buffer | None = None,
) -> Facts:
    """a + b."""
    return _two("Add", a, b)


@rule("QLinearMul", domain=MICROSOFT)
def qlinear_mul(
    a: Size,
    a_scale: Buffer,
    a_zero: Buffer | None = None,
    b: Size | None = None,
    b_scale: Buffer | None = None,
    b_zero: Buffer | None = None,
    c_scale: Buffer | None = None,
    c_zero: Buffer | None = None,
) -> Facts:
    """a b."""
    return _two("Mul", a, b)


@rule("MulInteger", domain=MICROSOFT)
def mul_integer(
    a: Size, a_zero: Buffer | None = None, b: Size | None = None, b_zero: Buffer | None = None
) -> Facts:
    """The product of the shifted codes, 32 bits wide: two shifts and a multiplication."""
    b = _needed(b)
    y = Size(broadcast(a.shape, b.shape), INT32)
    return Facts(y, elementwise=a.count + b.count + y.count, spans=POINTWISE)


@rule("QLinearSigmoid", domain=MICROSOFT)
def qlinear_sigmoid(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer | None = None,
    y_scale: Buffer | None = None,
    y_zero: Buffer | None = None,
) -> Facts:
    """The logistic function."""
    return _one(standard("Sigmoid", x), x)


@rule("QLinearLeakyRelu", domain=MICROSOFT)
def qlinear_leaky_relu(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer | None = None,
    y_scale: Buffer | None = None,
    y_zero: Buffer | None = None,
    *,
    alpha: float = 0.01,
) -> Facts:
    """Negative numbers times `alpha`."""
    return _one(standard("LeakyRelu", x), x)


@rule("QLinearSoftmax", domain=MICROSOFT)
def qlinear_softmax(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer | None = None,
    y_scale: Buffer | None = None,
    y_zero: Buffer | None = None,
    *,
    axis: int = -1,
    opset: int,
) -> Facts:
    """Softmax as opset `opset` has it: along one axis, or before 13 along it and all after it."""
    return _one(standard("Softmax", x, version=opset, axis=axis), x)


@rule("QLinearReduceMean", domain=MICROSOFT)
def qlinear_reduce_mean(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer | None = None,
    y_scale: Buffer | None = None,
    y_zero: Buffer | None = None,
    *,
    axes: Ints,
    keepdims: int,
) -> Facts:
    """The mean over axes, as attributes had them before opset 18; none means all."""
    return _one(standard("ReduceMean", x, version=13, axes=axes, keepdims=keepdims), x)


@rule("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer | None = None,
    y_scale: Buffer | None = None,
    y_zero: Buffer | None = None,
    *,
    auto_pad: str = "NOTSET",
    ceil_mode: int = 0,
    channels_last: int = 0,
    count_include_pad: int = 0,
    kernel_shape: Ints,
    pads: Ints | None = None,
    strides: Ints | None = None,
) -> Facts:
    """The mean under each window, of x [N, C, *spatial], or [N, *spatial, C] with `channels_last`."""

    def first(x: Size) -> Facts:
        said = standard(
            "AveragePool",
            x,
            auto_pad=auto_pad,
            ceil_mode=ceil_mode,
            kernel_shape=kernel_shape,
            pads=pads,
            strides=strides,
        )
        return _one(said, x)

    return turned(first, x) if channels_last else first(x)


@rule("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(
    x: Size, x_scale: Buffer, x_zero: Buffer, y_scale: Buffer, y_zero: Buffer, *, channels_last: int = 0
) -> Facts:
    """The mean of each channel, of x [N, C, *spatial], or [N, *spatial, C] with `channels_last`."""

    def first(x: Size) -> Facts:
        return _one(standard("GlobalAveragePool", x), x)

    return turned(first, x) if channels_last else first(x)


@rule("QLinearWhere", domain=MICROSOFT)
def qlinear_where(
    condition: Size,
    x: Size,
    x_scale: Buffer,
    x_zero: Buffer,
    y: Size,
    y_scale: Buffer,
    y_zero: Buffer,
    z_scale: Buffer,
    z_zero: Buffer,
) -> Facts:
    """x where the condition holds, y elsewhere."""
    return _of_codes(standard("Where", condition, x, y), x.dtype, (x, y), (POINTWISE,))


@rule("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(y_scale: Buffer, y_zero: Buffer, *parts: Size, axis: int) -> Facts:
    """Parts end to end; each is followed by its scale and its zero point."""
    codes = parts[::3]
    said = standard("Concat", *codes, axis=axis)
    spans = (
        POINTWISE,
        POINTWISE,
        *(s for place in range(len(codes)) for s in (said.span(place), POINTWISE, POINTWISE)),
    )
    y = Size(result(said).shape, y_zero.dtype)
    return Facts(y, elementwise=(DEQUANTISE + QUANTISE) * y.count, spans=spans)
