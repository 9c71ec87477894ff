"""Products and convolutions: what each kernel asks of the arena, against onnxruntime's own counters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.runtime.alone import Alone

MS, NCHWC = "com.microsoft", "com.microsoft.nchwc"
F, B, S, I = ("float32",), ("uint8",), ("int8",), ("int32",)  # noqa: E741
ZERO = np.zeros(1, np.int8)
SCALE, POINT, SIGNED = "=float32[1]", "=uint8[1]", "=int8[1]"


def quantized(x: str, weight: Any, point: Any = POINT, zero: Any = POINT) -> list[Any]:
    """Operands of a quantised product of bytes: each with scale and zero point, and the result's."""
    return [x, SCALE, point, weight, SCALE, zero, SCALE, point]


CONVOLUTIONS: list[tuple[str, list[Any], tuple[str, ...], dict[str, Any]]] = [
    ("Conv", ["float32[1,3,32,32]", "=float32[8,3,3,3]"], F, {}),
    ("Conv", ["float32[2,4,32,32]", "=float32[8,4,3,3]"], F, {"threads": 2}),
    ("Conv", ["float32[1,64,32,32]", "=float32[64,1,3,3]"], F, {"group": 64, "pads": [1] * 4, "threads": 2}),
    ("Conv", ["float32[1,64,4,4]", "=float32[64,64,3,3]"], F, {}),
    ("Conv", ["float32[1,64,400]", "=float32[64,64,10]"], F, {"strides": [5]}),
    ("Conv", ["float32[1,4,9,9,9]", "=float32[5,4,3,3,3]"], F, {}),
    ("Conv", ["float32[1,4,5,5,5,5]", "=float32[5,4,3,3,3,3]"], F, {}),
    ("Conv", ["float32[1,64,32,32]", "=float32[8,64,1,1]"], F, {}),
    ("Conv", ["float32[1,64,32,32]", "=float32[8,64,1,1]"], F, {"strides": [2, 2]}),
    ("Conv", ["float32[1,1,32,32]", "=float32[8,1,3,32]"], F, {}),
    ("Conv", ["float32[1,1,32,32]", "=float32[8,1,32,1]"], F, {}),
    ("Conv", ["float32[1,8,64,64]", "=float32[16,1,7,7]"], F, {"group": 8, "pads": [3] * 4, "strides": [2, 2]}),
    ("Conv", ["float32[1,4,8,8]", "=float32[8,4,1,1]"], F, {"auto_pad": "SAME_UPPER"}),
    ("Conv", ["float32[1,4,9,9]", "=float32[8,4,3,3]"], F, {"auto_pad": "VALID", "dilations": [2, 2]}),
    ("Conv", ["float32[1,3,32,32]", "=float32[8,3,3,3]"], F, {"threads": 4}),
    ("FusedConv", ["float32[1,8,9,9]", "=float32[8,8,3,3]", "=float32[8]", "float32[1,8,7,7]"], F,
     {"domain": MS, "activation": "Relu"}),
    ("ConvTranspose", ["float32[2,4,8,8]", "=float32[4,6,3,3]"], F, {}),
    ("ConvTranspose", ["float32[1,4,8,8]", "float32[4,6,3,3]"], F, {}),
    ("ConvTranspose", ["float32[2,8,8]", "=float32[8,6,3]"], F, {"group": 2}),
    ("ConvTranspose", ["float32[2,4,8,8]", "=float32[4,6,3,3]"], F, {"group": 4}),
    ("ConvInteger", ["uint8[2,8,10,10]", "=int8[16,4,3,3]"], I, {"group": 2}),
    ("Conv", ["float32[1,16,32,32]", "=float32[16,16,3,3]"], F, {"domain": NCHWC, "kernel_shape": [3, 3]}),
    ("ReorderOutput", ["float32[1,16,8,8]"], F, {"domain": NCHWC, "channels": 10}),
    ("QLinearConv", quantized("uint8[2,8,10,10]", "=uint8[16,8,3,3]"), B, {}),
    ("QLinearConv", quantized("uint8[2,8,10,10]", "=int8[16,8,3,3]", zero=ZERO), B, {}),
    ("QLinearConv", quantized("uint8[2,8,10,10]", "=int8[16,8,3,3]", zero=SIGNED), B, {}),
    ("QLinearConv", quantized("uint8[2,16,10,10]", "=int8[16,1,3,3]", zero=ZERO), B, {"group": 16}),
    ("QLinearConv", quantized("uint8[2,8,10,10]", "=uint8[8,1,3,3]"), B, {"group": 8}),
    ("QLinearConv", quantized("int8[2,8,10,10]", "=int8[16,4,3,3]", SIGNED, ZERO), S, {"group": 2}),
    ("QLinearConv", quantized("uint8[2,8,10,10]", "uint8[16,8,3,3]"), B, {}),
    ("QLinearConv", quantized("uint8[1,8,5,5,5]", "=uint8[16,4,3,3,3]"), B, {"group": 2}),
    ("QLinearConv", quantized("uint8[2,10,10,8]", "=int8[16,8,3,3]", zero=ZERO), B,
     {"domain": MS, "channels_last": 1}),
]  # fmt: skip

PRODUCTS: list[tuple[str, list[Any], tuple[str, ...], dict[str, Any]]] = [
    ("MatMul", ["float32[4,65]", "=float32[65,17]"], F, {}),
    ("MatMul", ["float32[4,1]", "=float32[1,1]"], F, {}),
    ("MatMul", ["float32[2,4,30]", "=float32[2,30,50]"], F, {}),
    ("MatMul", ["=float32[30,50]", "float32[50,3]"], F, {}),
    ("MatMul", ["float64[4,30]", "=float64[30,50]"], ("float64",), {}),
    ("Gemm", ["float32[4,30]", "=float32[50,30]", "=float32[50]"], F, {"transB": 1}),
    ("FusedMatMul", ["float32[4,30]", "=float32[50,30]"], F, {"transB": 1, "domain": MS}),
    ("FusedGemm", ["float32[4,30]", "=float32[30,50]", "=float32[50]"], F, {"domain": MS, "activation": "Relu"}),
    ("MatMulBnb4", ["float32[4,64]", "=uint8[1536]", "=float32[48]"], F,
     {"domain": MS, "K": 64, "N": 48, "block_size": 64, "quant_type": 1}),
    ("MatMulInteger", ["uint8[4,30]", "=uint8[30,50]"], I, {}),
    ("MatMulInteger", ["uint8[4,300]", "=int8[300,17]"], I, {}),
    ("MatMulInteger", ["int8[4,30]", "=int8[30,50]"], I, {}),
    ("DynamicQuantizeMatMul", ["float32[2,4,30]", "=int8[30,50]", SCALE, ZERO], F, {"domain": MS}),
    ("MatMulIntegerToFloat", ["uint8[4,30]", "=uint8[30,50]", SCALE, SCALE], F, {"domain": MS}),
    ("QLinearMatMul", quantized("uint8[2,4,30]", "=uint8[30,50]"), B, {}),
    ("QGemm", ["uint8[4,30]", SCALE, POINT, "=uint8[50,30]", SCALE, POINT, "=int32[50]", SCALE, POINT], B,
     {"domain": MS, "transB": 1}),
    ("QGemm", ["int8[4,30]", SCALE, SIGNED, "=int8[50,30]", SCALE, SIGNED, "=int32[50]", SCALE, SIGNED], S,
     {"domain": MS, "transB": 1}),
    ("QGemm", ["uint8[30,4]", SCALE, POINT, "=uint8[30,50]", SCALE, POINT, "=int32[50]"], F,
     {"domain": MS, "transA": 1}),
    ("QAttention", ["uint8[3,5,24]", "=int8[24,72]", "=float32[72]", SCALE, SCALE, "int32[3]", POINT, ZERO], F,
     {"domain": MS, "num_heads": 4}),
    ("QAttention", ["uint8[3,5,24]", "=uint8[24,72]", "=float32[72]", SCALE, SCALE, None, POINT, POINT], F,
     {"domain": MS, "num_heads": 4, "unidirectional": 1}),
    ("MoE", ["float32[6,16]", "float32[6,4]", "=float32[4,64,16]", None, "=float32[4,16,32]"], F,
     {"domain": MS, "k": 2, "activation_type": "swiglu", "swiglu_fusion": 1}),
    ("MoE", ["float32[600,16]", "float32[600,4]", "=float32[4,32,16]", None, "=float32[4,16,32]"], F,
     {"domain": MS, "k": 2, "activation_type": "silu"}),
]  # fmt: skip

EQUATIONS = [
    ("ij,jk->ik", [(4, 30), (30, 50)]),
    ("bihd,bjhd->bhij", [(2, 4, 3, 30), (2, 5, 3, 30)]),
    ("bhwkc,bkcq->bhwkq", [(2, 3, 4, 5, 6), (2, 5, 6, 7)]),
    ("ij->ji", [(300, 4)]),
    ("ii->i", [(4, 4)]),
    ("bddb->", [(2, 3, 3, 2)]),
    ("ijk,kl,lm->ijm", [(20, 3, 4), (4, 50), (50, 6)]),
    ("...dca,...b->...a", [(2, 3, 3, 4, 2), (2, 3, 4)]),
    ("ab,bc", [(30, 40), (40, 5)]),
]


def agree(alone: Alone, folder: Path) -> None:
    measured = alone.measured(folder)
    predicted = alone.predicted()
    if predicted is None:
        pytest.skip("not modelled for this processor")
    assert predicted == measured


@pytest.mark.parametrize(("op_type", "operands", "results", "settings"), CONVOLUTIONS)
def test_convolutions(
    op_type: str, operands: list[Any], results: tuple[str, ...], settings: dict[str, Any], tmp_path: Path
) -> None:
    """A convolution takes what MLAS asks for its shapes and threads, and its weight is packed as the source says."""
    agree(Alone(op_type, operands, results, **settings), tmp_path)


@pytest.mark.parametrize(("op_type", "operands", "results", "settings"), PRODUCTS)
def test_products(
    op_type: str, operands: list[Any], results: tuple[str, ...], settings: dict[str, Any], tmp_path: Path
) -> None:
    """A stored matrix is packed when the session is made; sums and copies are scratch, before or after the result."""
    agree(Alone(op_type, operands, results, **settings), tmp_path)


@pytest.mark.parametrize(("equation", "shapes"), EQUATIONS)
def test_einsum(equation: str, shapes: list[tuple[int, ...]], tmp_path: Path) -> None:
    """Every step of an equation takes a tensor, and the result is made last."""
    operands = [f"float32[{','.join(map(str, shape))}]" for shape in shapes]
    agree(Alone("Einsum", operands, equation=equation), tmp_path)


@pytest.mark.parametrize("level", [0, 4])
@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_weights_of_few_bits(level: int, bits: int, stored: bool, dtype: str, tmp_path: Path) -> None:
    """A weight in blocks is packed where there is a product for it, else made float32 at every run."""
    rows, depth, columns, block = 4, 160, 50, 64
    blocks = -(-depth // block)
    mark = "=" * stored
    operands = [
        f"{dtype}[{rows},{depth}]",
        f"{mark}uint8[{columns},{blocks},{block * bits // 8}]",
        f"{mark}{dtype}[{columns * blocks}]",
        None,
        None,
        f"={dtype}[{columns}]",
    ]
    settings = {"K": depth, "N": columns, "block_size": block, "bits": bits, "accuracy_level": level}
    agree(Alone("MatMulNBits", operands, (dtype,), domain=MS, **settings), tmp_path)
