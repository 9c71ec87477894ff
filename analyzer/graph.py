"""The model as the rest of the house sees it: Size, Tensor, Node, Graph, Model. Frozen, and free of protobuf.

A Graph is bipartite: nodes (where work is done) and tensors (where bytes lie) alternate along every path.
`Graph.dag` is that picture as a networkx DAG, for whoever wants to walk it; the passes read `Graph.nodes`,
which is in execution order.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import ml_dtypes
import msgspec
import numpy as np

if TYPE_CHECKING:
    import networkx as nx

Shape = tuple[int, ...]
Value = np.ndarray[Any, np.dtype[Any]]

VALUE_LIMIT = 4096
"""Most elements that a known value may have; larger constants are sizes only."""


class DType:
    """An element type: its name in numpy's and ml_dtypes' words, its width in bits (None for string), its ONNX code.

    `is_float`: floating point of any width; complex numbers included.
    """

    __slots__ = ("bits", "code", "is_float", "kind", "name", "numpy")

    def __init__(self, code: int, name: str, bits: int | None, kind: str, numpy: Any) -> None:
        self.code, self.name, self.bits, self.kind = code, name, bits, kind
        self.is_float = kind in "fc"
        self.numpy = np.dtype(numpy)

    def __repr__(self) -> str:
        return self.name

    def __reduce__(self) -> tuple[Any, ...]:
        return DTYPES.__getitem__, (self.code,)


def _dtypes() -> dict[int, DType]:
    """Every element type of ONNX by its code. Sub-byte types have their true width: four int4 are two bytes."""
    rows: list[tuple[int, str, int | None, str, Any]] = [
        (1, "float32", 32, "f", np.float32),
        (2, "uint8", 8, "u", np.uint8),
        (3, "int8", 8, "i", np.int8),
        (4, "uint16", 16, "u", np.uint16),
        (5, "int16", 16, "i", np.int16),
        (6, "int32", 32, "i", np.int32),
        (7, "int64", 64, "i", np.int64),
        (8, "string", None, "s", np.object_),
        (9, "bool", 8, "b", np.bool_),
        (10, "float16", 16, "f", np.float16),
        (11, "float64", 64, "f", np.float64),
        (12, "uint32", 32, "u", np.uint32),
        (13, "uint64", 64, "u", np.uint64),
        (14, "complex64", 64, "c", np.complex64),
        (15, "complex128", 128, "c", np.complex128),
        (16, "bfloat16", 16, "f", ml_dtypes.bfloat16),
        (17, "float8_e4m3fn", 8, "f", ml_dtypes.float8_e4m3fn),
        (18, "float8_e4m3fnuz", 8, "f", ml_dtypes.float8_e4m3fnuz),
        (19, "float8_e5m2", 8, "f", ml_dtypes.float8_e5m2),
        (20, "float8_e5m2fnuz", 8, "f", ml_dtypes.float8_e5m2fnuz),
        (21, "uint4", 4, "u", ml_dtypes.uint4),
        (22, "int4", 4, "i", ml_dtypes.int4),
        (23, "float4_e2m1fn", 4, "f", ml_dtypes.float4_e2m1fn),
        (24, "float8_e8m0fnu", 8, "f", ml_dtypes.float8_e8m0fnu),
        (25, "uint2", 2, "u", ml_dtypes.uint2),
        (26, "int2", 2, "i", ml_dtypes.int2),
        (27, "float6_e2m3fn", 6, "f", ml_dtypes.float6_e2m3fn),
        (28, "float6_e3m2fn", 6, "f", ml_dtypes.float6_e3m2fn),
    ]
    return {row[0]: DType(*row) for row in rows}


DTYPES: Mapping[int, DType] = _dtypes()
DTYPE_NAMED: Mapping[str, DType] = {dtype.name: dtype for dtype in DTYPES.values()}
FLOAT32, FLOAT64, INT64, INT32, INT8, UINT8, BOOL, STRING = (
    DTYPE_NAMED[name] for name in ("float32", "float64", "int64", "int32", "int8", "uint8", "bool", "string")
)


class Size(msgspec.Struct, frozen=True, eq=False, gc=False):
    """What is known of one tensor at one moment: its shape and dtype, and its numbers where they are few and known.

    `exact` is False where the shape is an upper bound (how many boxes survive is known to the data alone);
    `value_exact` likewise for the value. Two tensors never share one Size: identity says which tensor is meant.
    """

    shape: Shape
    dtype: DType
    value: Value | None = None
    exact: bool = True
    value_exact: bool = True

    @property
    def rank(self) -> int:
        return len(self.shape)

    @property
    def count(self) -> int:
        """Elements."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int | None:
        """Exact bytes, sub-byte types rounded up per tensor; None for strings, whose bytes the shape does not tell."""
        bits = self.dtype.bits
        return None if bits is None else (math.prod(self.shape) * bits + 7) >> 3

    def ints(self) -> tuple[int, ...]:
        """The value as plain integers; only where it is known."""
        assert self.value is not None
        return tuple(map(int, self.value.reshape(-1).tolist()))


class Sequence(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A sequence of tensors: each one's size where their number is known, else what any of them is like, if that is."""

    items: tuple[Size, ...] | None
    element: Size | None = None


class Unknown:
    """Stands for the size of something that has one which nobody can tell. Like None it is false: one look tells
    whether all operands have a size.
    """

    __slots__ = ()

    def __bool__(self) -> bool:
        return False


UNKNOWN = Unknown()
Known = Size | Sequence


class Tensor(msgspec.Struct, frozen=True, eq=False, gc=False):
    """A tensor as the file declares it: a graph's input or output, or a stored constant.

    `dims` holds integers, symbols (free dimensions) and None (nothing said); None as a whole: the rank is not told.
    `size` is set for stored tensors, whose dims are always whole; it carries the value where that is small.
    """

    name: str
    dtype: DType | None = None
    dims: tuple[int | str | None, ...] | None = None
    size: Size | None = None


class Reference(str):
    """An attribute value in a function's body that stands for the caller's attribute of this name."""


class Node(msgspec.Struct, frozen=True, eq=False, gc=False):
    """One call of an op: operands and results by tensor name ("" where an optional one is left out).

    `version` is the opset version of `domain` in force here. Attribute values are int, float, str, tuples of
    these, Size (a stored tensor), Graph (a body) or Reference. `captures` are outer tensors that bodies read by name.
    """

    name: str
    op_type: str
    domain: str
    version: int
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    overload: str = ""
    captures: tuple[str, ...] = ()


class Graph:
    """Nodes in execution order between declared inputs and outputs, with the stored tensors among them. Frozen.

    `inputs` leaves out inputs that a stored tensor gives a default: they are weights.
    """

    __slots__ = ("__dict__", "initializers", "inputs", "name", "nodes", "outputs")

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    initializers: Mapping[str, Tensor]
    nodes: tuple[Node, ...]

    def __init__(
        self,
        name: str,
        inputs: tuple[Tensor, ...],
        outputs: tuple[Tensor, ...],
        initializers: Mapping[str, Tensor],
        nodes: tuple[Node, ...],
    ) -> None:
        fields = {
            "name": name,
            "inputs": inputs,
            "outputs": outputs,
            "initializers": initializers,
            "nodes": nodes,
        }
        for key, value in fields.items():
            object.__setattr__(self, key, value)

    def __setattr__(self, key: str, value: object) -> None:
        raise AttributeError(f"a Graph is frozen: {key} cannot be set")

    @cached_property
    def dag(self) -> nx.DiGraph[Any]:
        """The bipartite DAG, frozen: tensors by name (data: `tensor`, a Tensor or None), nodes by index
        (data: `node`).
        """
        return bipartite(self.inputs, self.initializers, self.nodes)


def bipartite(
    inputs: tuple[Tensor, ...], initializers: Mapping[str, Tensor], nodes: tuple[Node, ...] | list[Node]
) -> nx.DiGraph[Any]:
    """Nodes and tensors as one directed graph: tensor -> node where it is read, node -> tensor where it is made."""
    import networkx as nx

    dag: nx.DiGraph[Any] = nx.DiGraph()
    dag.add_nodes_from((tensor.name, {"tensor": tensor}) for tensor in (*inputs, *initializers.values()))
    for index, node in enumerate(nodes):
        dag.add_node(index, node=node)
        dag.add_edges_from((name, index) for name in (*node.inputs, *node.captures) if name)
        dag.add_edges_from((index, name) for name in node.outputs if name)
    nx.freeze(dag)
    return dag


class Function(msgspec.Struct, frozen=True, eq=False):
    """A model-local op: a body, the attributes it takes, and their defaults (None: the caller must give it)."""

    graph: Graph
    attributes: Mapping[str, Any]


class Model(msgspec.Struct, frozen=True, eq=False):
    """A whole file: its main graph, its functions by (domain, name, overload), and what it says of itself.

    `structure_sha256` is the digest of the model without its weights.
    """

    name: str
    graph: Graph
    functions: Mapping[tuple[str, str, str], Function]
    opsets: Mapping[str, int]
    ir_version: int
    producer: str
    file_bytes: int
    structure_sha256: str
