"""ModelProto into Model: names, sizes and small values kept, numbers of weights dropped.

What counts as small is fixed, since the digest of the structure depends on it: integers and booleans of up to
`VALUE_LIMIT` elements, floating point of up to `FLOAT_LIMIT`.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import AttributeProto, numpy_helper

from analyzer.errors import BadModel
from analyzer.graph import DTYPES, VALUE_LIMIT, Function, Graph, Model, Node, Reference, Size, Tensor, Value
from analyzer.load.order import check_names, in_order

FLOAT_LIMIT = 64
NESTING_LIMIT = 32
ONNX = "ai.onnx"
_EXTERNAL = onnx.TensorProto.EXTERNAL
_DATA_FIELDS = (
    "raw_data", "float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data", "external_data", "data_location",
)  # fmt: skip


def model_of(proto: onnx.ModelProto, name: str, file_bytes: int) -> Model:
    """The whole file. Consumes `proto`: the weights' data is cleared from it on the way to the digest."""
    opsets = {entry.domain or ONNX: entry.version for entry in proto.opset_import}
    if ONNX not in opsets:
        opsets[ONNX] = 1
    graph = _graph(proto.graph, opsets, 0)
    if graph.free:
        raise BadModel("UNDEFINED_TENSOR", f"tensor {graph.free[0]!r} is read but nothing defines it", tensor=graph.free[0])
    functions = {}
    for function in proto.functions:
        functions[(function.domain or ONNX, function.name, function.overload)] = _function(function)
    return Model(
        name=name,
        graph=graph.graph,
        functions=functions,
        opsets=opsets,
        ir_version=proto.ir_version,
        producer=f"{proto.producer_name} {proto.producer_version}".strip(),
        file_bytes=file_bytes,
        structure_sha256=_digest(proto),
    )


class _Scope:
    """A graph and the names it reads from outside."""

    __slots__ = ("free", "graph")

    def __init__(self, graph: Graph, free: tuple[str, ...]) -> None:
        self.graph, self.free = graph, free


def _graph(proto: onnx.GraphProto, opsets: Mapping[str, int], depth: int) -> _Scope:
    if depth > NESTING_LIMIT:
        raise BadModel("NESTED_TOO_DEEPLY", f"bodies are nested more than {NESTING_LIMIT} deep")
    initializers = {}
    for stored in proto.initializer:
        stored_name = stored.name
        initializers[stored_name] = Tensor(stored_name, size=_size(stored))
    for sparse in proto.sparse_initializer:
        initializers[sparse.values.name] = Tensor(sparse.values.name, size=_sparse_size(sparse))
    inputs = tuple(_declared(value) for value in proto.input if value.name not in initializers)
    outputs = tuple(_declared(value) for value in proto.output)
    nodes = [_node(node, index, opsets, depth) for index, node in enumerate(proto.node)]
    return _scope(proto.name, inputs, outputs, initializers, nodes)


def _function(proto: onnx.FunctionProto) -> Function:
    opsets = {entry.domain or ONNX: entry.version for entry in proto.opset_import}
    nodes = [_node(node, index, opsets, 0) for index, node in enumerate(proto.node)]
    inputs, outputs = tuple(Tensor(name) for name in proto.input), tuple(Tensor(name) for name in proto.output)
    scope = _scope(proto.name, inputs, outputs, {}, nodes)
    if scope.free:
        raise BadModel(
            "UNDEFINED_TENSOR", f"function {proto.name} reads {scope.free[0]!r}, which nothing defines", tensor=scope.free[0]
        )
    defaults = {attribute.name: _attribute(attribute, opsets, 0) for attribute in proto.attribute_proto}
    return Function(scope.graph, {**dict.fromkeys(proto.attribute), **defaults})


def _scope(
    name: str, inputs: tuple[Tensor, ...], outputs: tuple[Tensor, ...], initializers: dict[str, Tensor], nodes: list[Node]
) -> _Scope:
    nodes = _with_unique_names(nodes)
    check_names(inputs, initializers, nodes)
    ordered, free = in_order(inputs, initializers, nodes, outputs)
    return _Scope(Graph(name, inputs, outputs, initializers, ordered), free)


def _with_unique_names(nodes: list[Node]) -> list[Node]:
    """Nodes as they are where every one has a name of its own; unnamed ones take their op's, repeated ones a number."""
    if len({node.name for node in nodes}) == len(nodes) and all(node.name for node in nodes):
        return nodes
    taken: set[str] = {node.name for node in nodes}
    seen: set[str] = set()
    result = []
    for index, node in enumerate(nodes):
        name = node.name or f"{node.op_type}_{index}"
        if name in seen or (not node.name and name in taken):
            name = f"{name}#{index}"
        seen.add(name)
        result.append(node if name == node.name else _renamed(node, name))
    return result


def _renamed(node: Node, name: str) -> Node:
    return Node(
        name, node.op_type, node.domain, node.version, node.inputs, node.outputs, node.attributes, node.overload, node.captures
    )


def _node(proto: onnx.NodeProto, index: int, opsets: Mapping[str, int], depth: int) -> Node:
    domain = proto.domain or ONNX
    attributes: dict[str, Any] = {}
    captures: list[str] = []
    for attribute in proto.attribute:
        value = attributes[attribute.name] = _attribute(attribute, opsets, depth)
        if isinstance(value, _Scope):
            attributes[attribute.name] = value.graph
            captures += value.free
    name, op_type = proto.name, proto.op_type
    return Node(
        name,
        op_type,
        domain,
        opsets.get(domain, 1),
        tuple(proto.input),
        tuple(proto.output),
        attributes,
        proto.overload,
        tuple(dict.fromkeys(captures)),
    )


def _attribute(proto: AttributeProto, opsets: Mapping[str, int], depth: int) -> Any:
    kind = proto.type
    if kind == AttributeProto.INT:
        return proto.i
    if kind == AttributeProto.INTS:
        return tuple(proto.ints)
    if proto.ref_attr_name:
        return Reference(proto.ref_attr_name)
    read = _READERS.get(kind)
    if read is not None:
        return read(proto)
    if kind == AttributeProto.GRAPH:
        return _graph(proto.g, opsets, depth + 1)
    if kind == AttributeProto.UNDEFINED:
        return _untyped(proto)
    raise BadModel("ATTRIBUTE_TYPE", f"attribute {proto.name} has type {kind}, which nobody reads", attribute=proto.name)


def _untyped(proto: AttributeProto) -> Any:
    """An attribute of a file from before types were written down: whichever field is set."""
    for read, field in ((lambda p: p.f, "f"), (lambda p: p.i, "i"), (_READERS[AttributeProto.STRING], "s")):
        if proto.HasField(field):
            return read(proto)
    for field in ("floats", "ints"):
        if values := getattr(proto, field):
            return tuple(values)
    return tuple(text.decode("utf-8", "replace") for text in proto.strings)


_READERS: Mapping[int, Any] = {
    AttributeProto.FLOAT: lambda p: p.f,
    AttributeProto.STRING: lambda p: p.s.decode("utf-8", "replace"),
    AttributeProto.TENSOR: lambda p: _size(p.t),
    AttributeProto.FLOATS: lambda p: tuple(p.floats),
    AttributeProto.STRINGS: lambda p: tuple(text.decode("utf-8", "replace") for text in p.strings),
    AttributeProto.TENSORS: lambda p: tuple(_size(t) for t in p.tensors),
    AttributeProto.SPARSE_TENSOR: lambda p: _sparse_size(p.sparse_tensor),
    AttributeProto.TYPE_PROTO: lambda p: _declared_type("", p.tp),
}


def _size(proto: onnx.TensorProto) -> Size:
    """A stored tensor: its size, and its value where that is small and present."""
    dtype = DTYPES.get(proto.data_type)
    if dtype is None:
        raise BadModel("UNKNOWN_DTYPE", f"tensor {proto.name!r} has unknown element type {proto.data_type}", tensor=proto.name)
    shape = tuple(proto.dims)
    count = math.prod(shape)
    if count < 0 or (shape and min(shape) < 0):
        raise BadModel("NEGATIVE_DIM", f"stored tensor {proto.name!r} has a negative dimension: {shape}", tensor=proto.name)
    if count > (FLOAT_LIMIT if dtype.kind in "fc" else VALUE_LIMIT) or proto.data_location == _EXTERNAL:
        return Size(shape, dtype)
    return Size(shape, dtype, _value(proto, dtype.numpy, shape, count))


def _value(proto: onnx.TensorProto, dtype: np.dtype[Any], shape: tuple[int, ...], count: int) -> Value | None:
    raw = proto.raw_data
    if not raw or proto.data_type > onnx.TensorProto.BFLOAT16:  # typed fields, and packed or small types
        try:
            return numpy_helper.to_array(proto)
        except (ValueError, TypeError):
            return None if count else np.zeros(shape, dtype)
    if len(raw) != count * dtype.itemsize:
        raise BadModel(
            "TENSOR_DATA_LENGTH",
            f"tensor {proto.name!r} of shape {shape} needs {count * dtype.itemsize} bytes but holds {len(raw)}",
            tensor=proto.name,
        )
    return np.frombuffer(raw, dtype).reshape(shape)


def _sparse_size(proto: onnx.SparseTensorProto) -> Size:
    """A sparse tensor as the dense one it stands for."""
    dtype = DTYPES.get(proto.values.data_type)
    if dtype is None:
        raise BadModel("UNKNOWN_DTYPE", f"sparse tensor {proto.values.name!r} has unknown element type", tensor=proto.values.name)
    return Size(tuple(proto.dims), dtype)


def _declared(proto: onnx.ValueInfoProto) -> Tensor:
    return _declared_type(proto.name, proto.type)


def _declared_type(name: str, proto: onnx.TypeProto) -> Tensor:
    """A declared tensor; anything but a plain tensor has no dtype and no dims here."""
    if not proto.HasField("tensor_type"):
        return Tensor(name)
    tensor = proto.tensor_type
    dims = None
    if tensor.HasField("shape"):
        dims = tuple(_dim(dim) for dim in tensor.shape.dim)
    return Tensor(name, DTYPES.get(tensor.elem_type), dims)


def _dim(proto: onnx.TensorShapeProto.Dimension) -> int | str | None:
    """A declared dimension; negative ones are an old way of saying nothing."""
    if proto.HasField("dim_value"):
        return proto.dim_value if proto.dim_value >= 0 else None
    return proto.dim_param or None


def _digest(proto: onnx.ModelProto) -> str:
    """sha256 of the model without the data of its large tensors; clears that data from `proto`."""
    _clear_data(proto.graph.initializer)
    for node in proto.graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                _clear_data((attribute.t,))
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()


def _clear_data(tensors: Iterable[onnx.TensorProto]) -> None:
    for tensor in tensors:
        limit = FLOAT_LIMIT if tensor.data_type in (1, 10, 11, 14, 15, 16) or tensor.data_type > 16 else VALUE_LIMIT
        if math.prod(tensor.dims) > limit or tensor.data_location == _EXTERNAL:
            for field in _DATA_FIELDS:
                tensor.ClearField(field)  # type: ignore[arg-type]  # the stubs want literals
