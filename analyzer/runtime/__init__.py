"""What onnxruntime's CPU provider takes of memory, predicted without running the model.

    model ─▶ session (its optimiser, in a child) ─▶ load, describe ─▶ program ─▶ simulate ─▶ Prediction

The optimiser is onnxruntime's own; planner, arena, memory pattern and the scratch of every kernel are simulated, as its
release 1.31 has them.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from analyzer.describe import Scene, describe
from analyzer.errors import AnalyzerError, BadModel, BadOption
from analyzer.graph import Graph, Size
from analyzer.load import declared, load
from analyzer.ops import blocks_of
from analyzer.options import Level, Options
from analyzer.runtime import kernels as kernels  # read, so that every kernel is found
from analyzer.runtime.planner import Block, Outcome, Program
from analyzer.runtime.processor import block_of
from analyzer.runtime.program import program_of
from analyzer.runtime.session import Optimised, optimised
from analyzer.runtime.simulate import simulate

__all__ = ["Prediction", "planned", "predict", "prepare"]


class Prediction(msgspec.Struct, frozen=True):
    """Bytes of the arena after the second run of a session with default options but for `level` and `threads`.

    zero        where all weights are zeros, as they are where a model comes without them: of packed weights that are
                equal one is kept
    distinct    where no two weights are equal, as where they were trained
    unmodelled  ops whose kernels nobody described, with the number of their nodes; what they take is missing
    complete    nothing is unmodelled, no size unknown or an upper bound, no branch or number of turns left to the data
    """

    release: str
    level: Level
    threads: int
    zero: Outcome
    distinct: Outcome
    unmodelled: Mapping[str, int]
    complete: bool


def predict(model: bytes, original: Graph, scene: Scene, options: Options) -> Prediction | AnalyzerError:
    """The prediction for a stripped model at the sizes that `scene` has, or why there is none.

    Raises BadOption (RUNTIME_MISSING) where onnxruntime is not installed.
    """
    shapes = {tensor.name: scene.size(tensor.name) for tensor in original.inputs}
    known = {name: size.shape for name, size in shapes.items() if size is not None}
    try:
        release, program, certain = prepare(
            model, original, known, options.runtime_level, options.runtime_threads
        )
    except BadOption:
        raise
    except AnalyzerError as error:
        return error
    try:
        zero = simulate(program)
        distinct = simulate(msgspec.structs.replace(program, blank=False))
    except AssertionError:
        if _sized(program.main):
            raise
        return BadModel("RUNTIME_UNSIZED", "the optimised graph has tensors whose size nobody can tell")
    missing = {_word(*op): count for op, count in sorted(zero.unmodelled.items())}
    return Prediction(
        release=release,
        level=options.runtime_level,
        threads=options.runtime_threads,
        zero=zero,
        distinct=distinct,
        unmodelled=missing,
        complete=certain and not missing,
    )


def prepare(
    model: bytes, original: Graph, shapes: Mapping[str, tuple[int, ...]], level: Level, threads: int
) -> tuple[str, Program, bool]:
    """The release, the program that it would run, and whether its sizes, numbers of turns and orders are certain."""
    made = optimised(model, level)
    return made.release, *planned(made, original, shapes, level, threads)


def planned(
    made: Optimised, original: Graph, shapes: Mapping[str, tuple[int, ...]], level: Level, threads: int
) -> tuple[Program, bool]:
    """The same of a model that is optimised already, for who asks at several sizes."""
    loaded = load(made.model)
    given = {tensor.name: shapes[tensor.name] for tensor in loaded.graph.inputs if tensor.name in shapes}
    with blocks_of(block_of(loaded.graph)):
        scene = describe(loaded, Options(shapes=given, lenient=True))
    program = program_of(scene, declared(made.model), made.dims, original, level, threads)
    return program, _certain(scene) and _sized(program.main) and program.orders is not None


def _certain(scene: Scene) -> bool:
    """Whether nothing is left to the data: sizes, branches, numbers of turns."""
    if scene.bounded:
        return False
    for said in scene.facts:
        runs = getattr(said, "runs", ())
        unknown = getattr(said, "exclusive", False) or any(run.repeat is None for run in runs)
        if unknown or not all(_certain(run.scene) for run in runs):
            return False
    return True


def _sized(block: Block) -> bool:
    """Whether every tensor has a known size."""
    return all(type(value.size) is Size for value in block.values.values())


def _word(domain: str, op_type: str) -> str:
    return op_type if domain == "ai.onnx" else f"{domain}.{op_type}"
