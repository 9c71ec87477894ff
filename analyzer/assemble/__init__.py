"""From the passes' results to the report's rows and totals. Arithmetic ends here: what follows only shows."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import msgspec

from analyzer.assemble.coverage import coverage_rows
from analyzer.assemble.fields import field_rows
from analyzer.assemble.peak import arena_slots, found_savings
from analyzer.assemble.roofline import drawn
from analyzer.assemble.rows import Scope, in_order, nodes, tensors
from analyzer.describe import Scene
from analyzer.errors import AnalyzerError
from analyzer.graph import Model
from analyzer.ops.rule import Facts
from analyzer.options import Options
from analyzer.passes.clipped import Clipped
from analyzer.passes.cost import Work
from analyzer.passes.memory import Live, Plan, Savings
from analyzer.passes.parameters import Parameters
from analyzer.passes.receptive_field import Fields
from analyzer.passes.training.recipe import Trained
from analyzer.report import (
    SCHEMA_VERSION,
    ArenaBytes,
    InferenceMemory,
    LiveTensor,
    Memory,
    Metric,
    ModelInfo,
    Report,
    RuntimeMemory,
    Status,
    Totals,
    TrainingMemory,
    Warning,
)

if TYPE_CHECKING:
    from analyzer.runtime import Prediction


def assemble(
    model: Model,
    scene: Scene,
    options: Options,
    *,
    work: Work,
    weights: Parameters,
    layers: int,
    live: Live | None,
    plan: Plan | None,
    savings: Savings | None,
    trained: Trained | None,
    fields: Fields | None,
    looked: Clipped | None = None,
    predicted: Prediction | AnalyzerError | None = None,
) -> Report:
    """One Report out of everything that was found; None stands for what was not asked for."""
    scopes = in_order(scene)
    memory = (
        _memory(scene, options, weights, live, plan, savings, trained, _batch_norms(scopes))
        if live and trained
        else _unasked(scene, options, weights)
    )
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
        warnings=(*_warnings(scopes, fields), *_unplanned(live, plan), *_unpredicted(predicted)),
        totals=_totals(work, weights, live),
        nodes=tuple(nodes(scopes, weights, live, trained.kept if trained else None)),
        tensors=tuple(tensors(scopes, weights)),
        memory=_with_runtime(memory, predicted),
        receptive_fields=() if fields is None else field_rows(scene, fields),
        depth=layers,
        roofline=None if options.device is None else drawn(scopes, options.device),
        coverage=() if fields is None or looked is None else coverage_rows(scene, fields, looked),
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


def _memory(
    scene: Scene,
    options: Options,
    weights: Parameters,
    live: Live,
    plan: Plan | None,
    savings: Savings | None,
    trained: Trained,
    batch_norms: int,
) -> Memory:
    parameter_bytes, kept, step = weights.bytes, trained.kept, trained.step
    stored = parameter_bytes or 0
    complete = live.complete and parameter_bytes is not None
    inference = InferenceMemory(
        parameter_bytes=parameter_bytes,
        outputs_bytes=live.outputs_bytes,
        lecture_bytes=stored + live.outputs_bytes,
        peak_live_bytes=live.peak_bytes,
        peak_node=scene.graph.nodes[live.peak_step].name if live.peak_step >= 0 else None,
        live_at_peak=tuple(LiveTensor(held.name, held.bytes) for held in live.alive_at(live.peak_step)),
        arena_bytes=None if plan is None else plan.bytes,
        status=_status(complete),
        arena_offsets=arena_slots(scene, plan) if plan and "arena_offsets" in options.details else (),
        savings=None if savings is None else found_savings(scene, savings),
    )
    training = TrainingMemory(
        batch=_batch(scene),
        optimizer=options.optimizer,
        parameter_bytes=parameter_bytes,
        gradient_bytes=None if parameter_bytes is None else trained.gradient_bytes,
        optimizer_bytes=None if parameter_bytes is None else trained.optimizer_bytes,
        saved_bytes=kept.bytes,
        error_signal_bytes=live.outputs_bytes,
        lecture_bytes=2 * live.outputs_bytes + stored + trained.gradient_bytes + trained.optimizer_bytes,
        peak_bytes=None if parameter_bytes is None else trained.standing_bytes + step.peak_bytes,
        status=_status(complete and kept.complete),
        batch_norms=batch_norms,
        training_graph=options.training_graph,
        assumed_batch_norms=kept.batch_norms,
        assumed_dropouts=kept.dropouts,
        saved_least_bytes=kept.bytes - kept.assumed_bytes,
        saved_most_bytes=kept.bytes + kept.possible_bytes,
        peak_phase=step.phase,
        peak_node=None if step.node is None else scene.graph.nodes[step.node].name,
        accumulating_peak_bytes=None
        if parameter_bytes is None
        else trained.standing_bytes + step.accumulating_bytes,
        precision=options.precision,
        checkpoint_segments=trained.segments,
        recomputed_nodes=step.recomputed,
    )
    return Memory(inference, training)


def _unasked(scene: Scene, options: Options, weights: Parameters) -> Memory:
    """What is known of memory without measuring it: the parameters."""
    stored = weights.bytes
    return Memory(
        InferenceMemory(stored, None, None, None, None, (), None, "unavailable"),
        TrainingMemory(_batch(scene), options.optimizer, stored, *(None,) * 6, "unavailable"),
    )


def _with_runtime(memory: Memory, predicted: Prediction | AnalyzerError | None) -> Memory:
    if predicted is None or isinstance(predicted, AnalyzerError):
        return memory
    runtime = RuntimeMemory(
        release=predicted.release,
        level=predicted.level,
        threads=predicted.threads,
        base_bytes=predicted.zero.base_bytes,
        peak_bytes=predicted.zero.peak_bytes,
        held_bytes=predicted.zero.held_bytes,
        status=_status(predicted.complete),
        unmodelled=dict(predicted.unmodelled),
        distinct=ArenaBytes(
            base_bytes=predicted.distinct.base_bytes,
            peak_bytes=predicted.distinct.peak_bytes,
            held_bytes=predicted.distinct.held_bytes,
            least_peak_bytes=predicted.distinct.least_peak_bytes,
        ),
        least_peak_bytes=predicted.zero.least_peak_bytes,
    )
    return Memory(msgspec.structs.replace(memory.inference, onnxruntime=runtime), memory.training)


def _unplanned(live: Live | None, plan: Plan | None) -> Iterator[Warning]:
    if live is not None and plan is None:
        yield Warning("TOO_MUCH_ALIVE", "too many tensors are alive at once to plan an arena for them")


def _unpredicted(predicted: Prediction | AnalyzerError | None) -> Iterator[Warning]:
    """Why there is no prediction of a runtime's memory, although one was asked for."""
    if isinstance(predicted, AnalyzerError):
        yield Warning(predicted.reason, f"no prediction of onnxruntime's memory: {predicted.message}")


def _batch_norms(scope: Scope) -> int:
    """Nodes that look beyond their sample in training, those of bodies too."""
    own = sum(type(said) is Facts and said.over_batch for said in scope.scene.facts)
    return own + sum(_batch_norms(body) for bodies in scope.bodies.values() for body in bodies)


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
    scene = scope.scene
    for index in sorted(scene.missing.keys() | scope.bodies.keys()):
        said = scene.missing.get(index)
        if said is not None and said.reason != "NO_SIZE":
            yield Warning(said.reason, said.message, scope.prefix + scene.graph.nodes[index].name)
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
