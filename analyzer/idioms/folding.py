"""Batch norms that an exporter folded into the weights before them: an inference graph tells of them by names alone."""

from __future__ import annotations

import re

_REWRITTEN = re.compile(r"node_[A-Z]\w*_\d+")
"""torch's newer exporter names a node after the op in the program, its optimiser after the ONNX op that it wrote."""


def folded(node: str, weight: str, bias: str) -> bool | None:
    """Whether a product's weight and bias took in a batch norm; None where their names do not tell.

    Both of torch's exporters name a parameter by its place in the module. What folding makes belongs to no module: the
    older one calls it `onnx::Conv_12`, the newer one names a new bias after the weight, and the node anew if there was
    a bias already.
    """
    if weight.startswith("onnx::") and bias.startswith("onnx::"):
        return True
    if bias == f"{weight}_bias" or "batchnorm" in bias.lower().replace("_", ""):
        return True
    module, _, last = weight.rpartition(".")
    if last == "weight" and bias == (f"{module}.bias" if module else "bias"):
        return _REWRITTEN.fullmatch(node) is not None
    return None
