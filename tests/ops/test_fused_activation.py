from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from tests.ops.graphs import evaluated, facts, predicted, run

MS = "com.microsoft."

ROWS = [  # (inputs, constants, call, steps for each of 2 x 3 x 8 elements)
    ("float[2,3,8] x", "", "Gelu(x)", 5),
    ("float[2,3,8] x", "float[8] b", "BiasGelu(x, b)", 5 + 1),
    ("float[2,3,8] x", "", "FastGelu(x)", 8),
    ("float[2,3,8] x", "float[8] b", "FastGelu(x, b)", 8 + 1),
    ("float[2,3,8] x", "", "QuickGelu<alpha=1.5>(x)", 6),
]

SAVED = [  # (call, bytes): what the activation sees, 2 x 3 x 8 floats; with a bias the sum
    ("(float[2,3,8] x) => (y) { y = com.microsoft.Gelu(x) }", 192),
    ("(float[2,3,8] x) => (y) <float[8] b> { y = com.microsoft.BiasGelu(x, b) }", 192),
    ("(float[2,3,8] a, float[2,3,8] b) => (y) { y = SwiGLU(a, b) }", 3 * 192),
]

DROPOUT = """(float[2,3] x, float[2,3] s) => (y, m) <float[3] b, float r={0.5}, bool t={%d}>
{ y, m = com.microsoft.BiasDropout(x, b, s, r, t) }"""


@pytest.mark.parametrize(("inputs", "constants", "call", "steps"), ROWS)
def test_a_fused_activation_is_the_runtimes(inputs: str, constants: str, call: str, steps: int) -> None:
    """Its size is the input's; a bias is a step more."""
    graph = f"({inputs}) => (y) <{constants}> {{ y = {MS}{call} }}"
    assert predicted(graph) == run(graph)
    assert facts(graph).elementwise == steps * 2 * 3 * 8


def test_a_gate_is_a_step_more_than_its_activation() -> None:
    """As the reference implementation has it; SiLU is 5."""
    graph = "(float[2,3,8] a, float[2,3,8] b) => (y) { y = SwiGLU<alpha=1.5>(a, b) }"
    assert predicted(graph, 28) == evaluated(graph, 28)
    assert facts(graph, 28).elementwise == 6 * 2 * 3 * 8


@pytest.mark.parametrize(("graph", "amount"), SAVED)
def test_autograd_keeps_what_the_activation_saw(graph: str, amount: int) -> None:
    """And of a gate both sides."""
    assert sum(size.bytes or 0 for size in facts(graph, 28).saved) == amount


def test_a_split_gate_halves_the_channels() -> None:
    """A kernel that CPU lacks: 2 sums, GELU and a product for each of 2 x 3 x 4 elements."""
    graph = f"(float[2,3,8] x) => (y) <float[8] b> {{ y = {MS}BiasSplitGelu(x, b) }}"
    assert predicted(graph) == {"y": ("float32", (2, 3, 4))}
    assert facts(graph).elementwise == 8 * 2 * 3 * 4


def test_a_bias_and_a_residual_are_two_sums() -> None:
    """A kernel that CPU lacks."""
    graph = f"(float[2,3,8] x, float[2,3,8] s) => (y) <float[8] b> {{ y = {MS}BiasAdd(x, b, s) }}"
    assert predicted(graph) == {"y": ("float32", (2, 3, 8))}
    assert facts(graph).elementwise == 2 * 2 * 3 * 8


@pytest.mark.parametrize(("training", "steps", "kept"), [(0, 2, 0), (1, 4, 24)])
def test_dropout_is_nothing_but_in_training(training: int, steps: int, kept: int) -> None:
    """Then it is random, takes 2 steps and keeps a mask of floats."""
    graph = DROPOUT % training
    assert predicted(graph) == {"y": ("float32", (2, 3)), "m": ("bool", (2, 3))}
    said = facts(graph)
    assert (said.elementwise, said.random) == (steps * 6, bool(training))
    assert sum(size.bytes or 0 for size in said.saved) == kept


@pytest.mark.parametrize(
    ("reason", "graph"),
    [
        (
            "CHANNEL_MISMATCH",
            "(float[2,3,7] x) => (y) <float[7] b> { y = com.microsoft.BiasSplitGelu(x, b) }",
        ),
        ("SHAPES_DIFFER", "(float[2,3] a, float[2,1] b) => (y) { y = SwiGLU(a, b) }"),
    ],
)
def test_what_does_not_fit_is_refused(reason: str, graph: str) -> None:
    """A gate is not broadcast, and an odd number of channels has no half."""
    with pytest.raises(BadModel) as caught:
        facts(graph, 28)
    assert caught.value.reason == reason
