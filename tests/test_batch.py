"""Many models on executors that work, that break, and that were lent."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import pytest

from analyzer import batch
from analyzer.errors import BadInput, BadModel
from analyzer.options import Options
from analyzer.report import Report
from tests.test_budget import report


def stand_in(path: str, options: Options) -> Report:
    """An analysis that does what the file's name says."""
    if "bad" in path:
        raise BadModel("NOT_ONNX", f"{path} is no model", offset=7)
    if "fault" in path:
        raise ZeroDivisionError("division by zero")
    if "memory" in path:
        raise MemoryError
    if "kill" in path:
        os._exit(9)
    return report()


def summary(outcomes: Any) -> dict[str, str]:
    return {outcome.path: outcome.error.reason if outcome.error else outcome.status for outcome in outcomes}


def test_a_bad_model_is_a_line_and_not_the_end() -> None:
    with ThreadPoolExecutor(2) as lent:
        found = summary(batch.run(["a", "bad", "fault", "memory", "b"], executor=lent, work=stand_in))
    assert found == {"a": "ok", "bad": "NOT_ONNX", "fault": "INTERNAL", "memory": "OUT_OF_MEMORY", "b": "ok"}


def test_who_kills_the_process_is_named_and_the_others_are_done() -> None:
    paths = [f"m{i}" for i in range(6)] + ["kill1"] + [f"n{i}" for i in range(6)] + ["kill2", "last"]
    found = summary(batch.run(paths, workers=2, work=stand_in))
    assert found == {path: "WORKER_DIED" if "kill" in path else "ok" for path in paths}


def test_every_path_has_one_line_even_if_all_kill() -> None:
    outcomes = list(batch.run(["kill1", "kill2", "kill3"], workers=2, work=stand_in))
    assert sorted(outcome.path for outcome in outcomes) == ["kill1", "kill2", "kill3"]


def test_options_reach_the_work() -> None:
    seen: list[Options] = []

    def work(path: str, options: Options) -> Report:
        seen.append(options)
        return report()

    with ThreadPoolExecutor(1) as lent:
        list(batch.run(["a"], Options(dims={"n": 3}), lent, work=work))
    assert seen == [Options(dims={"n": 3})]


class Counting(ThreadPoolExecutor):
    """Counts what it has been given and not yet answered."""

    def __init__(self) -> None:
        super().__init__(2)
        self.flying, self.most, self.lock = 0, 0, threading.Lock()

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        with self.lock:
            self.flying += 1
            self.most = max(self.most, self.flying)
        future = super().submit(fn, *args, **named)
        future.add_done_callback(self.landed)
        return future

    def landed(self, _: Future[Any]) -> None:
        with self.lock:
            self.flying -= 1


def test_a_long_list_is_handed_over_bit_by_bit() -> None:
    with Counting() as lent:
        found = batch.run(map(str, range(200)), executor=lent, in_flight=5, work=stand_in)
        assert len(list(found)) == 200
        assert lent.most <= 5


class Broken(Executor):
    """Takes two, then no more; answers nothing."""

    def __init__(self) -> None:
        self.taken = 0

    def submit(self, fn: Callable[..., Any], /, *args: Any, **named: Any) -> Future[Any]:
        self.taken += 1
        if self.taken > 2:
            raise RuntimeError("cannot schedule new futures after shutdown")
        future: Future[Any] = Future()
        future.set_exception(ConnectionError("the cluster has gone"))
        return future


def test_a_lent_executor_that_breaks_leaves_a_line_for_each_model() -> None:
    found = list(batch.run(["a", "b", "c", "d"], executor=Broken(), in_flight=1, work=stand_in))
    assert summary(found) == dict.fromkeys("abcd", "NO_ANSWER")
    assert found[0].error is not None
    assert "the cluster has gone" in found[0].error.message


def test_a_line_holds_either_a_report_or_an_error() -> None:
    with ThreadPoolExecutor(1) as lent:
        good, bad = sorted(batch.run(["a", "bad"], executor=lent, work=stand_in), key=lambda one: one.path)
    line = json.loads(good.to_json())
    assert set(line) == {"path", "status", "seconds", "report"}
    assert msgspec.convert(line["report"], Report) == report()
    line = json.loads(bad.to_json())
    assert set(line) == {"path", "status", "seconds", "error"}
    assert line["error"] == {"reason": "NOT_ONNX", "message": "bad is no model", "facts": {"offset": "7"}}
    assert "\n" not in bad.to_json()


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("b.onnx", "a.onnx", "deep/er/c.onnx", "note.txt", "dir.onnx/d.onnx"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "empty").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("places", "found"),
    [
        (["."], ["a.onnx", "b.onnx", "deep/er/c.onnx", "dir.onnx/d.onnx"]),
        (["*.onnx"], ["a.onnx", "b.onnx"]),
        (["**/c.onnx"], ["deep/er/c.onnx"]),
        (["deep", "*.onnx", "a.onnx"], ["deep/er/c.onnx", "a.onnx", "b.onnx"]),
        (["note.txt"], ["note.txt"]),
    ],
)
def test_places_are_files_directories_and_globs(tree: Path, places: list[str], found: list[str]) -> None:
    assert batch.find(places) == found


@pytest.mark.parametrize("place", ["empty", "nowhere", "*.pb"])
def test_a_place_without_models_is_refused(tree: Path, place: str) -> None:
    with pytest.raises(BadInput) as refused:
        batch.find(["a.onnx", place])
    assert refused.value.reason == "NO_MODELS"
