"""The standard op that another is a variant of, asked through the registry: so that a fused, requantised or
otherwise laid out op says what the plain one says. Not a family: no op is named here.
"""

from __future__ import annotations

from typing import Any

import msgspec

from analyzer.graph import Size
from analyzer.ops.rule import ONNX, Facts, find
from analyzer.spans import POINTWISE

OPSET = 22
"""The opset whose op is meant where nothing else is said."""


def standard(op_type: str, *operands: Size | None, version: int = OPSET, **attributes: Any) -> Facts:
    """What the standard op's rule says of these operands. Raises LookupError where there is none."""
    found = find(ONNX, op_type, version)
    if found is None:
        raise LookupError(f"no rule for {op_type} at opset {version}")
    filled = {"results": 1, "version": version}
    return found.function(*operands, **attributes, **{name: filled[name] for name in found.fills})


def result(said: Facts) -> Size:
    """The size of the first result, where it must be known."""
    size = said.outputs[0] if isinstance(said.outputs, tuple) else said.outputs
    assert isinstance(size, Size)
    return size


def activated(said: Facts, activation: str | None, added: Size | None = None) -> Facts:
    """What is said of a product, `added` to it if given, then an activation."""
    y = result(said)
    if added is not None:
        spans = tuple(said.span(place) for place in range(3))
        said = msgspec.structs.replace(said, elementwise=y.count, spans=(*spans, POINTWISE), inplace=(added,))
    if not activation:
        return said
    try:
        then = standard(activation, y)
    except LookupError:
        return msgspec.structs.replace(said, elementwise=None)
    steps = (
        None if said.elementwise is None or then.elementwise is None else said.elementwise + then.elementwise
    )
    return msgspec.structs.replace(
        said, outputs=result(then), elementwise=steps, saved=(*said.saved, *then.saved)
    )
