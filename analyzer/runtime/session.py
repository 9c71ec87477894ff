"""The graph that onnxruntime's own optimiser leaves of a model, from a session made in a child process.

The weights are not needed: the session finds a sparse file of zeros in their place, which takes no room on the disk.
The optimised model comes back through a pipe, and what weights the optimiser wrote into it are dropped as they come.
A child that takes too long or too much, or that dies, is an error like any other; nothing of it stays.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

import msgspec

from analyzer.errors import AnalyzerError, BadModel, BadOption, Crashed, TooLarge, TooSlow
from analyzer.load import LOCATION, absent_bytes, exposed, strip, structure_of_chunks
from analyzer.options import Level
from analyzer.runtime import child
from analyzer.runtime.planner import Dims

CALLED: Mapping[Level, str] = {
    "disable": "ORT_DISABLE_ALL",
    "basic": "ORT_ENABLE_BASIC",
    "extended": "ORT_ENABLE_EXTENDED",
    "all": "ORT_ENABLE_ALL",
}
"""The levels as onnxruntime calls them."""
_TOLD = "told.json"
_TICK_SECONDS = 0.05
_CHUNK_BYTES = 1 << 20
_MOST_TOLD = 300
"""Characters of what onnxruntime says that are passed on."""


class Limits(msgspec.Struct, frozen=True):
    """What one session may take. `anonymous_bytes`: memory that is no mapped file; watched where there is a /proc."""

    seconds: float = 120.0
    anonymous_bytes: int = 4 << 30


DEFAULTS = Limits()


class Optimised(msgspec.Struct, frozen=True):
    """A model as a session at some level runs it, without its weights, and the release that made it.

    `dims` are the shapes of the main graph's results that onnxruntime knows before it runs: integers, symbols, None.
    """

    release: str
    model: bytes
    dims: Mapping[str, Dims]


class _Told(msgspec.Struct):
    """What the child says of its session: why there is none, or what the outputs will be like."""

    release: str
    refusal: str | None = None
    outputs: dict[str, tuple[int | str | None, ...]] = {}


def optimised(model: bytes, level: Level, limits: Limits = DEFAULTS) -> Optimised:
    """Have a stripped model optimised. Its nodes come back in the order in which they run.

    Raises BadOption (RUNTIME_MISSING) where onnxruntime is not installed; BadModel (RUNTIME_REFUSED), Crashed
    (RUNTIME_DIED), TooSlow (RUNTIME_TOO_SLOW) or TooLarge (RUNTIME_TOO_LARGE) where it makes no session of the model.
    """
    if find_spec("onnxruntime") is None:
        told = "runtime 'onnxruntime' needs onnxruntime, which is not installed: pip install 'onnx-analyzer[verify]'"
        raise BadOption("RUNTIME_MISSING", told, option="runtime")
    said, made = _session(model, level, limits)
    try:
        dims = _session(exposed(made), "disable", limits)[
            0
        ].outputs  # a session tells the shapes of outputs alone
    except AnalyzerError:
        dims = {}
    return Optimised(said.release, made, dims)


def _session(model: bytes, level: Level, limits: Limits) -> tuple[_Told, bytes]:
    """Make one session of a stripped model; what it says, and the graph that it runs."""
    with tempfile.TemporaryDirectory(prefix="onnx-analyzer-") as place:
        Path(place, "model.onnx").write_bytes(model)
        weights = Path(place, LOCATION)
        weights.touch()
        os.truncate(weights, absent_bytes(model))
        ours, theirs = os.pipe()
        asked = ("model.onnx", CALLED[level], f"/dev/fd/{theirs}", _TOLD)
        with os.fdopen(ours, "rb") as answer:
            try:
                process = subprocess.Popen(
                    [sys.executable, "-P", child.__file__, *asked], cwd=place, pass_fds=(theirs,),
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                )  # fmt: skip
            finally:
                os.close(theirs)
            with process:
                try:
                    return _heard(process, answer.fileno(), Path(place, _TOLD), limits)
                finally:
                    process.kill()


def _heard(process: subprocess.Popen[bytes], answer: int, place: Path, limits: Limits) -> tuple[_Told, bytes]:
    fault: AnalyzerError | None = None
    made = b""
    try:
        made = structure_of_chunks(_chunks(process, answer, limits))
    except BadModel as error:  # cut short: the child says why, or its death does
        fault = error
    status = process.wait()
    if status or not place.exists():
        how = f"by signal {-status}" if status < 0 else f"with exit status {status}"
        raise Crashed("RUNTIME_DIED", f"onnxruntime ended {how} while it made a session", exit_code=status)
    told = msgspec.json.decode(place.read_bytes(), type=_Told)
    if told.refusal is not None:
        reason = " ".join(told.refusal.split())[:_MOST_TOLD]
        raise BadModel("RUNTIME_REFUSED", f"onnxruntime {told.release} makes no session of it: {reason}")
    if fault is not None:
        raise fault
    return told, strip(made)


def _chunks(process: subprocess.Popen[bytes], answer: int, limits: Limits) -> Iterator[bytes]:
    """What comes through the pipe until the child closes it, which a child that ends does."""
    deadline = time.monotonic() + limits.seconds
    with selectors.DefaultSelector() as ready:
        ready.register(answer, selectors.EVENT_READ)
        while True:
            if ready.select(_TICK_SECONDS):
                chunk = os.read(answer, _CHUNK_BYTES)
                if not chunk:
                    return
                yield chunk
            if time.monotonic() > deadline:
                told = f"onnxruntime made no session within {limits.seconds:g} seconds and was ended"
                raise TooSlow("RUNTIME_TOO_SLOW", told)
            if _anonymous_bytes(process.pid) > limits.anonymous_bytes:
                told = f"onnxruntime took more than {limits.anonymous_bytes} bytes to optimise the graph and was ended"
                raise TooLarge("RUNTIME_TOO_LARGE", told, limit=limits.anonymous_bytes)


def _anonymous_bytes(process: int) -> int:
    """Resident memory that is backed by no file; 0 where the system does not tell."""
    try:
        _, resident, shared, *_ = Path(f"/proc/{process}/statm").read_text().split()
    except (OSError, ValueError):
        return 0
    return (int(resident) - int(shared)) * os.sysconf("SC_PAGE_SIZE")
