"""Numbers as people write them: counts in K, M, G, T (powers of 1000), bytes in KiB, MiB, GiB, TiB (powers of 1024).

Three digits are shown; the exact integers are in the JSON report. What is not known is "?", never 0.
"""

from __future__ import annotations

import re
from fractions import Fraction

_COUNTS = ("", "K", "M", "G", "T", "P")
_BYTES = ("B", "KiB", "MiB", "GiB", "TiB", "PiB")
_POWERS: dict[str, int] = {
    **{unit: 1000**power for power, unit in enumerate(_COUNTS)},
    **{unit: 1024**power for power, unit in enumerate(_BYTES)},
}
_QUANTITY = re.compile(r"\s*([0-9][0-9_]*(?:\.[0-9]+)?)\s*([A-Za-z]*)\s*")


def show_count(value: int | None) -> str:
    """7_090_000_000 as "7.09 G"; below a thousand as it is."""
    return "?" if value is None else _show(value, 1000, _COUNTS)


def show_bytes(value: int | None) -> str:
    """3_211_264 as "3.06 MiB"."""
    return "?" if value is None else _show(value, 1024, _BYTES)


def show_seconds(value: float | None) -> str:
    """0.00079 as "790 µs"; minutes and hours stay seconds."""
    if value is None:
        return "?"
    for unit, scale in (("s", 1.0), ("ms", 1e-3), ("µs", 1e-6), ("ns", 1e-9)):
        if value >= 0.9995 * scale or unit == "ns":
            return f"{value / scale:.3g} {unit}"
    raise AssertionError


def parse_quantity(text: str) -> int:
    """Text such as "5G", "64 MiB", "1.5K" or "30_000_000" as an integer; ValueError where it is none of these.

    MB and KB are refused: to some they are powers of 1000, to others of 1024.
    """
    match = _QUANTITY.fullmatch(text)
    if match is None or match[2] not in _POWERS:
        raise ValueError(f"{text!r} is no number with K, M, G, T (1000s) or KiB, MiB, GiB, TiB (1024s)")
    return round(Fraction(match[1].replace("_", "")) * _POWERS[match[2]])


def _show(value: int, base: int, units: tuple[str, ...]) -> str:
    power, scaled = 0, float(abs(value))
    while power + 1 < len(units) and scaled >= (base if power == 0 else 999.5):
        power, scaled = power + 1, scaled / base
    sign = "-" if value < 0 else ""
    if power == 0:
        return f"{sign}{abs(value)} {units[0]}".rstrip()
    digits = 2 if scaled < 9.995 else 1 if scaled < 99.95 else 0
    return f"{sign}{scaled:.{digits}f} {units[power]}"
