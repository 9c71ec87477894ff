"""The prediction as a caller meets it, and against what real sessions measured."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import numpy as np
import onnx
import onnxruntime
import pytest

from analyzer import BadOption, Options, Report, analyze
from analyzer.cli import main
from analyzer.errors import Crashed
from analyzer.options import LEVELS, Level
from analyzer.report import RuntimeMemory
from analyzer.runtime.session import CALLED
from analyzer.wire import from_message, to_message
from tests.conftest import shipped, text_model

POINTWISE = """g (float[n, 300] x) => (float[n, 300] z) {
        a = Exp (x)
        b = Relu (a)
        c = Add (a, b)
        d = Exp (c)
        e = Mul (d, c)
        z = Neg (e)
    }"""

BRANCHES = """g (float[4, 1000] x) => (float[4, 1000] z, float[4, 500] y) {
        a = Exp (x)
        b = Neg (a)
        p, q = Split <axis = 1, num_outputs = 2> (b)
        y = Abs (p)
        c = Concat <axis = 1> (q, p)
        z = Add (c, a)
    }"""

PRODUCTS = """g (float[7, 64] x) => (float[7, 64] y) <
        float[64, 64] u = ["location": "weights.bin"],
        float[64, 64] v = ["location": "weights.bin"],
        float[64, 64] w = ["location": "weights.bin"]
    > {
        a = MatMul (x, u)
        b = MatMul (a, v)
        y = MatMul (b, w)
    }"""

GRAPHS = {"pointwise": POINTWISE, "branches": BRANCHES}


def predicted(model: bytes | Path, level: Level = "all", **dims: int) -> RuntimeMemory:
    report = analyze(model, Options(dims=dims, runtime="onnxruntime", runtime_level=level))
    assert report.memory.inference.onnxruntime is not None, report.warnings
    return report.memory.inference.onnxruntime


def measured(model: bytes | str, level: Level, place: Path, rows: int) -> tuple[int, int]:
    """Peak and held bytes of a session in this process, by its own profile, of a model or of its file."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, CALLED[level])
    options.intra_op_num_threads = 1
    options.enable_profiling, options.profile_file_prefix = True, str(place / "profile")
    made = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (given,) = made.get_inputs()
    shape = [dim if isinstance(dim, int) else rows for dim in given.shape]
    for _ in range(2):
        made.run(None, {given.name: np.zeros(shape, np.float32)})
    events = json.loads(Path(made.end_profiling()).read_text())
    last = [event["args"] for event in events if event["name"].endswith("_kernel_time")][-1]
    return int(last["mem_in_use_peak"]), int(last["mem_arena_held"])


@pytest.mark.parametrize("kind", ["zero", "distinct"])
def test_equal_packed_weights_are_kept_once(kind: str, tmp_path: Path) -> None:
    """Three matrices of one size take the room of one where all are zero, and of three where they differ."""
    random = np.random.default_rng(0)
    proto = onnx.ModelProto.FromString(text_model(PRODUCTS, opset=18))
    for stored in proto.graph.initializer:
        numbers = random.random((64, 64), np.float32) * np.float32(kind == "distinct")
        stored.CopyFrom(onnx.numpy_helper.from_array(numbers, stored.name))
    model = proto.SerializeToString()
    both = predicted(model)
    said = both if kind == "zero" else both.distinct
    assert said.base_bytes == 64 * 64 * 4 * (1 if kind == "zero" else 3)
    assert (said.peak_bytes, said.held_bytes) == measured(model, "all", tmp_path, 7)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("name", GRAPHS)
def test_prediction_equals_a_real_run(name: str, level: Level, tmp_path: Path) -> None:
    """The peak and the held bytes are those of onnxruntime's profile, to the byte."""
    model = text_model(GRAPHS[name], opset=18)
    said = predicted(model, level, **({"n": 7} if name == "pointwise" else {}))
    assert said.status == "complete", said.unmodelled
    assert (said.peak_bytes, said.held_bytes) == measured(model, level, tmp_path, 7)


def test_prediction_says_what_it_is_of() -> None:
    """Release, level and threads are in the answer."""
    options = Options(runtime="onnxruntime", runtime_level="basic", runtime_threads=2)
    said = analyze(text_model(BRANCHES, opset=18), options).memory.inference.onnxruntime
    assert said is not None
    assert (said.release, said.level, said.threads) == (onnxruntime.__version__, "basic", 2)


def test_nobody_is_started_unless_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the option there is no child, and the field is null."""
    monkeypatch.setattr("subprocess.Popen", None)
    assert analyze(text_model(BRANCHES, opset=18)).memory.inference.onnxruntime is None


def test_prediction_needs_no_pass() -> None:
    """It is answered although nobody asks for the memory pass."""
    said = analyze(text_model(BRANCHES, opset=18), Options(passes=("cost",), runtime="onnxruntime"))
    assert said.memory.inference.peak_live_bytes is None
    assert said.memory.inference.onnxruntime is not None


def test_what_runs_below_comes_first() -> None:
    """Held is at least the peak, and the peak at least what was taken before the first kernel."""
    said = predicted(shipped("lenet5"))
    assert said.held_bytes >= said.peak_bytes >= said.base_bytes > 0


def test_an_op_that_nobody_modelled_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name and number are in the report, the status is partial."""
    from analyzer.runtime import kernel

    entries = {key: entry for key, entry in kernel._KERNELS.items() if key[1] != "Exp"}
    monkeypatch.setattr(kernel, "_KERNELS", entries)
    said = predicted(text_model(POINTWISE, opset=18), n=7)
    assert (said.status, said.unmodelled) == ("partial", {"Exp": 2})


def test_a_dead_session_is_a_warning(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest of the report stands; the field is null and one warning says why."""

    def dies(*_: object) -> None:
        raise Crashed("RUNTIME_DIED", "onnxruntime ended by signal 11 while it made a session")

    monkeypatch.setattr("analyzer.runtime.optimised", dies)
    report = analyze(text_model(BRANCHES, opset=18), Options(runtime="onnxruntime"))
    assert report.memory.inference.onnxruntime is None
    (warning,) = (warning for warning in report.warnings if warning.reason == "RUNTIME_DIED")
    assert "signal 11" in warning.message
    assert report.totals.nodes.known == 6


BAD: dict[str, dict[str, object]] = {
    "UNKNOWN_RUNTIME": {"runtime": "tensorrt"},
    "UNKNOWN_LEVEL": {"runtime_level": "most"},
    "NO_THREADS": {"runtime_threads": 0},
}


@pytest.mark.parametrize("reason", BAD)
def test_bad_options_are_refused(reason: str) -> None:
    """Each with its reason, and the option at fault."""
    with pytest.raises(BadOption) as caught:
        Options(**BAD[reason])  # type: ignore[arg-type]  # that is the point
    assert (caught.value.reason, caught.value.facts["option"]) == (reason, next(iter(BAD[reason])))


def test_command_and_wire_say_the_same(tmp_path: Path) -> None:
    """The command line's report is that of Python, and so is what a message carries."""
    path = tmp_path / "model.onnx"
    path.write_bytes(text_model(BRANCHES, opset=18))
    options = Options(runtime="onnxruntime", runtime_level="basic", runtime_threads=2)
    report = analyze(path, options)
    out = tmp_path / "report.json"
    flags = ["--runtime", "onnxruntime", "--level", "basic", "--threads", "2"]
    assert main(["analyze", str(path), *flags, "-o", str(out)]) == 0
    assert msgspec.json.decode(out.read_bytes(), type=Report) == report
    assert from_message(to_message(report), Report) == report
    assert from_message(to_message(options), Options) == options


def test_the_table_has_a_line_for_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Peak, held and base with the release and the level."""
    path = tmp_path / "model.onnx"
    path.write_bytes(text_model(BRANCHES, opset=18))
    assert main(["analyze", str(path), "--runtime", "onnxruntime"]) == 0
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("onnxruntime"))
    assert onnxruntime.__version__ in line or "KiB" in line
