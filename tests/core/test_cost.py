"""What a model costs: rows that add up, and totals that say what they left out."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest

from analyzer import BadModel, Options, Report, analyze
from analyzer.report import Metric, NodeRow
from tests.conftest import LIGHT_MODELS, SHIPPED_MODELS, light, shipped, text_model


def row(report: Report, name: str) -> NodeRow:
    return next(node for node in report.nodes if node.name == name)


def times(node: NodeRow, amount: int | None) -> int:
    assert amount is not None
    assert node.repeat is not None
    return amount * node.repeat


@pytest.mark.parametrize(
    "path", [*map(light, LIGHT_MODELS), *map(shipped, SHIPPED_MODELS)], ids=lambda path: path.stem
)
def test_rows_add_up_to_totals(path: Path) -> None:
    """Macs, elementwise operations, flops and parameters, each node as often as it runs."""
    report = analyze(path)
    totals = report.totals
    assert all(node.status == "complete" for node in report.nodes)
    assert totals.nodes == Metric(len(report.nodes), "complete")
    assert totals.macs == Metric(sum(times(node, node.macs) for node in report.nodes), "complete")
    elementwise = sum(times(node, node.elementwise_flops) for node in report.nodes)
    assert totals.elementwise_flops == Metric(elementwise, "complete")
    assert totals.flops == Metric(sum(times(node, node.flops) for node in report.nodes), "complete")
    assert totals.flops.known == 2 * (totals.macs.known or 0) + elementwise
    assert totals.parameters == Metric(sum(node.parameters or 0 for node in report.nodes), "complete")
    assert all(node.flops == 2 * (node.macs or 0) + (node.elementwise_flops or 0) for node in report.nodes)


@pytest.mark.parametrize("name", ["vgg16", "resnet50", "mobilenet_v2"])
def test_macs_of_a_convnet_grow_with_its_image(name: str) -> None:
    """Twice the height: twice the macs of every convolution but for the borders, and the same parameters."""
    small, tall = (
        analyze(shipped(name), Options(shapes={"image": (1, 3, height, 224)}, lenient=True))
        for height in (224, 448)
    )
    assert small.totals.parameters == tall.totals.parameters
    for low, high in zip(small.nodes, tall.nodes, strict=True):
        if low.op_type == "Conv":
            assert high.macs == 2 * (low.macs or 0)


# ---- what is not known


MYSTERY = """
    <ir_version: 10, opset_import: ["" : 21, "some.where" : 1]>
    g (float[2, 4] x) => (y, z) <float[4, 8] w = ["location": "w"], float[3, 3] m = ["location": "w"]> {
        [product] a = MatMul(x, w)
        [mystery] b = some.where.Mystery(a, m)
        [after] y = Relu(b)
        [beside] z = Tanh(a)
    }
"""


def test_an_op_without_a_rule_has_no_cost_rather_than_none() -> None:
    """Unknown is null, never 0; what follows it is unknown too, what stands beside it is counted."""
    report = analyze(text_model(MYSTERY))
    assert [(node.name, node.status) for node in report.nodes] == [
        ("product", "complete"),
        ("mystery", "unavailable"),
        ("after", "unavailable"),
        ("beside", "complete"),
    ]
    for name in ("mystery", "after"):
        node = row(report, name)
        costs = (node.macs, node.elementwise_flops, node.flops, node.output_bytes, node.lowering_bytes)
        assert (*costs, node.saved_bytes) == (None,) * 6
    assert [
        (tensor.name, tensor.shape, tensor.bytes) for tensor in report.tensors if tensor.name in "by"
    ] == [
        ("b", None, None),
        ("y", None, None),
    ]


def test_totals_that_leave_something_out_give_the_known_part() -> None:
    """2*4*8 macs of the product, 2*8 elementwise of Tanh; the unknown op's constant counts as a weight."""
    totals = analyze(text_model(MYSTERY)).totals
    assert totals.macs == Metric(2 * 4 * 8, "partial")
    assert totals.elementwise_flops.status == "partial"
    assert (totals.elementwise_flops.known or 0) >= 2 * 8
    assert totals.flops == Metric(2 * 2 * 4 * 8 + (totals.elementwise_flops.known or 0), "partial")
    assert totals.outputs_bytes == Metric(2 * (2 * 8 * 4), "partial")
    assert totals.parameters == Metric(4 * 8 + 3 * 3, "complete")
    assert totals.nodes == Metric(4, "complete")


def test_one_warning_names_the_op_and_the_node() -> None:
    """The nodes behind it are no news."""
    (warning,) = analyze(text_model(MYSTERY)).warnings
    assert (warning.reason, warning.node) == ("NO_RULE", "mystery")
    assert "Mystery" in warning.message
    assert "some.where" in warning.message


def test_memory_with_an_unknown_op_is_partial() -> None:
    """Sums and the peak are of what is known."""
    memory = analyze(text_model(MYSTERY)).memory
    assert memory.inference.status == memory.training.status == "partial"
    assert memory.inference.outputs_bytes == 2 * (2 * 8 * 4)


def test_receptive_fields_behind_an_unknown_op_are_opaque() -> None:
    """Nobody has said what it reads."""
    fields = {(f.tensor, f.axis): f.status for f in analyze(text_model(MYSTERY)).receptive_fields}
    assert fields["b", 0] == fields["b", 1] == fields["y", 0] == "opaque"
    assert fields["z", 0] == "local"


def test_an_unknown_op_on_constants_makes_what_it_feeds_unknown() -> None:
    """A weight may come out of an op that nobody described; its consumer has no size then."""
    report = analyze(
        text_model("""
        <ir_version: 10, opset_import: ["" : 21, "some.where" : 1]>
        g (float[2, 4] x) => (y) <float[4, 8] w = ["location": "w"]> {
            [unpack] v = some.where.Unpack(w)
            [product] y = MatMul(x, v)
        }
    """)
    )
    assert [node.status for node in report.nodes] == ["unavailable", "unavailable"]
    assert report.totals.macs == Metric(0, "partial")
    assert report.totals.parameters == Metric(32, "complete")


# ---- bodies


BRANCHES = """
    <ir_version: 10, opset_import: ["" : 21, "some.where" : 1]>
    g (float[2, 4] x, bool c) => (y) <float[4, 4] w = ["location": "w"]> {{
        [choice] y = If<
            then_branch = t () => (float[2, 4] p) {{ [product] p = MatMul(x, w) }},
            else_branch = e () => (float[2, 4] q) {{ {other} }}
        >(c)
    }}
"""


def test_the_dearer_branch_counts_and_both_are_shown() -> None:
    """A product costs more than a sum of as many elements."""
    report = analyze(text_model(BRANCHES.format(other="[sum] q = Add(x, x)")))
    assert report.totals.macs == Metric(2 * 4 * 4, "complete")
    assert report.totals.elementwise_flops == Metric(0, "complete")
    assert {node.name for node in report.nodes} == {"choice", "choice/product", "choice/sum"}


def test_a_branch_that_nobody_can_price_makes_the_total_partial() -> None:
    """The other branch is the known part, whichever it is: the unknown one might be dearer."""
    report = analyze(text_model(BRANCHES.format(other="[mystery] q = some.where.Mystery(x)")))
    assert report.totals.macs == Metric(2 * 4 * 4, "partial")
    assert report.totals.flops == Metric(2 * 2 * 4 * 4, "partial")
    assert [(w.reason, w.node) for w in report.warnings] == [("NO_RULE", "choice/mystery")]


LOOP = """
    g (float[2, 4] x, bool go{inputs}) => (y) <{trips} float[4, 4] w = ["location": "w"]> {{
        [loop] y = Loop<body = b (int64 i, bool on, float[2, 4] state) => (bool on2, float[2, 4] next) {{
            [keep] on2 = Identity(on)
            [product] next = MatMul(state, w)
        }}>(n, {go}, x)
    }}
"""


def test_a_loop_counts_once_per_trip() -> None:
    """Five trips, five products, one weight."""
    report = analyze(text_model(LOOP.format(inputs="", trips="int64 n = {5},", go="")))
    assert report.totals.macs == Metric(5 * 2 * 4 * 4, "complete")
    assert report.totals.parameters == Metric(16, "complete")
    assert row(report, "loop/product").repeat == 5
    assert row(report, "loop/product").macs == 2 * 4 * 4


def test_a_loop_of_unknown_length_counts_once_and_is_partial() -> None:
    """One trip is the known part."""
    report = analyze(text_model(LOOP.format(inputs=", int64 n", trips="", go="")))
    assert report.totals.macs == Metric(2 * 4 * 4, "partial")
    assert row(report, "loop/product").repeat is None


# ---- a model that cannot run


def test_a_model_that_no_runtime_could_run_is_an_error_at_its_node() -> None:
    """The node, its op and the reason; lenient analyses go on."""
    text = 'g (float[2, 4] x) => (y) <float[5, 8] w = ["location": "w"]> { [bad] y = MatMul(x, w) }'
    with pytest.raises(BadModel) as caught:
        analyze(text_model(text))
    error = caught.value
    assert (error.facts["node"], error.facts["op_type"]) == ("bad", "MatMul")
    assert "'bad'" in str(error)
    assert "\n" not in str(error)
    assert error.reason == "DEPTH_MISMATCH"
    report = analyze(text_model(text), Options(lenient=True))
    assert [(w.reason, w.node) for w in report.warnings] == [("INVALID", "bad")]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param("g (float[2] x) => (y) { [bad] y = Concat <axis = 0> () }", None, id="no-operands"),
        pytest.param("g (float[2] x) => (y) { [bad] y = Relu() }", "MISSING_OPERAND", id="missing-operand"),
        pytest.param("g (float[2] x) => (y) { [bad] y = Relu(x, x) }", "TOO_MANY_OPERANDS", id="too-many"),
        pytest.param(
            "g (float[2] x) => (y) { [bad] y = Concat(x, x) }", "MISSING_ATTRIBUTE", id="missing-attribute"
        ),
        pytest.param(
            "g (float[2] x) => (y) { [bad] y = Concat <axis = 5> (x, x) }", "AXIS_OUT_OF_RANGE", id="axis"
        ),
        pytest.param(
            "g (float[2] x, float[3] z) => (y) { [bad] y = Add(x, z) }", "SHAPES_DO_NOT_BROADCAST", id="add"
        ),
        pytest.param("g (float[2] x) => (y) { [bad] y = Conv(x, x) }", "RANK", id="rank"),
    ],
)
def test_an_operand_or_attribute_that_does_not_fit_is_refused(text: str, reason: str | None) -> None:
    """Each at its node, with a reason."""
    with pytest.raises(BadModel) as caught:
        analyze(text_model(text))
    assert caught.value.facts["node"] == "bad"
    assert reason in (None, caught.value.reason)


def test_a_node_without_results_is_no_trouble() -> None:
    """It is odd, but nobody is hurt."""
    report = analyze(text_model("g (float[2] x) => (y) { [sink] = Relu(x) [other] y = Tanh(x) }"))
    assert [node.status for node in report.nodes] == ["complete", "complete"]


def test_a_result_without_a_name_does_not_become_an_operand() -> None:
    """An empty name means `left out`, on either side of a node."""
    model = onnx.ModelProto.FromString(
        text_model("""
        g (float[2, 6] x, float[5, 5] z) => (y) <float[6] s = {1, 1, 1, 1, 1, 1}> {
            [unnamed] unnamed = Relu(z)
            [norm] y = LayerNormalization(x, s)
        }
    """)
    )
    model.graph.node[0].output[0] = ""
    model.graph.node[1].input.append("")
    report = analyze(model.SerializeToString())
    assert [node.status for node in report.nodes] == ["complete", "complete"]
    assert [tensor.name for tensor in report.tensors] == ["x", "z", "s", "y"]
