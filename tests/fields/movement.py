"""What is moved and not computed: layouts, tokens, slices, shifts, pads, pixels."""

from __future__ import annotations

from tests.fields.net import Net, image, line


def ints(**lists: str) -> str:
    """Constants that are lists of integers."""
    return (
        " ".join(f"{name} = Constant <value_ints = [{numbers}]> ()" for name, numbers in lists.items()) + " "
    )


NETS: dict[str, Net] = {
    "nhwc": image(
        "a = Conv(x, w) t = Transpose <perm = [0, 2, 3, 1]> (a) m = MatMul(t, v) "
        "b = Transpose <perm = [0, 3, 1, 2]> (m) y = Conv(b, w)",
        w="2, 2, 3, 1",
        v="2, 2",
        seen={("m", 1, 0): (0, 2), ("y", 2, 0): (0, 4)},
    ),
    "swapped-rows-and-columns": image(
        "t = Transpose <perm = [0, 1, 3, 2]> (x) y = MaxPool <kernel_shape = [2, 3]> (t)",
        seen={("y", 3, 1): (1, 3), ("y", 2, 1): (0, 6)},
    ),
    "flatten-alone": image("y = Flatten(x)", seen={("y", 1, 0): (0, 0), ("y", 1, 6): (1, 1)}),
    "flatten-and-gemm": image(
        "f = Flatten(x) y = Gemm <transB = 1> (f, w)", w="3, 84", seen={("y", 1, 0): (0, 6)}
    ),
    # 2x2 patches as tokens: six of them, three in a row
    "vit-patches": image(
        "a = Conv <strides = [2, 2]> (x, w) " + ints(s="1, 3, 6") + "r = Reshape(a, s) "
        "t = Transpose <perm = [0, 2, 1]> (r) y = MatMul(t, v)",
        4,
        6,
        w="3, 2, 2, 2",
        v="3, 3",
        seen={("y", 1, 2): (0, 1), ("y", 1, 3): (2, 3)},
    ),
    "a-class-token": image(
        "a = Conv <strides = [2, 2]> (x, w) " + ints(s="1, 3, 6") + "r = Reshape(a, s) "
        "t = Transpose <perm = [0, 2, 1]> (r) y = Concat <axis = 1> (c, t)",
        4,
        6,
        w="3, 2, 2, 2",
        c="1, 1, 3",
        seen={("y", 1, 0): None, ("y", 1, 6): (2, 3)},
    ),
    "windows-of-a-swin": image(
        ints(s="1, 2, 2, 3, 2, 3", u="4, 2, 9") + "r = Reshape(x, s) "
        "t = Transpose <perm = [0, 2, 4, 1, 3, 5]> (r) y = Reshape(t, u)",
        6,
        6,
        seen={("y", 0, 0): (0, 2), ("y", 0, 3): (3, 5)},
    ),
    # rolled up by two rows: row 0 comes last
    "roll": image(
        ints(f="2", t="7", h="2", o="0")
        + "a = Slice(x, f, t, h) b = Slice(x, o, f, h) y = Concat <axis = 2> (a, b)",
        seen={("y", 2, 0): (2, 2), ("y", 2, 6): (1, 1)},
    ),
    # after a roll a window holds the first rows and the last
    "roll-then-window": line(
        ints(f="2", t="12", h="2", o="0") + "a = Slice(x, f, t, h) b = Slice(x, o, f, h) "
        "c = Concat <axis = 2> (a, b) y = Conv(c, w)",
        w="1, 1, 3",
        seen={("y", 2, 8): (0, 11)},
    ),
    "reversed": line(
        ints(f="-1", t="-13", h="2", s="-1") + "r = Slice(x, f, t, h, s) y = Conv <strides = [2]> (r, w)",
        w="1, 1, 3",
        seen={("r", 2, 0): (11, 11), ("y", 2, 0): (9, 11)},
    ),
    "every-third-row": line(
        ints(f="1", t="12", h="2", s="3") + "y = Slice(x, f, t, h, s)", seen={("y", 2, 1): (4, 4)}
    ),
    "pixel-shuffle": image("y = DepthToSpace <blocksize = 2> (x)", 3, 3, 4, seen={("y", 2, 2): (1, 1)}),
    "pixel-shuffle-CRD": image(
        'y = DepthToSpace <blocksize = 2, mode = "CRD"> (x) z = Conv(y, w)',
        3,
        3,
        8,
        outputs="y, z",
        w="1, 2, 3, 3",
        axis=1,
        seen={("y", 1, 0): (0, 3)},
    ),
    "pixel-unshuffle": image(
        "y = SpaceToDepth <blocksize = 2> (x)", 4, 6, seen={("y", 2, 1): (2, 3), ("y", 1, 0): (0, 2)}
    ),
    "focus": image(
        ints(o="0, 0", i="1, 0", j="0, 1", k="1, 1", t="9, 9", h="2, 3", s="2, 2")
        + "a = Slice(x, o, t, h, s) "
        "b = Slice(x, i, t, h, s) c = Slice(x, j, t, h, s) d = Slice(x, k, t, h, s) "
        "y = Concat <axis = 1> (a, b, c, d)",
        4,
        6,
        seen={("y", 2, 1): (2, 3)},
    ),
    "pad-of-zeros": line(
        ints(p="0, 0, 2, 0, 0, 1") + "y = Pad(x, p)", seen={("y", 2, 1): None, ("y", 2, 2): (0, 0)}
    ),
    "pad-by-the-edge": line(
        ints(p="0, 0, 3, 0, 0, 2") + 'y = Pad <mode = "edge"> (x, p)',
        seen={("y", 2, 0): (0, 0), ("y", 2, 16): (11, 11)},
    ),
    "pad-by-reflection": line(
        ints(p="0, 0, 3, 0, 0, 2") + 'y = Pad <mode = "reflect"> (x, p) z = Conv(y, w)',
        outputs="y, z",
        w="1, 1, 3",
        seen={("y", 2, 0): (3, 3), ("y", 2, 16): (9, 9), ("z", 2, 2): (0, 1)},
    ),
    "pad-by-wrapping": line(
        ints(p="0, 0, 2, 0, 0, 1") + 'y = Pad <mode = "wrap"> (x, p) z = Conv(y, w)',
        outputs="y, z",
        w="1, 1, 3",
        seen={("y", 2, 0): (10, 10), ("z", 2, 1): (0, 11)},
    ),
    "pad-below-zero": line(
        ints(p="0, 0, -2, 0, 0, -1") + "y = Pad(x, p)", seen={("y", 2, 0): (2, 2), ("y", 2, 8): (10, 10)}
    ),
    "pad-in-front-crop-behind": line(
        ints(p="0, 0, 2, 0, 0, -3") + "y = Pad(x, p)", seen={("y", 2, 10): (8, 8)}
    ),
    "pad-with-an-inputs-value": Net(
        "g (float[4] x, float z) => (y) { p = Constant <value_ints = [1, 1]> () y = Pad(x, p, z) }",
        {("y", 0, 0): None},
    ),
    "tiles": line(ints(r="1, 1, 2") + "y = Tile(x, r)", 5, seen={("y", 2, 6): (1, 1)}),
    "expand": Net(
        "g (float[3, 1] x) => (y) { s = Constant <value_ints = [2, 3, 4]> () y = Expand(x, s) }",
        {("y", 1, 2): (2, 2)},
        axis=0,
    ),
    "rows-by-number": line(
        ints(i="7, 2, 2, 11") + "y = Gather <axis = 2> (x, i)",
        seen={("y", 2, 0): (7, 7), ("y", 2, 2): (2, 2)},
    ),
    "rows-by-number-from-the-end": line(
        ints(i="-1, 0") + "y = Gather <axis = 2> (x, i)", seen={("y", 2, 0): (11, 11)}
    ),
    "one-row": line(
        "i = Constant <value_int = 3> () y = Gather <axis = 2> (x, i)", seen={("y", 1, 0): (3, 3)}
    ),
    "elements-by-number": Net(
        "g (float[2, 4] x) => (y) <int64[2, 3] i = {3, 0, 1, 2, 2, 1}> { y = GatherElements <axis = 1> (x, i) }",
        {("y", 1, 0): (2, 3)},
    ),
    "tuples-by-number": Net(
        "g (float[4, 5, 2] x) => (y) <int64[3, 2] i = {3, 0, 1, 4, 0, 2}> { y = GatherND(x, i) }",
        {("y", 0, 0): (3, 3), ("y", 0, 1): (1, 1)},
        axis=0,
    ),
    "scattered-by-number": Net(
        "g (float[6] x, float[2] u) => (y) <int64[2, 1] i = {{4, 1}}> { y = ScatterND(x, i, u) }".replace(
            "{{", "{"
        ).replace("}}", "}"),
        loose=("y",),
    ),
    "repeated-slices": line(
        ints(f="1", t="11", h="2")
        + "a = Slice(x, f, t, h) b = Slice(a, f, t, h) y = MaxPool <kernel_shape = [2]> (b)",
        seen={("y", 2, 0): (2, 3)},
    ),
    "split-in-space": line(
        "a, b = Split <axis = 2, num_outputs = 2> (x) y = Conv(b, w)", w="1, 1, 3", seen={("y", 2, 0): (6, 8)}
    ),
    "joined-in-space": line(
        "a = Conv(x, w) y = Concat <axis = 2> (x, a)",
        w="1, 1, 3",
        seen={("y", 2, 11): (11, 11), ("y", 2, 12): (0, 2)},
    ),
    "squeezed": line(
        ints(h="0, 1") + "a = Squeeze(x, h) b = Unsqueeze(a, h) y = Conv(b, w)",
        w="1, 1, 3",
        seen={("a", 0, 3): (3, 3)},
    ),
    "einsum-as-a-transpose": image('y = Einsum <equation = "nchw -> nwhc"> (x)', seen={("y", 2, 3): (3, 3)}),
    "each-sequence-reversed": Net(
        "g (float[6, 2] x) => (y) <int64[2] n = {6, 3}> { y = ReverseSequence(x, n) }",
        {("y", 0, 0): (2, 5)},
        loose=("y",),
        axis=0,
    ),
    "cropped-and-padded-about-the-centre": Net(
        "g (float[3, 6] x) => (y) <int64[2] s = {5, 3}> { y = CenterCropPad(x, s) }",
        {("y", 0, 0): None, ("y", 0, 1): (0, 0)},
        opset=18,
        axis=0,
    ),
    "rows-by-a-mask": Net(
        "g (float[5, 2] x) => (y) <bool[5] m = {0, 1, 1, 0, 1}> { y = Compress <axis = 0> (x, m) }",
        {("y", 0, 2): (4, 4)},
        axis=0,
    ),
    "a-triangle": Net("g (float[4, 4] x) => (y) { y = Trilu <upper = 0> (x) }", axis=0),
    # blocks of three become an axis of their own, and one again
    "regrouped": line(
        ints(s="1, 4, 3", u="1, 12")
        + "a = Reshape(x, s) b = Transpose <perm = [0, 2, 1]> (a) y = Reshape(b, u)",
        seen={("a", 1, 1): (3, 5), ("y", 1, 0): (0, 0), ("y", 1, 1): (3, 3)},
    ),
    "columns-to-image": Net(
        "g (float[1, 4, 6] x) => (y) { s = Constant <value_ints = [3, 4]> () b = Constant <value_ints = [2, 2]> () "
        "y = Col2Im(x, s, b) }"
    ),
}
