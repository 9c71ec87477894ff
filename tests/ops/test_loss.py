"""Losses: sizes are onnxruntime's, steps are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.ops.kept import kept
from tests.ops.runtime import check, check_named, check_refused, facts_of, floats

SCORES = floats(2, 3, 4)
TARGETS = np.zeros((2, 4), np.int64)
WEIGHTS = np.ones(3, np.float32)


@pytest.mark.parametrize("opset", [12, 13, 22])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
def test_a_loss_is_one_number_or_one_per_target(opset: int, reduction: str, weights: Any) -> None:
    """As it is reduced."""
    where: dict[str, Any] = {"opset": opset, "reduction": reduction}
    check("NegativeLogLikelihoodLoss", SCORES, TARGETS, weights, ignore_index=-1, **where)
    check("SoftmaxCrossEntropyLoss", SCORES, TARGETS, weights, results=2, **where)
    check("SoftmaxCrossEntropyLoss", floats(2, 3), np.array([[1], [2]])[:, 0], weights, fed=(0, 1), **where)


def test_a_loss_is_two_steps_per_target_and_a_log_softmax_six_per_score() -> None:
    """8 targets and 24 scores."""
    assert facts_of("NegativeLogLikelihoodLoss", SCORES, TARGETS).elementwise == 16
    assert facts_of("SoftmaxCrossEntropyLoss", SCORES, TARGETS).elementwise == 144 + 16


def test_autograd_keeps_log_probabilities_and_targets() -> None:
    """As cross_entropy of torch does."""
    facts = facts_of("SoftmaxCrossEntropyLoss", SCORES, TARGETS)
    assert [size.shape for size in kept(facts)] == [(2, 3, 4), (2, 4)]


@pytest.mark.parametrize("op_type", ["NegativeLogLikelihoodLoss", "SoftmaxCrossEntropyLoss"])
def test_what_does_not_fit_is_refused(op_type: str) -> None:
    """Targets of another batch; weights of other classes and unknown words, which onnxruntime does not look at."""
    check_refused("TARGET_SHAPE", op_type, SCORES, np.zeros((3, 4), np.int64))
    check_named("CHANNEL_MISMATCH", op_type, SCORES, TARGETS, np.ones(2, np.float32))
    check_named("REDUCTION", op_type, SCORES, TARGETS, reduction="median")
