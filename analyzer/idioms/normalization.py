"""Normalisations that an exporter spells out. They keep their input and two numbers for each place that is normalised
by itself, where the nodes would keep every step.
"""

from __future__ import annotations

from analyzer.graph import FLOAT32, Size
from analyzer.idioms import Spelled, idiom

_CENTRED = "(x - (mean := ReduceMean(x)))"
_VARIANCE = f"ReduceMean({_CENTRED} ** 2 | {_CENTRED} * {_CENTRED})"
_NORMAL = f"{_CENTRED} / Sqrt({_VARIANCE} + eps)"


@idiom("Reshape(InstanceNormalization(Reshape(x), one, zero)) * w + b")
def group_norm(x: Size, one: Size, w: Size) -> Spelled:
    """The groups are the channels of the instance norm within, whose own scale is 1."""
    stats = (x.shape[0], one.count)
    return Spelled((x, w, Size(stats, FLOAT32), Size(stats, FLOAT32)))


@idiom(f"{_NORMAL} * w + b", f"{_NORMAL} * w", _NORMAL)
def layer_norm(x: Size, mean: Size, eps: Size) -> Spelled | None:
    """Over the last axes. One over others is a program's own norm, whose steps are what is kept."""
    over = mean.shape.count(1) - x.shape.count(1)
    if eps.value is None or over < 1 or mean.shape != x.shape[:-over] + (1,) * over:
        return None
    return Spelled((x, Size(mean.shape, FLOAT32), Size(mean.shape, FLOAT32)))


@idiom(f"Sqrt({_VARIANCE} * n / m)", f"Sqrt({_VARIANCE})")
def deviation(x: Size, y: Size) -> Spelled:
    """Keeps its input and its result."""
    return Spelled((x, y))


@idiom(f"{_VARIANCE} * n / m", _VARIANCE)
def variance(x: Size) -> Spelled:
    """Keeps its input."""
    return Spelled((x,))
