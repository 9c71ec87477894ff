"""What a stranger's model may not bring along, and what comes of one that takes its process down."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from analyzer.cli import main
from analyzer.errors import BadModel
from analyzer.graph import Value
from analyzer.verify import guard, stage
from analyzer.verify.feeds import Feed
from analyzer.verify.measure import Asked, Limits, measure
from tests.conftest import text_model

GRAPH = """g (float[1, 512] x) => (float[1, 512] y) <float[512, 512] w = ["location": "weights.bin"]> {
        y = MatMul (x, w)
    }"""
BYTES = 512 * 512 * 4


def model_at(folder: Path, location: str, **told: str) -> Path:
    """A model whose one weight lies where `location` says."""
    proto = onnx.ModelProto.FromString(text_model(GRAPH))
    (weight,) = proto.graph.initializer
    del weight.external_data[:]
    for key, value in {"location": location, "length": str(BYTES), **told}.items():
        weight.external_data.add(key=key, value=value)
    path = folder / "model.onnx"
    path.write_bytes(proto.SerializeToString())
    return path


def symlink(folder: Path) -> Path:
    (folder / "weights.bin").symlink_to(secret(folder))
    return model_at(folder, "weights.bin")


def hard_link(folder: Path) -> Path:
    os.link(secret(folder), folder / "weights.bin")
    return model_at(folder, "weights.bin")


def linked_folder(folder: Path) -> Path:
    (folder / "below").symlink_to(secret(folder).parent)
    return model_at(folder, "below/secret")


def pipe(folder: Path) -> Path:
    os.mkfifo(folder / "weights.bin")
    return model_at(folder, "weights.bin")


def own_format(folder: Path) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(b"\x20\0\0\0ORTM" + bytes(64))
    return path


def compiled(folder: Path) -> Path:
    text = """<ir_version: 10, opset_import: ["" : 21, "com.microsoft" : 1]>
        g (bool c, float[1] x) => (float[1] y) {
            y = If (c) <
                then_branch = t () => (float[1] a) {
                    a = com.microsoft.EPContext <ep_cache_context = "/etc/passwd", embed_mode = 0> (x)
                },
                else_branch = e () => (float[1] b) { b = Identity (x) }
            >
        }"""
    path = folder / "model.onnx"
    path.write_bytes(text_model(text))
    return path


def secret(folder: Path) -> Path:
    """A file outside of the model's folder."""
    path = folder.parent / "elsewhere" / "secret"
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(bytes(BYTES))
    return path


HOSTILE: dict[str, tuple[str, Callable[[Path], Path]]] = {
    "a link": ("EXTERNAL_FILE", symlink),
    "a hard link": ("EXTERNAL_FILE", hard_link),
    "a link on the way": ("EXTERNAL_FILE", linked_folder),
    "a pipe": ("EXTERNAL_FILE", pipe),
    "a way out": ("EXTERNAL_PATH", lambda folder: model_at(folder, "../elsewhere/secret")),
    "a way out below": ("EXTERNAL_PATH", lambda folder: model_at(folder, "below/../../elsewhere/secret")),
    "a way out with backslashes": ("EXTERNAL_PATH", lambda folder: model_at(folder, "..\\elsewhere\\secret")),
    "an absolute path": ("EXTERNAL_PATH", lambda folder: model_at(folder, str(secret(folder)))),
    "a drive": ("EXTERNAL_PATH", lambda folder: model_at(folder, "C:/secret")),
    "nowhere": ("EXTERNAL_PATH", lambda folder: model_at(folder, "")),
    "an address": ("EXTERNAL_PATH", lambda folder: model_at(folder, "*/_ORT_MEM_ADDR_/*", offset="4096")),
    "onnxruntime's format": ("RUNTIME_FORMAT", own_format),
    "a compiled blob": ("COMPILED_CONTEXT", compiled),
}


@pytest.fixture(name="folder")
def folder_fixture(tmp_path: Path) -> Path:
    path = tmp_path / "models"
    path.mkdir()
    return path


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_model_is_refused_before_it_is_run(
    what: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line, exit status 2, and no process is started."""
    monkeypatch.setattr("subprocess.Popen", None)
    reason, make = HOSTILE[what]
    path = make(folder)
    with pytest.raises(BadModel) as caught:
        stage.stage(path, folder.parent)
    assert caught.value.reason == reason
    (folder.parent / "weights.bin").unlink(missing_ok=True)
    assert main(["verify", str(path)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_weights_beside_the_model_are_used_as_they_are(folder: Path, tmp_path: Path) -> None:
    """External data in a plain file below the model's folder is copied; the copy's product is that of numpy."""
    random = np.random.default_rng(0)
    weights, x = random.random((512, 512), np.float32), random.random((1, 512), np.float32)
    (folder / "below").mkdir()
    (folder / "below" / "data").write_bytes(bytes(4096) + weights.tobytes())
    place = tmp_path / "private"
    place.mkdir()
    staged = stage.stage(model_at(folder, "below/data", offset="4096"), place)
    assert staged.invented == 0
    np.save(place / "x.npy", x)
    asked = Asked(staged.write("m.onnx"), "disable", 1, False, fed(x), runs=1, keep="y")
    (told,) = measure(place, [asked])
    assert told.refusal is None
    np.testing.assert_allclose(np.load(place / "y0.npy"), x @ weights, rtol=1e-4)


def test_external_data_that_is_too_short_is_refused(folder: Path, tmp_path: Path) -> None:
    """A file that ends before the tensor does is an error that names it."""
    (folder / "weights.bin").write_bytes(bytes(100))
    with pytest.raises(BadModel, match="of a file of 100") as caught:
        stage.stage(model_at(folder, "weights.bin"), tmp_path)
    assert caught.value.facts["tensor"] == "w"


def test_absent_weights_are_made_up_the_same_each_time(folder: Path, tmp_path: Path) -> None:
    """Two copies of a model without its weights are equal, and their numbers neither zero nor large."""
    found = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        staged = stage.stage(model_at(folder, "weights.bin"), tmp_path / name)
        assert staged.invented == 1
        found.append(np.fromfile(tmp_path / name / "weights.bin", np.float32))
    assert np.array_equal(found[0], found[1])
    assert 0 < np.abs(found[0]).max() < 1


def fed(values: Value) -> dict[str, Feed]:
    """The file of the input `x`."""
    return {"x": Feed("x.npy", 1, values.shape)}


# ---- the process


@pytest.fixture(name="sessions")
def sessions_fixture(tmp_path: Path) -> Callable[[str], Asked]:
    """A session on a model that copies its input, in `tmp_path`; its file gets a name."""
    np.save(tmp_path / "x.npy", np.zeros(3, np.float32))

    def make(name: str) -> Asked:
        (tmp_path / name).write_bytes(text_model("g (float[3] x) => (float[3] y) { y = Neg (x) }"))
        return Asked(name, "all", 1, True, fed(np.zeros(3)))

    return make


DEATHS = {
    "os.kill(os.getpid(), 11)": "SIGSEGV",
    "os._exit(3)": "exit status 3",
    "time.sleep(60)": "not finished within",
    "bytearray(1 << 40)": "",
}


@pytest.mark.parametrize("deed", DEATHS)
def test_the_death_of_a_session_is_a_finding(
    deed: str, sessions: Callable[[str], Asked], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told of that session alone; those before and after it are measured."""
    from analyzer.verify import child

    source = Path(child.__file__).read_text()
    deadly = tmp_path / "deadly.py"
    line = "    start = time.perf_counter()\n"
    assert line in source
    deadly.write_text(source.replace(line, f"{line}    if asked['model'] == 'bad': {deed}\n"))
    monkeypatch.setattr(child, "__file__", str(deadly))
    limits = Limits(seconds=4.0, memory_bytes=8 << 30)
    told = measure(tmp_path, [sessions("good"), sessions("bad"), sessions("last")], limits)
    assert [one.refusal is None for one in told] == [True, False, True]
    assert DEATHS[deed] in (told[1].refusal or "")


def test_a_refusal_of_onnxruntime_is_told_in_one_line(tmp_path: Path) -> None:
    """A model that onnxruntime will not have leaves its words, and not a traceback."""
    (tmp_path / "bad.onnx").write_bytes(text_model("g (float[3] x) => (float[3] y) { y = Nonsense (x) }"))
    (told,) = measure(tmp_path, [Asked("bad.onnx", "all", 1, True, {})])
    assert told.stage == "session"
    assert "Nonsense" in (told.refusal or "")
    assert "\n" not in (told.refusal or "")


def test_location_of_a_plain_path_is_itself() -> None:
    """A path below the folder is let through."""
    tensor = onnx.TensorProto(name="w")
    tensor.external_data.add(key="location", value="below/data.bin")
    assert guard.location_of(tensor) == "below/data.bin"
