"""Attention in one op of a framework, as exporters spell it: both sides scaled by the root of the scale."""

from __future__ import annotations

from collections.abc import Set

from analyzer.graph import FLOAT32, Size
from analyzer.idioms import Spelled, idiom, row

_SCORES = "MatMul(q * s, (Transpose(k) | Reshape(Transpose(Reshape(k))) | Reshape(Transpose(k))) * s)"
_WEIGHTS = f"Softmax({_SCORES} | {_SCORES} + mask)"
_SAFE = f"Where(IsNaN({_WEIGHTS}), 0, {_WEIGHTS})"  # rows that are masked as a whole are zero


@idiom(f"MatMul({_WEIGHTS} | {_SAFE}, v)")
def fused(
    q: Size, k: Size, v: Size, s: Size, y: Size, learned: Set[str], mask: Size | None = None
) -> Spelled | None:
    """The fused kernel keeps queries, keys, values, mask, its result, and the logarithm of the sum of exponentials of
    each row; the result is laid out as the queries are. It takes heads of one width in a batch and a mask that is not
    learned; else the nodes are the truth.
    """
    if s.value is None or q.rank not in (3, 4) or v.rank != q.rank:
        return None
    if not q.shape[-1] == k.shape[-1] == v.shape[-1]:
        return None
    if mask is not None and "mask" in learned and not _same_for_all_heads(mask, q):
        return None
    kept = (q, k, v, *(() if mask is None else (mask,)), y, Size(q.shape[:-1], FLOAT32))
    return Spelled(kept, alike=q)


def _same_for_all_heads(mask: Size, q: Size) -> bool:
    """Whether a mask is none that was learned: those tell heads apart."""
    return mask.rank > 2 and mask.shape[-3] == 1 < q.shape[-3]


# the same softmax, of attention whose kernel is not fused
row("Where(IsNaN(Softmax(x)), 0, Softmax(x))", "y")
