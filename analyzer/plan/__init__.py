"""What fits: the largest batch of a model in a memory, and how to train on a larger one in parts of it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from analyzer.analysis import study
from analyzer.devices import Device
from analyzer.errors import BadOption
from analyzer.graph import Model
from analyzer.load import load
from analyzer.ops import extend
from analyzer.options import Options
from analyzer.plan import batch
from analyzer.plan.needs import needed, shares
from analyzer.plan.record import Batch, Fit, Plan, Purpose, Remedy, Schedule, Share
from analyzer.plan.remedies import remedies
from analyzer.plan.search import MOST_BATCH, largest
from analyzer.report import Report, Warning
from analyzer.units import show_bytes

__all__ = ["Plan", "answer", "plan"]


def plan(
    model: str | os.PathLike[str] | bytes,
    memory: Device | int,
    options: Options = Options(),
    *,
    target_batch: int | None = None,
    name: str | None = None,
) -> Plan:
    """The largest batch for inference and for training in a device's memory or in so many bytes, by evaluating batches.

    `target_batch` asks for a schedule of micro-batches that reaches it. Raises what `analyze` raises, and BadOption
    where not even the parameters fit. That no batch fits is an answer.
    """
    if target_batch is not None and target_batch < 1:
        raise BadOption(
            "NO_BATCH", f"a batch has at least one sample, not {target_batch}", target_batch=target_batch
        )
    extend()
    device = memory if isinstance(memory, Device) else None
    total = memory if isinstance(memory, int) else memory.memory_bytes
    usable = total if device is None else device.usable_bytes
    if device is not None:  # PyTorch steps so by default on a GPU
        options = msgspec.structs.replace(options, foreach=True)
    asked = _Asked(load(model, name), options, usable)
    asked.check_parameters("the memory" if device is None else device.name)
    inference, training = asked.fit("inference"), asked.fit("training")
    schedule = None if target_batch is None else asked.schedule(training, target_batch)
    return Plan(
        model=asked.base.model.name,
        structure_sha256=asked.base.model.structure_sha256,
        device=None if device is None else device.name,
        memory_bytes=total,
        usable_bytes=usable,
        optimizer=options.optimizer,
        batch=asked.batch,
        dims={symbol: size for symbol, size in asked.base.dims.items() if symbol not in asked.batch.places},
        inference=inference,
        training=training,
        schedule=schedule,
        remedies=tuple(asked.remedies()) if training.largest_batch == 0 else (),
        warnings=tuple(_warnings(asked, device, schedule)),
    )


def answer(
    model: str | os.PathLike[str] | bytes,
    options: Options = Options(),
    *,
    name: str | None = None,
    file_bytes: int | None = None,
    memory_bytes: int | None = None,
    target_batch: int | None = None,
) -> Plan:
    """The same for who says all in options: the memory is that of their device, else so many bytes.

    The size of the file is of no account.
    """
    memory = memory_bytes if options.device is None else options.device
    if memory is None:
        raise BadOption("NO_MEMORY", "name a device, or say how many bytes there are", option="device")
    return plan(model, memory, options, target_batch=target_batch, name=name)


_WORTH = 100
"""Of what is needed a remedy must save such a part."""


class _Asked:
    """A model, analysed at as many batches as it takes; of each only what it needs is remembered."""

    def __init__(self, model: Model, options: Options, usable: int) -> None:
        self.model, self.usable = model, usable
        self.options = msgspec.structs.replace(
            options, passes=("memory",), details=(), runtime=None, device=None
        )
        self.entry = batch.find(model.graph.inputs, options)
        self.known: dict[tuple[int, Purpose], tuple[Share, ...]] = {}
        self.base = study(model, self.options)
        self.batch: Batch = batch.described(self.entry, self.base, self.at)

    @property
    def smallest(self) -> int:
        return self.batch.fixed or 1

    def at(self, size: int) -> Report:
        return study(self.model, batch.bound(self.entry, self.options, self.base, size))

    def shares(self, size: int, purpose: Purpose) -> tuple[Share, ...]:
        """What a purpose takes at a batch, by kind."""
        if (size, purpose) not in self.known:
            report = self.at(size)
            self.known[size, "inference"] = shares(report, "inference")
            self.known[size, "training"] = shares(report, "training")
            self.known[size, "accumulating"] = shares(report, "accumulating")
        return self.known[size, purpose]

    def fit(self, purpose: Purpose) -> Fit:
        """The largest batch, and what it and the next one need."""
        if self.batch.fixed is None:
            found = largest(lambda size: needed(self.shares(size, purpose)), self.usable)
            following = None if found == MOST_BATCH else needed(self.shares(found + 1, purpose))
        else:
            amount = needed(self.shares(self.batch.fixed, purpose))
            found, following = self.batch.fixed if amount is not None and amount <= self.usable else 0, None
        parts = self.shares(found or self.smallest, purpose)
        if not parts:
            return Fit(None, None, None, (), "unavailable")
        memory = self.base.memory.inference if purpose == "inference" else self.base.memory.training
        return Fit(found, needed(parts), following, parts, memory.status)

    def schedule(self, training: Fit, target: int) -> Schedule | None:
        """As few micro-batches as fit, as equal as can be; of a fixed batch as many as it takes. None if none fits.

        Of several, each must fit beside the gradients of those before it.
        """
        if not training.largest_batch:
            return None
        purpose: Purpose = "training" if target <= training.largest_batch else "accumulating"
        most = training.largest_batch if purpose == "training" else self.fit(purpose).largest_batch
        if not most:
            return None
        steps = -(-target // most)
        micro = self.batch.fixed or -(-target // steps)
        last = self.batch.fixed or target - micro * (steps - 1)
        amount = needed(self.shares(micro, purpose))
        assert amount is not None  # the largest batch's is known
        return Schedule(target, micro, last, steps, amount)

    def remedies(self) -> Iterator[Remedy]:
        """At the smallest batch, those that help, the ones that need least first; of each measure the best."""
        now = needed(self.shares(self.smallest, "training"))
        best: dict[str, Remedy] = {}
        options = batch.bound(self.entry, self.options, self.base, self.smallest)
        for measure, other in remedies(options, self.at(self.smallest)):
            report = study(self.model, other)
            amount, segments = needed(shares(report, "training")), report.memory.training.checkpoint_segments
            if amount is None or now is None or amount > now - now // _WORTH:
                continue
            if measure not in best or amount < best[measure].needed_bytes:
                fits, extra = amount <= self.usable, 1 if measure == "checkpointing" else 0
                best[measure] = Remedy(measure, amount, fits, extra, segments if extra else 0)
        yield from sorted(best.values(), key=lambda remedy: remedy.needed_bytes)

    def check_parameters(self, where: str) -> None:
        """Raises BadOption where no batch of any size could fit."""
        stored = self.base.memory.inference.parameter_bytes
        if stored is not None and stored > self.usable:
            line = f"the parameters alone take {show_bytes(stored)}, more than the {show_bytes(self.usable)} of {where}"
            raise BadOption("PARAMETERS_DO_NOT_FIT", line, option="device", parameter_bytes=stored)


def _warnings(asked: _Asked, device: Device | None, schedule: Schedule | None) -> Iterator[Warning]:
    if asked.batch.fixed is not None:
        yield Warning(
            "BATCH_FIXED", f"the model runs at batch {asked.batch.fixed} alone: {asked.batch.reason}"
        )
    norms = asked.base.memory.training.batch_norms
    if schedule is not None and schedule.accumulation_steps > 1 and norms:
        who = "1 batch norm sees" if norms == 1 else f"{norms} batch norms see"
        line = f"{who} the micro-batch of {schedule.micro_batch}, not the batch of {schedule.target_batch}"
        yield Warning("BATCH_NORM", f"{line}: training differs from that of the whole batch")
    if device is not None and device.context_bytes is None:
        yield Warning(
            "CONTEXT_UNKNOWN", f"what a context takes on {device.name} is not known and not set aside"
        )
    for warning in asked.base.warnings:
        if warning.reason == "ASSUMED_DIM" and not any(
            repr(name) in warning.message for name in asked.entry.names
        ):
            yield warning
