"""A second reader: a model is run in onnxruntime, and every figure that was predicted is held against it.

    model ─▶ guard, stage (a private copy, weights and inputs made up where absent) ─▶ child (sessions) ─▶ compare

Measured figures are never part of a report, and predicted ones never stand in for them. What could not be measured is
said.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from analyzer.devices import Device
from analyzer.options import Level, Options
from analyzer.verify import compare, cpu, cuda
from analyzer.verify.cpu import Setting
from analyzer.verify.cuda import Card, Convolution
from analyzer.verify.machine import machine, release
from analyzer.verify.measure import LIMITS, Limits, require
from analyzer.verify.record import SCHEMA_VERSION, TOLERANCES, Section, Tolerances, Verification
from analyzer.verify.subject import Subject

__all__ = ["Limits", "Tolerances", "Verification", "Wanted", "verify"]


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """What to measure: the model at each batch (none: as the options bind it), each number of threads, each level.

    fields      tensors whose receptive fields are measured, drawn at random
    conv_search, conv_workspace
                of CUDA: `cudnn_conv_algo_search`, and whether its largest workspace may be used ("max" or "small")
    device      of CUDA: whose roofline the times of kernels are held against
    """

    provider: str = "cpu"
    batches: tuple[int, ...] = ()
    threads: tuple[int, ...] = (1,)
    levels: tuple[Level, ...] = ("all",)
    fields: int = 0
    tolerances: Tolerances = TOLERANCES
    limits: Limits = LIMITS
    conv_search: str = "EXHAUSTIVE"
    conv_workspace: str = "max"
    device: Device | None = None


EVERYTHING = Wanted()


def verify(
    model: str | os.PathLike[str], wanted: Wanted = EVERYTHING, options: Options = Options()
) -> Verification:
    """Run a model and compare. Its own faults are findings; raises BadInput where it is none, or may not be run, and
    BadOption where there is nothing to run it with.
    """
    require()
    gpu = cuda.card() if wanted.provider == "cuda" else None
    with tempfile.TemporaryDirectory(prefix="onnx-analyzer-") as place:
        subject = Subject(Path(model), Path(place), options)
        batches: Sequence[int | None] = wanted.batches or (None,)
        found = [section for batch in batches for section in _at(subject, batch, wanted, gpu)]
        if wanted.fields:
            found.append(_fields(subject, wanted))
        return Verification(
            schema_version=SCHEMA_VERSION,
            model=subject.loaded.name,
            structure_sha256=subject.loaded.structure_sha256,
            provider=wanted.provider,
            release=release(),
            date=datetime.now(UTC).isoformat(timespec="seconds"),
            machine=machine() if gpu is None else machine(gpu.name, gpu.driver),
            invented=subject.staged.invented,
            tolerances=wanted.tolerances,
            sections=tuple(found),
        )


def _at(subject: Subject, batch: int | None, wanted: Wanted, gpu: Card | None) -> list[Section]:
    """Everything at one batch."""
    bound = subject.at(batch, wanted.limits)
    if isinstance(bound, str):
        return [Section("session", batch, unmeasured=bound)]
    if gpu is not None:
        how = Convolution(wanted.conv_search, wanted.conv_workspace == "max")
        return cuda.sections(
            subject, bound, wanted.levels, gpu, how, wanted.device, wanted.tolerances, wanted.limits
        )
    settings = [Setting(level, threads) for level in wanted.levels for threads in wanted.threads]
    return cpu.sections(subject, bound, settings, wanted.tolerances, wanted.limits)


def _fields(subject: Subject, wanted: Wanted) -> Section:
    """Receptive fields of some tensors, as the options bind the model."""
    from analyzer.verify.fields import agreement

    found = agreement(subject.path, wanted.fields, subject.options, limits=wanted.limits)
    return compare.fields(found, wanted.tolerances.fields, Section("field", None))
