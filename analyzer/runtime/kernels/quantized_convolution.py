"""Quantised convolution: image by image with channels last, in int32 before it is scaled to bytes.

Source: onnxruntime/core/providers/cpu/quantization/qlinearconv.cc.
"""

from __future__ import annotations

import math

import msgspec

from analyzer.graph import Size
from analyzer.runtime.kernel import MICROSOFT, Call, Reserved, Usage, kernel
from analyzer.runtime.kernels.convolution import is_direct
from analyzer.runtime.kernels.operands import is_constant, operand
from analyzer.runtime.mlas import INT32_BYTES, quantized_packed_bytes, symmetric_packed_bytes

POINTER_BYTES = 8


class _Filter(msgspec.Struct, frozen=True):
    """A weight as it lies ready for the products.

    symmetric  signed around zero: input is read through pointers, and nothing is unfolded
    reordered  as it was, with outputs innermost: there was no packing for it
    """

    usage: Usage
    symmetric: bool = False
    reordered: bool = False


@kernel("QLinearConv")
@kernel("QLinearConv", domain=MICROSOFT)
def qlinear_conv(call: Call) -> Usage | None:
    """What a weight takes that is not stored is scratch, too."""
    x, w, y = operand(call, 0), operand(call, 3), call.outputs[0]
    ready = _filter(call, w)
    if ready is None or y is None:
        return None
    if not y.count:
        return ready.usage
    last = bool(call.attributes.get("channels_last", 0))
    batch, taps = x.shape[0], math.prod(w.shape[2:])
    positions = math.prod(y.shape[1:-1] if last else y.shape[2:])
    scratch = [] if is_constant(call, 3) else [w.count]
    if not ready.symmetric:
        scratch.append(w.shape[0] * positions * INT32_BYTES)
    if not last:
        scratch += [x.count // batch, y.count // batch]
    groups = int(call.attributes.get("group", 1))
    depthwise = (ready.symmetric or ready.reordered) and w.shape[1] == 1 and w.shape[0] == groups
    direct = is_direct(call, w.shape[2:])
    if depthwise or (ready.symmetric and not direct):
        scratch.append(POINTER_BYTES * taps * positions * (batch if ready.symmetric and last else 1))
    elif not direct:
        scratch.append(w.shape[1] * taps * positions * (groups if len(w.shape) > 4 else 1))
    return msgspec.structs.replace(ready.usage, scratch=(tuple(scratch),))


def _filter(call: Call, w: Size) -> _Filter | None:
    """What becomes of the weight when the session is made; one that is not stored is reordered at every run."""
    groups = int(call.attributes.get("group", 1))
    if not is_constant(call, 3):
        return _Filter(Usage(), reordered=True)
    outputs, inputs, taps = w.shape[0] // groups, w.shape[1], math.prod(w.shape[2:])
    signed = operand(call, 0).dtype.name == "int8"
    if _around_zero(call):
        need = symmetric_packed_bytes(groups, inputs, outputs, taps, signed=signed)
        if need is None:
            return None
        if need:
            return _Filter(Usage((need,), replaces=(3,), private=True), symmetric=True)
    packed: int | None = 0
    if inputs != 1 or outputs != 1:
        packed = quantized_packed_bytes(
            inputs * taps, outputs, signed_a=signed, signed_b=w.dtype.name == "int8"
        )
    if packed is None:
        return None
    if packed:
        group = Reserved(outputs * inputs * taps)
        return _Filter(Usage((Reserved(groups * packed),), ((group,),), (3,)))
    return _Filter(Usage((Reserved(w.count),), replaces=(3,)), reordered=True)


def _around_zero(call: Call) -> bool:
    """Signed weights, both zero points stored, and the weight's all zero (as they are where nobody knows them)."""
    if operand(call, 3).dtype.name != "int8" or not (is_constant(call, 2) and is_constant(call, 5)):
        return False
    zero = operand(call, 5).value
    return zero is None or not zero.any()
