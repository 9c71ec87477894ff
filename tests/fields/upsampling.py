"""Transposed convolution and resampling: phases, borders, taps of weight zero."""

from __future__ import annotations

from itertools import product

from tests.fields.net import Net, line

K2, K3, K4 = "1, 1, 2", "1, 1, 3", "1, 1, 4"

TRANSPOSED: dict[str, Net] = {
    # output o takes tap t of row i where o + 1 = 2i + t: even ones one row, odd ones two
    "deconv-3/2": line(
        "y = ConvTranspose <strides = [2], pads = [1, 1]> (x, w)",
        6,
        w=K3,
        seen={("y", 2, 2): (1, 1), ("y", 2, 3): (1, 2)},
    ),
    "deconv-4/2": line(
        "y = ConvTranspose <strides = [2], pads = [1, 1]> (x, w)",
        6,
        w=K4,
        seen={("y", 2, 0): (0, 0), ("y", 2, 1): (0, 1), ("y", 2, 2): (0, 1)},
    ),
    # kernel below the step: a third of the outputs see nothing
    "deconv-2/3": line(
        "y = ConvTranspose <strides = [3]> (x, w)",
        4,
        w=K2,
        seen={("y", 2, 1): (0, 0), ("y", 2, 2): None, ("y", 2, 3): (1, 1)},
    ),
    "deconv-2/3-then-conv": line(
        "a = ConvTranspose <strides = [3]> (x, w) y = Conv(a, v)", 4, w=K2, v=K2, seen={("y", 2, 2): (1, 1)}
    ),
    "deconv-output_padding": line(
        "y = ConvTranspose <strides = [2], pads = [1, 1], output_padding = [1]> (x, w)",
        5,
        w=K3,
        seen={("y", 2, 9): (4, 4)},
    ),
    "deconv-output_shape": line("y = ConvTranspose <strides = [2], output_shape = [12]> (x, w)", 5, w=K4),
    "deconv-output_shape-odd": line("y = ConvTranspose <strides = [2], output_shape = [9]> (x, w)", 5, w=K4),
    "deconv-output_shape-and-more": line(
        "a = ConvTranspose <strides = [2], output_shape = [13]> (x, w) y = Concat <axis = 2> (a, x)", 5, w=K4
    ),
    "deconv-SAME_UPPER": line('y = ConvTranspose <strides = [2], auto_pad = "SAME_UPPER"> (x, w)', 5, w=K3),
    "deconv-SAME_LOWER": line('y = ConvTranspose <strides = [2], auto_pad = "SAME_LOWER"> (x, w)', 5, w=K3),
    # taps three apart with a step of two
    "deconv-dilated": line(
        "y = ConvTranspose <strides = [2], dilations = [3]> (x, w)",
        5,
        w=K2,
        seen={("y", 2, 1): None, ("y", 2, 3): (0, 0)},
    ),
    "deconv-of-groups": line("y = ConvTranspose <strides = [2], group = 2> (x, w)", 4, 4, w="4, 1, 3"),
    "deconv-3/2-of-two-axes": Net(
        'g (float[1, 1, 3, 4] x) => (y) <float[1, 2, 3, 2] w = ["location": "w"]> '
        "{ y = ConvTranspose <strides = [2, 3], pads = [1, 0, 0, 1]> (x, w) }"
    ),
    "down-and-up": line(
        "a = Conv <strides = [2]> (x, w) b = ConvTranspose <strides = [2]> (a, w) y = Conv(b, w)", 13, w=K3
    ),
    "max-unpool-by-channel": Net(
        "g (float[1, 3, 4, 4] x) => (y) { a, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) "
        "y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (a, i) }",
        {("y", 1, 1): (1, 1)},
        loose=("y",),
        axis=1,
    ),
    "max-unpool": line(
        "a, i = MaxPool <kernel_shape = [2], strides = [2]> (x) "
        "y = MaxUnpool <kernel_shape = [2], strides = [2]> (a, i)",
        loose=("y",),
    ),
}

_COORDINATES = (
    "half_pixel",
    "half_pixel_symmetric",
    "pytorch_half_pixel",
    "align_corners",
    "asymmetric",
    "tf_crop_and_resize",
)
_ROUNDINGS = ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
# rows:    0 . 1 . 2 . 3     asymmetric, twice as many: the even ones are rows, weight 0 for the next
_SEEN = {
    ("linear", "asymmetric"): {("u", 3, 2): (1, 1), ("u", 3, 3): (1, 2)},
    ("cubic", "asymmetric"): {("u", 3, 4): (2, 2), ("u", 3, 5): (1, 4)},
    ("linear", "half_pixel"): {("u", 3, 0): (0, 0), ("u", 3, 1): (0, 1), ("h", 3, 1): (2, 3)},
}


def resized(mode: str, way: str, extra: str = "", opset: int = 21) -> Net:
    """A line made twice as long, half as long, from 8 rows to 13 and to 5."""
    words = f'mode = "{mode}", coordinate_transformation_mode = "{way}"{extra}'
    no = ", none" if opset < 13 else ", "
    return Net(
        "g (float[1, 1, 4, 8] x) => (u, h, v, s) <float[4] up = {1, 1, 1, 2}, float[4] down = {1, 1, 1, 0.5}, "
        "int64[4] more = {1, 1, 6, 13}, int64[4] less = {1, 1, 4, 5}, float[8] roi = {0, 0, 0, 0.1, 1, 1, 1, 0.8}, "
        "float[0] none = {}> "
        f"{{ u = Resize <{words}> (x, roi, up) h = Resize <{words}> (x, roi, down) "
        f"v = Resize <{words}> (x, roi{no}, more) s = Resize <{words}> (x, roi{no}, less) }}",
        _SEEN.get((mode, way), {}),
        opset=opset,
    )


RESIZED: dict[str, Net] = {
    **{
        f"resize-{mode}-{way}": resized(mode, way) for mode, way in product(("linear", "cubic"), _COORDINATES)
    },
    **{
        f"resize-nearest-{way}-{rounding}": resized("nearest", way, f', nearest_mode = "{rounding}"')
        for way, rounding in product(_COORDINATES, _ROUNDINGS)
    },
    **{
        f"resize-cubic-{way}-{extra[2:].split()[0]}": resized("cubic", way, extra)
        for way, extra in product(
            ("half_pixel_symmetric", "align_corners", "tf_crop_and_resize"),
            (", exclude_outside = 1", ", antialias = 1", ", extrapolation_value = 3.0"),
        )
    },
    **{
        f"resize-linear-{way}-antialias": resized("linear", way, ", antialias = 1")
        for way in ("asymmetric", "half_pixel_symmetric", "pytorch_half_pixel")
    },
    **{
        f"resize-{mode}-extrapolation_value": resized(
            mode, "tf_crop_and_resize", ", extrapolation_value = 3.0"
        )
        for mode in ("nearest", "linear")
    },
    "resize-nearest-tf_half_pixel_for_nn": resized("nearest", "tf_half_pixel_for_nn", opset=12),
    # onnxruntime's 0.5 / (1 / 7) - 0.5 is not quite 3: the row before has next to no weight
    "resize-linear-to-one": line(
        'd = Constant <value_ints = [1, 1, 1]> () y = Resize <mode = "linear"> (x, , , d)',
        7,
        seen={("y", 2, 0): (3, 3)},
    ),
    "resize-cubic-exclude_outside": resized("cubic", "half_pixel", ", exclude_outside = 1"),
    "resize-cubic-of-another-bend": resized("cubic", "half_pixel", ", cubic_coeff_a = -0.5"),
    "resize-linear-antialias": Net(
        "g (float[1, 1, 6, 12] x) => (y, z) <float[4] by = {1, 1, 0.5, 0.25}, float[4] up = {1, 1, 2, 0.4}> "
        '{ y = Resize <mode = "linear", antialias = 1> (x, , by) '
        'z = Resize <mode = "linear", antialias = 1> (x, , up) }',
    ),
    "resize-cubic-antialias": Net(
        "g (float[1, 1, 6, 12] x) => (y) <float[4] by = {1, 1, 0.5, 0.25}> "
        '{ y = Resize <mode = "cubic", antialias = 1> (x, , by) }',
    ),
    "resize-of-some-axes": Net(
        "g (float[1, 1, 4, 5] x) => (y) <int64[1] to = {9}> "
        '{ y = Resize <mode = "linear", axes = [3], keep_aspect_ratio_policy = "not_larger"> (x, , , to) }',
        {("y", 2, 1): (1, 1)},
        axis=2,
    ),
    # a decoder is as large as its encoder was; only the shape of that is read
    "resize-to-anothers-shape": Net(
        'g (float[1, 1, 10] x, float[1, 1, 20] z) => (y) <float[1, 1, 3] w = ["location": "w"]> '
        '{ a = Conv <strides = [2]> (x, w) s = Shape(z) y = Resize <mode = "nearest"> (a, , , s) }',
    ),
    "upsample-9": Net(
        "g (float[1, 1, 5] x) => (n, y) <float[3] by = {1, 1, 2}> "
        '{ n = Upsample <mode = "nearest"> (x, by) y = Upsample <mode = "linear"> (x, by) }',
        {("n", 2, 3): (1, 1), ("y", 2, 3): (1, 2)},
        opset=9,
    ),
    # before there was an Expand, and scales were no operand
    "upsample-7": Net(
        "g (float[1, 1, 4, 5] x) => (y) <float[1] s = {1}, float[1] b = {0}, float[1] m = {0}, float[1] v = {1}> "
        "{ a = BatchNormalization <spatial = 1> (x, s, b, m, v) r = Relu(a) "
        "y = Upsample <scales = [1.0, 1.0, 2.0, 3.0]> (r) }",
        {("y", 2, 3): (1, 1)},
        opset=7,
        axis=2,
    ),
    "resize-10": Net(
        "g (float[1, 1, 5] x) => (n, y) <float[3] by = {1, 1, 2}> "
        '{ n = Resize <mode = "nearest"> (x, by) y = Resize <mode = "linear"> (x, by) }',
        opset=10,
    ),
    # 12 rows to 4 by linear: two of three are read, which leaves a hole
    "resize-linear-holes": line(
        'd = Constant <value_floats = [1.0, 1.0, 0.25]> () y = Resize <mode = "linear"> (x, , d)',
        12,
        seen={("y", 2, 0): (1, 2), ("y", 2, 1): (5, 6)},
    ),
}

NETS = {**TRANSPOSED, **RESIZED}
