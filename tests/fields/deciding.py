"""Bodies, and ops of which the data decide what is read."""

from __future__ import annotations

from tests.fields.net import Net, weights

FUNCTION = """<ir_version: 10, opset_import: ["" : 21, "own" : 1]>
g (float[1, 1, 12] x) => (y) <float[1, 1, 3] w = ["location": "w"]> { a = own.twice(x, w) y = own.twice(a, w) }
<domain: "own", opset_import: ["" : 21]> twice (a, w) => (c) { b = Conv(a, w) d = Relu(b) c = Conv(d, w) }"""
UNKNOWN = """<ir_version: 10, opset_import: ["" : 21, "nobody" : 1]>
g (float[1, 1, 12] x) => (y) { a = nobody.Knows(x) y = Relu(a) }"""

NETS: dict[str, Net] = {
    "a-choice-made-beforehand": Net(
        "g (float[1, 1, 9] x) => (y) <bool c = {1}, " + weights(w="1, 1, 3") + "> "
        "{ y = If (c) <then_branch = t () => (a) { a = Conv <pads = [1, 1]> (x, w) }, "
        "else_branch = e () => (b) { b = Identity(x) }> }",
        {("y", 2, 4): (3, 5)},
        loose=("y",),
    ),
    # what the branches read from outside is no operand of the If
    "a-choice-by-the-data": Net(
        "g (float[1, 1, 9] x, bool z) => (y) <" + weights(w="1, 1, 3") + "> "
        "{ r = Relu(x) y = If (z) <then_branch = t () => (a) { a = Conv <pads = [1, 1]> (r, w) }, "
        "else_branch = e () => (b) { b = Neg(r) }> }",
        loose=("y",),
    ),
    "a-function-called-twice": Net(FUNCTION, {("a", 2, 0): (0, 4), ("y", 2, 0): (0, 8)}),
    # three turns of a convolution: 3 + 2 + 2 rows
    "a-loop": Net(
        "g (float[1, 1, 9] x) => (y) <int64 n = {3}, bool c = {1}, " + weights(w="1, 1, 3") + "> "
        "{ y = Loop (n, c, x) <body = b (int64 i, bool d, float[1, 1, 9] s) => (d, t) "
        "{ t = Conv <pads = [1, 1]> (s, w) }> }",
        {("y", 2, 4): (1, 7)},
        loose=("y",),
    ),
    "a-scan": Net(
        "g (float[6, 2] x, float[2] z) => (h, y) { h, y = Scan <num_scan_inputs = 1, "
        "body = b (float[2] s, float[2] r) => (t, u) { t = Add(s, r) u = Identity(t) }> (z, x) }",
        {("y", 0, 2): (0, 2), ("h", 0, 0): (0, 5)},
        loose=("y", "h"),
        axis=0,
    ),
    "a-grid-from-an-input": Net(
        "g (float[1, 1, 4, 5] x, float[1, 3, 3, 2] z) => (y) { y = GridSample(x, z) }", loose=("y",), axis=2
    ),
    # a grid of constants is a table of rows: corners, and the middle between four
    "a-grid-that-is-known": Net(
        "g (float[1, 1, 5, 5] x) => (y) <float[1, 1, 3, 2] z = {-1, -1, 0.25, 0.25, 1, 1}> "
        "{ y = GridSample <align_corners = 1> (x, z) }",
        loose=("y",),
        axis=2,
    ),
    "offsets-from-an-input": Net(
        'g (float[1, 1, 5, 5] x, float[1, 18, 3, 3] z) => (y) <float[1, 1, 3, 3] w = ["location": "w"]> '
        "{ y = DeformConv (x, w, z) }",
        loose=("y",),
        axis=2,
    ),
    "a-grid-from-the-image": Net(
        'g (float[1, 1, 4, 5] x) => (y) <float[20, 18] w = ["location": "w"]> { f = Flatten(x) m = MatMul(f, w) '
        "s = Constant <value_ints = [1, 3, 3, 2]> () q = Tanh(m) g = Reshape(q, s) y = GridSample(x, g) }",
        {("y", 2, 1): (0, 3)},
        axis=2,
    ),
    "boxes-from-an-input": Net(
        "g (float[1, 1, 6, 6] x, float[2, 4] z) => (y) <int64[2] i = {0, 0}> "
        "{ y = RoiAlign <output_height = 2, output_width = 2> (x, z, i) }",
        loose=("y",),
        axis=2,
    ),
    "rows-that-the-data-pick": Net(
        "g (float[7, 2] x, int64[3] z) => (y) { y = Gather(x, z) }", loose=("y",), axis=0
    ),
    "rows-that-the-data-place": Net(
        "g (float[7, 2] x, int64[3, 1] z, float[3, 2] u) => (y) { y = ScatterND(x, z, u) }",
        loose=("y",),
        axis=0,
    ),
    "elements-that-the-data-pick": Net(
        "g (float[2, 5] x, int64[2, 3] z) => (y) { y = GatherElements <axis = 1> (x, z) }", loose=("y",)
    ),
    "where-something-is": Net(
        "g (float[5] x) => (y) { i = NonZero(x) f = Cast <to = 1> (i) y = ReduceSum(f) }",
        {("y", 0, 0): (0, 4)},
        loose=("i", "f", "y"),
    ),
    "a-start-that-the-data-tell": Net(
        "g (float[9] x, int64[1] z) => (y) { h = Constant <value_ints = [0]> () e = Constant <value_ints = [9]> () "
        "a = Slice(x, z, e, h) y = ReduceSum(a) }",
        loose=("a", "y"),
        axis=0,
    ),
    "an-op-that-nobody-knows": Net(UNKNOWN, {("a", 2, 3): (0, 11), ("y", 2, 0): (0, 11)}, runs=False),
}
