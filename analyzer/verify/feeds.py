"""Numbers for a model's inputs that it can live with, the same at every call.

An integer that picks rows of a table is drawn from the rows that there are: the graph is followed from the input to
what reads it. Other integers, masks and flags are ones; images and the like are between 0 and 1.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np

from analyzer.describe import Scene
from analyzer.graph import Node, Size, Value

_PASS = frozenset(
    ("Cast", "Identity", "Reshape", "Squeeze", "Unsqueeze", "Flatten", "Transpose", "Expand", "Slice", "Concat",
     "Split", "Where", "Clip", "Min", "Max")
)  # fmt: skip
"""Ops whose results hold the numbers of their operands."""
_PICKS = {
    "Gather": ((1, 0),),
    "GatherElements": ((1, 0),),
    "GatherND": ((1, 0),),
    "EmbedLayerNormalization": ((0, 2), (1, 4)),
}
"""Ops that read rows of a table: the operands that say which rows, each with the table's."""
_FLAGS = "mask"


class Feed(msgspec.Struct, frozen=True):
    """One input's numbers as a file, and its element type by ONNX's code."""

    file: str
    code: int
    shape: tuple[int, ...]


def write(scene: Scene, place: Path, prefix: str) -> dict[str, Feed] | str:
    """A file of numbers for each input of the main graph, or why there can be none."""
    feeds = {}
    for number, tensor in enumerate(scene.graph.inputs):
        size = scene.size(tensor.name)
        if size is None:
            return f"nobody can make up {tensor.name!r}, which is no tensor of known size"
        if size.dtype.bits is not None and size.dtype.bits < 8:
            return f"{tensor.name!r} is of {size.dtype.name}, which cannot be fed from Python"
        values = fitting(tensor.name, size, _rows(scene, tensor.name))
        plain = values if values.dtype.isbuiltin == 1 else values.view(f"u{values.dtype.itemsize}")
        np.save(place / f"{prefix}{number}.npy", plain, allow_pickle=False)
        feeds[tensor.name] = Feed(f"{prefix}{number}.npy", size.dtype.code, size.shape)
    return feeds


def fitting(name: str, size: Size, rows: int | None) -> Value:
    """Numbers of a tensor's dtype and shape; `rows` bounds those that pick rows."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    kind = size.dtype.kind
    if kind == "s":
        return np.full(size.shape, "a")
    if size.dtype.is_float:
        return np.asarray(random.random(size.shape, np.float32)).astype(size.dtype.numpy)
    if kind != "b" and rows is not None and _FLAGS not in name.lower():
        return np.asarray(random.integers(0, max(rows, 1), size.shape)).astype(size.dtype.numpy)
    if kind == "u" and size.rank > 2:
        return np.asarray(random.integers(0, 256, size.shape)).astype(size.dtype.numpy)
    return np.ones(size.shape, size.dtype.numpy)


def _rows(scene: Scene, name: str) -> int | None:
    """The fewest rows of a table that this input picks from, None where it picks from none."""
    readers: dict[str, list[Node]] = {}
    for node in scene.graph.nodes:
        for operand in node.inputs:
            readers.setdefault(operand, []).append(node)
    found: list[int] = []
    seen, waiting = {name}, [name]
    while waiting:
        name = waiting.pop()
        for node in readers.get(name, []):
            found += _picked(node, name, scene)
            if node.op_type in _PASS and (fresh := set(node.outputs) - seen):
                seen |= fresh
                waiting += fresh
    return min(found, default=None)


def _picked(node: Node, name: str, scene: Scene) -> Iterator[int]:
    """Rows of the tables from which a node picks by this operand."""
    for index, place in _PICKS.get(node.op_type, ()):
        table = scene.size(node.inputs[place]) if place < len(node.inputs) else None
        if node.inputs[index : index + 1] == (name,) and table is not None and table.shape:
            yield table.shape[int(node.attributes.get("axis", 0))]
