"""What a rule says that autograd keeps, as sizes."""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Facts


def kept(facts: Facts) -> list[Size]:
    """Everything that may be kept, whatever the condition."""
    return [item if isinstance(item, Size) else item.size for item in facts.saved]
