"""Windows: convolution and pooling, their strides, pads and edges."""

from __future__ import annotations

from tests.fields.net import Net, image, line

K3 = "1, 1, 3"

NETS: dict[str, Net] = {
    # 7/2, 3/2, 3/1: 7, 7 + 2*2, 11 + 2*4 rows
    "the-lectures-three-layers": line(
        "a = Conv <strides = [2]> (x, k) b = Conv <strides = [2]> (a, w) y = Conv(b, w)",
        40,
        k="1, 1, 7",
        w=K3,
        seen={("a", 2, 1): (2, 8), ("b", 2, 0): (0, 10), ("y", 2, 0): (0, 18), ("y", 2, 1): (4, 22)},
    ),
    "pool-2-then-conv-3": line(
        "a = MaxPool <kernel_shape = [2], strides = [2]> (x) y = Conv(a, w)", w=K3, seen={("y", 2, 1): (2, 7)}
    ),
    # row 9 is read by no pool, so that the last window sees no further
    "dropped-right-edge": line(
        "a = MaxPool <kernel_shape = [3], strides = [3]> (x) y = Conv <pads = [1, 1]> (a, w)",
        10,
        w=K3,
        seen={("y", 2, 2): (3, 8)},
    ),
    # one row of three is read: what lies between is in the hull
    "holes": line(
        "a = Conv <strides = [3]> (x, p) y = Conv(a, w)", 15, p="1, 1, 1", w=K3, seen={("y", 2, 1): (3, 9)}
    ),
    "holes-where-a-row-is-cut-off": line(
        "a = Conv <strides = [3]> (x, p) y = Conv <pads = [1, 1]> (a, w)",
        12,
        p="1, 1, 1",
        w=K3,
        seen={("y", 2, 3): (6, 9)},
    ),
    "dilation": line("y = Conv <dilations = [3]> (x, w)", w=K3, seen={("y", 2, 2): (2, 8)}),
    # 3 taps one apart, two apart, four apart: 3 + 2*2 + 2*4
    "dilated-stack": line(
        "a = Conv(x, w) b = Conv <dilations = [2]> (a, w) y = Conv <dilations = [4]> (b, w)",
        20,
        w=K3,
        seen={("y", 2, 0): (0, 14)},
    ),
    "dilation-over-padding": line(
        "y = Conv <dilations = [4], pads = [4, 4]> (x, w)", 7, w=K3, seen={("y", 2, 3): (3, 3)}
    ),
    "even-kernels": line(
        "a = Conv <pads = [1, 0]> (x, k) y = Conv(a, q)", k="1, 1, 2", q="1, 1, 4", seen={("y", 2, 0): (0, 3)}
    ),
    # two rows of kernel, three of padding: the first two windows see no row at all
    "empty-windows": line(
        "y = Conv <pads = [3, 3]> (x, k)",
        6,
        k="1, 1, 2",
        seen={("y", 2, 0): None, ("y", 2, 1): None, ("y", 2, 2): (0, 0), ("y", 2, 10): None},
    ),
    "empty-windows-then-conv": line(
        "a = Conv <pads = [3, 3]> (x, k) y = Conv(a, w)", 6, k="1, 1, 2", w=K3, seen={("y", 2, 0): (0, 0)}
    ),
    "pads-of-one-side": line(
        "y = Conv <pads = [2, 0]> (x, w)", w=K3, seen={("y", 2, 0): (0, 0), ("y", 2, 11): (9, 11)}
    ),
    # 16 rows, 3/2: one row of padding, on the right with UPPER, on the left with LOWER
    "SAME_UPPER-16": line(
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2]> (x, w)', 16, w=K3, seen={("y", 2, 0): (0, 2)}
    ),
    "SAME_LOWER-16": line(
        'y = Conv <auto_pad = "SAME_LOWER", strides = [2]> (x, w)', 16, w=K3, seen={("y", 2, 0): (0, 1)}
    ),
    "SAME_UPPER-15": line(
        'y = Conv <auto_pad = "SAME_UPPER", strides = [2]> (x, w)', 15, w=K3, seen={("y", 2, 0): (0, 1)}
    ),
    "SAME_LOWER-15": line(
        'y = Conv <auto_pad = "SAME_LOWER", strides = [2]> (x, w)', 15, w=K3, seen={("y", 2, 7): (13, 14)}
    ),
    "SAME_UPPER-pools-16": line(
        'y = MaxPool <auto_pad = "SAME_UPPER", kernel_shape = [3], strides = [2]> (x) '
        'z = AveragePool <auto_pad = "SAME_LOWER", kernel_shape = [2], strides = [2]> (y)',
        16,
        outputs="y, z",
    ),
    "VALID": line('y = Conv <auto_pad = "VALID", strides = [2]> (x, w)', w=K3, seen={("y", 2, 4): (8, 10)}),
    # 8 rows, 3/2: a fourth window holds rows 6 and 7
    "ceil_mode": line(
        "y = MaxPool <kernel_shape = [3], strides = [2], ceil_mode = 1> (x)", 8, seen={("y", 2, 3): (6, 7)}
    ),
    # 8 rows and one of padding, 3/3: a fourth window would begin in the padding on the right
    "ceil_mode-drops-a-window": line(
        "y = MaxPool <kernel_shape = [3], strides = [3], pads = [1, 1], ceil_mode = 1> (x)",
        8,
        opset=13,
        seen={("y", 2, 2): (5, 7)},
    ),
    "ceil_mode-of-an-average-drops-a-window": line(
        "a = AveragePool <kernel_shape = [1], strides = [3], ceil_mode = 1> (x) y = Concat <axis = 2> (a, x)",
        8,
        opset=19,
        seen={("a", 2, 2): (6, 6), ("y", 2, 3): (0, 0)},
    ),
    # onnxruntime plans memory by a size that is one too many
    "ceil_mode-then-coordinates": Net(
        "g (float[1, 3, 5, 4] x) => (y) <float[1, 1, 2, 2] z = {0, 0, 0.5, 0.5}> "
        "{ a = MaxPool <ceil_mode = 1, kernel_shape = [2, 2], "
        'pads = [1, 0, 1, 0], strides = [3, 3]> (x) y = GridSample <padding_mode = "border"> (a, z) }',
        loose=("y",),
        opset=17,
    ),
    "ceil_mode-of-an-average": line(
        "y = AveragePool <kernel_shape = [3], strides = [2], ceil_mode = 1, count_include_pad = 1> (x)", 8
    ),
    "dilated-pools": line(
        "y = MaxPool <kernel_shape = [3], dilations = [2]> (x) "
        "z = AveragePool <kernel_shape = [2], dilations = [3]> (y)",
        outputs="y, z",
        seen={("y", 2, 0): (0, 4), ("z", 2, 0): (0, 7)},
    ),
    "pool-with-indices": line(
        "y, i = MaxPool <kernel_shape = [3], strides = [2]> (x)", outputs="y, i", seen={("i", 2, 1): (2, 4)}
    ),
    "LpPool": line(
        "y = LpPool <kernel_shape = [3], strides = [2], pads = [1, 1], p = 2> (x)", seen={("y", 2, 0): (0, 1)}
    ),
    "global-pools": image(
        "y = GlobalMaxPool(x) z = GlobalAveragePool(x) u = GlobalLpPool(x)",
        outputs="y, z, u",
        seen={("y", 1, 0): (0, 6)},
    ),
    # a kernel as large as the map sees all of it here, and no more than that elsewhere
    "a-kernel-as-large-as-the-map": line("y = Conv(x, k)", k="1, 1, 12", seen={("y", 2, 0): (0, 11)}),
    "two-axes": image(
        "y = Conv <strides = [2, 1], pads = [1, 0, 1, 2]> (x, w)",
        w="3, 2, 3, 2",
        seen={("y", 2, 0): (0, 1), ("y", 2, 3): (5, 6)},
    ),
    "three-axes": Net(
        'g (float[1, 1, 5, 4, 3] x) => (z) <float[1, 1, 3, 2, 1] w = ["location": "w"]> '
        "{ y = Conv <pads = [1, 0, 0, 1, 0, 0]> (x, w) "
        "z = MaxPool <kernel_shape = [2, 2, 2], strides = [2, 1, 1]> (y) }",
        {("y", 2, 0): (0, 1), ("z", 2, 1): (1, 4)},
        axis=2,
    ),
    "depthwise": line("y = Conv <group = 3> (x, w)", 8, 3, w="3, 1, 3"),
    "groups": line(
        "y = Conv <group = 2> (x, w) z = Conv(y, v)", 8, 4, outputs="y, z", w="2, 2, 3", v="1, 2, 1"
    ),
    # k2 with a step of 1, 2, 4 to the left: 8 rows, none of them ahead
    "causal-tcn": line(
        "p = Constant <value_ints = [0, 0, 1, 0, 0, 0]> () q = Constant <value_ints = [0, 0, 2, 0, 0, 0]> () "
        "r = Constant <value_ints = [0, 0, 4, 0, 0, 0]> () a = Pad(x, p) b = Conv(a, k) c = Relu(b) d = Pad(c, q) "
        "e = Conv <dilations = [2]> (d, k) f = Pad(e, r) y = Conv <dilations = [4]> (f, k)",
        14,
        k="1, 1, 2",
        seen={("y", 2, 3): (0, 3), ("y", 2, 12): (5, 12)},
    ),
    "wavenet": line(
        "a = Conv <pads = [1, 0]> (x, k) b = Tanh(a) c = Sigmoid(a) d = Mul(b, c) e = Conv(d, p) f = Add(x, e) "
        "h = Conv <dilations = [2], pads = [2, 0]> (f, k) i = Tanh(h) j = Sigmoid(h) l = Mul(i, j) m = Conv(l, p) "
        "y = Sum(e, m)",
        10,
        k="1, 1, 2",
        p="1, 1, 1",
        seen={("y", 2, 5): (2, 5), ("e", 2, 5): (4, 5)},
    ),
    # 4 rows, 4 + 3*2, 10 + 3*4, 22 + 3*8, 46 + 3*8
    "patch-gan": line(
        "a = Conv <strides = [2], pads = [1, 1]> (x, k) b = Conv <strides = [2], pads = [1, 1]> (a, k) "
        "c = Conv <strides = [2], pads = [1, 1]> (b, k) d = Conv <pads = [1, 1]> (c, k) "
        "y = Conv <pads = [1, 1]> (d, k)",
        160,
        k="1, 1, 4",
        seen={("c", 2, 5): (33, 54), ("d", 2, 9): (57, 102), ("y", 2, 9): (49, 118)},
    ),
    # the encoder of wav2vec2: 400 samples, one step for 320 of them
    "wav2vec2": line(
        "a = Conv <strides = [5]> (x, k) b = Conv <strides = [2]> (a, w) c = Conv <strides = [2]> (b, w) "
        "d = Conv <strides = [2]> (c, w) e = Conv <strides = [2]> (d, w) f = Conv <strides = [2]> (e, q) "
        "y = Conv <strides = [2]> (f, q)",
        1100,
        k="1, 1, 10",
        w=K3,
        q="1, 1, 2",
        seen={("y", 2, 0): (0, 399), ("y", 2, 1): (320, 719)},
    ),
    "weights-from-an-input": Net(
        "g (float[1, 1, 9] x, float[3] z) => (y) "
        "{ s = Constant <value_ints = [1, 1, 3]> () t = Sigmoid(z) w = Reshape(t, s) y = Conv(x, w) }",
        {("y", 2, 2): (2, 4)},
    ),
    "weights-from-the-input-itself": line(
        "o = Constant <value_ints = [0]> () e = Constant <value_ints = [3]> () h = Constant <value_ints = [2]> () "
        "w = Slice(x, o, e, h) y = Conv(x, w)",
        9,
        seen={("y", 2, 4): (0, 6)},
    ),
    "a-bias-from-an-input": Net(
        'g (float[1, 1, 9] x, float[1] z) => (y) <float[1, 1, 3] w = ["location": "w"]> { y = Conv(x, w, z) }'
    ),
    "quantised": Net(
        "g (float[1, 1, 9] x) => (y, v) <float s = {0.1}, int8 z = {0}, int8[1, 1, 3] w = {1, 2, 3}> "
        "{ q = QuantizeLinear(x, s, z) c = QLinearConv <strides = [2], pads = [1, 1]> (q, s, z, w, s, z, s, z) "
        "p = MaxPool <kernel_shape = [2]> (c) y = DequantizeLinear(p, s, z) v = Softmax(y) }",
        {("c", 2, 1): (1, 3), ("y", 2, 0): (0, 3)},
    ),
    # the scale of dynamic quantisation is that of all rows
    "dynamically-quantised": Net(
        "g (float[1, 1, 9] x) => (y) <uint8[1, 1, 3] w = {1, 2, 3}> "
        "{ q, s, z = DynamicQuantizeLinear(x) c = ConvInteger(q, w, z) f = Cast <to = 1> (c) y = Mul(f, s) }",
        {("y", 2, 0): (0, 8)},
    ),
    "half-precision": Net(
        "g (float16[1, 1, 9] x) => (y) <float16[1, 1, 3] w = {1, 2, 3}> "
        "{ a = Conv(x, w) b = MaxPool <kernel_shape = [2]> (a) y = Relu(b) }",
        {("y", 2, 0): (0, 3)},
    ),
    "double-precision": Net(
        "g (double[1, 1, 9] x) => (y) { a = MaxPool <kernel_shape = [3]> (x) y = Clip(a) }",
        {("y", 2, 1): (1, 3)},
    ),
}
