"""Pooling, sampling and what lies between quantised products: what each kernel asks of the arena, against onnxruntime's
own counters.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.runtime.alone import Alone
from tests.runtime.test_kernels_products import MS, NCHWC, POINT, SCALE, B, F, agree

ONE, DOT = "=float32[]", "=uint8[]"
SLIDING = {"kernel_shape": [3, 3]}

CASES: list[tuple[str, list[Any], tuple[str, ...], dict[str, Any]]] = [
    ("MaxPool", ["float32[1,4,16,16]"], ("float32", "int64"), SLIDING),
    ("AveragePool", ["float32[1,4,16,16]"], F, {**SLIDING, "dilations": [2, 2]}),
    ("LpPool", ["float32[1,4,16,16]"], F, SLIDING),
    ("GlobalAveragePool", ["float32[1,4,16,16]"], F, {}),
    ("MaxPool", ["float32[1,16,32,32]"], F, {**SLIDING, "domain": NCHWC}),
    ("LRN", ["float32[2,6,16,16]"], F, {"size": 5}),
    ("RoiAlign", ["float32[1,4,16,16]", "float32[3,4]", "int64[3]"], F, {"output_height": 3, "output_width": 3}),
    ("GridSample", ["float32[1,4,16,16]", "float32[1,5,5,2]"], F, {}),
    ("DepthToSpace", ["float32[1,16,4,4]"], F, {"blocksize": 2}),
    ("DeformConv", ["float32[2,4,15,15]", "=float32[8,4,3,3]", "float32[2,18,13,13]"], F, {}),
    ("DeformConv", ["float64[1,4,15,15]", "=float64[8,4,3,3]", "float64[1,36,13,13]"], ("float64",),
     {"offset_group": 2}),
    ("NhwcMaxPool", ["uint8[2,16,16,4]"], B, {**SLIDING, "domain": MS}),
    ("QLinearAveragePool", ["uint8[1,4,16,16]", ONE, DOT, ONE, DOT], B, {**SLIDING, "domain": MS}),
    ("QLinearGlobalAveragePool", ["uint8[1,4,16,16]", SCALE, POINT, SCALE, POINT], B, {"domain": MS}),
    ("QLinearAdd", ["uint8[4,16]", ONE, DOT, "uint8[4,16]", ONE, DOT, ONE, DOT], B, {"domain": MS}),
    ("QLinearSigmoid", ["uint8[4,16]", ONE, DOT, ONE, DOT], B, {"domain": MS}),
    ("QLinearConcat", [ONE, DOT, "uint8[4,16]", ONE, DOT, "uint8[4,16]", ONE, DOT], B, {"domain": MS, "axis": 0}),
    ("QLinearWhere", ["bool[4,1]", "uint8[1,600]", ONE, DOT, "uint8[4,1]", ONE, DOT, ONE, DOT], B, {"domain": MS}),
    ("DynamicQuantizeLinear", ["float32[4,16]"], ("uint8", "float32", "uint8"), {}),
    ("QuantizeLinear", ["float32[4,16]", ONE, DOT], B, {}),
    ("DequantizeLinear", ["uint8[4,16]", ONE, DOT], F, {}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "operands", "results", "settings"), CASES)
def test_windows_and_bytes(
    op_type: str, operands: list[Any], results: tuple[str, ...], settings: dict[str, Any], tmp_path: Path
) -> None:
    """Most of these write their result alone; the others unfold, dequantise or point at their input."""
    agree(Alone(op_type, operands, results, **settings), tmp_path)
