"""Depth: weighted layers on the longest path from an input to an output, as the literature counts layers.

A layer is weighted if it multiplies and accumulates and one of its operands is a constant: a convolution, a
matrix product with a weight, a recurrent layer.
"""

from __future__ import annotations

from analyzer.describe import Scene
from analyzer.ops.rule import Facts


def longest(scene: Scene, measured: dict[int, int] | None = None) -> int:
    """Weighted layers on the longest path; a node without a rule is none. Bodies are `measured` once."""
    measured = {} if measured is None else measured
    depth: dict[str, int] = {}
    constants = scene.constants
    deepest = 0
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        if node.outputs and node.outputs[0] in constants:
            continue
        layers, weighted = 0, False
        for name in (*node.inputs, *node.captures):
            before = depth.get(name)
            if before is None:
                weighted = weighted or name in constants
            elif before > layers:
                layers = before
        if isinstance(said, Facts):
            layers += weighted and bool(said.macs)
            for run in said.runs:
                if id(run.scene) not in measured:
                    measured[id(run.scene)] = longest(run.scene, measured)
            layers += max((measured[id(run.scene)] for run in said.runs), default=0)
        for name in node.outputs:
            depth[name] = layers
        deepest = max(deepest, layers)
    return deepest
