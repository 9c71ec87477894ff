"""A model without its weights: what of a stored tensor is kept, and the copy in which nothing else is.

A tensor keeps its numbers if they may decide a shape: those of less than 991 bytes (what exporters leave in the file
when they move weights out: with the head of a Python object, 991 bytes are 1,024), of floating point no more than 64.
Shapes, axes, scales and bounds are among them, but no weight worth the name. Strings, which cannot lie outside of the
file, stay in a stripped copy; a graph knows up to 123 of them. `structure_sha256` depends on this rule, so it does not
change without a new `schema_version`.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator

import onnx

from analyzer.graph import DTYPES, DType

SMALL_BYTES = 991
SMALL_FLOATS = 64
LOCATION = "weights.bin"
"""Where a stripped copy says that its weights lie. Nothing is there, and nobody looks."""

_EXTERNAL = onnx.TensorProto.EXTERNAL
_FORGOTTEN = (
    "data_location",
    "external_data",
    "raw_data",
    "float_data",
    "int32_data",
    "int64_data",
    "double_data",
    "uint64_data",
    "string_data",
)


def is_small(dtype: DType, count: int) -> bool:
    """Whether a stored tensor of `count` elements keeps its numbers."""
    return count * (dtype.bits or 64) < 8 * SMALL_BYTES and (count <= SMALL_FLOATS or not dtype.is_float)


def forget(proto: onnx.TensorProto) -> None:
    """Clear the numbers of a tensor, and where they lie."""
    clear = proto.ClearField
    for field in _FORGOTTEN:
        clear(field)


def stripped(proto: onnx.ModelProto) -> bytes:
    """The bytes of a legal model whose large tensors lie in an external file that is not there. Consumes `proto`."""
    place = 0
    for tensor in tensors_of(proto):
        dtype = DTYPES.get(tensor.data_type)
        count = math.prod(tensor.dims)
        if (
            dtype is None
            or dtype.bits is None
            or (is_small(dtype, count) and tensor.data_location != _EXTERNAL)
        ):
            continue
        forget(tensor)
        length = (count * dtype.bits + 7) // 8
        tensor.data_location = _EXTERNAL
        for key, value in (("location", LOCATION), ("offset", str(place)), ("length", str(length))):
            tensor.external_data.add(key=key, value=value)
        place += length
    return proto.SerializeToString(deterministic=True)


def absent(proto: onnx.ModelProto) -> int:
    """Bytes of the file that a stripped copy refers to."""
    ends = [0]
    for tensor in tensors_of(proto):
        told = {entry.key: entry.value for entry in tensor.external_data}
        if told.get("location") == LOCATION:
            ends.append(int(told.get("offset", 0)) + int(told["length"]))
    return max(ends)


def tensors_of(proto: onnx.ModelProto) -> Iterator[onnx.TensorProto]:
    """Every stored tensor, of bodies and functions too."""
    yield from _of_graph(proto.graph)
    for function in proto.functions:
        yield from _of_nodes(function.node)
        yield from _of_attributes(function.attribute_proto)
    for training in proto.training_info:
        yield from _of_graph(training.initialization)
        yield from _of_graph(training.algorithm)


def _of_graph(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    yield from _of_nodes(graph.node)


def _of_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.TensorProto]:
    for node in nodes:
        yield from _of_attributes(node.attribute)


def _of_attributes(attributes: Iterable[onnx.AttributeProto]) -> Iterator[onnx.TensorProto]:
    for attribute in attributes:
        if attribute.HasField("t"):
            yield attribute.t
        yield from attribute.tensors
        if attribute.HasField("sparse_tensor"):
            yield from (attribute.sparse_tensor.values, attribute.sparse_tensor.indices)
        for sparse in attribute.sparse_tensors:
            yield from (sparse.values, sparse.indices)
        if attribute.HasField("g"):
            yield from _of_graph(attribute.g)
        for graph in attribute.graphs:
            yield from _of_graph(graph)
