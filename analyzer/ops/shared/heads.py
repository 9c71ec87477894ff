"""Attention heads: shapes, cost and reach of queries that attend to keys. Not a family: no op is named here.

macs: every query head scores every key and weighs every value: heads x queries x keys x (width + value
width). A causal mask, a window or padding saves nothing. elementwise, per score: scale 1 and softmax 5, and
one for each mask or bias that is added, three for a soft cap. Autograd keeps queries, keys, values and
result, and one log-sum-exp for each query and head, as torch's flash kernel on CPU does.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from analyzer.graph import FLOAT32, DType, Size
from analyzer.ops.rule import refuse
from analyzer.spans import PHASES, WHOLE, Affine, Read, Route, Routes, crop, in_runs

Ints = tuple[int, ...]
Part = Literal["query", "key", "value"]
SCORE_STEPS = 6
"""Scale and softmax."""


class Heads(msgspec.Struct, frozen=True):
    """Who attends to whom.

    queries, keys         positions on either side; `keys` counts the past, and is None where the data decides it
    heads, kv_heads       query heads, and heads of keys and values, each shared by heads / kv_heads query heads
    width, value_width    of one head
    merged                heads lie side by side in the last axis, [batch, queries, heads x value width]; otherwise
                          they have an axis of their own, [batch, heads, queries, value width]
    past                  keys that lie before the first query
    causal, left, right   what a query at position p sees: up to p; p - left to p + right (-1: no bound)
    """

    batch: int
    queries: int
    keys: int | None
    heads: int
    kv_heads: int
    width: int
    value_width: int
    merged: bool = True
    past: int = 0
    causal: bool = False
    left: int = -1
    right: int = -1

    @property
    def macs(self) -> int | None:
        if self.keys is None:
            return None
        return self.batch * self.heads * self.queries * self.keys * (self.width + self.value_width)

    def elementwise(self, more: int = 0) -> int | None:
        """`more` steps for each score beside scale and softmax."""
        if self.keys is None:
            return None
        return self.batch * self.heads * self.queries * self.keys * (SCORE_STEPS + more)

    def result(self, dtype: DType) -> Size:
        if self.merged:
            return Size((self.batch, self.queries, self.heads * self.value_width), dtype)
        return Size((self.batch, self.heads, self.queries, self.value_width), dtype)

    def present(self, width: int, dtype: DType, exact: bool = True) -> Size | None:
        """Keys or values of all positions, past and new."""
        if self.keys is None:
            return None
        return Size((self.batch, self.kv_heads, self.keys, width), dtype, exact=exact)

    def scores(self, dtype: DType) -> Size | None:
        """Queries against keys."""
        return None if self.keys is None else Size((self.batch, self.heads, self.queries, self.keys), dtype)

    @property
    def statistics(self) -> Size:
        """The log-sum-exp of each query and head."""
        return Size((self.batch, self.heads, self.queries), FLOAT32)

    def kept(self, q: Size, k: Size, v: Size, mask: Size | None, y: Size) -> tuple[Size, ...]:
        """What autograd keeps; of a mask the numbers that are added, so booleans as such numbers."""
        if mask is None:
            return (q, k, v, y, self.statistics)
        added = mask if mask.dtype.is_float else Size(mask.shape, q.dtype)
        return (q, k, v, added, y, self.statistics)

    def span(self, part: Part, rank: int, offset: int = 0) -> Routes:
        """What the result reads of an operand of `rank` 3 (merged) or 4; its row 0 lies `offset` before the
        first query.
        """
        share = 1 if part == "query" else self.heads // self.kv_heads
        along = Route(self._tokens) if part == "query" else self._seen(offset)
        if rank == 3:
            return (Route(0), along, self._channels(share, part))
        if self.merged:
            return (Route(0), self._block(share), along, WHOLE)
        head = in_runs(1, share)
        return (Route(0), head, along, Route(3) if part == "value" else WHOLE)

    def stored(self, part: Part, rank: int) -> Routes:
        """What the cache of all keys or values reads of new ones, of `rank` 3 (merged), 4, or 5 (packed):
        they lie behind the past.
        """
        width = self.value_width if part == "value" else self.width
        behind = Route(2, crop(-self.past))
        if rank == 4:
            return (Route(0), Route(1), behind, Route(3))
        if rank == 5:
            return (Route(0), behind, Route(1), WHOLE, Route(3))
        return (Route(0), behind, Route(1, Affine(1, width, (0,), (width - 1,))))

    def mask(self, shape: Ints) -> Routes:
        """What the result reads of a mask or bias that broadcasts to [batch, heads, queries, keys]."""
        head = self._block(1) if self.merged else Route(1)
        whole = ((self.batch, Route(0)), (self.heads, head), (self.queries, Route(self._tokens)), (0, WHOLE))
        return tuple(
            route if dim == extent else WHOLE
            for dim, (extent, route) in zip(shape, whole[-len(shape) :], strict=True)
        )

    @property
    def _tokens(self) -> int:
        return 1 if self.merged else 2

    def _seen(self, offset: int) -> Route | Read:
        """Which rows of keys a query sees."""
        right = 0 if self.causal else self.right
        if self.left >= 0 and right >= 0:
            return Route(self._tokens, Affine(1, 1, (offset - self.left,), (offset + right,)))
        if right >= 0:
            return Read("prefix", self._tokens, offset + right)
        return Read("suffix", self._tokens, offset - self.left) if self.left >= 0 else WHOLE

    def _block(self, share: int) -> Route | Read:
        """An axis of heads, read by the channels of a merged result."""
        return in_runs(2, share * self.value_width)

    def _channels(self, share: int, part: Part) -> Route | Read:
        """Merged channels: those of a channel's own head, and of the values the one that it sums."""
        period = share * self.value_width
        if part == "value":
            if share == 1:
                return Route(2)
            if not 0 < period <= PHASES:
                return Read("global", 2)
            rows = tuple(channel % self.value_width for channel in range(period))
            return Route(2, Affine(period, self.value_width, rows, rows))
        if self.heads == 1:
            return WHOLE
        return in_runs(2, period, self.width, self.width)


def split(x: Size, heads: int | None, attribute: str) -> tuple[int, int, int, int]:
    """Batch, heads, tokens, width of [batch, tokens, heads x width] or [batch, heads, tokens, width]."""
    if len(x.shape) == 4:
        return x.shape[0], x.shape[1], x.shape[2], x.shape[3]
    if len(x.shape) != 3:
        raise refuse(
            "RANK", f"{x.shape} is neither [batch, tokens, channels] nor [batch, heads, tokens, width]"
        )
    return x.shape[0], heads or 0, x.shape[1], each(x.shape[2], heads, attribute)


def each(channels: int, heads: int | None, attribute: str) -> int:
    """The width of one head."""
    if heads is None or heads < 1 or channels % heads:
        raise refuse("HEADS", f"{heads} heads do not divide {channels} channels", attribute=attribute)
    return channels // heads


def shared(heads: int, kv_heads: int, attribute: str) -> None:
    """Every head of keys serves equally many query heads. Raises BadModel where it cannot."""
    if kv_heads < 1 or heads % kv_heads:
        raise refuse(
            "HEADS", f"{heads} query heads cannot share {kv_heads} heads of keys equally", attribute=attribute
        )


def told(number: Size | None) -> int | None:
    """A single number, where it is known for sure."""
    if number is None or number.value is None or not number.value_exact or number.count != 1:
        return None
    return number.ints()[0]


def projection(x: Size, weights: Size, sizes: Ints | None, heads: int) -> tuple[int, int]:
    """Width of a head of queries and keys, and of values, that weights [channels, queries + keys + values]
    make.
    """
    if len(weights.shape) != 2 or weights.shape[0] != x.shape[-1]:
        raise refuse("WEIGHT_SHAPE", f"weights {weights.shape} do not fit an input {x.shape}")
    parts = sizes or (weights.shape[1] // 3,) * 3
    if len(parts) != 3 or sum(parts) != weights.shape[1] or parts[0] != parts[1]:
        raise refuse(
            "WEIGHT_SHAPE",
            f"weights {weights.shape} do not hold queries, keys and values of {parts}",
            attribute="qkv_hidden_sizes",
        )
    return each(parts[0], heads, "num_heads"), each(parts[2], heads, "num_heads")
