"""Attention in its kinds: the heads laid out one by one, the scores of all of them, and the products of threads.

Sources, under onnxruntime: core/providers/cpu/llm/attention.cc; and under contrib_ops/cpu/bert: attention.cc,
attention_cpu_base.h, attention_utils.cc, multihead_attention.cc, group_query_attention.cc, gqa_attention_base.h,
rotary_embedding.cc.
"""

from __future__ import annotations

import os
import platform
from functools import cache
from typing import NamedTuple

from analyzer.runtime.kernel import MICROSOFT, Call, Reserved, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_constant, is_given, is_wanted, operand
from analyzer.runtime.mlas import ALIGNMENT_BYTES, FLOAT_BYTES, packed_bytes, round_up

PRODUCT_BYTES = 64
"""What describes one product of a batch of products (MLAS_SGEMM_DATA_PARAMS)."""
GLIBC_SECOND_CACHE = 191
"""The number of `_SC_LEVEL2_CACHE_SIZE`, which Python has no name for."""
OUTPUTS = 0
"""Among the steps of a Usage: here the results are taken."""

plain("RotaryEmbedding")
plain("RotaryEmbedding", "MRotaryEmbedding", domain=MICROSOFT)


@cache
def _second_cache_bytes() -> int:
    """The second-level cache, as onnxruntime asks the system for it; 0 where the system does not tell."""
    if platform.libc_ver()[0] != "glibc":
        return 0
    return max(0, os.sysconf(GLIBC_SECOND_CACHE))


class _Heads(NamedTuple):
    """Rows of queries and of keys, and the width of a key and of a value in one head."""

    batch: int
    heads: int
    rows: int
    total: int
    width: int
    value_width: int

    @property
    def score_count(self) -> int:
        return self.batch * self.heads * self.rows * self.total


def _in_blocks(sizes: _Heads, threads: int) -> int:
    """What threads need to go through queries and keys in blocks that fit the second-level cache."""
    width = sizes.width + sizes.value_width
    rows = max(1, _second_cache_bytes() // (4 * FLOAT_BYTES * width))
    queries, keys = min(rows, width, sizes.rows), min(rows, sizes.total)
    return threads * queries * (2 + keys + sizes.value_width) * FLOAT_BYTES


@kernel("Attention")
def attention(call: Call) -> Usage:
    """The scores, a mask where it is causal or made of booleans, and for half precision a head's scores in float32."""
    q, k = operand(call, 0), operand(call, 1)
    if q.rank == 3:
        batch, rows, heads = q.shape[0], q.shape[1], int(call.attributes["q_num_heads"])
    else:
        batch, heads, rows = q.shape[:3]
    past = operand(call, 4).shape[2] if is_given(call, 4) else 0
    total = past + k.shape[-2]
    item = (q.dtype.bits or 0) // 8
    causal = bool(call.attributes.get("is_causal", 0)) and not (rows == 1 and past)
    taken = [batch * heads * rows * total * item]
    if not is_given(call, 3):
        taken += [rows * total * item] * causal
    elif causal or operand(call, 3).dtype.name == "bool":
        taken += [operand(call, 3).count * item]
    if item < FLOAT_BYTES:
        taken += [rows * total * FLOAT_BYTES] * min(call.threads, batch * heads)
    return Usage(scratch=(tuple(taken),))


def _applied(sizes: _Heads, mask: int) -> list[int]:
    """A mask of so many elements, the scores, and the results head by head."""
    return [
        *(mask * FLOAT_BYTES,) * bool(mask),
        sizes.score_count * FLOAT_BYTES,
        sizes.batch * sizes.heads * PRODUCT_BYTES,
        sizes.batch * sizes.heads * sizes.rows * sizes.value_width * FLOAT_BYTES,
    ]


def _mask_count(call: Call, index: int, sizes: _Heads) -> int:
    """A mask is made for every query where it is causal or says so itself, else once for all."""
    causal = bool(call.attributes.get("unidirectional", 0)) and sizes.rows > 1
    whole = sizes.batch * sizes.rows * sizes.total
    if not is_given(call, index):
        return whole * causal
    return whole if causal or operand(call, index).rank > 2 else sizes.batch * sizes.total


@kernel("Attention", domain=MICROSOFT)
def projected_attention(call: Call) -> Usage:
    """Queries, keys and values as one product, and its weight packed head by head."""
    (batch, rows, _), (inputs, columns) = operand(call, 0).shape, operand(call, 1).shape
    heads = int(call.attributes["num_heads"])
    widths = tuple(call.attributes.get("qkv_hidden_sizes") or (columns // 3,) * 3)
    past = operand(call, 4).shape[3] if is_given(call, 4) else 0
    sizes = _Heads(batch, heads, rows, past + rows, widths[0] // heads, widths[2] // heads)
    packed = tuple(Reserved(heads * packed_bytes(inputs, width // heads)) for width in widths)
    stored = is_constant(call, 1)
    return Usage(
        prepacked=packed * stored,
        replaces=(1,) * stored,
        together=(len(packed),) * stored,
        scratch=((batch * rows * sum(widths) * FLOAT_BYTES, *_applied(sizes, _mask_count(call, 3, sizes))),),
    )


@kernel("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(call: Call) -> Usage | None:
    """Each operand is laid out by heads, with its bias; then in blocks where nothing is masked, biased or kept."""
    q = operand(call, 0)
    if q.rank != 3 or not (is_given(call, 1) and is_given(call, 2)):
        return None
    k, v = operand(call, 1), operand(call, 2)
    if k.rank == 5 or is_given(call, 8):
        return None
    heads = int(call.attributes["num_heads"])
    apart = k.rank == 4
    past = operand(call, 6).shape[2] if is_given(call, 6) else 0
    width = q.shape[2] // heads
    value_width = v.shape[3] if apart else v.shape[2] // heads
    sizes = _Heads(q.shape[0], heads, q.shape[1], past + k.shape[-2], width, value_width)
    steps: list[int] = [OUTPUTS]
    for size in (q,) if apart else (q, k, v):
        _lay_out(steps, size.count, size.shape[1], size.shape[2], biased=is_given(call, 3))
    kept = any(is_wanted(call, index) for index in (1, 2, 3))
    special = bool(call.attributes.get("unidirectional", 0)) or any(is_given(call, i) for i in (4, 5, 6, 7))
    if apart or kept or special or not _second_cache_bytes():
        return Usage(steps=(*steps, *_applied(sizes, _mask_count(call, 4, sizes))))
    return Usage(steps=(*steps, _in_blocks(sizes, call.threads)))


def _lay_out(steps: list[int], count: int, rows: int, width: int, *, biased: bool) -> None:
    """An operand by heads. Its bias is added first, to a copy where the rows are several."""
    steps.append(count * FLOAT_BYTES)
    if not biased:
        return
    first = sum(step > 0 for step in steps) + 1
    temporary = [count * FLOAT_BYTES] * (rows > 1) + [width * FLOAT_BYTES]
    steps += temporary
    steps += [-(first + place) for place in reversed(range(len(temporary)))]


@kernel("DecoderMaskedMultiHeadAttention", domain=MICROSOFT)
def decoder_attention(call: Call) -> Usage | None:
    """A single query. Keys by heads stay where they are; else the length of the past must be known."""
    q, k = operand(call, 0), operand(call, 1)
    heads, apart = int(call.attributes["num_heads"]), k.rank == 4
    length = operand(call, 7).value if is_given(call, 7) else None
    if is_wanted(call, 3) or is_given(call, 9) or (length is None and not apart):
        return None
    total = k.shape[2] if apart else operand(call, 7).ints()[0] + 1
    width = q.shape[2] // heads
    sizes = _Heads(q.shape[0], heads, q.shape[1], total, width, width)
    steps: list[int] = [OUTPUTS]
    for size in (q,) if apart else (q, k, operand(call, 2)):
        _lay_out(steps, size.count, size.shape[1], size.shape[2], biased=is_given(call, 10))
    return Usage(steps=(*steps, *_applied(sizes, _mask_count(call, 3, sizes))))


@kernel("LinearAttention", domain=MICROSOFT)
def linear_attention(call: Call) -> Usage:
    """A key and a value for each thread."""
    state = call.outputs[1]
    assert state is not None
    return Usage(scratch=((call.threads * round_up(sum(state.shape[-2:]) * FLOAT_BYTES, ALIGNMENT_BYTES),),))


@kernel("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(call: Call) -> Usage | None:
    """Laid out by heads, turned by positions; in blocks for float32, else all scores in float32."""
    q = operand(call, 0)
    heads, shared = int(call.attributes["num_heads"]), int(call.attributes["kv_num_heads"])
    half = q.dtype.name == "float16"
    cache_differs = is_given(call, 3) and operand(call, 3).dtype is not q.dtype
    if cache_differs or is_wanted(call, 3) or not is_wanted(call, 1):
        return None
    packed = not is_given(call, 1)
    batch, rows, hidden = q.shape
    width = hidden // (heads + 2 * shared) if packed else hidden // heads
    present = call.outputs[1]
    assert present is not None
    sizes = _Heads(batch, heads, rows, present.shape[2], width, width)
    head = batch * rows * width * (2 if half else FLOAT_BYTES)
    laid_out = [head * (heads + 2 * shared)] if packed else [head * heads, head * shared, head * shared]
    if call.attributes.get("do_rotary", 0):
        laid_out += laid_out[: 1 if packed else 2]
    if half:
        return Usage(scratch=_half_phases(laid_out, sizes, call.threads))
    return Usage(scratch=((*laid_out, *_grouped(call, sizes)),))


def _grouped(call: Call, sizes: _Heads) -> tuple[int, ...]:
    """A single query takes its scores alone; a cap, a sink or a smooth softmax take everybody's."""
    attributes = call.attributes
    capped = attributes.get("softcap", 0.0) or attributes.get("smooth_softmax", 0) == 1 or is_given(call, 11)
    if capped or not _second_cache_bytes():
        return (sizes.score_count * FLOAT_BYTES,)
    if sizes.rows == 1:
        return (call.threads * (sizes.total + sizes.value_width) * FLOAT_BYTES,)
    return (_in_blocks(sizes, call.threads),)


def _half_phases(laid_out: list[int], sizes: _Heads, threads: int) -> tuple[tuple[int, ...], ...]:
    """For each head at work its queries and keys in float32; then its values, next to the result of all."""
    scores, at_work = sizes.score_count * FLOAT_BYTES, min(threads, sizes.batch * sizes.heads)
    keys = (sizes.width * (sizes.rows + sizes.total) * FLOAT_BYTES,) * at_work
    values = (sizes.width * sizes.total * FLOAT_BYTES,) * at_work
    result = sizes.batch * sizes.heads * sizes.rows * sizes.width * FLOAT_BYTES
    return (*laid_out, scores, *keys), (*laid_out, scores, result, *values)
