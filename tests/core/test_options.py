"""Binding of free dimensions: what a caller may say, what is assumed where nothing is said, and what is refused."""

from __future__ import annotations

from typing import Any

import onnx
import pytest

from analyzer import BadModel, BadOption, Options, Report, analyze
from tests.conftest import shipped, text_model

IMAGE = "g (float[N, 3, h, w] x) => (y) { y = Relu(x) }"
TWO = "g (float[batch, seq] a, float[batch, seq, 8] b) => (y, z) { y = Relu(a) z = Relu(b) }"
UNNAMED = "g (float[?, 3, ?, ?] x) => (y) { y = Relu(x) }"
FIXED = "g (float[1, 3, 8, 8] x) => (y) { y = Relu(x) }"
UNTOLD = "g (float[] x, float[2] z) => (y) { y = Relu(x) }"


def report(text: str, **options: Any) -> Report:
    return analyze(text_model(text), Options(**options))


def shape(found: Report, tensor: str) -> tuple[int, ...] | None:
    return next(row.shape for row in found.tensors if row.name == tensor)


def reasons(found: Report) -> list[str]:
    return [warning.reason for warning in found.warnings]


# ---- what is given


def test_a_dimension_is_bound_by_its_name_everywhere() -> None:
    """One symbol is one number, in every input that has it."""
    found = report(TWO, dims={"batch": 4, "seq": 7})
    assert (shape(found, "y"), shape(found, "z")) == ((4, 7), (4, 7, 8))
    assert found.dims == {"batch": 4, "seq": 7}
    assert reasons(found) == []


def test_a_shape_binds_a_whole_input_and_its_symbols() -> None:
    """The symbols that it settles hold for the other inputs too."""
    found = report(TWO, shapes={"b": (4, 7, 8)})
    assert (shape(found, "y"), shape(found, "z")) == ((4, 7), (4, 7, 8))
    assert found.dims == {"batch": 4, "seq": 7}
    assert reasons(found) == []


def test_a_shape_and_a_dimension_may_say_the_same() -> None:
    """Saying it twice is no conflict."""
    found = report(TWO, dims={"batch": 4}, shapes={"a": (4, 7)})
    assert found.dims == {"batch": 4, "seq": 7}


def test_a_dimension_without_a_name_is_called_by_its_place() -> None:
    """`x[2]` is a name like another, to bind and to read."""
    found = report(UNNAMED, dims={"x[0]": 2, "x[2]": 5, "x[3]": 6})
    assert shape(found, "y") == (2, 3, 5, 6)
    assert found.dims == {"x[0]": 2, "x[2]": 5, "x[3]": 6}
    assert reasons(found) == []
    assert report(UNNAMED, shapes={"x": (2, 3, 5, 6)}).dims == found.dims


def test_a_shape_tells_what_the_model_does_not() -> None:
    """An input of unknown rank takes any shape; without one its consumers have no size."""
    assert shape(report(UNTOLD, shapes={"x": (2, 5)}), "y") == (2, 5)
    found = report(UNTOLD)
    assert shape(found, "y") is None
    assert found.totals.outputs_bytes.status == "partial"
    assert found.totals.elementwise_flops.status == "partial"


def test_a_dimension_may_be_nothing() -> None:
    """An empty batch computes nothing."""
    found = report(IMAGE, dims={"N": 0, "h": 2, "w": 2})
    assert shape(found, "y") == (0, 3, 2, 2)
    assert found.totals.flops.known == 0


# ---- what is assumed


@pytest.mark.parametrize(
    ("declared", "assumed"),
    [
        ("batch, 3", {"batch": 1}),
        ("batch_size, 3", {"batch_size": 1}),
        ("N, 3", {"N": 1}),
        ("3, sequence_length", {"sequence_length": 128}),
        ("3, seq", {"seq": 128}),
        ("3, num_tokens", {"num_tokens": 128}),
        ("3, time", {"time": 128}),
        ("1, 3, height, width", {"height": 224, "width": 224}),
        ("1, 3, H, W", {"H": 224, "W": 224}),
        ("3, k", {"k": 1}),
        ("k, 3", {"k": 1}),
        ("?, 3", {"x[0]": 1}),
        ("3, ?", {"x[1]": 1}),
    ],
)
def test_what_nobody_binds_is_assumed_and_said(declared: str, assumed: dict[str, int]) -> None:
    """Batches are 1, sequences 128, images 224; each assumption is a warning and stands under `dims`."""
    found = report(f"g (float[{declared}] x) => (y) {{ y = Relu(x) }}")
    assert found.dims == assumed
    assert reasons(found) == ["ASSUMED_DIM"] * len(assumed)
    for symbol, value in assumed.items():
        assert any(repr(symbol) in w.message and str(value) in w.message for w in found.warnings)


def test_a_negative_dimension_in_a_model_is_a_free_one_without_a_name() -> None:
    """Old exporters wrote -1 where they meant any."""
    model = onnx.ModelProto.FromString(text_model("g (float[2, 3] x) => (y) { y = Relu(x) }"))
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = -1
    found = analyze(model.SerializeToString())
    assert found.dims == {"x[0]": 1}
    assert shape(found, "y") == (1, 3)


def test_only_what_is_left_is_assumed() -> None:
    """A dimension that was given is no assumption."""
    found = report(IMAGE, dims={"h": 10})
    assert found.dims == {"N": 1, "h": 10, "w": 224}
    assert len(found.warnings) == 2


def test_a_fixed_dimension_may_be_overridden_and_the_report_says_so() -> None:
    """A model exported at one size is often asked about at another."""
    found = report(FIXED, shapes={"x": (2, 3, 16, 8)})
    assert shape(found, "y") == (2, 3, 16, 8)
    assert reasons(found) == ["FIXED_DIM_OVERRIDDEN"] * 2
    assert "x[0]" in found.warnings[0].message
    assert "x[2]" in found.warnings[1].message
    assert found.dims == {}


# ---- what is refused


REFUSED = [
    pytest.param(IMAGE, {"dims": {"hh": 2}}, "UNKNOWN_DIM", ["'hh'", "h"], id="unknown-dim"),
    pytest.param(TWO, {"dims": {"bacth": 2}}, "UNKNOWN_DIM", ["'bacth'", "batch"], id="near-name"),
    pytest.param(FIXED, {"dims": {"batch": 2}}, "UNKNOWN_DIM", ["'batch'", "none"], id="nothing-is-free"),
    pytest.param(IMAGE, {"dims": {"h": -1}}, "NEGATIVE_DIM", ["h", "-1"], id="negative-dim"),
    pytest.param(IMAGE, {"shapes": {"image": (1, 3, 2, 2)}}, "UNKNOWN_INPUT", ["'image'", "x"], id="unknown-input"),
    pytest.param(IMAGE, {"shapes": {"x": (3, 2, 2)}}, "WRONG_RANK", ["rank 3", "rank 4", "N, 3, h, w"], id="rank-3"),
    pytest.param(IMAGE, {"shapes": {"x": ()}}, "WRONG_RANK", ["rank 0", "rank 4"], id="rank-0"),
    pytest.param(IMAGE, {"shapes": {"x": (1, 3, -2, 2)}}, "NEGATIVE_DIM", ["x", "-2"], id="negative-in-shape"),
    pytest.param(
        TWO, {"shapes": {"a": (4, 7), "b": (5, 7, 8)}}, "DIM_CONFLICT", ["'batch'", "4", "5"], id="two-shapes-apart"
    ),
    pytest.param(
        TWO, {"dims": {"seq": 9}, "shapes": {"a": (4, 7)}}, "DIM_CONFLICT", ["'seq'", "9", "7"], id="dim-and-shape"
    ),
    pytest.param(
        "g (float[n, n] x) => (y) { y = Relu(x) }", {"shapes": {"x": (2, 3)}}, "DIM_CONFLICT", ["'n'", "2", "3"],
        id="one-symbol-twice",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "options", "reason", "told"), REFUSED)
def test_an_option_that_does_not_fit_is_refused(
    text: str, options: Any, reason: str, told: list[str]
) -> None:
    """One line that names the option, what was given, and what the model has."""
    with pytest.raises(BadOption) as caught:
        report(text, **options)
    error = caught.value
    assert error.reason == reason
    assert error.status == "INVALID_ARGUMENT"
    assert "\n" not in str(error)
    for word in told:
        assert word in str(error)
    assert error.facts["option"] in {"dims", "shapes"}


def test_options_are_frozen() -> None:
    """One set of options serves many analyses."""
    with pytest.raises(AttributeError):
        Options().optimizer = "adam"  # type: ignore[misc]  # that is the point


# ---- what the optimiser does to memory


@pytest.mark.parametrize(("optimizer", "copies"), [("sgd", 0), ("momentum", 1), ("adam", 2)])
def test_an_optimizer_keeps_copies_of_the_parameters(optimizer: Any, copies: int) -> None:
    """Momentum one, Adam two; the rest of training memory is the same."""
    found = analyze(shipped("lenet5"), Options(optimizer=optimizer)).memory.training
    assert found.optimizer == optimizer
    assert found.parameter_bytes == 4 * 61_706
    assert found.optimizer_bytes == copies * 4 * 61_706
    plain = analyze(shipped("lenet5")).memory.training
    assert found.lecture_bytes is not None
    assert plain.lecture_bytes is not None
    assert found.lecture_bytes - plain.lecture_bytes == found.optimizer_bytes


# ---- models that no runtime could run


WRONG_CHANNELS = """
    g (float[1, 3, 8, 8] x) => (y, z)
        <float[4, 5, 3, 3] w = ["location": "w"], float[4, 3, 3, 3] v = ["location": "w"]> {
        [bad] c = Conv(x, w)
        y = Relu(c)
        z = Conv(x, v)
    }
"""


def test_a_lenient_analysis_goes_on_after_a_node_that_cannot_run() -> None:
    """Its node has no cost, what follows it has no size, the rest is counted."""
    found = report(WRONG_CHANNELS, lenient=True)
    assert [row.status for row in found.nodes] == ["unavailable", "unavailable", "complete"]
    assert (found.totals.macs.known, found.totals.macs.status) == (4 * 6 * 6 * 27, "partial")
    (warning,) = found.warnings
    assert (warning.reason, warning.node) == ("INVALID", "bad")
    assert "channels" in warning.message


def test_an_assumption_that_does_not_suit_gives_way() -> None:
    """A table of 77 positions has no row 100: where 128 cannot be, every assumed dimension is 1, and is told so."""
    model = text_model(
        "g (float[batch, seq, 4] x, float[1, 77, 4] t) => (y) <int64[1] last = {77}, int64[1] none = {0}> {"
        " s = Shape<start = 1, end = 2>(x) axes = Constant<value_ints = [1]>()"
        " rows = Slice(t, none, s, axes) y = Add(x, rows) }"
    )
    report = analyze(model)
    assert report.dims == {"batch": 1, "seq": 1}
    assert {warning.reason for warning in report.warnings} == {"ASSUMED_DIM"}
    assert analyze(model, Options(dims={"seq": 77})).dims["seq"] == 77
    with pytest.raises(BadModel, match="bind free dimensions"):
        analyze(model, Options(dims={"seq": 78}))
