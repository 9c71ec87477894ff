"""Fourier transforms and windows. Lengths that are no power of two go by way of a convolution (Bluestein's).

Source: onnxruntime/core/providers/cpu/signal/dft.cc, window_functions.cc. Powers of two work in vectors of their own.
"""

from __future__ import annotations

from analyzer.runtime.kernel import NOTHING, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import is_given, operand

plain("BlackmanWindow", "HammingWindow", "HannWindow", "MelWeightMatrix")

AXIS_IS_INPUT = 20


@kernel("DFT")
def dft(call: Call) -> Usage | None:
    """The length is the operand's, or the axis' where there is none."""
    x = operand(call, 0)
    if is_given(call, 1):
        size = operand(call, 1)
        return None if size.value is None else _transform(call, size.ints()[0])
    axis = int(call.attributes.get("axis", 1))
    if call.version >= AXIS_IS_INPUT:
        axis = -2
        if is_given(call, 2):
            if operand(call, 2).value is None:
                return None
            axis = operand(call, 2).ints()[0]
    return _transform(call, x.shape[axis])


@kernel("STFT")
def stft(call: Call) -> Usage | None:
    """Frame by frame, of the window's length where the frame's is not told."""
    if is_given(call, 3):
        size = operand(call, 3)
        return None if size.value is None else _transform(call, size.ints()[0])
    return _transform(call, operand(call, 2).count)


def _transform(call: Call, length: int) -> Usage:
    """The chirp and its transform are kept while each signal is transformed forth and back."""
    if length & (length - 1) == 0:
        return NOTHING
    padded = 1 << (2 * length - 2).bit_length()
    buffer = padded * 2 * (operand(call, 0).dtype.bits or 0) // 8
    return Usage(scratch=((buffer,) * 3, (buffer,) * 4))
