"""Structure checks: every tensor defined once, every read defined, no cycle. Iterative and linear."""

from __future__ import annotations

from collections.abc import Mapping

from analyzer.errors import BadModel
from analyzer.graph import Node, Tensor, bipartite


def in_order(
    inputs: tuple[Tensor, ...],
    initializers: Mapping[str, Tensor],
    nodes: list[Node],
    outputs: tuple[Tensor, ...],
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The nodes in execution order (the file's own where that is one), and the names read from outside.

    Raises BadModel: DUPLICATE_TENSOR, or CYCLE naming the nodes on it.
    """
    ready = _entered(inputs, initializers)
    made: set[str] | None = None
    free: dict[str, None] = {}
    for node in nodes:
        for name in (*node.inputs, *node.captures) if node.captures else node.inputs:
            if name not in ready and name:
                if made is None:
                    made = {name for node in nodes for name in node.outputs}
                if name in made:
                    return _sorted(inputs, initializers, nodes, outputs)
                free[name] = None
        for name in node.outputs:
            if name in ready:
                raise _twice(node, name)
            if name:
                ready.add(name)
    for tensor in outputs:
        if tensor.name not in ready:
            free[tensor.name] = None
    return tuple(nodes), tuple(free)


def _entered(inputs: tuple[Tensor, ...], initializers: Mapping[str, Tensor]) -> set[str]:
    """Names that are there before the first node."""
    names = {tensor.name for tensor in inputs}
    if len(names) != len(inputs):
        twice = next(name for name in names if sum(tensor.name == name for tensor in inputs) > 1)
        raise BadModel("DUPLICATE_TENSOR", f"the graph has two inputs named {twice!r}", tensor=twice)
    names.update(initializers)
    return names


def _twice(node: Node, name: str) -> BadModel:
    return BadModel(
        "DUPLICATE_TENSOR",
        f"node {node.name!r} defines {name!r}, which is defined already",
        tensor=name,
        node=node.name,
    )


def _sorted(
    inputs: tuple[Tensor, ...],
    initializers: Mapping[str, Tensor],
    nodes: list[Node],
    outputs: tuple[Tensor, ...],
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """A topological order that keeps to the file's as far as it can."""
    import networkx as nx

    made = _entered(inputs, initializers)
    for node in nodes:
        for name in node.outputs:
            if name in made:
                raise _twice(node, name)
            if name:
                made.add(name)
    dag = bipartite(inputs, initializers, nodes)
    rank = {key: (1, key) if isinstance(key, int) else (0, 0) for key in dag}
    try:
        keys = list(nx.lexicographical_topological_sort(dag, key=rank.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [key for key, _ in nx.find_cycle(dag) if isinstance(key, int)]
        names = " -> ".join(repr(nodes[index].name) for index in (*cycle[:8], cycle[0]))
        raise BadModel("CYCLE", f"the graph has a cycle: {names}", node=nodes[cycle[0]].name) from None
    return in_order(inputs, initializers, [nodes[key] for key in keys if isinstance(key, int)], outputs)
