"""The command line from outside: exit statuses, what goes to which stream, and what files are left."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from analyzer import __version__
from analyzer.analysis import analyze
from analyzer.cli import COMMANDS, main
from analyzer.cli.flags import parser
from analyzer.options import Options
from analyzer.report import Report

ROOT = Path(__file__).parent.parent.parent
LENET = str(ROOT / "models" / "lenet5.onnx")
GOOGLENET = str(ROOT / "models" / "googlenet.onnx")
CALL = [sys.executable, "-c", "import sys; from analyzer.cli import main; sys.exit(main())"]


def call(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own, as a shell would call it."""
    known = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | environment
    return subprocess.run(
        [*CALL, *arguments], capture_output=True, text=True, encoding="utf-8", env=known, check=False
    )


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    """A directory of files that are no models."""
    (tmp_path / "text.onnx").write_text("no model at all\n" * 20)
    (tmp_path / "empty.onnx").touch()
    (tmp_path / "random.onnx").write_bytes(bytes(range(7, 250, 3)) * 9)
    (tmp_path / "cut.onnx").write_bytes(Path(GOOGLENET).read_bytes()[:999])
    return tmp_path


# ---- analyze


def test_a_table_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", GOOGLENET]) == 0
    shown = capsys.readouterr()
    assert "inception_4e" in shown.out
    assert shown.err == ""


def test_json_is_the_report_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["analyze", LENET, "--dim", "batch=3", "--optimizer", "adam", "--format", "json"]) == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=Report)
    assert report == analyze(LENET, Options(dims={"batch": 3}, optimizer="adam"))


@pytest.mark.parametrize("shape", ["image:2,1,32,32", "image:2x1x32x32"])
def test_a_shape_is_spelled_with_commas_or_crosses(capsys: pytest.CaptureFixture[str], shape: str) -> None:
    assert main(["analyze", LENET, "--shape", shape, "--format", "json"]) == 0
    tensors = json.loads(capsys.readouterr().out)["tensors"]
    assert next(row["shape"] for row in tensors if row["role"] == "input") == [2, 1, 32, 32]


def test_a_name_of_an_input_may_hold_colons_and_slashes() -> None:
    arguments = parser().parse_args(["analyze", "m", "--shape", "scope/x:0:1,2", "--dim", "a=b=3"])
    assert arguments.shape == [("scope/x:0", (1, 2))]
    assert arguments.dim == [("a=b", 3)]


@pytest.mark.parametrize(("name", "begins"), [("r.json", "{"), ("r.md", "### "), ("r.txt", "lenet5\n")])
def test_the_name_of_a_file_asks_for_a_form(tmp_path: Path, name: str, begins: str) -> None:
    assert main(["analyze", LENET, "-o", str(tmp_path / name)]) == 0
    assert (tmp_path / name).read_text(encoding="utf-8").startswith(begins)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_format_outranks_the_name(tmp_path: Path) -> None:
    assert main(["analyze", LENET, "--format", "json", "--output", str(tmp_path / "r.md")]) == 0
    assert json.loads((tmp_path / "r.md").read_text(encoding="utf-8"))["schema_version"] == 1


def test_a_device_is_written_as_it_is() -> None:
    assert main(["analyze", LENET, "--format", "json", "-o", os.devnull]) == 0
    assert not Path(os.devnull).is_file()


def test_a_file_that_was_there_is_kept_if_the_analysis_fails(bad: Path) -> None:
    kept = bad / "report.json"
    kept.write_text("old")
    before = sorted(bad.iterdir())
    assert main(["analyze", str(bad / "text.onnx"), "-o", str(kept)]) == 2
    assert kept.read_text() == "old"
    assert sorted(bad.iterdir()) == before


# ---- refusals


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "COMMAND"),
        (["frobnicate"], "frobnicate"),
        (["analyze"], "MODEL"),
        (["analyze", "nowhere.onnx"], "nowhere.onnx"),
        (["analyze", str(ROOT)], "directory"),
        (["analyze", "{bad}/text.onnx"], "ONNX"),
        (["analyze", "{bad}/empty.onnx"], "empty"),
        (["analyze", "{bad}/random.onnx"], "ONNX"),
        (["analyze", "{bad}/cut.onnx"], ""),
        (["analyze", LENET, "--dim", "bach=2"], "batch"),
        (["analyze", LENET, "--dim", "batch"], "NAME=N"),
        (["analyze", LENET, "--dim", "batch=-1"], "NAME=N"),
        (["analyze", LENET, "--dim", "batch=2", "--dim", "batch=3"], "two values"),
        (["analyze", LENET, "--shape", "image"], "INPUT:DIMS"),
        (["analyze", LENET, "--shape", "image:1,,2"], "INPUT:DIMS"),
        (["analyze", LENET, "--shape", "image:1,1,32"], "rank"),
        (["analyze", LENET, "--shape", "imago:1,1,32,32"], "image"),
        (["analyze", LENET, "--optimizer", "adamw"], "adam"),
        (["analyze", LENET, "--optim", "adam"], "--optim"),
        (["analyze", LENET, "--format", "pdf"], "markdown"),
        (["analyze", LENET, "-o", "report.pdf"], "--format"),
        (["analyze", LENET, "-o", "{bad}/no/such/place/r.json"], "r.json"),
        (["analyze", "new\nline.onnx"], "\\x0a"),
        (["check", LENET], "--budget"),
        (["check", LENET, "--budget", "nowhere.toml"], "nowhere.toml"),
        (["check", LENET, "--budget", "{bad}/text.onnx"], "TOML"),
        (["batch", "nowhere"], "nowhere"),
        (["batch", LENET, "--workers", "0"], "from 1 up"),
        (["batch", LENET, "-o", "{bad}/no/such/place/r.jsonl"], "r.jsonl"),
        (["serve", "--port", "99999"], "port"),
        (["serve", "--max-upload", "2GB"], "GiB"),
        (["serve", "--deadline", "nan"], "seconds"),
        (["remote"], "COMMAND"),
        (["remote", "--address", "localhost:1", "analyze", LENET], "localhost:1"),
        (["remote", "analyze", "nowhere.onnx"], "nowhere.onnx"),
    ],
)
def test_a_refusal_is_one_line_and_status_2(
    capsys: pytest.CaptureFixture[str], bad: Path, arguments: list[str], says: str
) -> None:
    assert main([argument.format(bad=bad) for argument in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert re.fullmatch(r"onnx-analyzer: [^\n]+\n", shown.err)
    assert says in shown.err


def test_a_refusal_is_the_same_from_a_shell(bad: Path) -> None:
    done = call("analyze", str(bad / "random.onnx"), "-o", str(bad / "out.json"))
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"onnx-analyzer: [^\n]+\n", done.stderr)
    assert not (bad / "out.json").exists()


def test_a_fault_of_ours_is_not_taken_for_a_breached_budget(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(COMMANDS, "analyze", lambda _: 1 // 0)
    assert main(["analyze", LENET]) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.splitlines()[-1].startswith("onnx-analyzer: that is a fault in onnx-analyzer")


def test_an_interrupt_is_quiet(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_: argparse.Namespace) -> int:
        raise KeyboardInterrupt

    monkeypatch.setitem(COMMANDS, "analyze", interrupted)
    assert main(["analyze", LENET]) == 130
    assert capsys.readouterr() == ("", "")


# ---- streams


@pytest.mark.parametrize("command", [["analyze", LENET], ["batch", LENET, "--workers", "1"]])
def test_a_reader_that_went_away_is_no_error(command: list[str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*CALL, *command], stdout=writer, stderr=subprocess.PIPE, env=environment, check=False
    )
    os.close(writer)
    assert done.returncode == 141
    assert b"Error" not in done.stderr


def test_a_terminal_without_unicode_gets_ascii() -> None:
    done = call("analyze", GOOGLENET, PYTHONIOENCODING="ascii")
    assert done.returncode == 0
    assert done.stdout.isascii()
    assert "####" in done.stdout


@pytest.mark.parametrize("command", [["analyze", LENET], ["--help"]])
def test_a_command_loads_only_what_it_needs(command: list[str]) -> None:
    """gRPC takes longer to load than a model to analyse."""
    script = f"import sys; from analyzer.cli import main; main({command!r}); print(*sorted(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    loaded = {name.partition(".")[0] for name in done.stdout.splitlines()[-1].split()}
    assert not loaded & {"grpc", "rich", "pebble", "onnxruntime", "torch"}


# ---- check


@pytest.mark.parametrize(
    ("budget", "status", "out"),
    [
        ('[max]\ntotals.macs = "1M"\ndepth = 5', 0, "within budget: 2 limits\n"),
        ("[min]\ndepth = 5", 0, "within budget: 1 limit\n"),
        ('[max]\ntotals.macs = "0.4M"\ndepth = 4', 1, None),
    ],
)
def test_check_tells_by_its_status(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, budget: str, status: int, out: str | None
) -> None:
    (tmp_path / "budget.toml").write_text(budget)
    assert main(["check", LENET, "--budget", str(tmp_path / "budget.toml")]) == status
    shown = capsys.readouterr().out
    assert (
        shown == out
        if out is not None
        else [line.split()[0] for line in shown.splitlines()] == ["totals.macs", "depth"]
    )


# ---- batch


def test_batch_writes_a_line_for_each_model(capsys: pytest.CaptureFixture[str], bad: Path) -> None:
    out = bad / "out.jsonl"
    assert main(["batch", str(bad), LENET, "-o", str(out), "--workers", "2", "--dim", "batch=2"]) == 0
    lines = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert {Path(line["path"]).stem: line["status"] for line in lines} == {
        "cut": "error",
        "empty": "error",
        "random": "error",
        "text": "error",
        "lenet5": "ok",
    }
    assert next(line["report"]["dims"] for line in lines if line["status"] == "ok") == {"batch": 2}
    shown = capsys.readouterr()
    assert shown.out == ""
    *progress, last = shown.err.splitlines()
    assert [line.split()[0] for line in progress] == [f"{number}/5" for number in range(1, 6)]
    assert last == "1 of 5 models analysed, 4 bad"
    assert not (bad / "out.jsonl.partial").exists()


def test_batch_is_strict_where_asked(capsys: pytest.CaptureFixture[str], bad: Path) -> None:
    assert main(["batch", str(bad / "text.onnx"), "--strict", "--workers", "1"]) == 1
    assert json.loads(capsys.readouterr().out)["status"] == "error"


# ---- serve and remote


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """A server that `serve` runs."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [*CALL, "serve", "--port", "0", "--workers", "1", "--deadline", "60", "--max-upload", "40KiB"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        assert server.stderr is not None
        line = server.stderr.readline()
        assert line.startswith("listening on "), line
        yield line.split()[-1]
        server.send_signal(signal.SIGTERM)
        assert server.wait(60) == 0


@pytest.mark.parametrize("how", [[], ["--with-weights"]])
def test_remote_answers_as_the_command_does_here(
    address: str, capsys: pytest.CaptureFixture[str], how: list[str]
) -> None:
    arguments = [LENET, "--dim", "batch=4", "--format", "json"]
    assert main(["analyze", *arguments]) == 0
    here = capsys.readouterr().out
    assert main(["remote", "--address", address, "analyze", *arguments, *how]) == 0
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == (here, "")


def test_remote_passes_refusals_on(address: str, capsys: pytest.CaptureFixture[str], bad: Path) -> None:
    for arguments in ([str(bad / "text.onnx")], [GOOGLENET], [LENET, "--dim", "bach=2"]):
        assert main(["remote", "--address", address, "analyze", *arguments]) == 2
        assert re.fullmatch(r"onnx-analyzer: [^\n]+\n", capsys.readouterr().err)


def test_health_is_told_by_the_status(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["remote", "--address", address, "health"]) == 0
    assert main(["remote", "--address", "localhost:1", "health"]) == 1
    assert capsys.readouterr().out == f"{address} is serving\nlocalhost:1 is not serving\n"


# ---- help and documents


def parsers(one: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Every command by its full name."""
    yield path.strip(), one
    for action in one._actions:
        if isinstance(action, argparse._SubParsersAction):
            for name, inner in action.choices.items():
                yield from parsers(inner, f"{path} {name}")


ALL = dict(parsers(parser()))


def test_every_command_is_run_by_something() -> None:
    leaves = {name for name in ALL if not any(other.startswith(f"{name} ") for other in ALL)} - {""}
    assert leaves == set(COMMANDS)


@pytest.mark.parametrize("name", ALL)
def test_every_command_and_flag_is_in_the_documents(name: str) -> None:
    text = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    assert f"`{name}" in text or f"## {name}" in text
    for action in ALL[name]._actions:
        for flag in action.option_strings:
            assert re.search(rf"`[^`]*(?<![\w-]){re.escape(flag)}(?![\w-])[^`]*`", text), f"{flag} of {name}"


@pytest.mark.parametrize("name", COMMANDS)
def test_help_is_short_and_has_an_example(name: str) -> None:
    shown = ALL[name].format_help()
    assert f"example: onnx-analyzer {name.split()[0]}" in shown
    assert len(shown.splitlines()) < 40


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"onnx-analyzer {__version__}\n"


def test_budget_paths_are_in_the_documents() -> None:
    from analyzer.budget import paths

    text = (ROOT / "docs" / "budget.md").read_text(encoding="utf-8")
    assert [path for path in paths() if f"`{path}`" not in text] == []
