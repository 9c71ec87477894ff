"""Views where branches meet: the hull of what they see, where their positions lie alike."""

from __future__ import annotations

import math

from analyzer.passes.receptive_field.views import (
    OPAQUE_VIEW,
    RANK,
    Digit,
    View,
    Views,
    runs_of,
    scattered,
)
from analyzer.spans import PHASES, Affine, Reach, aligned, join


class Meeting:
    """Views where branches meet, the axes on which centres differ, and whether strides did."""

    __slots__ = ("misaligned", "mismatched", "views")

    def __init__(self, parts: list[Views]) -> None:
        self.misaligned: list[int] = []
        self.mismatched = False
        self.views = parts[0]
        for part in parts[1:]:
            if part is not self.views:
                self.views = tuple(
                    a if b is None or a is b else b if a is None else self.meet(axis, a, b)
                    for axis, (a, b) in enumerate(zip(self.views, part, strict=True))
                )

    def meet(self, axis: int, a: View, b: View) -> View:
        """Two views of one input axis at once: the less local status, the hull of the fields."""
        if "scattered" in (a.status, b.status) and RANK[a.status] + RANK[b.status] <= 2:
            return scattered(digit.axis for digit in (*a.digits, *b.digits))
        if a.digits != b.digits and a.digits and b.digits:
            a, b = _alike(a, b), _alike(b, a)
        status = a.status if RANK[a.status] >= RANK[b.status] else b.status
        if {a.status, b.status} == {"prefix", "suffix"}:
            status = "global"
        if status != "local":
            told = [view for view in (a, b) if view.local is not None] or [a, b]
            kept = next((view.digits for view in told if view.digits and view.status != "scattered"), ())
            return View(status, kept, None, _hull(a.local, b.local))
        assert a.reach is not None
        assert b.reach is not None
        if a.digits != b.digits and a.digits and b.digits:
            shared = _shared(a.digits, b.digits)
            if not shared:  # a window here and a window there: nothing holds both
                return View("global", (), None, None)
            return self.meet(axis, _blocks(a, shared), _blocks(b, shared))
        if _anywhere(a) != _anywhere(b):  # rows that every position sees, beside a window at its own
            here = b if _anywhere(a) else a
            return View("global", here.digits, None, here.local)
        if a.reach == b.reach and a.local == b.local:
            return a if a.digits else b
        reach = join(a.reach, b.reach)
        if reach is None:
            self.mismatched = True
            return OPAQUE_VIEW
        if not aligned(a.reach, b.reach):
            self.misaligned.append(axis)
        local = reach if a.local is a.reach and b.local is b.reach else _hull(a.local, b.local)
        return View("local", a.digits or b.digits, reach, local)


def _anywhere(view: View) -> bool:
    """Whether all positions see the same, there being more than one."""
    return math.prod(digit.extent for digit in view.digits) == 1


def _alike(view: View, other: View) -> View:
    """A view whose positions are blocks of the other's, told for each position of a block."""
    if view.local is None or other.local is None:
        return view
    rest = list(other.digits)
    for digit in view.digits:
        if not rest or (rest[0].axis, rest[0].step % digit.step) != (digit.axis, 0):
            return view
        finer = rest.pop(0)
        if (finer.low, finer.extent) == (digit.low, digit.extent):
            continue
        factor = finer.extent // digit.extent
        if digit is not view.digits[-1] or (finer.low * factor, digit.extent * factor) != (
            digit.low,
            finer.extent,
        ):
            return view
        rest.insert(0, Digit(finer.axis, finer.low, factor))
    block = math.prod(digit.extent for digit in rest)
    return view if not 1 < block <= PHASES else view.through(runs_of(block), other.digits)


def _shared(a: tuple[Digit, ...], b: tuple[Digit, ...]) -> int:
    """How many digits are the same, from the most significant on."""
    pairs = [
        (one.axis, one.low, one.extent) == (other.axis, other.low, other.extent)
        for one, other in zip(a, b, strict=False)
    ]
    return (*pairs, False).index(False)


def _blocks(view: View, kept: int) -> View:
    """The view of whole blocks: of positions that differ in what is behind the first `kept` digits."""
    block = math.prod(digit.extent for digit in view.digits[kept:])
    digits = tuple(Digit(d.axis, d.low, d.extent, d.step // block) for d in view.digits[:kept])
    return view.through(Affine(1, block, (0,), (block - 1,)), digits)


def _hull(a: Reach | None, b: Reach | None) -> Reach | None:
    """The hull of two fields, of which either may be missing; None too where strides disagree."""
    return a or b if a is None or b is None else join(a, b)
