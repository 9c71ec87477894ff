"""ModelProto into Model: names, sizes and small values kept, numbers of weights dropped."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import lru_cache
from typing import Any

import onnx
from onnx import AttributeProto

from analyzer.errors import BadModel
from analyzer.graph import DTYPES, Function, Graph, Model, Node, Reference, Tensor
from analyzer.load.order import in_order
from analyzer.load.stored import is_whole, size_of, sparse_size_of

NESTING_LIMIT = 32
FIRST_IR_WITH_OPSETS = 3
ONNX = "ai.onnx"
_INT = AttributeProto.INT
_REPEATED = frozenset(
    (AttributeProto.INTS, AttributeProto.TENSOR, AttributeProto.STRING, AttributeProto.FLOATS)
)
SHORT_BYTES = 80
"""Attributes of these kinds up to this size are read once: exporters write the same few over and over."""


def model_of(proto: onnx.ModelProto, name: str, file_bytes: int) -> Model:
    """The whole file. Consumes `proto`: the weights' data is cleared from it on the way to the digest."""
    opsets = _opsets(proto.opset_import)
    if not opsets and proto.ir_version >= FIRST_IR_WITH_OPSETS:
        raise BadModel(
            "NO_OPSET", "the model has no opset_import, so nobody can say what its ops mean: cut off?"
        )
    opsets.setdefault(ONNX, 1)
    _check_text((*opsets, *(word for f in proto.functions for word in (f.domain, f.name, f.overload))))
    graph = _graph(proto.graph, opsets, 0)
    if graph.free:
        raise BadModel(
            "UNDEFINED_TENSOR",
            f"tensor {graph.free[0]!r} is read but nothing defines it",
            tensor=graph.free[0],
        )
    given: set[str] = set()
    for output in graph.graph.outputs:  # of the model; a body may give one result twice
        if output.name in given:
            told = f"the graph gives {output.name!r} as an output twice"
            raise BadModel("DUPLICATE_OUTPUT", told, tensor=output.name)
        given.add(output.name)
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


def _opsets(entries: Iterable[onnx.OperatorSetIdProto]) -> dict[str, int]:
    """Versions by domain. Raises BadModel (DUPLICATE_OPSET_IMPORT)."""
    opsets: dict[str, int] = {}
    for entry in entries:
        domain = entry.domain or ONNX
        if domain in opsets:
            told = f"domain {domain} is imported twice, at versions {opsets[domain]} and {entry.version}"
            raise BadModel("DUPLICATE_OPSET_IMPORT", told, domain=domain)
        opsets[domain] = entry.version
    return opsets


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
        initializers[stored_name] = Tensor(stored_name, size=size_of(stored))
    for sparse in proto.sparse_initializer:
        initializers[sparse.values.name] = Tensor(sparse.values.name, size=sparse_size_of(sparse))
    if len(initializers) != len(proto.initializer) + len(proto.sparse_initializer):
        names = Counter(
            stored.name for stored in (*proto.initializer, *(s.values for s in proto.sparse_initializer))
        )
        twice = names.most_common(1)[0][0]
        raise BadModel("DUPLICATE_TENSOR", f"the graph has two stored tensors named {twice!r}", tensor=twice)
    inputs = tuple(declared_tensor(value) for value in proto.input if value.name not in initializers)
    outputs = tuple(declared_tensor(value) for value in proto.output)
    nodes = [_node(node, index, opsets, depth) for index, node in enumerate(proto.node)]
    return _scope(proto.name, inputs, outputs, initializers, nodes)


def _function(proto: onnx.FunctionProto) -> Function:
    opsets = _opsets(proto.opset_import)
    nodes = [_node(node, index, opsets, 0) for index, node in enumerate(proto.node)]
    inputs, outputs = (
        tuple(Tensor(name) for name in proto.input),
        tuple(Tensor(name) for name in proto.output),
    )
    scope = _scope(proto.name, inputs, outputs, {}, nodes)
    if scope.free:
        raise BadModel(
            "UNDEFINED_TENSOR",
            f"function {proto.name!r} reads {scope.free[0]!r}, which nothing defines",
            tensor=scope.free[0],
        )
    defaults = {
        attribute.name: _attribute(attribute, attribute.type, opsets, 0)
        for attribute in proto.attribute_proto
    }
    return Function(scope.graph, {**dict.fromkeys(proto.attribute), **defaults})


def _scope(
    name: str,
    inputs: tuple[Tensor, ...],
    outputs: tuple[Tensor, ...],
    initializers: dict[str, Tensor],
    nodes: list[Node],
) -> _Scope:
    words: list[object] = [*initializers]
    for tensor in (*inputs, *outputs):
        words += (tensor.name, *(dim for dim in tensor.dims or () if dim and type(dim) is not int))
    for node in nodes:
        words += (node.name, node.op_type, node.domain, *node.outputs, *node.attributes)
    _check_text(words)
    nodes = _with_unique_names(nodes)
    ordered, free = in_order(inputs, initializers, nodes, outputs)
    _check_text(free)  # all other names that nodes read are among the words
    return _Scope(Graph(name, inputs, outputs, initializers, ordered), free)


def _check_text(words: Collection[object]) -> None:
    """protobuf hands over as bytes what is not UTF-8; no name is. Raises BadModel (NOT_UTF8)."""
    try:
        "".join(words)  # type: ignore[arg-type]  # that is the question
    except TypeError:
        wrong = next(word for word in words if not isinstance(word, str))
        raise BadModel(
            "NOT_UTF8", f"the name {wrong!r} is not UTF-8 text: is the file damaged?", name=wrong
        ) from None


def _with_unique_names(nodes: list[Node]) -> list[Node]:
    """Nodes as they are where every one has a name of its own; a repeated name takes the node's place in the file."""
    taken = {node.name for node in nodes}
    if len(taken) == len(nodes):
        return nodes
    seen: set[str] = set()
    result = []
    for index, node in enumerate(nodes):
        name = node.name
        while name in seen or (name != node.name and name in taken):
            name = f"{name}#{index}"
        seen.add(name)
        result.append(node if name == node.name else _renamed(node, name))
    return result


def _renamed(node: Node, name: str) -> Node:
    return Node(
        name,
        node.op_type,
        node.domain,
        node.version,
        node.inputs,
        node.outputs,
        node.attributes,
        node.overload,
        node.captures,
    )


def _node(proto: onnx.NodeProto, index: int, opsets: Mapping[str, int], depth: int) -> Node:
    domain = proto.domain or ONNX
    attributes: dict[str, Any] = {}
    captures: tuple[str, ...] = ()
    for attribute in proto.attribute[:]:  # a copy is made at once, an iterator asks for one after the other
        kind = attribute.type
        if kind == _INT:  # the kind that most attributes have, without a call
            value: Any = attribute.i
        else:
            value = _attribute(attribute, kind, opsets, depth)
            if type(value) is _Scope:
                captures = tuple(dict.fromkeys((*captures, *value.free)))
                value = value.graph
        if attribute.ref_attr_name:
            value = Reference(attribute.ref_attr_name)
        attributes[attribute.name] = value
    inputs, outputs = tuple(proto.input[:]), tuple(proto.output[:])
    version = opsets.get(domain, 1)
    op_type = proto.op_type
    name = proto.name or f"{op_type}_{index}"
    return Node(name, op_type, domain, version, inputs, outputs, attributes, proto.overload, captures)


def _attribute(proto: AttributeProto, kind: int, opsets: Mapping[str, int], depth: int) -> Any:
    if kind in _REPEATED:
        written = proto.SerializeToString()
        if len(written) <= SHORT_BYTES and (value := _repeated(written)) is not None:
            return value
    read = _READERS.get(kind)
    if read is not None:
        return read(proto)
    if kind == AttributeProto.GRAPH:
        return _graph(proto.g, opsets, depth + 1)
    if kind == AttributeProto.UNDEFINED:
        return _untyped(proto)
    raise BadModel(
        "ATTRIBUTE_TYPE", f"attribute {proto.name} has type {kind}, which nobody reads", attribute=proto.name
    )


@lru_cache(maxsize=4096)
def _repeated(written: bytes) -> Any:
    """The value of a short attribute; None of a tensor that is not here as a whole."""
    proto = AttributeProto.FromString(written)
    if proto.type == AttributeProto.TENSOR and not is_whole(proto.t):
        return None
    return _READERS[proto.type](proto)


def _untyped(proto: AttributeProto) -> Any:
    """An attribute of a file from before types were written down: whichever field is set."""
    kinds = AttributeProto
    for kind, field in ((kinds.FLOAT, "f"), (kinds.INT, "i"), (kinds.STRING, "s"), (kinds.TENSOR, "t")):
        if proto.HasField(field):
            return _READERS[kind](proto)
    for field in ("floats", "ints"):
        if values := getattr(proto, field):
            return tuple(values)
    return tuple(text.decode("utf-8", "replace") for text in proto.strings)


_READERS: Mapping[int, Any] = {
    AttributeProto.FLOAT: lambda p: p.f,
    AttributeProto.INT: lambda p: p.i,
    AttributeProto.INTS: lambda p: tuple(p.ints),
    AttributeProto.STRING: lambda p: p.s.decode("utf-8", "replace"),
    AttributeProto.TENSOR: lambda p: size_of(p.t),
    AttributeProto.FLOATS: lambda p: tuple(p.floats),
    AttributeProto.STRINGS: lambda p: tuple(text.decode("utf-8", "replace") for text in p.strings),
    AttributeProto.TENSORS: lambda p: tuple(size_of(t) for t in p.tensors),
    AttributeProto.SPARSE_TENSOR: lambda p: sparse_size_of(p.sparse_tensor),
    AttributeProto.TYPE_PROTO: lambda p: _declared_type("", p.tp),
}


def declared_tensor(proto: onnx.ValueInfoProto) -> Tensor:
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
    """A declared dimension; -1 is an old way of saying nothing."""
    if proto.HasField("dim_value"):
        if proto.dim_value < -1:
            raise BadModel("NEGATIVE_DIM", f"a declared dimension is {proto.dim_value}")
        return proto.dim_value if proto.dim_value >= 0 else None
    return proto.dim_param or None


def _digest(proto: onnx.ModelProto) -> str:
    """sha256 of the model without the data of its large tensors, which `_size` has cleared from `proto` on its way."""
    proto.ClearField("training_info")
    return hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
