"""A process that makes sessions and runs them: with `analyzer.runtime.child` all that imports onnxruntime.

    python -P child.py ORDER TOLD

ORDER is a JSON file in a directory that nobody else uses, where the models and their inputs lie too; see
`analyzer.verify.measure` for its fields. One line of JSON is added to TOLD when a session begins and one when it is
done, so that of a process that dies one knows where. Started by its path: it loads nothing of this package.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

_FATAL_ONLY = 4
_WIDTHS = {1: np.uint8, 2: np.uint16}
"""numpy's stand-ins for element types that it does not know."""
_EXOTIC = frozenset((16, 17, 18, 19, 20, 24))
_SAMPLE_SECONDS = 0.005
Json = dict[str, Any]


def main(order: str, told: str) -> None:
    """Every session of the order, one after the other."""
    asked = json.loads(Path(order).read_text())
    _limit(asked["limits"])
    import onnxruntime

    card = Card(asked.get("device"))
    with Path(told).open("a", buffering=1) as lines:
        for number in range(asked["first"], len(asked["sessions"])):
            lines.write(json.dumps({"begins": number, "release": onnxruntime.__version__}) + "\n")
            said = _session(onnxruntime, asked["sessions"][number], number, card)
            lines.write(json.dumps({"number": number, **said}) + "\n")
        card.close()


def _limit(limits: Json) -> None:
    """What this process may take; a session that wants more ends with an error or a signal."""
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.get("memory_bytes"):  # CUDA reserves more addresses than there are bytes
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    if limits.get("cpu_seconds"):
        resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"],) * 2)


def _session(onnxruntime: Any, asked: Json, number: int, card: Card) -> Json:
    """One session and its runs. What goes wrong is told with the stage that it went wrong in."""
    told: Json = {"stage": "session"}
    start = time.perf_counter()
    try:
        card.mark("before")
        session = onnxruntime.InferenceSession(
            asked["model"], _options(onnxruntime, asked, number), providers=asked["providers"]
        )
        card.mark("session")
        told["providers"] = session.get_providers()
        told["stage"] = "run"
        feeds = {name: _fed(onnxruntime, entry) for name, entry in asked["feeds"].items()}
        for _ in range(asked["runs"]):
            told["tensors"] = _run(session, feeds, asked.get("keep"))
            card.mark("run")
        told["stage"] = "end"
        if asked.get("profile"):
            told["profile"] = session.end_profiling()
        del session
        card.mark("after")
    except Exception as error:  # noqa: BLE001  # onnxruntime has many, without a common base, and all are said of the model
        told["refusal"] = str(error)
    return {**told, "device": card.marks(), "seconds": time.perf_counter() - start}


def _options(onnxruntime: Any, asked: Json, number: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, asked["level"])
    options.intra_op_num_threads, options.inter_op_num_threads = asked["threads"], 1
    options.enable_mem_pattern = asked["pattern"]
    options.log_severity_level = _FATAL_ONLY
    options.enable_profiling = bool(asked.get("profile"))
    options.profile_file_prefix = f"profile{number}"
    if asked.get("scratch"):
        options.add_session_config_entry("session.collect_node_memory_stats_to_file", asked["scratch"])
    return options


def _fed(onnxruntime: Any, entry: Json) -> Any:
    values = np.load(entry["file"], allow_pickle=False)
    if values.dtype.kind == "U":
        values = values.astype(object)
    if entry["code"] in _EXOTIC:
        return onnxruntime.OrtValue.ortvalue_from_numpy_with_onnx_type(values, entry["code"])
    return onnxruntime.OrtValue.ortvalue_from_numpy(values)


def _run(session: Any, feeds: Json, keep: str | None) -> Json:
    """Run once: type and shape of every output that is a tensor; with `keep` a file of the numbers of each."""
    names = [output.name for output in session.get_outputs()]
    values = session.run_with_ort_values(names, feeds)
    told = {}
    for place, (name, value) in enumerate(zip(names, values, strict=True)):
        if not value.has_value() or not value.is_tensor():
            continue
        told[name] = [value.data_type(), list(value.shape())]
        if keep is not None and (numbers := _numbers(value)) is not None:
            np.save(f"{keep}{place}.npy", numbers, allow_pickle=False)
    return told


def _numbers(value: Any) -> Any:
    """A tensor as numpy knows it; None for one that it does not."""
    try:
        numbers = value.numpy()
    except Exception:  # noqa: BLE001  # the types of ml_dtypes, whose shape is known all the same
        return None
    return None if numbers.dtype.kind == "O" else numbers


class Card:
    """Memory in use on a GPU: what NVML says at each mark, and the most between two of them. Nothing without one."""

    def __init__(self, index: int | None) -> None:
        self._index = index
        self._marks: list[Json] = []
        self._most, self._ends = 0, threading.Event()
        if index is not None:
            import pynvml

            pynvml.nvmlInit()
            handle = pynvml.nvmlDeviceGetHandleByIndex(index)
            self._used: Callable[[], int] = lambda: int(pynvml.nvmlDeviceGetMemoryInfo(handle).used)
            self._watch = threading.Thread(target=self._sample, daemon=True)
            self._watch.start()

    def _sample(self) -> None:
        while not self._ends.wait(_SAMPLE_SECONDS):
            self._most = max(self._most, self._used())

    def mark(self, name: str) -> None:
        if self._index is not None:
            now = self._used()
            self._marks.append({"at": name, "used_bytes": now, "most_bytes": max(now, self._most)})
            self._most = 0

    def marks(self) -> list[Json]:
        """The marks since the last call."""
        told, self._marks = self._marks, []
        return told

    def close(self) -> None:
        self._ends.set()


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
