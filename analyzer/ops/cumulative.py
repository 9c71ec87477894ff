"""Running sums and products along an axis. elementwise: one per element.

Autograd keeps nothing for a sum; for a product the input and the result. Values ride along where small and known.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from analyzer.graph import Size, Value
from analyzer.ops.rule import Facts, Setting, axis_of, known, refuse, rule
from analyzer.spans import NOTHING, OPAQUE, Read, Route, Span, straight


@rule("CumSum", since=11)
def running_sum(x: Size, axis: Setting, *, exclusive: int = 0, reverse: int = 0) -> Facts:
    """Each element and all before it, added up."""
    y, spans = _running(x, axis, bool(exclusive), bool(reverse), np.cumsum, 0)
    return Facts(y, elementwise=x.count, spans=(spans, NOTHING))


@rule("CumProd", since=26)
def running_product(x: Size, axis: Setting, *, exclusive: int = 0, reverse: int = 0) -> Facts:
    """Each element and all before it, multiplied."""
    y, spans = _running(x, axis, bool(exclusive), bool(reverse), np.cumprod, 1)
    return Facts(y, elementwise=x.count, spans=(spans, NOTHING), saved=(x, y))


def _running(
    x: Size, axis: Setting, exclusive: bool, reverse: bool, fold: Callable[..., Any], start: int
) -> tuple[Size, Span]:
    """`reverse` comes from the end; `exclusive` leaves the element itself out and begins with `start`."""
    rank = len(x.shape)
    if not rank:
        raise refuse("RANK", "a scalar has no axis to run along")
    if axis.value is None:
        return Size(x.shape, x.dtype), OPAQUE
    along = axis_of(axis.ints()[0], rank)
    routes: list[Route | Read] = list(straight(rank))
    shift = 0 if not exclusive else 1 if reverse else -1
    routes[along] = Read("suffix" if reverse else "prefix", along, shift)

    def folded(values: Value) -> Value:
        turned = np.flip(values, along) if reverse else values
        if exclusive:
            before = np.full_like(turned[(slice(None),) * along + (slice(0, 1),)], start)
            turned = np.concatenate((before, turned), axis=along)
            turned = turned[(slice(None),) * along + (slice(0, -1),)]
        run = fold(turned, axis=along, dtype=values.dtype)
        return np.asarray(np.flip(run, along) if reverse else run)

    return Size(x.shape, x.dtype, known(x.count, folded, x)), tuple(routes)
