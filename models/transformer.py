"""A small transformer encoder, spelled the way exporters spell one.

Nothing in it is one op that could be six: the sizes for each Reshape are fetched from the tensor at hand by Shape,
Gather, Unsqueeze and Concat, and Gelu is its five elementary steps.
"""

import math

from onnx import ModelProto

from models.layers import Net

VOCABULARY = 8192
POSITIONS = 512
WIDTH = 128
HEADS = 4
HEAD_WIDTH = WIDTH // HEADS
LAYERS = 2


def tiny_transformer() -> ModelProto:
    """Vaswani et al. 2017, the encoder, with BERT's learned positions and Gelu (Devlin et al. 2018).

    Two layers of width 128, four heads, feed-forward 512, normalised after each residual sum; no mask and no head.
    """
    net = Net("tiny_transformer")
    ids = net.input("token_ids", ["batch", "seq"], "int64")
    tokens = net.node(
        "Gather", [net.weight("embeddings/token.weight", VOCABULARY, WIDTH), ids], "embeddings/token"
    )
    seq = _size(net, ids, 1, "embeddings/position")
    table = net.weight("embeddings/position.weight", POSITIONS, WIDTH)
    start, axis = net.integers("const/zero", 0), net.integers("const/axis_0", 0)
    positions = net.node("Slice", [table, start, seq, axis], "embeddings/position")
    x = net.node("Add", [tokens, positions], "embeddings/sum")
    x = _layer_norm(net, x, "embeddings/norm")
    for layer in range(LAYERS):
        x = _attention(net, x, f"encoder.{layer}/attention")
        x = _feed_forward(net, x, f"encoder.{layer}/feed_forward")
    return net.model(x, ["batch", "seq", WIDTH])


def _attention(net: Net, x: str, scope: str) -> str:
    """softmax(Q K^T / sqrt(head width)) V, projected, added to its input and normalised."""
    query, key, value = (
        _linear(net, x, f"{scope}/{role}", WIDTH, WIDTH) for role in ("query", "key", "value")
    )
    query = _split_heads(net, query, f"{scope}/query", [0, 2, 1, 3])
    key = _split_heads(net, key, f"{scope}/key", [0, 2, 3, 1])
    value = _split_heads(net, value, f"{scope}/value", [0, 2, 1, 3])
    scores = net.node("MatMul", [query, key], f"{scope}/scores")
    scores = net.node(
        "Div", [scores, net.number(f"{scope}/scale", math.sqrt(HEAD_WIDTH))], f"{scope}/scaled_scores"
    )
    weights = net.node("Softmax", [scores], f"{scope}/softmax", axis=-1)
    context = net.node("MatMul", [weights, value], f"{scope}/context")
    context = net.node("Transpose", [context], f"{scope}/context/transpose", perm=[0, 2, 1, 3])
    context = _reshape(net, context, f"{scope}/context", [net.integers("const/width", WIDTH)])
    y = _linear(net, context, f"{scope}/output", WIDTH, WIDTH)
    return _layer_norm(net, net.node("Add", [x, y], f"{scope}/sum"), f"{scope}/norm")


def _feed_forward(net: Net, x: str, scope: str) -> str:
    """Four times as wide and back, added to its input and normalised."""
    y = _linear(net, x, f"{scope}/up", WIDTH, 4 * WIDTH)
    y = _gelu(net, y, f"{scope}/gelu")
    y = _linear(net, y, f"{scope}/down", 4 * WIDTH, WIDTH)
    return _layer_norm(net, net.node("Add", [x, y], f"{scope}/sum"), f"{scope}/norm")


def _split_heads(net: Net, x: str, scope: str, perm: list[int]) -> str:
    """(batch, seq, width) to (batch, seq, heads, head width), then permuted."""
    tail = [net.integers("const/heads", HEADS), net.integers("const/head_width", HEAD_WIDTH)]
    return net.node("Transpose", [_reshape(net, x, scope, tail)], f"{scope}/transpose", perm=perm)


def _reshape(net: Net, x: str, scope: str, tail: list[str]) -> str:
    """The first two axes kept, whatever they are, and the rest folded into `tail`."""
    sizes = [_size(net, x, 0, scope), _size(net, x, 1, scope), *tail]
    shape = net.node("Concat", sizes, f"{scope}/new_shape", axis=0)
    return net.node("Reshape", [x, shape], f"{scope}/reshape")


def _size(net: Net, x: str, axis: int, scope: str) -> str:
    """The size of one axis of `x`, as a vector of one."""
    shape = net.node("Shape", [x], f"{scope}/shape_{axis}")
    size = net.node("Gather", [shape, net.index(f"const/index_{axis}", axis)], f"{scope}/size_{axis}", axis=0)
    return net.node("Unsqueeze", [size, net.integers("const/axis_0", 0)], f"{scope}/size_{axis}/unsqueeze")


def _linear(net: Net, x: str, scope: str, inputs: int, outputs: int) -> str:
    y = net.node("MatMul", [x, net.weight(f"{scope}.weight", inputs, outputs)], f"{scope}/matmul")
    return net.node("Add", [y, net.weight(f"{scope}.bias", outputs)], f"{scope}/bias")


def _layer_norm(net: Net, x: str, name: str) -> str:
    vectors = [net.weight(f"{name}.weight", WIDTH), net.weight(f"{name}.bias", WIDTH)]
    return net.node("LayerNormalization", [x, *vectors], name, axis=-1, epsilon=1e-5)


def _gelu(net: Net, x: str, scope: str) -> str:
    """Gelu, exact: x * (1 + erf(x / sqrt 2)) / 2."""
    y = net.node("Div", [x, net.number(f"{scope}/sqrt_2", math.sqrt(2.0))], f"{scope}/div")
    y = net.node("Erf", [y], f"{scope}/erf")
    y = net.node("Add", [y, net.number(f"{scope}/one", 1.0)], f"{scope}/add")
    y = net.node("Mul", [x, y], f"{scope}/mul")
    return net.node("Mul", [y, net.number(f"{scope}/half", 0.5)], f"{scope}/output")
