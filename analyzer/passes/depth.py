"""Depth: weighted layers on the longest path from an input to an output, as the literature counts layers.

A layer is weighted if it multiplies and accumulates and one of its operands is a constant: a convolution, a matrix product
with a weight, a recurrent layer.
"""

from __future__ import annotations

from analyzer.describe import Scene
from analyzer.ops.rule import Facts


def longest(scene: Scene) -> int:
    """Weighted layers on the longest path; a node without a rule is none."""
    depth: dict[str, int] = {}
    constants = scene.constants
    deepest = 0
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        if node.outputs and node.outputs[0] in constants:
            continue
        before = max((depth.get(name, 0) for name in (*node.inputs, *node.captures)), default=0)
        if isinstance(said, Facts):
            before += bool(said.macs) and not constants.isdisjoint(node.inputs)
            before += max((longest(run.scene) for run in said.runs), default=0)
        for name in node.outputs:
            depth[name] = before
        deepest = max(deepest, before)
    return deepest
