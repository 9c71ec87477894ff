"""What a verification found: predicted beside measured, and never one in the place of the other."""

from __future__ import annotations

from typing import Literal

import msgspec

from analyzer.options import Level

SCHEMA_VERSION = 1
Kind = Literal["session", "shape", "dtype", "scratch", "memory", "outputs", "field", "time", "device"]


class Figure(msgspec.Struct, frozen=True):
    """One thing that was predicted and measured. `difference` is relative, predicted over measured less one; None where
    it has no size. `within`: it is inside of its tolerance.
    """

    name: str
    predicted: int | float | str | None
    measured: int | float | str | None
    difference: float | None
    within: bool
    note: str = ""


class Section(msgspec.Struct, frozen=True):
    """The figures of one kind under one setting; None where a setting does not matter to them.

    compared, agreed  how many there are, and how many are the same on both sides, to the byte
    figures           those that differ; of memory and time all of them
    unmeasured        why there are none, or none of some; `failed` is set where that is a fault of the model's session
    """

    kind: Kind
    batch: int | None
    threads: int | None = None
    level: Level | None = None
    pattern: bool | None = None
    compared: int = 0
    agreed: int = 0
    figures: tuple[Figure, ...] = ()
    unmeasured: str | None = None
    failed: bool = False

    @property
    def within(self) -> bool:
        return not self.failed and all(figure.within for figure in self.figures)


class Machine(msgspec.Struct, frozen=True):
    """Where it was measured. `flags` are those of the processor by which kernels are chosen."""

    processor: str
    processors: int
    memory_bytes: int
    system: str
    flags: tuple[str, ...] = ()
    gpu: str | None = None
    driver: str | None = None


class Tolerances(msgspec.Struct, frozen=True):
    """How far predicted and measured may be apart: memory, scratch and time relative; outputs relative to their largest
    number; fields the share of those compared.
    """

    memory: float = 0.01
    scratch: float = 0.0
    outputs: float = 0.01
    fields: float = 0.0


TOLERANCES = Tolerances()


class Verification(msgspec.Struct, frozen=True):
    """One model on one machine. `date` in ISO 8601, UTC; `invented`: stored tensors whose numbers were made up."""

    schema_version: int
    model: str
    structure_sha256: str
    provider: str
    release: str
    date: str
    machine: Machine
    invented: int
    tolerances: Tolerances
    sections: tuple[Section, ...]

    @property
    def passed(self) -> bool:
        return all(section.within for section in self.sections)
