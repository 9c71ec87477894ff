"""Losses. elementwise: two per target (weight, add), and the six of a log softmax per score where that is part of it.

Autograd keeps the log-probabilities and the targets.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Buffer, Facts, refuse, rule
from analyzer.spans import WHOLE, Route, Routes, straight

REDUCTIONS = ("none", "mean", "sum")


@rule("NegativeLogLikelihoodLoss", since=12)
def negative_log_likelihood(
    x: Size,
    target: Size,
    weight: Buffer | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Facts:
    """Log-probabilities [N, C, ...] at the targets [N, ...]."""
    loss, spans = _loss(x, target, weight, reduction)
    return Facts(loss, elementwise=2 * target.count, spans=spans, saved=(x, target))


@rule("SoftmaxCrossEntropyLoss", since=12)
def softmax_cross_entropy(
    scores: Size,
    labels: Size,
    weights: Buffer | None = None,
    *,
    ignore_index: int | None = None,
    reduction: str = "mean",
) -> Facts:
    """A log softmax over the classes of scores [N, C, ...], and its loss at the labels [N, ...]."""
    loss, spans = _loss(scores, labels, weights, reduction)
    log_probabilities = Size(scores.shape, scores.dtype)
    steps = 6 * scores.count + 2 * labels.count
    return Facts((loss, log_probabilities), elementwise=steps, spans=spans, saved=(log_probabilities, labels))


def _loss(x: Size, target: Size, weight: Size | None, reduction: str) -> tuple[Size, tuple[Routes, ...]]:
    if reduction not in REDUCTIONS:
        raise refuse(
            "REDUCTION", f"reduction {reduction!r} is none of {', '.join(REDUCTIONS)}", attribute="reduction"
        )
    if len(x.shape) < 2 or target.shape != (x.shape[0], *x.shape[2:]):
        raise refuse("TARGET_SHAPE", f"scores {x.shape} and targets {target.shape} do not fit")
    if weight is not None and weight.shape != (x.shape[1],):
        raise refuse("CHANNEL_MISMATCH", f"{x.shape[1]} classes and {weight.shape} weights")
    rank = len(target.shape)
    if reduction != "none":
        return Size((), x.dtype), ((WHOLE,) * (rank + 1), (WHOLE,) * rank, (WHOLE,))
    classes: Routes = (Route(0), WHOLE, *(Route(axis) for axis in range(1, rank)))
    return Size(target.shape, x.dtype), (classes, straight(rank), (WHOLE,))
