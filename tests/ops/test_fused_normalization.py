from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from analyzer.spans import POINTWISE, Read
from tests.ops.graphs import facts, predicted, run, runs
from tests.ops.seen import Probe

MS = "com.microsoft."
X = "float[2,3,16] x"
SKIPPED = X + ", float[2,3,16] s"
TABLES = "float[10,16] w, float[8,16] p, float[2,16] t, float[16] g, float[16] b"
IDS = "int32[2,3] i, int32[2,3] j"

ROWS = [  # (opset, inputs, constants, results, call, steps for each of 2 x 3 x 16 elements)
    (11, X, "float[16] g, float[16] b", "y, m, d", "LayerNormalization(x, g, b)", 7),
    (16, X, "float[3,16] g", "y", "LayerNormalization<axis=1>(x, g)", 7),
    (13, X, "float[16] g", "y, d", "SimplifiedLayerNormalization(x, g)", 4),
    (21, X, "float[3,16] g", "y, d", "SimplifiedLayerNormalization<axis=1>(x, g)", 4),
    (23, X, "float[16] g", "y", "RMSNormalization(x, g)", 4),
    (23, X, "float[3,16] g", "y", "RMSNormalization<axis=-2>(x, g)", 4),
    (21, SKIPPED, "float[16] g", "y", MS + "SkipLayerNormalization(x, s, g)", 7 + 1),
    (
        21,
        SKIPPED,
        "float[16] g, float[16] b",
        "y, m, d, z",
        MS + "SkipLayerNormalization(x, s, g, b, b)",
        7 + 2,
    ),
    (21, X + ", float[3,16] s", "float[16] g", "y, , , z", MS + "SkipLayerNormalization(x, s, g)", 7 + 1),
    (21, X + ", float[1,3,16] s", "float[16] g", "y", MS + "SkipLayerNormalization(x, s, g)", 7 + 1),
    (21, SKIPPED, "float[16] g", "y, , , z", MS + "SkipSimplifiedLayerNormalization(x, s, g)", 4 + 1),
    (21, SKIPPED, "float[16] g", "y, m, d, z", MS + "SkipSimplifiedLayerNormalization(x, s, g, g)", 4 + 2),
    (21, IDS, TABLES, "y, n", MS + "EmbedLayerNormalization(i, j, w, p, t, g, b)", 7 + 2),
    (
        21,
        IDS + ", int32[2,3] m",
        TABLES,
        "y, n, z",
        MS + "EmbedLayerNormalization(i, j, w, p, t, g, b, m)",
        7 + 2,
    ),
    (21, IDS, TABLES, "y, n", MS + "EmbedLayerNormalization(i, , w, p, , g, b, , j)", 7 + 1),
]

QUANTISED = """(int32[2,3] i, int32[2,3] j) => (y, n) <
  uint8[10,16] w, uint8[8,16] p, uint8[2,16] t, uint8[16] g, uint8[16] b, float s={0.5}, uint8 z={3}
> { y, n = com.microsoft.QEmbedLayerNormalization(i, j, w, p, t, g, b, , s, s, s, s, s, z, z, z, z, z) }"""

GROUPED = [  # kernels that CPU lacks: (inputs, call, axis of channels, steps)
    ("float[2,4,5,6] x", "GroupNorm<groups=3, activation=0>(x, g, g)", 3, 7),
    ("float[2,4,5,6] x", "GroupNorm<groups=3, activation=1>(x, g, g)", 3, 7 + 5),
    ("float[2,6,4,5] x", "GroupNorm<groups=3, activation=0, channels_last=0>(x, g, g)", 1, 7),
    ("float[2,4,5,6] x, float[2,4,5,6] s", "SkipGroupNorm<groups=3, activation=0>(x, g, g, s)", 3, 7 + 1),
    ("float[2,4,5,6] x, float[2,6] s", "SkipGroupNorm<groups=2, activation=1>(x, g, g, s, g)", 3, 7 + 2 + 5),
]

REFUSED = [
    ("CHANNEL_MISMATCH", SKIPPED, "float[15] g", MS + "SkipLayerNormalization(x, s, g)"),
    ("AXIS_OUT_OF_RANGE", X, "float[16] g", "SimplifiedLayerNormalization<axis=3>(x, g)"),
    ("GROUP", "float[2,4,5,6] x", "float[6] g", MS + "GroupNorm<groups=4, activation=0>(x, g, g)"),
    ("RANK", "int32[6] i", TABLES, MS + "EmbedLayerNormalization(i, , w, p, , g, b)"),
]


@pytest.mark.parametrize(("opset", "inputs", "constants", "results", "call", "steps"), ROWS)
def test_a_fused_norm_is_the_runtimes(
    opset: int, inputs: str, constants: str, results: str, call: str, steps: int
) -> None:
    """All results, statistics and sums among them."""
    named = ", ".join(name for name in results.split(", ") if name)
    graph = f"({inputs}) => ({named}) <{constants}> {{ {results} = {call} }}"
    assert predicted(graph, opset) == run(graph, opset)
    assert facts(graph, opset).elementwise == steps * 2 * 3 * 16


def test_quantised_tables_give_floats() -> None:
    """Of the scales' type."""
    assert predicted(QUANTISED) == run(QUANTISED)
    assert facts(QUANTISED).elementwise == (7 + 2) * 2 * 3 * 16


def test_the_result_has_the_scales_type() -> None:
    """Of a norm over halves with a scale of floats."""
    graph = "(float16[2,3,16] x) => (y) <float[16] g> { y = %s(x, g) }"
    for op_type, opset in (
        ("SimplifiedLayerNormalization", 21),
        ("RMSNormalization", 23),
        ("LayerNormalization", 11),
    ):
        assert predicted(graph % op_type, opset)["y"] == ("float32", (2, 3, 16))
    assert run(graph % "SimplifiedLayerNormalization")["y"] == ("float32", (2, 3, 16))


@pytest.mark.parametrize(("inputs", "call", "axis", "steps"), GROUPED)
def test_group_norm_may_have_channels_last(inputs: str, call: str, axis: int, steps: int) -> None:
    """2 x 20 x 6 elements; each channel reads those of its group, and all space."""
    results = "y, z" if "Skip" in call else "y"
    graph = f"({inputs}) => ({results}) <float[6] g> {{ {results} = {MS}{call} }}"
    assert all(seen == predicted(graph)["y"] for seen in predicted(graph).values())
    said = facts(graph)
    assert said.elementwise == steps * 240
    taps = said.span(0)[axis].taps  # type: ignore[index,union-attr]
    assert taps.period == taps.advance == (3 if "groups=2" in call else 2)


def test_autograd_keeps_the_sum_and_its_statistics() -> None:
    """Of layer norm the sum, a mean and a deviation by row; of RMS norm the sum, a deviation, and the normalised."""
    layer = f"({SKIPPED}) => (y) <float[16] g> {{ y = {MS}SkipLayerNormalization(x, s, g) }}"
    rms = layer.replace("SkipLayer", "SkipSimplifiedLayer")
    assert sum(size.bytes or 0 for size in facts(layer).saved) == 4 * (96 + 6 + 6)
    assert sum(size.bytes or 0 for size in facts(rms).saved) == 4 * (96 + 6 + 96)


@pytest.mark.parametrize(
    ("inputs", "operand", "axis"),
    [
        (SKIPPED, "x", 0),
        (SKIPPED, "s", 1),
        (X + ", float[3,16] s", "s", 0),
        (X + ", float[1,3,16] s", "s", 1),
    ],
)
def test_rows_keep_to_themselves(inputs: str, operand: str, axis: int) -> None:
    """A row is normalised by its own numbers."""
    Probe(f"({inputs}) => (y) <float[16] g> {{ y = {MS}SkipLayerNormalization(x, s, g) }}").check(
        operand, axis
    )


def test_the_sum_reads_each_element_by_itself() -> None:
    """It is the path that goes on; the normalised reads whole rows."""
    said = facts(f"({SKIPPED}) => (y, z) <float[16] g> {{ y, , , z = {MS}SkipLayerNormalization(x, s, g) }}")
    assert said.span(0, 3) is POINTWISE
    assert said.span(0)[2] == Read("global")  # type: ignore[index]


@pytest.mark.parametrize(("reason", "inputs", "constants", "call"), REFUSED)
def test_a_norm_that_does_not_fit_is_refused(reason: str, inputs: str, constants: str, call: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    results = "y, n" if "Embed" in call else "y"
    graph = f"({inputs}) => ({results}) <{constants}> {{ {results} = {call} }}"
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
    assert not runs(graph)
