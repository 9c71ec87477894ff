"""What one position of a tensor sees: a table, JSON, and a picture of it on the input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

import msgspec

if TYPE_CHECKING:
    from analyzer.passes.clipped import Look, Sight

HEADS = ("input", "axis", "sees rows", "of", "share", "")


def table(look: Look) -> str:
    """One line per axis of each input."""
    lines = [(*HEADS[:-1], ""), *map(_row, look.seen)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "\n".join((title(look), "", *shown)) + "\n"


def json(look: Look) -> str:
    """The record, one line."""
    return msgspec.json.encode(look).decode() + "\n"


def title(look: Look) -> str:
    """Which elements of which tensor are meant: "pool5 [1, 512, :, :] at axis 2 = 3"."""
    shape = "" if look.shape is None else f" [{', '.join(map(str, look.shape))}]"
    where = ", ".join(f"axis {axis} = {position}" for axis, position in look.at.items())
    return f"{look.tensor}{shape}" + (f" at {where}" if where else ", all positions")


def _row(sight: Sight) -> tuple[str, ...]:
    doubt = "" if sight.trust == "exact" else f"at most ({sight.trust})"
    if sight.rows is None:
        return sight.input, str(sight.axis), "none", str(sight.length), "", doubt
    first, last = sight.rows
    share = f"{(last - first + 1) / sight.length:.0%}"
    rows = str(first) if first == last else f"{first}..{last}"
    return sight.input, str(sight.axis), rows, str(sight.length), share, doubt


# ------------------------------------------------------------------------------------------------ picture

LONGEST = 420
"""Pixels of the longer side of an input."""
STRIP = 36
"""Pixels across an input that is drawn along one axis alone."""
LEFT, TOP, GAP, LINE = 64, 56, 64, 18

_STYLE = """<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600 }
.small { font-size: 12px; fill: #57606a }
.input { fill: #eef1f4; stroke: #8c959f }
.field { fill: #0969da; fill-opacity: .28; stroke: #0969da; stroke-width: 1.5 }
.doubt { stroke-dasharray: 5 4 }
.guide { stroke: #0969da; stroke-opacity: .45; stroke-dasharray: 2 3 }
</style>"""


def svg(look: Look) -> str:
    """Each input with the part that is seen, along its two longest axes; other axes are told in words."""
    inputs = [list(sights) for _, sights in groupby(look.seen, key=lambda sight: sight.input)]
    drawn, top, right = list[str](), TOP, 8 * len(title(look)) + 2 * LEFT
    for sights in inputs:
        parts, width, height = _input(sights, top)
        drawn += parts
        top += height + GAP
        right = max(right, width + 2 * LEFT)
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{right}" height="{top}" viewBox="0 0 {right} {top}">'
    )
    back = f'<rect width="{right}" height="{top}" fill="#fff"/>'
    return "\n".join((head, _STYLE, back, _text(16, 28, title(look), "title"), *drawn, "</svg>")) + "\n"


def _input(sights: list[Sight], top: int) -> tuple[list[str], int, int]:
    """One input's drawing, and how wide and high it is."""
    long = sorted(sights, key=lambda sight: -sight.length)[:2]
    sides = sorted((sight for sight in long if sight.length > 1), key=lambda sight: sight.axis)
    across = sides[-1] if sides else None
    down = sides[0] if len(sides) == 2 else None
    scale = LONGEST / max((sight.length for sight in sides), default=1)
    width = STRIP if across is None else max(round(across.length * scale), STRIP)
    height = STRIP if down is None else max(round(down.length * scale), STRIP)
    parts = [_text(LEFT, top, _caption(sights, sides), "small")]
    top += 22
    parts.append(f'<rect class="input" x="{LEFT}" y="{top}" width="{width}" height="{height}"/>')
    if all(sight.rows is not None for sight in sights):
        x, w = _extent(across, width)
        y, h = _extent(down, height)
        doubt = "" if all(sight.trust == "exact" for sight in sights) else " doubt"
        box = f'x="{LEFT + x:.1f}" y="{top + y:.1f}" width="{w:.1f}" height="{h:.1f}"'
        parts.append(f'<rect class="field{doubt}" {box}/>')
        parts += _marks(across, x, w, top, height) + _heights(down, y, h, top)
    return parts, width, height + 22 + LINE


def _caption(sights: list[Sight], sides: list[Sight]) -> str:
    """The input's name and extents, and the rows that are seen of the axes that are not drawn."""
    extents = " x ".join(str(sight.length) for sight in sights)
    if any(sight.rows is None for sight in sights):
        return f"{sights[0].input} ({extents}): nothing of it is seen"
    told = [
        f"axis {sight.axis}: {_span(sight)}" for sight in sights if sight not in sides and sight.length > 1
    ]
    doubt = sorted({sight.trust for sight in sights} - {"exact"})
    told += [f"at most: {trust.replace('_', ' ')}" for trust in doubt]
    return f"{sights[0].input} ({extents})" + "".join(f", {words}" for words in told)


def _span(sight: Sight) -> str:
    assert sight.rows is not None
    first, last = sight.rows
    return "all" if last - first + 1 == sight.length else f"{first}..{last}"


def _extent(sight: Sight | None, pixels: int) -> tuple[float, float]:
    """Where the rows that are seen begin, and how long they are, in pixels."""
    if sight is None or sight.rows is None:
        return 0.0, float(pixels)
    first, last = sight.rows
    return first * pixels / sight.length, max((last - first + 1) * pixels / sight.length, 1.5)


def _marks(sight: Sight | None, x: float, w: float, top: int, height: int) -> list[str]:
    """The first and the last column that are seen, below."""
    if sight is None or sight.rows is None:
        return []
    first, last = sight.rows
    y = top + height + LINE
    if first == last or w < 40:
        return [_text(LEFT + x + w / 2, y, _span(sight) if first != last else str(first), "small", "middle")]
    return [_text(LEFT + x, y, str(first), "small"), _text(LEFT + x + w, y, str(last), "small", "end")]


def _heights(sight: Sight | None, y: float, h: float, top: int) -> list[str]:
    """The first and the last row that are seen, at the left."""
    if sight is None or sight.rows is None:
        return []
    first, last = sight.rows
    if h < 2 * LINE:
        words = str(first) if first == last else f"{first}..{last}"
        return [_text(LEFT - 6, top + y + h / 2 + 4, words, "small", "end")]
    return [
        _text(LEFT - 6, top + y + 12, str(first), "small", "end"),
        _text(LEFT - 6, top + y + h - 2, str(last), "small", "end"),
    ]


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


FORMS: Mapping[str, Callable[[Look], str]] = {"table": table, "json": json, "svg": svg}
