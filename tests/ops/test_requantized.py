from typing import Any

import pytest

from analyzer import Options, analyze
from analyzer.spans import POINTWISE, WHOLE, Route, crop, window
from tests.ops.graphs import facts, model, predicted, run

SCALES = "<float s={0.1}, uint8 z={3}>"

BOTH = "uint8[2,1,4] a, uint8[3,4] b"
POOL = "kernel_shape=[3,2], strides=[2,2], pads=[1,0,0,1], ceil_mode=1"

PAIRS = [  # (operands, an op on codes, the same op on their numbers x and c)
    (BOTH, "QLinearAdd(a, s, z, b, s, z, s, z)", "Add(x, c)"),
    (BOTH, "QLinearMul(a, s, z, b, s, z, s)", "Mul(x, c)"),
    ("uint8[2,3] a", "QLinearSigmoid(a, s, z, s, z)", "Sigmoid(x)"),
    ("uint8[2,3] a", "QLinearLeakyRelu<alpha=0.2>(a, s, z, s, z)", "LeakyRelu<alpha=0.2>(x)"),
    ("uint8[2,3,4] a", "QLinearSoftmax<opset=13, axis=1>(a, s, z, s, z)", "Softmax<axis=1>(x)"),
    ("uint8[2,3,4] a", "QLinearSoftmax<opset=11, axis=1>(a, s, z, s, z)", "Softmax<axis=1>(x)"),
    ("uint8[1,4,9,9] a", f"QLinearAveragePool<{POOL}>(a, s, z, s, z)", f"AveragePool<{POOL}>(x)"),
    ("uint8[1,4,9,9] a", "QLinearGlobalAveragePool(a, s, z, s, z)", "GlobalAveragePool(x)"),
    ("uint8[2,3,4] a, uint8[4] b, bool[3,1] k", "QLinearWhere(k, a, s, z, b, s, z, s, z)", "Where(k, x, c)"),
    ("uint8[2,3] a, uint8[2,5] b", "QLinearConcat<axis=1>(s, z, a, s, z, b, s, z)", "Concat<axis=1>(x, c)"),
]

TURNED = [  # with the channels last
    "QLinearAveragePool<kernel_shape=[3,2], strides=[2,2], channels_last=1>(a, s, z, s, z)",
    """QLinearAveragePool<kernel_shape=[3,2], auto_pad="SAME_LOWER", channels_last=1>(a, s, z, s, z)""",
    "QLinearGlobalAveragePool<channels_last=1>(a, s, z, s, z)",
    f"NhwcMaxPool<{POOL}>(a)",
]


def on_codes(operands: str, call: str) -> str:
    return f"({operands}) => (y) {SCALES} {{ y = com.microsoft.{call} }}"


def on_numbers(operands: str, call: str) -> str:
    second = "c = DequantizeLinear(b, s, z)" if " b" in operands else ""
    nodes = f"x = DequantizeLinear(a, s, z) {second} n = {call} y = QuantizeLinear(n, s, z)"
    return f"({operands}) => (y) {SCALES} {{ {nodes} }}"


def turned(call: str) -> str:
    return on_codes("uint8[1,9,9,4] a", call)


@pytest.mark.parametrize(("operands", "codes", "numbers"), PAIRS)
def test_an_op_on_codes_costs_the_way_there_and_back(operands: str, codes: str, numbers: str) -> None:
    """As many steps as DequantizeLinear, the op on numbers and QuantizeLinear together; the runtime's shapes."""
    graph, apart = on_codes(operands, codes), on_numbers(operands, numbers)
    assert predicted(graph) == run(graph) == predicted(apart)
    assert totals(graph)["elementwise_flops"] == totals(apart)["elementwise_flops"]


def totals(graph: str) -> dict[str, Any]:
    report: dict[str, Any] = analyze(model(graph).SerializeToString(), Options()).to_dict()
    return {name: total["known"] for name, total in report["totals"].items()}


@pytest.mark.parametrize("call", TURNED)
def test_a_pool_with_the_channels_last_is_the_runtimes(call: str) -> None:
    """[N, H, W, C] in and out."""
    assert predicted(turned(call)) == run(turned(call))


def test_scales_and_zero_points_are_no_parameters() -> None:
    """A sum of codes has none; its scale and zero point are buffers, each stored once."""
    found = totals(on_codes(*PAIRS[0][:2]))
    assert (found["parameters"], found["buffers"]) == (0, 2)


def test_spans_are_those_of_the_op_on_numbers() -> None:
    """A pool's windows move with its axes; a softmax of opset 11 sees its axis and all after it; parts keep place."""
    pool: Any = facts(turned(TURNED[0])).spans
    assert pool == ((Route(0), Route(1, window(3, 2)), Route(2, window(2, 2)), Route(3)), POINTWISE)
    softmax: Any = facts(on_codes(*PAIRS[5][:2])).spans
    assert softmax[0] == (Route(0), WHOLE, WHOLE)
    joined: Any = facts(on_codes(*PAIRS[9][:2])).spans
    assert (joined[2], joined[5]) == ((Route(0), Route(1)), (Route(0), Route(1, crop(-3))))


@pytest.mark.parametrize(("keepdims", "shape"), [(0, (2, 4)), (1, (2, 1, 4))])
def test_a_mean_of_codes_reduces_the_axes_named(keepdims: int, shape: tuple[int, ...]) -> None:
    """onnxruntime has a schema for QLinearReduceMean and no kernel: the shape is ReduceMean's."""
    call = f"QLinearReduceMean<axes=[1], keepdims={keepdims}>(a, s, z, s, z)"
    assert predicted(on_codes("uint8[2,3,4] a", call)) == {"y": ("uint8", shape)}


def test_a_product_of_shifted_codes_is_an_integer() -> None:
    """MulInteger has no kernel either: 32 bits, two shifts and a multiplication for each element."""
    graph = "(uint8[2,3] a, uint8[2,3] b) => (y) <uint8 z={3}> { y = com.microsoft.MulInteger(a, z, b, z) }"
    assert predicted(graph) == {"y": ("int32", (2, 3))}
    assert facts(graph).elementwise == 3 * 6
