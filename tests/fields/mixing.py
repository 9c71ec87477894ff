"""What sums, compares and normalises over axes: reductions, norms, products, attention, sequences, integers."""

from __future__ import annotations

from tests.fields.net import Net, image, line, weights

NETS: dict[str, Net] = {
    "mean-over-columns-alone": image(
        "h = Constant <value_ints = [3]> () y = ReduceMean(x, h)", seen={("y", 2, 2): (2, 2)}
    ),
    "largest-of-columns": image(
        "h = Constant <value_ints = [3]> () y = ReduceMax <keepdims = 0> (x, h)", seen={("y", 2, 2): (2, 2)}
    ),
    "least-of-rows": image(
        "y = ReduceMin <axes = [2], keepdims = 0> (x)", opset=13, seen={("y", 2, 0): (0, 6)}
    ),
    "sum-of-everything": image("y = ReduceSum(x)", seen={("y", 0, 0): (0, 6)}),
    "other-reductions": image(
        "h = Constant <value_ints = [2]> () a = ReduceL1(x, h) b = ReduceL2(x, h) c = ReduceLogSumExp(x, h) "
        "d = ReduceProd(x, h) e = ReduceSumSquare(x, h)",
        outputs="a, b, c, d, e",
        seen={("e", 3, 0): (0, 6)},
    ),
    "where-the-largest-is": image(
        "y = ArgMax <axis = 1, keepdims = 0> (x) z = ArgMin <axis = 2> (x)",
        outputs="y, z",
        seen={("y", 1, 3): (3, 3)},
    ),
    "softmax-of-one-axis": image(
        "y = Softmax <axis = 1> (x) z = Softmax <axis = 3> (x)",
        outputs="y, z",
        seen={("y", 2, 3): (3, 3), ("z", 2, 3): (3, 3)},
    ),
    # before 13 all axes from the one named on are one
    "softmax-11": image(
        "y = Softmax <axis = 2> (x) z = Softmax <axis = 3> (x) u = LogSoftmax(x)",
        opset=11,
        outputs="y, z, u",
        seen={("y", 2, 3): (0, 6), ("z", 2, 3): (3, 3), ("u", 2, 3): (0, 6)},
    ),
    "log-softmax-and-hardmax": image(
        "y = LogSoftmax <axis = 2> (x) z = Hardmax <axis = 3> (x)",
        outputs="y, z",
        seen={("y", 2, 3): (0, 6), ("z", 2, 3): (3, 3)},
    ),
    "BatchNormalization": image(
        "y = BatchNormalization(x, s, b, m, v)", s="2", b="2", m="2", v="2", seen={("y", 2, 3): (3, 3)}
    ),
    "BatchNormalization-in-training": image(
        "y, e, f = BatchNormalization <training_mode = 1> (x, s, b, m, v)",
        outputs="y, e, f",
        s="2",
        b="2",
        m="2",
        v="2",
        seen={("y", 2, 3): (0, 6), ("e", 0, 0): (0, 6)},
    ),
    "InstanceNormalization": image(
        "y = InstanceNormalization(x, s, b)", s="2", b="2", seen={("y", 2, 3): (0, 6)}
    ),
    "InstanceNormalization-by-channel": image(
        "y = InstanceNormalization(x, s, b)", s="2", b="2", axis=1, seen={("y", 1, 1): (1, 1)}
    ),
    "GroupNormalization": image(
        "y = GroupNormalization <num_groups = 2> (x, s, b)",
        4,
        3,
        4,
        s="4",
        b="4",
        axis=1,
        seen={("y", 1, 1): (0, 1), ("y", 1, 2): (2, 3)},
    ),
    "LayerNormalization-over-channels": image(
        "t = Transpose <perm = [0, 2, 3, 1]> (x) y = LayerNormalization(t, s, b)",
        s="2",
        b="2",
        seen={("y", 1, 3): (3, 3)},
    ),
    "LayerNormalization-over-the-image": image(
        "y = LayerNormalization <axis = 2> (x, s, b)", s="7, 6", b="7, 6", seen={("y", 2, 3): (0, 6)}
    ),
    "RMSNormalization": image(
        "y = RMSNormalization <axis = -1> (x, s)", s="6", opset=23, seen={("y", 2, 3): (3, 3)}
    ),
    "LRN": image("y = LRN <size = 3> (x)", 4, 3, 6, axis=1, seen={("y", 1, 0): (0, 1), ("y", 1, 3): (2, 4)}),
    "LpNormalization": image(
        "y = LpNormalization <axis = 1> (x) z = LpNormalization <axis = 2> (x)",
        outputs="y, z",
        seen={("y", 2, 3): (3, 3), ("z", 2, 3): (0, 6)},
    ),
    "MeanVarianceNormalization": image(
        "y = MeanVarianceNormalization <axes = [0, 2]> (x)", seen={("y", 2, 3): (0, 6)}
    ),
    "norm-by-hand": line(
        "h = Constant <value_ints = [2]> () m = ReduceMean(x, h) d = Sub(x, m) q = Mul(d, d) v = ReduceMean(q, h) "
        "s = Sqrt(v) y = Div(d, s)",
        seen={("y", 2, 3): (0, 11)},
    ),
    "product-over-the-rows": line("y = MatMul(x, w)", w="12, 3", seen={("y", 2, 0): (0, 11)}),
    "product-over-the-channels": line(
        "t = Transpose <perm = [0, 2, 1]> (x) y = MatMul(t, w)", 8, 3, w="3, 5", seen={("y", 1, 4): (4, 4)}
    ),
    "product-from-the-left": line("y = MatMul(w, x)", 8, 3, w="5, 3", seen={("y", 2, 4): (4, 4)}),
    "Gemm-turned-over": Net(
        "g (float[4, 6] x) => (y) <" + weights(w="4, 3") + "> { y = Gemm <transA = 1> (x, w) }",
        {("y", 0, 2): (2, 2)},
    ),
    "product-of-two-inputs": Net(
        "g (float[2, 4, 3] x, float[2, 3, 5] z) => (y) { y = MatMul(x, z) }", {("y", 1, 2): (2, 2)}, axis=1
    ),
    "einsum": Net(
        'g (float[2, 4, 3] x, float[2, 5, 3] z) => (y) { y = Einsum <equation = "bik,bjk->bij"> (x, z) }',
        {("y", 1, 2): (2, 2)},
        axis=1,
    ),
    "attention-by-hand": Net(
        "g (float[1, 5, 4] x) => (y) <" + weights(q="4, 4", k="4, 4", v="4, 4") + "> "
        "{ a = MatMul(x, q) b = MatMul(x, k) c = MatMul(x, v) t = Transpose <perm = [0, 2, 1]> (b) "
        "s = MatMul(a, t) p = Softmax(s) y = MatMul(p, c) }",
        {("s", 1, 2): (0, 4), ("a", 1, 2): (2, 2), ("y", 1, 2): (0, 4)},
        axis=1,
    ),
    # a mask is a constant: nobody looks at its numbers
    "attention-behind-a-mask": Net(
        "g (float[1, 3, 2] x) => (y) <float[3, 3] m = {0, -9, -9, 0, 0, -9, 0, 0, 0}> "
        "{ t = Transpose <perm = [0, 2, 1]> (x) s = MatMul(x, t) a = Add(s, m) p = Softmax(a) y = MatMul(p, x) }",
        {("y", 1, 0): (0, 2)},
        axis=1,
    ),
    "Attention": Net(
        "g (float[1, 5, 4] x, float[1, 7, 4] z) => (y) { y = Attention <q_num_heads = 2, kv_num_heads = 2> (x, z, z) }",
        {("y", 1, 2): (2, 2)},
        opset=23,
        axis=1,
    ),
    # row i of the queries attends to rows 0 to i; two heads of queries share one of keys
    "Attention-causal": Net(
        "g (float[1, 4, 5, 3] x, float[1, 2, 7, 3] z) => (y) { y = Attention <is_causal = 1> (x, z, z) }",
        {("y", 2, 2): (2, 2)},
        opset=23,
        axis=2,
    ),
    "Attention-causal-of-itself": Net(
        "g (float[1, 5, 4] x) => (y) { y = Attention <is_causal = 1, q_num_heads = 2, kv_num_heads = 2> (x, x, x) }",
        {("y", 1, 0): (0, 0), ("y", 1, 3): (0, 3)},
        opset=23,
        axis=1,
    ),
    # heads do not look at one another
    "attention-of-heads": Net(
        "g (float[1, 4, 6] x) => (y) { s = Constant <value_ints = [1, 4, 2, 3]> () "
        "u = Constant <value_ints = [1, 4, 6]> () "
        "r = Reshape(x, s) h = Transpose <perm = [0, 2, 1, 3]> (r) k = Transpose <perm = [0, 1, 3, 2]> (h) "
        "a = MatMul(h, k) p = Softmax(a) o = MatMul(p, h) b = Transpose <perm = [0, 2, 1, 3]> (o) y = Reshape(b, u) }",
        {("y", 2, 0): (0, 2), ("y", 2, 5): (3, 5)},
    ),
    "sums-so-far": line(
        "h = Constant <value_int = 2> () y = CumSum(x, h) z = CumSum <exclusive = 1> (x, h) "
        "u = CumSum <reverse = 1> (x, h) "
        "v = CumSum <exclusive = 1, reverse = 1> (x, h)",
        6,
        outputs="y, z, u, v",
        seen={
            ("y", 2, 3): (0, 3),
            ("z", 2, 3): (0, 2),
            ("z", 2, 0): None,
            ("u", 2, 3): (3, 5),
            ("v", 2, 5): None,
        },
    ),
    "LSTM": Net(
        "g (float[6, 1, 4] x) => (y, h, c) <"
        + weights(w="1, 12, 4", r="1, 12, 3")
        + "> { y, h, c = LSTM <hidden_size = 3> (x, w, r) }",
        {("y", 0, 2): (0, 2), ("h", 0, 0): (0, 5), ("c", 0, 0): (0, 5)},
        axis=0,
    ),
    "LSTM-both-ways": Net(
        "g (float[6, 1, 4] x) => (y, h, c) <" + weights(w="2, 12, 4", r="2, 12, 3") + "> "
        '{ y, h, c = LSTM <hidden_size = 3, direction = "bidirectional"> (x, w, r) }',
        {("y", 0, 2): (0, 5)},
        axis=0,
    ),
    # as wide as to run in the kernel's vectors, whose sigmoid lets no NaN through
    "LSTM-of-many": Net(
        "g (float[6, 1, 4] x) => (y, h) <" + weights(w="1, 256, 4", r="1, 256, 64") + "> "
        "{ y, h = LSTM <hidden_size = 64> (x, w, r) }",
        {("y", 0, 2): (0, 2), ("h", 2, 63): (0, 5)},
        axis=0,
    ),
    "GRU-backwards": Net(
        "g (float[6, 2, 4] x) => (y, h) <" + weights(w="1, 9, 4", r="1, 9, 3") + "> "
        '{ y, h = GRU <hidden_size = 3, direction = "reverse"> (x, w, r) }',
        {("y", 0, 2): (2, 5)},
        axis=0,
    ),
    "RNN": Net(
        "g (float[6, 1, 4] x, float[1, 1, 3] z) => (y) <" + weights(w="1, 3, 4", r="1, 3, 3") + "> "
        "{ y = RNN <hidden_size = 3> (x, w, r, , , z) }",
        {("y", 0, 2): (0, 2)},
        axis=0,
    ),
    "the-largest-few": image(
        "k = Constant <value_ints = [2]> () y, i = TopK <axis = 2> (x, k)",
        outputs="y, i",
        loose=("y", "i"),
        seen={("y", 2, 0): (0, 6), ("y", 3, 1): (0, 6)},
    ),
    "rows-of-a-table": Net(
        "g (int64[1, 5] x) => (y) <"
        + weights(t="9, 3", k="3, 3")
        + "> { e = Gather(t, x) y = MatMul(e, k) }",
        {("e", 1, 2): (2, 2)},
    ),
    "a-mask-of-tokens": Net(
        "g (float[1, 5, 4] x, int64[1, 5] z) => (y) { a = Cast <to = 1> (z) h = Constant <value_ints = [1]> () "
        "m = Unsqueeze(a, h) t = Transpose <perm = [0, 2, 1]> (x) s = MatMul(x, t) b = Add(s, m) y = Softmax(b) }",
        {("y", 1, 2): (0, 4)},
        axis=1,
    ),
    "integers-to-the-end": Net(
        "g (int32[1, 8] x) => (y, z) { a = Add(x, x) f = Constant <value_ints = [2]> () "
        "t = Constant <value_ints = [7]> () "
        "h = Constant <value_ints = [1]> () y = Slice(a, f, t, h) z = Mul(y, y) }",
        {("z", 1, 0): (2, 2)},
    ),
    "a-comparison-in-between": Net(
        "g (float[1, 8] x, float[1, 8] z) => (y) { b = Less(x, z) n = Not(b) c = Cast <to = 1> (n) y = Mul(c, c) }",
        {("y", 1, 3): (3, 3)},
    ),
    "one-of-many": Net(
        "g (int64[4] x) => (y) <int64 d = {5}, float[2] v = {0, 1}> { y = OneHot(x, d, v) }",
        {("y", 0, 2): (2, 2)},
    ),
    "a-spectrum": Net(
        "g (float[1, 8, 1] x) => (y) { y = DFT <axis = 1, onesided = 1> (x) }",
        {("y", 1, 0): (0, 7)},
        opset=17,
        axis=1,
    ),
    "a-type-tells-nothing": Net(
        "g (float[1, 8] x, float[1, 8] z) => (y) <int64 o = {1}> { c = CastLike(o, x) y = Mul(c, z) }",
        {("y", 1, 3): None},
    ),
    "shapes-tell-nothing": Net(
        "g (float[1, 3, 8] x) => (s, y) { s = Shape(x) c = Cast <to = 1> (s) y = Mul(c, c) }",
        {("y", 0, 1): None},
    ),
    "filled-by-a-shape": Net(
        "g (float[1, 3, 8] x) => (y) { s = Shape(x) y = ConstantOfShape(s) }", {("y", 2, 1): None}
    ),
}
