"""Element by element: arithmetic, comparison, activation. A row per op.

elementwise: one per output element and arithmetic step, a transcendental function being one step; the steps of each op
are its row's number. Operands broadcast as numpy's do.

Values ride along where small and known. One that is an upper bound (of a size, so at least 0) stays one: where an op
falls with it, its lower end counts, and a comparison is told only where both ends agree on it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from analyzer.graph import BOOL, VALUE_LIMIT, Size, Value
from analyzer.ops.rule import Facts, Kept, Setting, broadcast, known, refuse, rule, signed
from analyzer.spans import POINTWISE

Part = Literal["nothing", "input", "output"]
EXACT_LIMIT = 2**53
"""Up to here doubles count every integer."""
FLOAT_MAX = float(np.finfo(np.float32).max)
RISING = frozenset((
    "Abs", "Sign", "Ceil", "Floor", "Round", "Sqrt", "Exp", "Log", "Erf", "Relu", "Sigmoid", "Tanh", "Sinh", "Atan",
    "Asinh", "Not",
))  # fmt: skip
"""Where from 0 on a larger operand gives no smaller result."""
Numpy = Callable[..., Any] | None


def unary(
    op_type: str, steps: int, kept: Part, value: Numpy = None, since: int = 1, **attributes: Any
) -> None:
    """One operand, one result of its size and dtype; autograd keeps `kept`."""

    def function(x: Size, **given: Any) -> Facts:
        told = value if x.value is not None and (x.value_exact or op_type in RISING) else None
        y = Size(x.shape, x.dtype, None if told is None else _cast(known(x.count, told, x), x))
        saved = {"nothing": (), "input": (x,), "output": (y,)}[kept]
        return Facts(y, elementwise=steps * math.prod(x.shape), spans=POINTWISE, saved=saved, inplace=(x,))

    rule(op_type, since=since)(signed(function, ("x",), attributes))


def binary(
    op_type: str,
    keeps: Callable[[Size, Size, Size], tuple[Size | Kept, ...]],
    value: Numpy = None,
    defined: Callable[[Size, Size], bool] | None = None,
    passes: int = 0,
) -> None:
    """Two operands broadcast to one result of their dtype; `keeps` picks what autograd holds of (a, b, y). To so many
    of them, where they are of the result's shape, its gradient `passes` as it stands.

    Where a value is not `defined`, runtimes differ or refuse, and none is told.
    """

    def function(a: Size, b: Size) -> Facts:
        shape = a.shape if a.shape == b.shape else broadcast(a.shape, b.shape)
        number = None
        if value and a.value is not None and b.value is not None and (not defined or defined(a, b)):
            number = _cast(_highest(math.prod(shape), value, a, b), a)
        y = Size(shape, a.dtype, number)
        through = tuple([x for x in (a, b)[:passes] if x.shape == shape]) if passes else ()
        return Facts(
            y,
            elementwise=math.prod(shape),
            spans=POINTWISE,
            saved=keeps(a, b, y),
            inplace=(a, b),
            passes=through,
        )

    rule(op_type, since=7)(signed(function, ("a", "b"), {}))


def comparison(op_type: str, value: Callable[..., Any]) -> None:
    """Two operands broadcast to booleans; nothing flows back."""

    def function(a: Size, b: Size) -> Facts:
        shape = broadcast(a.shape, b.shape)
        y = Size(shape, BOOL, _agreed(math.prod(shape), value, a, b))
        return Facts(y, elementwise=math.prod(shape), spans=POINTWISE)

    rule(op_type, since=7)(signed(function, ("a", "b"), {}))


def variadic(op_type: str, steps_more: int, keeps_all: bool, value: Callable[..., Any]) -> None:
    """Any number of operands broadcast to one result: one step for each after the first, and `steps_more`."""

    def function(first: Size, *rest: Size) -> Facts:
        operands = (first, *rest)
        shape = broadcast(*(x.shape for x in operands))
        count = math.prod(shape)
        y = Size(shape, first.dtype, _cast(known(count, value, *operands), first))
        steps = (len(rest) + steps_more) * count
        saved = operands if keeps_all else ()
        return Facts(y, elementwise=steps, spans=POINTWISE, saved=saved, inplace=operands)

    rule(op_type, since=6)(function)


def _ends(size: Size) -> tuple[Value, ...]:
    """What a known operand is; of an upper bound both ends of what it may be."""
    assert size.value is not None
    return (size.value,) if size.value_exact else (size.value, np.zeros_like(size.value))


def _at_ends(count: int, value: Callable[..., Any], a: Size, b: Size) -> list[Value]:
    """Results for all ends of two operands; none where one is not known, or they are too many."""
    if count > VALUE_LIMIT or a.value is None or b.value is None:
        return []
    return [np.asarray(value(x, y)) for x, y in itertools.product(_ends(a), _ends(b))]


def _highest(count: int, value: Callable[..., Any], a: Size, b: Size) -> Value | None:
    """The value, of bounds the highest that it can be."""
    found = _at_ends(count, value, a, b)
    return np.maximum.reduce(found) if len(found) > 1 else found[0] if found else None


def _agreed(count: int, value: Callable[..., Any], a: Size, b: Size) -> Value | None:
    """What is true of two operands, of bounds only where it is true of all that they may be."""
    if (a.value_exact and b.value_exact) or a.dtype is BOOL:
        return known(count, value, a, b)
    orders = _at_ends(count, _order, a, b)
    agree = bool(orders) and all((order == orders[0]).all() for order in orders)
    return np.asarray(value(orders[0], 0)) if agree else None


def _order(a: Value, b: Value) -> Value:
    """1 where a is greater, -1 where b is, else 0."""
    return np.asarray(np.greater(a, b).astype(np.int8) - np.less(a, b))


def _cast(value: Value | None, like: Size) -> Value | None:
    return None if value is None else value.astype(like.dtype.numpy, copy=False)


def _erf(x: Value) -> Value:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _divide(a: Value, b: Value) -> Value:
    """Integers divide toward zero, as in C."""
    if a.dtype.kind not in "iu":
        return np.asarray(a / b)
    quotient = a // b
    return np.asarray(quotient + ((quotient < 0) & (quotient * b != a)))


def _by_no_zero(a: Size, b: Size) -> bool:
    """Whether a division is known to be defined: a float's always is."""
    return a.dtype.is_float or (b.value is not None and b.value_exact and bool(b.value.all()))


def _both_exact(a: Size, b: Size) -> bool:
    return a.value_exact and b.value_exact


def _sigmoid(x: Value) -> Value:
    return np.asarray(1 / (1 + np.exp(-x)))


for _row in (
    ("Abs", 1, "input", np.abs), ("Neg", 1, "nothing", np.negative), ("Sign", 1, "nothing", np.sign),
    ("Ceil", 1, "nothing", np.ceil), ("Floor", 1, "nothing", np.floor), ("Reciprocal", 1, "output", np.reciprocal),
    ("Sqrt", 1, "output", np.sqrt), ("Exp", 1, "output", np.exp), ("Log", 1, "input", np.log),
    ("Sin", 1, "input", np.sin), ("Cos", 1, "input", np.cos), ("Tan", 1, "output", np.tan),
    ("Asin", 1, "input", np.arcsin), ("Acos", 1, "input", np.arccos), ("Atan", 1, "input", np.arctan),
    ("Sinh", 1, "input", np.sinh), ("Cosh", 1, "input", np.cosh), ("Tanh", 1, "output", np.tanh),
    ("Asinh", 1, "input", np.arcsinh), ("Acosh", 1, "input", np.arccosh), ("Atanh", 1, "input", np.arctanh),
    ("Round", 1, "nothing", np.round), ("Erf", 1, "input", _erf), ("Relu", 1, "output", lambda x: np.maximum(x, 0)),
    ("Sigmoid", 4, "output", _sigmoid), ("Softplus", 3, "input"), ("Softsign", 3, "input"),
    ("HardSwish", 5, "input"), ("Mish", 6, "input"),
    ("BitwiseNot", 1, "nothing", np.invert), ("Not", 1, "nothing", np.logical_not),
):  # fmt: skip
    unary(*_row)

unary("LeakyRelu", 2, "input", alpha=0.01)
unary("Elu", 4, "input", alpha=1.0)
unary("Selu", 5, "input", alpha=1.6732632423543772, gamma=1.0507009873554805)
unary("Celu", 5, "input", alpha=1.0)
unary("ThresholdedRelu", 1, "input", alpha=1.0)
unary("HardSigmoid", 4, "input", alpha=0.2, beta=0.5)
unary("Shrink", 3, "input", bias=0.0, lambd=0.5)
unary("Gelu", 5, "input", approximate="none")
unary("Swish", 5, "input", alpha=1.0)

binary("Add", lambda a, b, y: (), np.add, passes=2)
binary("Sub", lambda a, b, y: (), np.subtract, passes=1)
binary("Mul", lambda a, b, y: (Kept(a, beside=b), Kept(b, beside=a)), np.multiply)
binary("Div", lambda a, b, y: (Kept(a, beside=b), b), _divide, _by_no_zero)
binary("PRelu", lambda a, b, y: (a, b))
binary("BitwiseAnd", lambda a, b, y: (), np.bitwise_and, _both_exact)
binary("BitwiseOr", lambda a, b, y: (), np.bitwise_or, _both_exact)
binary("BitwiseXor", lambda a, b, y: (), np.bitwise_xor, _both_exact)

comparison("Equal", np.equal)
comparison("Greater", np.greater)
comparison("GreaterOrEqual", np.greater_equal)
comparison("Less", np.less)
comparison("LessOrEqual", np.less_equal)
comparison("And", np.logical_and)
comparison("Or", np.logical_or)
comparison("Xor", np.logical_xor)

variadic("Sum", 0, False, lambda *x: sum(x[1:], x[0]))
variadic("Mean", 1, False, lambda *x: sum(x[1:], x[0]) / len(x))
variadic("Max", 0, True, lambda *x: np.maximum.reduce(np.broadcast_arrays(*x)))
variadic("Min", 0, True, lambda *x: np.minimum.reduce(np.broadcast_arrays(*x)))


@rule("Pow", since=7)
def power(a: Size, b: Size) -> Facts:
    """a to the b: autograd keeps the base, and both where the exponent is no constant scalar."""
    shape = broadcast(a.shape, b.shape)
    y = Size(shape, a.dtype, _powered(a, b, math.prod(shape)))
    saved = (a,) if b.value is not None else (a, b, y)
    return Facts(y, elementwise=y.count, spans=POINTWISE, saved=saved, inplace=(a,))


def _powered(a: Size, b: Size, count: int) -> Value | None:
    """Runtimes compute integers as doubles and cut off: told as far as that is exact."""
    if not b.value_exact:
        return None
    value = known(count, lambda x, y: np.power(x.astype(np.float64), y.astype(np.float64)), a, b)
    if value is None or a.dtype.is_float:
        return _cast(value, a)
    return _cast(value, a) if np.all(np.abs(value) <= EXACT_LIMIT) else None


@rule("Mod")
def mod(a: Size, b: Size, *, fmod: int = 0) -> Facts:
    """The remainder, with the sign of the divisor, or of the dividend if `fmod`."""
    shape = broadcast(a.shape, b.shape)
    number = None
    if _both_exact(a, b) and _by_no_zero(a, b):
        number = _cast(known(math.prod(shape), np.fmod if fmod else np.mod, a, b), a)
    return Facts(Size(shape, a.dtype, number), elementwise=math.prod(shape), spans=POINTWISE, inplace=(a,))


@rule("Clip", until=10)
def clip_by_attribute(x: Size, *, max: float = FLOAT_MAX, min: float = -FLOAT_MAX) -> Facts:
    """Bounds as attributes."""
    y = Size(x.shape, x.dtype, _cast(known(x.count, lambda v: np.clip(v, min, max), x), x))
    return Facts(y, elementwise=2 * math.prod(x.shape), spans=POINTWISE, saved=(x,), inplace=(x,))


@rule("Clip", since=11)
def clip(x: Size, min: Setting | None = None, max: Setting | None = None) -> Facts:
    """Bounds as scalar operands, either left out."""
    value = x.value
    for bound, limited in ((min, np.maximum), (max, np.minimum)):
        if bound is not None and value is not None:
            value = None if bound.value is None else limited(value, bound.value.reshape(()))
    y = Size(x.shape, x.dtype, _cast(value, x))
    return Facts(y, elementwise=2 * math.prod(x.shape), spans=POINTWISE, saved=(x,), inplace=(x,))


@rule("Where", since=9)
def where(condition: Size, a: Size, b: Size) -> Facts:
    """One step per element; autograd keeps the mask."""
    shape = broadcast(condition.shape, a.shape, b.shape)
    y = Size(shape, a.dtype, known(math.prod(shape), np.where, condition, a, b))
    return Facts(y, elementwise=y.count, spans=POINTWISE, saved=(condition,), inplace=(a, b))


@rule("BitShift", since=11)
def bit_shift(a: Size, b: Size, *, direction: str) -> Facts:
    """Integers shifted LEFT or RIGHT."""
    if direction not in ("LEFT", "RIGHT"):
        raise refuse("DIRECTION", f"direction {direction!r} is neither LEFT nor RIGHT", attribute="direction")
    shape = broadcast(a.shape, b.shape)
    shift = np.left_shift if direction == "LEFT" else np.right_shift
    y = Size(shape, a.dtype, known(math.prod(shape), shift, a, b) if _both_exact(a, b) else None)
    return Facts(y, elementwise=y.count, spans=POINTWISE, inplace=(a, b))


@rule("IsNaN", since=9)
def is_nan(x: Size) -> Facts:
    """Booleans; nothing flows back."""
    return Facts(Size(x.shape, BOOL), elementwise=x.count, spans=POINTWISE)


@rule("IsInf", since=10)
def is_inf(x: Size, *, detect_negative: int = 1, detect_positive: int = 1) -> Facts:
    """Booleans; nothing flows back."""
    return Facts(Size(x.shape, BOOL), elementwise=x.count, spans=POINTWISE)
