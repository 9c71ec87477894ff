"""What a saved graph gives away of the processor that it was made for: how many channels lie together in a block."""

from __future__ import annotations

from analyzer.graph import Graph, Node
from analyzer.runtime.kernel import NCHWC

_BLOCKS = (16, 8)
"""With AVX-512, and without (`MlasNchwcGetBlockSize`)."""


def block_of(graph: Graph) -> int | None:
    """Channels of a block: filters are filled up to whole ones. None where there are none to tell."""
    filters = [graph.initializers.get(node.inputs[1]) for node in graph.nodes if _is_convolution(node)]
    counts = [stored.size.shape[0] for stored in filters if stored is not None and stored.size is not None]
    if not counts:
        return None
    return next((block for block in _BLOCKS if all(count % block == 0 for count in counts)), None)


def _is_convolution(node: Node) -> bool:
    return (node.domain, node.op_type) == (NCHWC, "Conv")
