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
    # three turns without padding take two rows each; the picture shrinks from turn to turn
    "a-loop-that-shrinks": Net(
        "g (float[1, 1, 9] x) => (y) <int64 n = {3}, bool c = {1}, " + weights(w="1, 1, 3") + "> "
        "{ y = Loop (n, c, x) <body = b (int64 i, bool d, s) => (d, t) { t = Conv (s, w) }> }",
        {("y", 2, 0): (0, 6), ("y", 2, 2): (2, 8)},
    ),
    # what is stacked of each turn: 3, 5, 7 rows
    "a-loop-that-stacks": Net(
        "g (float[1, 1, 9] x) => (y, z) <int64 n = {3}, bool c = {1}, " + weights(w="1, 1, 3") + "> "
        "{ y, z = Loop (n, c, x) <body = b (int64 i, bool d, float[1, 1, 9] s) => (d, t, u) "
        "{ t = Conv <pads = [1, 1]> (s, w) u = Neg(t) }> }",
        {("z", 0, 0): (0, 8), ("y", 2, 4): (1, 7), ("z", 3, 4): (1, 7), ("z", 3, 0): (0, 3)},
    ),
    "a-loop-that-captures": Net(
        "g (float[1, 1, 9] x) => (y) <int64 n = {2}, bool c = {1}, " + weights(w="1, 1, 3") + "> "
        "{ z = Conv <pads = [1, 1]> (x, w) r = Relu(x) y = Loop (n, c, z) "
        "<body = b (int64 i, bool d, float[1, 1, 9] s) => (d, t) { t = Add(s, r) }> }",
        {("y", 2, 4): (3, 5)},
    ),
    "a-loop-within-a-loop": Net(
        "g (float[1, 1, 12] x) => (y) <int64 n = {2}, bool c = {1}, " + weights(w="1, 1, 3") + "> "
        "{ y = Loop (n, c, x) <body = b (int64 i, bool d, float[1, 1, 12] s) => (d, t) "
        "{ t = Loop (n, c, s) <body = q (int64 j, bool e, float[1, 1, 12] v) => (e, o) "
        "{ o = Conv <pads = [1, 1]> (v, w) }> }> }",
        {("y", 2, 6): (2, 10)},
        loose=("y",),
    ),
    "a-scan-from-the-end": Net(
        "g (float[6, 2] x, float[2] z) => (h, y) { h, y = Scan <num_scan_inputs = 1, "
        "scan_input_directions = [1], scan_output_directions = [1], "
        "body = b (float[2] s, float[2] r) => (t, u) { t = Add(s, r) u = Identity(t) }> (z, x) }",
        {("y", 0, 2): (2, 5), ("h", 0, 0): (0, 5)},
        axis=0,
    ),
    "a-scan-that-carries-nothing": Net(
        "g (float[6, 2] x) => (y, z) { y = Scan <num_scan_inputs = 1, "
        "body = b (float[2] r) => (u) { u = Relu(r) }> (x) "
        "z = Scan <num_scan_inputs = 1, scan_output_directions = [1], "
        "body = b (float[2] r) => (u) { u = Relu(r) }> (x) }",
        {("y", 0, 2): (2, 2), ("z", 0, 2): (3, 3)},
        axis=0,
    ),
    # a delay by one: what is carried is the row before
    "a-scan-that-delays": Net(
        "g (float[6, 2] x, float[2] z) => (h, y) { h, y = Scan <num_scan_inputs = 1, "
        "body = b (float[2] s, float[2] r) => (t, u) { t = Identity(r) u = Add(s, r) }> (z, x) }",
        {("y", 0, 2): (1, 2), ("y", 0, 0): (0, 0), ("h", 0, 0): (5, 5)},
        axis=0,
    ),
    "a-scan-of-columns": Net(
        "g (float[1, 4, 9] x) => (y) <" + weights(w="1, 1, 3") + "> { y = Scan <num_scan_inputs = 1, "
        "scan_input_axes = [1], scan_output_axes = [2], body = b (float[1, 9] r) => (u) "
        "{ a = Constant <value_ints = [1]> () v = Unsqueeze(r, a) k = Conv <pads = [1, 1]> (v, w) "
        "u = Squeeze(k, a) }> (x) }",
        {("y", 1, 4): (3, 5), ("y", 2, 3): (0, 8)},
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
    # one row, by a number that the row before it tells
    "a-row-that-the-image-picks": Net(
        "g (float[4, 3] x) => (y) <int64[2] s = {0, 1}> { a = ReduceMax <keepdims = 0> (x, s) "
        "n = Cast <to = 7> (a) m = Constant <value_int = 4> () i = Mod(n, m) y = Gather(x, i) }",
        {("y", 0, 1): (0, 3)},
        loose=("y",),
        axis=0,
    ),
    "slices-that-the-data-pick": Net(
        "g (float[4, 5, 2] x, int64[3, 1] z, int64[3, 2] u, int64[4, 2, 1] v) => (y, b, c) "
        "{ y = GatherND(x, z) b = GatherND(x, u) c = GatherND <batch_dims = 1> (x, v) }",
        loose=("y", "b", "c"),
        axis=0,
    ),
    "elements-that-the-data-place": Net(
        "g (float[3, 5] x, int64[3, 2] z, float[3, 2] u) => (y) { y = ScatterElements <axis = 1> (x, z, u) }",
        loose=("y",),
    ),
    "elements-that-the-data-add-to": Net(
        "g (float[3, 5] x, int64[3, 2] z, float[3, 2] u) => (y) "
        '{ y = ScatterElements <axis = 1, reduction = "add"> (x, z, u) }',
        loose=("y",),
    ),
    "places-that-are-known": Net(
        "g (float[3, 5] x, float[3, 2] u, float[2, 5] v) => (y, b, c) "
        "<int64[3, 2] i = {0, 1, 2, 3, 4, 0}, int64[2, 1] j = {2, 0}, int64[2, 2] k = {0, 1, 2, 4}> "
        "{ y = ScatterElements <axis = 1> (x, i, u) b = ScatterND(x, j, v) c = GatherND(x, k) }",
        {("y", 0, 0): (2, 4), ("b", 0, 1): (0, 4), ("c", 0, 0): (1, 1), ("c", 0, 1): (4, 4)},
        axis=1,
    ),
    # which picture of the batch, the data say; the box is known
    "boxes-that-are-known": Net(
        "g (float[2, 1, 6, 6] x, int64[2] z) => (y) <float[2, 4] b = {0, 0, 3, 3, 2, 2, 5, 5}> "
        "{ y = RoiAlign <output_height = 2, output_width = 2, sampling_ratio = 1> (x, b, z) }",
        loose=("y",),
        axis=2,
    ),
    "a-box-outside": Net(
        "g (float[1, 1, 1, 1] x) => (y) <float[1, 4] b = {9, 9, 12, 12}, int64[1] z = {0}> "
        "{ y = RoiAlign <output_height = 2, output_width = 2> (x, b, z) }",
        loose=("y",),
        axis=2,
    ),
    # the second picture's only point lies outside
    "a-point-outside": Net(
        "g (float[2, 1, 3, 3] x) => (y) <float[2, 1, 1, 2] z = {0, 0, 3, 3}> "
        '{ y = GridSample <mode = "nearest"> (x, z) }',
        loose=("y",),
        opset=17,
        axis=0,
    ),
    "a-cache-that-is-written": Net(
        "g (float[2, 6, 2] x, float[2, 2, 2] u) => (y) <int64[2] z = {0, 3}> "
        "{ y = TensorScatter <axis = 1> (x, u, z) }",
        {("y", 1, 0): (0, 0), ("y", 1, 5): (5, 5)},
        opset=24,
        axis=1,
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
