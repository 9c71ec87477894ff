"""From the passes' results to the report's rows and totals. Arithmetic ends here: what follows only shows."""

from __future__ import annotations

from collections.abc import Iterator

from analyzer.assemble.fields import field_rows
from analyzer.assemble.rows import Scope, in_order, nodes, tensors
from analyzer.describe import Missing, Scene
from analyzer.graph import Model
from analyzer.options import Options
from analyzer.passes.cost import Work
from analyzer.passes.memory import Live
from analyzer.passes.parameters import Parameters
from analyzer.passes.receptive_field import Fields
from analyzer.passes.training import Saved
from analyzer.report import (
    SCHEMA_VERSION,
    InferenceMemory,
    LiveTensor,
    Memory,
    Metric,
    ModelInfo,
    Report,
    Status,
    Totals,
    TrainingMemory,
    Warning,
)

_OPTIMIZER_COPIES = {"sgd": 0, "momentum": 1, "adam": 2}


def assemble(
    model: Model,
    scene: Scene,
    options: Options,
    *,
    work: Work,
    weights: Parameters,
    layers: int,
    live: Live | None,
    kept: Saved | None,
    fields: Fields | None,
) -> Report:
    """One Report out of everything that was found; None stands for what was not asked for."""
    scopes = in_order(scene)
    return Report(
        schema_version=SCHEMA_VERSION,
        model=ModelInfo(
            model.name,
            model.structure_sha256,
            model.file_bytes,
            model.ir_version,
            dict(model.opsets),
            model.producer,
        ),
        dims=dict(scene.dims),
        warnings=tuple(_warnings(scopes, fields)),
        totals=_totals(work, weights, live),
        nodes=tuple(nodes(scopes, weights, live, kept)),
        tensors=tuple(tensors(scopes, weights)),
        memory=_memory(scene, options, weights, live, kept)
        if live and kept
        else _unasked(scene, options, weights),
        receptive_fields=() if fields is None else field_rows(scene, fields),
        depth=layers,
    )


def _totals(work: Work, weights: Parameters, live: Live | None) -> Totals:
    macs, elementwise = _status(work.macs_complete), _status(work.elementwise_complete)
    parameter_bytes = weights.bytes
    return Totals(
        nodes=Metric(work.nodes, "complete"),
        parameters=Metric(weights.elements, "complete"),
        parameter_bytes=Metric(parameter_bytes, "unavailable" if parameter_bytes is None else "complete"),
        buffers=Metric(weights.buffer_elements, "complete"),
        outputs_bytes=Metric(None, "unavailable")
        if live is None
        else Metric(live.outputs_bytes, _status(live.complete)),
        macs=Metric(work.macs, macs),
        elementwise_flops=Metric(work.elementwise, elementwise),
        flops=Metric(work.flops, _status(work.complete)),
    )


def _status(complete: bool) -> Status:
    return "complete" if complete else "partial"


def _memory(scene: Scene, options: Options, weights: Parameters, live: Live, kept: Saved) -> Memory:
    parameter_bytes = weights.bytes
    stored = parameter_bytes or 0
    optimizer = stored * _OPTIMIZER_COPIES[options.optimizer]
    complete = live.complete and parameter_bytes is not None
    inference = InferenceMemory(
        parameter_bytes=parameter_bytes,
        outputs_bytes=live.outputs_bytes,
        lecture_bytes=stored + live.outputs_bytes,
        peak_live_bytes=live.peak_bytes,
        peak_node=live.peak_node,
        live_at_peak=tuple(LiveTensor(name, amount) for name, amount in live.at_peak),
        arena_bytes=None,
        status=_status(complete),
    )
    training = TrainingMemory(
        batch=_batch(scene),
        optimizer=options.optimizer,
        parameter_bytes=parameter_bytes,
        gradient_bytes=parameter_bytes,
        optimizer_bytes=None if parameter_bytes is None else optimizer,
        saved_bytes=kept.bytes,
        error_signal_bytes=live.outputs_bytes,
        lecture_bytes=2 * live.outputs_bytes + 2 * stored + optimizer,
        peak_bytes=None,
        status=_status(complete and kept.complete),
    )
    return Memory(inference, training)


def _unasked(scene: Scene, options: Options, weights: Parameters) -> Memory:
    """What is known of memory without measuring it: the parameters."""
    stored = weights.bytes
    return Memory(
        InferenceMemory(stored, None, None, None, None, (), None, "unavailable"),
        TrainingMemory(_batch(scene), options.optimizer, stored, *(None,) * 6, "unavailable"),
    )


def _batch(scene: Scene) -> int | None:
    """The first axis of the first input."""
    for tensor in scene.graph.inputs:
        size = scene.size(tensor.name)
        if size is not None and size.shape:
            return size.shape[0]
    return None


def _bounds(scene: Scene) -> Iterator[Warning]:
    """The nodes at which the data begins to decide sizes."""
    for node in scene.graph.nodes:
        made = [size for size in map(scene.size, node.outputs) if size is not None]
        read = [size for size in map(scene.size, node.inputs) if size is not None]
        if not all(size.exact for size in made) and all(size.exact and size.value_exact for size in read):
            message = "the data decides how much comes out: sizes from here on are upper bounds"
            yield Warning("DATA_DEPENDENT", message, node.name)


def _left_out(scope: Scope) -> Iterator[Warning]:
    """The nodes that nobody could describe, those of bodies too; not those that merely follow one."""
    for index, (node, said) in enumerate(zip(scope.scene.graph.nodes, scope.scene.facts, strict=True)):
        if type(said) is Missing and said.reason != "NO_SIZE":
            yield Warning(said.reason, said.message, scope.prefix + node.name)
        for body in scope.bodies.get(index, ()):
            yield from _left_out(body)


def _warnings(scopes: Scope, fields: Fields | None) -> Iterator[Warning]:
    scene = scopes.scene
    for symbol, value in scene.assumed.items():
        yield Warning("ASSUMED_DIM", f"free dimension {symbol!r} was not given and is taken as {value}")
    for message in scene.overridden:
        yield Warning("FIXED_DIM_OVERRIDDEN", message)
    yield from _left_out(scopes)
    if scene.bounded:
        yield from _bounds(scene)
    for name in () if fields is None else fields.mismatched:
        yield Warning(
            "STRIDE_MISMATCH",
            "branches of different strides meet here: no finite receptive field exists",
            name,
        )
