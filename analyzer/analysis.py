"""The whole line on one screen: bytes in, report out."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

from analyzer.assemble import assemble
from analyzer.assemble.coverage import looked_at
from analyzer.describe import describe
from analyzer.errors import BadOption
from analyzer.load import load, strip
from analyzer.ops import extend
from analyzer.options import Optimizer, Options
from analyzer.passes import clipped, cost, depth, memory, parameters, receptive_field
from analyzer.passes.training.recipe import Recipe, Trained, train
from analyzer.report import Report

if TYPE_CHECKING:
    from analyzer.describe import Scene
    from analyzer.errors import AnalyzerError
    from analyzer.graph import Model
    from analyzer.runtime import Prediction

_OPTIMIZERS: Mapping[Optimizer, tuple[int, int]] = {"sgd": (0, 0), "momentum": (1, 0), "adam": (2, 2)}
"""Copies of the parameters that each holds, and arrays of a parameter's size that its step makes."""


def analyze(
    model: str | os.PathLike[str] | bytes,
    options: Options = Options(),
    *,
    name: str | None = None,
    file_bytes: int | None = None,
) -> Report:
    """What a model costs, whether it fits and what it sees.

    `model` is a path or the bytes of an .onnx file; external data is never opened. `name` and `file_bytes` replace what
    the report says of the file, for one who holds a copy. Raises BadInput (BadModel, BadOption) where file, model or
    options are at fault.
    """
    extend()
    with _undisturbed():
        return study(load(model, name, file_bytes), options, model)


@contextmanager
def _undisturbed() -> Iterator[None]:
    """No search for garbage while records are made by the thousand, none of which is in a cycle."""
    searching = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if searching:
            gc.enable()


def study(
    loaded: Model, options: Options = Options(), model: str | os.PathLike[str] | bytes | None = None
) -> Report:
    """The same of a model that is loaded already. Its file is needed for a runtime's memory."""
    scene = describe(loaded, options)
    live = memory.measure(scene) if "memory" in options.passes else None
    weights = parameters.collect(scene)
    fields = receptive_field.trace(scene) if "fields" in options.passes else None
    return assemble(
        loaded,
        scene,
        options,
        work=cost.count(scene),
        weights=weights,
        layers=depth.longest(scene),
        live=live,
        plan=memory.place(live) if live else None,
        savings=memory.save(scene, live) if live and "savings" in options.details else None,
        trained=_trained(scene, weights, options) if "memory" in options.passes else None,
        fields=fields,
        looked=clipped.trace(scene, looked_at(scene, fields))
        if fields and "coverage" in options.details
        else None,
        predicted=_predicted(model, loaded, scene, options)
        if options.runtime and model is not None
        else None,
    )


def clipped_field(
    model: str | os.PathLike[str] | bytes,
    tensor: str,
    at: Mapping[int, int] | None = None,
    options: Options = Options(),
) -> dict[tuple[str, int], tuple[int, int] | None]:
    """The rows of each axis of each input that one position of a tensor can see, clipped at every layer.

    `at` fixes axes of the tensor, the others are taken whole: {2: 27}. The answer is {(input, axis): (first row, last
    row)}, or None in their place where only padding is seen, or nothing of that input. Raises BadInput.
    """
    return {(sight.input, sight.axis): sight.rows for sight in look(model, tensor, at, options).seen}


def look(
    model: str | os.PathLike[str] | bytes,
    tensor: str,
    at: Mapping[int, int] | None = None,
    options: Options = Options(),
) -> clipped.Look:
    """The same with what else there is to say: shapes, and what is only an upper bound."""
    extend()
    return clipped.look(describe(load(model), options), tensor, at or {})


def _trained(scene: Scene, weights: parameters.Parameters, options: Options) -> Trained:
    """One training step as the options have it. Raises BadOption where a glob freezes nothing."""
    found = train(scene, weights.weights, weights.buffers, weights.first_reader, _recipe(options))
    for glob in found.idle:
        raise BadOption("NOTHING_FROZEN", f"no parameter is named like {glob!r}", option="freeze", glob=glob)
    return found


def _recipe(options: Options) -> Recipe:
    """What the options say of training."""
    copies, temporaries = _OPTIMIZERS[options.optimizer]
    return Recipe(
        unfold=options.training_graph == "unfold",
        half=options.precision != "fp32",
        freeze=options.freeze,
        checkpoints=options.segments,
        copies=copies,
        temporaries=temporaries,
        foreach=options.foreach,
    )


def _predicted(
    model: str | os.PathLike[str] | bytes, loaded: Model, scene: Scene, options: Options
) -> Prediction | AnalyzerError:
    """What a runtime would take; its room is entered by those who ask."""
    from analyzer.runtime import predict

    return predict(strip(model), loaded.graph, scene, options)
