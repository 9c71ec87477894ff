"""Model-local functions: described once for each distinct call, counted at every call, never expanded."""

from __future__ import annotations

import time

import onnx.inliner
import pytest

from analyzer import BadModel, Options, Report, analyze
from analyzer.report import Metric, NodeRow
from tests.conftest import text_model

HEADER = '<ir_version: 10, opset_import: ["" : 21, "local" : 1]>\n'
FUNCTION = '\n<domain: "local", opset_import: ["" : 21, "local" : 1]>\n'


def model(graph: str, *functions: str) -> bytes:
    """A graph, and functions of the domain `local` that it and they may call."""
    return text_model(HEADER + graph + "".join(FUNCTION + function for function in functions))


def rows(report: Report) -> dict[str, NodeRow]:
    return {node.name: node for node in report.nodes}


LAYER = "layer (u, v) => (r) { [product] p = MatMul(u, v) [act] r = Relu(p) }"
WEIGHT = 'float[4, 4] w = ["location": "w"]'


def test_a_function_called_twice_counts_twice() -> None:
    """One distinct call, two runs; the weight that both are given is one."""
    report = analyze(
        model(
            f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ [one] a = local.layer(x, w) [two] y = local.layer(a, w) }}",
            LAYER,
        )
    )
    assert report.totals.macs == Metric(2 * (2 * 4 * 4), "complete")
    assert report.totals.elementwise_flops == Metric(2 * (2 * 4), "complete")
    assert report.totals.parameters == Metric(16, "complete")
    assert report.totals.outputs_bytes == Metric(2 * (32 + 32), "complete")
    assert report.depth == 2
    assert report.warnings == ()


def test_a_distinct_call_has_its_rows_once_and_says_how_often_it_runs() -> None:
    """Its nodes and tensors are named after the first node that calls it."""
    report = analyze(
        model(
            f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ [one] a = local.layer(x, w) [two] y = local.layer(a, w) }}",
            LAYER,
        )
    )
    assert [(node.name, node.op_type, node.repeat) for node in report.nodes] == [
        ("one", "layer", 1),
        ("one/product", "MatMul", 2),
        ("one/act", "Relu", 2),
        ("two", "layer", 1),
    ]
    product = rows(report)["one/product"]
    assert (product.macs, product.inputs, product.outputs) == (32, ("x", "w"), ("one/p",))
    assert [tensor.name for tensor in report.tensors if "/" in tensor.name] == ["one/p", "one/r"]


def test_calls_at_different_sizes_are_different_calls() -> None:
    """Each has rows of its own."""
    report = analyze(
        model(
            'g (float[2, 4] x) => (y) <float[4, 6] w = ["location": "w"], float[6, 3] v = ["location": "w"]> '
            "{ [one] a = local.layer(x, w) [two] y = local.layer(a, v) }",
            LAYER,
        )
    )
    assert {
        name: (row.repeat, row.macs) for name, row in rows(report).items() if row.op_type == "MatMul"
    } == {
        "one/product": (1, 2 * 4 * 6),
        "two/product": (1, 2 * 6 * 3),
    }
    assert report.totals.parameters.known == 24 + 18
    assert report.totals.macs.known == 48 + 36


def test_calls_with_different_attributes_are_different_calls() -> None:
    """The attribute of a call takes the place of its name in the body; the default stands in where nothing is said."""
    report = analyze(
        model(
            "g (float[2, 4] x) => (y, z) { [one] y = local.turn <perm = [1, 0]> (x) [two] z = local.turn(x) }",
            "turn <perm: ints = [0, 1]> (u) => (r) { [move] r = Transpose <perm: ints = @perm> (u) }",
        )
    )
    shapes = {tensor.name: tensor.shape for tensor in report.tensors}
    assert (shapes["y"], shapes["z"]) == ((4, 2), (2, 4))
    assert {name for name, row in rows(report).items() if row.op_type == "Transpose"} == {
        "one/move",
        "two/move",
    }


def test_an_attribute_that_the_caller_must_give_and_does_not_is_left_to_the_op() -> None:
    """A reference to nothing is an attribute that is not there: the op's own default, or an error at its node."""
    turned = "turn <perm> (u) => (r) { [move] r = Transpose <perm: ints = @perm> (u) }"
    report = analyze(model("g (float[2, 4] x) => (y) { y = local.turn(x) }", turned))
    assert report.tensors[-1].shape is not None
    shapes = {tensor.name: tensor.shape for tensor in report.tensors}
    assert shapes["y"] == (4, 2)
    joined = "join <axis> (u) => (r) { [cat] r = Concat <axis: int = @axis> (u, u) }"
    with pytest.raises(BadModel) as caught:
        analyze(model("g (float[2, 4] x) => (y) { y = local.join(x) }", joined))
    assert caught.value.reason == "MISSING_ATTRIBUTE"


def test_scopes_nest_by_slashes() -> None:
    """A call in a call: the outer node's name, the inner one's, the node."""
    report = analyze(
        model(
            f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ [top] y = local.block(x, w) }}",
            "block (a, b) => (c) { [first] m = local.layer(a, b) [second] c = local.layer(m, b) }",
            LAYER,
        )
    )
    assert {node.name: node.repeat for node in report.nodes} == {
        "top": 1,
        "top/first": 1,
        "top/first/product": 2,
        "top/first/act": 2,
        "top/second": 1,
    }
    assert report.totals.macs.known == 2 * 32
    assert report.depth == 2


def test_optional_operands_may_be_left_out_of_a_call() -> None:
    """A function's last inputs, or an empty name among them."""
    gemm = "affine (a, b, c) => (y) { [product] y = Gemm(a, b, c) }"
    for call in ("local.affine(x, w)", "local.affine(x, w, )"):
        report = analyze(model(f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ y = {call} }}", gemm))
        assert report.totals.macs.known == 32
        assert report.totals.macs.status == "complete"


def test_weights_and_constants_inside_a_function_are_parameters_once() -> None:
    """Called twice, stored once."""
    body = """
        layer (u) => (r) {
            k = Constant <value = float[4, 4] k = ["location": "w"]> ()
            [product] p = MatMul(u, k)
            shape = Constant <value_ints = [-1, 4]> ()
            r = Reshape(p, shape)
        }
    """
    report = analyze(model("g (float[2, 4] x) => (y) { a = local.layer(x) y = local.layer(a) }", body))
    assert report.totals.parameters == Metric(16, "complete")
    assert report.totals.macs == Metric(64, "complete")


def test_an_op_without_a_rule_inside_a_function_is_told_where_it_is() -> None:
    """The known part counts as often as it runs, and the warning names the node in its scope."""
    report = analyze(
        model(
            f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ [one] a = local.odd(x, w) [two] y = local.odd(x, w) }}",
            "odd (u, v) => (r) { [product] p = MatMul(u, v) [mystery] r = local.nowhere(p) }",
        )
    )
    assert report.totals.macs == Metric(2 * 32, "partial")
    assert [(warning.reason, warning.node) for warning in report.warnings] == [("NO_RULE", "one/mystery")]
    assert {tensor.name: tensor.shape for tensor in report.tensors}["y"] is None


def test_a_rule_outranks_a_function_of_its_name() -> None:
    """A function that spells out a standard op is not needed."""
    text = (
        '<ir_version: 10, opset_import: ["" : 21]> g (float[2, 4] x) => (y) { [act] y = Relu(x) } '
        '<domain: "", opset_import: ["" : 21]> Relu (a) => (b) { b = Tanh(a) }'
    )
    report = analyze(text_model(text))
    assert [node.name for node in report.nodes] == ["act"]


@pytest.mark.parametrize(
    "functions",
    [
        pytest.param(["f (a) => (b) { b = local.f(a) }"], id="itself"),
        pytest.param(["f (a) => (b) { b = local.h(a) }", "h (a) => (b) { b = local.f(a) }"], id="each-other"),
        pytest.param(
            [
                """f (a) => (b) {
                    c = Constant <value = bool {0}> ()
                    b = If <
                        then_branch = t () => (p) { p = local.f(a) }, else_branch = e () => (q) { q = Relu(a) }
                    > (c)
                }"""
            ],
            id="in-a-branch",
        ),
    ],
)
@pytest.mark.parametrize("lenient", [False, True])
def test_recursion_is_refused(functions: list[str], lenient: bool) -> None:
    """ONNX has none, and it would not end."""
    with pytest.raises(BadModel) as caught:
        analyze(
            model("g (float[2] x) => (y) { [call] y = local.f(x) }", *functions), Options(lenient=lenient)
        )
    assert caught.value.reason == "RECURSION"
    assert "\n" not in str(caught.value)


def doubling(depth: int) -> bytes:
    """Each function calls the next one twice: a kilobyte of file, 2**depth runs of the last."""
    calls = [f"f{i} (a) => (c) {{ b = local.f{i + 1}(a) c = local.f{i + 1}(b) }}" for i in range(depth)]
    last = f"f{depth} (a) => (b) {{ [square] b = MatMul(a, a) }}"
    return model("g (float[4, 4] x) => (y) { [top] y = local.f0(x) }", *calls, last)


def test_twenty_functions_that_call_twice_are_a_million_runs_but_twenty_bodies() -> None:
    """Counted, not expanded: a row per distinct node, and a repeat of a million."""
    started = time.monotonic()
    report = analyze(doubling(20))
    assert time.monotonic() - started < 5
    assert len(report.nodes) == 1 + 20 * 2 + 1
    (square,) = (node for node in report.nodes if node.op_type == "MatMul")
    assert (square.repeat, square.macs) == (2**20, 64)
    assert report.totals.macs == Metric(2**20 * 4 * 4 * 4, "complete")
    assert report.totals.outputs_bytes.known == 2**20 * 64


def test_calls_nest_up_to_a_limit() -> None:
    """Beyond it there is one clear line, not a full stack."""
    chain = [f"f{i} (a) => (b) {{ b = local.f{i + 1}(a) }}" for i in range(500)]
    last = "f500 (a) => (b) { b = Relu(a) }"
    with pytest.raises(BadModel) as caught:
        analyze(model("g (float[4] x) => (y) { [top] y = local.f0(x) }", *chain, last))
    assert caught.value.reason == "NESTED_TOO_DEEPLY"
    assert "\n" not in str(caught.value)


def test_functions_of_one_name_differ_by_overload() -> None:
    """A node says which one it means."""
    text = """
        <ir_version: 10, opset_import: ["" : 21, "local" : 1]>
        g (float[2] x) => (y, z) { y = local.f:wide(x) z = local.f:narrow(x) }
        <domain: "local", overload: "wide", opset_import: ["" : 21]>
        f (a) => (b) { b = Concat <axis = 0> (a, a) }
        <domain: "local", overload: "narrow", opset_import: ["" : 21]>
        f (a) => (b) { b = Relu(a) }
    """
    shapes = {tensor.name: tensor.shape for tensor in analyze(text_model(text)).tensors}
    assert (shapes["y"], shapes["z"]) == ((4,), (2,))


def test_receptive_fields_go_through_a_function() -> None:
    """Two 3-tap convolutions in a body see five rows."""
    report = analyze(
        model(
            "g (float[1, 1, 20] x) => (y) <float[1, 1, 3] w = {1, 1, 1}> { [one] y = local.two(x, w) }",
            "two (a, v) => (c) { b = Conv(a, v) c = Conv(b, v) }",
        )
    )
    (field,) = (row for row in report.receptive_fields if row.tensor == "y" and row.axis == 2)
    assert (field.status, field.size, field.stride) == ("local", 5, "1")


def test_an_opset_is_the_functions_own() -> None:
    """Its Softmax is that of the opset which it imports: before 13 over all axes from 1 on."""
    text = """
        <ir_version: 10, opset_import: ["" : 21, "local" : 1]>
        g (float[2, 3, 4] x) => (y, z) { y = local.old(x) z = Softmax(x) }
        <domain: "local", opset_import: ["" : 11]>
        old (a) => (b) { b = Softmax <axis = 1> (a) }
    """
    fields = {(f.tensor, f.axis): f.status for f in analyze(text_model(text)).receptive_fields}
    assert (fields["z", 1], fields["z", 2]) == ("local", "global")
    assert (fields["y", 1], fields["y", 2]) == ("global", "global")


SPELLED_OUT = [
    pytest.param(
        model(
            f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ [one] a = local.layer(x, w) [two] y = local.layer(a, w) }}",
            LAYER,
        ),
        id="called-twice",
    ),
    pytest.param(
        model(
            f"g (float[2, 4] x) => (y) <{WEIGHT}> {{ a = local.block(x, w) b = Tanh(a) y = local.layer(b, w) }}",
            "block (a, b) => (c) { m = local.layer(a, b) n = Concat <axis = 0> (m, m) [last] c = local.layer(n, b) }",
            LAYER,
        ),
        id="nested",
    ),
    pytest.param(
        model(
            'g (float[1, 3, 16, 16] x) => (y) <float[3, 3, 3, 3] w = ["location": "w"]> '
            "{ a = local.residual(x, w) b = local.residual(a, w) y = GlobalAveragePool(b) }",
            "residual (u, v) => (r) { c = Conv <pads = [1, 1, 1, 1]> (u, v) d = Relu(c) r = Add(u, d) }",
        ),
        id="residual-blocks",
    ),
    pytest.param(
        model(
            "g (float[8, 8] x) => (y) { a = Relu(x) y = local.wide(a) }",
            "wide (u) => (r) { t = Concat <axis = 0> (u, u, u) s = Sigmoid(t) r = ReduceMean <keepdims = 0> (s) }",
        ),
        id="a-peak-inside",
    ),
]


@pytest.mark.parametrize("calling", SPELLED_OUT)
def test_a_call_costs_what_its_body_spelled_out_costs(calling: bytes) -> None:
    """onnx's own inliner writes the bodies in place of the calls: sums, depth and what the results see are the same."""
    inlined = onnx.inliner.inline_local_functions(onnx.ModelProto.FromString(calling)).SerializeToString()
    ours, spelled = analyze(calling), analyze(inlined)
    for total in ("macs", "elementwise_flops", "flops", "parameters", "parameter_bytes", "outputs_bytes"):
        assert getattr(ours.totals, total) == getattr(spelled.totals, total), total
    assert ours.depth == spelled.depth
    assert ours.memory.training.saved_bytes == spelled.memory.training.saved_bytes
    seen = ([f for f in report.receptive_fields if f.tensor == "y"] for report in (ours, spelled))
    assert next(seen) == next(seen)


@pytest.mark.parametrize("calling", SPELLED_OUT)
def test_the_peak_of_a_call_errs_upwards_by_its_results_at_most(calling: bytes) -> None:
    """What a call returns is counted from its beginning, where the body spelled out makes it at its end."""
    inlined = onnx.inliner.inline_local_functions(onnx.ModelProto.FromString(calling)).SerializeToString()
    ours, spelled = analyze(calling), analyze(inlined)
    sizes = {tensor.name: tensor.bytes or 0 for tensor in ours.tensors}
    returned = max(sum(sizes[name] for name in node.outputs) for node in ours.nodes if node.domain == "local")
    low, high = spelled.memory.inference.peak_live_bytes, ours.memory.inference.peak_live_bytes
    assert low is not None
    assert high is not None
    assert low <= high <= low + returned


def test_a_body_within_a_function_has_the_callers_attributes() -> None:
    """Two calls alike in sizes but not in attributes: the branch of each computes with its own."""
    report = analyze(
        text_model(
            """<ir_version: 8, opset_import: ["": 17, "local": 1]>
            g (float[2, 6] x, bool c) => (y, z) { y = local.cut <axis = 0> (x, c) z = local.cut <axis = 1> (x, c) }
            <domain: "local", opset_import: ["": 17]> cut <axis> (x, c) => (y) {
                y = If (c) <
                    then_branch = a () => (p) { p = Relu (x) },
                    else_branch = b () => (r) { r = Concat <axis: int = @axis> (x, x) }
                >
            }"""
        )
    )
    made = [tensor.shape for tensor in report.tensors if tensor.name.endswith("/r")]
    assert made == [(4, 6), (2, 12)]
