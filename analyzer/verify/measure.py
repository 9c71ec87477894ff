"""Sessions in a child process, one after the other: what each had to say, or how it ended.

A session that takes its process down, or does not come to an end, is one that failed; those after it get a new process.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from analyzer.errors import BadOption
from analyzer.options import Level
from analyzer.runtime.session import CALLED
from analyzer.verify import child
from analyzer.verify.feeds import Feed

CPU = "CPUExecutionProvider"
CUDA = "CUDAExecutionProvider"
Provider = str | tuple[str, dict[str, str]]
_ORDER, _TOLD = "order.json", "told.jsonl"
_MOST_TOLD = 300
"""Characters of what onnxruntime says that are passed on."""


class Limits(msgspec.Struct, frozen=True):
    """What a child may take: seconds for each session, of processor time for all; addresses, unless a GPU is used."""

    seconds: float = 120.0
    memory_bytes: int = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") * 3 // 4


LIMITS = Limits()


class Asked(msgspec.Struct, frozen=True):
    """One session. `model` and `feeds` name files of the directory; `keep` is how the files of its outputs begin.

    profile   its runs are profiled
    scratch   a file for what its kernels take of temporary memory; needs `pattern` off
    """

    model: str
    level: Level
    threads: int
    pattern: bool
    feeds: dict[str, Feed]
    runs: int = 2
    profile: bool = False
    scratch: str | None = None
    keep: str | None = None
    providers: tuple[Provider, ...] = (CPU,)


class Mark(msgspec.Struct, frozen=True):
    """What a GPU had in use at one moment, and the most since the moment before."""

    at: str
    used_bytes: int
    most_bytes: int


class Told(msgspec.Struct, frozen=True):
    """What came of a session. `refusal` says why it did not come to its end, and `stage` how far it came: session, run,
    end. `tensors` are type and shape of each output.
    """

    stage: str = "session"
    refusal: str | None = None
    release: str = ""
    providers: tuple[str, ...] = ()
    tensors: dict[str, tuple[str, tuple[int, ...]]] = {}
    profile: str | None = None
    device: tuple[Mark, ...] = ()
    seconds: float = 0.0


class _Line(msgspec.Struct, frozen=True):
    begins: int | None = None
    number: int | None = None
    release: str = ""


def require() -> None:
    """Raises BadOption (RUNTIME_MISSING) where onnxruntime is not installed."""
    if find_spec("onnxruntime") is None:
        told = "verify needs onnxruntime, which is not installed: pip install 'onnx-analyzer[verify]'"
        raise BadOption("RUNTIME_MISSING", told, option="provider")


def measure(
    place: Path, sessions: Sequence[Asked], limits: Limits = LIMITS, device: int | None = None
) -> list[Told]:
    """Run every session; the answers in their order. `device` is the number of the GPU to watch."""
    (place / _TOLD).unlink(missing_ok=True)
    told: dict[int, Told] = {}
    first = 0
    while first < len(sessions):
        fate = _process(place, sessions, first, limits, device)
        begun, said = _heard(place)
        told.update(said)
        if fate is None and begun == len(sessions) - 1 and begun in told:
            break
        begun = max(begun, first)
        if begun not in told:
            told[begun] = Told(refusal=fate or "the process ended without a word")
        first = begun + 1
    return [told.get(number, Told(refusal="not run")) for number in range(len(sessions))]


def _process(
    place: Path, sessions: Sequence[Asked], first: int, limits: Limits, device: int | None
) -> str | None:
    """One child, from session `first` on; None where it came to its end, else how it did not."""
    left = len(sessions) - first
    bounds = {"cpu_seconds": int(limits.seconds * left * 4) + 1}
    if device is None:
        bounds["memory_bytes"] = limits.memory_bytes
    wanted = [{**msgspec.structs.asdict(one), "level": CALLED[one.level]} for one in sessions]
    order = {"limits": bounds, "sessions": wanted, "first": first, "device": device}
    (place / _ORDER).write_bytes(msgspec.json.encode(order))
    process = subprocess.Popen(
        [sys.executable, "-P", child.__file__, _ORDER, _TOLD], cwd=place, env=_environment(device),
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    with process:
        try:
            return _waited(process, place / _TOLD, limits.seconds)
        finally:
            process.kill()


def _environment(device: int | None) -> dict[str, str]:
    """Of a GPU each launch waits for its end, so that a profile's times are those of kernels."""
    return dict(os.environ) if device is None else {**os.environ, "CUDA_LAUNCH_BLOCKING": "1"}


def _waited(process: subprocess.Popen[bytes], told: Path, seconds: float) -> str | None:
    """Wait as long as lines come in time."""
    size, deadline = -1, time.monotonic() + seconds
    while True:
        try:
            status = process.wait(0.02)
        except subprocess.TimeoutExpired:
            now = told.stat().st_size if told.exists() else 0
            if now != size:
                size, deadline = now, time.monotonic() + seconds
            if time.monotonic() > deadline:
                return f"not finished within {seconds:g} seconds and ended"
            continue
        if status < 0:
            return f"onnxruntime ended by {signal.Signals(-status).name}"
        return f"onnxruntime ended with exit status {status}" if status else None


def _heard(place: Path) -> tuple[int, dict[int, Told]]:
    """The number of the last session that began, and what was said of those that ended."""
    begun, release, told = -1, "", {}
    path = place / _TOLD
    for line in path.read_bytes().splitlines() if path.exists() else ():
        try:
            entry = msgspec.json.decode(line, type=_Line)
            if entry.number is None:
                begun, release = entry.begins if entry.begins is not None else begun, entry.release
                continue
            said = msgspec.json.decode(line, type=Told)
        except msgspec.DecodeError:  # cut short by a death
            continue
        reason = None if said.refusal is None else " ".join(said.refusal.split())[:_MOST_TOLD]
        told[entry.number] = msgspec.structs.replace(said, refusal=reason, release=release)
    return begun, told
