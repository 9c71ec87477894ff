"""Sequences and optionals, where a kernel makes tensors alone. What is kept inside of a sequence is nobody's tensor:
ops that put something there have no entry. Nor have If, Loop and Scan, whose bodies are replayed.

Source: onnxruntime/core/providers/cpu/sequence/*.cc, optional/*.cc.
"""

from __future__ import annotations

from analyzer.runtime.kernel import plain

plain("Optional", "OptionalGetElement", alias=((0, 0),))
plain("ConcatFromSequence", "SequenceAt", "SequenceEmpty", "SequenceLength", "OptionalHasElement")
