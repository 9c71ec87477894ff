"""What a caller may ask of an analysis."""

from __future__ import annotations

from typing import Literal

import msgspec

from analyzer.devices import Device
from analyzer.errors import BadOption

Optimizer = Literal["sgd", "momentum", "adam"]
Pass = Literal["cost", "memory", "fields"]
Detail = Literal["arena_offsets", "savings", "coverage"]
TrainingGraph = Literal["as-is", "unfold"]
Precision = Literal["fp32", "fp16", "bf16"]
Level = Literal["disable", "basic", "extended", "all"]
PASSES: tuple[Pass, ...] = ("cost", "memory", "fields")
DETAILS: tuple[Detail, ...] = ("arena_offsets", "savings", "coverage")
TRAINING_GRAPHS: tuple[TrainingGraph, ...] = ("unfold", "as-is")
PRECISIONS: tuple[Precision, ...] = ("fp32", "fp16", "bf16")
LEVELS: tuple[Level, ...] = ("disable", "basic", "extended", "all")


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to bind a model's free dimensions and which answers to give.

    dims        symbol -> value, for dimensions that the model names: {"batch": 8}
    shapes      graph input -> its whole shape: {"x": (1, 3, 224, 224)}, in agreement with `dims`
    optimizer   whose state training memory counts: sgd none, momentum one copy of the parameters, adam two
    lenient     a node that no runtime could run becomes a warning and a partial report instead of an error
    passes      what to find: cost (operations, parameters, depth) comes with every analysis; memory, of inference and
                training; fields, the receptive ones. What was not asked for is unavailable or empty; to name none is to
                ask for all
    details     what is long or dear: of memory.inference arena_offsets, where each tensor lies in the arena, and
                savings, what would lower the peak, which is searched for; coverage, what is seen of each input
    runtime     whose memory is predicted: "onnxruntime", of its CPU provider; None asks for no prediction
    runtime_level, runtime_threads
                of that session: how far its optimiser goes, and the size of its intra-op pool
    device      whose roofline is drawn (`analyzer.devices.find`); None asks for none
    training_graph
                what an inference graph is taken for in training: unfold, with the batch norms that names say were
                folded into weights, and with dropout at work where it is written; as-is, without
    precision   of activations in training: fp16 and bf16 halve them, beside whole parameters
    freeze      globs of parameters that do not learn: {"features.*"}
    checkpoint  activation checkpoints: "none", a number of segments, or "sqrt", the root of the nodes that keep
                something
    foreach     the optimizer steps for all parameters at once, as it does by default on a GPU
    """

    dims: dict[str, int] = {}
    shapes: dict[str, tuple[int, ...]] = {}
    optimizer: Optimizer = "sgd"
    lenient: bool = False
    passes: tuple[Pass, ...] = PASSES
    details: tuple[Detail, ...] = ()
    runtime: Literal["onnxruntime"] | None = None
    runtime_level: Level = "all"
    runtime_threads: int = 1
    device: Device | None = None
    training_graph: TrainingGraph = "unfold"
    precision: Precision = "fp32"
    freeze: tuple[str, ...] = ()
    checkpoint: str = "none"
    foreach: bool = False

    def __post_init__(self) -> None:
        """Raises BadOption (UNKNOWN_PASS, UNKNOWN_DETAIL, UNKNOWN_RUNTIME, UNKNOWN_LEVEL,
        NO_THREADS, UNKNOWN_TRAINING_GRAPH, UNKNOWN_PRECISION, UNKNOWN_CHECKPOINT).
        """
        if not self.passes:
            msgspec.structs.force_setattr(self, "passes", PASSES)
        for name in self.passes:
            if name not in PASSES:
                told = f"no pass is named {name!r}; there are {', '.join(PASSES)}"
                raise BadOption("UNKNOWN_PASS", told, option="passes")
        for detail in self.details:
            if detail not in DETAILS:
                told = f"no detail is named {detail!r}; there are {', '.join(DETAILS)}"
                raise BadOption("UNKNOWN_DETAIL", told, option="details")
        if self.runtime not in (None, "onnxruntime"):
            told = f"no runtime is named {self.runtime!r}; there is onnxruntime"
            raise BadOption("UNKNOWN_RUNTIME", told, option="runtime")
        if self.training_graph not in TRAINING_GRAPHS:
            told = (
                f"no training graph is named {self.training_graph!r}; there are {', '.join(TRAINING_GRAPHS)}"
            )
            raise BadOption("UNKNOWN_TRAINING_GRAPH", told, option="training_graph")
        if self.precision not in PRECISIONS:
            told = f"no precision is named {self.precision!r}; there are {', '.join(PRECISIONS)}"
            raise BadOption("UNKNOWN_PRECISION", told, option="precision")
        if self.checkpoint not in ("none", "sqrt") and not _counts(self.checkpoint):
            told = f"checkpoints are none, sqrt or a number of segments, not {self.checkpoint!r}"
            raise BadOption("UNKNOWN_CHECKPOINT", told, option="checkpoint")
        if self.runtime_level not in LEVELS:
            told = f"no level is named {self.runtime_level!r}; there are {', '.join(LEVELS)}"
            raise BadOption("UNKNOWN_LEVEL", told, option="runtime_level")
        if self.runtime_threads < 1:
            told = f"a session has at least one thread, not {self.runtime_threads}"
            raise BadOption("NO_THREADS", told, option="runtime_threads")

    @property
    def segments(self) -> int | None:
        """Segments between activation checkpoints; 0 without, None for as many as suit the model."""
        return (
            {"none": 0, "sqrt": None}[self.checkpoint]
            if self.checkpoint in ("none", "sqrt")
            else int(self.checkpoint)
        )


def _counts(told: str) -> bool:
    """Whether it is a number above 0."""
    return told.isascii() and told.isdigit() and 0 < len(told) < 10 and int(told) > 0
