"""What kernels ask of the arena, against what onnxruntime asked of a recording allocator: each amount, in order."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

import analyzer.runtime.kernels  # noqa: F401  # every kernel is entered
from analyzer.describe import describe
from analyzer.graph import Size
from analyzer.load import declared, load
from analyzer.options import Options
from analyzer.runtime.kernel import Call, Usage, find
from analyzer.runtime.program import program_of
from tests.runtime.recorder import Record, library, recorder

pytestmark = pytest.mark.skipif(library() is None, reason="onnxruntime's wheel has no C library")

SMALL_BYTES = 127
"""Stored tensors up to here are copied into memory that the allocator counts."""

SOFTMAX = [
    ("float[2,3,5,7] x", "float y", "Softmax<axis=3>(x)"),
    ("float[2,3,5,7] x", "float y", "Softmax<axis=1>(x)"),
    ("double[2,3,5,7] x", "double y", "LogSoftmax<axis=0>(x)"),
    ("float[2,3,5,7] x", "float y", "Hardmax<axis=2>(x)"),
]
POINTWISE = [
    ("float[5,7] a, float[3,5,7] b, float[2,3,5,7] c, float[7] d", "float y", "Max(a, b, c, d)"),
    ("float[5,7] a, float[3,5,7] b, float[7] c", "float y", "Sum(a, b, c)"),
    ("int64[5,7] a, int64[3,5,7] b, int64[2,3,5,7] c", "int64 y", "Min(a, b, c)"),
    ("float[5,7] a, float[7] b", "float y", "Mean(a, b)"),
    ("bool[5,7] c, float[3,5,7] a, float[1] b", "float y", "Where(c, a, b)"),
    ("bool[3,5,7] c, uint8[1] a, uint8[7] b", "uint8 y", "Where(c, a, b)"),
    ("float[2,5,12] x, float[12] b", "float y", "com.microsoft.BiasGelu(x, b)"),
    ("float[2,5,12] x, float[12] b", "float y", "com.microsoft.FastGelu(x, b)"),
    ("float[2,5,12] x", "float y", "com.microsoft.FastGelu(x)"),
    ("float[2,5,12] x", "float y", "com.microsoft.QuickGelu(x)"),
    ("float[40,30] x, float[30] b", "float y", "Pow(x, b)"),
    ("float[40,30] x", "bfloat16 y", "Cast<to=16>(x)"),
    ("float[40,30] x", "float y", 'Gelu<approximate="tanh">(x)'),
]
NORMALIZATION = [
    ("float[2,3,5,7] x, float[7] s, float[7] b", "float y", "LayerNormalization(x, s, b)"),
    ("float16[2,3,5,7] x, float16[7] s, float16[7] b", "float16 y", "LayerNormalization(x, s, b)"),
    ("float16[2,3,5,7] x, float16[5,7] s_, float16[5,7] b_", "float16 y", "LayerNormalization<axis=2>(x, s_, b_)"),
    ("float16[2,3,5,70] x, float16[70] s_", "float16 y", "RMSNormalization(x, s_)"),
    ("float16[2,3,70] x, float16[2,3,70] z, float16[70] s, float16[70] b", "float16 y",
     "com.microsoft.SkipLayerNormalization(x, z, s, b)"),
    ("float16[2,3,70] x, float16[3,70] z, float16[70] s_, float16[70] b_, float16[70] c_", "float16 y",
     "com.microsoft.SkipLayerNormalization(x, z, s_, b_, c_)"),
    ("float16[2,3,70] x, float16[2,3,70] z_, float16[70] s", "float16 y, , , float16 t",
     "com.microsoft.SkipSimplifiedLayerNormalization(x, z_, s)"),
    ("float[2,3,5,7] x, float[3] s, float[3] b, float[3] m, float[3] v", "float y",
     "BatchNormalization(x, s, b, m, v)"),
    ("float[2,3,5,7] x", "float y", "MeanVarianceNormalization(x)"),
    ("float[2,3,5,7] x", "float y", "MeanVarianceNormalization<axes=[2,3]>(x)"),
    ("float[2,3,5,7] x", "float y", "LpNormalization<axis=1>(x)"),
    ("float[2,3,5,7] x, float[3] s, float[3] b", "float y", "InstanceNormalization(x, s, b)"),
]  # fmt: skip
REDUCTION = [
    (f"float[2,3,5,7] x, int64[{len(axes)}] a_={list(axes)}", "float y", f"{op}(x, a_)")
    for op in ("ReduceMean", "ReduceMax", "ReduceL2", "ReduceLogSumExp")
    for axes in ((0,), (3,), (0, 2), (1, 3), (2, 3), (0, 1, 2, 3))
] + [
    ("float[2,300,50] x, int64[1] k_=[7]", "float v, int64 i", "TopK<axis=1>(x, k_)"),
    ("float[20,30] x", "int64 y", "ArgMax<axis=0>(x)"),
    ("float[20,30] x, int64 a_=1", "float y", "CumSum(x, a_)"),
]
_DECODER = "com.microsoft.DecoderMaskedMultiHeadAttention"
_QUERY = "float[2,1,32] q, float[2,1,32] k, float[2,1,32] v"
_CACHE = "float[2,4,16,8] a, float[2,4,16,8] b"
ATTENTION = [
    ("float[2,5,12] q, float[2,7,12] k, float[2,7,12] v", "float y",
     "Attention<q_num_heads=3, kv_num_heads=3>(q, k, v)"),
    ("float[2,6,5,4] q, float[2,3,7,4] k, float[2,3,7,6] v", "float y", "Attention<is_causal=1>(q, k, v)"),
    ("float[2,3,5,4] q, float[2,3,7,4] k, float[2,3,7,6] v, bool[5,7] m", "float y", "Attention(q, k, v, m)"),
    ("float[2,3,5,4] q, float[2,3,7,4] k, float[2,3,7,6] v, float[2,1,5,7] m", "float y", "Attention(q, k, v, m)"),
    ("float[2,3,5,4] q, float[2,3,7,4] k, float[2,3,7,6] v, float[2,3,2,4] a, float[2,3,2,6] b",
     "float y, float pk, float pv", "Attention(q, k, v, , a, b)"),
    ("float16[2,3,5,4] q, float16[2,3,7,4] k, float16[2,3,7,6] v", "float16 y", "Attention<is_causal=1>(q, k, v)"),
    ("float[2,5,12] x, float[12,36] w, float[36] b", "float y", "com.microsoft.Attention<num_heads=3>(x, w, b)"),
    ("float[2,5,12] x, float[12,42] w_, float[42] b_, int32[2,5] m", "float y",
     "com.microsoft.Attention<num_heads=3, qkv_hidden_sizes=[12,12,18]>(x, w_, b_, m)"),
    ("float[2,5,12] x, float[12,36] w_, float[36] b_", "float y",
     "com.microsoft.Attention<num_heads=3, unidirectional=1>(x, w_, b_)"),
    ("float[2,5,12] q, float[2,7,12] k, float[2,7,18] v", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v)"),
    ("float[1,600,128] q, float[1,600,128] k, float[1,600,128] v", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=2>(q, k, v)"),
    ("float[2,5,12] q, float[2,7,12] k, float[2,7,18] v, float[42] b", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v, b)"),
    ("float[2,1,12] q, float[2,1,12] k, float[2,1,12] v, float[36] b", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v, b)"),
    ("float[2,5,12] q, float[2,7,12] k, float[2,7,18] v, float[42] b, int32[2,7] m", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v, b, m)"),
    ("float[2,5,12] q, float[2,7,12] k, float[2,7,12] v, float[1,3,5,7] e", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v, , , e)"),
    ("float[2,5,12] q, float[2,3,7,4] k, float[2,3,7,4] v", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v)"),
    ("float[2,5,12] q, float[2,7,12] k, float[2,7,12] v, float[2,3,4,4] a, float[2,3,4,4] b",
     "float y, float pk, float pv", "com.microsoft.MultiHeadAttention<num_heads=3>(q, k, v, , , , a, b)"),
    ("float[2,1,32] q, float[2,4,7,8] k, float[2,4,7,8] v", "float y",
     f"{_DECODER}<num_heads=4>(q, k, v)"),
    (f"{_QUERY}, int32[2,7] m, {_CACHE}, int32[1] n_=[6], float[96] c", "float y, float pk, float pv",
     f"{_DECODER}<num_heads=4, past_present_share_buffer=1>(q, k, v, m, , a, b, n_, , , c)"),
    ("float[2,6,32] q, float[2,6,32] k, float[2,6,48] v, float[2,4,8,12] s", "float y, float t",
     "com.microsoft.LinearAttention<q_num_heads=4, kv_num_heads=4, update_rule=\"linear\">(q, k, v, s)"),
    ("float[2,32,8] x, float[32,1,4] w", "float y, float t", "com.microsoft.CausalConvWithState<ndim=1>(x, w)"),
    ("float[2,50,12] q, float[2,50,12] k, float[2,50,12] v", "float y",
     "com.microsoft.MultiHeadAttention<num_heads=3, unidirectional=1>(q, k, v)"),
]  # fmt: skip
_LENGTHS = "int32[2] n_=[4,4], int32[1] t_=[5]"
_PAST = "float[1,2,29,16] a, float[1,2,29,16] b"
_GROUPED = "com.microsoft.GroupQueryAttention<num_heads=4, kv_num_heads=2"
GROUPED = [
    (f"{kind}[2,5,64] q, {kind}[2,5,32] k, {kind}[2,5,32] v, {_LENGTHS}, {kind}[9,8] c, {kind}[9,8] s",
     f"{kind} y, {kind} pk, {kind} pv", f"{_GROUPED}{more}>(q, k, v, , , n_, t_{caches})")
    for kind in ("float", "float16")
    for more, caches in (("", ""), (", do_rotary=1", ", c, s"), (", softcap=2.0", ""))
] + [
    (f"float[2,5,128] q, {_LENGTHS}, float[9,8] c, float[9,8] s", "float y, float pk, float pv",
     f"{_GROUPED}, do_rotary=1>(q, , , , , n_, t_, c, s)"),
    (f"float[1,1,64] q, float[1,1,32] k, float[1,1,32] v, {_PAST}, int32[1] n_=[29], int32[1] t_=[30]",
     "float y, float pk, float pv", f"{_GROUPED}>(q, k, v, a, b, n_, t_)"),
    (f"float[1,3,64] q, float[1,3,32] k, float[1,3,32] v, {_PAST}, int32[1] n_=[31], int32[1] t_=[32]",
     "float y, float pk, float pv", f"{_GROUPED}>(q, k, v, a, b, n_, t_)"),
]  # fmt: skip
RESIZE = [
    (f"{kind}{list(before)} x, float[0] r_=[], float[0] f_=[], int64[{len(after)}] s_={list(after)}", f"{kind} y",
     f"Resize<mode=\"{mode}\"{more}>(x, r_, f_, s_)")
    for kind, before, after, mode, more in (
        ("float", (2, 3, 5, 7), (2, 3, 11, 13), "linear", ""),
        ("float", (2, 5, 7, 3), (2, 11, 13, 3), "linear", ""),
        ("float", (5, 7), (11, 13), "linear", ""),
        ("float", (2, 3, 7), (2, 3, 13), "linear", ""),
        ("float", (2, 3, 4, 5, 7), (2, 3, 6, 11, 13), "linear", ""),
        ("float", (2, 3, 5, 7), (2, 3, 5, 7), "linear", ""),
        ("uint8", (2, 3, 5, 7), (2, 3, 11, 13), "linear", ""),
        ("float", (2, 3, 5, 7), (2, 3, 11, 13), "nearest", ""),
        ("float", (2, 3, 5, 7), (2, 3, 11, 13), "cubic", ""),
        ("float", (2, 3, 15, 17), (2, 3, 6, 7), "linear", ", antialias=1"),
        ("float", (2, 3, 15, 17), (2, 3, 6, 7), "cubic", ", antialias=1"),
        ("float", (2, 15, 17, 3), (2, 6, 7, 3), "linear", ", antialias=1"),
        ("uint8", (2, 3, 15, 17), (2, 3, 6, 7), "linear", ", antialias=1"),
        ("float", (2, 3, 5, 7), (2, 3, 11, 13), "cubic", ", antialias=1"),
        ("float", (2, 3, 9, 15, 17), (2, 3, 4, 6, 7), "linear", ", antialias=1"),
        ("float", (2, 3, 15, 17), (2, 3, 5, 17), "linear", ", antialias=1"),
    )
]  # fmt: skip
SIGNAL = [
    ("float[2,16,1] x, int64 a_=1", "float y", "DFT(x, , a_)"),
    ("float[2,12,1] x, int64 a_=1", "float y", "DFT<onesided=1>(x, , a_)"),
    ("double[2,3,8,2] x, int64 a_=1", "double y", "DFT(x, , a_)"),
    ("float[1,12,1] x, int64 n_=20, int64 a_=1", "float y", "DFT(x, n_, a_)"),
    ("float[1,64] x, int64 h_=8, float[12] w, int64 n_=12", "float y", "STFT(x, h_, w, n_)"),
    ("float[1,64] x, int64 h_=8, float[16] w, int64 n_=16", "float y", "STFT(x, h_, w, n_)"),
]
MOVEMENT = [
    ("float[40,30,5] x", "float y", "Transpose<perm=[2,0,1]>(x)"),
    ("float[40,30] x, int64[2,5] i", "float y", "Gather<axis=1>(x, i)"),
    ("float[40,30] x, int64[4,1] i, float[4,30] u", "float y", "ScatterND(x, i, u)"),
    ("float[40,30] x, int64[4,30] i, float[4,30] u", "float y", 'ScatterElements<reduction="add">(x, i, u)'),
    ("float[40,30] x, int64[4] p_=[1,2,3,4]", "float y", 'Pad<mode="reflect">(x, p_)'),
    ("float[40,30] x", "float a, float b", "Split<axis=1, num_outputs=2>(x)"),
    ("float[40,30] x, int64[2] t_=[2,3]", "float y", "Tile(x, t_)"),
]
_VECTORS = "coefficients=[1.0,2.0,3.0], rho=[0.1], support_vectors=[1.0,2.0,3.0]"
LEARNING = [
    ("float[4,5] x", "float y", 'ai.onnx.ml.Normalizer<norm="L2">(x)'),
    (
        "float[40,1] x",
        "float y",
        f'ai.onnx.ml.SVMRegressor<kernel_type="RBF", kernel_params=[0.1,0.0,3.0], n_supports=3, {_VECTORS}>(x)',
    ),
    ("float[4,5] x", "float y", "ai.onnx.ml.Imputer<imputed_value_floats=[1.0]>(x)"),
]


def _layers() -> Iterator[tuple[str, str, str]]:
    """Recurrent layers of 5 inputs and 24 units, in each direction, with weights that are fed or stored (`_`)."""
    for op, gates in (("LSTM", 4), ("GRU", 3), ("RNN", 1)):
        for direction, d in (("forward", 1), ("reverse", 1), ("bidirectional", 2)):
            for mark in ("", "_"):
                w = f"float[{d},{gates * 24},5] w{mark}, float[{d},{gates * 24},24] r{mark}, float[{d},{gates * 48}] b"
                at = f'<hidden_size=24, direction="{direction}">'
                yield f"float[3,2,5] x, {w}", "float y", f"{op}{at}(x, w{mark}, r{mark}, b)"
        states = "int32[2] n_=[3,3], float[1,2,24] h"
        w = f"float[3,2,5] x, float[1,{gates * 24},5] w_, float[1,{gates * 24},24] r_, {states}"
        yield w, "float y, float h2", f"{op}<hidden_size=24>(x, w_, r_, , n_, h)"
    gru = "float[3,2,5] x, float[2,72,5] w_, float[2,72,24] r_, float[2,144] b"
    yield (
        gru,
        "float y, float h",
        'GRU<hidden_size=24, direction="bidirectional", linear_before_reset=1>(x, w_, r_, b)',
    )
    for kind in ("int8", "uint8"):
        w = f"{kind}[1,5,96] w_, {kind}[1,24,96] r_, float[1] ws_, {kind}[1] wz_=[0], float[1] rs_, {kind}[1] rz_=[0]"
        at = 'com.microsoft.DynamicQuantizeLSTM<hidden_size=24, direction="forward">'
        yield (
            f"float[3,2,5] x, {w}",
            "float y, float h, float c",
            f"{at}(x, w_, r_, , , , , , ws_, wz_, rs_, rz_)",
        )


FAMILIES = {
    "softmax": SOFTMAX, "pointwise": POINTWISE, "normalization": NORMALIZATION, "reduction": REDUCTION,
    "attention": ATTENTION, "grouped": GROUPED, "resize": RESIZE, "signal": SIGNAL, "movement": MOVEMENT,
    "learning": LEARNING, "recurrent": list(_layers()),
}  # fmt: skip
CASES = [
    pytest.param(*case, id=f"{family}-{place}")
    for family, cases in FAMILIES.items()
    for place, case in enumerate(cases)
]


def model_of(inputs: str, outputs: str, body: str) -> tuple[bytes, dict[str, np.ndarray[Any, Any]]]:
    """A model of one node, and what to feed: operands whose names end in `_` are stored, `=` gives their numbers."""
    parts = [part.partition("=") for part in _split(inputs)]
    numbers = {declaration.split()[1]: json.loads(value) for declaration, _, value in parts if value}
    text = ", ".join(declaration for declaration, _, _ in parts)
    results = ", ".join(part.partition(" ")[2] for part in outputs.split(", "))
    outputs = ", ".join(filter(None, outputs.split(", ")))
    opsets = '"": 23, "com.microsoft": 1, "ai.onnx.ml": 3'
    source = f"<ir_version: 10, opset_import: [{opsets}]> g ({text}) => ({outputs}) {{ {results} = {body} }}"
    proto = onnx.parser.parse_model(source)
    random, feeds = np.random.default_rng(0), {}
    for value in list(proto.graph.input):
        kind = value.type.tensor_type
        dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type)
        shape = tuple(dim.dim_value for dim in kind.shape.dim)
        array = np.zeros(shape, dtype)
        if value.name in numbers:
            array = np.array(numbers[value.name], dtype).reshape(shape)
        elif value.name.endswith("_"):
            array = random.integers(1, 99, shape).astype(dtype)
        if value.name.endswith("_"):
            proto.graph.initializer.append(numpy_helper.from_array(array, value.name))
            proto.graph.input.remove(value)
        else:
            feeds[value.name] = array
    return proto.SerializeToString(), feeds


def _split(inputs: str) -> list[str]:
    """At the commas that are outside of brackets."""
    return [part.strip() for part in re.split(r",(?![^\[]*\])", inputs)]


def call_of(model: bytes, threads: int) -> tuple[Call, list[int]]:
    """The node as the simulator sees it, and the bytes of small stored tensors."""
    loaded = load(model)
    scene = describe(loaded, Options())
    program = program_of(scene, declared(model), {}, loaded.graph, "disable", threads)
    (step,) = program.main.steps
    return step.call, [storage_bytes(size) for size in program.main.initializers.values()]


def storage_bytes(size: Size | None) -> int:
    """What a tensor of numbers takes."""
    assert size is not None
    return size.bytes or 0


def results_of(call: Call) -> list[int]:
    """Bytes of the results that somebody asked for."""
    return [storage_bytes(size) for size in call.outputs if size is not None]


def predicted_takes(call: Call, usage: Usage) -> list[int]:
    """Everything that is taken while the kernel runs, results included, those in the order of their sizes."""
    results = sorted(results_of(call))
    if not usage.steps:
        return results + [amount for phase in usage.scratch for amount in phase]
    return [amount for step in usage.steps for amount in ((step,) if step > 0 else () if step else results)]


def recorded_takes(call: Call, usage: Usage, record: Record) -> list[int]:
    """The same, seen. Nothing is no amount."""
    taken = [amount for amount in record.taken if amount]
    first = (
        usage.steps.index(0) - sum(step < 0 for step in usage.steps[: usage.steps.index(0)])
        if usage.steps
        else 0
    )
    last = first + len(results_of(call))
    return taken[:first] + sorted(taken[first:last]) + taken[last:]


def predicted_peak(call: Call, usage: Usage) -> int:
    """Most bytes at once."""
    results = sum(results_of(call))
    if not usage.steps:
        return results + max((sum(phase) for phase in usage.scratch), default=0)
    now = most = 0
    taken: list[int] = []
    for step in usage.steps:
        taken += [step] * (step > 0)
        now += step if step > 0 else -taken[-step - 1] if step else results
        most = max(most, now)
    return most


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("inputs", "outputs", "body"), CASES)
def test_a_kernel_asks_for_what_its_entry_says(inputs: str, outputs: str, body: str, threads: int) -> None:
    """In the order in which onnxruntime asks; where heads take turns, at least as much at once."""
    model, feeds = model_of(inputs, outputs, body)
    call, stored = call_of(model, threads)
    entry = find(call.domain, call.op_type)
    assert entry is not None
    usage = entry.usage(call)
    assert usage is not None
    seen = recorder().record(model, feeds, threads)
    if len(usage.scratch) < 2 and not _takes_turns(call):
        assert recorded_takes(call, usage, seen) == predicted_takes(call, usage)
    if threads == 1 or not _takes_turns(call):
        assert seen.peak == predicted_peak(call, usage)
    else:
        assert seen.peak <= predicted_peak(call, usage)
    small = Counter(amount for amount in stored if amount <= SMALL_BYTES)
    small -= Counter(storage_bytes(call.inputs[place]) for place in usage.replaces)
    assert Counter(seen.kept) == Counter(map(int, usage.prepacked)) + small


def _takes_turns(call: Call) -> bool:
    """Attention in half precision works head by head, in copies."""
    first = call.inputs[0]
    return "Attention" in call.op_type and first is not None and first.dtype.name == "float16"
