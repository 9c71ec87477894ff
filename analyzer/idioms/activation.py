"""Activations that an exporter spells out. They keep their input, where the nodes would keep the steps between.

The order of the factors matters: `(x * 0.5) * (1 + ...)` is what programs write that compute an activation themselves,
step by step, and what is kept then are the steps.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.idioms import Spelled, idiom, row

_ERF = "(1 + Erf(x / 1.41421356))"
_TANH = [f"(1 + Tanh(0.79788456 * (x + 0.044715 * {cube})))" for cube in ("(x * (x * x))", "x ** 3")]

for _bell in (_ERF, *_TANH):  # gelu
    row(f"0.5 * (x * {_bell})", "x")
    row(f"x * (0.5 * {_bell})", "x")
row("(x * 0.5) * (1 + Tanh((x * 0.79788456) * (1 + (x * 0.044715) * x)))", "x")  # Megatron's own gelu
row("x * Sigmoid(x)", "x")  # silu
row("x * HardSigmoid(x)", "x")  # hardswish
row("x * Tanh(Softplus(x))", "x")  # mish
row("Softplus(x * b) / b", "x")
row("Where(Greater(x), x, Softplus(x))", "x")  # softplus, straight above a threshold
row("1 / Sqrt(x)", "y")  # rsqrt
row("Reciprocal(Sqrt(x))", "y")


row("Split[0](x) * Sigmoid(Split[1](x))", "x")  # glu


@idiom("LeakyRelu(BatchNormalization(x, w))", "Elu(BatchNormalization(x, w))")
def in_place(x: Size, w: Size, y: Size) -> Spelled:
    """A norm and its activation in one layer work in place, and these can tell their slope from the result."""
    return Spelled((x, w, Size(w.shape, w.dtype), Size(w.shape, w.dtype), y))


@idiom("Log(Sigmoid(x))")
def log_sigmoid(x: Size) -> Spelled:
    """Keeps its input and, on CPU, a buffer of the same size."""
    return Spelled((x, Size(x.shape, x.dtype)))
