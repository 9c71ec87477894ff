"""The conformance suite as data: small graphs in ONNX text, each with what is expected of it. Needs onnx and
numpy only.

    python tests/conformance/suite.py OUT

writes each legal graph to OUT/NAME.onnx, its weights included, each invalid one to OUT/invalid/NAME.onnx, what is
expected of them to OUT/expectations.json, and the lists that README.md shows to OUT/graphs.md. README.md also says
what the words of a header mean.
"""

from __future__ import annotations

import ast
import dataclasses
import json
import re
import sys
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.parser
from onnx import helper, numpy_helper

FOLDER = Path(__file__).parent
TOTALS = (
    "nodes", "parameters", "parameter_bytes", "buffers", "outputs_bytes", "macs", "elementwise_flops", "flops",
)  # fmt: skip
GATES = ("check", "full_check", "strict_inference", "session", "run")
"""Who may accept an invalid graph: onnx's checker, also with inference, onnx's strict inference, onnxruntime twice."""
_ENTRY = re.compile(r"(?P<key>\w+)(?: (?P<name>\S+))?: (?P<said>.+)")
_NUMBER = re.compile(r"(?P<partial>partial)?(?:, )?(?P<value>\d+)?(?: = (?P<derivation>.+))?")
_TENSOR = re.compile(r"(?P<bound>at most )?(?P<dtype>\w+)(?:\[(?P<shape>\d[\d, ]*)\])?")
_ARITHMETIC = (
    ast.Expression, ast.BinOp, ast.Constant, ast.Call, ast.Name, ast.Load, ast.operator,
)  # fmt: skip


@dataclass(frozen=True)
class Number:
    """A figure, whether it is all, and how it comes about; `value` is None where no figure is asked for."""

    value: int | None
    complete: bool = True
    derivation: str | None = None


@dataclass(frozen=True)
class Tensor:
    """Element type, by numpy's and ml_dtypes' names, and shape; not `exact` where the data decides and this
    is a bound.
    """

    dtype: str
    shape: tuple[int, ...]
    exact: bool = True


@dataclass(frozen=True)
class Case:
    """A legal graph. `tensors` and `bytes` hold None where nobody can tell; `runs`: onnxruntime, reference, nowhere."""

    name: str
    about: str
    text: str
    dims: dict[str, int]
    totals: dict[str, Number]
    tensors: dict[str, Tensor | None]
    bytes: dict[str, int | None]
    derivations: dict[str, Number]
    runs: str


@dataclass(frozen=True)
class Fault:
    """A graph that nothing could run, or that contradicts itself: why, at which node, by which attribute.

    `lenient`: a tool that is asked to go on can, with a warning. `accepted`: who else lets it pass (`GATES`).
    """

    name: str
    about: str
    text: str
    reason: str
    node: str | None
    attribute: str | None
    lenient: bool
    accepted: tuple[str, ...]


def legal() -> list[Case]:
    """Every legal graph, by name."""
    return [read(path) for path in sorted(FOLDER.glob("*.onnxtxt"))]


def invalid() -> list[Fault]:
    """Every other one."""
    return [_fault(path) for path in sorted((FOLDER / "invalid").glob("*.onnxtxt"))]


def model(text: str) -> onnx.ModelProto:
    """The model that a text stands for. Stored tensors at the location "ones" are filled with ones, and so on."""
    parsed = onnx.parser.parse_model(text)
    graphs = [parsed.graph]
    for graph in graphs:
        graphs.extend(
            a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH
        )
        _fill(graph)
    return parsed


def worth(derivation: str) -> int:
    """What a derivation comes to: whole numbers, + - * // **, max and parentheses."""
    tree = ast.parse(derivation, mode="eval")
    for node in ast.walk(tree):
        if not isinstance(node, _ARITHMETIC) or (isinstance(node, ast.Name) and node.id != "max"):
            raise ValueError(f"{derivation!r} is more than arithmetic")
    return int(eval(compile(tree, derivation, "eval"), {"__builtins__": {}, "max": max}))


def fed(proto: onnx.ModelProto, dims: dict[str, int]) -> dict[str, np.ndarray[Any, Any]]:
    """Something to feed a model with: ones, and strings that are one letter long."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    return {
        info.name: _ones(info.type.tensor_type, dims) for info in proto.graph.input if info.name not in stored
    }


def write(folder: Path) -> None:
    """All graphs as files that any tool can read, and what is expected of them."""
    (folder / "invalid").mkdir(parents=True, exist_ok=True)
    cases, faults = legal(), invalid()
    for case in cases:
        onnx.save(model(case.text), folder / f"{case.name}.onnx")
    for fault in faults:
        onnx.save(model(fault.text), folder / "invalid" / f"{fault.name}.onnx")
    told = {"legal": [_plain(case) for case in cases], "invalid": [_plain(fault) for fault in faults]}
    (folder / "expectations.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    (folder / "graphs.md").write_text(index(), encoding="utf-8")


def index() -> str:
    """Both lists of graphs, in Markdown."""
    rows = ["| graph | macs | what it is |", "| --- | ---: | --- |"]
    rows += [f"| `{case.name}` | {_shown(case.totals['macs'])} | {case.about} |" for case in legal()]
    rows += ["", "| invalid graph | reason | what it is |", "| --- | --- | --- |"]
    rows += [f"| `{fault.name}` | `{fault.reason}` | {fault.about} |" for fault in invalid()]
    return "\n".join(rows) + "\n"


def _shown(macs: Number) -> str:
    return f"{macs.value:,}" if macs.complete and macs.value is not None else "partial"


def _plain(record: Case | Fault) -> dict[str, Any]:
    plain = dataclasses.asdict(record)
    del plain["text"]
    plain.pop("derivations", None)
    return plain


def read(path: Path) -> Case:
    """One legal graph. Raises ValueError where its header says nothing that is known."""
    text = path.read_text(encoding="utf-8")
    about, entries = _header(path, text)
    dims: dict[str, int] = {}
    totals: dict[str, Number] = {}
    tensors: dict[str, Tensor | None] = {}
    widths: dict[str, Number] = {}
    runs = "onnxruntime"
    for key, name, said in entries:
        if key == "dims":
            dims = {symbol: int(value) for symbol, value in re.findall(r"(\w+)=(\d+)", said)}
        elif key == "tensor":
            tensors[name] = _tensor(path, said)
        elif key == "bytes":
            widths[name] = Number(None) if said == "unknown" else _number(path, said)
        elif key == "runs" and said in ("onnxruntime", "reference", "nowhere"):
            runs = said
        elif key in TOTALS:
            totals[key] = _number(path, said)
        else:
            raise ValueError(f"{path.name}: nothing is called {key!r}")
    derivations = totals | {f"bytes of {name}": number for name, number in widths.items()}
    widths_told = {name: number.value for name, number in widths.items()}
    return Case(path.stem, about, text, dims, totals, tensors, widths_told, derivations, runs)


def _fault(path: Path) -> Fault:
    text = path.read_text(encoding="utf-8")
    about, entries = _header(path, text)
    said = {key: value for key, _, value in entries}
    if not {"reason"} <= said.keys() <= {"reason", "node", "attribute", "lenient", "accepted"}:
        raise ValueError(f"{path.name}: the header of an invalid graph has other words")
    accepted = tuple(said["accepted"].split(", ")) if "accepted" in said else ()
    if not set(accepted) <= set(GATES) or said.get("lenient", "refused") != "refused":
        raise ValueError(f"{path.name}: accepted by {accepted}, lenient {said.get('lenient')}")
    lenient = "lenient" not in said
    return Fault(
        path.stem, about, text, said["reason"], said.get("node"), said.get("attribute"), lenient, accepted
    )


def _header(path: Path, text: str) -> tuple[str, list[tuple[str, str, str]]]:
    """The first paragraph of the comment that a file opens with, and the entries of the last one: key, name, rest."""
    lines = [line[1:].strip() for line in takewhile(lambda line: line.startswith("#"), text.splitlines())]
    paragraphs = "\n".join(lines).split("\n\n")
    found = [_ENTRY.fullmatch(line) for line in paragraphs[-1].splitlines()]
    entries = [(match["key"], match["name"] or "", match["said"]) for match in found if match is not None]
    if len(paragraphs) < 2 or len(entries) != len(found):
        raise ValueError(f"{path.name}: a header ends with a paragraph of lines such as '# macs: 4 = 2 * 2'")
    return paragraphs[0].replace("\n", " "), entries


def _number(path: Path, said: str) -> Number:
    match = _NUMBER.fullmatch(said)
    if match is None or not said:
        raise ValueError(f"{path.name}: no number: {said!r}")
    value = None if match["value"] is None else int(match["value"])
    return Number(value, match["partial"] is None, match["derivation"])


def _tensor(path: Path, said: str) -> Tensor | None:
    if said == "unknown":
        return None
    match = _TENSOR.fullmatch(said)
    if match is None:
        raise ValueError(f"{path.name}: no tensor: {said!r}")
    shape = tuple(int(dim) for dim in (match["shape"] or "").split(",") if dim)
    return Tensor(match["dtype"], shape, match["bound"] is None)


def _fill(graph: onnx.GraphProto) -> None:
    """Numbers for the stored tensors that the text leaves without."""
    sparse = []
    for stored in graph.initializer:
        kind = next((entry.value for entry in stored.external_data if entry.key == "location"), None)
        if kind is None:
            continue
        if kind not in ("ones", "zeros", "sparse"):
            raise ValueError(f"{graph.name}: stored tensor {stored.name!r} is to hold {kind!r}")
        fill = 0 if kind == "zeros" else 1
        values = np.full(tuple(stored.dims), fill, np.int8).astype(
            helper.tensor_dtype_to_np_dtype(stored.data_type)
        )
        if kind == "sparse":
            sparse.append(stored)
            graph.sparse_initializer.append(_every_third(stored.name, values))
        else:
            stored.CopyFrom(numpy_helper.from_array(values, stored.name))
    for stored in sparse:
        graph.initializer.remove(stored)


def _every_third(name: str, values: np.ndarray[Any, Any]) -> onnx.SparseTensorProto:
    places = np.arange(0, values.size, 3)
    return helper.make_sparse_tensor(
        numpy_helper.from_array(values.reshape(-1)[places], name),
        numpy_helper.from_array(places, f"{name}_places"),
        list(values.shape),
    )


def _ones(kind: onnx.TypeProto.Tensor, dims: dict[str, int]) -> np.ndarray[Any, Any]:
    shape = tuple(dims[dim.dim_param] if dim.dim_param else dim.dim_value for dim in kind.shape.dim)
    if kind.elem_type == onnx.TensorProto.STRING:
        return np.full(shape, "a", np.object_)
    ones: np.ndarray[Any, Any] = np.ones(shape, np.int8)
    return ones.astype(helper.tensor_dtype_to_np_dtype(kind.elem_type))


if __name__ == "__main__":
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        raise SystemExit(__doc__)
    write(Path(sys.argv[1]))
