"""Attention in one op of a framework, as exporters spell it: both sides scaled by the root of the scale."""

from __future__ import annotations

from analyzer.graph import FLOAT32, Size
from analyzer.idioms import Spelled, idiom

_SCORES = "MatMul(q * s, (Transpose(k) | Reshape(Transpose(Reshape(k)))) * s)"
_WEIGHTS = f"Softmax({_SCORES} | {_SCORES} + mask)"
_SAFE = f"Where(IsNaN({_WEIGHTS}), 0, {_WEIGHTS})"  # rows that are masked as a whole are zero


@idiom(f"MatMul({_WEIGHTS} | {_SAFE}, v)", still=("mask",))
def fused(q: Size, k: Size, v: Size, s: Size, y: Size, mask: Size | None = None) -> Spelled | None:
    """The fused kernel keeps queries, keys, values, mask, its result, and the logarithm of the sum of exponentials of
    each row; the result is laid out as the queries are. It takes heads of one width in a batch and a mask that is not
    learned; else the nodes are the truth.
    """
    if s.value is None or not q.rank == k.rank == v.rank or q.shape[-1] != v.shape[-1]:
        return None
    if q.rank not in (3, 4):
        return None
    kept = (q, k, v, *(() if mask is None else (mask,)), y, Size(q.shape[:-1], FLOAT32))
    return Spelled(kept, alike=q)
