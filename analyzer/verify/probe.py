"""A process that runs one model many times, a half of an input marked each time, and sees which positions change.

    python -P probe.py ORDER TOLD

ORDER is a JSON file in a directory that nobody else uses, where the models and their numbers lie too; see
`analyzer.verify.rows` for its fields. Every line of JSON in TOLD is one answer, so that of a process that dies one
has what it knew. Started by its path: it loads nothing of this package.

Rows 0 to r of an axis are marked, and rows r to the last. The smallest r of the first kind that changes a position is
the first row that it sees, the largest of the second the last one. Both are found by halving, and a run tells of all
positions at once.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

Json = dict[str, Any]
Array = Any
_FATAL_ONLY = 4
_MOST_TOLD = 300
"""Characters of what onnxruntime says that are passed on."""
_AMOUNTS = (1.0, 1000.0, -1000.0)
_WIDTHS = {16: np.uint16}
"""numpy's stand-ins for element types that it does not know."""


def main(order: str, told: str) -> None:
    """Every answer of the order, one after the other."""
    asked = json.loads(Path(order).read_text())
    _limit(asked["limits"])
    with Path(told).open("a", buffering=1) as lines:
        try:
            lines.writelines(
                json.dumps(answer) + "\n"
                for answer in (_recorded(asked) if asked["task"] == "record" else _probed(asked))
            )
        except Exception as error:  # noqa: BLE001  # onnxruntime has many, without a common base, and all are said of the model
            lines.write(json.dumps({"refusal": " ".join(str(error).split())[:_MOST_TOLD]}) + "\n")


def _limit(limits: Json) -> None:
    import resource

    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if limits.get("memory_bytes"):
        resource.setrlimit(resource.RLIMIT_AS, (limits["memory_bytes"],) * 2)
    if limits.get("cpu_seconds"):  # of one who outlives the process that started it
        resource.setrlimit(resource.RLIMIT_CPU, (limits["cpu_seconds"],) * 2)


class Runs:
    """A session that runs again and again, nothing in it optimised."""

    def __init__(self, model: str, feeds: Json, reuse: bool = True) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.enable_mem_reuse = reuse
        options.log_severity_level = _FATAL_ONLY
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
        self.session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._runtime, self.codes = onnxruntime, {name: entry["code"] for name, entry in feeds.items()}
        self.feeds = {name: np.load(entry["file"], allow_pickle=False) for name, entry in feeds.items()}

    def values(self, names: list[str], changed: dict[str, Array]) -> list[Any]:
        """The tensors of these names, with some of the inputs changed."""
        fed = {name: self._fed(name, changed.get(name, plain)) for name, plain in self.feeds.items()}
        return list(self.session.run_with_ort_values(names, fed))

    def _fed(self, name: str, values: Array) -> Any:
        if values.dtype.kind == "U":
            values = values.astype(object)
        if self.codes[name] in _WIDTHS:
            return self._runtime.OrtValue.ortvalue_from_numpy_with_onnx_type(values, self.codes[name])
        return self._runtime.OrtValue.ortvalue_from_numpy(values)


# ------------------------------------------------------------------------------------------------ record


def _recorded(asked: Json) -> Iterator[Json]:
    """Type and shape of every output that is a tensor; the numbers of those that are no floating point, as files."""
    runs = Runs(asked["model"], asked["feeds"])
    names = [output.name for output in runs.session.get_outputs()]
    tensors = {}
    for place, (name, value) in enumerate(zip(names, runs.values(names, {}), strict=True)):
        if not value.has_value() or not value.is_tensor():
            continue
        kind = value.data_type()
        file = None
        if name in asked["keep"] or (any(word in kind for word in ("int", "bool")) and "int4" not in kind):
            file = f"known{place}.npy"
            np.save(file, value.numpy(), allow_pickle=False)
        tensors[name] = [kind.removeprefix("tensor(").removesuffix(")"), list(value.shape()), file]
    yield {"tensors": tensors}


# ------------------------------------------------------------------------------------------------ probe


class Reading:
    """One way of marking: a model, what its outputs hold when nothing is marked, and how a change shows."""

    def __init__(self, asked: Json, queries: list[Json]) -> None:
        self.runs = Runs(asked["model"], asked["feeds"], asked["reuse"])
        self.inputs: dict[str, str] = asked["inputs"]
        self.amounts = _AMOUNTS if asked["how"] == "change" else (float("nan"),)
        self.spoils = asked["how"] == "nan"
        outputs: dict[str, str] = asked["outputs"]
        self.slots = [
            {number for number, query in enumerate(queries) if query["tensor"] == tensor}
            for tensor in outputs
        ]
        self.names, self.queries = list(outputs.values()), queries
        self.plain = {
            number: part.copy() for number, part in self._parts({}, set(range(len(queries)))).items()
        }
        self.broken = {
            number for number, part in self.plain.items() if self.spoils and bool(np.isnan(part).any())
        }

    def _parts(self, changed: dict[str, Array], wanted: set[int]) -> dict[int, Array]:
        """The part of its tensor that each of the queries in question is about."""
        parts: dict[int, Array] = {}
        slots = [
            (name, some) for name, of in zip(self.names, self.slots, strict=True) if (some := wanted & of)
        ]
        values = self.runs.values([name for name, _ in slots], changed) if slots else []
        for value, (_, numbers) in zip(values, slots, strict=True):
            whole = value.numpy()
            for number in numbers:
                axis, position = self.queries[number]["axis"], self.queries[number]["position"]
                parts[number] = whole if axis is None else whole.take([position], axis)
        return parts

    def hits(self, name: str, axis: int, rows: slice, wanted: set[int]) -> set[int]:
        """Those of the queries in question whose part changes when these rows of an input are marked."""
        if name not in self.inputs:
            return set()
        fed = self.inputs[name]
        where = (slice(None),) * axis + (rows,)
        found: set[int] = set()
        for amount in self.amounts:
            marked = _marked(self.runs.feeds[fed], where, amount)
            left = self._parts({fed: marked}, wanted - found - self.broken)
            found |= {number for number, part in left.items() if self._differs(number, part)}
        return found

    def _differs(self, number: int, part: Array) -> bool:
        if self.spoils:
            return bool(np.isnan(part).any())
        plain = self.plain[number]
        if plain.shape != part.shape:
            return True
        differs = plain != part
        if part.dtype.kind == "f":  # no number is what came of a change that was too large
            differs &= ~np.isnan(part)
        return bool(differs.any())


def _marked(plain: Array, where: tuple[slice, ...], amount: float) -> Array:
    """An input with part of it spoilt, or changed: numbers that pick something stay among those that were there."""
    marked = plain.copy()
    if plain.dtype.kind == "f":
        marked[where] = amount if amount != amount else marked[where] + plain.dtype.type(amount)
    elif plain.dtype.kind == "b":
        marked[where] = ~marked[where]
    elif plain.size and plain.dtype.kind in "iu":
        low, high = min(int(plain.min()), 0), max(int(plain.max()), 1)
        marked[where] = (low + high) - marked[where]
    return marked


def _probed(asked: Json) -> Iterator[Json]:
    queries: list[Json] = asked["queries"]
    readings = [Reading(entry, queries) for entry in asked["readings"]]
    broken = set().union(*(reading.broken for reading in readings))
    yield {"broken": sorted(broken)}
    for name, shape in asked["inputs"].items():
        every: set[int] = set()
        if shape and 0 not in shape:
            every = _together(readings, name, 0, slice(None), set(range(len(queries))))
        for axis, length in enumerate(shape):
            search = Search(every, length)
            for rows in search.cuts():
                search.hear(rows, _together(readings, name, axis, rows, search.open(rows)))
            rows_seen = [search.seen(number) for number in range(len(queries))]
            yield {"input": name, "axis": axis, "rows": rows_seen, "runs": search.runs}


def _together(readings: Iterable[Reading], name: str, axis: int, rows: slice, wanted: set[int]) -> set[int]:
    return set().union(*(reading.hits(name, axis, rows, wanted) for reading in readings))


class Search:
    """First and last row that each of some queries sees, between bounds that every run narrows for all of them."""

    def __init__(self, seeing: set[int], length: int) -> None:
        self.length, self.runs = length, 0
        self.first = {number: [0, length - 1] for number in seeing}
        self.last = {number: [0, length - 1] for number in seeing}

    def cuts(self) -> Iterator[slice]:
        """Halves to mark until every bound is a point."""
        while True:
            if open_first := [bounds for bounds in self.first.values() if bounds[0] < bounds[1]]:
                low, high = max(open_first, key=lambda bounds: bounds[1] - bounds[0])
                yield slice(0, (low + high) // 2 + 1)
            elif open_last := [bounds for bounds in self.last.values() if bounds[0] < bounds[1]]:
                low, high = max(open_last, key=lambda bounds: bounds[1] - bounds[0])
                yield slice((low + high + 1) // 2, self.length)
            else:
                return

    def open(self, rows: slice) -> set[int]:
        """The queries for which it would be news."""
        bounds = self.first if rows.start == 0 else self.last
        return {number for number, (low, high) in bounds.items() if low < high}

    def hear(self, rows: slice, hits: set[int]) -> None:
        """What changed when `rows` were marked."""
        self.runs += 1
        if rows.start == 0:
            end = rows.stop - 1
            for number, bounds in self.first.items():
                if number in hits:
                    bounds[1] = min(bounds[1], end)
                else:
                    bounds[0] = min(max(bounds[0], end + 1), bounds[1])
            return
        for number, bounds in self.last.items():
            if number in hits:
                bounds[0] = max(bounds[0], rows.start)
            else:
                bounds[1] = max(min(bounds[1], rows.start - 1), bounds[0])

    def seen(self, number: int) -> tuple[int, int] | None:
        return (self.first[number][0], self.last[number][1]) if number in self.first else None


if __name__ == "__main__":
    os.umask(0o077)
    main(*sys.argv[1:])
