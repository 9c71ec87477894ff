"""What a caller may ask of an analysis."""

from __future__ import annotations

from typing import Literal

import msgspec

from analyzer.errors import BadOption

Optimizer = Literal["sgd", "momentum", "adam"]
Pass = Literal["cost", "memory", "fields"]
PASSES: tuple[Pass, ...] = ("cost", "memory", "fields")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to bind a model's free dimensions and which answers to give.

    dims        symbol -> value, for dimensions that the model names: {"batch": 8}
    shapes      graph input -> its whole shape: {"x": (1, 3, 224, 224)}, in agreement with `dims`
    optimizer   whose state training memory counts: sgd none, momentum one copy of the parameters, adam two
    lenient     a node that no runtime could run becomes a warning and a partial report instead of an error
    passes      what to find: cost (operations, parameters, depth) comes with every analysis; memory, of inference and
                training; fields, the receptive ones. What was not asked for is unavailable or empty; to name none is to
                ask for all
    """

    dims: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    optimizer: Optimizer = "sgd"
    lenient: bool = False
    passes: tuple[Pass, ...] = PASSES

    def __post_init__(self) -> None:
        """Raises BadOption (UNKNOWN_PASS)."""
        if not self.passes:
            msgspec.structs.force_setattr(self, "passes", PASSES)
        for name in self.passes:
            if name not in PASSES:
                told = f"no pass is named {name!r}; there are {', '.join(PASSES)}"
                raise BadOption("UNKNOWN_PASS", told, option="passes")
