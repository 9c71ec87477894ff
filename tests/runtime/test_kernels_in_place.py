"""Which results lie over an operand, against the number of buffers that onnxruntime takes."""

from __future__ import annotations

import numpy as np
import onnx
import pytest

import analyzer.runtime.kernels  # noqa: F401  # every kernel is entered
from analyzer.runtime.kernel import Kernel, find
from tests.runtime.recorder import library, recorder

pytestmark = pytest.mark.skipif(library() is None, reason="onnxruntime's wheel has no C library")

OPSETS = '"": 21, "com.microsoft": 1'
UNARY = [
    "Abs", "Acos", "Ceil", "Cos", "Dropout", "Erf", "Exp", "Floor", "Gelu", "Hardmax", "Identity", "Log", "Neg",
    "Round", "Sign", "Sqrt", "Reciprocal", "Relu", "LeakyRelu", "Elu", "Selu", "Celu", "ThresholdedRelu", "Sigmoid",
    "HardSigmoid", "Tanh", "Softplus", "Softsign", "Shrink", "Clip", "Softmax", "LogSoftmax", "Trilu", "Flatten",
    "Squeeze", "Transpose<perm=[0,1]>", "ReduceMax<noop_with_empty_axes=1>", "LpNormalization", "Cast<to=1>",
    "Cast<to=6>", "Concat<axis=0>", "com.microsoft.Gelu", "com.microsoft.QuickGelu", "com.microsoft.FastGelu",
    "com.microsoft.Trilu",
]  # fmt: skip
MORE = [
    ("Add", "Add(p, q)"),
    ("Mul", "Mul(p, q)"),
    ("Pow", "Pow(p, q)"),
    ("Max", "Max(p, q)"),
    ("PRelu", "PRelu(p, q)"),
    ("Where", "Where(c, p, q)"),
    ("Reshape", "Reshape(p, s)"),
    ("Expand", "Expand(p, s)"),
    ("Tile", "Tile(p, t)"),
    ("Unsqueeze", "Unsqueeze(p, e)"),
    ("ScatterElements", "ScatterElements(p, i, q)"),
    ("ScatterND", "ScatterND(p, j, q)"),
    ("LayerNormalization", "LayerNormalization(p, r)"),
    ("SimplifiedLayerNormalization", "SimplifiedLayerNormalization(p, r)"),
    ("com.microsoft.BiasGelu", "com.microsoft.BiasGelu(p, r)"),
]
CASES = [(op, f"{op}(p)") for op in UNARY] + MORE
FED = {
    "x": np.ones((4, 5), np.float32),
    "q": np.ones((4, 5), np.float32),
    "r": np.ones(5, np.float32),
    "c": np.ones((4, 5), np.bool_),
    "s": np.array([4, 5]),
    "t": np.array([1, 1]),
    "e": np.array([], np.int64),
    "i": np.zeros((4, 5), np.int64),
    "j": np.arange(4).reshape(4, 1),
}
DECLARED = (
    "float[4,5] x, float[4,5] q, float[5] r, bool[4,5] c, int64[2] s, int64[2] t, int64[0] e, int64[4,5] i, "
    "int64[4,1] j"
)
BUFFER_BYTES = 80


def buffers(body: str, kind: str) -> int:
    """How many buffers of an operand's size, or of both operands', a session without optimisations takes."""
    source = f"<ir_version: 10, opset_import: [{OPSETS}]> g ({DECLARED}) => ({kind} z) {{ {body} }}"
    taken = recorder().record(onnx.parser.parse_model(source).SerializeToString(), FED).taken
    return sum(amount in (BUFFER_BYTES, 2 * BUFFER_BYTES) for amount in taken)


def entry(op: str) -> Kernel:
    """What an op, named with its attributes, is entered as."""
    domain, _, name = op.partition("<")[0].rpartition(".")
    found = find(domain or "ai.onnx", name)
    assert found is not None
    return found


def alone(call: str, kind: str) -> int:
    """Buffers of a kernel whose result is the graph's, and so has its own."""
    return buffers(f"z = {call.replace('(p', '(x').replace(' p,', ' x,')}", kind)


@pytest.mark.parametrize(("op", "call"), CASES, ids=[op for op, _ in CASES])
def test_a_result_lies_over_an_operand_that_nobody_else_reads(op: str, call: str) -> None:
    """Between two copies the kernel takes no buffer for its result where its entry has an alias or an in-place pair."""
    kind = "int32" if op == "Cast<to=6>" else "float"
    taken = buffers(f"p = Concat<axis=0>(x) y = {call} z = Concat<axis=0>(y)", kind)
    assert taken == 2 + alone(call, kind) - bool(entry(op).alias + entry(op).inplace)


@pytest.mark.parametrize(("op", "call"), [case for case in CASES if case[0] != "Cast<to=6>"])
def test_a_result_lies_over_an_operand_that_others_read_only_by_alias(op: str, call: str) -> None:
    """An operand that is read once more afterwards is left alone, unless the kernel only passes it on."""
    taken = buffers(f"p = Concat<axis=0>(x) y = {call} z = Concat<axis=0>(p, y)", "float")
    assert taken == 2 + alone(call, "float") - bool(entry(op).alias)
