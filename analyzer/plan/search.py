"""The largest batch that fits, found by asking: what is answered was evaluated, and so was the batch after it."""

from __future__ import annotations

from collections.abc import Callable

MOST_BATCH = 1 << 40
"""Where the search ends for a model that takes next to nothing."""


def largest(needed: Callable[[int], int | None], limit: int) -> int:
    """The batch that needs at most `limit` while the next one needs more; 0 where 1 does.

    A line through the last two answers says where to look next, in turn with the middle, so that a curve costs little
    more than halving would. Needs that are not known do not fit.
    """

    def fits(batch: int) -> bool:
        amount = needed(batch)
        return amount is not None and amount <= limit

    def crossing(low: int, high: int) -> int:
        """Where the line through two answers meets the limit."""
        below, above = needed(low), needed(high)
        if below is None or above is None or above <= below:
            return high
        return low + (limit - below) * (high - low) // (above - below)

    if not fits(1):
        return 0
    low, high = 1, 2
    while fits(high):
        if high >= MOST_BATCH:
            return MOST_BATCH
        low, high = high, min(MOST_BATCH, max(2 * high, crossing(low, high) + 1))
    by_line = True
    while high - low > 1:
        probe = min(max(crossing(low, high), low + 1), high - 1) if by_line else (low + high) // 2
        by_line = not by_line
        if fits(probe):
            low = probe
        else:
            high = probe
    return low
