"""Losses. elementwise: two per target (weight, add), and the six of a log softmax per score where that is part of it.

Autograd keeps the log-probabilities and the targets.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Buffer, Facts, refuse, rule
from analyzer.spans import DATA, NOTHING, WHOLE, Each, Read, Route, Routes, reduced, straight

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
    loss, spans = _loss(x, target, weight, reduction, DATA, ignore_index)
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
    loss, spans = _loss(scores, labels, weights, reduction, WHOLE, ignore_index)
    rows = reduced(len(scores.shape), (1,))
    both = Each((spans, (rows, NOTHING, NOTHING)))
    log_probabilities = Size(scores.shape, scores.dtype)
    steps = 6 * scores.count + 2 * labels.count
    return Facts((loss, log_probabilities), elementwise=steps, spans=both, saved=(log_probabilities, labels))


def _loss(
    x: Size, target: Size, weight: Size | None, reduction: str, classes: Read, ignored: int | None
) -> tuple[Size, tuple[Routes, ...]]:
    """Size, and what is read: of the `classes` one, which the target says, or through a softmax all."""
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
        each = WHOLE if ignored is None else DATA  # rows whose target is ignored are not read
        summed: Routes = (each, classes, *(each for _ in range(1, rank)))
        return Size((), x.dtype), (summed, (WHOLE,) * rank, (DATA,))
    scores: Routes = (Route(0), classes, *(Route(axis) for axis in range(1, rank)))
    return Size(target.shape, x.dtype), (scores, straight(rank), (DATA,))
