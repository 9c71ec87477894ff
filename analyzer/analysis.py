"""The whole line on one screen: bytes in, report out."""

from __future__ import annotations

import os

from analyzer.assemble import assemble
from analyzer.describe import describe
from analyzer.load import load
from analyzer.ops import extend
from analyzer.options import Options
from analyzer.passes import cost, depth, memory, parameters, receptive_field, training
from analyzer.report import Report


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
    loaded = load(model, name, file_bytes)
    scene = describe(loaded, options)
    return assemble(
        loaded,
        scene,
        options,
        work=cost.count(scene),
        weights=parameters.collect(scene),
        layers=depth.longest(scene),
        live=memory.measure(scene) if "memory" in options.passes else None,
        kept=training.saved(scene) if "memory" in options.passes else None,
        fields=receptive_field.trace(scene) if "fields" in options.passes else None,
    )
