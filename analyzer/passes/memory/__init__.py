"""Memory at test time: the sum of outputs, the bytes that are alive at once over the execution order, and one arena.

A storage is what a tensor's bytes lie in. A view shares its operand's storage, and an op that may overwrite
an operand which nobody needs any more takes its storage over. Graph inputs belong to the caller and stay for
the whole run; graph outputs stay from where they are made; everything else lives until its last reader.
Stored tensors and those made from them alone are parameters, not activations. A body's own peak stands on top
of what is alive around the node that runs it, and so does its own arena.
"""

from __future__ import annotations

from analyzer.passes.memory.arena import Plan, place
from analyzer.passes.memory.live import Live, measure
from analyzer.passes.memory.savings import Savings, save

__all__ = ["Live", "Plan", "Savings", "measure", "place", "save"]
