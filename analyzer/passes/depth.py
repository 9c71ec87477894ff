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
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        outputs, inputs = node.outputs, node.inputs
        if outputs and outputs[0] in constants:
            continue
        layers = 0
        for name in (*inputs, *node.captures) if node.captures else inputs:
            before = depth.get(name, 0)
            if before > layers:
                layers = before
        if type(said) is Facts:
            if said.macs and not constants.isdisjoint(inputs):
                layers += 1
            if said.runs:
                layers += max(_body(run.scene, measured) for run in said.runs)
        for name in outputs:
            depth[name] = layers
    return max(depth.values(), default=0)


def _body(scene: Scene, measured: dict[int, int]) -> int:
    if id(scene) not in measured:
        measured[id(scene)] = longest(scene, measured)
    return measured[id(scene)]
