"""Loops on the infinite canvas: composed turn by turn, or told by place among the turns.

Figures are drawn beside the nets; the same nets are run in `tests/fields/deciding.py`. Nothing is seen outside of the
windows that are told, which is held against the clipped fields of another room.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from analyzer import analyze
from analyzer.describe import describe
from analyzer.load import load
from analyzer.options import Options
from analyzer.passes import clipped, receptive_field
from tests.conftest import text_model
from tests.core.test_canvas import outside
from tests.fields import deciding

LOCAL, NONE = ("local", 1, "1", 0), ("none", None, None, None)
WIDE = ("local", 7, "1", 3)


class Told(NamedTuple):
    """Status, size, stride and padding by tensor, input and axis."""

    text: str
    fields: dict[tuple[str, str, int], tuple[str, int | None, str | None, int | None]]


def drawn(name: str) -> str:
    return deciding.NETS[name].text


def unknown(body: str) -> str:
    """A loop of which nobody knows how often it turns."""
    return (
        "g (float[1, 1, 9] x, int64[1] n) => (y) <bool c = {1}, float[1, 1, 3] w = {1, 1, 1}> "
        f"{{ y = Loop (n, c, x) <body = b (int64 i, bool d, float[1, 1, 9] s) => (d, t) {{ {body} }}> }}"
    )


NETS = {
    # three convolutions of three rows: 3 + 2 + 2
    "three-turns": Told(drawn("a-loop"), {("y", "x", 2): WIDE, ("y", "x", 0): LOCAL}),
    "three-turns-that-shrink": Told(drawn("a-loop-that-shrinks"), {("y", "x", 2): ("local", 7, "1", 0)}),
    "what-every-turn-left": Told(drawn("a-loop-that-stacks"), {("y", "x", 2): WIDE, ("z", "x", 2): WIDE}),
    "what-is-captured": Told(drawn("a-loop-that-captures"), {("y", "x", 2): ("local", 3, "1", 1)}),
    "four-turns-by-two-and-two": Told(drawn("a-loop-within-a-loop"), {("y", "x", 2): ("local", 9, "1", 4)}),
    # each turn sees more than the one before, and nobody knows how many there are
    "turns-without-end": Told(
        unknown("t = Conv <pads = [1, 1]> (s, w)"), {("y", "x", 2): ("opaque", None, None, None)}
    ),
    "turns-that-see-no-more": Told(
        unknown("t = Relu(s)"),
        {("y", "x", 2): LOCAL, ("y", "n", 0): ("data_dependent", None, None, None)},
    ),
    "rows-so-far": Told(
        drawn("a-scan"),
        {
            ("y", "x", 0): ("prefix", None, None, None),
            ("y", "x", 1): LOCAL,
            ("y", "z", 0): LOCAL,
            ("h", "x", 0): ("global", None, None, None),
        },
    ),
    "rows-from-here-on": Told(
        drawn("a-scan-from-the-end"),
        {
            ("y", "x", 0): ("suffix", None, None, None),
            ("y", "x", 1): LOCAL,
            ("h", "x", 0): ("global", None, None, None),
        },
    ),
    "rows-by-themselves": Told(
        drawn("a-scan-that-carries-nothing"),
        {("y", "x", 0): LOCAL, ("y", "x", 1): LOCAL, ("z", "x", 0): ("opaque", None, None, None)},
    ),
    "the-last-row": Told(
        drawn("a-scan-that-delays"),
        {("h", "x", 0): ("local", 1, "1", -5), ("y", "x", 0): ("prefix", None, None, None)},
    ),
    "columns-by-themselves": Told(
        drawn("a-scan-of-columns"), {("y", "x", 1): LOCAL, ("y", "x", 2): ("local", 3, "1", 1)}
    ),
}


@pytest.mark.parametrize("name", NETS)
def test_what_a_loops_results_see(name: str) -> None:
    """As composed by hand."""
    net = NETS[name]
    rows = {(row.tensor, row.input, row.axis): row for row in analyze(text_model(net.text)).receptive_fields}
    for at, told in net.fields.items():
        row = rows[at]
        assert (row.status, row.size, row.stride, row.padding) == told, at


@pytest.mark.parametrize("name", NETS)
def test_nothing_is_seen_outside_of_a_loops_windows(name: str) -> None:
    """For every element of every tensor that has a window."""
    scene = describe(load(text_model(NETS[name].text)), Options())
    ends, canvas = clipped.trace(scene), receptive_field.trace(scene)
    checked = 0
    for tensor, views in canvas.views.items():
        for place, view in enumerate(views):
            seen = ends.views[tensor][place]
            if view is not None and view.reach is not None:
                assert seen is not None
                assert outside(scene, tensor, view, seen) == 0, (tensor, canvas.axes[place])
                checked += 1
    assert checked
