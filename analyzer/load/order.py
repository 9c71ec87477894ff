"""Structure checks: every tensor defined once, every read defined, no cycle. Iterative and linear."""

from __future__ import annotations

from collections.abc import Mapping

from analyzer.errors import BadModel
from analyzer.graph import Node, Tensor, bipartite


def check_names(inputs: tuple[Tensor, ...], initializers: Mapping[str, Tensor], nodes: list[Node]) -> None:
    """Every tensor has one definition. Raises BadModel (DUPLICATE_TENSOR)."""
    defined = {tensor.name for tensor in inputs}
    if len(defined) != len(inputs):
        twice = next(name for name in defined if sum(tensor.name == name for tensor in inputs) > 1)
        raise BadModel("DUPLICATE_TENSOR", f"the graph has two inputs named {twice!r}", tensor=twice)
    defined.update(initializers)
    for node in nodes:
        for name in node.outputs:
            if name in defined:
                raise BadModel(
                    "DUPLICATE_TENSOR", f"node {node.name} defines {name!r}, which is defined already", tensor=name, node=node.name
                )
            if name:
                defined.add(name)


def in_order(
    inputs: tuple[Tensor, ...], initializers: Mapping[str, Tensor], nodes: list[Node], outputs: tuple[Tensor, ...]
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """The nodes in execution order (the file's own where that is one), and the names read from outside.

    Raises BadModel (CYCLE) naming the nodes on it.
    """
    made = {name for node in nodes for name in node.outputs}
    ready = {tensor.name for tensor in inputs}
    ready.update(initializers)
    ready.add("")
    free: dict[str, None] = {}
    for node in nodes:
        for name in (*node.inputs, *node.captures):
            if name not in ready:
                if name in made:
                    return _sorted(inputs, initializers, nodes, outputs)
                free[name] = None
        ready.update(node.outputs)
    for tensor in outputs:
        if tensor.name not in ready:
            free[tensor.name] = None
    return tuple(nodes), tuple(free)


def _sorted(
    inputs: tuple[Tensor, ...], initializers: Mapping[str, Tensor], nodes: list[Node], outputs: tuple[Tensor, ...]
) -> tuple[tuple[Node, ...], tuple[str, ...]]:
    """A topological order that keeps to the file's as far as it can."""
    import networkx as nx

    dag = bipartite(inputs, initializers, nodes)
    try:
        rank = {key: (0, 0) if isinstance(key, str) else (1, key) for key in dag}
        keys = list(nx.lexicographical_topological_sort(dag, key=rank.__getitem__))
    except nx.NetworkXUnfeasible:
        cycle = [key for key, _ in nx.find_cycle(dag) if isinstance(key, int)]
        names = " -> ".join(nodes[index].name for index in cycle[:8])
        raise BadModel("CYCLE", f"the graph has a cycle: {names} -> ...", node=nodes[cycle[0]].name) from None
    return in_order(inputs, initializers, [nodes[key] for key in keys if isinstance(key, int)], outputs)
