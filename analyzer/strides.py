"""Strides: where the elements of a tensor lie in its storage, as a framework with strided tensors lays them out.

A view moves no element: it reads a storage through other strides, and what keeps the view keeps the storage. None
stands for row-major order without gaps. The rules are those of PyTorch: when a reshape is a view, and how the result of
an elementwise op is laid out (`TensorIterator`). No op is named here.
"""

from __future__ import annotations

from functools import lru_cache

from analyzer.graph import Shape
from analyzer.spans import POINTWISE, Regroup, Route, Span

Strides = tuple[int, ...]
_remembered = lru_cache(maxsize=4096)  # a network has few shapes, and asks the same of them over and over


@_remembered
def rowmajor(shape: Shape) -> Strides:
    """Strides without gaps, the last axis running fastest."""
    strides, step = [0] * len(shape), 1
    for axis in range(len(shape) - 1, -1, -1):
        strides[axis] = step
        step *= shape[axis]
    return tuple(strides)


@_remembered
def told(shape: Shape, strides: Strides) -> Strides | None:
    """`strides`, or None where they are row-major; the stride of an axis of 1 says nothing."""
    step = 1
    for axis in range(len(shape) - 1, -1, -1):
        if shape[axis] != 1:
            if strides[axis] != step:
                return strides
            step *= shape[axis]
    return None


@_remembered
def viewed(shape: Shape, strides: Strides | None, wanted: Shape) -> Strides | None:
    """Strides of a reshape of a tensor that is not row-major; None where it must be copied."""
    if strides is None or 0 in shape:
        return rowmajor(wanted)
    result, place, run, made = [0] * len(wanted), len(wanted) - 1, 1, 1
    step = strides[-1] if strides else 1
    for axis in range(len(shape) - 1, -1, -1):
        run *= shape[axis]
        if axis and (shape[axis - 1] == 1 or strides[axis - 1] == run * step):
            continue
        while place >= 0 and (made < run or wanted[place] == 1):
            result[place] = made * step
            made *= wanted[place]
            place -= 1
        if made != run:
            return None
        if axis:
            step, run, made = strides[axis - 1], 1, 1
    return tuple(result) if place < 0 else None


@_remembered
def expanded(shape: Shape, strides: Strides | None, wanted: Shape) -> Strides:
    """Strides of a broadcast: an axis that is repeated takes no step."""
    steps = strides or rowmajor(shape)
    lead = len(wanted) - len(shape)
    return (
        *(0,) * lead,
        *(
            0 if old == 1 and new != 1 else step
            for old, new, step in zip(shape, wanted[lead:], steps, strict=True)
        ),
    )


@_remembered
def turned(shape: Shape, strides: Strides | None, order: tuple[int, ...]) -> tuple[Shape, Strides]:
    """Shape and strides of a transpose."""
    steps = strides or rowmajor(shape)
    return tuple(shape[axis] for axis in order), tuple(steps[axis] for axis in order)


def routed(shape: Shape, strides: Strides | None, span: Span, wanted: Shape) -> Strides | None:
    """Strides of a view that reads its operand through `span`; None where no strides can say it."""
    if span is POINTWISE:
        return expanded(shape, strides, wanted)
    if isinstance(span, Regroup):
        return viewed(shape, strides, wanted)
    if not isinstance(span, tuple):
        return None
    result = [0] * len(wanted)
    for way, step in zip(span, strides or rowmajor(shape), strict=True):
        if type(way) is Route:  # an axis that is read elsewise has vanished: one row of it was picked
            result[way.axis] = step * way.taps.advance
    return tuple(result)


@_remembered
def blended(shape: Shape, operands: tuple[tuple[Shape, Strides | None], ...]) -> Strides | None:
    """Strides of what is computed element by element: axes in the order of the operands' strides, the first operand
    that has an opinion deciding.
    """
    if all(strides is None for _, strides in operands):
        return None
    steps = [
        expanded(have, strides, shape) if have != shape else strides or rowmajor(have)
        for have, strides in operands
    ]
    order = list(range(len(shape) - 1, -1, -1))  # fastest first
    for index in range(1, len(order)):
        slow = index
        for fast in range(index - 1, -1, -1):
            verdict = _compared(shape, steps, order[fast], order[slow])
            if verdict > 0:
                order[fast], order[slow] = order[slow], order[fast]
                slow = fast
            elif verdict < 0:
                break
    result, step = [0] * len(shape), 1
    for axis in order:
        result[axis] = step
        step *= shape[axis]
    return told(shape, tuple(result))


def _compared(shape: Shape, steps: list[Strides], fast: int, slow: int) -> int:
    """Whether two axes stand in the wrong order (1), in the right one (-1), or nobody can tell (0)."""
    for strides in steps:
        a, b = strides[fast], strides[slow]
        if a == 0 or b == 0:
            continue
        if a != b:
            return 1 if a > b else -1
        if shape[fast] > shape[slow]:
            return 1
    return 0


def channels_last(shape: Shape, strides: Strides | None) -> bool:
    """Whether the channels (axis 1) of a picture or a volume run fastest, without gaps."""
    if strides is None or not 4 <= len(shape) <= 5:
        return False
    return strides == last(shape)


@_remembered
def last(shape: Shape) -> Strides:
    """Strides with channels running fastest."""
    turned = rowmajor((shape[0], *shape[2:], shape[1]))
    return (turned[0], turned[-1], *turned[1:-1])
