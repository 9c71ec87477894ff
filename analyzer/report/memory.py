"""What of a report is bytes: at test time, in training, and in onnxruntime's arena."""

from __future__ import annotations

import msgspec

from analyzer.report.words import Phase, Status


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
