"""The answer: one frozen record, under the names of schema version 1, in JSON, protobuf and Python alike.

Bytes are exact bytes, counts are plain integers, and what is not known is None, never 0. A new field is born
here and in `proto/analyzer/v1/analyzer.proto` under the same name; the conversion between the two is generic.
"""

from __future__ import annotations

from typing import Any

import msgspec

from analyzer.report.memory import (
    ArenaBytes,
    ArenaSlot,
    FoundOrder,
    InferenceMemory,
    LiveTensor,
    Memory,
    MissedInplace,
    RuntimeMemory,
    Savings,
    TrainingMemory,
    WaitingTensor,
)
from analyzer.report.words import Bound, FieldStatus, Phase, Role, Status

__all__ = [
    "SCHEMA_VERSION",
    "ArenaBytes",
    "ArenaSlot",
    "Bound",
    "CoverageRow",
    "FieldRow",
    "FieldStatus",
    "FoundOrder",
    "InferenceMemory",
    "LiveTensor",
    "LocalField",
    "Memory",
    "Metric",
    "MissedInplace",
    "ModelInfo",
    "NodeRow",
    "Phase",
    "Report",
    "Role",
    "Roofline",
    "RooflineRow",
    "RuntimeMemory",
    "Savings",
    "Status",
    "TensorRow",
    "Totals",
    "TrainingMemory",
    "WaitingTensor",
    "Warning",
]

SCHEMA_VERSION = 1


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
