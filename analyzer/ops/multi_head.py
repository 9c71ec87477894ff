"""Attention in onnxruntime's forms that are given queries, keys and values, each head with its own: macs,
elementwise steps and what autograd keeps are those of `heads`. Bias on queries, keys and values is not
counted.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Facts, Setting, refuse, rule
from analyzer.ops.shared.heads import Heads, each, split, told
from analyzer.spans import NOTHING, OPAQUE, WHOLE, Each, Read, Route, Routes, Span, straight

REST: Span = (WHOLE, WHOLE, WHOLE)
"""Of operands that decide what is read, of those that are not there nothing at all."""


class _Side(msgspec.Struct, frozen=True):
    """Keys and values as they come: new positions, widths of a head, and the operands that hold them."""

    new: int
    width: int
    value_width: int
    held: tuple[Size, Size]


class _Cache(msgspec.Struct, frozen=True):
    """Keys and values of earlier calls, [batch, heads, positions, width]; new ones are joined to them, or
    written into a cache that `shares` its storage and is `filled` so far.
    """

    key: Size | None
    value: Size | None
    filled: Setting | None
    shares: bool

    def positions(self, new: int) -> tuple[int | None, int]:
        """Keys in all (None: the data decides), and those of the past."""
        if self.key is None:
            return new, 0
        if not self.shares:
            return self.key.shape[2] + new, self.key.shape[2]
        filled = told(self.filled)
        return (None, self.key.shape[2]) if filled is None else (filled + new, filled)

    def presents(self, form: Heads, like: Size) -> tuple[Size | None, Size | None]:
        if self.key is not None and self.value is not None and self.shares:
            return Size(self.key.shape, self.key.dtype), Size(self.value.shape, self.value.dtype)
        return form.present(form.width, like.dtype), form.present(form.value_width, like.dtype)


def _side(query: Size, key: Size | None, value: Size | None, heads: int) -> _Side:
    """Keys and values packed into the queries, into one another, or on their own."""
    if len(query.shape) == 5:
        return _Side(query.shape[1], query.shape[4], query.shape[4], (query, query))
    if key is None:
        raise refuse("MISSING_OPERAND", "keys are missing")
    if len(key.shape) == 5:
        return _Side(key.shape[1], key.shape[4], key.shape[4], (key, key))
    if value is None:
        raise refuse("MISSING_OPERAND", "values are missing")
    _, _, new, width = split(key, heads, "num_heads")
    _, _, length, value_width = split(value, heads, "num_heads")
    if new != length:
        raise refuse("LENGTH_MISMATCH", f"keys {key.shape} and values {value.shape} differ in length")
    if each(query.shape[2], heads, "num_heads") != width:
        raise refuse(
            "DEPTH_MISMATCH", f"heads of queries {query.shape} and of keys {key.shape} differ in width"
        )
    return _Side(new, width, value_width, (key, value))


def _attended(
    form: Heads, query: Size, side: _Side, cache: _Cache, padding: Size | None, bias: Size | None
) -> Facts:
    y = form.result(query.dtype)
    presents = cache.presents(form, query)
    keys, values = (present or new for present, new in zip(presents, side.held, strict=True))
    return Facts(
        (y, *presents, form.scores(query.dtype)),
        macs=form.macs,
        elementwise=form.elementwise((padding is not None) + (bias is not None)),
        saved=form.kept(query, *(side.held if cache.key is None else (keys, values)), bias, y),
    )


def _reach(
    form: Heads, query: Size, key: Size | None, value: Size | None, padding: Size | None, bias: Size | None
) -> Mapping[str, Span]:
    """What the result reads of each operand, by name."""
    reach: dict[str, Span] = {
        "query": _packed(form, True) if len(query.shape) == 5 else form.span("query", 3),
        "past_key": form.span("key", 4, form.past),
        "past_value": form.span("value", 4, form.past),
    }
    if key is not None:
        reach["key"] = _packed(form, False) if len(key.shape) == 5 else form.span("key", len(key.shape))
    if value is not None:
        reach["value"] = form.span("value", len(value.shape))
    if padding is not None:
        reach["padding"] = (WHOLE,) * len(padding.shape)
    if bias is not None:
        reach["bias"] = form.mask(bias.shape)
    return reach


def _spans(
    order: tuple[str, ...],
    reach: Mapping[str, Span],
    form: Heads,
    query: Size,
    key: Size | None,
    value: Size | None,
) -> Each:
    """What the result, all keys, all values and the scores read of the operands in their order."""
    source = "query" if key is None else "key"
    of_keys: Mapping[str, Span] = {
        source: form.stored("key", len((key or query).shape)),
        "past_key": straight(4),
    }
    of_values: Mapping[str, Span] = {
        source if value is None else "value": form.stored("value", len((value or key or query).shape)),
        "past_value": straight(4),
    }
    result = tuple(reach.get(name, REST) for name in order)
    caches = (tuple(part.get(name, NOTHING) for name in order) for part in (of_keys, of_values))
    return Each((result, *caches, OPAQUE))


def _packed(form: Heads, queries: bool) -> Routes:
    """[batch, tokens, heads, 2 or 3, width]: keys and values at once, and queries too."""
    _, head, along, _ = form.span("key", 4)
    prefix = isinstance(along, Read) and along.kind == "prefix"
    return (Route(0), along if prefix or not queries else WHOLE, head, WHOLE, WHOLE)


@rule("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(
    query: Size,
    key: Size | None = None,
    value: Size | None = None,
    bias: Size | None = None,
    key_padding_mask: Setting | None = None,
    attention_bias: Size | None = None,
    past_key: Size | None = None,
    past_value: Size | None = None,
    past_sequence_length: Setting | None = None,
    cache_indirection: Setting | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float | None = None,
    unidirectional: int = 0,
) -> Facts:
    """query [batch, tokens, heads x width]; keys and values likewise, or [batch, heads, tokens, width], or
    packed as [batch, tokens, heads, 2 (or with the queries 3), width]. A past whose length is told lies in a
    shared cache.
    """
    side = _side(query, key, value, num_heads)
    cache = _Cache(past_key, past_value, past_sequence_length, past_sequence_length is not None)
    keys, past = cache.positions(side.new)
    form = Heads(
        query.shape[0], query.shape[1], keys, num_heads, num_heads, side.width, side.value_width,
        past=past, causal=bool(unidirectional),
    )  # fmt: skip
    reach = _reach(form, query, key, value, key_padding_mask, attention_bias)
    order = ("query", "key", "value", "", "padding", "bias", "past_key", "past_value", "")
    said = _attended(form, query, side, cache, key_padding_mask, attention_bias)
    return msgspec.structs.replace(said, spans=_spans(order, reach, form, query, key, value))


@rule("DecoderMaskedMultiHeadAttention", domain=MICROSOFT)
def decoder_masked_multi_head_attention(
    query: Size,
    key: Size | None = None,
    value: Size | None = None,
    mask_index: Setting | None = None,
    attention_bias: Size | None = None,
    past_key: Size | None = None,
    past_value: Size | None = None,
    past_sequence_length: Setting | None = None,
    beam_width: Setting | None = None,
    cache_indirection: Setting | None = None,
    bias: Size | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    output_qk: int = 0,
    past_present_share_buffer: int = 0,
    scale: float | None = None,
) -> Facts:
    """One query token; its keys and values lie beside it or packed into it, or are [batch, heads, tokens,
    width] of another sequence.
    """
    cache = _Cache(past_key, past_value, past_sequence_length, bool(past_present_share_buffer))
    if key is not None:
        side = _side(query, key, value, num_heads)
        cache = cache if len(key.shape) == 3 else _Cache(None, None, None, False)
    elif past_key is not None and past_value is not None:
        side = _Side(query.shape[1], past_key.shape[3], past_value.shape[3], (query, query))
    else:
        raise refuse("MISSING_OPERAND", "keys are missing")
    keys, past = cache.positions(side.new)
    form = Heads(
        query.shape[0], query.shape[1], keys, num_heads, num_heads, side.width, side.value_width, past=past
    )
    reach = dict(_reach(form, query, key, value, mask_index, attention_bias))
    if key is None:
        reach["query"] = (Route(0), Route(1), WHOLE)
    order = ("query", "key", "value", "padding", "bias", "past_key", "past_value", "")
    said = _attended(form, query, side, cache, mask_index, attention_bias)
    return msgspec.structs.replace(said, spans=_spans(order, reach, form, query, key, value))
