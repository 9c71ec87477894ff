"""Attention among tokens of several sequences with the padding left out, [tokens, channels]. The heads are
counted as if the padding were there: which tokens are left is the data's to say. Otherwise macs, elementwise
steps and what autograd keeps are those of `heads`.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Facts, Setting, refuse, rule
from analyzer.ops.shared.heads import Heads, each, projection
from analyzer.spans import DATA, NOTHING, WHOLE, Each, Route, Span

Ints = tuple[int, ...]


@rule("RemovePadding", domain=MICROSOFT)
def remove_padding(x: Size, sequence_token_count: Setting) -> Facts:
    """[batch, length, channels] -> its tokens that are no padding, where all lay, where each sequence starts,
    the longest.
    """
    batch, length, channels = x.shape
    dtype = sequence_token_count.dtype
    tokens = Size((batch * length, channels), x.dtype, exact=False)
    placed = (Size((batch, length), dtype), Size((batch + 1,), dtype), Size((1,), dtype))
    lengths: tuple[Span, ...] = (NOTHING, (WHOLE,))
    return Facts((tokens, *placed), spans=Each((((DATA, DATA, Route(1)), (DATA,)), *(lengths,) * 3)))


@rule("RestorePadding", domain=MICROSOFT)
def restore_padding(x: Size, token_offset: Setting) -> Facts:
    """Tokens back to where they lay, zeros elsewhere: [batch, length, channels]."""
    y = Size((*token_offset.shape, x.shape[1]), x.dtype)
    return Facts(y, spans=((DATA, Route(2)), (DATA, DATA)))


@rule("PackedAttention", domain=MICROSOFT)
def packed_attention(
    x: Size,
    weights: Size,
    bias: Size,
    token_offset: Setting,
    cumulative_sequence_length: Setting,
    attention_bias: Size | None = None,
    *,
    num_heads: int,
    qkv_hidden_sizes: Ints | None = None,
    scale: float | None = None,
) -> Facts:
    """x [tokens, channels], padding left out; the heads are counted as if it were there, [batch, length]
    being `token_offset`'s shape.
    """
    width, value_width = projection(x, weights, qkv_hidden_sizes, num_heads)
    batch, length = token_offset.shape
    form = Heads(batch, length, length, num_heads, num_heads, width, value_width)
    y = Size((x.shape[0], num_heads * value_width), x.dtype)
    qkv = Size((x.shape[0], weights.shape[1]), x.dtype)
    assert form.macs is not None
    return Facts(
        y,
        macs=form.macs + x.count * weights.shape[1],
        elementwise=form.elementwise(attention_bias is not None),
        saved=(x, weights, qkv, y, form.statistics),
    )


@rule("PackedMultiHeadAttention", domain=MICROSOFT)
def packed_multi_head_attention(
    query: Size,
    key: Size | None = None,
    value: Size | None = None,
    bias: Size | None = None,
    token_offset: Setting | None = None,
    cumulative_sequence_length: Setting | None = None,
    attention_bias: Size | None = None,
    *,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    scale: float | None = None,
) -> Facts:
    """query [tokens, channels] or [tokens, heads, 3, width], padding left out; counted as if it were there,
    [batch, length] being `token_offset`'s shape.
    """
    if token_offset is None:
        raise refuse("MISSING_OPERAND", "token_offset is missing")
    batch, length = token_offset.shape
    if len(query.shape) == 4:
        width = value_width = query.shape[3]
    elif value is None:
        raise refuse("MISSING_OPERAND", "values are missing")
    else:
        width = each(query.shape[1], num_heads, "num_heads")
        value_width = each(value.shape[1], num_heads, "num_heads")
    form = Heads(batch, length, length, num_heads, num_heads, width, value_width)
    y = Size((query.shape[0], num_heads * value_width), query.dtype)
    return Facts(
        y,
        macs=form.macs,
        elementwise=form.elementwise(attention_bias is not None),
        saved=(query, *(x for x in (key, value) if x is not None), y, form.statistics),
    )
