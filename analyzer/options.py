"""What a caller may ask of an analysis."""

from __future__ import annotations

from typing import Literal

import msgspec

Optimizer = Literal["sgd", "momentum", "adam"]


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to bind a model's free dimensions and which answers to give.

    dims        symbol -> value, for dimensions that the model names: {"batch": 8}
    shapes      graph input -> its whole shape: {"x": (1, 3, 224, 224)}, in agreement with `dims`
    optimizer   whose state training memory counts: sgd none, momentum one copy of the parameters, adam two
    lenient     a node that no runtime could run becomes a warning and a partial report instead of an error
    """

    dims: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    optimizer: Optimizer = "sgd"
    lenient: bool = False
