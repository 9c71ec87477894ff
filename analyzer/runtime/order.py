"""The two orders in which a session goes through its nodes: that in which they run, and that in which they came to be.

onnxruntime 1.31: `GraphViewer` (`core/graph/graph_viewer.cc`) for the first; kernels are made and their weights packed
by node index (`core/framework/session_state.cc`), which is the file's order for nodes of the file, and later for those
that were put in their place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from analyzer.graph import Graph, Node

CONSTANT = "Constant"
"""Nodes of this type become stored tensors as a file is read."""


def running(made: Graph, original: Graph) -> tuple[int, ...]:
    """Indices of the nodes of `made`, the graph that a session saved, in the order in which that session runs them.

    A graph that was changed is saved in that order. One that was not is saved as it was.
    """
    before = [_first(node.outputs) for node in original.nodes if node.op_type != CONSTANT]
    if before == [_first(node.outputs) for node in made.nodes]:
        return from_leaves(made.nodes)
    return tuple(range(len(made.nodes)))


def from_leaves(nodes: Sequence[Node], ranks: Sequence[int] | None = None) -> tuple[int, ...]:
    """Depth first from the nodes that nobody reads, against the edges: of several the one of the highest rank first,
    which is the last one where nobody says.
    """
    key = (ranks or range(len(nodes))).__getitem__
    reads = _reads(nodes)
    read = {index for indices in reads for index in indices}
    stack = [(index, False) for index in sorted(range(len(nodes)), key=key) if index not in read]
    visited: set[int] = set()
    order = []
    while stack:
        index, done = stack.pop()
        if done:
            order.append(index)
        elif index not in visited:
            visited.add(index)
            stack.append((index, True))
            operands = sorted(reads[index], key=key)
            stack.extend((operand, False) for operand in operands if operand not in visited)
    return tuple(order)


def _reads(nodes: Sequence[Node]) -> list[set[int]]:
    """For each node those that make what it reads."""
    maker = {name: index for index, node in enumerate(nodes) for name in node.outputs if name}
    return [{maker[name] for name in (*node.inputs, *node.captures) if name in maker} for node in nodes]


def readers(nodes: Sequence[Node]) -> dict[int, list[int]]:
    """For each node those that read what it makes; a node that nobody reads is left out."""
    found: dict[int, list[int]] = {}
    for index, operands in enumerate(_reads(nodes)):
        for operand in operands:
            found.setdefault(operand, []).append(index)
    return found


def created(nodes: Sequence[Node], original: Graph) -> tuple[int, ...]:
    """Indices of `nodes` in the order in which they came to be: those of the original graph, then the others."""
    found = places(nodes, original)
    last = len(original.nodes)
    return tuple(sorted(range(len(nodes)), key=lambda index: (_or(found[index], last), index)))


def places(nodes: Sequence[Node], original: Graph) -> list[int | None]:
    """Where each stood in the original graph; None where the optimiser made it.

    A node that the optimiser kept has its op, and one of its first result, its name and its first operand.
    """
    marks: dict[tuple[str, ...], int] = {}
    for place, node in enumerate(original.nodes):
        for mark in _marks(node):
            marks.setdefault(mark, place)
    return [next((marks[mark] for mark in _marks(node) if mark in marks), None) for node in nodes]


def _or(place: int | None, last: int) -> int:
    return last if place is None else place


def _marks(node: Node) -> Iterator[tuple[str, ...]]:
    """What a node may be known by, the surest first; a name that its place in the file gave it is none."""
    op = node.domain, node.op_type
    yield *op, "result", _first(node.outputs)
    if not node.name.removeprefix(f"{node.op_type}_").isdecimal():
        yield *op, "name", node.name
    yield *op, "operand", _first(node.inputs)


def _first(names: Sequence[str]) -> str:
    return next(filter(None, names), "")
