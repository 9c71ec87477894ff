"""Attention that makes its own queries, keys and values out of one input: macs of the projection and of the
heads together; elementwise steps and what autograd keeps are those of `heads`, and the input. Bias is not
counted.
"""

from __future__ import annotations

from analyzer.graph import DType, Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, Weight, refuse, rule
from analyzer.ops.shared.heads import Heads, each, projection, told
from analyzer.spans import NOTHING, WHOLE, Each, Route, Span, crop, straight

Ints = tuple[int, ...]


def _projected(
    x: Size,
    weights: Size,
    dtype: DType,
    heads: int,
    sizes: Ints | None,
    past: Size | None,
    shares: bool,
    filled: Size | None,
    masks: tuple[Size | None, Size | None],
    causal: bool,
) -> Facts:
    """x [batch, tokens, channels], past [2, batch, heads, positions, width] -> the result, and the past with
    what is new.
    """
    if len(x.shape) != 3:
        raise refuse("RANK", f"input {x.shape} must be [batch, tokens, channels]")
    width, value_width = projection(x, weights, sizes, heads)
    batch, tokens, channels = x.shape
    before = 0 if past is None else past.shape[3]
    total: int | None = before + tokens
    if shares:
        length = told(filled)
        total = None if length is None else length + tokens
    form = Heads(batch, tokens, total, heads, heads, width, value_width, past=before, causal=causal)
    y = form.result(dtype)
    cache = (2, batch, heads, before + tokens, value_width)
    present = Size(past.shape if past is not None and shares else cache, dtype)
    macs = form.macs
    if macs is not None:
        macs += batch * tokens * channels * weights.shape[1]
    padding, bias = masks
    q, kv = (Size((batch, heads, tokens, part), dtype) for part in (width, width + value_width))
    held = (q, kv) if past is None else (q, present)
    return Facts(
        (y, present),
        macs=macs,
        elementwise=form.elementwise((padding is not None) + (bias is not None)),
        spans=_spans(form, past, before, masks),
        saved=(x, weights, *held, *((bias,) if bias is not None else ()), y, form.statistics),
    )


def _spans(form: Heads, past: Size | None, before: int, masks: tuple[Size | None, Size | None]) -> Each:
    """What the result and the cache read: input, weights, bias, padding, past, and a bias on the scores."""
    padding, bias = masks
    weights: tuple[Span, ...] = ((WHOLE, WHOLE), (WHOLE,))
    result: tuple[Span, ...] = (
        (Route(0), form.span("key", 3)[1] if form.causal else WHOLE, WHOLE),
        *weights,
        NOTHING if padding is None else (WHOLE,) * len(padding.shape),
        NOTHING if past is None else (WHOLE, Route(0), *form.span("key", 4, before)[1:]),
        NOTHING if bias is None else form.mask(bias.shape),
    )
    x: Span = (Route(1), Route(3, crop(-before)), WHOLE)
    return Each((result, (x, *weights, NOTHING, straight(5), NOTHING)))


@rule("Attention", domain=MICROSOFT)
def attention(
    x: Size,
    weights: Size,
    bias: Size | None = None,
    mask_index: Setting | None = None,
    past: Size | None = None,
    attention_bias: Size | None = None,
    past_sequence_length: Setting | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    qkv_hidden_sizes: Ints | None = None,
    rotary_embedding_dim: int = 0,
    scale: float | None = None,
    unidirectional: int = 0,
) -> Facts:
    """weights [channels, queries + keys + values]. A shared cache keeps its size, and is filled as far as an
    operand says.
    """
    return _projected(
        x, weights, x.dtype, num_heads, qkv_hidden_sizes, past, bool(past_present_share_buffer), past_sequence_length,
        (mask_index, attention_bias), bool(unidirectional),
    )  # fmt: skip


@rule("DecoderMaskedSelfAttention", domain=MICROSOFT)
def decoder_masked_self_attention(
    x: Size,
    weights: Size,
    bias: Size,
    mask_index: Setting | None = None,
    past: Size | None = None,
    attention_bias: Size | None = None,
    past_sequence_length: Setting | None = None,
    beam_width: Setting | None = None,
    cache_indirection: Setting | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    scale: float | None = None,
) -> Facts:
    """One token after a past."""
    return _projected(
        x, weights, x.dtype, num_heads, None, past, bool(past_present_share_buffer), past_sequence_length,
        (mask_index, attention_bias), False,
    )  # fmt: skip


@rule("QAttention", domain=MICROSOFT)
def quantized_attention(
    x: Size,
    weight: Weight,
    bias: Size,
    input_scale: Buffer,
    weight_scale: Buffer,
    mask_index: Setting | None = None,
    input_zero_point: Buffer | None = None,
    weight_zero_point: Buffer | None = None,
    past: Size | None = None,
    *,
    do_rotary: int = 0,
    mask_filter_value: float = -10000.0,
    num_heads: int,
    past_present_share_buffer: int = 0,
    scale: float | None = None,
    unidirectional: int = 0,
) -> Facts:
    """A quantised projection, then attention in the bias's dtype. Nothing flows back."""
    said = _projected(
        x, weight, bias.dtype, num_heads, None, past, bool(past_present_share_buffer), None,
        (mask_index, None), bool(unidirectional),
    )  # fmt: skip
    scale_span: Span = (WHOLE,)
    spans = []
    for result in range(2):
        given = [said.span(place, result) for place in range(5)]
        spans.append((*given[:3], scale_span, scale_span, given[3], scale_span, scale_span, given[4]))
    return Facts(said.outputs, macs=said.macs, elementwise=said.elementwise, spans=Each(tuple(spans)))


@rule("LongformerAttention", domain=MICROSOFT)
def longformer_attention(
    x: Size,
    weight: Size,
    bias: Size,
    mask: Size,
    global_weight: Size,
    global_bias: Size,
    globals_: Setting,
    *,
    num_heads: int,
    window: int,
) -> Facts:
    """A window on either side, and some tokens that see and are seen by all: the data says which, so that the
    cost is not known.
    """
    each(x.shape[-1], num_heads, "num_heads")
    return Facts(Size(x.shape, x.dtype), macs=None, elementwise=None)
