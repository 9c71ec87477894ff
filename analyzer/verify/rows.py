"""The rows of its inputs that positions of a model's tensors are seen to see when it runs.

Halves of an input are marked (`analyzer.verify.taint`) and the model is run, about sixteen times for a position, in a
process of its own (`analyzer.verify.probe`).
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import onnx

from analyzer.verify import flatten, probe
from analyzer.verify.feeds import Feed
from analyzer.verify.integers import PATTERNS
from analyzer.verify.measure import Limits
from analyzer.verify.picking import FROZEN
from analyzer.verify.stage import Staged
from analyzer.verify.taint import Known, Tainted, ancestors, key_of, taint

Axis = tuple[str, int]
"""An input and one of its axes."""
Rows = tuple[int, int] | None
_ORDER, _TOLD, _TAINTED, _PLAIN = "fields.json", "fields.jsonl", "tainted.onnx", "plain.onnx"
_CHOICES_DEEP = 8
BEYOND = "not so long in the run that was made"
"""The reason of a position of a tensor whose size the data decide."""


class Query(msgspec.Struct, frozen=True):
    """A position of a tensor along one axis, the others taken whole; of a scalar there is no axis."""

    tensor: str
    axis: int | None
    position: int


class Measured(msgspec.Struct, frozen=True, eq=False):
    """Rows of each input axis that each query was seen to see; `unseen` says why of others nothing is known.

    methods   by tensor: "nan-taint", "perturb" or both joined by "+"
    runs      how often the model ran
    """

    rows: dict[Query, dict[Axis, Rows]]
    unseen: dict[Query, str]
    methods: dict[str, str]
    runs: int = 0


def measure(
    staged: Staged, fed: Mapping[str, Feed], queries: Sequence[Query], limits: Limits
) -> Measured | str:
    """What positions are seen to see, or why the model does not run."""
    tensors = list(dict.fromkeys(query.tensor for query in queries))
    proto = ancestors(flatten.modern(flatten.called(staged.proto)), tensors)
    known = _known(proto, staged.place, fed, limits)
    for _ in range(_CHOICES_DEEP):
        if isinstance(known, str) or (chosen := flatten.chosen(proto, known)) is None:
            break
        proto = chosen
        known = _known(proto, staged.place, fed, limits)
    if isinstance(known, str):
        return known
    unseen = {query: BEYOND for query in queries if not _is_there(query, known.get(query.tensor))}
    made = taint(proto, known, PATTERNS, [name for name in tensors if name in known])
    there = [query for query in queries if query not in unseen]
    found = _probed(proto, made, staged.place, fed, there, limits)
    return msgspec.structs.replace(found, unseen={**unseen, **found.unseen})


def _is_there(query: Query, known: Known | None) -> bool:
    """Whether a run made a tensor that long."""
    if known is None or query.axis is None:
        return known is not None
    return query.axis < len(known.shape) and query.position < known.shape[query.axis] and 0 not in known.shape


def _known(
    proto: onnx.ModelProto, place: Path, fed: Mapping[str, Feed], limits: Limits
) -> dict[str, Known] | str:
    """Every tensor of the main graph as a run shows it, or why there is no run."""
    shown = onnx.ModelProto()
    shown.CopyFrom(proto)
    names = dict.fromkeys(name for node in proto.graph.node for name in node.output if name)
    _expose(shown, names)
    keep = [
        node.input[at]
        for node in proto.graph.node
        for at in FROZEN.get(key_of(node), ())
        if at < len(node.input)
    ]
    (place / _PLAIN).write_bytes(shown.SerializeToString())
    given = {tensor.name: fed[tensor.name] for tensor in proto.graph.input if tensor.name in fed}
    order = {"task": "record", "model": _PLAIN, "feeds": given, "keep": keep}
    answers, fate = _child(place, order, limits)
    if not answers:
        return fate or "onnxruntime said nothing"
    if "refusal" in answers[0]:
        return f"onnxruntime does not run it: {answers[0]['refusal']}"
    known = {
        name: Known(kind, tuple(shape), None if file is None else np.load(place / file))
        for name, (kind, shape, file) in answers[0]["tensors"].items()
    }
    known |= {
        name: Known(_kind(feed.code), feed.shape, np.load(place / feed.file)) for name, feed in given.items()
    }
    for tensor in proto.graph.initializer:
        kind = _kind(tensor.data_type)
        inside = tensor.data_location != onnx.TensorProto.EXTERNAL and kind in ("int64", "int32", "bool")
        values = onnx.numpy_helper.to_array(tensor) if inside else None
        known[tensor.name] = Known(kind, tuple(tensor.dims), values)
    return known


def _kind(code: int) -> str:
    """onnxruntime's word for an element type."""
    return onnx.helper.tensor_dtype_to_string(code).removeprefix("TensorProto.").lower()


def _expose(proto: onnx.ModelProto, names: Iterable[str]) -> None:
    declared = {output.name: output for output in (*proto.graph.output, *proto.graph.value_info)}
    proto.graph.ClearField("output")
    proto.graph.output.extend(declared.get(name) or onnx.ValueInfoProto(name=name) for name in names)


def _probed(
    proto: onnx.ModelProto,
    made: Tainted,
    place: Path,
    fed: Mapping[str, Feed],
    queries: list[Query],
    limits: Limits,
) -> Measured:
    (place / _TAINTED).write_bytes(made.proto.SerializeToString())
    reuse = not flatten.rounded(proto)
    marked = {name: _feed(place, made.inputs[name], fed[name]) for name in made.inputs}
    readings = [{
        "how": "nan", "reuse": reuse, "model": _TAINTED, "inputs": made.inputs, "outputs": made.outputs,
        "feeds": {made.inputs[name]: feed for name, feed in marked.items()},
    }]  # fmt: skip
    doubted = [name for name in made.outputs if name in made.unsure]
    if doubted:
        shown = ancestors(proto, doubted)
        _expose(shown, doubted)
        (place / _PLAIN).write_bytes(shown.SerializeToString())
        given = {tensor.name: fed[tensor.name] for tensor in shown.graph.input if tensor.name in fed}
        readings.append({
            "how": "change", "reuse": reuse, "model": _PLAIN, "inputs": {name: name for name in given}, "feeds": given,
            "outputs": {name: name for name in doubted},
        })  # fmt: skip
    order = {
        "task": "probe", "readings": readings, "queries": queries,
        "inputs": {name: fed[name].shape for name in made.inputs},
    }  # fmt: skip
    methods = {name: "nan-taint+perturb" if name in doubted else "nan-taint" for name in made.outputs}
    answers, fate = _child(place, order, limits) if made.outputs else ([{"broken": []}], None)
    return _heard(answers, fate, fed, queries, methods, made)


def _heard(
    answers: list[Any],
    fate: str | None,
    fed: Mapping[str, Feed],
    queries: list[Query],
    methods: dict[str, str],
    made: Tainted,
) -> Measured:
    """What the child said, by query; of a tensor that depends on no input, nothing is seen."""
    refusal = next((line["refusal"] for line in answers if "refusal" in line), None)
    broken = {number for line in answers for number in line.get("broken", ())}
    unseen = {queries[number]: "not finite before anything was marked" for number in broken}
    reason = refusal or fate
    nothing: dict[Axis, Rows] = {
        (name, axis): None for name, feed in fed.items() for axis in range(len(feed.shape))
    }
    rows: dict[Query, dict[Axis, Rows]] = {}
    for number, query in enumerate(queries):
        if query in unseen:
            continue
        if query.tensor not in made.outputs:
            rows[query] = nothing
            continue
        found: dict[Axis, Rows] = {axis: None for axis in nothing if axis[0] not in made.inputs}
        for line in answers:
            if "rows" in line:
                seen = line["rows"][number]
                found[line["input"], line["axis"]] = None if seen is None else (seen[0], seen[1])
        rows[query] = found
        if reason is not None and len(found) < len(nothing):
            unseen[query] = reason
    return Measured(rows, unseen, methods, sum(line.get("runs", 0) for line in answers))


def _feed(place: Path, name: str, feed: Feed) -> Feed:
    """An input's numbers; zeros for one that stands beside integers."""
    if name.endswith("~"):
        file = f"{feed.file}.beside.npy"
        np.save(place / file, np.zeros(feed.shape, np.float32))
        return Feed(file, 1, feed.shape)
    return feed


def _child(place: Path, order: dict[str, Any], limits: Limits) -> tuple[list[Any], str | None]:
    """What a process answered, and how it ended if it did not end well."""
    (place / _TOLD).unlink(missing_ok=True)
    order["limits"] = {"memory_bytes": limits.memory_bytes, "cpu_seconds": int(limits.seconds) + 1}
    (place / _ORDER).write_bytes(msgspec.json.encode(order))
    process = subprocess.Popen(
        [sys.executable, "-P", probe.__file__, _ORDER, _TOLD], cwd=place, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
    )  # fmt: skip
    fate = None
    with process:
        try:
            status = process.wait(limits.seconds)
            if status:
                how = signal.Signals(-status).name if status < 0 else f"exit status {status}"
                fate = f"onnxruntime ended by {how}"
        except subprocess.TimeoutExpired:
            fate = f"not finished within {limits.seconds:g} seconds and ended"
        finally:
            process.kill()
    lines = (place / _TOLD).read_bytes().splitlines() if (place / _TOLD).exists() else []
    answers = []
    for line in lines:
        try:
            answers.append(msgspec.json.decode(line))
        except msgspec.DecodeError:  # cut short by a death
            break
    return answers, fate
