"""Attention as the standard has it. macs, elementwise steps and what autograd keeps are those of `heads`."""

from __future__ import annotations

import msgspec

from analyzer.graph import DTYPES, FLOAT32, FLOAT64, Size
from analyzer.ops.rule import Body, Buffer, Facts, Setting, refuse, rule
from analyzer.ops.shared.heads import Heads, shared, split
from analyzer.spans import NOTHING, OPAQUE, WHOLE, Each, Span, straight


def _check(form: Heads, k: Size, v: Size, tokens: tuple[int, int], width: int) -> None:
    if form.width != width:
        raise refuse("DEPTH_MISMATCH", f"heads of queries are {form.width} wide, those of keys {width}")
    if tokens[0] != tokens[1]:
        raise refuse("LENGTH_MISMATCH", f"keys {k.shape} and values {v.shape} differ in length")


def _check_mask(form: Heads, shape: tuple[int, ...], keys: int, version: int) -> None:
    """A mask broadcasts to [batch, heads, queries, keys]. From opset 24 on it may end before the last key, and from
    25 on, where runtimes go by the standard's own definition, whatever lies behind that is cut off.
    """
    if not 0 < len(shape) <= 4:
        raise refuse("RANK", f"mask {shape} is not [batch, heads, queries, keys] or less", "attn_mask")
    *rows, last = shape
    whole = (form.batch, form.heads, form.queries)[3 - len(rows) :]
    fits = last in (1, keys) if version < 24 else last <= keys or version > 24
    if not fits or any(dim not in (1, extent) for dim, extent in zip(rows, whole, strict=True)):
        raise refuse(
            "SHAPES_DO_NOT_BROADCAST",
            f"mask {shape} does not fit {(form.batch, form.heads, form.queries, keys)}: batch, heads, queries, keys",
            attribute="attn_mask",
        )


def _attended(
    q: Size,
    k: Size,
    v: Size,
    mask: Size | None,
    past_key: Size | None,
    past_value: Size | None,
    q_num_heads: int | None,
    kv_num_heads: int | None,
    causal: bool,
    softcap: float,
    left: int = -1,
    right: int = -1,
    version: int = 23,
) -> Facts:
    batch, heads, queries, width = split(q, q_num_heads, "q_num_heads")
    if k.shape[0] not in (1, batch) or v.shape[0] not in (1, batch):
        raise refuse(
            "BATCH_MISMATCH", f"queries {q.shape}, keys {k.shape} and values {v.shape} differ in their batch"
        )
    _, kv_heads, new, key_width = split(k, kv_num_heads, "kv_num_heads")
    _, _, length, value_width = split(v, kv_num_heads, "kv_num_heads")
    shared(heads, kv_heads, "kv_num_heads")
    past = past_key.shape[2] if past_key is not None else 0
    form = Heads(
        batch, queries, past + new, heads, kv_heads, width, value_width,
        len(q.shape) == 3, past, causal, left, right,
    )  # fmt: skip
    _check(form, k, v, (new, length), key_width)
    if mask is not None:
        _check_mask(form, mask.shape, past + new, version)
    y = form.result(q.dtype)
    keys, values = form.present(width, k.dtype), form.present(value_width, v.dtype)
    assert keys is not None
    assert values is not None
    held = (k, v) if past_key is None else (keys, values)
    return Facts(
        (y, keys, values, form.scores(q.dtype)),
        macs=form.macs,
        elementwise=form.elementwise((mask is not None) + 3 * bool(softcap)),
        spans=_spans(form, q, k, v, mask),
        saved=form.kept(q, *held, mask, y),
        alike=q if q.rank == y.rank else None,
    )


def _spans(form: Heads, q: Size, k: Size, v: Size, mask: Size | None) -> Each:
    """What the result, all keys, all values and the scores read: queries, keys, values, a mask, the past."""
    result: tuple[Span, ...] = (
        form.span("query", len(q.shape)),
        form.span("key", len(k.shape)),
        form.span("value", len(v.shape)),
        NOTHING if mask is None else form.mask(mask.shape),
        form.span("key", 4, form.past),
        form.span("value", 4, form.past),
        (WHOLE,),
    )
    keys = (NOTHING, form.stored("key", len(k.shape)), NOTHING, NOTHING, straight(4), NOTHING)
    values = (NOTHING, NOTHING, form.stored("value", len(v.shape)), NOTHING, NOTHING, straight(4), NOTHING)
    return Each((result, keys, values, OPAQUE))


@rule("Attention", since=23, until=23)
def attention_23(
    q: Size,
    k: Size,
    v: Size,
    attn_mask: Buffer | None = None,
    past_key: Size | None = None,
    past_value: Size | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
) -> Facts:
    """All of rank 3 [batch, tokens, heads x width], or of rank 4 [batch, heads, tokens, width]; the past is
    of rank 4.
    """
    return _attended(
        q, k, v, attn_mask, past_key, past_value, q_num_heads, kv_num_heads, bool(is_causal), softcap
    )


@rule("Attention", since=24)
def attention(
    q: Size,
    k: Size,
    v: Size,
    attn_mask: Buffer | None = None,
    past_key: Size | None = None,
    past_value: Size | None = None,
    nonpad_kv_seqlen: Setting | None = None,
    *,
    is_causal: int = 0,
    kv_num_heads: int | None = None,
    left_window_size: int = -1,
    q_num_heads: int | None = None,
    qk_matmul_output_mode: int = 0,
    right_window_size: int = -1,
    scale: float | None = None,
    softcap: float = 0.0,
    softmax_precision: int | None = None,
    version: int,
) -> Facts:
    """As at opset 23; keys may be a whole cache of which the data says how much is filled, and from opset 25
    on a window bounds what a query sees.
    """
    placed = nonpad_kv_seqlen is None  # otherwise the data says where the queries stand among the keys
    return _attended(
        q, k, v, attn_mask, past_key, past_value, q_num_heads, kv_num_heads, placed and bool(is_causal), softcap,
        left_window_size if placed else -1, right_window_size if placed else -1, version,
    )  # fmt: skip


@rule("FlexAttention", domain="ai.onnx.preview")
def flex_attention(
    q: Size,
    k: Size,
    v: Size,
    *,
    prob_mod: Body = None,  # type: ignore[assignment]  # the annotation marks a body; it may be left out
    scale: float | None = None,
    score_mod: Body = None,  # type: ignore[assignment]  # likewise
    softmax_precision: int | None = None,
) -> Facts:
    """All of rank 4; scores and probabilities may each go through a body."""
    said = _attended(q, k, v, None, None, None, None, None, False, 0.0)
    dtype = DTYPES[softmax_precision] if softmax_precision else FLOAT64 if q.dtype is FLOAT64 else FLOAT32
    scores = (q.shape[0], q.shape[1], q.shape[2], k.shape[2])
    bodies: tuple[Body | None, ...] = (score_mod, prob_mod)
    runs = tuple(body(Size(scores, dtype)) for body in bodies if body is not None)
    return msgspec.structs.replace(said, outputs=said.results[0], runs=runs)
