"""Receptive fields of small nets: drawn, worked out by hand, and measured in onnxruntime by changing row after row.

Rows of the input run from left to right in the drawings, `^` marks the centre of what output 0 sees.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest

from analyzer import Report, analyze
from analyzer.report import FieldRow, LocalField
from tests.conftest import text_model


class Net(NamedTuple):
    """A net over `x`, the tensor asked about, and its field along an axis of x: size, stride, padding.

    `along` is the tensor's own axis on which positions lie; `path_min` and `size_min` are said where they differ from
    the size, `phased` where the positions do not all read alike.
    """

    text: str
    tensor: str
    size: int
    stride: str
    padding: int
    axis: int = 2
    along: int = 2
    path_min: int | None = None
    aligned: bool = True
    size_min: int | None = None
    phased: bool = False


CONV3 = "float[1, 1, 3] w = {1, 1, 1}"
CONV1 = "float[1, 1, 1] one = {1}"

NETS = {
    # 7/2:       -------              7 rows, a step of 2
    # 3/2 of it: -- -- -------        7 + 2*2
    # 3/1 of it: ---- ---- -----------   11 + 2*4
    "the-lectures-first-layer": Net(
        "g (float[1, 1, 60] x) => (y) <float[1, 1, 7] k = {1, 1, 1, 1, 1, 1, 1}> { y = Conv <strides = [2]> (x, k) }",
        "y", 7, "2", 0,
    ),
    "the-lectures-second-layer": Net(
        f"g (float[1, 1, 60] x) => (y) <float[1, 1, 7] k = {{1, 1, 1, 1, 1, 1, 1}}, {CONV3}> "
        "{ a = Conv <strides = [2]> (x, k) y = Conv <strides = [2]> (a, w) }",
        "y", 11, "4", 0,
    ),
    "the-lectures-third-layer": Net(
        f"g (float[1, 1, 60] x) => (y) <float[1, 1, 7] k = {{1, 1, 1, 1, 1, 1, 1}}, {CONV3}> "
        "{ a = Conv <strides = [2]> (x, k) b = Conv <strides = [2]> (a, w) y = Conv(b, w) }",
        "y", 19, "4", 0,
    ),
    # a residual block: the wide path sees -2..2, the shortcut 0
    #      . . ^ . .
    "residual": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}> "
        "{ a = Conv <pads = [1, 1]> (x, w) b = Relu(a) c = Conv <pads = [1, 1]> (b, w) y = Add(x, c) }",
        "y", 5, "1", 2, path_min=1,
    ),
    # the shortcut of a block that halves: 1x1/2 beside 3x3/2, both centred on 0
    "residual-with-a-stride": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}, {CONV1}> "
        "{ a = Conv <pads = [1, 1], strides = [2]> (x, w) b = Conv <strides = [2]> (x, one) y = Sum(a, b) }",
        "y", 3, "2", 1, path_min=1,
    ),
    # inception: 1, 3 and 5 wide, centred alike
    "concat-of-three": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}, {CONV1}, float[1, 1, 5] v = {{1, 1, 1, 1, 1}}> "
        "{ a = Conv(x, one) b = Conv <pads = [1, 1]> (x, w) c = Conv <pads = [2, 2]> (x, v) "
        "y = Concat <axis = 1> (a, b, c) }",
        "y", 5, "1", 2, path_min=1,
    ),
    # two branches of three, one centred on 0, the other on 1:
    #      . ^ .
    #        . ^ .       the hull of both is four
    "misaligned": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}> "
        "{ a = Conv <pads = [1, 1]> (x, w) b = Conv <pads = [0, 2]> (x, w) y = Concat <axis = 1> (a, b) }",
        "y", 4, "1", 1, path_min=3, aligned=False,
    ),
    # what comes after such a merge is one branch: 4 + 2
    "after-misaligned": Net(
        f"g (float[1, 1, 20] x) => (z) <{CONV3}> "
        "{ a = Conv <pads = [1, 1]> (x, w) b = Conv <pads = [0, 2]> (x, w) y = Add(a, b) "
        "z = Conv <pads = [1, 1]> (y, w) }",
        "z", 6, "1", 2, path_min=5,
    ),
    # three taps two apart:  ^ . ^ . ^   then three that are four apart
    "dilation": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}> {{ y = Conv <dilations = [2], pads = [2, 2]> (x, w) }}", "y", 5, "1", 2
    ),
    "dilation-after-stride": Net(
        f"g (float[1, 1, 40] x) => (y) <{CONV3}> "
        "{ a = Conv <dilations = [2], strides = [2]> (x, w) y = Conv <dilations = [2]> (a, w) }",
        "y", 5 + 2 * 2 * 2, "2", 0,
    ),
    # ceil_mode adds a window at the right, the field is that of any other
    "ceil-mode": Net(
        "g (float[1, 1, 8] x) => (y) { y = MaxPool <kernel_shape = [3], strides = [2], ceil_mode = 1> (x) }",
        "y", 3, "2", 0,
    ),
    # 8 rows, 3/2: one row of padding, which UPPER puts to the right and LOWER to the left
    "SAME_UPPER-even": Net(
        f"g (float[1, 1, 8] x) => (y) <{CONV3}> {{ y = Conv <auto_pad = \"SAME_UPPER\", strides = [2]> (x, w) }}",
        "y", 3, "2", 0,
    ),
    "SAME_LOWER-even": Net(
        f"g (float[1, 1, 8] x) => (y) <{CONV3}> {{ y = Conv <auto_pad = \"SAME_LOWER\", strides = [2]> (x, w) }}",
        "y", 3, "2", 1,
    ),
    "SAME_UPPER-odd": Net(
        f"g (float[1, 1, 9] x) => (y) <{CONV3}> {{ y = Conv <auto_pad = \"SAME_UPPER\", strides = [2]> (x, w) }}",
        "y", 3, "2", 1,
    ),
    "VALID": Net(
        f"g (float[1, 1, 9] x) => (y) <{CONV3}> {{ y = Conv <auto_pad = \"VALID\"> (x, w) }}", "y", 3, "1", 0
    ),
    # to NHWC and back: the rows of x lie on axis 1 between, and a product over the channels is a 1x1 convolution
    "nhwc": Net(
        "g (float[1, 2, 9, 4] x) => (m) "
        "<float[2, 2, 3, 1] w = [\"location\": \"w\"], float[2, 5] v = [\"location\": \"w\"]> "
        "{ a = Conv(x, w) t = Transpose <perm = [0, 2, 3, 1]> (a) m = MatMul(t, v) }",
        "m", 3, "1", 0, along=1,
    ),
    "nhwc-and-back": Net(
        "g (float[1, 2, 9, 4] x) => (y) "
        "<float[2, 2, 3, 1] w = [\"location\": \"w\"], float[2, 2] v = [\"location\": \"w\"]> "
        "{ a = Conv(x, w) t = Transpose <perm = [0, 2, 3, 1]> (a) m = MatMul(t, v) "
        "b = Transpose <perm = [0, 3, 1, 2]> (m) y = Conv(b, w) }",
        "y", 5, "1", 0,
    ),
    # rows and columns change places: the field along x's rows is found on the columns of y
    "rows-and-columns-swapped": Net(
        "g (float[1, 1, 9, 8] x) => (y) <float[1, 1, 3, 1] w = {1, 1, 1}> "
        "{ a = Conv(x, w) y = Transpose <perm = [0, 1, 3, 2]> (a) }",
        "y", 3, "1", 0, along=3,
    ),
    # a row's own pixel where only columns are convolved
    "the-other-axis": Net(
        "g (float[1, 1, 9, 8] x) => (y) <float[1, 1, 3, 1] w = {1, 1, 1}> { y = Conv(x, w) }",
        "y", 1, "1", 0, axis=3, along=3,
    ),
    # a mean over the columns leaves the rows local
    "a-mean-over-the-other-axis": Net(
        "g (float[1, 1, 9, 8] x) => (y) <float[1, 1, 3, 1] w = {1, 1, 1}, int64[1] axes = {3}> "
        "{ a = Conv(x, w) y = ReduceMean <keepdims = 0> (a, axes) }",
        "y", 3, "1", 0,
    ),
    # batch norm and activations read the pixel itself
    "pointwise": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}, float[1] s = {{1}}, float[1] v = {{2}}> "
        "{ a = Conv(x, w) b = BatchNormalization(a, s, v, s, v) y = Relu(b) }",
        "y", 3, "1", 0,
    ),
    # tokens: 4x4 patches, then flattened to one axis and normalised over the other
    "patches": Net(
        "g (float[1, 1, 16, 4] x) => (n) <float[3, 1, 4, 4] w = [\"location\": \"w\"], int64[3] s = {1, 3, -1}, "
        "float[3] one = {1, 2, 3}> "
        "{ a = Conv <strides = [4, 4]> (x, w) t = Reshape(a, s) u = Transpose <perm = [0, 2, 1]> (t) "
        "n = LayerNormalization(u, one, one) }",
        "n", 4, "4", 0, along=1,
    ),
    # a crop on the left moves what output 0 sees to the right: negative padding
    "crop": Net(
        f"g (float[1, 1, 20] x) => (y) <{CONV3}, int64[1] start = {{4}}, int64[1] end = {{18}}, int64[1] axes = {{2}}> "
        "{ a = Slice(x, start, end, axes) y = Conv(a, w) }",
        "y", 3, "1", -4,
    ),
    # halved and doubled again: each pair of positions sees the same pair of rows
    "down-and-up": Net(
        "g (float[1, 1, 20] x) => (y) <float[1, 1, 2] u = {1, 1}> "
        "{ a = AveragePool <kernel_shape = [2], strides = [2]> (x) y = ConvTranspose <strides = [2]> (a, u) }",
        "y", 2, "1", 0, phased=True,
    ),
    # 3 taps spread by 2: odd positions are made of one row, even ones of two
    "up": Net(
        f"g (float[1, 1, 10] x) => (y) <{CONV3}> {{ y = ConvTranspose <strides = [2]> (x, w) }}",
        "y", 2, "1/2", 1, size_min=1, phased=True,
    ),
}  # fmt: skip


@cache
def report(text: str) -> Report:
    return analyze(text_model(text))


def field(text: str, tensor: str, axis: int = 2) -> FieldRow:
    (found,) = (row for row in report(text).receptive_fields if row.tensor == tensor and row.axis == axis)
    return found


@pytest.mark.parametrize("name", NETS)
def test_a_field_by_hand(name: str) -> None:
    """Size, stride and padding; what follows from them follows."""
    net = NETS[name]
    row = field(net.text, net.tensor, net.axis)
    assert (row.status, row.size, row.stride, row.padding) == ("local", net.size, net.stride, net.padding)
    assert row.size_min == (net.size if net.size_min is None else net.size_min)
    assert row.aligned is net.aligned
    assert row.first_center == (net.size - 1) / 2 - net.padding
    if net.path_min is not None:
        assert row.path_min == net.path_min
    shapes = {tensor.name: tensor.shape for tensor in report(net.text).tensors}
    assert row.exceeds_input is (net.size > (shapes["x"] or ())[net.axis])
    assert row.without_global is None


def filled(text: str) -> onnx.ModelProto:
    """A model with positive numbers in place of absent weights, so that nothing cancels out."""
    model = onnx.ModelProto.FromString(text_model(text))
    numbers = np.random.default_rng(2019)
    for tensor in model.graph.initializer:
        if tensor.data_location == onnx.TensorProto.EXTERNAL:
            values = numbers.uniform(0.5, 1.5, tuple(tensor.dims)).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    return model


@cache
def noticed(text: str, tensor: str, axis: int, along: int) -> list[set[int]]:
    """For each position of a tensor, the rows of x that it notices, found by changing one row at a time."""
    runtime = pytest.importorskip("onnxruntime")
    model = filled(text)
    del model.graph.output[:]
    model.graph.output.append(onnx.ValueInfoProto(name=tensor))
    session = runtime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    declared = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(7).uniform(1, 2, declared).astype(np.float32)

    def run(given: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        (y,) = session.run([tensor], {"x": given})
        return np.moveaxis(np.asarray(y), along, 0).reshape(np.asarray(y).shape[along], -1)

    before = run(x)
    rows: list[set[int]] = [set() for _ in before]
    for row in range(declared[axis]):
        for change in (100.0, -0.9):
            changed = x.copy()
            np.moveaxis(changed, axis, 0)[row] += np.float32(change)
            for position in np.flatnonzero((run(changed) != before).any(axis=1)):
                rows[position].add(row)
    return rows


@pytest.mark.parametrize("name", NETS)
def test_a_field_is_what_onnxruntime_notices(name: str) -> None:
    """No position sees beyond its field, and the middle one, away from all borders, sees it from end to end."""
    net = NETS[name]
    row = field(net.text, net.tensor, net.axis)
    assert row.stride is not None
    assert row.size is not None
    assert row.padding is not None
    seen = noticed(net.text, net.tensor, net.axis, net.along)
    if net.phased:
        sizes = {max(rows) - min(rows) + 1 for rows in seen[net.size : -net.size]}
        assert (min(sizes), max(sizes)) == (row.size_min, row.size)
        return
    for position, rows in enumerate(seen):
        first = int(row.stride) * position - row.padding
        assert min(rows) >= first
        assert max(rows) <= first + row.size - 1
    middle = len(seen) // 2
    first = int(row.stride) * middle - row.padding
    assert (min(seen[middle]), max(seen[middle])) == (first, first + row.size - 1)


# ---- where no window is left, or no number

GATE = f"""
    g (float[1, 1, 20] x) => (y) <{CONV3}, {CONV1}> {{
        a = Conv <pads = [1, 1]> (x, w)
        p = GlobalAveragePool(a)
        q = Conv(p, one)
        s = Sigmoid(q)
        y = Mul(a, s)
        z = Conv(y, w)
    }}
"""


def test_a_squeeze_and_excite_gate_sees_everything_and_its_path_three_rows() -> None:
    """Both are told: global, and the field beside the gate."""
    for name, local in (("y", LocalField(3, "1", 1)), ("z", LocalField(5, "1", 1))):
        row = field(GATE, name)
        assert (row.status, row.size, row.stride, row.padding) == ("global", None, None, None)
        assert row.without_global == local
    assert field(GATE, "a").size == 3
    assert (field(GATE, "s").status, field(GATE, "s").without_global) == ("global", None)


FLATTENED = """
    g (float[1, 2, 6, 5] x) => (y) <
        float[3, 2, 3, 3] w = ["location": "w"], float[36, 7] v = ["location": "w"], int64[2] s = {1, -1}
    > {
        a = Conv(x, w)
        f = Flatten(a)
        r = Reshape(f, s)
        y = Gemm(r, v)
    }
"""


def test_flattening_sees_no_more_but_a_product_behind_it_sees_all() -> None:
    """A Flatten moves rows to other places; the Gemm reads every one of them."""
    for axis in (2, 3):
        assert field(FLATTENED, "a", axis).size == 3
        for name in ("f", "r"):
            assert field(FLATTENED, name, axis).status != "global"
            assert field(FLATTENED, name, axis).size in (3, None)
        assert field(FLATTENED, "y", axis).status == "global"


STRIDES_APART = f"""
    g (float[1, 1, 20] x) => (y, z) <{CONV1}, int64[1] start = {{0}}, int64[1] end = {{10}}, int64[1] axes = {{2}}> {{
        a = Conv <strides = [2]> (x, one)
        b = Slice(x, start, end, axes)
        [merge] y = Add(a, b)
        [after] z = Relu(y)
    }}
"""


def test_branches_of_different_strides_have_no_field_and_are_told_once() -> None:
    """Rows 2i and i drift apart: on an infinite canvas no number of rows holds both."""
    for name in ("y", "z"):
        row = field(STRIDES_APART, name)
        assert (row.size, row.stride, row.padding, row.without_global) == (None,) * 4
        assert row.status == "opaque"
    assert [(w.reason, w.node) for w in report(STRIDES_APART).warnings] == [("STRIDE_MISMATCH", "merge")]
    assert field(STRIDES_APART, "y", axis=0).status == "local"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ("y = GlobalAveragePool(x)", "global"),
        ("y = Softmax <axis = 2> (x)", "global"),
        ("y = ReduceMean(x)", "global"),
        ("y = CumSum(x, two)", "prefix"),
        ("y = CumSum <reverse = 1> (x, two)", "suffix"),
        ("s = Shape(x) y = ConstantOfShape(s)", "none"),
    ],
)
def test_what_is_read_beyond_any_window_has_a_word(body: str, status: str) -> None:
    """All of it, all before, all behind, nothing; and none of the figures of a window."""
    text = f"g (float[1, 1, 20] x) => (y) <int64 two = {{2}}> {{ {body} }}"
    if any(row.reason == "NO_RULE" for row in report(text).warnings):
        pytest.skip(f"no rule for {body}")
    found = [row for row in report(text).receptive_fields if row.tensor == "y" and row.axis == 2]
    assert [row.status for row in found] in ([status], [] if status == "none" else [status])
    assert all((row.size, row.stride, row.padding) == (None, None, None) for row in found)


def test_each_input_has_fields_of_its_own() -> None:
    """A tensor that does not depend on an input says so."""
    text = f"""
        g (float[1, 1, 20] x, float[1, 1, 20] z) => (y, v) <{CONV3}> {{
            a = Conv(x, w)
            b = Conv <dilations = [3]> (z, w)
            v = Relu(x)
            y = Concat <axis = 1> (x, z)
        }}
    """
    fields = {(f.tensor, f.input, f.axis): (f.status, f.size) for f in report(text).receptive_fields}
    assert fields["a", "x", 2] == ("local", 3)
    assert fields["a", "z", 2] == ("none", None)
    assert fields["b", "z", 2] == ("local", 7)
    assert fields["y", "x", 2] == fields["y", "z", 2] == ("local", 1)


def test_an_input_sees_itself() -> None:
    """One row, with a stride of one."""
    row = field("g (float[1, 1, 20] x) => (y) { y = Relu(x) }", "y")
    assert (row.size, row.stride, row.padding, row.first_center) == (1, "1", 0, 0.0)
