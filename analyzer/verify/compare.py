"""Predicted against measured, one kind after the other. Pure functions: each makes a Section's figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from analyzer.graph import Value
from analyzer.report import TensorRow
from analyzer.verify.profile import Arena
from analyzer.verify.record import Figure, Section

if TYPE_CHECKING:
    from analyzer.verify.fields import Agreement

_DTYPES = {
    "float": "float32",
    "double": "float64",
    "float8e4m3fn": "float8_e4m3fn",
    "float8e4m3fnuz": "float8_e4m3fnuz",
    "float8e5m2": "float8_e5m2",
    "float8e5m2fnuz": "float8_e5m2fnuz",
    "float4e2m1": "float4_e2m1fn",
    "float8e8m0": "float8_e8m0fnu",
}
"""onnxruntime's words where they are not ours."""

Told = tuple[str, tuple[int, ...]]
MEMORY = ("base_bytes", "peak_bytes", "held_bytes")


def difference(predicted: float, measured: float) -> float:
    """Predicted over measured, less one."""
    return predicted / measured - 1 if measured else 0.0 if not predicted else float("inf")


def shapes(rows: Mapping[str, TensorRow], told: Mapping[str, Told], section: Section) -> Section:
    """Shapes by tensor. One that only the data decides is predicted as an upper bound, and held against it."""
    figures, compared, agreed, silent = [], 0, 0, 0
    for name, (_, shape) in told.items():
        row = rows.get(name)
        if row is None or row.shape is None:
            silent += 1
            continue
        compared += 1
        bound = not row.exact and len(shape) == len(row.shape)
        agreed += row.shape == shape
        if row.shape != shape and not (bound and all(map(int.__le__, shape, row.shape))):
            figures.append(Figure(name, _written(row.shape), _written(shape), None, False))
    unmeasured = f"{silent} shapes were not predicted" if silent else None
    return _filled(section, compared, agreed, figures, unmeasured)


def dtypes(rows: Mapping[str, TensorRow], told: Mapping[str, Told], section: Section) -> Section:
    """Element types by tensor."""
    figures, compared = [], 0
    for name, (kind, _) in told.items():
        row = rows.get(name)
        if row is None or row.dtype is None:
            continue
        compared += 1
        word = kind.removeprefix("tensor(").removesuffix(")")
        if row.dtype != _DTYPES.get(word, word):
            figures.append(Figure(name, row.dtype, _DTYPES.get(word, word), None, False))
    return _filled(section, compared, compared - len(figures), figures)


def scratch(
    predicted: Mapping[str, int | None], measured: Mapping[str, int], tolerance: float, section: Section
) -> Section:
    """Temporary bytes by node; None is a node whose kernel nobody described."""
    figures, compared, unknown = [], 0, 0
    for name, amount in measured.items():
        said = predicted.get(name)
        if said is None:
            unknown += 1
            continue
        compared += 1
        if said != amount:
            off = difference(said, amount)
            figures.append(Figure(name, said, amount, off, abs(off) <= tolerance))
    unmeasured = f"{unknown} nodes have no prediction" if unknown else None
    return _filled(section, compared, compared - len(figures), figures, unmeasured)


def memory(
    predicted: Arena,
    measured: Arena,
    tolerance: float,
    section: Section,
    note: str = "",
    least: int | None = None,
) -> Section:
    """The arena's three figures; all of them are shown. `least` is the lowest peak that chance may lead to: then peak
    and held are predicted at worst, and less is right as long as the peak is not below it.
    """
    figures = []
    chance = least is not None and least < predicted.peak_bytes
    lucky = chance and measured.peak_bytes >= (least or 0) * (1 - tolerance)
    for name in MEMORY:
        said, real = getattr(predicted, name), getattr(measured, name)
        off = difference(said, real)
        within = abs(off) <= tolerance or (lucky and name != "base_bytes" and off > 0)
        figures.append(Figure(name, said, real, off, within, note))
    agreed = sum(not figure.difference for figure in figures)
    return _filled(section, len(MEMORY), agreed, figures)


def outputs(
    names: Sequence[str],
    plain: Mapping[str, Value],
    optimised: Mapping[str, Value],
    tolerance: float,
    section: Section,
) -> Section:
    """The model's outputs, optimised against as they are: the largest difference over the largest number."""
    figures, compared = [], 0
    for name in names:
        if name not in plain or name not in optimised:
            continue
        compared += 1
        off = _apart(plain[name], optimised[name])
        if off is None or off > tolerance:
            told = "not finite on one side alone, or of another shape" if off is None else ""
            figures.append(Figure(name, None, None, off, False, told))
    silent = len(names) - compared
    unmeasured = f"{silent} outputs hold no numbers that can be compared" if silent else None
    return _filled(section, compared, compared - len(figures), figures, unmeasured)


def fields(found: Agreement, tolerance: float, section: Section) -> Section:
    """Rows that positions see. An answer that takes in more than was measured is right where it says that it may."""
    run = [one for one in found.findings if one.verdict != "not run"]
    wrong = sum(one.verdict == "disagree" for one in run)
    forgiven = wrong <= tolerance * len(run)
    figures = [
        Figure(
            f"{one.query.tensor}[{one.query.axis}={one.query.position}] of {one.input}, axis {one.axis}",
            _rows(one.analytic), _rows(one.measured), None, forgiven or one.verdict == "conservative",
            one.trust if one.verdict == "conservative" else "",
        )
        for one in run
        if one.verdict != "agree"
    ]  # fmt: skip
    silent = sorted({one.reason for one in found.findings if one.verdict == "not run"})
    unmeasured = found.reason or ("; ".join(silent[:3]) or None)
    return _filled(section, len(run), len(run) - len(figures), figures, unmeasured)


def kept(place: Path, prefix: str, names: Sequence[str]) -> dict[str, Value]:
    """The numbers of outputs that a session left, by name."""
    found = {}
    for number, name in enumerate(names):
        path = place / f"{prefix}{number}.npy"
        if path.exists():
            found[name] = np.load(path, allow_pickle=False, mmap_mode="r")
    return found


def _filled(
    section: Section, compared: int, agreed: int, figures: Sequence[Figure], unmeasured: str | None = None
) -> Section:
    """The section with what was found."""
    return msgspec.structs.replace(
        section, compared=compared, agreed=agreed, figures=tuple(figures), unmeasured=unmeasured
    )


def _apart(one: Value, other: Value) -> float | None:
    """How far apart two tensors are; None where they cannot be compared."""
    if one.shape != other.shape or one.dtype != other.dtype:
        return None
    if one.dtype.kind in "USb":
        return float(np.mean(one != other)) if one.size else 0.0
    left, right = np.asarray(one, np.float64), np.asarray(other, np.float64)
    finite = np.isfinite(left)
    if not np.array_equal(finite, np.isfinite(right)):
        return None
    if not finite.any():
        return 0.0
    largest = float(np.abs(left[finite]).max()) or 1.0
    return float(np.abs(left[finite] - right[finite]).max()) / largest


def _rows(rows: tuple[int, int] | None) -> str:
    return "nothing" if rows is None else f"rows {rows[0]} to {rows[1]}"


def _written(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape)) or "scalar"
