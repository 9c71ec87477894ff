"""Receptive fields at the size at hand: which input rows every element of a tensor sees, clipped at every layer.

One walk over the ancestors of the tensors in question carries, for each of them and each axis of each input, a `Seen`:
first and last row for every element. A rule's spans say how an op reads; branches join; bodies are entered, and loops
gone through turn by turn as long as their turns are known. What the data decides, or nobody can tell, is taken as all
of the operand, and marked so.
"""

from __future__ import annotations

from analyzer.passes.clipped.look import Look, Sight, look
from analyzer.passes.clipped.views import Axis, Seen, Trust
from analyzer.passes.clipped.walk import Clipped, trace

__all__ = ["Axis", "Clipped", "Look", "Seen", "Sight", "Trust", "look", "trace"]
