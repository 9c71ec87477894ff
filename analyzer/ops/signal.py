"""Spectra of signals, and the windows and filters that go with them. The last axis of a signal holds (real,
imaginary), or (real).

elementwise: a transform of n points takes 5 n ceil(log2 n), the count of the radix-2 fast Fourier transform,
whether its numbers are real or complex; a window's point 4 (scale, cosine, multiply, add), Blackman's 7; a mel
filter's 4. Autograd keeps nothing of a linear map but the window that it multiplies with.
"""

from __future__ import annotations

from analyzer.graph import DTYPES, DType, Size
from analyzer.ops.rule import Buffer, Facts, Setting, axis_of, refuse, rule
from analyzer.spans import NOTHING, WHOLE, Chain, Read, Route, Routes, crop, straight, window


@rule("DFT", since=17, until=19)
def dft_17(
    x: Size, dft_length: Setting | None = None, *, axis: int = 1, inverse: int = 0, onesided: int = 0
) -> Facts:
    """The axis as an attribute."""
    return _transformed(x, dft_length, axis, inverse, onesided)


@rule("DFT", since=20)
def dft(
    x: Size,
    dft_length: Setting | None = None,
    axis: Setting | None = None,
    *,
    inverse: int = 0,
    onesided: int = 0,
) -> Facts:
    """x [..., axis, ..., 1 or 2] -> the same with the axis as frequencies, or back (`inverse`)."""
    if axis is not None and axis.value is None:
        return Facts(None)
    return _transformed(x, dft_length, -2 if axis is None else axis.ints()[0], inverse, onesided)


def _transformed(x: Size, dft_length: Size | None, axis: int, inverse: int, onesided: int) -> Facts:
    """One half of a real signal's spectrum is told by the other: `onesided` leaves it out, or takes it as said."""
    axis = axis_of(axis, len(x.shape))
    if axis == len(x.shape) - 1 or x.shape[-1] not in (1, 2):
        raise refuse(
            "SIGNAL",
            f"axis {axis} of {x.shape}: the last axis is (real) or (real, imaginary)",
            attribute="axis",
        )
    back = bool(inverse and onesided)
    if onesided and x.shape[-1] != (2 if back else 1):
        raise refuse(
            "SIGNAL",
            f"one side of {x.shape}: a real signal has it, a spectrum is complex",
            attribute="onesided",
        )
    if dft_length is not None and dft_length.value is None:
        return Facts(None)
    points = 2 * (x.shape[axis] - 1) if back else x.shape[axis]
    if dft_length is not None:
        points = dft_length.ints()[0]
    if points < 1:
        raise refuse("SIGNAL", f"a transform of {points} points")
    shape = list(x.shape)
    shape[axis] = points // 2 + 1 if onesided and not back else points
    shape[-1] = 1 if back else 2
    y = Size(tuple(shape), x.dtype, exact=dft_length is None or dft_length.value_exact)
    routes: list[Route | Read] = list(straight(len(shape)))
    routes[axis] = routes[-1] = WHOLE
    count = x.count // (x.shape[axis] * x.shape[-1]) if x.count else 0
    exact = None
    if points < x.shape[axis]:
        cut = (*x.shape[:axis], points, *x.shape[axis + 1 :])
        kept = (*straight(axis), Route(axis, crop(0)), *straight(len(cut))[axis + 1 :])
        exact = {0: lambda: Chain(((kept, cut), (tuple(routes), y.shape)))}
    steps = count * _steps(points)
    return Facts(y, elementwise=steps, spans=(tuple(routes), NOTHING, NOTHING), exact=exact)


def _steps(points: int) -> int:
    return 5 * points * (points - 1).bit_length()


@rule("STFT", since=17)
def stft(
    signal: Size,
    frame_step: Setting,
    taper: Buffer | None = None,
    frame_length: Setting | None = None,
    *,
    onesided: int = 1,
) -> Facts:
    """signal [N, length, 1 or 2] -> [N, frames, frequencies, 2]: a spectrum of each whole frame, multiplied by
    a window.
    """
    if len(signal.shape) not in (2, 3) or (len(signal.shape) == 3 and signal.shape[2] not in (1, 2)):
        raise refuse("SIGNAL", f"signal {signal.shape} must be [N, length, 1 or 2]")
    if frame_step.value is None or (frame_length is not None and frame_length.value is None):
        return Facts(None)
    length, step, points = signal.shape[1], frame_step.ints()[0], signal.shape[1]
    if taper is not None:
        points = taper.count
    if frame_length is not None:
        points = frame_length.ints()[0]
    if taper is not None and taper.shape != (points,):
        raise refuse("SIGNAL", f"window {taper.shape} does not fit frames of {points}")
    if step < 1 or not 0 < points <= length:
        raise refuse("SIGNAL", f"frames of {points}, {step} apart, do not fit a signal of {length}")
    frames = (length - points) // step + 1
    y = Size((signal.shape[0], frames, points // 2 + 1 if onesided else points, 2), signal.dtype)
    framed: Routes = (Route(0), Route(1, window(points, step)), *(WHOLE,) * (len(signal.shape) - 2))
    scaled = 0 if taper is None else frames * points * signal.count // length
    return Facts(
        y,
        elementwise=signal.shape[0] * frames * _steps(points) + scaled,
        spans=(framed, NOTHING, (WHOLE,), NOTHING),
        saved=() if taper is None else (taper,),
    )


@rule("HannWindow", "HammingWindow", since=17)
def hann_window(size: Setting, *, output_datatype: int = 1, periodic: int = 1) -> Facts:
    """A raised cosine over `size` points."""
    return _points(size, output_datatype, 4)


@rule("BlackmanWindow", since=17)
def blackman_window(size: Setting, *, output_datatype: int = 1, periodic: int = 1) -> Facts:
    """Two cosines over `size` points."""
    return _points(size, output_datatype, 7)


def _points(size: Size, code: int, steps: int) -> Facts:
    if size.value is None:
        return Facts(None)
    count = size.ints()[0]
    if count < 0:
        raise refuse("NEGATIVE_DIM", f"a window of {count} points")
    return Facts(
        Size((count,), _dtype(code), exact=size.value_exact), elementwise=steps * count, spans=NOTHING
    )


@rule("MelWeightMatrix", since=17)
def mel_weight_matrix(
    num_mel_bins: Setting,
    dft_length: Setting,
    sample_rate: Setting,
    lower_edge_hertz: Setting,
    upper_edge_hertz: Setting,
    *,
    output_datatype: int = 1,
) -> Facts:
    """[frequencies, mel bins]: triangles that a spectrum is multiplied with."""
    if num_mel_bins.value is None or dft_length.value is None:
        return Facts(None)
    bins, points = num_mel_bins.ints()[0], dft_length.ints()[0]
    if bins < 0 or points < 0:
        raise refuse("NEGATIVE_DIM", f"{bins} mel bins of {points} points")
    y = Size((points // 2 + 1, bins), _dtype(output_datatype))
    return Facts(y, elementwise=4 * y.count, spans=NOTHING)


def _dtype(code: int) -> DType:
    dtype = DTYPES.get(code)
    if dtype is None:
        raise refuse("UNKNOWN_DTYPE", f"element type {code} does not exist", attribute="output_datatype")
    return dtype
