"""What an output reads of an operand, told by the output itself where an op only moves elements.

Fed with its own places, an op that moves elements puts into each place of its output the place that it came from. So
each Span is held against the truth: a Route must lead from every output position to the row that was really read.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from analyzer.ops.rule import Facts
from analyzer.spans import NOTHING, OPAQUE, POINTWISE, Affine, Regroup, Route

Array = NDArray[Any]
NOWHERE = -1.0
"""Stands in the output where nothing of the operand lies."""


def span_of(facts: Facts, operand: int) -> Any:
    """The Span of one operand."""
    return facts.span(operand)


def rows(taps: Affine, position: int) -> range:
    """The operand rows that an output position reads through taps."""
    turn, phase = divmod(position, taps.period)
    low, high = taps.lows[phase], taps.highs[phase]
    if low is None or high is None:
        return range(0)
    return range(low + turn * taps.advance, high + turn * taps.advance + 1)


def check_reads(facts: Facts, shape: tuple[int, ...], came_from: Array, operand: int = 0) -> int:
    """Hold the Span of an operand of `shape` against the places in the output; how many axes were told exactly."""
    span = span_of(facts, operand)
    assert span not in (OPAQUE, NOTHING)
    if isinstance(span, Regroup):
        assert (span.before, span.after) == (shape, came_from.shape)
        assert came_from.reshape(-1).tolist() == list(range(came_from.size))
        return len(shape)
    if span is POINTWISE:
        shift = came_from.ndim - len(shape)
        span = tuple(Route(axis + shift) for axis in range(len(shape)))
    assert len(span) == len(shape)
    told = [axis for axis, route in enumerate(span) if isinstance(route, Route)]
    for position in np.ndindex(came_from.shape):
        place = came_from[position]
        if place == NOWHERE:
            continue
        source = np.unravel_index(int(place), shape)
        for axis in told:
            read = rows(span[axis].taps, position[span[axis].axis])
            stretched = shape[axis] == 1  # a broadcast axis has one row for all
            assert int(source[axis]) in read or stretched, (
                f"axis {axis}: {position} came from {source}, said {read}"
            )
            assert len(read) == 1 or stretched
    return len(told)
