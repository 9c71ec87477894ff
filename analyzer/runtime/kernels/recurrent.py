"""Recurrent layers: the gates of all steps lie in one temporary, and every direction has its own set of buffers.

Sources, under onnxruntime: core/providers/cpu/rnn/lstm_base.cc, uni_directional_lstm.cc, deep_cpu_lstm.cc,
deep_cpu_gru.cc, rnn.cc; contrib_ops/cpu/quantization/dynamic_quantize_lstm.cc.
"""

from __future__ import annotations

from collections.abc import Iterable

from analyzer.runtime.kernel import MICROSOFT, Call, Reserved, Usage, kernel
from analyzer.runtime.kernels.operands import is_constant, is_given, is_wanted, operand
from analyzer.runtime.mlas import FLOAT_BYTES, INT32_BYTES, packed_bytes, quantized_packed_bytes

W, R, BIAS, LENGTHS, PEEPHOLES = 1, 2, 3, 4, 7


class _Layer:
    """A layer's dimensions, and the buffers that several kinds of layer take."""

    def __init__(self, call: Call) -> None:
        self.steps, self.batch, self.inputs = operand(call, 0).shape
        self.hidden = int(call.attributes["hidden_size"])
        self.backwards = {"forward": (False,), "reverse": (True,)}.get(
            call.attributes.get("direction", "forward"), (False, True)
        )
        self.directions = len(self.backwards)
        self.unit = self.hidden * FLOAT_BYTES
        self.state = self.batch * self.unit
        self.has_bias = is_given(call, BIAS)
        self.lengths = () if is_given(call, LENGTHS) else (self.batch * INT32_BYTES,)

    @property
    def turned(self) -> tuple[int, int]:
        """Copies of the input and of the output in the opposite order."""
        return self.steps * self.batch * self.inputs * FLOAT_BYTES, self.steps * self.state

    def unwanted(self, call: Call, outputs: Iterable[int]) -> list[int]:
        """Last states that nobody asked for are written somewhere all the same."""
        return [self.state * self.directions for output in outputs if not is_wanted(call, output)]


@kernel("LSTM")
def lstm(call: Call) -> Usage:
    """W and R are packed as they are."""
    layer = _Layer(call)
    stored = tuple(index for index in (W, R) if is_constant(call, index))
    packed = (packed_bytes(operand(call, index).shape[2], 4 * layer.hidden) for index in stored)
    return Usage(
        prepacked=tuple(Reserved(layer.directions * amount) for amount in packed),
        replaces=stored,
        scratch=(tuple(_lstm_buffers(call, layer)),),
    )


def _lstm_buffers(call: Call, layer: _Layer, quantized: tuple[int, ...] = ()) -> list[int]:
    """Both directions' buffers are there before the first one runs."""
    taken = layer.unwanted(call, (1, 2))
    for backwards in layer.backwards:
        taken += [layer.unit] * 2 + [layer.state] * 3 + [4 * layer.steps * layer.state]
        taken += [layer.unit] * 4 * layer.has_bias
        taken += layer.turned * backwards
    return taken + [*layer.lengths, *quantized] * layer.directions


@kernel("DynamicQuantizeLSTM", domain=MICROSOFT)
def dynamic_quantize_lstm(call: Call) -> Usage | None:
    """An LSTM whose weights are bytes; what is multiplied with them is quantised first, step by step the state."""
    layer = _Layer(call)
    stored = tuple(index for index in (W, R) if is_constant(call, index))
    packed = [_packed_bytes(call, index) for index in stored]
    if None in packed:
        return None
    rows = max(layer.steps * layer.inputs, layer.hidden) * layer.batch
    buffers = _lstm_buffers(call, layer, (rows, 4 * layer.hidden * layer.batch * INT32_BYTES))
    return Usage(
        prepacked=tuple(Reserved(layer.directions * amount) for amount in packed if amount),
        replaces=tuple(index for index, amount in zip(stored, packed, strict=True) if amount),
        scratch=(tuple(buffers),),
    )


def _packed_bytes(call: Call, index: int) -> int | None:
    _, depth, columns = operand(call, index).shape
    signed = operand(call, index).dtype.name == "int8"
    return quantized_packed_bytes(depth, columns, signed_a=False, signed_b=signed)


@kernel("GRU")
def gru(call: Call) -> Usage:
    """The first direction's buffers are kept while the second runs."""
    layer = _Layer(call)
    linear = bool(call.attributes.get("linear_before_reset", 0))
    taken = layer.unwanted(call, (1,))
    for backwards in layer.backwards:
        taken += [layer.state] * (2 + layer.has_bias * (3 + linear) + linear)
        taken += [3 * layer.steps * layer.state, *layer.turned * backwards, *layer.lengths]
    return Usage(
        prepacked=_gru_packed(call, layer),
        replaces=tuple(index for index in (W, R) if is_constant(call, index)),
        together=tuple(count for index, count in ((W, 1), (R, 2)) if is_constant(call, index)),
        scratch=(tuple(taken),),
    )


def _gru_packed(call: Call, layer: _Layer) -> tuple[int, ...]:
    """W as one; R as two, since the last gate's product waits for the reset gate."""
    hidden = layer.hidden
    w = (packed_bytes(layer.inputs, 3 * hidden),) * is_constant(call, W)
    r = (packed_bytes(hidden, 2 * hidden), packed_bytes(hidden, hidden)) * is_constant(call, R)
    return tuple(Reserved(layer.directions * amount) for amount in w + r)


@kernel("RNN")
def rnn(call: Call) -> Usage:
    """The input's products of one direction, and the whole sequence where only the last state is asked for."""
    layer = _Layer(call)
    sequence = layer.steps * layer.state
    return Usage(scratch=((sequence, *(sequence * layer.directions,) * (not is_wanted(call, 0))),))
