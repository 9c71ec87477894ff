"""Sessions in a child process: what comes back, what they cost, and what is left of those that fail."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

from analyzer.errors import AnalyzerError, BadOption
from analyzer.load import load, strip
from analyzer.options import Level
from analyzer.runtime import child, session
from analyzer.runtime.order import created, running
from analyzer.runtime.session import CALLED, Limits, optimised
from tests.conftest import text_model

CHAIN = """g (float[batch, 8, 16, 16] x) => (float[batch, 8, 16, 16] z)
    <float[8, 8, 3, 3] w = ["location": "weights.bin"], float[8] b = {1, 1, 1, 1, 1, 1, 1, 1}> {
        c = Conv <pads = [1, 1, 1, 1]> (x, w, b)
        r = Relu (c)
        e = Exp (r)
        z = Identity (e)
    }"""

FORKED = """g (float[n, 4] x) => (float[n, 4] z, float[n, 4] loose) {
        a = Exp (x)
        b = Abs (x)
        loose = Neg (b)
        c = Sqrt (a)
        d = Add (b, c)
        e = Mul (d, a)
        z = Sub (e, b)
    }"""

BRANCHED = """g (float[4, 4] x, bool c) => (float[4, 4] z) {
        late = Exp (x)
        first = Abs (x)
        y = If (c) <
            then_branch = t () => (float[4, 4] o) { o = Neg (late) },
            else_branch = f () => (float[4, 4] p) { p = Sqrt (late) }
        >
        z = Add (y, first)
    }"""

WITH_CONSTANT = """g (float[4, 4] x) => (float[4, 4] z) {
        one = Constant <value = float {1.0}> ()
        a = Exp (x)
        b = Add (x, one)
        z = Add (a, b)
    }"""

GRAPHS = {"chain": CHAIN, "forked": FORKED, "branched": BRANCHED, "with constant": WITH_CONSTANT}


def thin(text: str) -> bytes:
    return strip(text_model(text, opset=17))


def real_run(model: bytes, level: Level, place: Path) -> list[tuple[str, int]]:
    """Op types in the order in which a session of this process ran them, with the index of each node."""
    proto = onnx.ModelProto.FromString(model)
    for stored in proto.graph.initializer:
        if stored.data_location == onnx.TensorProto.EXTERNAL:
            zeros = np.zeros(tuple(stored.dims), np.float32)
            stored.CopyFrom(onnx.numpy_helper.from_array(zeros, stored.name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, CALLED[level])
    options.enable_profiling, options.profile_file_prefix = True, str(place / "profile")
    made = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    kinds: dict[str, Any] = {"tensor(bool)": np.bool_, "tensor(float)": np.float32}
    feeds = {
        given.name: np.zeros([dim if isinstance(dim, int) else 2 for dim in given.shape], kinds[given.type])
        for given in made.get_inputs()
    }
    made.run(None, feeds)
    events = json.loads(Path(made.end_profiling()).read_text())
    ran = [event["args"] for event in events if event["name"].endswith("_kernel_time")]
    return [(args["op_name"], int(args["node_index"])) for args in ran]


@pytest.mark.parametrize("level", CALLED)
@pytest.mark.parametrize("name", [name for name in GRAPHS if name != "branched"])
def test_nodes_come_back_in_the_order_in_which_a_session_runs_them(
    name: str, level: Level, tmp_path: Path
) -> None:
    """A real session's profile is the second source, for graphs that the optimiser changes and those it leaves."""
    model = thin(GRAPHS[name])
    original, made = load(model).graph, load(optimised(model, level).model).graph
    order = [made.nodes[index] for index in running(made, original)]
    ran = real_run(model, level, tmp_path)
    assert [node.op_type for node in order] == [op_type for op_type, _ in ran]
    by_index = sorted(range(len(ran)), key=lambda place: ran[place][1])
    assert [order[place].op_type for place in created(order, original)] == [
        ran[place][0] for place in by_index
    ]


def test_a_node_waits_for_what_its_bodies_read(tmp_path: Path) -> None:
    """A tensor that only a branch reads is made before the branching node."""
    model = thin(BRANCHED)
    made = load(optimised(model, "disable").model).graph
    order = [made.nodes[index].op_type for index in running(made, load(model).graph)]
    ran = [op_type for op_type, _ in real_run(model, "disable", tmp_path) if op_type not in ("Neg", "Sqrt")]
    assert order == ran


def test_shapes_are_those_that_onnxruntime_knows_before_it_runs() -> None:
    """Symbols stay symbols, and the shape of a result that nobody declared is inferred by onnxruntime itself."""
    made = optimised(thin(CHAIN), "disable")
    assert made.dims == dict.fromkeys("crez", ("batch", 8, 16, 16))
    assert made.release == onnxruntime.__version__


def test_weights_cost_neither_disk_nor_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A hundred gigabytes of weights, with a limit of a few megabytes for the session and nothing left behind."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    layers = "".join(f"y{i} = MatMul ({'x' if not i else f'y{i - 1}'}, w{i})\n" for i in range(6))
    stored = ", ".join(f'float[65536, 65536] w{i} = ["location": "weights.bin"]' for i in range(6))
    model = strip(text_model(f"g (float[n, 65536] x) => (float[n, 65536] y5) <{stored}> {{ {layers} }}"))
    made = optimised(model, "all", Limits(seconds=60, anonymous_bytes=256 << 20))
    assert len(load(made.model).graph.nodes) == 6
    assert not [*tmp_path.iterdir()]


STRANGERS = {
    "dies": ("import os; os.abort()", "RUNTIME_DIED"),
    "says nothing": ("", "RUNTIME_DIED"),
    "hangs": ("import time; time.sleep(60)", "RUNTIME_TOO_SLOW"),
    "eats memory": ("b = bytearray(b'1') * (300 << 20); import time; time.sleep(60)", "RUNTIME_TOO_LARGE"),
}


@pytest.mark.parametrize("name", STRANGERS)
def test_a_session_that_fails_is_one_error(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A child that dies, hangs or eats memory is ended and told of, and its files go."""
    code, reason = STRANGERS[name]
    script = tmp_path / "child.py"
    script.write_text(code)
    place = tmp_path / "place"
    place.mkdir()
    monkeypatch.setattr(child, "__file__", str(script))
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(AnalyzerError) as caught:
        optimised(thin(CHAIN), "all", Limits(1.0 if name == "hangs" else 60.0, anonymous_bytes=200 << 20))
    assert caught.value.reason == reason
    assert not [*place.iterdir()]


def test_a_model_that_onnxruntime_refuses_is_told_with_its_words() -> None:
    """An op that no provider has is onnxruntime's refusal, on one line."""
    model = text_model("g (float[2] x) => (float[2] y) { y = Nonsense (x) }")
    with pytest.raises(AnalyzerError) as caught:
        optimised(strip(model), "all")
    assert caught.value.reason == "RUNTIME_REFUSED"
    assert "Nonsense" in caught.value.message
    assert "\n" not in caught.value.message


def test_without_onnxruntime_the_option_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The line says what to install."""
    monkeypatch.setattr(session, "find_spec", lambda _: None)
    with pytest.raises(BadOption, match=r"onnx-analyzer\[verify\]") as caught:
        optimised(thin(CHAIN), "all")
    assert caught.value.reason == "RUNTIME_MISSING"
