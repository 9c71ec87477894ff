"""Element by element: arithmetic, comparison, activation. A row per op.

elementwise: one per output element and arithmetic step, a transcendental function being one step; the steps of each op are
its row's number. Operands broadcast as numpy's do. Values ride along where small and known.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Literal

import numpy as np

from analyzer.graph import BOOL, Size, Value
from analyzer.ops.rule import Facts, Setting, broadcast, known, refuse, rule, signed
from analyzer.spans import POINTWISE

Kept = Literal["nothing", "input", "output"]
Numpy = Callable[..., Any] | None


def unary(op_type: str, steps: int, kept: Kept, value: Numpy = None, since: int = 1, **attributes: Any) -> None:
    """One operand, one result of its size and dtype; autograd keeps `kept`."""

    def function(x: Size, **given: Any) -> Facts:
        y = Size(x.shape, x.dtype, None if value is None or x.value is None else _computed(value, x))
        saved = {"nothing": (), "input": (x,), "output": (y,)}[kept]
        return Facts(y, elementwise=steps * math.prod(x.shape), spans=POINTWISE, saved=saved, inplace=(x,))

    rule(op_type, since=since)(signed(function, ("x",), attributes))


def binary(op_type: str, keeps: Callable[[Size, Size, Size], tuple[Size, ...]], value: Numpy = None, since: int = 7) -> None:
    """Two operands broadcast to one result of their dtype; `keeps` picks what autograd holds of (a, b, y)."""

    def function(a: Size, b: Size) -> Facts:
        shape = a.shape if a.shape == b.shape else broadcast(a.shape, b.shape)
        y = Size(shape, a.dtype, None if value is None or a.value is None else _cast(known(math.prod(shape), value, a, b), a))
        return Facts(y, elementwise=math.prod(shape), spans=POINTWISE, saved=keeps(a, b, y), inplace=(a, b))

    rule(op_type, since=since)(signed(function, ("a", "b"), {}))


def comparison(op_type: str, value: Numpy, since: int = 7) -> None:
    """Two operands broadcast to booleans; nothing flows back."""

    def function(a: Size, b: Size) -> Facts:
        shape = broadcast(a.shape, b.shape)
        y = Size(shape, BOOL, known(math.prod(shape), value, a, b))
        return Facts(y, elementwise=math.prod(shape), spans=POINTWISE)

    rule(op_type, since=since)(signed(function, ("a", "b"), {}))


def variadic(op_type: str, steps_more: int, keeps_all: bool, value: Callable[..., Any], since: int = 8) -> None:
    """Any number of operands broadcast to one result: one step for each operand after the first, and `steps_more`."""

    def function(*operands: Size) -> Facts:
        shape = broadcast(*(x.shape for x in operands))
        count = math.prod(shape)
        y = Size(shape, operands[0].dtype, _cast(known(count, value, *operands), operands[0]))
        steps = (len(operands) - 1 + steps_more) * count
        return Facts(y, elementwise=steps, spans=POINTWISE, saved=operands if keeps_all else (), inplace=operands)

    rule(op_type, since=since)(function)


def _computed(value: Callable[..., Any], x: Size) -> Value | None:
    return _cast(known(x.count, value, x), x)


def _cast(value: Value | None, like: Size) -> Value | None:
    return None if value is None else value.astype(like.dtype.numpy, copy=False)


def _erf(x: Value) -> Value:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(x))


def _divide(a: Value, b: Value) -> Value:
    """Integers divide toward zero, as in C."""
    return np.asarray(np.trunc(a / b) if a.dtype.kind in "iu" else a / b)


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
    ("HardSwish", 5, "input"), ("Mish", 6, "input"), ("BitwiseNot", 1, "nothing", np.invert), ("Not", 1, "nothing", np.logical_not),
):  # fmt: skip
    unary(*_row)  # type: ignore[arg-type]  # a table of rows

unary("LeakyRelu", 2, "input", alpha=0.01)
unary("Elu", 4, "input", alpha=1.0)
unary("Selu", 5, "input", alpha=1.6732632423543772, gamma=1.0507009873554805)
unary("Celu", 5, "input", alpha=1.0)
unary("ThresholdedRelu", 1, "input", alpha=1.0)
unary("HardSigmoid", 4, "input", alpha=0.2, beta=0.5)
unary("Shrink", 3, "input", bias=0.0, lambd=0.5)
unary("Gelu", 5, "input", approximate="none")
unary("Swish", 5, "input", alpha=1.0)

binary("Add", lambda a, b, y: (), np.add)
binary("Sub", lambda a, b, y: (), np.subtract)
binary("Mul", lambda a, b, y: (a, b), np.multiply)
binary("Div", lambda a, b, y: (a, b), _divide)
binary("PRelu", lambda a, b, y: (a, b))
binary("BitwiseAnd", lambda a, b, y: (), np.bitwise_and)
binary("BitwiseOr", lambda a, b, y: (), np.bitwise_or)
binary("BitwiseXor", lambda a, b, y: (), np.bitwise_xor)

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
    y = Size(shape, a.dtype, _cast(known(math.prod(shape), np.power, a, b), a))
    return Facts(y, elementwise=y.count, spans=POINTWISE, saved=(a,) if b.value is not None else (a, b, y), inplace=(a,))


@rule("Mod")
def mod(a: Size, b: Size, *, fmod: int = 0) -> Facts:
    """The remainder, with the sign of the divisor, or of the dividend if `fmod`."""
    shape = broadcast(a.shape, b.shape)
    y = Size(shape, a.dtype, _cast(known(math.prod(shape), np.fmod if fmod else np.mod, a, b), a))
    return Facts(y, elementwise=y.count, spans=POINTWISE, inplace=(a,))


@rule("Clip", until=10)
def clip_by_attribute(x: Size, *, max: float = 3.4e38, min: float = -3.4e38) -> Facts:
    """Bounds as attributes."""
    y = Size(x.shape, x.dtype)
    return Facts(y, elementwise=2 * y.count, spans=POINTWISE, saved=(x,), inplace=(x,))


@rule("Clip", since=11)
def clip(x: Size, min: Setting | None = None, max: Setting | None = None) -> Facts:
    """Bounds as scalar operands, either left out."""
    y = Size(x.shape, x.dtype)
    if x.value is not None and all(bound is None or bound.value is not None for bound in (min, max)):
        low, high = (None if bound is None else bound.value for bound in (min, max))
        y = Size(x.shape, x.dtype, x.value if low is high is None else np.clip(x.value, low, high))
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
    y = Size(shape, a.dtype, known(math.prod(shape), np.left_shift if direction == "LEFT" else np.right_shift, a, b))
    return Facts(y, elementwise=y.count, spans=POINTWISE, inplace=(a, b))


@rule("IsNaN", since=9)
def is_nan(x: Size) -> Facts:
    """Booleans; nothing flows back."""
    return Facts(Size(x.shape, BOOL), elementwise=x.count, spans=POINTWISE)


@rule("IsInf", since=10)
def is_inf(x: Size, *, detect_negative: int = 1, detect_positive: int = 1) -> Facts:
    """Booleans; nothing flows back."""
    return Facts(Size(x.shape, BOOL), elementwise=x.count, spans=POINTWISE)
