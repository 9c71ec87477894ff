"""Positions of tokens: rotations of queries and keys, and biases by distance.

elementwise: 3 for each rotated element (two products and a sum). A bias by distance is looked up, which is 0;
a gated one is a product for each of its elements, and for each query and head its gates: a sum for each
projected number, two sigmoids of 4, and 3. Autograd keeps cosines and sines.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, refuse, rule
from analyzer.ops.shared.heads import each
from analyzer.spans import DATA, NOTHING, POINTWISE, WHOLE, Each, Exact, Route, Rows, Span, in_runs, straight

Ints = tuple[int, ...]


def _rotated(
    x: Size, cos: Size, sin: Size, positions: Size | None, heads: int, rotary: int
) -> tuple[Size, int, Span, Span]:
    """The result, its steps, and what it reads of the input and of the cosines (and sines).

    x is [batch, heads, tokens, width] or [batch, tokens, heads x width]; where the number of heads is not
    told, the cosines are half as wide as a head. They are looked up by position, or else lie there token by
    token.
    """
    if len(x.shape) not in (3, 4):
        raise refuse(
            "RANK", f"{x.shape} is neither [batch, tokens, channels] nor [batch, heads, tokens, width]"
        )
    channels, tokens = x.shape[-1], len(x.shape) - 2
    width = (
        channels if len(x.shape) == 4 else each(channels, heads, "num_heads") if heads else 2 * cos.shape[-1]
    )
    if width < 1 or channels % width or (rotary or width) != 2 * cos.shape[-1]:
        raise refuse(
            "ROTARY_WIDTH",
            f"cosines {cos.shape} rotate {2 * cos.shape[-1]} channels of a head, which is {rotary or width} here",
            attribute="rotary_embedding_dim",
        )
    own = WHOLE if channels == width else in_runs(2, width, width, width)
    table: Span = (Route(0), Route(tokens), WHOLE) if positions is None else (DATA, WHOLE)
    y = Size(x.shape, x.dtype)
    steps = 3 * y.count * (rotary or width) // width
    return y, steps, (*(Route(axis) for axis in range(len(x.shape) - 1)), own), table


def _pairs(x: Size, cos: Size, heads: int, interleaved: int) -> Mapping[int, Callable[[], Exact]]:
    """Each channel with the one that it is turned with: its neighbour, or the one half of the turned channels away."""

    def pairs() -> Exact:
        channels, last = x.shape[-1], len(x.shape) - 1
        turned = 2 * cos.shape[-1]
        width = channels if len(x.shape) == 4 else channels // heads if heads else turned
        own = np.arange(channels)
        within = own % width
        other = own ^ 1 if interleaved else own + np.where(within < turned // 2, turned // 2, -(turned // 2))
        rows = np.stack((own, np.where(within < turned, other, own)), axis=1)
        return (*straight(last), Rows(last, rows))

    return {0: pairs}


def _positions(positions: Size | None, tokens: int) -> Span:
    """Looked up for [batch, tokens], or counted on from a first one; three kinds of them may be stacked."""
    if positions is None or len(positions.shape) < 2:
        return (WHOLE,)
    return (*(WHOLE,) * (len(positions.shape) - 2), Route(0), Route(tokens))


@rule("RotaryEmbedding", since=23)
def rotary_embedding(
    x: Size,
    cos_cache: Buffer,
    sin_cache: Buffer,
    position_ids: Setting | None = None,
    *,
    interleaved: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
) -> Facts:
    """Pairs of channels of each head turned by an angle that goes with the position."""
    y, steps, own, table = _rotated(x, cos_cache, sin_cache, position_ids, num_heads, rotary_embedding_dim)
    spans = (own, table, table, _positions(position_ids, len(x.shape) - 2))
    exact = _pairs(x, cos_cache, num_heads, interleaved)
    return Facts(y, elementwise=steps, spans=spans, exact=exact, saved=(cos_cache, sin_cache))


@rule("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding_by_position(
    x: Size,
    position_ids: Setting,
    cos_cache: Buffer,
    sin_cache: Buffer,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float | None = None,
) -> Facts:
    """onnxruntime's order of operands; positions may be one number, that of the first token."""
    y, steps, own, table = _rotated(x, cos_cache, sin_cache, position_ids, num_heads, rotary_embedding_dim)
    spans = (own, _positions(position_ids, len(x.shape) - 2), table, table)
    exact = _pairs(x, cos_cache, num_heads, interleaved)
    return Facts(y, elementwise=steps, spans=spans, exact=exact, saved=(cos_cache, sin_cache))


@rule("MRotaryEmbedding", domain=MICROSOFT)
def rotary_embedding_in_space(
    x: Size,
    position_ids: Setting,
    cos_cache: Buffer,
    sin_cache: Buffer,
    *,
    interleaved: int = 0,
    is_packed_batching: int = 0,
    mrope_layout: int = 0,
    mrope_section: Ints,
    num_heads: int = 0,
    rotary_embedding_dim: int = 0,
    scale: float | None = None,
) -> Facts:
    """Positions in time, height, width, [3, batch, tokens], each turning its own part of the channels."""
    y, steps, own, table = _rotated(x, cos_cache, sin_cache, position_ids, num_heads, rotary_embedding_dim)
    spans = (own, _positions(position_ids, len(x.shape) - 2), table, table)
    exact = _pairs(x, cos_cache, num_heads, interleaved)
    return Facts(y, elementwise=steps, spans=spans, exact=exact, saved=(cos_cache, sin_cache))


@rule("GemmaRotaryEmbedding", domain=MICROSOFT)
def gemma_rotary_embedding(emb: Size, q: Size, q_rot: Size, k: Size, k_rot: Size) -> Facts:
    """Angles [batch, tokens, width] and both halves of the rotation, [batch, heads, tokens, width]; a cosine
    and a sine are a step for each angle.
    """
    steps = 3 * (q.count + k.count) + 2 * emb.count
    angles = (Route(0), Route(2), Route(3))
    kept = (Size(emb.shape, q.dtype), Size(emb.shape, q.dtype))
    outputs = (Size(q.shape, q.dtype), Size(k.shape, k.dtype))
    queries = (angles, POINTWISE, POINTWISE, NOTHING, NOTHING)
    keys = (angles, NOTHING, NOTHING, POINTWISE, POINTWISE)
    return Facts(outputs, elementwise=steps, spans=Each((queries, keys)), saved=kept)


@rule("RelativePositionBias", domain=MICROSOFT)
def relative_position_bias(
    bias_table: Size,
    query_length: Setting,
    key_length: Setting,
    *,
    is_bidirectional: int = 0,
    max_distance: int,
) -> Facts:
    """bias_table [buckets, heads] -> [1, heads, queries, keys], looked up by distance."""
    if query_length.value is None or key_length.value is None:
        return Facts(None, spans=(DATA, Route(1)))
    exact = query_length.value_exact and key_length.value_exact
    shape = (1, bias_table.shape[1], *query_length.ints(), *key_length.ints())
    y = Size(shape, bias_table.dtype, exact=exact)
    return Facts(y, spans=((DATA, Route(1)), (WHOLE,), (WHOLE,)))


@rule("GatedRelativePositionBias", domain=MICROSOFT)
def gated_relative_position_bias(
    query_layer: Size,
    query_bias: Size,
    rel_pos: Size,
    weight: Size,
    bias: Size,
    eco_a: Size,
    token_offset: Setting | None = None,
    *,
    num_heads: int,
) -> Facts:
    """A bias by distance [1, heads, tokens, tokens] times gates made of the queries [batch, tokens, heads x
    width] by a weight [width, D]; padding is left out of the queries where offsets [batch, tokens] say so.
    macs: of that product.
    """
    batch, tokens = (query_layer if token_offset is None else token_offset).shape[:2]
    width = each(query_layer.shape[-1], num_heads, "num_heads")
    if weight.shape[0] != width:
        raise refuse("DEPTH_MISMATCH", f"heads are {width} wide, the weight takes {weight.shape[0]}")
    y = Size((batch, num_heads, tokens, tokens), query_layer.dtype)
    gates = batch * num_heads * tokens
    projected = Size((batch, num_heads, tokens, weight.shape[1]), query_layer.dtype)
    return Facts(
        y,
        macs=gates * weight.count,
        elementwise=y.count + gates * (weight.shape[1] + 2 * 4 + 3),
        saved=(query_layer, weight, rel_pos, projected),
    )
