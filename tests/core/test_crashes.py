"""Small models that once made a pass or a rule fall over, or say less than nothing."""

from __future__ import annotations

import pytest

from analyzer import AnalyzerError, Options, analyze
from tests.conftest import text_model

FIXED = [
    # a bound of a higher rank than what it bounds: the pass that lines axes up from the right ran out of axes
    pytest.param(
        "g (float x, float[3] most) => (y) { y = Clip(x, , most) }", id="a-bound-larger-than-its-tensor"
    ),
    # statistics asked for at test time have fewer axes than the input that the op reads position by position
    pytest.param(
        "g (float[2, 3, 4, 5] x, float[3] s) => (y, m, v) { y, m, v = BatchNormalization(x, s, s, s, s) }",
        id="a-second-result-of-another-rank",
    ),
    pytest.param(
        "g (float[2] x, float[2, 3, 0] w) => (y) { y = RMSNormalization(x, w) }", id="a-scale-of-higher-rank"
    ),
    # names that collide once nodes are told apart
    pytest.param(
        "g (float[2] x) => (z) { [a] y = Relu(x) [a] w = Relu(y) [b] z = Relu(w) }", id="two-of-a-name"
    ),
    # group 2 of no output channels: a map of period 0
    pytest.param(
        "g (float[1, 2, 3, 3] x, float[2, 0, 3, 3] w) => (y) { y = ConvTranspose <group = 2> (x, w) }",
        id="groups-of-nothing",
    ),
    pytest.param(
        "g (float[2, 0, 4, 8] q, float[2, 3, 6, 8] k, float[2, 3, 6, 8] v) => (y) { y = Attention(q, k, v) }",
        id="no-heads",
    ),
    # sizes that cannot be
    pytest.param(
        "g (float[5, 5, 5, 5] x) => (y) { y = LRN <size = -2> (x) }", id="a-window-of-minus-two-channels"
    ),
    pytest.param(
        "g (float[2, 2, 3] t) => (y) <int64[4] size = {2, 3, -1, 6}> { y = AffineGrid(t, size) }",
        id="a-negative-grid",
    ),
    pytest.param(
        "g (float[2, 4, 8] x, float[4, 1, 0] w) => (y, s) { y, s = CausalConvWithState(x, w) }",
        id="a-kernel-of-nothing",
    ),
]


def report_or_reason(text: str, lenient: bool) -> None:
    try:
        report = analyze(text_model(text, opset=28), Options(lenient=lenient))
    except AnalyzerError:
        return
    totals = report.totals
    for total in (totals.macs, totals.elementwise_flops, totals.outputs_bytes, totals.parameters):
        assert total.known is None or total.known >= 0
    assert all(min(tensor.shape or (0,)) >= 0 for tensor in report.tensors)


@pytest.mark.parametrize("lenient", [False, True])
@pytest.mark.parametrize("text", FIXED)
def test_a_model_that_once_broke_something_does_so_no_more(text: str, lenient: bool) -> None:
    """A report, or an error with a reason."""
    report_or_reason(text, lenient)
