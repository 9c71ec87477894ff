"""What is read of a GPU, on profiles that were made up after onnxruntime's form: none was measured on a card."""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import msgspec
import pytest

from analyzer.cli import main
from analyzer.devices import find, load
from analyzer.errors import BadOption
from analyzer.report import RooflineRow
from analyzer.verify import cuda, profile
from analyzer.verify.cuda import Card
from analyzer.verify.measure import CPU, CUDA, Mark, Told
from analyzer.verify.profile import Arena, Kernel
from analyzer.verify.record import Section
from analyzer.verify.subject import Subject
from tests.conftest import shipped

SECTION = Section("memory", 1, 1, "all")
CARD = Card(0, "Some GPU", "999.1", 8 << 30)


def kernel(node: str, provider: str, microseconds: int, **memory: int) -> dict[str, object]:
    counted = {f"mem_{name}": str(value) for name, value in memory.items()}
    args = {"op_name": "Conv", "provider": provider, **counted}
    return {"cat": "Node", "name": f"{node}_kernel_time", "dur": microseconds, "ts": 0, "args": args}


EVENTS = [
    {"cat": "Session", "name": "model_loading_uri", "dur": 9, "args": {}},
    kernel(
        "copy", CPU, 3, bytes_requested_in_use=70, requested_in_use_delta=7, in_use_peak=256, arena_held=512
    ),
    kernel(
        "c",
        CUDA,
        40,
        bytes_requested_in_use=900,
        requested_in_use_delta=100,
        in_use_peak=1024,
        arena_held=4096,
    ),
    {"cat": "Node", "name": "c_fence_after", "dur": 1, "args": {"op_name": "Conv"}},
    kernel(
        "d", CUDA, 5, bytes_requested_in_use=950, requested_in_use_delta=50, in_use_peak=2048, arena_held=8192
    ),
    kernel(
        "c", CUDA, 30, bytes_requested_in_use=900, requested_in_use_delta=0, in_use_peak=2048, arena_held=8192
    ),
]


@pytest.fixture(name="events")
def events_fixture(tmp_path: Path) -> list[dict[str, object]]:
    path = tmp_path / "profile.json"
    path.write_text(json.dumps(EVENTS))
    return profile.events_of(path)


def test_each_provider_has_counters_of_its_own(events: list[dict[str, object]]) -> None:
    """The card's arena is that of the card's kernels, the CPU's that of the CPU's."""
    assert profile.arena(events, CUDA) == Arena(800, 2048, 8192)
    assert profile.arena(events, CPU) == Arena(63, 256, 512)


def test_a_profile_without_counters_has_no_arena() -> None:
    """As those of releases before 1.31: that is not zero bytes."""
    assert profile.arena([kernel("c", CUDA, 1)], CUDA) is None


def test_times_are_those_of_kernels(events: list[dict[str, object]]) -> None:
    """Each with its node, its op and its provider; fences are none."""
    assert [(one.node, one.provider, one.microseconds) for one in profile.kernels(events)] == [
        ("copy", CPU, 3.0), ("c", CUDA, 40.0), ("d", CUDA, 5.0), ("c", CUDA, 30.0),
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["{}", "[", "[1, null]"])
def test_what_is_no_profile_is_refused_or_empty(text: str, tmp_path: Path) -> None:
    """A profile that was cut off is an error, other entries are left out."""
    path = tmp_path / "profile.json"
    path.write_text(text)
    if text.endswith("]"):
        assert profile.events_of(path) == []
    else:
        with pytest.raises(ValueError, match=r"."):
            profile.events_of(path)


def row(name: str, seconds: float | None) -> RooflineRow:
    return RooflineRow(name, "float32", 1, 1.0, "memory", seconds)


def test_a_kernel_that_is_faster_than_the_roofline_is_off(events: list[dict[str, object]]) -> None:
    """The last run counts; a node without a row is said to have none."""
    least = {"c": row("c", 20e-6), "d": row("d", 6e-6)}
    extra = Kernel("fused", "Fused", CUDA, 1.0)
    found = cuda.times([*profile.kernels(events), extra], least, SECTION)
    assert [(one.name, one.within) for one in found.figures] == [("c", True), ("d", False)]
    assert (found.compared, found.agreed, found.kind) == (2, 1, "time")
    assert found.unmeasured == "1 nodes have no row in the roofline"


def test_the_context_is_taken_off_the_card() -> None:
    """An empty session shows the context; what is neither that nor the arena lies beside it."""
    empty = [Mark("before", 100, 100), Mark("session", 400, 450), Mark("after", 390, 400)]
    marks = [
        Mark("before", 390, 390),
        Mark("session", 900, 950),
        Mark("run", 1200, 1500),
        Mark("after", 400, 1200),
    ]
    found = cuda.card_memory(marks, empty, 800, None, 900, SECTION)
    told = {figure.name: (figure.predicted, figure.measured) for figure in found.figures}
    assert told == {
        "context_bytes": (None, 290),
        "card_bytes": (None, 1110 + 290),
        "beside_arena_bytes": (None, 1110 - 800),
    }


def test_nothing_is_made_up_where_the_driver_is_silent() -> None:
    """No marks, no figures."""
    found = cuda.card_memory([], [], None, None, 5, SECTION)
    assert (found.figures, found.unmeasured) == ((), "NVML told nothing")


def test_the_whole_of_it_runs_with_a_cpu_in_the_place_of_the_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sessions, profiles and comparisons meet; nothing of it is a measurement of CUDA."""
    monkeypatch.setattr(cuda, "CUDA", CPU)
    monkeypatch.setattr(cuda, "provider", lambda *_: (CPU, {}))
    subject = Subject(shipped("lenet5"), tmp_path)
    bound = subject.at(None)
    assert not isinstance(bound, str)
    nobody = msgspec.structs.replace(CARD, index=None)
    found = cuda.sections(subject, bound, ("disable", "all"), nobody, device=find("gtx980"))
    told = {section.kind: section for section in found}
    assert told["shape"].agreed == told["dtype"].agreed == 12
    assert [section.level for section in found if section.kind == "memory"] == ["disable", "all"]
    assert {figure.name for figure in told["memory"].figures} == {"arena_peak_bytes", "arena_held_bytes"}
    assert next(section for section in found if section.kind == "time").compared == 12
    assert [figure.measured for figure in found[-1].figures] == ["fits", "fits"]
    assert "NVML told nothing" in {section.unmeasured for section in found}


RUNS, FAILS = Told(stage="end"), Told(stage="run", refusal="Available memory is smaller than requested")


@pytest.mark.parametrize(
    ("below", "above", "within"),
    [(FAILS, RUNS, True), (RUNS, RUNS, False), (FAILS, FAILS, False), (RUNS, FAILS, False)],
)
def test_fits_is_tested_on_both_sides(below: Told, above: Told, within: bool) -> None:
    """A model has to run just above of its prediction, and to fail just below."""
    found = cuda.fits(below, above, 1000, 0.05, SECTION)
    assert found.within == within
    assert [figure.name for figure in found.figures] == ["limit of 949", "limit of 1051"]


def test_a_calibration_is_a_device_with_its_provenance(tmp_path: Path) -> None:
    """The file that a machine is calibrated by can be given to --device; its source names driver, release and date."""
    marks = [Mark("before", 1000, 1000), Mark("session", 301_000, 301_000)]
    path = tmp_path / "card.toml"
    path.write_text(cuda.calibrated(CARD, marks, "1.32.0", "2026-01-01"))
    found = load(path)
    assert (found.name, found.memory_bytes, found.context_bytes) == ("Some GPU", 8 << 30, 300_000)
    assert all(
        word in tomllib.loads(path.read_text())["source"] for word in ("999.1", "1.32.0", "2026-01-01")
    )


def test_cudnn_is_told_how_to_search() -> None:
    """And the arena's limit only where there is one."""
    told = {"device_id": "1", "cudnn_conv_algo_search": "HEURISTIC", "cudnn_conv_use_max_workspace": "0"}
    assert cuda.provider(1, cuda.Convolution("HEURISTIC", False)) == (CUDA, told)
    assert "gpu_mem_limit" in cuda.provider(0, cuda.CONVOLUTION, 5)[1]


class Absent(ModuleType):
    """NVML's bindings on a machine without a driver."""

    class NVMLError(Exception):
        """What its calls raise."""

    def nvmlInit(self) -> None:
        raise self.NVMLError("NVML Shared Library Not Found")


def test_without_a_gpu_there_is_one_clear_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Exit status 2, and nothing is run."""
    monkeypatch.setattr("subprocess.Popen", None)
    monkeypatch.setattr(cuda, "find_spec", lambda _: True)
    monkeypatch.setitem(sys.modules, "pynvml", Absent("pynvml"))
    assert main(["verify", str(shipped("lenet5")), "--provider", "cuda"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "no NVIDIA GPU here" in line


def test_without_the_bindings_it_is_said_how_to_get_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The extra's name is in the message."""
    monkeypatch.setattr(cuda, "find_spec", lambda _: None)
    with pytest.raises(BadOption, match=r"onnx-analyzer\[verify-cuda\]"):
        cuda.card()
