"""What an exported graph has lost: dropout where it is the habit, and results that an exporter merged.

The bytes are those that torch 2.15 keeps of the same programs on a CPU, asked by its saved-tensor hooks, with dropout
at work and without.
"""

from __future__ import annotations

import re
from typing import Any

import onnx
import pytest

from analyzer import Options, analyze
from analyzer.report import TrainingMemory
from tests.conftest import text_model

# a transformer layer of two heads, from X to Y; # is its number and @ what its attention is called
LAYER = """
    qm# = MatMul(X, l#__@__qw) qb# = Add(qm#, l#__@__qb) qs# = Reshape(qb#, split) q# = Transpose<perm=[0,2,1,3]>(qs#)
    km# = MatMul(X, l#__@__kw) kb# = Add(km#, l#__@__kb) ks# = Reshape(kb#, split) k# = Transpose<perm=[0,2,1,3]>(ks#)
    vm# = MatMul(X, l#__@__vw) vb# = Add(vm#, l#__@__vb) vs# = Reshape(vb#, split) v# = Transpose<perm=[0,2,1,3]>(vs#)
    t# = Transpose<perm=[0,1,3,2]>(k#) qr# = Mul(q#, root) tr# = Mul(t#, root) p# = MatMul(qr#, tr#) a# = Softmax(p#)
    c# = MatMul(a#, v#) d# = Transpose<perm=[0,2,1,3]>(c#) e# = Reshape(d#, join)
    om# = MatMul(e#, l#__@__ow) o# = Add(om#, l#__@__ob) f# = Add(o#, X) g# = LayerNormalization(f#, one, zero)
    hm# = MatMul(g#, l#__linear1__weight) h# = Add(hm#, l#__linear1__bias) i# = Relu(h#)
    jm# = MatMul(i#, l#__linear2__weight) j# = Add(jm#, l#__linear2__bias) s# = Add(j#, g#)
    Y = LayerNormalization(s#, one, zero)
"""
SHARED = "int64[4] split = {2, 6, 2, 8}, int64[3] join = {2, 6, 16}, float root = {0.6}, float[16] one, float[16] zero"
SEQUENTIAL = """g (float[3,8] x) => (y) <float[12,8] n0__weight, float[12] n0__bias, float[12,12] n3__weight,
    float[12] n3__bias, float[4,12] n5__weight, float[4] n5__bias> {
    a = Gemm<transB=1>(x, n0__weight, n0__bias) b = Relu(a) c = Gemm<transB=1>(b, n3__weight, n3__bias)
    d = Relu(c) y = Gemm<transB=1>(d, n5__weight, n5__bias) }"""


def transformer(attention: str) -> str:
    """Two layers with their norms behind the sums, and a norm before the first."""
    layers = [LAYER.replace("#", number).replace("@", attention) for number in "01"]
    body = layers[0].replace("X", "n").replace("Y", "m") + layers[1].replace("X", "m").replace("Y", "y")
    stored = [SHARED]
    for name in sorted(set(re.findall(r"l\d__\w+", body))):
        rows, columns = (16, 64) if "linear1" in name else (64, 16) if "linear2" in name else (16, 16)
        stored.append(f"float[{columns}] {name}" if name[-1] in "bs" else f"float[{rows},{columns}] {name}")
    return (
        f"g (float[2,6,16] x) => (y) <{', '.join(stored)}> {{ n = LayerNormalization(x, one, zero) {body} }}"
    )


def training(text: str, **options: Any) -> TrainingMemory:
    """Training memory of a model in ONNX text, where two underscores stand for a dot in a name."""
    stored = re.sub(r"(float\[[\d,]*\] \w+)(?=,|>)", r'\1 = ["location": "weights.bin"]', text)
    model = onnx.load_from_string(text_model(stored))
    for node in model.graph.node:
        node.input[:] = [name.replace("__", ".") for name in node.input]
    for tensor in model.graph.initializer:
        tensor.name = tensor.name.replace("__", ".")
    return analyze(model.SerializeToString(), Options(**options)).memory.training


HABITS = [  # what a program calls its parameters, bytes with dropout and without, dropouts
    # after the first norm, and in each layer on the attention's weights and before both sums
    (transformer("heads"), 26976, 19872, 7),
    # torch's own layer: none before the first one, but between the two linear layers
    (transformer("self_attn"), 38496, 19872, 8),
    # torch.nn.Sequential(Linear, ReLU, Dropout, Linear, ReLU, Linear): 2 is missing
    (
        SEQUENTIAL,
        4 * 3 * (8 + 12 + 12 + 12 + 12),
        4 * 3 * (8 + 12 + 12),
        1,
    ),
]


@pytest.mark.parametrize(("text", "dropped", "plain", "dropouts"), HABITS)
def test_dropout_is_back_where_it_is_the_habit(text: str, dropped: int, plain: int, dropouts: int) -> None:
    """It breaks up fused attention; the range begins without any, and as the graph stands there is none."""
    told, as_is = training(text), training(text, training_graph="as-is")
    assert (told.saved_bytes, told.saved_least_bytes, told.assumed_dropouts) == (dropped, plain, dropouts)
    assert (as_is.saved_bytes, as_is.saved_least_bytes, as_is.assumed_dropouts) == (plain, plain, 0)
    assert as_is.saved_most_bytes is not None
    assert as_is.saved_most_bytes >= dropped


def test_dropout_that_the_graph_shows_is_all_there_is() -> None:
    """A graph that has dropout has it wherever the program does."""
    told = training(transformer("heads").replace(" s1 =", " z = Dropout(g1) s1 ="))
    assert told.assumed_dropouts == 0


def test_elements_that_are_picked_one_by_one_are_kept_with_their_places() -> None:
    """torch.gather keeps both: 4 * 8 * 16 numbers and 4 * 8 * 3 places of 8 bytes; what x is made of comes on top."""
    told = training(
        "g (float[4,8,16] given, int64[4,8,3] i) => (y) <float[8,16] w> "
        "{ x = Mul(given, w) y = GatherElements<axis=2>(x, i) }"
    )
    assert told.saved_bytes == 4 * 8 * 16 * 4 + 4 * 8 * 3 * 8


HEADS = "t = Transpose<perm=[0,1,3,2]>(x) q = Mul(x, s) k = Mul(t, s) p = MatMul(q, k) m = Add(p, mask) a = Softmax(m)"


@pytest.mark.parametrize(("mask", "fused"), [("1,1,4,4", True), ("1,6,4,4", False)])
def test_a_stored_mask_that_is_the_same_for_all_heads_is_not_learned(mask: str, fused: bool) -> None:
    """The fused kernel keeps x, the result and a number for each row; a mask that tells heads apart is a bias that is
    learned, and attention goes step by step.
    """
    stored = f"float[1,6,1,1] w, float[{mask}] mask, float[1] s = {{0.75}}"
    told = training(f"g (float[2,6,4,4] u) => (y) <{stored}> {{ x = Mul(u, w) {HEADS} y = MatMul(a, x) }}")
    x = 4 * 2 * 6 * 4 * 4
    given = x  # kept for the gradient of w
    assert told.saved_bytes == given + (2 * x + 4 * 48 if fused else 4 * x)
