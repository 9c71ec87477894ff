"""Receptive-field arithmetic: what an op's output positions read of its operands, and how such reads compose.

Three parts. `words` is the vocabulary, what a rule says of its op. `reach` is the arithmetic of the infinite canvas:
size, stride and padding, as in the literature. `ends` is that of the size at hand: for every element of a tensor the
first and the last row that it sees, clipped at every layer. No op type is known here.
"""

from __future__ import annotations

from analyzer.spans.reach import POINT, Reach, aligned, join
from analyzer.spans.words import (
    DATA,
    NOTHING,
    OPAQUE,
    PHASES,
    POINTWISE,
    SAME,
    WHOLE,
    Abreast,
    Affine,
    Chain,
    Each,
    Exact,
    Picks,
    Places,
    Read,
    Regroup,
    Route,
    Routes,
    Rows,
    Span,
    Spans,
    Word,
    crop,
    in_runs,
    moved,
    reduced,
    regrouped,
    spread,
    straight,
    window,
)

__all__ = [
    "DATA", "NOTHING", "OPAQUE", "PHASES", "POINT", "POINTWISE", "SAME", "WHOLE",
    "Abreast", "Affine", "Chain", "Each", "Exact", "Picks", "Places", "Reach", "Read", "Regroup", "Route", "Routes",
    "Rows", "Span", "Spans", "Word",
    "aligned", "crop", "in_runs", "join", "moved", "reduced", "regrouped", "spread", "straight", "window",
]  # fmt: skip
