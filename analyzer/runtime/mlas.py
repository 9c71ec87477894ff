"""Sizes that MLAS, onnxruntime's library of products and convolutions, asks its callers to provide.

Sources, under onnxruntime/core/mlas: lib/sgemm.cpp, lib/qgemm.cpp (with the dispatch tables of lib/qgemm_kernel_*.cpp),
lib/convolve.cpp, lib/convsym.cpp, and lib/platform.cpp for what a processor chooses.
"""

from __future__ import annotations

import math

from analyzer.runtime.machine import here

FLOAT_BYTES = 4
INT32_BYTES = 4
COLUMNS = 16
"""Packed matrices have whole panels of so many columns."""
ALIGNMENT_BYTES = 64
CONVOLUTION_BYTES = 65536
"""What a thread unfolds of a convolution's input at a time."""
THREAD_WORK = 65536
"""Multiply-accumulates that are worth a thread."""
MOST_THREADS = 16

Ints = tuple[int, ...]


def round_up(number: int, unit: int) -> int:
    """The next multiple of a unit."""
    return -(-number // unit) * unit


def packed_bytes(depth: int, columns: int) -> int:
    """A float32 matrix [depth, columns], packed (MlasGemmPackBSize)."""
    return round_up(depth * round_up(columns, COLUMNS) * FLOAT_BYTES, ALIGNMENT_BYTES)


def quantized_packed_bytes(depth: int, columns: int, *, signed_a: bool, signed_b: bool) -> int | None:
    """A matrix of bytes with its column sums, packed (the other MlasGemmPackBSize). 0: this processor packs none of
    this kind; None: nobody knows.
    """
    machine = here()
    if machine is None:
        return None
    if signed_a:
        unit = 4 if machine.avx_vnni_int8 else 0
    elif signed_b:
        unit = 64 if machine.amx_int8 else 4
    else:
        unit = 4 if machine.avx_vnni_int8 else 2
    if not unit:
        return 0
    rows, columns = round_up(depth, unit), round_up(columns, COLUMNS)
    return round_up(columns * (rows + INT32_BYTES), ALIGNMENT_BYTES)


def symmetric_packed_bytes(groups: int, inputs: int, outputs: int, taps: int, *, signed: bool) -> int | None:
    """Signed weights around zero for a convolution without unfolding (MlasConvSymPackWSize); channels are a group's."""
    machine = here()
    if machine is None:
        return None
    if signed:
        return 0
    if groups > 1:
        whole = inputs == 1 and outputs == 1 and groups % 16 == 0
        return groups * taps if whole else 0
    whole = outputs >= COLUMNS and inputs % 4 == 0 and outputs % (4 if machine.avx512 else 8) == 0
    return round_up(outputs, COLUMNS) * inputs * taps if whole else 0


def convolution_bytes(
    batch: int,
    groups: int,
    inputs: int,
    outputs: int,
    spatial: Ints,
    kernel: Ints,
    positions: Ints,
    *,
    strides: Ints,
    dilations: Ints,
    pads: Ints,
    threads: int,
) -> int:
    """The working buffer of a float32 convolution over one to three axes (MlasConvPrepare); channels are a group's.

    Nothing where the input is the matrix already, the whole unfolded input of a group where its positions are few, else
    a piece of it for every thread that will work.
    """
    depth, size = inputs * math.prod(kernel), math.prod(positions)
    flat = set(strides) <= {1} and not any(pads)
    if flat and (depth == inputs or (inputs == 1 and _spans_an_axis(spatial, kernel, dilations))):
        return 0
    if outputs > size:
        return size * depth * FLOAT_BYTES
    if groups > 1 and (inputs, outputs) == (1, 2) and _is_doubling_stem(kernel, strides, dilations, pads):
        return 0
    if batch > 1 or groups > 1:
        return min(threads, batch * groups) * CONVOLUTION_BYTES
    return _workers(outputs * size * depth, size, threads) * CONVOLUTION_BYTES


def _spans_an_axis(spatial: Ints, kernel: Ints, dilations: Ints) -> bool:
    """The kernel is as wide as the input, or a column as high as it."""
    if len(spatial) > 2 or set(dilations) != {1}:
        return False
    (height, width), (rows, columns) = ((1,) * (2 - len(axes)) + axes for axes in (spatial, kernel))
    return columns == width or (rows == height and columns == 1)


def _is_doubling_stem(kernel: Ints, strides: Ints, dilations: Ints, pads: Ints) -> bool:
    """Depthwise with two outputs a channel, in the one geometry that has a kernel of its own."""
    return (kernel, strides, dilations, pads) == ((7, 7), (2, 2), (1, 1), (3, 3, 3, 3))


def _workers(work: int, size: int, threads: int) -> int:
    """Threads among which the positions of one convolution are shared."""
    wanted = min(work // THREAD_WORK + 1, MOST_THREADS, threads)
    if wanted == 1:
        return 1
    share = round_up(-(-size // wanted), COLUMNS)
    if share >= size:
        return 1
    return wanted - 1 if share * (wanted - 1) >= size else wanted
