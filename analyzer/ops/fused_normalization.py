"""Normalisation as transformers fuse it: with the sum before it, the lookup of embeddings, or an activation.

elementwise, per element: layer norm 7 and RMS norm 4 (as the plain ops), group norm 7, one for each tensor
that is added before, 5 for an activation after. Autograd keeps what is normalised, that is the sum, with its
mean and inverse deviation; RMS norm the normalised too, as torch does on CPU.
"""

from __future__ import annotations

import math

from analyzer.graph import FLOAT32, INT32, DType, Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Setting, Weight, axis_of, broadcast, refuse, rule
from analyzer.spans import (
    DATA,
    NOTHING,
    POINTWISE,
    WHOLE,
    Each,
    Read,
    Route,
    Routes,
    Span,
    in_runs,
    straight,
)

LAYER_NORM_STEPS, RMS_NORM_STEPS, SWISH_STEPS = 7, 4, 5


def _rows(shape: tuple[int, ...], axis: int) -> tuple[Size, Routes]:
    """One statistic for each row, and what an element of a row reads of it: all from `axis` on."""
    count = len(shape) - axis
    statistic = Size((*shape[:axis], *(1,) * count), FLOAT32)
    return statistic, (*straight(axis), *(WHOLE,) * count)


def _normalized(x: Size, dtype: DType, axis: int, rms: bool) -> Facts:
    """Results in the standard's order: normalised, mean (not of RMS norm), inverse deviation."""
    axis = axis_of(axis, len(x.shape))
    y = Size(x.shape, dtype)
    deviation, row = _rows(x.shape, axis)
    mean, _ = _rows(x.shape, axis)
    if rms:
        kept = (x, deviation, Size(x.shape, dtype))
        return Facts((y, deviation), elementwise=RMS_NORM_STEPS * y.count, spans=(row, POINTWISE), saved=kept)
    return Facts(
        (y, mean, deviation),
        elementwise=LAYER_NORM_STEPS * y.count,
        spans=(row, POINTWISE, POINTWISE),
        saved=(x, mean, deviation),
    )


@rule("LayerNormalization", until=16)
def layer_normalization_fused(
    x: Size,
    scale: Size,
    bias: Size | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    stash_type: int = 1,
) -> Facts:
    """What onnxruntime saves of a fused model before the standard had the op: the result has the scale's
    dtype.
    """
    return _normalized(x, scale.dtype, axis, rms=False)


@rule("SimplifiedLayerNormalization")
def simplified_layer_normalization(
    x: Size, scale: Size, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Facts:
    """RMS norm by onnxruntime's name, in the standard's domain."""
    return _normalized(x, scale.dtype, axis, rms=True)


@rule("RMSNormalization", since=23)
def rms_normalization(
    x: Size, scale: Size, *, axis: int = -1, epsilon: float = 1e-5, stash_type: int = 1
) -> Facts:
    """Over `axis` and all after it."""
    if scale.shape != x.shape[-1:] and broadcast(x.shape, scale.shape) != x.shape:
        raise refuse("SCALE_SHAPE", f"scale {scale.shape} does not broadcast to {x.shape}")
    said = _normalized(x, scale.dtype, axis, rms=True)
    return Facts(said.results[0], elementwise=said.elementwise, spans=said.spans, saved=said.saved)


def _summed(x: Size, skip: Size, gamma: Size, bias: Size | None, rms: bool) -> Facts:
    """x [..., channels] + skip (+ bias), normalised over channels; results: normalised, mean, inverse
    deviation, sum.
    """
    if gamma.shape != x.shape[-1:]:
        raise refuse("CHANNEL_MISMATCH", f"input {x.shape} does not fit a scale {gamma.shape}")
    y, total = Size(x.shape, x.dtype), Size(x.shape, x.dtype)
    mean, row = _rows(x.shape, len(x.shape) - 1)
    deviation, _ = _rows(x.shape, len(x.shape) - 1)
    steps = (RMS_NORM_STEPS if rms else LAYER_NORM_STEPS) + 1 + (bias is not None)
    kept = (total, deviation, Size(x.shape, x.dtype)) if rms else (total, mean, deviation)
    shift = len(x.shape) - len(skip.shape)
    same = (dim == x.shape[shift + axis] for axis, dim in enumerate(skip.shape[:-1]))
    reads = (*(Route(shift + axis) if alike else WHOLE for axis, alike in enumerate(same)), WHOLE)
    statistic = (row, reads, NOTHING, NOTHING, (WHOLE,))
    spans = Each(
        (
            (row, reads, POINTWISE, POINTWISE, (WHOLE,)),
            statistic,
            statistic,
            (POINTWISE, POINTWISE, NOTHING, NOTHING, POINTWISE),
        )
    )
    return Facts(
        (y, mean, deviation, total),
        elementwise=steps * y.count,
        spans=spans,
        saved=kept,
    )


@rule("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(
    x: Size,
    skip: Size,
    gamma: Size,
    beta: Size | None = None,
    bias: Size | None = None,
    *,
    epsilon: float = 1e-12,
) -> Facts:
    """A residual sum and layer norm; `skip` may lack the batch."""
    return _summed(x, skip, gamma, bias, rms=False)


@rule("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(
    x: Size, skip: Size, gamma: Size, bias: Size | None = None, *, epsilon: float = 1e-12
) -> Facts:
    """A residual sum and RMS norm."""
    return _summed(x, skip, gamma, bias, rms=True)


def _embedded(ids: Size, channels: int, dtype: DType, parts: int) -> Facts:
    """ids [batch, tokens] -> `parts` embeddings summed and normalised [batch, tokens, channels]; results:
    normalised, length of each row, sum.
    """
    if len(ids.shape) != 2:
        raise refuse("RANK", f"input_ids {ids.shape} must be [batch, tokens]")
    y, total = (Size((*ids.shape, channels), dtype) for _ in range(2))
    mean, _ = _rows(y.shape, 2)
    deviation, _ = _rows(y.shape, 2)
    return Facts(
        (y, Size(ids.shape[:1], INT32), total),
        elementwise=(LAYER_NORM_STEPS + parts - 1) * y.count,
        saved=(ids, total, mean, deviation),
    )


@rule("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(
    input_ids: Setting,
    segment_ids: Setting | None = None,
    word_embedding: Size | None = None,
    position_embedding: Size | None = None,
    segment_embedding: Size | None = None,
    gamma: Size | None = None,
    beta: Size | None = None,
    mask: Setting | None = None,
    position_ids: Setting | None = None,
    *,
    epsilon: float = 1e-12,
    mask_index_type: int = 0,
) -> Facts:
    """Embeddings of words, positions and perhaps segments."""
    if word_embedding is None:
        raise refuse("MISSING_OPERAND", "word_embedding is missing")
    said = _embedded(
        input_ids, word_embedding.shape[1], word_embedding.dtype, 2 + (segment_embedding is not None)
    )
    ids, table = straight(2), (DATA, WHOLE)
    position = NOTHING if position_ids is None or position_ids.shape != input_ids.shape else ids
    looked_up = (ids, ids, table, table, table)
    lengths = (*(NOTHING,) * 7, (Route(0), WHOLE), NOTHING)
    normalised = (*looked_up, (WHOLE,), (WHOLE,), NOTHING, position)
    spans = Each((normalised, lengths, (*looked_up, NOTHING, NOTHING, NOTHING, position)))
    return Facts(said.outputs, elementwise=said.elementwise, spans=spans, saved=said.saved)


@rule("QEmbedLayerNormalization", domain=MICROSOFT)
def quantized_embed_layer_normalization(
    input_ids: Setting,
    segment_ids: Setting | None = None,
    word_embedding: Weight | None = None,
    position_embedding: Weight | None = None,
    segment_embedding: Weight | None = None,
    gamma: Weight | None = None,
    beta: Weight | None = None,
    mask: Setting | None = None,
    word_embedding_scale: Buffer | None = None,
    position_embedding_scale: Buffer | None = None,
    segment_embedding_scale: Buffer | None = None,
    gamma_scale: Buffer | None = None,
    beta_scale: Buffer | None = None,
    word_embedding_zero_point: Buffer | None = None,
    position_embedding_zero_point: Buffer | None = None,
    segment_embedding_zero_point: Buffer | None = None,
    gamma_zero_point: Buffer | None = None,
    beta_zero_point: Buffer | None = None,
    *,
    epsilon: float = 1e-12,
) -> Facts:
    """The same of quantised tables; the result has the scales' dtype. Nothing flows back."""
    if word_embedding is None or word_embedding_scale is None:
        raise refuse("MISSING_OPERAND", "word_embedding or its scale is missing")
    parts = 2 + (segment_embedding is not None)
    said = _embedded(input_ids, word_embedding.shape[1], word_embedding_scale.dtype, parts)
    return Facts(said.results[:2], elementwise=said.elementwise)


def _grouped(x: Size, summed: Size, groups: int, channels_last: int, activation: int, added: int) -> Facts:
    """[batch, *space, channels] or channels first, normalised in groups of channels over space."""
    axis = len(x.shape) - 1 if channels_last else 1
    if groups < 1 or x.shape[axis] % groups:
        raise refuse("GROUP", f"{groups} groups do not divide {x.shape[axis]} channels", attribute="groups")
    each = x.shape[axis] // groups
    routes: list[Route | Read] = [Route(0), *(WHOLE,) * (len(x.shape) - 1)]
    routes[axis] = in_runs(axis, each, each, each)
    y = Size(x.shape, x.dtype)
    steps = LAYER_NORM_STEPS + added + SWISH_STEPS * bool(activation)
    statistics = (Size((x.shape[0], groups), FLOAT32), Size((x.shape[0], groups), FLOAT32))
    kept = (summed, *statistics, *((Size(x.shape, x.dtype),) if activation else ()))
    spans = (tuple(routes), (Route(axis),), (Route(axis),))
    return Facts(y, elementwise=steps * y.count, spans=spans, saved=kept)


@rule("GroupNorm", domain=MICROSOFT)
def group_norm(
    x: Size,
    gamma: Size,
    beta: Size,
    *,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
    groups: int,
) -> Facts:
    """Group norm, and SiLU if `activation`."""
    return _grouped(x, x, groups, channels_last, activation, 0)


@rule("SkipGroupNorm", domain=MICROSOFT)
def skip_group_norm(
    x: Size,
    gamma: Size,
    beta: Size,
    skip: Size,
    bias: Size | None = None,
    *,
    activation: int,
    channels_last: int = 1,
    epsilon: float = 1e-5,
    groups: int,
) -> Facts:
    """The same of a residual sum, which is the second result; `skip` may lack the space."""
    total = Size(x.shape, x.dtype)
    axis = len(x.shape) - 1 if channels_last else 1
    said = _grouped(x, total, groups, channels_last, activation, 1 + (bias is not None))
    own = said.spans
    assert isinstance(own, tuple)
    lacks = math.prod(skip.shape) != x.count
    reads: Span = (Route(0), *(WHOLE,) * (len(skip.shape) - 1)) if lacks else own[0]  # type: ignore[assignment]
    spans = Each(
        (
            (*own, reads, (WHOLE,)),
            (POINTWISE, NOTHING, NOTHING, reads if lacks else POINTWISE, (Route(axis),)),
        )
    )
    return Facts((*said.results, total), elementwise=said.elementwise, spans=spans, saved=said.saved)
