"""Element types changed: by value, or by meaning of the bits. elementwise: one per element for a cast.

Values ride along where every runtime must agree on the result: not where a float does not fit the integers it is cast
to, nor into floats of a byte and less, which saturate.
"""

from __future__ import annotations

import numpy as np

from analyzer.graph import DTYPES, STRING, DType, Size, Value
from analyzer.ops.rule import Facts, Setting, known, refuse, rule
from analyzer.spans import NOTHING, POINTWISE


@rule("Cast")
def cast(x: Size, *, to: int, saturate: int = 1, round_mode: str = "up") -> Facts:
    """Another element type."""
    return _cast(x, _dtype(to))


@rule("CastLike", since=15)
def cast_like(x: Size, like: Setting, *, saturate: int = 1, round_mode: str = "up") -> Facts:
    """The element type of another tensor."""
    return _cast(x, like.dtype)


@rule("BitCast", since=26)
def bit_cast(x: Size, *, to: int) -> Facts:
    """The same bits read as another element type of the same width."""
    dtype = _dtype(to)
    if dtype.bits != x.dtype.bits or dtype.bits is None:
        raise refuse("BIT_WIDTH", f"{x.dtype} and {dtype} are not equally wide", attribute="to")
    value = known(x.count, lambda v: np.ascontiguousarray(v).view(dtype.numpy).reshape(x.shape), x)
    return Facts(Size(x.shape, dtype, value), spans=POINTWISE, inplace=(x,))


def _dtype(code: int) -> DType:
    if code not in DTYPES:
        raise refuse("UNKNOWN_DTYPE", f"element type {code} does not exist", attribute="to")
    return DTYPES[code]


def _cast(x: Size, dtype: DType) -> Facts:
    y = Size(x.shape, dtype, None if x.value is None else _converted(x.value, x.dtype, dtype))
    same_width = dtype.bits == x.dtype.bits and dtype is not STRING
    same = x if dtype is x.dtype else None
    return Facts(
        y,
        elementwise=x.count,
        spans=(POINTWISE, NOTHING),
        strided=same,
        inplace=(x,) if same_width else (),
    )


def _converted(value: Value, before: DType, after: DType) -> Value | None:
    """The value cast, where that is no matter of taste."""
    if before is after:
        return value
    narrow = after.bits is None or after.bits < 8 or (after.is_float and after.bits == 8)
    if narrow or before is STRING or "c" in (before.kind, after.kind):
        return None
    if before.is_float and after.kind in "iu":
        limits = np.iinfo(after.numpy)
        exact = value.astype(np.float64)
        if not (
            np.isfinite(exact).all() and (exact > limits.min - 1).all() and (exact < limits.max + 1).all()
        ):
            return None
    return value.astype(after.numpy)
