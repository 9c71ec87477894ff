"""Attention over a cache of keys and values, several query heads sharing each, as language models decode:
macs, elementwise steps and what autograd keeps are those of `heads`; rotating is 3 steps for each element of
queries and new keys, normalising them 4. Where only the data tells how much of the cache is filled, the cost
is not known.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.heads import Heads, each, shared
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, refuse, rule
from analyzer.spans import NOTHING, WHOLE, Route, Span


def _width(query: Size, packed: bool, heads: int, kv_heads: int) -> int:
    """Of one head of [..., heads x width], or of queries, keys and values side by side."""
    return each(query.shape[-1], heads + 2 * kv_heads if packed else heads, "num_heads")


def _spans(form: Heads, packed: bool, bias: Size | None) -> tuple[Span, ...]:
    """What the result reads of queries, keys, values, past keys and past values; and of a bias."""
    query: Span = form.span("query", 3)
    if packed:
        query = (Route(0), form.span("key", 3)[1], WHOLE)
    past = (form.span("key", 4, form.past), form.span("value", 4, form.past))
    added = NOTHING if bias is None else form.mask(bias.shape)
    return (query, form.span("key", 3), form.span("value", 3), *past, added)


@rule("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(
    query: Size,
    key: Size | None = None,
    value: Size | None = None,
    past_key: Size | None = None,
    past_value: Size | None = None,
    seqlens_k: Setting | None = None,
    total_sequence_length: Setting | None = None,
    cos_cache: Buffer | None = None,
    sin_cache: Buffer | None = None,
    position_ids: Setting | None = None,
    attention_bias: Size | None = None,
    head_sink: Size | None = None,
    k_scale: Buffer | None = None,
    v_scale: Buffer | None = None,
    q_norm_weight: Size | None = None,
    k_norm_weight: Size | None = None,
    query_seqlens: Setting | None = None,
    *,
    causal: int = 1,
    do_rotary: int = 0,
    k_norm_epsilon: float | None = None,
    k_quant_type: str = "NONE",
    kv_cache_bit_width: int | None = None,
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    q_norm_epsilon: float | None = None,
    qk_norm_epsilon: float = 1e-6,
    qk_output: int = 0,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    sliding_window_cache: int = 0,
    smooth_softmax: int = -1,
    softcap: float = 0.0,
    v_quant_type: str = "NONE",
) -> Facts:
    """query [batch, tokens, heads x width], keys and values likewise or packed behind the queries. The cache
    grows by the new tokens, unless it is as long as all of them already: then they are written into it.
    """
    shared(num_heads, kv_num_heads, "kv_num_heads")
    packed = value is None
    width = _width(query, packed, num_heads, kv_num_heads)
    new = query.shape[1] if key is None else key.shape[-2]
    room = 0 if past_key is None else past_key.shape[2]
    total = _total(total_sequence_length, None if past_key is None or room == 0 else room, new)
    held = max(room, room + new if total is None else total)
    if sliding_window_cache:
        held = room
    form = Heads(
        query.shape[0], query.shape[1], total, num_heads, kv_num_heads, width, width,
        past=0 if total is None else total - new, causal=bool(causal),
        left=local_window_size - 1 if local_window_size > 0 else -1,
    )  # fmt: skip
    y = form.result(query.dtype)
    like = query if past_key is None else past_key
    stored = width if past_key is None else past_key.shape[3]
    exact = total is not None or bool(sliding_window_cache)
    cache = (query.shape[0], kv_num_heads, held, stored)
    presents = (Size(cache, like.dtype, exact=exact), Size(cache, like.dtype, exact=exact))
    steps = form.elementwise((attention_bias is not None) + 3 * bool(softcap))
    rotated = query.shape[0] * width * (query.shape[1] * num_heads + new * kv_num_heads)
    if steps is not None:
        steps += rotated * (3 * bool(do_rotary) + 4 * (q_norm_weight is not None))
    query_span, key_span, value_span, past_span, past_value_span, bias_span = _spans(
        form, packed, attention_bias
    )
    tail = (WHOLE, WHOLE)
    return Facts(
        (y, *presents, form.scores(query.dtype)),
        macs=form.macs,
        elementwise=steps,
        spans=(
            query_span, key_span, value_span, past_span, past_value_span, tail, tail, tail, tail, tail, bias_span, tail,
        ),
        saved=form.kept(query, *presents, attention_bias, y),
    )  # fmt: skip


def _total(told: Setting | None, room: int | None, new: int) -> int | None:
    """Keys in all: as told, or the new ones where there is no cache."""
    if told is not None and told.value is not None and told.count == 1:
        return told.ints()[0]
    return new if room is None else None


@rule("SparseAttention", domain=MICROSOFT)
def sparse_attention(
    query: Size,
    key: Size | None = None,
    value: Size | None = None,
    past_key: Size | None = None,
    past_value: Size | None = None,
    block_row_indices: Setting | None = None,
    block_col_indices: Setting | None = None,
    total_sequence_length: Setting | None = None,
    key_total_sequence_lengths: Setting | None = None,
    cos_cache: Buffer | None = None,
    sin_cache: Buffer | None = None,
    *,
    do_rotary: int = 0,
    kv_num_heads: int,
    num_heads: int,
    rotary_interleaved: int = 0,
    scale: float | None = None,
    sparse_block_size: int,
) -> Facts:
    """As above, over those blocks of keys that a table lists, so that the cost is not known; the cache keeps
    its size.
    """
    if past_key is None or past_value is None:
        raise refuse("MISSING_OPERAND", "past_key or past_value is missing")
    shared(num_heads, kv_num_heads, "kv_num_heads")
    width = _width(query, value is None, num_heads, kv_num_heads)
    y = Size((*query.shape[:-1], num_heads * width), query.dtype)
    presents = (Size(past_key.shape, past_key.dtype), Size(past_value.shape, past_value.dtype))
    return Facts((y, *presents), macs=None, elementwise=None)


@rule("PagedAttention", domain=MICROSOFT)
def paged_attention(
    query: Size,
    key: Size | None = None,
    value: Size | None = None,
    key_cache: Size | None = None,
    value_cache: Size | None = None,
    cumulative_sequence_length: Setting | None = None,
    past_seqlens: Setting | None = None,
    block_table: Setting | None = None,
    cos_cache: Buffer | None = None,
    sin_cache: Buffer | None = None,
    slot_mapping: Setting | None = None,
    head_sink: Size | None = None,
    q_norm_weight: Size | None = None,
    k_norm_weight: Size | None = None,
    k_scale: Buffer | None = None,
    v_scale: Buffer | None = None,
    attention_metadata: Setting | None = None,
    *,
    do_rotary: int = 0,
    is_causal: int = 1,
    k_cache_dtype: str = "",
    k_quant_type: str = "NONE",
    kv_cache_layout: str = "SEPARATE",
    kv_num_heads: int,
    local_window_size: int = -1,
    num_heads: int,
    qk_norm_epsilon: float = 1e-6,
    rotary_interleaved: int = 0,
    rotary_offset: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    v_cache_dtype: str = "",
    v_head_size: int = 0,
    v_quant_type: str = "NONE",
) -> Facts:
    """query [tokens, channels] of several requests, keys and values likewise or packed; the data says which
    blocks of the cache are whose, so that the cost is not known. The caches keep their sizes.
    """
    if key_cache is None:
        raise refuse("MISSING_OPERAND", "key_cache is missing")
    latent = kv_cache_layout == "LATENT"
    width = _width(query, value is None and not latent, num_heads, kv_num_heads)
    y = Size((query.shape[0], num_heads * (v_head_size if latent and v_head_size else width)), query.dtype)
    values = None if value_cache is None else Size(value_cache.shape, value_cache.dtype)
    return Facts((y, Size(key_cache.shape, key_cache.dtype), values), macs=None, elementwise=None)
