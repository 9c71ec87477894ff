"""The answer: one frozen record, under the names of schema version 1, in JSON, protobuf and Python alike.

Bytes are exact bytes, counts are plain integers, and what is not known is None, never 0. A new field is born
here and in `proto/analyzer/v1/analyzer.proto` under the same name; the conversion between the two is generic.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

SCHEMA_VERSION = 1

Status = Literal["complete", "partial", "unavailable"]
Role = Literal["input", "weight", "constant", "activation", "output"]
FieldStatus = Literal["none", "local", "prefix", "suffix", "global", "data_dependent", "opaque"]
Bound = Literal["compute", "memory"]
Phase = Literal["forward", "backward", "optimizer"]


class Metric(msgspec.Struct, frozen=True, gc=False):
    """A total that says what it left out: `known` is what could be counted, `status` whether that is all of it."""

    known: int | None
    status: Status


class ModelInfo(msgspec.Struct, frozen=True):
    """What the file is. `structure_sha256` is the digest of the model without its weights."""

    name: str
    structure_sha256: str
    file_bytes: int
    ir_version: int
    opsets: dict[str, int]
    producer: str


class Warning(msgspec.Struct, frozen=True, gc=False):
    """Something assumed, left out or odd: a stable UPPER_SNAKE `reason`, one line for a person, and the node,
    if one is at fault.
    """

    reason: str
    message: str
    node: str | None = None


class Totals(msgspec.Struct, frozen=True):
    """Sums over the whole model, bodies counted as often as they run."""

    nodes: Metric
    parameters: Metric
    parameter_bytes: Metric
    buffers: Metric
    outputs_bytes: Metric
    macs: Metric
    elementwise_flops: Metric
    flops: Metric


class NodeRow(msgspec.Struct, frozen=True, gc=False):
    """One node, in execution order. Nodes of bodies are prefixed by their scope; `repeat` says how often they run.

    `output_bytes` are newly made bytes: a view (Reshape, Identity) makes none, and neither does a node that computes a
    weight from constants. `parameters` are those that this node is the first to read. `saved_bytes` is what autograd
    keeps because of this node, each storage at its first keeper. `live_bytes` are alive while it runs, in a body with
    all that is alive around it; sizes that are not known do not count.

    `lowering_bytes` is the im2col matrix of a convolution for one image and group: a row for each output position, a
    column for each tap; `lowering_tile_bytes` a tile of it, of at most 128 rows and 128 columns.
    """

    name: str
    op_type: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    repeat: int | None
    status: Status
    macs: int | None
    elementwise_flops: int | None
    flops: int | None
    parameters: int | None
    output_bytes: int | None
    lowering_bytes: int | None
    saved_bytes: int | None
    live_bytes: int | None = None
    lowering_rows: int | None = None
    lowering_columns: int | None = None
    lowering_tile_bytes: int | None = None


class TensorRow(msgspec.Struct, frozen=True, gc=False):
    """One tensor. `dtype` by numpy's and ml_dtypes' names. `exact` is False where the data decides the size:
    `shape` and `bytes` are then upper bounds, and None where there is none.
    """

    name: str
    role: Role
    dtype: str | None
    shape: tuple[int, ...] | None
    bytes: int | None
    exact: bool = True


class LiveTensor(msgspec.Struct, frozen=True, gc=False):
    """A tensor that holds memory at the peak; views of it are counted with it."""

    name: str
    bytes: int | None


class ArenaBytes(msgspec.Struct, frozen=True):
    """Bytes of onnxruntime's arena.

    base_bytes  requested before the first kernel runs: packed weights, and stored tensors of few bytes
    peak_bytes  most bytes in use at once, since the session's beginning (its profile's `mem_in_use_peak`)
    held_bytes  obtained from the system (`mem_arena_held`)
    least_peak_bytes
                the peak where chance orders the nodes best: the order of some differs from session to session, and the
                other figures are those of the worst. Nearly always it is the peak itself
    """

    base_bytes: int
    peak_bytes: int
    held_bytes: int
    least_peak_bytes: int


class RuntimeMemory(msgspec.Struct, frozen=True):
    """What onnxruntime's CPU provider takes of its arena, predicted for the second run of a default session.

    Bytes are as in ArenaBytes, where all weights are zeros, as they are where a model comes without them: of packed
    weights that are equal onnxruntime keeps one.

    distinct    the same where no two weights are equal, as where they were trained
    unmodelled  ops whose own memory nobody described, with the number of their nodes: `status` is then partial, and the
                bytes are what is known
    """

    release: str
    level: str
    threads: int
    base_bytes: int
    peak_bytes: int
    held_bytes: int
    status: Status
    unmodelled: dict[str, int]
    distinct: ArenaBytes
    least_peak_bytes: int


class ArenaSlot(msgspec.Struct, frozen=True, gc=False):
    """Where a tensor lies in the arena, views of it included, and the nodes that make it and read it last; None where
    it is there before the first or to the end. A slot without a name is what bodies hold that `first_node` runs.
    """

    name: str
    offset_bytes: int
    bytes: int
    first_node: str | None
    last_node: str | None


class FoundOrder(msgspec.Struct, frozen=True):
    """The order of the main graph's nodes with the lowest peak that a bounded search found; `nodes` is empty where that
    is the given one. `proven`: there is none lower.
    """

    peak_live_bytes: int
    proven: bool
    nodes: tuple[str, ...]


class MissedInplace(msgspec.Struct, frozen=True, gc=False):
    """A result at a node that reaches the peak, of the bytes of an operand that ends there and yet is not
    overwritten.
    """

    node: str
    operand: str
    result: str
    bytes: int


class WaitingTensor(msgspec.Struct, frozen=True, gc=False):
    """A tensor that is alive at the peak while its node does not touch it: `steps` nodes go by from its last use, at
    `since`, to its next.
    """

    name: str
    bytes: int
    since: str
    until: str
    steps: int


class Savings(msgspec.Struct, frozen=True):
    """What would lower the peak. `order` is None where sizes are not known or the graph is too large to search;
    `waiting` is at the first node that reaches the peak, by bytes times steps.
    """

    order: FoundOrder | None
    missed_inplace: tuple[MissedInplace, ...]
    waiting: tuple[WaitingTensor, ...]


class InferenceMemory(msgspec.Struct, frozen=True):
    """Memory at test time, every definition by its name.

    outputs_bytes     every node's output, kept apart (no reuse)
    lecture_bytes     parameters and all outputs together: what a framework without reuse holds
    peak_live_bytes   most bytes alive at once, over inputs, outputs and activations in execution order, parameters not
                      counted, views and in-place results sharing; at `peak_node`, held by `live_at_peak`, largest first
    arena_bytes       one block for the same, by a greedy-by-size plan of unaligned offsets: never below the live peak;
                      None where too much is alive at once to plan. `arena_offsets`, on request, tells what lies where
    savings           on request: what would lower the peak
    onnxruntime       what onnxruntime takes; None until asked for, and where a warning says why there is no answer
    """

    parameter_bytes: int | None
    outputs_bytes: int | None
    lecture_bytes: int | None
    peak_live_bytes: int | None
    peak_node: str | None
    live_at_peak: tuple[LiveTensor, ...]
    arena_bytes: int | None
    status: Status
    onnxruntime: RuntimeMemory | None = None
    arena_offsets: tuple[ArenaSlot, ...] = ()
    savings: Savings | None = None


class TrainingMemory(msgspec.Struct, frozen=True):
    """Memory at training time, at the batch the analysis was bound to.

    gradient_bytes      one gradient per parameter that learns
    optimizer_bytes     the optimizer's own copies of those
    saved_bytes         distinct storages kept for the backward pass at the end of the forward pass
    error_signal_bytes  one gradient per output of every node
    lecture_bytes       outputs + error signals + parameters + gradients + optimizer
    peak_bytes          most bytes held at once in a step after the first, as PyTorch has it on a CPU: parameters,
                        buffers, input and optimizer, with what autograd keeps, gradients and what ops take beside. The
                        loss is the sum of the outputs, which are held to the end. In `peak_phase` (forward, backward,
                        optimizer), at `peak_node`
    accumulating_peak_bytes
                        the same where the gradients of earlier micro-batches are there too
    precision           "fp32", or "fp16" and "bf16", with which results of float32 take two bytes
    checkpoint_segments segments between activation checkpoints, 0 without; `recomputed_nodes` run twice
    batch_norms         nodes that normalise over the whole batch in training; where it is split, over a part of it
    training_graph      "unfold" or "as-is": whether `saved_bytes` holds what training would have beside an inference
                        graph
    assumed_batch_norms batch norms that are not in the graph, but that names say were folded into weights
    assumed_dropouts    dropouts that are not in the graph, but that are the habit where they are assumed
    saved_least_bytes     `saved_bytes` without what was assumed
    saved_most_bytes    `saved_bytes` had every weight taken in a batch norm that can have, where no name says
                        otherwise, and had dropout stood wherever it may
    """

    batch: int | None
    optimizer: str
    parameter_bytes: int | None
    gradient_bytes: int | None
    optimizer_bytes: int | None
    saved_bytes: int | None
    error_signal_bytes: int | None
    lecture_bytes: int | None
    peak_bytes: int | None
    status: Status
    batch_norms: int = 0
    training_graph: str = "unfold"
    assumed_batch_norms: int = 0
    saved_least_bytes: int | None = None
    saved_most_bytes: int | None = None
    peak_phase: Phase | None = None
    peak_node: str | None = None
    accumulating_peak_bytes: int | None = None
    precision: str = "fp32"
    checkpoint_segments: int = 0
    recomputed_nodes: int = 0
    assumed_dropouts: int = 0


class Memory(msgspec.Struct, frozen=True):
    """What it takes to run the model, and to train it."""

    inference: InferenceMemory
    training: TrainingMemory


class LocalField(msgspec.Struct, frozen=True, gc=False):
    """Size, stride and padding of a receptive field."""

    size: int
    stride: str
    padding: int | None


class FieldRow(msgspec.Struct, frozen=True, gc=False):
    """What one position of `tensor` sees along `axis` of `input`, on an infinite canvas.

    Output i sees rows stride*i - padding up to stride*i - padding + size - 1. `stride` is a fraction ("32", "1/2").
    Where positions differ by phase `size` is the largest and `size_min` the smallest. `first_center` is
    (size-1)/2 - padding, pixel centres at integers. `path_min` and `path_max` are the fields along the narrowest
    and the widest path. `aligned` is False where branches with different centres meet.
    """

    tensor: str
    input: str
    axis: int
    status: FieldStatus
    size: int | None = None
    size_min: int | None = None
    stride: str | None = None
    padding: int | None = None
    first_center: float | None = None
    path_min: int | None = None
    path_max: int | None = None
    exceeds_input: bool | None = None
    aligned: bool | None = None
    without_global: LocalField | None = None


class CoverageRow(msgspec.Struct, frozen=True, gc=False):
    """What a model makes of one axis of an input: where its field exceeds it, and what nobody sees of it.

    `exceeds_at` is the first tensor whose field on the infinite canvas is larger than the axis. `unproductive` are
    nodes that multiply and widen the field of what sees more than the whole axis already along its narrowest path
    (Richter et al., "Should You Go Deeper?", 2021). `share_seen` is the part of the axis that a position of
    `last_spatial`, the last tensor with an axis whose positions see windows of it, sees at most, clipped; `unseen_head`
    and `unseen_tail` count the rows at its start and end that no output sees.
    """

    input: str
    axis: int
    exceeds_at: str | None = None
    unproductive: tuple[str, ...] = ()
    last_spatial: str | None = None
    share_seen: float | None = None
    unseen_head: int | None = None
    unseen_tail: int | None = None


class RooflineRow(msgspec.Struct, frozen=True, gc=False):
    """One run of a node by itself on a device.

    `moved_bytes` are its operands and results, each brought or taken once; `intensity` is operations per moved byte; it
    computes at the rate of `dtype`, its first operand's. `bound` says which of the two it waits for.
    """

    name: str
    dtype: str | None
    moved_bytes: int | None
    intensity: float | None
    bound: Bound | None
    least_seconds: float | None


class Roofline(msgspec.Struct, frozen=True):
    """The least time of a pass on a device that runs node by node: for each the longer of computing at the peak and
    moving.

    `compute_seconds` and `memory_seconds` are the sums of either alone; `nodes` are those of the report, in their
    order.
    """

    device: str
    bytes_per_second: int | None
    least_seconds: float | None
    compute_seconds: float | None
    memory_seconds: float | None
    status: Status
    nodes: tuple[RooflineRow, ...]


class Report(msgspec.Struct, frozen=True):
    """Everything that one analysis found. Where nobody asked `memory` is unavailable, `receptive_fields` and `coverage`
    empty, and `roofline` None.
    """

    schema_version: int
    model: ModelInfo
    dims: dict[str, int]
    warnings: tuple[Warning, ...]
    totals: Totals
    nodes: tuple[NodeRow, ...]
    tensors: tuple[TensorRow, ...]
    memory: Memory
    receptive_fields: tuple[FieldRow, ...]
    depth: int | None
    roofline: Roofline | None = None
    coverage: tuple[CoverageRow, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """The JSON report as plain dicts, lists, strings and numbers."""
        plain: dict[str, Any] = _listed(msgspec.to_builtins(self))
        return plain


def _listed(value: Any) -> Any:
    """Tuples as lists, all the way down: what JSON would give back."""
    if type(value) is dict:
        return {key: _listed(entry) for key, entry in value.items()}
    if type(value) is tuple or type(value) is list:
        return [_listed(entry) for entry in value]
    return value
