"""The infinite canvas where positions are cut up, sizes are free, or windows lie apart; and what is seen of an input.

Each figure is drawn or worked out beside the net; that nothing is seen outside of it is held against the clipped
fields, which are held against runs elsewhere.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import onnx.parser
import pytest

from analyzer import Options, Report, analyze
from analyzer.describe import Scene, describe
from analyzer.load import load
from analyzer.passes import clipped, receptive_field
from analyzer.passes.receptive_field import View
from analyzer.report import CoverageRow, FieldRow, LocalField
from analyzer.spans.ends import NOTHING_SEEN
from tests.conftest import LIGHT_MODELS, light
from tests.core.test_clipped_fields import NETS, parsed


class Net(NamedTuple):
    """A net over x, a tensor, and its field along axis 2 of x; `rest` is what is left without what is global."""

    text: str
    tensor: str
    status: str
    size: int | None = None
    stride: str | None = None
    padding: int | None = None
    rest: LocalField | None = None


PATCHES = "int64[6] cut = {1, 2, 3, 4, 2, 4}, int64[3] line = {1, 6, 32}, float[32, 3] w"

CUT_UP = {
    # rows 0..3 are in patch 0, 4..7 in patch 1: a product over a patch sees 4 rows, and 4 on from patch to patch
    "patches-by-a-reshape": Net(
        f"g (float[1, 2, 12, 8] x) => (y) <{PATCHES}> {{ a = Reshape(x, cut) "
        "b = Transpose <perm = [0, 2, 4, 1, 3, 5]> (a) c = Reshape(b, line) y = MatMul(c, w) }",
        "y", "local", 4, "4", 0,
    ),
    # before the product a token's own elements see one row each: row 4*q + r for element r of patch q
    "elements-of-patches": Net(
        f"g (float[1, 2, 12, 8] x) => (c) <{PATCHES}> {{ a = Reshape(x, cut) "
        "b = Transpose <perm = [0, 2, 4, 1, 3, 5]> (a) c = Reshape(b, line) y = MatMul(c, w) }",
        "c", "local", 1, "1", 0,
    ),
    # rows 3*q to 3*q + 2 see the same three: positions are windows, 3 on from one to the next
    "attention-in-windows": Net(NETS["attention-in-windows-stays-in-them"], "f", "local", 3, "3", 0),
    # every row of the score matrix holds a query's window and a key's, any distance apart
    "scores": Net(
        "g (float[1, 1, 6, 4] x) => (s) { k = Transpose <perm = [0, 1, 3, 2]> (x) s = MatMul(x, k) }", "s", "global"
    ),
    # the result of attention sees all; beside it the shortcut sees the token's own row
    "attention-beside-a-shortcut": Net(
        "g (float[1, 1, 6, 4] x) => (y) { k = Transpose <perm = [0, 1, 3, 2]> (x) s = MatMul(x, k) p = Softmax(s) "
        "o = MatMul(p, x) y = Add(o, x) }",
        "y", "global", rest=LocalField(1, "1", 0),
    ),
    # the first row for all rows, beside each one's own
    "a-row-for-all": Net(
        "g (float[1, 1, 6, 4] x) => (y) <int64[1] b = {0}, int64[1] e = {1}, int64[1] h = {2}> "
        "{ a = Slice(x, b, e, h) y = Sub(x, a) }",
        "y", "global", rest=LocalField(1, "1", 0),
    ),
    # a pool as large as the map has one position, which gates all of them
    "a-gate-by-a-window": Net(
        "g (float[1, 1, 6, 4] x) => (y) { p = AveragePool <kernel_shape = [6, 4]> (x) y = Mul(x, p) }",
        "y", "global", rest=LocalField(1, "1", 0),
    ),
    # rows 0 and 1 only: as many positions are left
    "a-part-then-a-reshape": Net(
        "g (float[1, 1, 6, 4] x) => (y, b) <int64[2] parts = {2, 4}, int64[2] flat = {4, 2}> "
        "{ a, b = Split <axis = 2> (x, parts) t = Transpose <perm = [3, 2, 0, 1]> (a) y = Reshape(t, flat) }",
        "y", "local", 1, "1", 0,
    ),
    # 1x1 in windows, then back: as if there had been none
    "windows-and-back": Net(
        "g (float[1, 1, 6, 4] x) => (y) <int64[5] cut = {1, 2, 3, 2, 2}, int64[4] whole = {1, 1, 6, 4}, float[2, 2] w, "
        "float[1, 1, 3, 1] v> { a = Reshape(x, cut) b = Relu(a) c = Reshape(b, whole) y = Conv(c, v) }",
        "y", "local", 3, "1", 0,
    ),
}  # fmt: skip


def field(report: Report, tensor: str, axis: int = 2) -> FieldRow:
    (row,) = (row for row in report.receptive_fields if (row.tensor, row.axis) == (tensor, axis))
    return row


@pytest.mark.parametrize("name", CUT_UP)
def test_the_field_where_a_reshape_cuts_positions_up(name: str) -> None:
    """Status, size, stride and padding as drawn; a global field keeps what is beside it."""
    net = CUT_UP[name]
    row = field(analyze(parsed(net.text).SerializeToString()), net.tensor)
    assert (row.status, row.size, row.stride, row.padding) == net[2:6]
    assert row.without_global == net.rest


def outside(scene: Scene, name: str, view: View, seen: clipped.Seen) -> int:
    """Elements that see rows outside of the window of their position."""
    size, reach = scene.size(name), view.reach
    assert size is not None
    assert reach is not None
    position: Any = np.zeros((1,) * size.rank, int)
    for digit in view.digits:
        along = (np.arange(size.shape[digit.axis]) // digit.low) % digit.extent * digit.step
        position = position + along.reshape([-1 if axis == digit.axis else 1 for axis in range(size.rank)])
    windows = np.array([reach.rows(int(at)) for at in position.reshape(-1)], object).reshape(
        *position.shape, 2
    )
    first, last = seen.ends[0], -seen.ends[1]
    return int(((first != NOTHING_SEEN) & ((windows[..., 0] > first) | (windows[..., 1] < last))).sum())


@pytest.mark.parametrize(
    "name", sorted({*CUT_UP, *NETS} - {"ways-to-pad"})
)  # a mirror shows rows from inside
def test_nothing_is_seen_outside_of_the_canvas_windows(name: str) -> None:
    """For every element of every tensor that has a window, clipped and canvas being worked out apart."""
    text = CUT_UP[name].text if name in CUT_UP else NETS[name]
    scene = describe(load(parsed(text).SerializeToString()), Options())
    ends, canvas = clipped.trace(scene), receptive_field.trace(scene)
    for tensor, views in canvas.views.items():
        for place, view in enumerate(views):
            if (
                view is not None
                and view.reach is not None
                and None not in (*view.reach.lows, *view.reach.highs)
            ):
                seen = ends.views[tensor][place]
                assert seen is not None
                assert outside(scene, tensor, view, seen) == 0, (tensor, canvas.axes[place])


FREE = (
    '<ir_version: 10, opset_import: ["": 21]> g (float[1, 1, h, 9] x) => (y, z) <float[1, 1, 3, 3] w = '
    "{1, 1, 1, 1, 1, 1, 1, 1, 1}> "
    '{ y = Conv <auto_pad = "SAME_UPPER"> (x, w) z = Conv <auto_pad = "SAME_UPPER", strides = [2, 2]> (y, w) }'
)


def test_padding_that_hangs_on_a_size_that_nobody_said_is_not_told() -> None:
    """A strided SAME window of 3 has a row of padding at the start of an odd size, and none of an even one; its size
    and stride are the same. Without a stride so is its padding.
    """
    model = onnx.parser.parse_model(FREE).SerializeToString()
    free = analyze(model)
    assert (field(free, "y").padding, field(free, "y").first_center) == (1, 0.0)
    row = field(free, "z")
    assert (row.size, row.stride, row.padding, row.first_center) == (5, "2", None, None)
    assert field(free, "z", axis=3).padding == 2
    bound = {h: field(analyze(model, Options(dims={"h": h})), "z").padding for h in (8, 9)}
    assert bound == {8: 1, 9: 2}


def coverage(model: Any) -> dict[int, CoverageRow]:
    return {row.axis: row for row in analyze(model, Options(details=("coverage",))).coverage}


@pytest.mark.parametrize("name", LIGHT_MODELS)
def test_where_the_field_exceeds_the_input_is_the_first_row_that_says_so(name: str) -> None:
    """Two places of one report."""
    report = analyze(light(name), Options(details=("coverage",)))
    first = next((row.tensor for row in report.receptive_fields if row.axis == 2 and row.exceeds_input), None)
    (row,) = (row for row in report.coverage if row.axis == 2)
    assert row.exceeds_at == first


def test_rows_that_no_output_sees_are_counted() -> None:
    """3/2 windows on 10 rows: 0..2, 2..4, 4..6, 6..8; row 9 is dropped. A crop drops two rows at the start."""
    model = parsed(
        "g (float[1, 1, 10] x) => (y) <float[1, 1, 3] w, "
        "int64[6] pads = {0, 0, -2, 0, 0, 0}> { a = Pad(x, pads) y = Conv <strides = [2]> (a, w) }"
    )
    del model.graph.output[1:]
    row = coverage(model.SerializeToString())[2]
    assert (row.unseen_head, row.unseen_tail) == (2, 1)
    assert (row.last_spatial, row.share_seen) == ("y", 0.3)


def test_a_layer_behind_what_sees_everything_is_unproductive() -> None:
    """Fields of 3, 5, 7, 9, 11 rows on an input of 8: the fifth layer reads what sees more than all of it, the fourth
    does not; a shortcut past the first four leaves the fifth a narrow path, and productive.
    """
    layers = " ".join(f"t{i + 1} = Conv <pads = [1, 1]> (t{i}, w)" for i in range(4))
    plain = f"g (float[1, 1, 8] t0) => (y) <float[1, 1, 3] w> {{ {layers} y = Conv <pads = [1, 1]> (t4, w) }}"
    jumps = plain.replace(
        "y = Conv <pads = [1, 1]> (t4, w)", "s = Add(t4, t0) y = Conv <pads = [1, 1]> (s, w)"
    )
    last = load(parsed(plain).SerializeToString()).graph.nodes[-1].name
    assert coverage(parsed(plain).SerializeToString())[2].unproductive == (last,)
    assert coverage(parsed(jumps).SerializeToString())[2].unproductive == ()
