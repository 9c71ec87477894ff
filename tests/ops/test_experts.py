"""Mixtures of experts. macs: tokens x experts chosen x elements of an expert's weights."""

from __future__ import annotations

import pytest

from analyzer import Options, analyze
from analyzer.errors import BadModel
from tests.ops.graphs import facts, model, predicted, run, runs

MOE, QMOE = "com.microsoft.MoE", "com.microsoft.QMoE"
WEIGHTS = "float[4,24,16] w1, float[4,24] b1, float[4,16,24] w2, float[4,16] b2"
PAIRED = "float[4,48,16] w1, float[4,48] b1, float[4,16,24] w2, float[4,16] b2"
PACKED = "uint8[4,64,16] w1, float[4,64] s1, uint8[4,32,32] w2, float[4,32] s2"
BYTES = "uint8[4,64,32] w1, float[4,64] s1, uint8[4,32,64] w2, float[4,32] s2"

ROWS = [  # (inputs, constants, call, macs, hidden)
    ("float[6,16] x, float[6,4] r", WEIGHTS, f'{MOE}<k=2, activation_type="gelu">(x, r, w1, b1, w2, b2)',
     6 * 2 * (24 * 16 + 16 * 24), 24),
    ("float[2,3,16] x, float[6,4] r", WEIGHTS, f"{MOE}(x, r, w1, , w2)", 6 * 1 * (24 * 16 + 16 * 24), 24),
    ("float[2,3,16] x, float[6,4] r", PAIRED,
     f'{MOE}<k=2, activation_type="swiglu", swiglu_fusion=1>(x, r, w1, b1, w2, b2)', 6 * 2 * (48 * 16 + 16 * 24), 48),
    # two codes of 4 bits in a byte: weights [64, 32] and [32, 64]
    ("float[6,32] x, float[6,4] r", PACKED, f'{QMOE}<k=2, activation_type="silu">(x, r, w1, s1, , w2, s2)',
     6 * 2 * (64 * 32 + 32 * 64), 64),
    ("float[6,32] x, float[6,4] r", BYTES,
     f'{QMOE}<k=2, activation_type="silu", expert_weight_bits=8>(x, r, w1, s1, , w2, s2)',
     6 * 2 * (64 * 32 + 32 * 64), 64),
]  # fmt: skip


@pytest.mark.parametrize(("inputs", "constants", "call", "macs", "hidden"), ROWS)
def test_every_token_takes_its_experts(
    inputs: str, constants: str, call: str, macs: int, hidden: int
) -> None:
    """The size is onnxruntime's. Scores 5 each, the hidden layer 5, an expert's result 2."""
    graph = f"({inputs}) => (y) <{constants}> {{ y = {call} }}"
    assert predicted(graph) == run(graph)
    said = facts(graph)
    calls, channels = 6 * (2 if "k=2" in call else 1), 32 if "QMoE" in call else 16
    assert said.macs == macs
    assert said.elementwise == 5 * 24 + calls * (5 * hidden + 2 * channels)


def test_a_weight_of_its_own_for_the_gate_counts_too() -> None:
    """Three weights, a form that no kernel on CPU has."""
    graph = f"""(float[6,16] x, float[6,4] r) => (y) <{WEIGHTS}>
    {{ y = {MOE}<k=2, activation_type="silu">(x, r, w1, b1, w2, b2, w1, b1) }}"""
    assert facts(graph).macs == 6 * 2 * 3 * 24 * 16


def test_all_experts_are_parameters_though_few_are_chosen() -> None:
    """Of quantised ones their codes as they are stored; scales are buffers."""
    graph = f"(float[6,32] x, float[6,4] r) => (y) <{PACKED}> {{ y = {QMOE}<k=2>(x, r, w1, s1, , w2, s2) }}"
    totals = analyze(model(graph).SerializeToString(), Options()).to_dict()["totals"]
    assert totals["buffers"]["known"] == 4 * 64 + 4 * 32


def test_experts_that_are_not_there_are_refused() -> None:
    """By us with a reason, and by onnxruntime in some way."""
    few = f"(float[6,16] x, float[6,4] r) => (y) <{WEIGHTS}> {{ y = {MOE}<k=5>(x, r, w1, b1, w2, b2) }}"
    odd = f"(float[6,16] x, float[6,3] r) => (y) <{WEIGHTS}> {{ y = {MOE}<k=2>(x, r, w1, b1, w2, b2) }}"
    for graph in (few, odd):
        with pytest.raises(BadModel) as caught:
            facts(graph)
        assert caught.value.reason == "EXPERTS"
        assert not runs(graph)
