from __future__ import annotations

import pytest

from analyzer.errors import BadModel
from analyzer.spans import Read, Route
from tests.ops.graphs import evaluated, facts, predicted, run, runs
from tests.ops.seen import Probe

# T steps, N rows, I inputs, H states; W, R, B by the number of gates
LSTM = "float[{d},20,3] w, float[{d},20,5] r, float[{d},40] b"
GRU = "float[{d},15,3] w, float[{d},15,5] r, float[{d},30] b"
RNN = "float[{d},5,3] w, float[{d},5,5] r, float[{d},10] b"
PEEPHOLES = LSTM + ", float[1,2,5] i, float[1,2,5] j, float[1,15] p"

LAYERS = [  # x [7, 2, 3] -> 5 states: (outputs, weights, call, directions, gates)
    ("y, h, c", LSTM, "LSTM<hidden_size=5>(x, w, r)", 1, 4),
    ("y, h, c", LSTM, "LSTM<hidden_size=5>(x, w, r, b)", 1, 4),
    ("y, h, c", LSTM, 'LSTM<hidden_size=5, direction="reverse">(x, w, r, b)', 1, 4),
    ("y, h, c", LSTM, 'LSTM<hidden_size=5, direction="bidirectional">(x, w, r, b)', 2, 4),
    ("y, h, c", LSTM + ", int32[2] s={{7,4}}", "LSTM<hidden_size=5>(x, w, r, b, s)", 1, 4),
    ("y, h, c", PEEPHOLES, "LSTM<hidden_size=5, input_forget=1>(x, w, r, b, , i, j, p)", 1, 4),
    ("y, h, c", LSTM, 'LSTM<hidden_size=5, activations=["HardSigmoid", "Relu", "Softsign"], clip=3.0>(x, w, r)', 1, 4),
    (", h", LSTM, "LSTM<hidden_size=5>(x, w, r)", 1, 4),
    ("y, h", GRU, "GRU<hidden_size=5>(x, w, r)", 1, 3),
    ("y, h", GRU, 'GRU<hidden_size=5, direction="bidirectional", linear_before_reset=1>(x, w, r, b)', 2, 3),
    ("y, h", GRU + ", float[1,2,5] i", 'GRU<hidden_size=5, direction="reverse">(x, w, r, b, , i)', 1, 3),
    ("y, h", RNN, "RNN<hidden_size=5>(x, w, r)", 1, 1),
    ("y, h", RNN, 'RNN<hidden_size=5, activations=["Relu", "Tanh"], direction="bidirectional">(x, w, r, b)', 2, 1),
    ("y", RNN, "RNN<hidden_size=5>(x, w, r)", 1, 1),
]  # fmt: skip

BY_ROW = [  # layout 1, which onnxruntime does not have: x [2, 7, 3]
    ("y, h, c", LSTM, "LSTM<hidden_size=5, layout=1>(x, w, r)"),
    ("y, h", GRU, "GRU<hidden_size=5, layout=1>(x, w, r)"),
    ("y, h", RNN, "RNN<hidden_size=5, layout=1>(x, w, r)"),
]

STEPS = [  # for each state and step
    ("RNN", RNN, "", 1 + 1),
    ("GRU", GRU, "", 3 + 2 * 4 + 1 + 1 + 4),
    ("LSTM", LSTM, "", 4 + 3 * 4 + 2 + 3 + 1),
    ("LSTM", PEEPHOLES, ", , , , , p", 22 + 3 + 3),
]

# bytes that torch 2.15 keeps on CPU, oneDNN off, of 10 steps, 4 rows and 16 states; an input that is not laid out row
# by row is copied for each direction (tests/core/test_saved.py)
KEPT = [  # (op, gates, inputs, direction, bytes)
    ("LSTM", 4, 24, "forward", 21760),
    ("LSTM", 4, 24, "bidirectional", 39680),
    ("LSTM", 4, 32, "bidirectional", 40960),  # the second of two layers
    ("GRU", 3, 24, "forward", 21760),
    ("GRU", 3, 24, "bidirectional", 39680),
    ("RNN", 1, 24, "forward", 6656),
    ("RNN", 1, 24, "bidirectional", 9472),
]

REFUSED = [
    ("DIRECTION", 'LSTM<hidden_size=5, direction="backward">(x, w, r)'),
    ("WEIGHT_SHAPE", 'LSTM<hidden_size=5, direction="bidirectional">(x, w, r)'),
    ("WEIGHT_SHAPE", "LSTM<hidden_size=6>(x, w, r)"),
    ("WEIGHT_SHAPE", "GRU<hidden_size=5>(x, w, r)"),
]


def layer(outputs: str, weights: str, call: str, directions: int = 1, x: str = "7,2,3") -> str:
    first, _, rest = outputs.partition(", ")
    named = ", ".join(name for name in (first, rest) if name)
    return f"(float[{x}] x) => ({named}) <{weights.format(d=directions)}> {{ {outputs} = {call} }}"


@pytest.mark.parametrize("opset", [7, 14, 22])
@pytest.mark.parametrize(("outputs", "weights", "call", "directions", "gates"), LAYERS)
def test_a_layer_is_the_runtimes(
    outputs: str, weights: str, call: str, directions: int, gates: int, opset: int
) -> None:
    """Every gate multiplies 3 inputs and 5 states for each of its 5 results, 7 steps and 2 rows."""
    graph = layer(outputs, weights, call, directions)
    assert predicted(graph, opset) == run(graph, opset)
    assert facts(graph, opset).macs == gates * (3 + 5) * 5 * 7 * 2 * directions


@pytest.mark.parametrize(("outputs", "weights", "call"), BY_ROW)
def test_in_layout_1_rows_come_first(outputs: str, weights: str, call: str) -> None:
    """As onnx's reference implementation has it, and the cost is the same."""
    graph = layer(outputs, weights, call, x="2,7,3")
    assert predicted(graph) == evaluated(graph)
    assert facts(graph).macs == facts(layer(outputs, weights, call.replace(", layout=1", ""))).macs


def test_a_gru_costs_what_its_gates_cost() -> None:
    """3 gates x (16 + 32) x 32 for each of 10 steps and 4 rows: 184,320, and a bias adds none."""
    weights = "float[1,96,16] w, float[1,96,32] r, float[1,192] b"
    plain, biased = (
        f"(float[10,4,16] x) => (y) <{weights}> {{ y = GRU<hidden_size=32>({operands}) }}"
        for operands in ("x, w, r", "x, w, r, b")
    )
    assert facts(plain).macs == facts(biased).macs == 3 * (16 + 32) * 32 * 10 * 4 == 184_320


@pytest.mark.parametrize(("op_type", "weights", "more", "steps"), STEPS)
def test_a_state_takes_so_many_steps(op_type: str, weights: str, more: str, steps: int) -> None:
    """Sums, activations and products of its cell, whichever activations are named."""
    graph = layer("y", weights, f"{op_type}<hidden_size=5>(x, w, r{more})")
    assert facts(graph).elementwise == steps * 7 * 2 * 5


@pytest.mark.parametrize(("op_type", "gates", "inputs", "direction", "amount"), KEPT)
def test_autograd_keeps_what_torchs_cells_keep(
    op_type: str, gates: int, inputs: int, direction: str, amount: int
) -> None:
    """The weights, which are parameters, left out."""
    d = 2 if direction == "bidirectional" else 1
    said = facts(
        f"(float[10,4,{inputs}] x) => (y) <float[{d},{gates * 16},{inputs}] w, float[{d},{gates * 16},16] r>"
        f'{{ y = {op_type}<hidden_size=16, direction="{direction}">(x, w, r) }}'
    )
    *given, states = said.saved
    assert len(given) == d
    assert sum(size.bytes or 0 for size in (given[0], states)) == amount


@pytest.mark.parametrize("op_type", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_a_step_sees_what_its_direction_lets_it_see(op_type: str, direction: str) -> None:
    """A step of the input that is changed changes the states after it, before it, or all, of its own row."""
    gates, d = {"LSTM": 4, "GRU": 3, "RNN": 1}[op_type], 2 if direction == "bidirectional" else 1
    probe = Probe(
        f"(float[6,2,3] x, float[{d},{4 * gates},3] w, float[{d},{4 * gates},4] r, float[{d},2,4] i) => (y)"
        f'{{ y = {op_type}<hidden_size=4, direction="{direction}">(x, w, r, , , i) }}'
    )
    word = {"forward": Read("prefix", 0), "reverse": Read("suffix", 0)}.get(direction, Read("global"))
    assert probe.route("x", 0) == word
    assert probe.shown("x", 0, to=0) == probe.told("x", 0, to=0)
    probe.check("x", 1)
    probe.check("i", 1)


@pytest.mark.parametrize(("place", "axis"), [(0, 2), (1, 1), (2, 1)])
def test_rows_of_the_batch_keep_apart_in_every_result(place: int, axis: int) -> None:
    """In the states of all steps they are the third axis, in the last ones the second."""
    probe = Probe(
        "(float[6,2,3] x, float[1,16,3] w, float[1,16,4] r) => (y, h, c)"
        "{ y, h, c = LSTM<hidden_size=4>(x, w, r) }",
        place=place,
    )
    assert probe.route("x", 1) == Route(axis)
    probe.check("x", 1)


@pytest.mark.parametrize(("reason", "call"), REFUSED)
def test_a_layer_whose_weights_do_not_fit_is_refused(reason: str, call: str) -> None:
    """By us with a reason, and by onnxruntime in some way."""
    graph = layer("y", LSTM, call)
    with pytest.raises(BadModel) as caught:
        facts(graph)
    assert caught.value.reason == reason
    assert not runs(graph)
