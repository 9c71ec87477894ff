"""One kernel alone in a session of onnxruntime: what it requested of the arena, beside what its entry says.

Operands are written `float32[2,3]`; `=float32[2,3]` is a stored one, full of ones, and an array is stored as it is.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  # numpy learns the narrow floats
import msgspec
import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import analyzer.runtime.kernels  # noqa: F401  # enters every kernel
from analyzer.graph import DTYPES, Size
from analyzer.runtime.arena import Arena, Chunk
from analyzer.runtime.kernel import ONNX, Call, Reserved, Usage, find

Array = np.ndarray[Any, np.dtype[Any]]
Operand = str | Array | None
SMALL_BYTES = 127
"""Stored tensors up to here are copied to memory that the arena counts."""


class Need(msgspec.Struct, frozen=True):
    """Bytes: before the kernel runs, requested while it runs, and the arena's most in use and held at the end."""

    base_bytes: int
    temporary_bytes: int
    peak_bytes: int
    held_bytes: int


class Alone:
    """A model of one node. Results have the types that `results` names; their shapes come from a run."""

    def __init__(
        self,
        op_type: str,
        operands: Sequence[Operand],
        results: Sequence[str] = ("float32",),
        *,
        domain: str = "",
        threads: int = 1,
        **attributes: Any,
    ) -> None:
        self.threads, self.stored = threads, [_stored(operand) for operand in operands]
        self.fed = {f"x{i}": _filled(operand) for i, operand in enumerate(operands) if _is_fed(operand)}
        names = ["" if operand is None else f"x{i}" for i, operand in enumerate(operands)]
        node = helper.make_node(
            op_type, names, [f"y{i}" for i in range(len(results))], domain=domain, **attributes
        )
        graph = helper.make_graph(
            [node],
            "alone",
            [
                helper.make_tensor_value_info(name, _code(value), value.shape)
                for name, value in self.fed.items()
            ],
            [
                helper.make_tensor_value_info(f"y{i}", _code(np.empty(0, n)), None)
                for i, n in enumerate(results)
            ],
            [numpy_helper.from_array(v, f"x{i}") for i, v in enumerate(self.stored) if v is not None],
        )
        opsets = [helper.make_opsetid("", 20)]
        opsets += [helper.make_opsetid(name, 1) for name in ("com.microsoft", "com.microsoft.nchwc")]
        self.model = helper.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()
        self.op_type, self.domain, self.attributes = op_type, domain or ONNX, attributes
        self.operands = operands
        self.outputs: list[Array] = []

    def measured(self, folder: Path) -> Need:
        """What onnxruntime itself counted, every tensor on its own (without a memory pattern)."""
        said, table = self._profile(folder), folder / "memory.csv"
        # In a session of its own: it puts an allocator around the arena that knows nothing of `Reserve`.
        self._run(("session.collect_node_memory_stats_to_file", str(table)))
        with table.open(newline="") as lines:
            (row,) = csv.DictReader(lines)
        return Need(
            said["mem_bytes_requested_in_use"] - said["mem_requested_in_use_delta"],
            int(row["total_temp_allocations"]),
            said["mem_in_use_peak"],
            said["mem_arena_held"],
        )

    def _profile(self, folder: Path) -> dict[str, int]:
        path = self._run(profile=folder / "profile")
        events = json.loads(Path(path).read_text())
        said = next(event["args"] for event in events if event["name"].endswith("_kernel_time"))
        return {name: int(value) for name, value in said.items() if name.startswith("mem_")}

    def _run(self, *entries: tuple[str, str], profile: Path | None = None) -> str:
        """Run once; the profile's path where one was asked for. What else is written is whole when this returns."""
        runtime = pytest.importorskip("onnxruntime")
        options = runtime.SessionOptions()
        options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = self.threads
        options.enable_mem_pattern = False
        options.log_severity_level = 4
        if profile is not None:
            options.enable_profiling, options.profile_file_prefix = True, str(profile)
        for entry in entries:
            options.add_session_config_entry(*entry)
        session = runtime.InferenceSession(self.model, options, providers=["CPUExecutionProvider"])
        self.outputs = session.run(None, self.fed)
        return str(session.end_profiling()) if profile is not None else ""

    def call(self) -> Call:
        """The call, once it was measured."""
        return Call(
            self.op_type,
            self.domain,
            20,
            tuple(self._size(place) for place in range(len(self.operands))),
            tuple(Size(value.shape, DTYPES[_code(value)]) for value in self.outputs),
            tuple(value is not None for value in self.stored),
            {name: tuple(v) if isinstance(v, list) else v for name, v in self.attributes.items()},
            self.threads,
        )

    def _size(self, place: int) -> Size | None:
        value = self.stored[place]
        known = value if value is not None else self.fed.get(f"x{place}")
        return None if known is None else Size(known.shape, DTYPES[_code(known)], value)

    def predicted(self) -> Need | None:
        """The same from the kernel's entry, replayed on an arena; None where it is not modelled here."""
        call = self.call()
        entry = find(call.domain, call.op_type)
        assert entry is not None
        usage = entry.usage(call)
        return None if usage is None else _replayed(usage, call)


def _replayed(usage: Usage, call: Call) -> Need:
    arena = Arena()
    small: dict[int, Chunk | None] = {
        place: arena.take(Reserved(size.bytes or 0))
        for place, size in enumerate(call.inputs)
        if call.constant[place] and size is not None and (size.bytes or 0) <= SMALL_BYTES
    }
    for size in usage.prepacked:
        arena.take(size)
    arena.pass_through(usage.packing)
    for place in usage.replaces:
        arena.give(small.get(place))
    base = arena.requested_bytes
    outputs = [size.bytes or 0 for size in call.outputs if size is not None]
    taken: list[Chunk | None] = []
    for step in usage.steps or (0,):
        if step > 0:
            taken.append(arena.take(step))
        elif step:
            arena.give(taken[-step - 1])
        else:
            for size in outputs:
                arena.take(size)
    arena.pass_through(usage.scratch)
    temporary = sum(step for step in usage.steps if step > 0) + sum(map(sum, usage.scratch))
    return Need(base, temporary, arena.peak_bytes, arena.held_bytes)


def _is_fed(operand: Operand) -> bool:
    return isinstance(operand, str) and not operand.startswith("=")


def _stored(operand: Operand) -> Array | None:
    if operand is None or _is_fed(operand):
        return None
    return _filled(operand)


def _filled(operand: Operand) -> Array:
    """An array as it is; zeros to be fed, ones to be stored."""
    if isinstance(operand, np.ndarray):
        return operand
    assert operand is not None
    name, _, shape = operand.lstrip("=").rstrip("]").partition("[")
    sizes = [int(length) for length in shape.split(",") if length]
    return np.full(sizes, operand.startswith("="), np.dtype(name))


def _code(value: Array) -> int:
    code = helper.np_dtype_to_tensor_dtype(value.dtype)
    assert code != TensorProto.UNDEFINED
    return int(code)
