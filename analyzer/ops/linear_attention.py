"""Attention that sums keys and values up in a state, and the short causal convolution that goes before it.

macs, for each token: the state [width x value width] takes an outer product for each of its heads, each query
head reads it once, and where the rule of updating corrects what the state already says of a key, each of its
heads is read once more; the convolution counts every tap. elementwise: a decay is 1 for each element of the
state and 1 (its exponential) for each number of the decay, a correction 2 for each value, the scale 1 for
each element of the result; an activation 5. Autograd keeps the operands, and the state after each chunk.
"""

from __future__ import annotations

import math

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Facts, refuse, rule
from analyzer.ops.shared.heads import each
from analyzer.spans import NOTHING, OPAQUE, WHOLE, Each, Read, Route, Span, crop, straight, window

CORRECTS = {"linear": 0, "gated": 0, "delta": 1, "gated_delta": 1}
DECAYS = {"linear": 0, "gated": 1, "delta": 0, "gated_delta": 1}
SWISH_STEPS = 5


def _summed(
    query: Size,
    value: Size,
    rest: tuple[Size, Size | None, Size | None, Size | None],
    heads: int,
    kv_heads: int,
    chunk: int,
    windows: int,
    update: str,
) -> Facts:
    """query [batch, tokens, heads x width], value [batch, tokens, kv_heads x value width]; `rest`: key, past
    state, decay, rate. `windows` states of the last tokens are handed on instead of the last one.
    """
    if update not in CORRECTS:
        raise refuse("UPDATE_RULE", f"update_rule {update!r} is unknown", attribute="update_rule")
    key, past, decay, rate = rest
    batch, tokens, channels = query.shape
    width = each(channels, heads, "q_num_heads")
    value_width = each(value.shape[2], kv_heads, "kv_num_heads")
    made = max(heads, kv_heads)
    y = Size((batch, tokens, made * value_width), query.dtype)
    state = (batch, kv_heads, width, value_width)
    leading = (windows,) if windows else ()
    present = Size((*leading, *state), query.dtype if past is None else past.dtype)
    cell = batch * tokens * width * value_width
    steps = y.count + CORRECTS[update] * 2 * value.count
    if DECAYS[update]:
        steps += cell * kv_heads + (decay.count if decay is not None else 0)
    chunks = Size((-(-tokens // max(chunk, 1)), *state), present.dtype)
    return Facts(
        (y, present),
        macs=cell * (kv_heads * (1 + CORRECTS[update]) + made),
        elementwise=steps,
        spans=_spans(bool(windows)),
        saved=(query, key, value, *(x for x in (decay, rate) if x is not None), chunks),
    )


def _spans(windows: bool) -> Each:
    """What the result and the state read: queries, keys, values, past state, decay, rate."""
    before: Span = (Route(0), Read("prefix", 1), WHOLE)
    every: Span = (Route(0), WHOLE, WHOLE)
    last: tuple[Route | Read, ...] = (Route(0), WHOLE, WHOLE, WHOLE)
    past: Span = (WHOLE, *last) if windows else last
    result: tuple[Span, ...] = ((Route(0), Route(1), WHOLE), before, before, past, before, before)
    own: Span = (Route(0), Route(1), WHOLE, Route(3))
    state: tuple[Span, ...] = (NOTHING, every, every, own, every, every)
    return Each((result, OPAQUE if windows else state))


@rule("LinearAttention", since=27)
def linear_attention(
    query: Size,
    key: Size,
    value: Size,
    past_state: Size | None = None,
    decay: Size | None = None,
    beta: Size | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    update_rule: str = "gated_delta",
) -> Facts:
    """Results: [batch, tokens, heads x value width], and the state [batch, kv heads, width, value width]."""
    rest = (key, past_state, decay, beta)
    return _summed(query, value, rest, q_num_heads, kv_num_heads, chunk_size, 0, update_rule)


@rule("LinearAttention", domain=MICROSOFT)
def linear_attention_windowed(
    query: Size,
    key: Size,
    value: Size,
    past_state: Size | None = None,
    decay: Size | None = None,
    beta: Size | None = None,
    *,
    chunk_size: int = 64,
    kv_num_heads: int,
    q_num_heads: int,
    scale: float = 0.0,
    state_window: int = 0,
    update_rule: str = "gated_delta",
) -> Facts:
    """As the standard's; it may hand on several tokens' states, and have more of them than query heads."""
    rest = (key, past_state, decay, beta)
    return _summed(query, value, rest, q_num_heads, kv_num_heads, chunk_size, state_window, update_rule)


@rule("CausalConvWithState", since=27)
def causal_conv_with_state(
    x: Size,
    weight: Size,
    bias: Size | None = None,
    past_state: Size | None = None,
    *,
    activation: str = "none",
) -> Facts:
    """[batch, channels, length], a weight [channels, 1, taps]; results: as large, and the last positions."""
    return _convolved(x, weight, past_state, activation)


@rule("CausalConvWithState", domain=MICROSOFT)
def causal_conv_with_state_windowed(
    x: Size,
    weight: Size,
    bias: Size | None = None,
    past_state: Size | None = None,
    *,
    activation: str = "none",
    channels_last: int = 0,
    dilation: int = 1,
    input_channel_offset: int = 0,
    input_channels: int = 0,
    ndim: int = 1,
    state_channels_last: int = -1,
    state_length: int = 0,
    state_update_capacity: int = 0,
    state_window: int = 0,
) -> Facts:
    """As the standard's, causal along the last of `ndim` axes, or with `channels_last` along axis 1; it may
    hand on the states of several positions. Other layouts of the state, and cuts of the input, are not
    described.
    """
    if (
        input_channel_offset
        or input_channels
        or state_channels_last != -1
        or state_length
        or state_update_capacity
    ):
        return Facts(None, macs=None, elementwise=None)
    axis = 1 if channels_last else 1 + ndim
    return _convolved(x, weight, past_state, activation, dilation, axis, state_window)


def _convolved(
    x: Size,
    weight: Size,
    past: Size | None,
    activation: str,
    dilation: int = 1,
    axis: int = 2,
    windows: int = 0,
) -> Facts:
    """Every channel on its own, along `axis`; beside it, in the middle of a window."""
    *around, taps = weight.shape[2:]
    channels = math.prod(x.shape[2:]) if axis == 1 else x.shape[1]
    if weight.shape[0] != channels or axis >= len(x.shape):
        raise refuse(
            "CHANNEL_MISMATCH", f"input {x.shape} does not fit a weight {weight.shape} for each channel"
        )
    reach = (taps - 1) * dilation
    y = Size(x.shape, x.dtype)
    lead = (windows,) if windows else ()
    state = Size((*lead, *x.shape[:axis], reach, *x.shape[axis + 1 :]), x.dtype)
    routes: list[Route | Read] = list(straight(len(x.shape)))
    for place, kernel in enumerate(around, 2):
        routes[place] = Route(place, window(kernel, pad=(kernel - 1) // 2))
    before = list(routes)
    routes[axis] = Route(axis, window(taps, dilation=dilation, pad=reach))
    before[axis] = Route(axis, window(taps, dilation=dilation))
    active = activation != "none"
    result: tuple[Span, ...] = (
        tuple(routes),
        (WHOLE,) * len(weight.shape),
        (WHOLE,),
        (*(WHOLE,) * len(lead), *before),
    )
    return Facts(
        (y, state),
        macs=y.count * math.prod(weight.shape[2:]),
        elementwise=SWISH_STEPS * y.count * active,
        spans=Each((result, OPAQUE if windows else _state_spans(x, axis, reach))),
        saved=(x, weight, *((Size(x.shape, x.dtype),) if active else ())),
    )


def _state_spans(x: Size, axis: int, reach: int) -> tuple[Span, ...]:
    """The state is the last `reach` positions of the past and the input, one behind the other."""
    new: list[Route | Read] = list(straight(len(x.shape)))
    old = list(new)
    new[axis] = Route(axis, crop(x.shape[axis] - reach))
    old[axis] = Route(axis, crop(x.shape[axis]))
    return (tuple(new), NOTHING, NOTHING, tuple(old))
