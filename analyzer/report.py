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
    weight from constants. `parameters` are those that this node is the first to read. `lowering_bytes` is the im2col
    matrix of a convolution; `saved_bytes` what autograd keeps because of this node, each storage at its first keeper.
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


class InferenceMemory(msgspec.Struct, frozen=True):
    """Memory at test time, every definition by its name.

    outputs_bytes     every node's output, kept apart (no reuse)
    lecture_bytes     parameters and all outputs together: what a framework without reuse holds
    peak_live_bytes   most bytes alive at once, over inputs, outputs and activations in execution order, parameters not
                      counted, views and in-place results sharing; at `peak_node`, held by `live_at_peak`, largest first
    arena_bytes       an offset plan's size; None until asked for
    """

    parameter_bytes: int | None
    outputs_bytes: int | None
    lecture_bytes: int | None
    peak_live_bytes: int | None
    peak_node: str | None
    live_at_peak: tuple[LiveTensor, ...]
    arena_bytes: int | None
    status: Status


class TrainingMemory(msgspec.Struct, frozen=True):
    """Memory at training time, at the batch the analysis was bound to.

    gradient_bytes      one gradient per parameter
    optimizer_bytes     the optimizer's own copies of the parameters
    saved_bytes         distinct storages kept for the backward pass at the end of the forward pass
    error_signal_bytes  one gradient per output of every node
    lecture_bytes       outputs + error signals + parameters + gradients + optimizer
    peak_bytes          None until it is modelled
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


class Memory(msgspec.Struct, frozen=True):
    """What it takes to run the model, and to train it."""

    inference: InferenceMemory
    training: TrainingMemory


class LocalField(msgspec.Struct, frozen=True, gc=False):
    """Size, stride and padding of a receptive field."""

    size: int
    stride: str
    padding: int


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


class Report(msgspec.Struct, frozen=True):
    """Everything that one analysis found. Where nobody asked `memory` is unavailable, `receptive_fields` empty."""

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
