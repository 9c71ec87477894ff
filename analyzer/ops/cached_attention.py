"""Attention over a cache of keys and values, several query heads sharing each, as language models decode:
macs, elementwise steps and what autograd keeps are those of `heads`; rotating is 3 steps for each element of
queries and new keys, normalising them 4. Where only the data tells how much of the cache is filled, the cost
is not known.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, refuse, rule
from analyzer.ops.shared.heads import Heads, each, shared, told
from analyzer.spans import NOTHING, OPAQUE, WHOLE, Each, Route, Span, straight


def _width(query: Size, packed: bool, heads: int, kv_heads: int) -> int:
    """Of one head of [..., heads x width], or of queries, keys and values side by side."""
    return each(query.shape[-1], heads + 2 * kv_heads if packed else heads, "num_heads")


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
    packed = value is None
    new = query.shape[1] if key is None else key.shape[-2]
    total = told(total_sequence_length)
    if total is None and (past_key is None or past_key.shape[2] == 0):
        total = new
    window = -1 if total is None or sliding_window_cache else local_window_size
    form = _form(query, packed, num_heads, kv_num_heads, new, total, past_key, bool(causal), window)
    presents = _presents(form, query, past_key, new, bool(sliding_window_cache))
    y = form.result(query.dtype)
    steps = form.elementwise((attention_bias is not None) + 3 * bool(softcap))
    if steps is not None:
        turned = form.batch * form.width * (form.queries * num_heads + new * kv_num_heads)
        steps += turned * (3 * bool(do_rotary) + 4 * (q_norm_weight is not None))
    return Facts(
        (y, *presents, form.scores(query.dtype)),
        macs=form.macs,
        elementwise=steps,
        spans=_spans(form, packed, bool(sliding_window_cache), attention_bias),
        saved=form.kept(query, *presents, attention_bias, y),
    )


def _form(
    query: Size,
    packed: bool,
    heads: int,
    kv_heads: int,
    new: int,
    total: int | None,
    past: Size | None,
    causal: bool,
    window: int,
) -> Heads:
    """`window` counts a query's own position."""
    shared(heads, kv_heads, "kv_num_heads")
    width = _width(query, packed, heads, kv_heads)
    before = total - new if total is not None else past.shape[2] if past is not None else 0
    return Heads(
        query.shape[0], query.shape[1], total, heads, kv_heads, width, width,
        past=before, causal=causal, left=window - 1 if window > 0 else -1,
    )  # fmt: skip


def _presents(form: Heads, query: Size, past: Size | None, new: int, slides: bool) -> tuple[Size, Size]:
    """The cache as it is handed on: as long as before if that was enough, or if it slides."""
    room = 0 if past is None else past.shape[2]
    needed = room + new if form.keys is None else form.keys
    like, width = (query, form.width) if past is None else (past, past.shape[3])
    shape = (form.batch, form.kv_heads, room if slides else max(room, needed), width)
    exact = slides or form.keys is not None
    return Size(shape, like.dtype, exact=exact), Size(shape, like.dtype, exact=exact)


def _spans(form: Heads, packed: bool, slides: bool, bias: Size | None) -> Each:
    """What the result, all keys, all values and the scores read of the operands."""
    query: Span = (Route(0), form.span("key", 3)[1], WHOLE) if packed else form.span("query", 3)
    past = (form.span("key", 4, form.past), form.span("value", 4, form.past))
    rest: Span = (WHOLE, WHOLE)
    added = NOTHING if bias is None else form.mask(bias.shape)
    result = (query, form.span("key", 3), form.span("value", 3), *past, *(rest,) * 5, added, rest)
    if slides:
        return Each((result, OPAQUE, OPAQUE, OPAQUE))
    source: Span = (*form.stored("key", 3)[:2], WHOLE) if packed else NOTHING
    angles = (NOTHING, NOTHING, rest, rest, rest, NOTHING)
    keys = (source, form.stored("key", 3), NOTHING, straight(4), NOTHING, *angles)
    values = (source, NOTHING, form.stored("value", 3), NOTHING, straight(4), NOTHING)
    return Each((result, keys, values, OPAQUE))


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
