"""The orders that onnxruntime leaves to chance.

Nodes that lead out of the blocked layout are made last, in the order of a hash table of addresses (`Finalize` in
`core/optimizer/nchwc_transformer.cc`): sessions of one model number them differently, and nodes run by their numbers.
"""

from __future__ import annotations

import random
import re
from collections.abc import Sequence
from functools import partial
from itertools import product

from analyzer.graph import Graph, Node
from analyzer.runtime.kernel import NCHWC
from analyzer.runtime.order import from_leaves, places, readers

DRAWS = 24
"""Orders that are drawn; a peak that every third session reaches is missed once in twenty thousand times."""
_TOKEN = re.compile(r"_token_(\d+)$")


def orders(nodes: Sequence[Node], original: Graph) -> tuple[tuple[int, ...], ...] | None:
    """Orders in which other sessions of the same model may run `nodes`, which this one runs as they stand.

    Some of many, the same at every call. None where there may be others and nobody can tell which.
    """
    loose = [index for index, node in enumerate(nodes) if _leads_out(node)]
    if not _meet(nodes, loose):
        return ()
    ranks = _ranks(nodes, original)
    if ranks is None:
        return None
    chance, given = random.Random(0), [ranks[index] for index in loose]
    found: dict[tuple[int, ...], None] = {}
    for _ in range(DRAWS):
        chance.shuffle(given)
        for index, rank in zip(loose, given, strict=True):
            ranks[index] = rank
        found[from_leaves(nodes, ranks)] = None
    return tuple(found)


def _leads_out(node: Node) -> bool:
    return (node.domain, node.op_type) == (NCHWC, "ReorderOutput")


def _meet(nodes: Sequence[Node], loose: Sequence[int]) -> bool:
    """Whether a node, or the caller, reads results of two of them: else their order is nobody's."""
    read = readers(nodes)
    meetings = [reader for index in loose for reader in read.get(index) or (None,)]
    return len(set(meetings)) < len(meetings)


def _ranks(nodes: Sequence[Node], original: Graph) -> list[int] | None:
    """Numbers by which `nodes` run as they stand; None where those that can be worked out do not.

    Nodes that replaced others were made in the order in which the graph ran then, forth or back at each meeting.
    """
    known = places(nodes, original)
    for one, other in product((1, -1), (1, -1)):
        came = partial(_came, nodes, known, one, other)
        ranks = [0] * len(nodes)
        for rank, index in enumerate(sorted(range(len(nodes)), key=came)):
            ranks[index] = rank
        if from_leaves(nodes, ranks) == tuple(range(len(nodes))):
            return ranks
    return None


def _came(
    nodes: Sequence[Node], known: Sequence[int | None], one: int, other: int, index: int
) -> tuple[int, int, int]:
    """When a node was made: with the file; by the names that were made up for it; to lead out; to take in a sum."""
    node, place = nodes[index], known[index]
    if _leads_out(node):
        return 2, _token(node.name), 0
    if node.op_type == "FusedConv" and len(node.inputs) > 3:
        return 3, 0, other * index
    return (1, _token(node.outputs[0]), one * index) if place is None else (0, place, 0)


def _token(name: str) -> int:
    """The number in a name that was made up; the first one of its kind has none."""
    found = _TOKEN.search(name)
    return int(found[1]) if found else -1
