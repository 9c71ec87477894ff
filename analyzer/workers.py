"""Analyses in processes of their own: a model that hangs, crashes or eats all memory takes one worker with it.

    submit ─▶ bounded queue ─▶ thread ═ pipe ═ spawned process          a thread and a pipe for each process

A worker is killed at the deadline, or when its future is cancelled, and the next analysis gets a new one. Each has
a pipe of its own because processes do die at any moment: where they share one (as in concurrent.futures and pebble),
a worker killed in the middle of an answer leaves a lock taken or half a message behind, and the others wait for ever.
Spawned, never forked: gRPC's threads do not survive a fork.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import pkgutil
import queue
import signal
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import suppress
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple

from analyzer.errors import AnalyzerError, Crashed, TooSlow, Unavailable
from analyzer.options import Options

ANALYSIS = "analyzer.analysis:analyze"
"""What a worker runs: (model: path or bytes, options, name=, file_bytes=) -> Report."""
PLANNING = "analyzer.plan:answer"
"""What it runs where it is told to: the same with memory_bytes= and target_batch=, -> Plan."""

_SPAWN = multiprocessing.get_context("spawn")
_START_SECONDS = 60.0  # to import everything, on a slow and busy machine
_TICK_SECONDS = 0.05  # how late a deadline or a cancellation may be noticed; an answer is noticed at once

_log = logging.getLogger(__name__)


class Workers:
    """`count` processes that analyse, and a queue of at most `waiting` models before them.

    `analysis` is the "module:function" that they run; importing it is what warms a worker. The deadline counts from the
    moment that a worker takes the model up. Use as a context manager, or `close()` it.
    """

    def __init__(
        self, count: int, deadline_seconds: float, *, waiting: int = 256, analysis: str = ANALYSIS
    ) -> None:
        self._deadline_seconds, self._waiting, self._analysis = deadline_seconds, waiting, analysis
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._door = threading.Lock()  # nothing is queued behind the None that ends a thread
        self._threads = [
            threading.Thread(target=self._tend, name=f"worker-{i}", daemon=True) for i in range(count)
        ]
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def submit(
        self,
        model: str | os.PathLike[str] | bytes,
        options: Options = Options(),
        *,
        name: str | None = None,
        file_bytes: int | None = None,
        task: str | None = None,
        **asked: object,
    ) -> Future[Any]:
        """The report to come. `cancel()` succeeds until it is there, and stops the analysis wherever it is.

        With a `task`, another "module:function" that is told what is `asked` as well: its answer to come.
        Its `result()` raises what the analysis raised, or TooSlow("DEADLINE"), Crashed("WORKER_DIED") and, for a
        fault in the analysis itself, Crashed("INTERNAL"). Raises Unavailable at once where the queue is full.
        """
        job = _Job(
            Future(),
            model if isinstance(model, bytes) else os.fspath(model),
            options,
            {"name": name, "file_bytes": file_bytes, **asked},
            task,
        )
        with self._door:
            if self._closing.is_set():
                raise Unavailable("SHUTTING_DOWN", "the analyses are shutting down")
            if self._jobs.qsize() >= self._waiting:
                raise Unavailable("BUSY", f"{self._waiting} models are waiting already: try again later")
            self._jobs.put(job)
        return job.future

    def close(self) -> None:
        """End all processes; what is waiting or running is cancelled."""
        with self._door:
            if not self._closing.is_set():
                self._closing.set()
                for _ in self._threads:
                    self._jobs.put(None)
        for thread in self._threads:
            thread.join()

    def _tend(self) -> None:
        """One worker after the other, each for as many models as it survives."""
        worker = _Worker(self._analysis)
        with suppress(OSError):  # tried again when there is a model
            worker.start()
        while (job := self._jobs.get()) is not None:
            self._settle(job, worker)
            del job  # the model, too, while the next one is waited for
        worker.kill()

    def _settle(self, job: _Job, worker: _Worker) -> None:
        """Give the future its end, whatever it is: somebody waits for it."""
        try:
            if self._unwanted(job):
                raise CancelledError
            job.future.set_result(worker.run(job, self._deadline_seconds, lambda: self._unwanted(job)))
        except AnalyzerError as error:
            with suppress(InvalidStateError):  # cancelled meanwhile
                job.future.set_exception(error)
        except (CancelledError, InvalidStateError):
            job.future.cancel()
        if job.future.cancelled():
            job.future.set_running_or_notify_cancel()  # `concurrent.futures.wait` hears of it

    def _unwanted(self, job: _Job) -> bool:
        return job.future.cancelled() or self._closing.is_set()


class _Job(NamedTuple):
    """A model that waits; its future stays pending until it is settled, so that `cancel()` always works."""

    future: Future[Any]
    model: str | bytes
    options: Options
    asked: dict[str, object]
    task: str | None


class _Fault(NamedTuple):
    """An exception that no analysis should raise."""

    name: str
    trace: str


class _Worker:
    """A process and our end of its pipe; another process after each death."""

    def __init__(self, analysis: str) -> None:
        self._analysis = analysis
        self._process: BaseProcess | None = None
        self._pipe: Connection[Any, Any]
        self._ready = False

    def start(self) -> None:
        self.kill()
        self._pipe, theirs = _SPAWN.Pipe()
        with theirs:  # only the process keeps its end, so that its death is the end of the pipe
            self._process = _SPAWN.Process(target=_work, args=(theirs, self._analysis), daemon=True)
            self._process.start()
        self._ready = False

    def kill(self) -> int | None:
        """The exit status, negative for a signal."""
        if self._process is None:
            return None
        process, self._process = self._process, None
        process.kill()
        process.join()
        self._pipe.close()
        return process.exitcode

    def run(self, job: _Job, deadline_seconds: float, unwanted: Callable[[], bool]) -> Any:
        """The report; or the analysis's own error, TooSlow, Crashed, or CancelledError once it is unwanted."""
        try:
            if self._process is None or not self._process.is_alive():
                self.start()
            answer = self._ask(job, deadline_seconds, unwanted)
        except (AnalyzerError, CancelledError):
            self.kill()
            raise
        except (EOFError, OSError):
            if self._process is not None:
                self._process.join(1.0)  # its own exit status tells more than ours of killing it
            raise _death(self.kill()) from None
        except Exception:  # noqa: BLE001  # half a message, or one that does not unpickle: logged, and told
            self.kill()
            answer = _Fault("bad answer", traceback.format_exc())
        if isinstance(answer, _Fault):
            _log.error("an analysis failed\n%s", answer.trace)
            line = f"the analysis failed ({answer.name}): a fault of the analyzer, logged where it runs"
            raise Crashed("INTERNAL", line)
        if isinstance(answer, AnalyzerError):
            raise answer
        return answer

    def _ask(self, job: _Job, deadline_seconds: float, unwanted: Callable[[], bool]) -> Any:
        if not self._ready:
            self._warm(unwanted)
        self._pipe.send((job.task, job.model, job.options, job.asked))
        return self._hear(deadline_seconds, unwanted)

    def _warm(self, unwanted: Callable[[], bool]) -> None:
        try:
            self._hear(_START_SECONDS, unwanted)
        except TooSlow:
            raise Crashed(
                "WORKER_NOT_READY", f"no process was ready to analyse within {_START_SECONDS:g} seconds"
            ) from None
        self._ready = True

    def _hear(self, seconds: float, unwanted: Callable[[], bool]) -> Any:
        """Its next message; EOFError where it died."""
        deadline = time.monotonic() + seconds
        while not self._pipe.poll(_TICK_SECONDS):
            if unwanted():
                raise CancelledError
            if time.monotonic() > deadline:
                raise TooSlow(
                    "DEADLINE",
                    f"the analysis was not done after {seconds:g} seconds and was ended",
                    deadline_seconds=f"{seconds:g}",
                )
        return self._pipe.recv()


def _death(code: int | None) -> Crashed:
    how = f"by signal {-code}" if code is not None and code < 0 else f"with exit status {code}"
    why = "out of memory?" if code == -signal.SIGKILL else "a crash in native code, or it could not start"
    return Crashed("WORKER_DIED", f"the process that analysed the model ended {how} ({why})", exit_code=code)


def _work(pipe: Connection[Any, Any], analysis: str) -> None:
    """A worker's whole life: import, say so, then answer until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole terminal; who started us decides
    run = pkgutil.resolve_name(analysis)
    pipe.send("ready")
    with suppress(EOFError, OSError):
        while True:
            task, model, options, asked = pipe.recv()
            chosen = run if task is None else pkgutil.resolve_name(task)
            pipe.send(_outcome(partial(chosen, model, options, **asked)))
            del model


def _outcome(run: Callable[[], Any]) -> Any:
    try:
        return run()
    except AnalyzerError as error:
        return error
    except MemoryError:
        return Crashed("OUT_OF_MEMORY", "the analysis ran out of memory")
    except Exception as error:  # noqa: BLE001  # whatever it is, it is told and logged on the other side
        return _Fault(type(error).__name__, traceback.format_exc())
