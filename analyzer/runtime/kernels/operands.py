"""A call's operands and results by position, where trailing ones may be missing altogether."""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.runtime.kernel import Call


def operand(call: Call, index: int) -> Size:
    """An operand that the op cannot be without."""
    size = call.inputs[index]
    assert size is not None
    return size


def is_given(call: Call, index: int) -> bool:
    """An optional operand is there."""
    return index < len(call.inputs) and call.inputs[index] is not None


def is_constant(call: Call, index: int) -> bool:
    """An operand is there, and stored."""
    return is_given(call, index) and call.constant[index]


def is_wanted(call: Call, index: int) -> bool:
    """Somebody asked for a result."""
    return index < len(call.outputs) and call.outputs[index] is not None
