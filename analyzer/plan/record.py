"""The answer to "does it fit": frozen, in bytes, None where not known."""

from __future__ import annotations

from typing import Literal

import msgspec

from analyzer.report import Status, Warning

Purpose = Literal["inference", "training", "accumulating"]
Kind = Literal["parameters", "gradients", "optimizer", "activations", "error_signals"]
Measure = Literal["checkpointing", "mixed_precision", "momentum", "sgd", "frozen"]


class Share(msgspec.Struct, frozen=True):
    """What one kind of thing takes."""

    kind: Kind
    bytes: int


class Batch(msgspec.Struct, frozen=True):
    """Where the model takes its batch: `places` are free dimensions by name, or axes of inputs, "x[0]".

    `fixed` is the one batch at which the model runs, None where it runs at any; `reason` says how that is known.
    """

    places: tuple[str, ...]
    fixed: int | None = None
    reason: str | None = None


class Fit(msgspec.Struct, frozen=True):
    """The largest batch of which the prediction is within the memory, and what it takes.

    largest_batch  0 where not even the smallest fits; None where nothing is known
    needed_bytes   at that batch, or at the smallest where none fits; `shares` are its parts
    next_bytes     at one more, which does not fit; None where there is no such batch
    """

    largest_batch: int | None
    needed_bytes: int | None
    next_bytes: int | None
    shares: tuple[Share, ...]
    status: Status


class Schedule(msgspec.Struct, frozen=True):
    """How to train on `target_batch` samples a step: gradients of micro-batches are added up, then the optimizer steps.

    As many samples pass as without; what it costs is `accumulation_steps` forward and backward passes instead of one.
    """

    target_batch: int
    micro_batch: int
    last_micro_batch: int
    accumulation_steps: int
    needed_bytes: int


class Remedy(msgspec.Struct, frozen=True):
    """What to try where training does not fit at the smallest batch, and what it would need there.

    `segments` are those between checkpoints, where they are tried; `extra_forward_passes` the price in time of a step.
    """

    measure: Measure
    needed_bytes: int
    fits: bool
    extra_forward_passes: int = 0
    segments: int = 0


class Plan(msgspec.Struct, frozen=True):
    """What of a model fits in a memory. `usable_bytes` is the memory without what the device's context takes."""

    model: str
    structure_sha256: str
    device: str | None
    memory_bytes: int
    usable_bytes: int
    optimizer: str
    batch: Batch
    dims: dict[str, int]
    inference: Fit
    training: Fit
    schedule: Schedule | None
    remedies: tuple[Remedy, ...]
    warnings: tuple[Warning, ...]
