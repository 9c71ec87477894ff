"""Between numbers and their quantised codes.

elementwise, per element: quantise 4 (divide, round, shift, saturate), dequantise 2 (shift, scale), dynamic
quantise 6 (smallest, largest, and the four of quantise). Scales and zero points are buffers; a stored tensor
that is dequantised is a weight, whatever its codes are. One scale serves the tensor, a row of `axis`, or, from
opset 21 on, a block of `block_size` rows of it.
"""

from __future__ import annotations

from analyzer.graph import DTYPES, FLOAT32, UINT8, DType, Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Weight, axis_of, refuse, rule
from analyzer.spans import POINTWISE, WHOLE, Read, Route, Span, in_runs, straight


@rule("QuantizeLinear", since=10, until=12)
def quantize_10(x: Size, scale: Buffer, zero: Buffer | None = None) -> Facts:
    """One scale for the whole tensor."""
    return _quantized(x, scale, zero, 1, 0, None)


@rule("QuantizeLinear", since=13, until=18)
def quantize_13(x: Size, scale: Buffer, zero: Buffer | None = None, *, axis: int = 1) -> Facts:
    """One scale, or one for each row of `axis`."""
    return _quantized(x, scale, zero, axis, 0, None)


@rule("QuantizeLinear", since=19, until=20)
def quantize_19(
    x: Size, scale: Buffer, zero: Buffer | None = None, *, axis: int = 1, saturate: int = 1
) -> Facts:
    """Float8 codes came, which need not saturate."""
    return _quantized(x, scale, zero, axis, 0, None)


@rule("QuantizeLinear", since=21, until=22)
def quantize_21(
    x: Size,
    scale: Buffer,
    zero: Buffer | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    saturate: int = 1,
) -> Facts:
    """Blocks came, 4-bit and 16-bit codes, and a name for the codes where no zero point has their type."""
    return _quantized(x, scale, zero, axis, block_size, output_dtype)


@rule("QuantizeLinear", since=23)
def quantize(
    x: Size,
    scale: Buffer,
    zero: Buffer | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
    precision: int = 0,
    saturate: int = 1,
) -> Facts:
    """The codes of x. `precision` is the element type of the division."""
    return _quantized(x, scale, zero, axis, block_size, output_dtype)


@rule("QuantizeLinear", domain=MICROSOFT)
def quantize_microsoft(
    x: Size, scale: Buffer, zero: Buffer | None = None, *, axis: int | None = None
) -> Facts:
    """Per tensor where no axis is named."""
    return _quantized(x, scale, zero, 1 if axis is None else axis, 0, None)


def _quantized(x: Size, scale: Size, zero: Size | None, axis: int, block: int, code: int | None) -> Facts:
    y = Size(x.shape, zero.dtype if zero is not None else _dtype(code) or UINT8, exact=x.exact)
    return Facts(y, elementwise=4 * x.count, spans=(POINTWISE, _scaling(x, scale, zero, axis, block)))


@rule("DequantizeLinear", since=10, until=12)
def dequantize_10(x: Weight, scale: Buffer, zero: Buffer | None = None) -> Facts:
    """One scale for the whole tensor."""
    return _dequantized(x, scale, zero, 1, 0, None)


@rule("DequantizeLinear", since=13, until=20)
def dequantize_13(x: Weight, scale: Buffer, zero: Buffer | None = None, *, axis: int = 1) -> Facts:
    """One scale, or one for each row of `axis`."""
    return _dequantized(x, scale, zero, axis, 0, None)


@rule("DequantizeLinear", since=21, until=22)
def dequantize_21(
    x: Weight, scale: Buffer, zero: Buffer | None = None, *, axis: int = 1, block_size: int = 0
) -> Facts:
    """Blocks came."""
    return _dequantized(x, scale, zero, axis, block_size, None)


@rule("DequantizeLinear", since=23)
def dequantize(
    x: Weight,
    scale: Buffer,
    zero: Buffer | None = None,
    *,
    axis: int = 1,
    block_size: int = 0,
    output_dtype: int = 0,
) -> Facts:
    """Numbers of the scale's type, or of the one named."""
    return _dequantized(x, scale, zero, axis, block_size, output_dtype)


@rule("DequantizeLinear", domain=MICROSOFT)
def dequantize_microsoft(
    x: Weight, scale: Buffer, zero: Buffer | None = None, *, axis: int | None = None
) -> Facts:
    """Per tensor where no axis is named."""
    return _dequantized(x, scale, zero, 1 if axis is None else axis, 0, None)


def _dequantized(x: Size, scale: Size, zero: Size | None, axis: int, block: int, code: int | None) -> Facts:
    y = Size(x.shape, _dtype(code) or scale.dtype, exact=x.exact)
    return Facts(y, elementwise=2 * x.count, spans=(POINTWISE, _scaling(x, scale, zero, axis, block)))


@rule("DynamicQuantizeLinear", since=11)
def dynamic_quantize(x: Size) -> Facts:
    """Codes, scale and zero point, the latter two from the extremes of all of x: so everything sees everything."""
    outputs = (Size(x.shape, UINT8), Size((), FLOAT32), Size((), UINT8))
    return Facts(outputs, elementwise=6 * x.count, spans=(WHOLE,) * x.rank)


def _dtype(code: int | None) -> DType | None:
    """The element type that an attribute names; 0 names none."""
    if not code:
        return None
    if code not in DTYPES:
        raise refuse("UNKNOWN_DTYPE", f"element type {code} does not exist", attribute="output_dtype")
    return DTYPES[code]


def _scaling(x: Size, scale: Size, zero: Size | None, axis: int, block: int) -> Span:
    """What an element reads of the scales: the one of the tensor, of its row, or of its block."""
    if zero is not None and zero.shape != scale.shape and not zero.count == scale.count == 1:
        raise refuse("SCALE_SHAPE", f"scale {scale.shape} and zero point {zero.shape} differ in shape")
    if block:
        return _blocks(x, scale, axis_of(axis, x.rank), block)
    if scale.shape in ((), (1,)):
        return POINTWISE
    axis = axis_of(axis, x.rank)
    if scale.shape != (x.shape[axis],):
        raise refuse(
            "SCALE_SHAPE", f"scale {scale.shape} does not fit axis {axis} of {x.shape}", attribute="axis"
        )
    return (Route(axis),)


def _blocks(x: Size, scale: Size, axis: int, block: int) -> Span:
    rows = tuple(-(-dim // block) if place == axis else dim for place, dim in enumerate(x.shape))
    if block < 0 or scale.shape != rows:
        raise refuse(
            "SCALE_SHAPE", f"scale {scale.shape} is not {rows}, one for {block} rows", attribute="block_size"
        )
    routes: list[Route | Read] = list(straight(x.rank))
    routes[axis] = in_runs(axis, block)
    return tuple(routes)
