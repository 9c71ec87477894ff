"""Products with weights of two, four or eight bits in blocks.

Sources, under onnxruntime: contrib_ops/cpu/quantization/matmul_nbits.cc; core/mlas/lib/qnbitgemm.h,
sqnbitgemm_kernel_avx_common.h. All of it is asked for through `Reserve`, also while it runs.
"""

from __future__ import annotations

import math

import msgspec

from analyzer.runtime.kernel import MICROSOFT, Call, Reserved, Usage, kernel
from analyzer.runtime.kernels.operands import is_constant, is_given, operand
from analyzer.runtime.machine import here
from analyzer.runtime.mlas import FLOAT_BYTES, round_up

BLOCKS = (16, 32, 64, 128, 256)
TWO_BIT_BLOCKS = (32, 64, 128)
ALIGNMENT_BYTES = 64
SCALES, BIAS = 2, 5


class _Weight(msgspec.Struct, frozen=True):
    """[columns, depth] in blocks along the depth."""

    columns: int
    depth: int
    block: int
    bits: int

    @property
    def blocks(self) -> int:
        return -(-self.depth // self.block)

    def packed_bytes(self, *, by_bytes: bool) -> int:
        """The weight alone, or with its scales and its blocks' sums for a product of bytes."""
        blocks = round_up(self.blocks, 4) if self.bits == 2 else self.blocks
        data = self.columns * blocks * self.block * self.bits // 8
        if not by_bytes:
            return data
        sums = (self.columns + round_up(self.columns, 16)) * blocks * FLOAT_BYTES
        return data + sums + 2 * (ALIGNMENT_BYTES - 1)

    def input_bytes(self, rows: int) -> int:
        """The input in bytes with a scale and a sum for each block."""
        need = rows * self.blocks * (self.block + 2 * FLOAT_BYTES)
        return round_up(need, ALIGNMENT_BYTES) + ALIGNMENT_BYTES - 1


@kernel("MatMulNBits", domain=MICROSOFT)
def matmul_nbits(call: Call) -> Usage | None:
    """Packed where there is a kernel for it; else the weight is made float32 at every run."""
    if here() is None:
        return None
    attributes = call.attributes
    weight = _Weight(
        int(attributes["N"]),
        int(attributes["K"]),
        int(attributes["block_size"]),
        int(attributes.get("bits", 4)),
    )
    by_bytes = int(attributes.get("accuracy_level", 0)) == 4 and weight.block in (
        TWO_BIT_BLOCKS if weight.bits == 2 else BLOCKS
    )
    packs = is_constant(call, 1) and _packs(call, weight, by_bytes=by_bytes)
    made = _floats(call)
    kept = [weight.packed_bytes(by_bytes=by_bytes)] * packs
    floats = [need for index, need in made.items() if is_constant(call, index) and is_constant(call, 1)]
    at_once = packs and by_bytes and SCALES in made and is_constant(call, SCALES)
    scratch = _scratch(call, weight, packs=packs, by_bytes=by_bytes)
    return Usage(
        prepacked=tuple(map(Reserved, (*kept, *floats))),
        packing=((Reserved(made[SCALES]),),) if at_once else (),
        replaces=(1,) if packs else (),
        scratch=(tuple(map(Reserved, scratch)),) if scratch else (),
    )


def _floats(call: Call) -> dict[int, int]:
    """Scales and bias of half precision, as float32: once where they and the weight are stored, else at every run."""
    half = operand(call, 0).dtype.name == "float16"
    return {i: operand(call, i).count * FLOAT_BYTES for i in (SCALES, BIAS) if half and is_given(call, i)}


def _packs(call: Call, weight: _Weight, *, by_bytes: bool) -> bool:
    """Never with an order of its own, nor with zero points that are not quantised themselves; products of floats have
    a kernel for four bits alone.
    """
    if is_given(call, 4) or (is_given(call, 3) and operand(call, 3).dtype.name != "uint8"):
        return False
    return by_bytes or (weight.bits == 4 and weight.block in BLOCKS)


def _scratch(call: Call, weight: _Weight, *, packs: bool, by_bytes: bool) -> list[int]:
    x, made = operand(call, 0), _floats(call)
    rows, floats = math.prod(x.shape[:-1]), x.count * FLOAT_BYTES
    late = {i: [need] for i, need in made.items() if not (is_constant(call, i) and is_constant(call, 1))}
    scales, bias = late.get(SCALES, []), late.get(BIAS, [])
    if packs and by_bytes:
        return [weight.input_bytes(rows), *scales, *bias]
    if packs:
        return [floats, *scales, *bias] if made else []
    around = [floats, rows * weight.columns * FLOAT_BYTES] if made else []
    return [*scales, weight.depth * weight.columns * FLOAT_BYTES, *around, *bias]
