"""Clipped fields of small nets against a run: every input row is changed in turn, several times, in onnxruntime, and
for every element of every tensor the first and the last row are noted that it takes notice of.
"""

from __future__ import annotations

import json
import time
from typing import Any
from xml.etree import ElementTree

import numpy as np
import onnx
import onnx.parser
import pytest
from onnx import numpy_helper

from analyzer import BadOption, Options, clipped_field
from analyzer.analysis import look
from analyzer.cli import main
from analyzer.describe import describe
from analyzer.load import load
from analyzer.passes import clipped, receptive_field
from analyzer.passes.clipped import Seen
from analyzer.spans.ends import NOTHING_SEEN
from tests.conftest import LIGHT_MODELS, light, shipped

Array = np.ndarray[Any, np.dtype[Any]]
CHANGES = (1.0, -1.0, 30.0, -30.0, 0.3)
NONE = -1

W3 = "float[1, 2, 3, 1] w = {1, 2, 3, 4, 5, 6}"
PICTURE = "float[1, 2, 7, 5] x"

NETS = {
    "windows-that-drop-the-last-rows": (
        f"g (float[1, 2, 13, 5] x) => (a, b, c) <{W3}> {{ a = Conv <strides = [2, 1], pads = [1, 0, 0, 0]> (x, w) "
        "b = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (a) "
        'c = AveragePool <kernel_shape = [3, 1], auto_pad = "SAME_LOWER", strides = [2, 1]> (x) }'
    ),
    "a-window-wholly-in-the-padding-sees-nothing": (
        f"g ({PICTURE}) => (a) <{W3}> {{ a = Conv <pads = [4, 0, 5, 0]> (x, w) }}"
    ),
    "a-dilated-window-beside-a-border": (
        f"g ({PICTURE}) => (a) <{W3}> {{ a = Conv <pads = [4, 0, 4, 0], dilations = [3, 1], strides = [2, 1]> "
        f"(x, w) }}"
    ),
    "channels-that-see-differently-into-groups": (
        f"g ({PICTURE}) => (c, d, e) <float[2, 2, 3, 1] w = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3}}, "
        "float[4, 1, 1, 1] v = {1, 2, 3, 4}, int64[2] parts = {3, 1}> { a = Conv <pads = [1, 0, 1, 0]> (x, w) "
        "b = Concat <axis = 1> (x, a) c = Conv <group = 4> (b, v) d, e = Split <axis = 1> (c, parts) }"
    ),
    "a-transposed-convolution-with-a-kernel-below-its-stride": (
        f"g ({PICTURE}) => (a, b) <float[2, 1, 2, 1] v = {{1, 2, 3, 4}}, float[1, 1, 3, 1] u = {{1, 2, 3}}> "
        "{ a = ConvTranspose <strides = [3, 1], output_padding = [1, 0]> (x, v) b = Conv(a, u) }"
    ),
    "a-transposed-convolution-of-groups": (
        f"g ({PICTURE}) => (a) <float[2, 1, 3, 1] v = {{1, 2, 3, 4, 5, 6}}> "
        "{ a = ConvTranspose <strides = [2, 1], group = 2, pads = [1, 0, 0, 0], dilations = [2, 1]> (x, v) }"
    ),
    "weights-that-come-from-the-input": (
        f"g ({PICTURE}) => (a, b) <int64[2] s = {{0, 0}}, int64[2] e = {{3, 2}}, int64[2] along = {{2, 3}}, "
        "int64[4] shape = {2, 2, 3, 1}> { cut = Slice(x, s, e, along) w = Reshape(cut, shape) "
        "a = Conv <pads = [1, 0, 1, 0]> (x, w) b = ConvTranspose <strides = [2, 1]> (x, w) }"
    ),
    "tokens-through-a-layer-norm-and-back": (
        "g (float[1, 2, 8, 6] x) => (d, e) <float[3, 2, 2, 2] w, float[3] scale = {1, 2, 3}, int64[3] line = "
        "{1, 3, 12}, "
        "int64[4] grid = {1, 3, 4, 3}, float[1, 3, 2, 2] v> { a = Conv <strides = [2, 2]> (x, w) b = "
        "Reshape(a, line) "
        "c = Transpose <perm = [0, 2, 1]> (b) n = LayerNormalization(c, scale) t = Transpose <perm = [0, 2, 1]> (n) "
        "d = Reshape(t, grid) e = Conv(d, v) }"
    ),
    "attention-in-windows-stays-in-them": (
        "g (float[1, 3, 6, 4] x) => (f) <int64[6] cut = {1, 3, 2, 3, 2, 2}, int64[3] windows = {4, 6, 3}, "
        "int64[6] back = {1, 2, 2, 3, 2, 3}, int64[4] grid = {1, 3, 6, 4}> { a = Reshape(x, cut) "
        "b = Transpose <perm = [0, 2, 4, 3, 5, 1]> (a) t = Reshape(b, windows) k = Transpose <perm = [0, 2, 1]> (t) "
        "s = MatMul(t, k) p = Softmax(s) o = MatMul(p, t) c = Reshape(o, back) "
        "d = Transpose <perm = [0, 5, 1, 3, 2, 4]> (c) f = Reshape(d, grid) }"
    ),
    "pixels-for-channels": (
        "g (float[1, 4, 6, 4] x) => (c, d, e, f) <float[4, 4, 3, 1] w> { a = Conv <pads = [1, 0, 1, 0]> (x, w) "
        "b = Concat <axis = 1> (x, a) c = DepthToSpace <blocksize = 2> (b) "
        'd = DepthToSpace <blocksize = 2, mode = "CRD"> (b) e = SpaceToDepth <blocksize = 2> (c) f = Neg(e) }'
    ),
    "rows-in-another-order": (
        f"g ({PICTURE}) => (a, b, c, d) <int64[1] start = {{-1}}, int64[1] end = {{-99}}, int64[1] two = {{2}}, "
        "int64[1] back = {-2}, int64[4] times = {1, 2, 3, 1}, int64[2, 2] rows = {3, 1, -1, 3}, int64 one = {-2}> "
        "{ a = Slice(x, start, end, two, back) b = Tile(x, times) c = Gather <axis = 2> (x, rows) "
        "d = Gather <axis = 2> (x, one) }"
    ),
    "a-shifted-picture": (
        f"g ({PICTURE}) => (r, c) <{W3}, int64[1] zero = {{0}}, int64[1] three = {{3}}, int64[1] end = "
        f"{{99}}, int64[1] two = {{2}}> "
        "{ a = Slice(x, three, end, two) b = Slice(x, zero, three, two) r = Concat <axis = 2> (a, b) c = Conv(r, w) }"
    ),
    "parts-of-one-row": (
        f"g ({PICTURE}) => (c) <int64[1] zero = {{0}}, int64[1] one = {{1}}, int64[1] five = {{5}}, int64[1] "
        f"six = {{6}}, int64[1] two = {{2}}> "
        "{ a = Slice(x, zero, one, two) b = Slice(x, five, six, two) c = Concat <axis = 2> (a, b, a) }"
    ),
    "ways-to-pad": (
        f"g ({PICTURE}) => (a, b, c, d) <int64[8] p = {{0, 0, 3, 1, 0, 0, 2, 2}}, int64[8] q = {{0, 0, -2, 1, "
        f"0, 0, 3, -1}}> "
        '{ a = Pad <mode = "reflect"> (x, p) b = Pad <mode = "edge"> (x, q) c = Pad <mode = "wrap"> (x, p) d '
        '= Pad(x, q) }'
    ),
    "elements-by-number": (
        "g (float[1, 2, 4, 3] x) => (a, b, c, d) <int64[1, 2, 2, 3] i = {3, 0, 1, 2, 2, 0, 1, 1, 3, 0, 3, 2}, "
        "int64[3, 3] j = {0, 0, 2, 0, 1, 0, 0, 0, 2}, int64 k = {1}> { a = GatherElements <axis = 2> (x, i) "
        "b = GatherND(x, j) n = Neg(b) c = ScatterND(x, j, n) d = Trilu <upper = 0> (x, k) }"
    ),
    "elements-that-are-added-up": (
        "g (float[1, 1, 4, 3] x) => (a) <int64[3, 3] j = {0, 0, 2, 0, 0, 0, 0, 0, 2}> "
        '{ b = GatherND(x, j) a = ScatterND <reduction = "add"> (x, j, b) }'
    ),
    "each-sample-reversed-as-far-as-told": (
        "g (float[4, 3, 2] x) => (a) <int64[3] lengths = {1, 4, 3}> { a = ReverseSequence(x, lengths) }"
    ),
    "running-sums": (
        f"g ({PICTURE}) => (a, b) <int64 two = {{2}}> {{ a = CumSum <exclusive = 1> (x, two) "
        "b = CumSum <reverse = 1> (x, two) }"
    ),
    "both-ways-of-a-recurrent-layer": (
        "g (float[5, 2, 2] x) => (y, f, b) <float[2, 2, 2] w, float[2, 2, 2] r> "
        '{ y = RNN <hidden_size = 2, direction = "bidirectional"> (x, w, r) f, b = Split <axis = 1, '
        'num_outputs = 2> (y) }'
    ),
    "statistics": (
        f"g ({PICTURE}) => (a, b, c, d, e) <float[2] one = {{1, 1}}, int64[1] three = {{3}}> "
        "{ a = InstanceNormalization(x, one, one) b = ReduceMean(x, three) c = LRN <size = 1> (x) "
        "d = GroupNormalization <num_groups = 2> (x, one, one) g0 = GlobalAveragePool(x) e = Mul(x, g0) }"
    ),
    "contractions": (
        "g (float[1, 2, 4, 3] x) => (a, b, c) <float[3, 2] w, int64[3] square = {2, 2, 6}> "
        '{ a = MatMul(x, w) b = Einsum <equation = "bchw, bcdw -> bhd"> (x, x) c = Einsum <equation = "bchw '
        '-> bwh"> (x) }'
    ),
    "columns-folded-into-a-picture": (
        "g (float[1, 12, 3, 4] x) => (y) <int64[3] line = {1, 12, 12}, int64[2] image = {7, 4}, int64[2] "
        "block = {3, 2}> "
        "{ c = Reshape(x, line) y = Col2Im <pads = [1, 0, 1, 0], strides = [2, 1]> (c, image, block) }"
    ),
    "a-known-branch": (
        "g (float[1, 1, 12] x) => (y) <float[1, 1, 3] w = {1, 1, 1}, bool taken = {1}> { a = Conv <pads = "
        "[1, 1]> (x, w) "
        "y = If (taken) <then_branch = t () => (float[1, 1, 12] o) { o = Conv <pads = [1, 1]> (a, w) }, "
        "else_branch = e () => (float[1, 1, 12] p) { p = Neg(x) }> }"
    ),
    "a-loop-widens-the-field-each-turn": (
        "g (float[1, 1, 12] x) => (y, z) <float[1, 1, 3] w = {1, 1, 1}, int64 n = {3}, bool on = {1}> { y, z "
        "= Loop (n, on, x) "
        "<body = b (int64 i, bool c, float[1, 1, 12] s) => (bool d, float[1, 1, 12] t, float[1, 1, 12] o) "
        "{ d = Identity(c) t = Conv <pads = [1, 1]> (s, w) o = Neg(t) }> }"
    ),
    "a-scan-from-either-end": (
        "g (float[6, 4] x) => (f, z) <float[6] h = {0, 0, 0, 0, 0, 0}> { f, z = Scan <num_scan_inputs = 1, "
        "scan_input_directions = [1], scan_input_axes = [1], scan_output_directions = [1], scan_output_axes = [1], "
        "body = b (float[6] s, float[6] r) => (float[6] t, float[6] o) { t = Add(s, r) o = Neg(t) }> (h, x) }"
    ),
}  # fmt: skip

RESIZED = [
    (mode, transform, scale)
    for mode in ("nearest", "linear", "cubic")
    for transform in ("half_pixel", "pytorch_half_pixel", "asymmetric", "align_corners")
    for scale in (2.0, 0.5, 1.7, 0.61)
]


def parsed(text: str) -> onnx.ModelProto:
    """A graph in ONNX text; what is stored without numbers gets some. All tensors are outputs."""
    model = onnx.parser.parse_model(f'<ir_version: 10, opset_import: ["": 21]>\n{text}')
    rng = np.random.default_rng(1)
    for info in model.graph.value_info:
        shape = [dim.dim_value for dim in info.type.tensor_type.shape.dim]
        stored = rng.uniform(0.2, 0.6, shape).astype(np.float32)
        model.graph.initializer.append(numpy_helper.from_array(stored, info.name))
    del model.graph.value_info[:]
    named = {output.name for output in model.graph.output}
    for node in model.graph.node:
        model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name not in named)
    return model


def ran(model: onnx.ModelProto) -> dict[tuple[int, str], tuple[Array, Array]]:
    """By axis of x and tensor: the first and the last row that each element notices, NONE where it notices none."""
    runtime = pytest.importorskip("onnxruntime")
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    (info,) = session.get_inputs()
    rng = np.random.default_rng(0)
    fed = rng.uniform(0.1, 1, info.shape).astype(np.float32)
    names = [output.name for output in session.get_outputs()]
    base = session.run(names, {"x": fed})
    found = {}
    for axis, length in enumerate(info.shape):
        noticed = [np.zeros((length, *made.shape), bool) for made in base]
        for row in range(length):
            for change in CHANGES:
                other = fed.copy()
                other[(slice(None),) * axis + (row,)] += change * rng.uniform(0.5, 1)
                for hits, before, after in zip(noticed, base, session.run(names, {"x": other}), strict=True):
                    hits[row] |= before != after
        for name, hits in zip(names, noticed, strict=True):
            some = hits.any(axis=0)
            first, last = hits.argmax(axis=0), length - 1 - hits[::-1].argmax(axis=0)
            found[axis, name] = np.where(some, first, NONE), np.where(some, last, NONE)
    return found


def told(seen: Seen | None, shape: tuple[int, ...]) -> tuple[Array, Array]:
    """The same as the analysis has it."""
    if seen is None:
        return np.full(shape, NONE), np.full(shape, NONE)
    first, last = np.broadcast_to(seen.ends, (2, *shape))
    none = first == NOTHING_SEEN
    return np.where(none, NONE, first), np.where(none, NONE, -last)


def check(model: onnx.ModelProto) -> None:
    """Every element of every tensor sees what a run shows that it sees, and the analysis is sure of it."""
    found = clipped.trace(describe(load(model.SerializeToString()), Options()))
    for (axis, name), ends in ran(model).items():
        seen = found.views[name][found.axes.index(("x", axis))] if name in found.views else None
        assert seen is None or seen.trust == "exact", name
        for side, shown in zip(told(seen, ends[0].shape), ends, strict=True):
            np.testing.assert_array_equal(side, shown, err_msg=f"{name} of axis {axis}")


@pytest.mark.parametrize("name", NETS)
def test_each_element_sees_what_it_notices_in_a_run(name: str) -> None:
    """First and last row of every input axis, for every element of every tensor."""
    check(parsed(NETS[name]))


@pytest.mark.parametrize(("mode", "transform", "scale"), RESIZED)
def test_a_resized_axis_reads_what_it_notices_in_a_run(mode: str, transform: str, scale: float) -> None:
    """Borders repeat, rows of weight zero are not read, and ties fall as single precision has them."""
    check(
        parsed(
            f"g (float[1, 1, 9, 1] x) => (y) <float[4] s = {{1, 1, {scale}, 1}}> "
            f'{{ y = Resize <mode = "{mode}", coordinate_transformation_mode = "{transform}"> (x, , s) }}'
        )
    )


DECIDED_BY_THE_DATA = {
    "coordinates": (
        "g (float[1, 1, 6, 4] x) => (y) <int64[4] shape = {1, 3, 4, 2}> "
        "{ grid = Reshape(x, shape) y = GridSample(x, grid) }"
    ),
    "places-of-maxima": (
        "g (float[1, 1, 4, 4] x) => (y) { m, i = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (x) "
        "y = MaxUnpool <kernel_shape = [2, 2], strides = [2, 2]> (m, i) }"
    ),
    "a-branch": (
        "g (float[6] x) => (y) <float zero = {0}> { total = ReduceSum <keepdims = 0> (x) "
        "more = Greater(total, zero) y = If (more) <then_branch = t () => (float[6] o) { o = Relu(x) }, "
        "else_branch = e () => (float[6] p) { p = Neg(x) }> }"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DECIDED_BY_THE_DATA)
def test_what_the_data_decides_is_held_to_see_all_and_marked(name: str) -> None:
    """Nothing is noticed outside of what is told, and what is told is marked as an upper bound."""
    model = parsed(DECIDED_BY_THE_DATA[name])
    found = clipped.trace(describe(load(model.SerializeToString()), Options()))
    seen = found.views["y"]
    assert "data_dependent" in {view.trust for view in seen if view is not None}
    for (axis, tensor), (first, last) in ran(model).items():
        low, high = told(found.views[tensor][axis], first.shape)
        assert ((first == NONE) | ((low <= first) & (last <= high))).all()


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_the_clipped_field_lies_in_that_of_the_infinite_canvas(name: str) -> None:
    """Two ways of working it out: nothing that is seen lies outside of the window of the position."""
    scene = describe(load(light(name)), Options())
    found, canvas = clipped.trace(scene), receptive_field.trace(scene)
    windows = 0
    for tensor, views in canvas.views.items():
        for place, view in enumerate(views):
            if view is None or view.reach is None or len(view.digits) != 1:
                continue
            seen, digit, size = found.views[tensor][place], view.digits[0], scene.size(tensor)
            assert seen is not None
            assert size is not None
            for index in range(size.shape[digit.axis]):
                rows = seen.at({digit.axis: index})
                low, high = view.reach.rows(index // digit.low % digit.extent)
                assert rows is None or (
                    low is not None and high is not None and low <= rows[0] <= rows[1] <= high
                )
                windows += 1
    assert windows > 100


def test_rows_that_a_later_layer_drops_are_not_seen() -> None:
    """Of AlexNet's last column of r4 rows 219 to 223 are read by nothing behind pool1: measured in onnxruntime."""
    seen = clipped_field(light("bvlc_alexnet"), tensor="r4", at={2: 24})
    assert seen[("data_0", 2)] == (176, 218)
    assert seen[("data_0", 3)] == (0, 218)
    assert seen[("data_0", 1)] == (0, 2)


def test_all_tensors_of_densenet_take_less_than_two_seconds() -> None:
    """Both spatial axes of 668 tensors."""
    scene = describe(load(light("densenet121")), Options())
    started = time.process_time()
    found = clipped.trace(scene, axes=[("data_0", 2), ("data_0", 3)])
    assert time.process_time() - started < 2
    assert len(found.views) > 600


def test_a_tensor_of_a_functions_body_goes_by_its_scope() -> None:
    """Its name is that of the report."""
    model = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 21, "l": 1]> g (float[1, 1, 12] x) => (y) <float[1, 1, 3] w = '
        "{1, 1, 1}> "
        '{ a = l.f(x, w) y = l.f(a, w) } <domain: "l", opset_import: ["": 21]> '
        "f (p, q) => (r) { s = Conv <pads = [1, 1]> (p, q) r = Relu(s) }"
    )
    assert clipped_field(model.SerializeToString(), "f_0/s", {2: 5})[("x", 2)] == (4, 6)
    assert clipped_field(model.SerializeToString(), "y", {2: 5})[("x", 2)] == (3, 7)


@pytest.mark.parametrize(
    ("tensor", "at", "reason"),
    [
        ("nobody", {}, "UNKNOWN_TENSOR"),
        ("pool5", {4: 0}, "UNKNOWN_AXIS"),
        ("pool5", {2: 7}, "UNKNOWN_POSITION"),
    ],
)
def test_what_does_not_exist_is_refused(tensor: str, at: dict[int, int], reason: str) -> None:
    """A tensor, an axis, a position."""
    with pytest.raises(BadOption) as refused:
        clipped_field(shipped("vgg16"), tensor, at)
    assert refused.value.reason == reason


def test_a_position_counts_from_the_end_where_negative() -> None:
    """The last row of a tensor."""
    assert clipped_field(shipped("vgg16"), "pool5", {-2: -1}) == clipped_field(
        shipped("vgg16"), "pool5", {2: 6}
    )


def test_the_command_tells_what_python_tells(capsys: pytest.CaptureFixture[str]) -> None:
    """`field --format json` and `clipped_field`."""
    command = ["field", str(shipped("vgg16")), "pool5", "--at", "2=3", "--format", "json"]
    assert main(command) == 0
    shown = json.loads(capsys.readouterr().out)
    rows = {(sight["input"], sight["axis"]): tuple(sight["rows"]) for sight in shown["seen"]}
    assert rows == clipped_field(shipped("vgg16"), "pool5", {2: 3})


def test_the_picture_shows_the_rows_in_proportion() -> None:
    """The field's rectangle lies in the input's as the rows do."""
    from analyzer.render import field

    found = look(shipped("resnet50"), "layer2.0.add", {2: 3, 3: 20})
    sights = {sight.axis: sight for sight in found.seen}
    drawn = ElementTree.fromstring(field.svg(found))
    whole, part = (
        next(
            {key: float(box.get(key, 0)) for key in ("x", "y", "width", "height")}
            for box in drawn.iter("{http://www.w3.org/2000/svg}rect")
            if box.get("class") == name
        )
        for name in ("input", "field")
    )
    for axis, at, extent in ((2, "y", "height"), (3, "x", "width")):
        rows = sights[axis].rows
        assert rows is not None
        assert (part[at] - whole[at]) / whole[extent] == pytest.approx(
            rows[0] / sights[axis].length, abs=1e-3
        )
        assert part[extent] / whole[extent] == pytest.approx(
            (rows[1] - rows[0] + 1) / sights[axis].length, abs=1e-3
        )
