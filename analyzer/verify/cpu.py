"""All that is measured of a model on a CPU at one batch: a list of sessions, and what each of them tells."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from analyzer.errors import AnalyzerError
from analyzer.options import Level
from analyzer.verify import compare, profile
from analyzer.verify.measure import CPU, LIMITS, Asked, Limits, Told, measure
from analyzer.verify.record import TOLERANCES, Section, Tolerances
from analyzer.verify.subject import Bound, Subject, scratch

_SHARE = 4
"""Results are shown in groups that take no more than one part in so many of the limit."""


class Setting(msgspec.Struct, frozen=True):
    """One session whose memory is measured."""

    level: Level
    threads: int
    pattern: bool = True


def sections(
    subject: Subject,
    bound: Bound,
    settings: Sequence[Setting],
    tolerances: Tolerances = TOLERANCES,
    limits: Limits = LIMITS,
) -> list[Section]:
    """Shapes and element types; scratch for each number of threads; memory and outputs for each setting."""
    threads = list(dict.fromkeys(setting.threads for setting in settings)) or [1]
    shown = [
        _shown(subject, bound, number, names) for number, names in enumerate(groups(subject, bound, limits))
    ]
    plain = [_plain(subject, bound, count) for count in threads]
    timed = [_timed(subject, bound, setting, number) for number, setting in enumerate(settings)]
    told = measure(subject.place, [*shown, *plain, *timed], limits)
    first, second = len(shown), len(shown) + len(plain)
    found = [*tensors(bound, told[:first])]
    found += [
        _scratch(subject, bound, asked, answer, tolerances)
        for asked, answer in zip(plain, told[first:second], strict=True)
    ]
    for asked, answer, setting in zip(timed, told[second:], settings, strict=True):
        section = Section("memory", bound.batch, setting.threads, setting.level, setting.pattern)
        found.append(_memory(subject, bound, asked, answer, tolerances, section))
        if answer.refusal is None and told[first].refusal is None:
            section = msgspec.structs.replace(section, kind="outputs")
            found.append(_outputs(subject, bound, (plain[0], asked), tolerances, section))
    return found


def groups(subject: Subject, bound: Bound, limits: Limits) -> Iterator[tuple[str, ...]]:
    """Results of the main graph's nodes that are tensors, in groups that fit."""
    group: list[str] = []
    taken = 0
    for name in (name for node in bound.scene.graph.nodes for name in node.outputs if name):
        size = bound.scene.size(name)
        if size is None and name not in subject.outputs:
            continue
        amount = (size.bytes if size is not None else 0) or 0
        if group and taken + amount > limits.memory_bytes // _SHARE:
            yield tuple(group)
            group, taken = [], 0
        group.append(name)
        taken += amount
    if group:
        yield tuple(group)


def _shown(subject: Subject, bound: Bound, number: int, names: tuple[str, ...]) -> Asked:
    model = subject.staged.write(f"shown{number}.onnx", names)
    return Asked(model, "disable", 1, False, bound.feeds, runs=1)


def _plain(subject: Subject, bound: Bound, threads: int) -> Asked:
    return Asked(
        subject.model, "disable", threads, False, bound.feeds, runs=1,
        scratch=f"scratch{threads}.csv", keep=f"plain{threads}-",
    )  # fmt: skip


def _timed(subject: Subject, bound: Bound, setting: Setting, number: int) -> Asked:
    return Asked(
        subject.model, setting.level, setting.threads, setting.pattern, bound.feeds,
        runs=2 if setting.pattern else 1, profile=True, keep=f"kept{number}-",
    )  # fmt: skip


def tensors(bound: Bound, told: Sequence[Told]) -> Iterator[Section]:
    """Shape and element type of every result, all groups together."""
    section = Section("shape", bound.batch)
    for answer in told:
        if answer.refusal is not None:
            yield failed(section, answer)
            return
    found = {name: tensor for answer in told for name, tensor in answer.tensors.items()}
    yield compare.shapes(bound.rows, found, section)
    yield compare.dtypes(bound.rows, found, msgspec.structs.replace(section, kind="dtype"))


def _scratch(subject: Subject, bound: Bound, asked: Asked, answer: Told, tolerances: Tolerances) -> Section:
    section = Section("scratch", bound.batch, asked.threads, asked.level, asked.pattern)
    if answer.refusal is not None:
        return failed(section, answer)
    program = subject.program(bound, asked.level, asked.threads)
    if isinstance(program, AnalyzerError):
        return msgspec.structs.replace(section, unmeasured=f"not predicted: {program.message}")
    path = subject.place / (asked.scratch or "")
    if not path.exists():
        told = f"onnxruntime {answer.release} writes no scratch of nodes"
        return msgspec.structs.replace(section, unmeasured=told)
    return compare.scratch(scratch(program[0]), profile.scratch(path), tolerances.scratch, section)


def _memory(
    subject: Subject, bound: Bound, asked: Asked, answer: Told, tolerances: Tolerances, section: Section
) -> Section:
    if answer.refusal is not None or answer.profile is None:
        return failed(section, answer)
    measured = profile.arena(profile.events_of(subject.place / answer.profile), CPU)
    if measured is None:
        told = f"the profile of onnxruntime {answer.release} has no counters of the arena"
        return msgspec.structs.replace(section, unmeasured=told)
    said = subject.forecast(bound, asked.level, asked.threads, asked.pattern)
    if isinstance(said, str):
        return msgspec.structs.replace(section, unmeasured=said)
    return compare.memory(said.arena, measured, tolerances.memory, section, said.note, said.least_peak_bytes)


def _outputs(
    subject: Subject, bound: Bound, asked: tuple[Asked, Asked], tolerances: Tolerances, section: Section
) -> Section:
    if bound.random:
        return msgspec.structs.replace(section, unmeasured="the model draws numbers, other ones at each run")
    plain, optimised = (compare.kept(subject.place, one.keep or "", subject.outputs) for one in asked)
    return compare.outputs(subject.outputs, plain, optimised, tolerances.outputs, section)


def failed(section: Section, answer: Told) -> Section:
    what = {"session": "no session", "run": "no run"}.get(answer.stage, "no end")
    return msgspec.structs.replace(
        section, kind="session", unmeasured=f"{what}: {answer.refusal or 'no profile'}", failed=True
    )
