"""The roofline: bytes that a node moves, what it waits for, and the least time of a pass."""

from __future__ import annotations

import pytest

from analyzer import Options, Report, analyze
from analyzer.devices import Device, find
from analyzer.report import Roofline
from analyzer.wire import from_message, to_message
from tests.conftest import MODELS, text_model

ROUND = Device(
    name="round",
    memory_bytes=1 << 30,
    bytes_per_second=1_000_000,
    flops_per_second={"float32": 10_000_000, "float16": 100_000_000},
)
"""Ten operations of float32 for each byte."""
WEIGHT = 'w = ["location": "weights.bin"]>'


def drawn(text: str, device: Device = ROUND) -> tuple[Roofline, Report]:
    report = analyze(text_model(text.replace("w>", WEIGHT)), Options(device=device))
    assert report.roofline is not None
    return report.roofline, report


@pytest.mark.parametrize(
    ("text", "moved", "flops", "bound"),
    [
        # 8x1024 and 1024x1024 in, 8x1024 out; 8 * 1024 * 1024 multiply-accumulates: 3.9 operations a byte
        ("g (float[8,1024] x) => (float[8,1024] y) <float[1024,1024] w> { y = MatMul(x, w) }",
         4 * (8192 + 1048576 + 8192), 2 * 8 * 1024 * 1024, "memory"),
        # the same weight for 1024 rows: 170 operations a byte
        ("g (float[1024,1024] x) => (float[1024,1024] y) <float[1024,1024] w> { y = MatMul(x, w) }",
         4 * 3 * 1048576, 2 * 1024**3, "compute"),
        # one operand twice is brought once
        ("g (float[64] x) => (float[64] y) { y = Add(x, x) }", 4 * 128, 64, "memory"),
        # of a table of 1000 rows three are read; indices are operands, but what only moves reads no more than it writes
        ("g (int64[3] i) => (float[3,16] y) <float[1000,16] w> { y = Gather(w, i) }", 4 * 2 * 48, 0, "memory"),
        ("g (float[8,8] x) => (float[64] y) { y = Flatten<axis = 0>(x) }", 0, 0, None),
        ("g (float[4,3] x) => (float[3,4] y) { y = Transpose<perm = [1, 0]>(x) }", 4 * 24, 0, "memory"),
        # a 3x3 window over 3 channels of 10x10, 8 filters, 8x8 out
        ("g (float[1,3,10,10] x) => (float[1,8,8,8] y) <float[8,3,3,3] w> { y = Conv(x, w) }",
         4 * (300 + 216 + 512), 2 * 512 * 27, "memory"),
    ],
)  # fmt: skip
def test_a_node_is_placed_by_hand(text: str, moved: int, flops: int, bound: str | None) -> None:
    """Bytes and operations worked out beside each graph; the longer of the two times counts."""
    roofline, report = drawn(text)
    row = roofline.nodes[-1]
    assert row.moved_bytes == moved
    assert report.nodes[-1].flops == flops
    assert row.intensity == (flops / moved if moved else None)
    assert row.bound == bound
    assert row.least_seconds == pytest.approx(max(moved / 1e6, flops / 1e7))
    assert roofline.least_seconds == pytest.approx(row.least_seconds)
    assert roofline.status == "complete"


LOOP = """
g (float[64] x) => (float[64] y) {
    n = Constant<value_int = 5>()
    yes = Constant<value = bool {1}>()
    y = Loop(n, yes, x) <body = b (int64 i, bool c, float[64] a) => (bool d, float[64] z) {
        d = Identity(c)
        z = Exp(a)
    }>
}
"""
BRANCHES = """
g (bool c, float[64] x) => (float[64] y) {
    y = If(c) <then_branch = t () => (float[64] u) { u = Exp(x) },
               else_branch = e () => (float[64] v) { w = Exp(x) v = Exp(w) }>
}
"""


@pytest.mark.parametrize(("text", "times"), [(LOOP, 5), (BRANCHES, 2)])
def test_bodies_count_as_often_as_they_run(text: str, times: int) -> None:
    """A loop of five takes five times its body, a choice the longer of its branches."""
    roofline, _ = drawn(text)
    assert roofline.least_seconds == pytest.approx(times * 4 * 128 / 1e6)


@pytest.mark.parametrize("name", ["resnet50", "googlenet", "tiny_transformer", "mobilenet_v2"])
def test_a_pass_is_the_sum_of_its_nodes(name: str) -> None:
    """Rows are those of the report, and their times add up; a pass is no shorter than computing or moving alone."""
    report = analyze(MODELS / f"{name}.onnx", Options(device=find("V100 SXM2 16GB")))
    roofline = report.roofline
    assert roofline is not None
    assert [row.name for row in roofline.nodes] == [node.name for node in report.nodes]
    assert roofline.least_seconds == pytest.approx(sum(row.least_seconds or 0 for row in roofline.nodes))
    assert roofline.compute_seconds is not None
    assert roofline.memory_seconds is not None
    assert roofline.least_seconds is not None
    longer = max(roofline.compute_seconds, roofline.memory_seconds)
    assert longer <= roofline.least_seconds <= roofline.compute_seconds + roofline.memory_seconds
    flops = report.totals.flops.known
    assert flops is not None
    assert roofline.compute_seconds == pytest.approx(flops / 15.7e12)


def test_a_faster_memory_only_helps_what_waits_for_it() -> None:
    """With endless bandwidth a pass takes the time of computing, with an endless rate that of moving."""
    path = MODELS / "resnet50.onnx"
    rates = {"float32": 10**13}
    slow = analyze(
        path,
        Options(device=Device(name="d", memory_bytes=1, bytes_per_second=10**12, flops_per_second=rates)),
    )
    wide = analyze(
        path,
        Options(device=Device(name="d", memory_bytes=1, bytes_per_second=10**24, flops_per_second=rates)),
    )
    deep = analyze(
        path,
        Options(
            device=Device(
                name="d", memory_bytes=1, bytes_per_second=10**12, flops_per_second={"float32": 10**30}
            )
        ),
    )
    assert slow.roofline is not None
    assert wide.roofline is not None
    assert deep.roofline is not None
    assert wide.roofline.least_seconds == pytest.approx(slow.roofline.compute_seconds)
    assert deep.roofline.least_seconds == pytest.approx(slow.roofline.memory_seconds)


def test_what_a_sheet_does_not_say_is_not_known() -> None:
    """Without rates a time is a part of the truth, and nobody knows what a node waits for."""
    text = "g (float[64] x) => (float[64] y) { y = Exp(x) }"
    half, _ = drawn(text, Device(name="d", memory_bytes=1, bytes_per_second=10**6))
    assert (half.status, half.compute_seconds, half.nodes[0].bound) == ("partial", None, None)
    assert half.least_seconds == pytest.approx(512 / 1e6)
    none, _ = drawn(text, Device(name="d", memory_bytes=1))
    assert (none.status, none.least_seconds, none.nodes[0].least_seconds) == ("unavailable", None, None)


def test_an_op_that_nobody_knows_makes_it_partial() -> None:
    header = '<ir_version: 10, opset_import: ["" : 21, "my.ops" : 1]>'
    roofline, _ = drawn(header + "g (float[64] x) => (float[64] y) { a = Exp(x) y = my.ops.Mystery(a) }")
    assert roofline.status == "partial"
    assert roofline.nodes[1].least_seconds is None


def test_nobody_asked() -> None:
    assert analyze(MODELS / "lenet5.onnx").roofline is None


def test_it_goes_over_the_wire() -> None:
    """Options with a device, and a report with its roofline, come back as they were."""
    options = Options(device=find("h100 sxm5"))
    assert from_message(to_message(options), Options) == options
    report = analyze(MODELS / "lenet5.onnx", options)
    assert from_message(to_message(report), Report) == report
