"""From the passes' results to the report's rows and totals. Arithmetic ends here: what follows only shows."""

from __future__ import annotations

from collections.abc import Iterator

from analyzer.describe import Missing, Scene
from analyzer.graph import Model, Node
from analyzer.ops.rule import Facts
from analyzer.options import Options
from analyzer.passes.cost import Work
from analyzer.passes.memory import Live
from analyzer.passes.parameters import Parameters
from analyzer.passes.receptive_field import Fields, View
from analyzer.passes.training import Saved
from analyzer.report import (
    SCHEMA_VERSION,
    FieldRow,
    InferenceMemory,
    LiveTensor,
    LocalField,
    Memory,
    Metric,
    ModelInfo,
    NodeRow,
    Report,
    Role,
    Status,
    TensorRow,
    Totals,
    TrainingMemory,
    Warning,
)

_OPTIMIZER_COPIES = {"sgd": 0, "momentum": 1, "adam": 2}


def assemble(
    model: Model, scene: Scene, options: Options, *, work: Work, weights: Parameters, live: Live, kept: Saved, fields: Fields, layers: int
) -> Report:
    """One Report out of everything that was found."""
    return Report(
        schema_version=SCHEMA_VERSION,
        model=ModelInfo(
            model.name, model.structure_sha256, model.file_bytes, model.ir_version, dict(model.opsets), model.producer
        ),
        dims=dict(scene.dims),
        warnings=tuple(_warnings(scene, fields)),
        totals=_totals(work, weights, live),
        nodes=tuple(_nodes(scene, weights, live, kept)),
        tensors=tuple(_tensors(scene, weights)),
        memory=_memory(scene, options, weights, live, kept),
        receptive_fields=tuple(_fields(scene, fields)),
        depth=layers,
    )


def _totals(work: Work, weights: Parameters, live: Live) -> Totals:
    macs, elementwise = _status(work.macs_complete), _status(work.elementwise_complete)
    parameter_bytes = weights.bytes
    return Totals(
        nodes=Metric(work.nodes, "complete"),
        parameters=Metric(weights.elements, "complete"),
        parameter_bytes=Metric(parameter_bytes, "unavailable" if parameter_bytes is None else "complete"),
        buffers=Metric(weights.buffer_elements, "complete"),
        outputs_bytes=Metric(live.outputs_bytes, _status(live.complete)),
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


def _batch(scene: Scene) -> int | None:
    """The first axis of the first input."""
    for tensor in scene.graph.inputs:
        size = scene.size(tensor.name)
        if size is not None and size.shape:
            return size.shape[0]
    return None


def _nodes(scene: Scene, weights: Parameters, live: Live, kept: Saved) -> Iterator[NodeRow]:
    """Rows of the main graph, each followed by those of the bodies that it runs."""
    first_read: dict[int, int] = {}
    for name, index in weights.first_reader.items():
        first_read[index] = first_read.get(index, 0) + weights.weights[name].count
    for index, (node, said) in enumerate(zip(scene.graph.nodes, scene.facts, strict=True)):
        yield _node(node, said, "", 1, first_read.get(index, 0), live.node_bytes[index], kept.node_bytes[index])
        if type(said) is Facts and said.runs:
            yield from _body_nodes(said, f"{node.name}/", 1)


def _body_nodes(said: Facts, scope: str, times: int | None) -> Iterator[NodeRow]:
    for run in said.runs:
        repeat = None if times is None or run.repeat is None else times * run.repeat
        for node, inner in zip(run.scene.graph.nodes, run.scene.facts, strict=True):
            made = [run.scene.size(name) for name in node.outputs if name and name not in run.scene.constants]
            amounts = [None if size is None else size.bytes for size in made]
            output_bytes = None if None in amounts else sum(filter(None, amounts))
            yield _node(node, inner, scope, repeat, 0, output_bytes, None)
            if type(inner) is Facts and inner.runs:
                yield from _body_nodes(inner, f"{scope}{node.name}/", repeat)


def _node(
    node: Node, said: Facts | Missing, scope: str, repeat: int | None, parameters: int, output_bytes: int | None, saved_bytes: int | None
) -> NodeRow:
    inputs, outputs = node.inputs, node.outputs
    if scope:
        inputs, outputs = tuple(scope + name for name in inputs), tuple(scope + name for name in outputs)
    if type(said) is not Facts:
        return NodeRow(
            scope + node.name, node.op_type, node.domain, inputs, outputs, repeat, "unavailable",
            None, None, None, parameters, output_bytes, None, None,
        )  # fmt: skip
    macs, elementwise = said.macs, said.elementwise
    flops = None if macs is None or elementwise is None else 2 * macs + elementwise
    return NodeRow(
        scope + node.name, node.op_type, node.domain, inputs, outputs, repeat, "partial" if flops is None else "complete",
        macs, elementwise, flops, parameters, output_bytes, _lowering(said), saved_bytes,
    )  # fmt: skip


def _lowering(said: Facts) -> int | None:
    """Bytes of the im2col matrix, in the output's element type."""
    if said.lowering is None:
        return None
    output = said.outputs[0] if type(said.outputs) is tuple else said.outputs
    bits = None if output is None else output.dtype.bits  # type: ignore[union-attr]  # a Size by now
    return None if bits is None else (said.lowering * bits + 7) // 8


def _tensors(scene: Scene, weights: Parameters) -> Iterator[TensorRow]:
    """Inputs, stored tensors, then what nodes make, in order."""
    outputs = {tensor.name for tensor in scene.graph.outputs}
    sizes, constants, stored = scene.sizes, scene.constants, weights.weights
    for tensor in scene.graph.inputs:
        yield _tensor(scene, tensor.name, "input")
    for name in scene.graph.initializers:
        yield _tensor(scene, name, "weight" if name in stored else "constant")
    for node in scene.graph.nodes:
        for name in node.outputs:
            if name and name in sizes:
                role: Role = "output" if name in outputs else "activation"
                if name in constants:
                    role = "weight" if name in stored else "constant"
                yield _tensor(scene, name, role)


def _tensor(scene: Scene, name: str, role: Role) -> TensorRow:
    size = scene.size(name)
    if size is None:
        return TensorRow(name, role, None, None, None)
    if not size.exact:
        return TensorRow(name, role, size.dtype.name, None, None)
    return TensorRow(name, role, size.dtype.name, size.shape, size.bytes)


def _fields(scene: Scene, fields: Fields) -> Iterator[FieldRow]:
    """A row per tensor that depends on an input, and input axis."""
    axes = [(tensor.name, axis, dim) for tensor in scene.graph.inputs if (size := scene.size(tensor.name)) is not None
            for axis, dim in enumerate(size.shape)]  # fmt: skip
    for name, views in fields.views.items():
        if views:
            for source, axis, dim in axes:
                view = views.get((source, axis))
                yield FieldRow(name, source, axis, "none") if view is None else _field(name, source, axis, dim, view)


def _field(name: str, source: str, axis: int, dim: int, view: View) -> FieldRow:
    reach = view.reach
    if reach is None:
        return FieldRow(name, source, axis, view.status, without_global=_local(view))
    sizes = reach.sizes
    largest = max(sizes)
    padding = -(reach.lows[0] or 0)
    stride = reach.stride
    return FieldRow(
        name, source, axis, view.status, largest, min(sizes), str(stride), padding, (largest - 1) / 2 - padding,
        reach.path_min, reach.path_max, largest > dim, reach.aligned, None,
    )  # fmt: skip


def _local(view: View) -> LocalField | None:
    local = view.local
    if local is None or not local.sizes or local.lows[0] is None:
        return None
    return LocalField(max(local.sizes), str(local.stride), -local.lows[0])


def _warnings(scene: Scene, fields: Fields) -> Iterator[Warning]:
    for symbol, value in scene.assumed.items():
        yield Warning("ASSUMED_DIM", f"free dimension {symbol!r} was not given and is taken as {value}")
    for message in scene.overridden:
        yield Warning("FIXED_DIM_OVERRIDDEN", message)
    for node, said in zip(scene.graph.nodes, scene.facts, strict=True):
        if type(said) is Missing and said.reason != "NO_SIZE":
            yield Warning(said.reason, said.message, node.name)
    for name in fields.mismatched:
        yield Warning("STRIDE_MISMATCH", "branches of different strides meet here: no finite receptive field exists", name)
