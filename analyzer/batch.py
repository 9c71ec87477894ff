"""Many models, one outcome each: as each finishes, on any `concurrent.futures.Executor`.

A bad model is an outcome with its reason, never the end of the run. With no executor given, a pool of spawned
processes does the work; where a model takes its process down, the pool is made anew, the models that were in flight
are tried again one at a time, and the one that did it is named.
"""

from __future__ import annotations

import glob
import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import (
    FIRST_COMPLETED,
    BrokenExecutor,
    CancelledError,
    Executor,
    Future,
    ProcessPoolExecutor,
    wait,
)
from pathlib import Path
from typing import Literal

import msgspec

from analyzer.analysis import analyze
from analyzer.errors import AnalyzerError, BadInput
from analyzer.options import Options
from analyzer.report import Report

Work = Callable[[str, Options], Report]


class Failure(msgspec.Struct, frozen=True):
    """Why there is no report: a stable reason, a line for a person, and the facts."""

    reason: str
    message: str
    facts: dict[str, str] = {}


class Outcome(msgspec.Struct, frozen=True, omit_defaults=True):
    """One file's line: a report or an error, and the seconds that it took."""

    path: str
    status: Literal["ok", "error"]
    seconds: float
    error: Failure | None = None
    report: Report | None = None

    def to_json(self) -> str:
        """One line of JSON, without a line end."""
        return msgspec.json.encode(self).decode()


def find(places: Iterable[str]) -> list[str]:
    """The models that files, directories (searched for *.onnx, all levels) and globs name: each once, sorted by place.

    Raises BadInput where a place holds none.
    """
    found: dict[str, None] = {}
    for place in places:
        models = _models(place)
        if not models:
            raise BadInput("NO_MODELS", f"no .onnx file at {place}", path=place)
        found.update(dict.fromkeys(models))
    return list(found)


def run(
    paths: Iterable[str],
    options: Options = Options(),
    executor: Executor | None = None,
    *,
    workers: int | None = None,
    in_flight: int | None = None,
    work: Work = analyze,
) -> Iterator[Outcome]:
    """An outcome for each path, in the order in which they finish.

    `in_flight` bounds how many are handed to the executor at once (twice the workers), so that a long list costs no
    memory. `workers` is the size of the pool that is made when no executor is given. `work` does one file and must be
    picklable. An executor of the caller's that breaks cannot be made anew: what is left is told as errors.
    """
    count = workers or os.cpu_count() or 1
    most = in_flight or 2 * count
    if executor is not None:
        yield from _drain(_Line(paths), executor, options, most, work, again=None)
        return
    line = _Line(paths)
    while line.left:
        with _pool(count) as pool:
            yield from _drain(line, pool, options, most, work, again=line.suspects)
        if line.suspects:
            yield from _one_by_one(line, options, work)


class _Line:
    """Paths that wait, and those that were in flight when a pool broke."""

    def __init__(self, paths: Iterable[str]) -> None:
        self.waiting = deque(paths)
        self.suspects: list[str] = []

    @property
    def left(self) -> bool:
        return bool(self.waiting)


class _Pool(ProcessPoolExecutor):
    """Spawned processes; one that is left early (an interrupt, a consumer that stops) drops what waits."""

    def __exit__(self, *_: object) -> None:
        self.shutdown(wait=True, cancel_futures=True)


def _pool(count: int) -> Executor:
    return _Pool(count, mp_context=multiprocessing.get_context("spawn"), initializer=_quiet)


def _quiet() -> None:
    """Ctrl-C reaches every process of a terminal: here it ends without a traceback."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _drain(
    line: _Line, executor: Executor, options: Options, most: int, work: Work, *, again: list[str] | None
) -> Iterator[Outcome]:
    """Keeps the executor busy until nothing waits, or until it breaks and there is a list to put its paths on."""
    flying: dict[Future[Outcome], tuple[str, float]] = {}
    broken = False
    while flying or (line.waiting and not broken):
        while line.waiting and len(flying) < most and not broken:
            path = line.waiting.popleft()
            try:
                flying[executor.submit(_one, path, options, work)] = (path, time.perf_counter())
            except (BrokenExecutor, RuntimeError) as error:  # broken, or shut down by its owner
                broken = again is not None
                if again is None:
                    yield _lost(path, 0.0, error)
                else:
                    again.append(path)
        if not flying:
            continue
        for future in wait(flying, return_when=FIRST_COMPLETED).done:
            path, start = flying.pop(future)
            try:
                yield future.result()
            except (BrokenExecutor, CancelledError) as error:
                broken = again is not None
                if again is None:
                    yield _lost(path, time.perf_counter() - start, error)
                else:
                    again.append(path)
            except Exception as error:  # noqa: BLE001  # an outcome that does not travel back is an outcome too
                yield _lost(path, time.perf_counter() - start, error)


def _one_by_one(line: _Line, options: Options, work: Work) -> Iterator[Outcome]:
    """The suspects of a broken pool, each alone: whoever breaks it now is the one."""
    suspects, line.suspects = line.suspects, []
    while suspects:
        with _pool(1) as pool:
            while suspects:
                path, start = suspects.pop(0), time.perf_counter()
                try:
                    yield pool.submit(_one, path, options, work).result()
                except BrokenExecutor as error:
                    yield _lost(path, time.perf_counter() - start, error)
                    break


def _one(path: str, options: Options, work: Work) -> Outcome:
    """One file, in the executor's process. Nothing is raised: errors of any kind are outcomes."""
    start = time.perf_counter()
    try:
        report = work(path, options)
    except AnalyzerError as error:
        return _failed(path, time.perf_counter() - start, error.reason, error.message, error.facts)
    except MemoryError:
        return _failed(path, time.perf_counter() - start, "OUT_OF_MEMORY", "the analysis ran out of memory")
    except Exception as error:  # noqa: BLE001  # one model's fault must not end the others' run
        message = f"fault in the analysis: {type(error).__name__}: {error}"
        return _failed(path, time.perf_counter() - start, "INTERNAL", message)
    return Outcome(path, "ok", round(time.perf_counter() - start, 6), report=report)


def _lost(path: str, seconds: float, error: BaseException) -> Outcome:
    if isinstance(error, BrokenExecutor):
        return _failed(
            path, seconds, "WORKER_DIED", "the process that analysed it died (out of memory, or a fault)"
        )
    return _failed(
        path, seconds, "NO_ANSWER", f"no answer from the executor: {type(error).__name__}: {error}"
    )


def _failed(
    path: str, seconds: float, reason: str, message: str, facts: Mapping[str, str] | None = None
) -> Outcome:
    return Outcome(path, "error", round(seconds, 6), error=Failure(reason, message, dict(facts or {})))


def _models(place: str) -> list[str]:
    if Path(place).is_dir():
        return sorted(str(path) for path in Path(place).rglob("*.onnx") if path.is_file())
    if Path(place).exists():
        return [place]
    return sorted(name for name in glob.glob(place, recursive=True) if Path(name).is_file())  # noqa: PTH207  # absolute
