"""Branches where they meet: alignment, strides, channels that see unlike rows, gates."""

from __future__ import annotations

from tests.fields.net import Net, image, line

K3, ONE = "1, 1, 3", "1, 1, 1"


def _unet(rows: int = 572) -> Net:
    """Ronneberger's net along one axis, a channel at each level, nothing padded: 572 rows to 388."""
    body, name, skips = "", "x", []
    for level in range(5):
        body += f"a{level} = Conv({name}, w) b{level} = Relu(a{level}) c{level} = Conv(b{level}, w) "
        name = f"c{level}"
        if level < 4:
            skips.append(name)
            body += f"p{level} = MaxPool <kernel_shape = [2], strides = [2]> (c{level}) "
            name = f"p{level}"
    sizes = [rows]
    for _ in range(4):
        sizes.append((sizes[-1] - 4) // 2)
    length = sizes[4] - 4
    for level in (3, 2, 1, 0):
        whole, length = sizes[level] - 4, 2 * length
        start = (whole - length) // 2
        body += (
            f"u{level} = ConvTranspose <strides = [2]> ({name}, k) "
            f"f{level} = Constant <value_ints = [{start}]> () t{level} = Constant <value_ints = [{start + length}]> () "
            f"h{level} = Constant <value_ints = [2]> () s{level} = Slice({skips[level]}, f{level}, t{level}, h{level}) "
            f"j{level} = Concat <axis = 1> (s{level}, u{level}) d{level} = Conv(j{level}, v) "
            f"e{level} = Conv(d{level}, w) "
        )
        name, length = f"e{level}", length - 4
    return line(body + f"y = Conv({name}, o)", rows, w=K3, k="1, 1, 2", v="1, 2, 3", o=ONE)


UNET = _unet()
NETS: dict[str, Net] = {
    "residual": line(
        "a = Conv <pads = [1, 1]> (x, w) b = Relu(a) c = Conv <pads = [1, 1]> (b, w) y = Add(x, c)",
        w=K3,
        seen={("y", 2, 5): (3, 7)},
    ),
    "inception": line(
        "a = Conv(x, o) b = Conv <pads = [1, 1]> (x, w) c = Conv <pads = [2, 2]> (x, k) "
        "p = MaxPool <kernel_shape = [3], pads = [1, 1]> (x) d = Conv(p, o) y = Concat <axis = 1> (a, b, c, d)",
        w=K3,
        o=ONE,
        k="1, 1, 5",
        seen={("y", 2, 5): (3, 7), ("y", 1, 0): (0, 11)},
    ),
    # two branches of three rows two apart: five, wider than either
    "misaligned-union": line(
        "a = Conv(x, w) f = Constant <value_ints = [0]> () t = Constant <value_ints = [8]> () "
        "h = Constant <value_ints = [2]> () s = Constant <value_ints = [2]> () "
        "e = Constant <value_ints = [10]> () b = Slice(a, f, t, h) c = Slice(a, s, e, h) y = Add(b, c)",
        w=K3,
        seen={("y", 2, 0): (0, 4), ("y", 2, 3): (3, 7)},
    ),
    # rows i and i + 4: two rows, a hull of five
    "misaligned-gap": line(
        "f = Constant <value_ints = [0]> () t = Constant <value_ints = [8]> () h = Constant <value_ints = [2]> () "
        "s = Constant <value_ints = [4]> () e = Constant <value_ints = [12]> () b = Slice(x, f, t, h) "
        "c = Slice(x, s, e, h) y = Mul(b, c)",
        seen={("y", 2, 1): (1, 5)},
    ),
    # one branch halves, the other does not: they drift apart by a row for every position
    "stride-mismatch": line(
        "a = Conv <strides = [2]> (x, w) f = Constant <value_ints = [0]> () t = Constant <value_ints = [5]> () "
        "h = Constant <value_ints = [2]> () b = Slice(x, f, t, h) y = Add(a, b)",
        w=K3,
        seen={("y", 2, 0): (0, 2), ("y", 2, 4): (4, 10)},
    ),
    # after a Concat the channels see 3 rows and 9; a depthwise window widens each on its own
    "concat-then-depthwise": line(
        "a = Conv <pads = [1, 1]> (x, w) b = Conv <pads = [4, 4]> (x, k) c = Concat <axis = 1> (a, b) "
        "y = Conv <group = 2, pads = [1, 1]> (c, v)",
        16,
        w=K3,
        k="1, 1, 9",
        v="2, 1, 3",
    ),
    "concat-then-split": line(
        "a = Conv <pads = [1, 1]> (x, w) c = Concat <axis = 1> (x, a) y, z = Split <axis = 1, num_outputs = 2> (c)",
        outputs="y, z",
        w=K3,
        seen={("y", 2, 4): (4, 4), ("z", 2, 4): (3, 5)},
    ),
    "channel-shuffle": line(
        "a = Conv <pads = [1, 1], group = 4> (x, w) c = Concat <axis = 1> (x, a) "
        "s = Constant <value_ints = [1, 2, 4, 8]> () r = Reshape(c, s) t = Transpose <perm = [0, 2, 1, 3]> (r) "
        "u = Constant <value_ints = [1, 8, 8]> () v = Reshape(t, u) y = Conv <group = 4> (v, k)",
        8,
        4,
        w="4, 1, 3",
        k="4, 2, 1",
    ),
    "squeeze-and-excite": image(
        "a = Conv <pads = [1, 1, 1, 1]> (x, w) p = GlobalAveragePool(a) q = Conv(p, o) s = Sigmoid(q) "
        "y = Mul(a, s)",
        w="2, 2, 3, 3",
        o="2, 2, 1, 1",
        seen={("a", 2, 3): (2, 4), ("y", 2, 3): (0, 6)},
    ),
    # the first row for every row, beside each one's own
    "a-row-for-all": image(
        "b = Constant <value_ints = [0]> () e = Constant <value_ints = [1]> () h = Constant <value_ints = [2]> () "
        "a = Slice(x, b, e, h) y = Sub(x, a)",
        seen={("a", 2, 0): (0, 0), ("y", 2, 3): (0, 3)},
    ),
    "a-gate-of-each-channel": image(
        "p = GlobalAveragePool(x) s = HardSigmoid(p) y = Mul(x, s)", axis=1, seen={("y", 1, 1): (1, 1)}
    ),
    "pyramid-pooling": image(
        "p = AveragePool <kernel_shape = [4, 4], strides = [4, 4]> (x) "
        "u = Constant <value_floats = [1.0, 1.0, 4.0, 4.0]> () "
        'r = Resize <mode = "linear"> (p, , u) y = Concat <axis = 1> (x, r)',
        8,
        8,
    ),
    "dense-block": line(
        "a = Conv <pads = [1, 1]> (x, w) b = Concat <axis = 1> (x, a) c = Conv <pads = [1, 1]> (b, k) "
        "y = Concat <axis = 1> (b, c)",
        w=K3,
        k="1, 2, 3",
        seen={("y", 2, 5): (3, 7), ("y", 1, 0): (0, 11)},
    ),
    "two-inputs": Net(
        'g (float[1, 1, 9] x, float[1, 1, 9] z) => (y) <float[1, 1, 3] w = ["location": "w"]> '
        "{ a = Conv <pads = [1, 1]> (x, w) y = Sub(a, z) }",
        {("y", 2, 4): (3, 5)},
    ),
    "broadcast": Net(
        "g (float[1, 3, 5] x, float[3, 1] z, float[5] u) => (y) { a = Add(x, z) y = Mul(a, u) }"
    ),
    "small-unet": line(
        "a = Conv <pads = [1, 1]> (x, w) p = MaxPool <kernel_shape = [2], strides = [2]> (a) "
        "b = Conv <pads = [1, 1]> (p, w) u = ConvTranspose <strides = [2]> (b, k) c = Concat <axis = 1> (u, a) "
        "y = Conv <pads = [1, 1]> (c, v)",
        16,
        w=K3,
        k="1, 1, 2",
        v="1, 2, 3",
    ),
    "where-the-condition-counts": Net(
        "g (float[6] x, float[6] c, float[6] z) => (y) { b = Greater(c, z) y = Where(b, x, z) }",
        {("y", 0, 2): (2, 2)},
    ),
    "shuffled-columns-and-rows": image(
        "t = Transpose <perm = [0, 1, 3, 2]> (x) a = Conv(t, w) y = Add(a, a)",
        w="2, 2, 3, 2",
        seen={("y", 3, 1): (1, 2)},
    ),
}
