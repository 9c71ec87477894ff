"""What a file declares beside what it does: shapes of intermediate tensors, and where its weights come from."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import onnx

from analyzer.graph import Tensor
from analyzer.load.convert import declared_tensor

Dims = tuple[int | str | None, ...]
_EXTERNAL = onnx.TensorProto.EXTERNAL
FIRST_IR_WITH_CONSTANTS = 4
"""Before it every stored tensor had to be an input as well, which told nothing."""


class Declared(msgspec.Struct, frozen=True, eq=False):
    """Dims of a graph's tensors by name: integers, symbols, None for what is not said; None where the rank is not told.

    `replaceable` are stored tensors that are inputs too, `external` those whose numbers lie in a file of their own.
    `bodies` are those of nodes, by the node's first output and the attribute's name.
    """

    dims: Mapping[str, Dims | None] = {}
    replaceable: frozenset[str] = frozenset()
    external: frozenset[str] = frozenset()
    bodies: Mapping[tuple[str, str], Declared] = {}


def declared_of(proto: onnx.ModelProto) -> Declared:
    """The declarations of the main graph."""
    return _of(proto.graph, proto.ir_version >= FIRST_IR_WITH_CONSTANTS)


def _of(graph: onnx.GraphProto, replaceable: bool) -> Declared:
    tensors: list[Tensor] = [*map(declared_tensor, (*graph.value_info, *graph.input, *graph.output))]
    stored = {tensor.name for tensor in graph.initializer} if replaceable else set()
    bodies = {
        (next(filter(None, node.output), ""), attribute.name): _of(attribute.g, replaceable)
        for node in graph.node
        for attribute in node.attribute
        if attribute.HasField("g")
    }
    return Declared(
        {tensor.name: tensor.dims for tensor in tensors},
        frozenset(stored.intersection(tensor.name for tensor in graph.input)),
        frozenset(tensor.name for tensor in graph.initializer if tensor.data_location == _EXTERNAL),
        bodies,
    )


def expose(proto: onnx.ModelProto) -> None:
    """Make every result of the main graph's nodes an output, of which nothing is said."""
    given = {output.name for output in proto.graph.output}
    for node in proto.graph.node:
        proto.graph.output.extend(
            onnx.ValueInfoProto(name=name) for name in node.output if name and name not in given
        )
