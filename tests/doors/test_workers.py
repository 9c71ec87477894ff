from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from concurrent.futures import wait as wait_for
from contextlib import suppress
from pathlib import Path

import pytest

from analyzer.errors import AnalyzerError, BadModel, BadOption, Crashed, TooSlow, Unavailable
from analyzer.options import Options
from analyzer.report import Report
from analyzer.workers import Workers
from tests.doors.standins import HELLO, OBEDIENT, said

PATIENCE = 60.0  # seconds that a busy machine may take; nothing here is expected to use them


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    with Workers(2, PATIENCE, analysis=OBEDIENT) as them:
        yield them


@pytest.fixture
def one() -> Iterator[Workers]:
    """A single worker, so that what happens to it is felt by the next model."""
    with Workers(1, PATIENCE, waiting=2, analysis=OBEDIENT) as them:
        yield them


def pid(workers: Workers) -> int:
    """The process that answers."""
    told: Report = workers.submit(HELLO).result(PATIENCE)
    return told.model.ir_version


def test_a_model_by_path_or_bytes_is_analysed_in_another_process(workers: Workers, tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(HELLO)
    for model in (HELLO, tmp_path / "model.onnx", str(tmp_path / "model.onnx")):
        report = workers.submit(model, Options(dims={"batch": 8}), name="mine").result(PATIENCE)
        assert (report.model.name, report.model.file_bytes, report.dims) == ("mine", len(HELLO), {"batch": 8})
        assert report.model.ir_version != os.getpid()


def test_a_copy_without_weights_is_reported_with_the_size_of_its_file(workers: Workers) -> None:
    assert workers.submit(HELLO, file_bytes=1 << 40).result(PATIENCE).model.file_bytes == 1 << 40


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (said("bad model"), BadModel("NOT_ONNX", "not an ONNX model: a stand-in says so", offset=7)),
        (
            said("bad option"),
            BadOption("UNKNOWN_DIM", "no free dimension is named 'nope'", option="dims", dim="nope"),
        ),
    ],
)
def test_an_error_of_the_analysis_arrives_whole(
    workers: Workers, model: bytes, expected: AnalyzerError
) -> None:
    """Class, reason, line and facts, and the process lives on."""
    with pytest.raises(type(expected)) as caught:
        workers.submit(model).result(PATIENCE)
    error = caught.value
    assert (error.reason, error.message, error.facts) == (expected.reason, expected.message, expected.facts)


def test_a_fault_is_logged_here_and_not_told(workers: Workers, caplog: pytest.LogCaptureFixture) -> None:
    """The caller reads one line without the exception's own words; the traceback is in the log."""
    with caplog.at_level(logging.ERROR), pytest.raises(Crashed) as caught:
        workers.submit(said("fault")).result(PATIENCE)
    assert caught.value.reason == "INTERNAL"
    assert "\n" not in caught.value.message
    assert "secret" not in caught.value.message
    assert "ZeroDivisionError: a secret of the server" in caplog.text


def test_the_deadline_kills_and_the_next_model_is_served() -> None:
    """Within a second of the deadline, by another process."""
    with Workers(1, 1.0, analysis=OBEDIENT) as workers:
        before = pid(workers)
        started = time.monotonic()
        with pytest.raises(TooSlow) as caught:
            workers.submit(said("sleep 3600")).result(PATIENCE)
        assert caught.value.reason == "DEADLINE"
        assert time.monotonic() - started < 2
        assert pid(workers) != before
        assert not alive(before)


def test_a_worker_that_dies_is_replaced(one: Workers) -> None:
    before = pid(one)
    with pytest.raises(Crashed) as caught:
        one.submit(said("die")).result(PATIENCE)
    assert (caught.value.reason, caught.value.facts) == ("WORKER_DIED", {"exit_code": "-9"})
    assert pid(one) != before


def test_a_worker_that_dies_idle_is_replaced_unnoticed(one: Workers) -> None:
    """The next model does not pay for it."""
    before = pid(one)
    os.kill(before, signal.SIGKILL)
    until(lambda: not alive(before))
    assert pid(one) != before


def test_death_in_the_middle_of_an_answer_is_its_own_only(workers: Workers) -> None:
    """Killed at some moment of packing and writing half a gigabyte; the other worker hears nothing of it."""
    for seconds in (0.0, 0.1, 0.2, 0.3):
        with suppress(Crashed):
            workers.submit(said(f"die late {seconds}")).result(PATIENCE)
    answers = [workers.submit(HELLO) for _ in range(10)]
    assert {future.result(PATIENCE).model.file_bytes for future in answers} == {len(HELLO)}


def test_cancelling_stops_what_runs_and_forgets_what_waits(one: Workers) -> None:
    """The running process is killed, the waiting model never starts, and the next one is served."""
    before = pid(one)
    running, waiting = one.submit(said("sleep 3600")), one.submit(said("die"))
    time.sleep(0.2)
    assert running.cancel()
    assert waiting.cancel()
    with pytest.raises(CancelledError):
        running.result(PATIENCE)
    assert pid(one) != before
    assert not alive(before)


def test_a_full_queue_says_so_at_once(one: Workers) -> None:
    """One runs and two wait; the next caller is not kept."""
    pid(one)
    futures = [one.submit(said("sleep 3600"))]
    until(lambda: one._jobs.qsize() == 0)
    futures += [one.submit(HELLO) for _ in range(2)]
    with pytest.raises(Unavailable) as caught:
        one.submit(HELLO)
    assert caught.value.reason == "BUSY"
    futures[0].cancel()
    assert [future.result(PATIENCE).model.file_bytes for future in futures[1:]] == [len(HELLO)] * 2


def test_closing_cancels_and_ends_every_process() -> None:
    workers = Workers(2, PATIENCE, analysis=OBEDIENT)
    pids = {pid(workers) for _ in range(2)}
    futures = [workers.submit(said("sleep 3600")) for _ in range(5)]
    workers.close()
    assert wait_for(futures, 0).not_done == set()
    assert all(future.cancelled() for future in futures)
    assert not any(map(alive, pids))
    with pytest.raises(Unavailable):
        workers.submit(HELLO)


def test_a_worker_that_cannot_start_is_an_error_and_no_hang(capfd: pytest.CaptureFixture[str]) -> None:
    with Workers(1, PATIENCE, analysis="tests.doors.standins:absent") as workers:
        for _ in range(2):
            with pytest.raises(Crashed) as caught:
                workers.submit(HELLO).result(PATIENCE)
            assert caught.value.reason == "WORKER_DIED"


def test_many_models_through_few_workers(workers: Workers) -> None:
    """Each future gets its own answer."""
    futures = [workers.submit(HELLO, file_bytes=length) for length in range(1, 201)]
    assert [future.result(PATIENCE).model.file_bytes for future in futures] == list(range(1, 201))


def alive(process: int) -> bool:
    """Whether any thread of a process still runs."""
    try:
        threads = [stat.read_text() for stat in Path(f"/proc/{process}/task").glob("*/stat")]
    except OSError:  # one ended between the look and the reading: look again
        return True
    return any("Z" not in text.rpartition(")")[2].split()[0] for text in threads)


def until(condition: object, seconds: float = 10.0) -> None:
    """Wait for something that is about to happen."""
    assert callable(condition)
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)
