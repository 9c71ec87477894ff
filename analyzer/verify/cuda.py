"""All that is measured of a model on a GPU at one batch: the arena, the card's memory, times, and whether limits hold.

    shown     every result, with optimisations off: shapes and element types
    timed     two runs, profiled, launches made to wait: counters of the CUDA arena, times of nodes
    limited   the arena's limit just above and just below of what was predicted: the one must run, the other must not

What is predicted is what `plan` counts: parameters, and an arena of activations. docs/verification/cuda.md says where
each measured figure comes from. No figure of this project was measured with it yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path

import msgspec

from analyzer.devices import Device
from analyzer.errors import BadOption
from analyzer.options import Level, Options
from analyzer.plan.needs import needed, shares
from analyzer.report import RooflineRow
from analyzer.verify import profile
from analyzer.verify.compare import difference
from analyzer.verify.cpu import failed, groups, tensors
from analyzer.verify.measure import CPU, CUDA, LIMITS, Asked, Limits, Mark, Told, measure
from analyzer.verify.profile import Kernel
from analyzer.verify.record import TOLERANCES, Figure, Section, Tolerances
from analyzer.verify.stage import nothing
from analyzer.verify.subject import Bound, Subject

_MOST_TIMES = 20
"""Nodes whose times are listed, the longest first."""


class Card(msgspec.Struct, frozen=True):
    """A GPU as its driver names it."""

    index: int
    name: str
    driver: str
    memory_bytes: int


class Convolution(msgspec.Struct, frozen=True):
    """How cuDNN finds its algorithms (`cudnn_conv_algo_search`), and whether with its largest workspace."""

    search: str = "EXHAUSTIVE"
    largest: bool = True


CONVOLUTION = Convolution()


def card(index: int = 0) -> Card:
    """A GPU of this machine. Raises BadOption (NVML_MISSING, NO_GPU) where there is none, or nothing to ask."""
    if find_spec("pynvml") is None:
        told = "verify --provider cuda needs NVML's bindings: pip install 'onnx-analyzer[verify-cuda]'"
        raise BadOption("NVML_MISSING", told, option="provider")
    import pynvml

    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        name, driver = pynvml.nvmlDeviceGetName(handle), pynvml.nvmlSystemGetDriverVersion()
        total = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError as error:
        told = f"there is no NVIDIA GPU here to verify on ({error}); --provider cpu needs none"
        raise BadOption("NO_GPU", told, option="provider") from error
    return Card(index, _text(name), _text(driver), total)


def provider(
    index: int, convolution: Convolution, limit_bytes: int | None = None
) -> tuple[str, dict[str, str]]:
    """The CUDA provider with its options; `limit_bytes` bounds its arena, and nothing else."""
    options = {
        "device_id": str(index),
        "cudnn_conv_algo_search": convolution.search,
        "cudnn_conv_use_max_workspace": "1" if convolution.largest else "0",
    }
    if limit_bytes is not None:
        options["gpu_mem_limit"] = str(limit_bytes)
    return CUDA, options


def sections(
    subject: Subject,
    bound: Bound,
    levels: Sequence[Level],
    gpu: Card,
    convolution: Convolution = CONVOLUTION,
    device: Device | None = None,
    tolerances: Tolerances = TOLERANCES,
    limits: Limits = LIMITS,
) -> list[Section]:
    """Everything at one batch."""
    said = predicted(bound)
    on = (provider(gpu.index, convolution), CPU)
    first = Asked(nothing(subject.place), "disable", 1, True, {}, runs=0, providers=on)
    names = (subject.staged.write(f"shown{number}.onnx", group)
             for number, group in enumerate(groups(subject, bound, limits)))  # fmt: skip
    shown = [Asked(name, "disable", 1, False, bound.feeds, runs=1, providers=on) for name in names]
    timed = [
        Asked(subject.model, level, 1, True, bound.feeds, profile=True, providers=on) for level in levels
    ]
    below, above = (
        Asked(
            subject.model,
            levels[0],
            1,
            True,
            bound.feeds,
            providers=(provider(gpu.index, convolution, limit), CPU),
        )
        for limit in ((0, 0) if said is None else around(said, tolerances.memory))
    )
    told = measure(subject.place, [first, *shown, *timed, below, above], limits, gpu.index)
    found = [*tensors(bound, told[1 : 1 + len(shown)])]
    for answer, level in zip(told[1 + len(shown) :], levels, strict=False):
        section = Section("memory", bound.batch, 1, level)
        found += _session(subject, bound, answer, said, told[0], device, tolerances, section)
    if said is not None:
        found.append(
            fits(told[-2], told[-1], said, tolerances.memory, Section("device", bound.batch, 1, levels[0]))
        )
    return found


def predicted(bound: Bound) -> int | None:
    """What `plan` counts for inference."""
    return needed(shares(bound.report, "inference"))


def around(amount: int, tolerance: float) -> tuple[int, int]:
    """Limits just below and just above a prediction."""
    return int(amount * (1 - tolerance)) - 1, int(amount * (1 + tolerance)) + 1


def _session(
    subject: Subject,
    bound: Bound,
    answer: Told,
    said: int | None,
    empty: Told,
    device: Device | None,
    tolerances: Tolerances,
    section: Section,
) -> Iterator[Section]:
    """What one timed session tells."""
    if answer.refusal is not None or answer.profile is None:
        yield failed(section, answer)
        return
    if CUDA not in answer.providers:
        told = "onnxruntime has no CUDA provider here: pip install 'onnx-analyzer[verify-cuda]'"
        raise BadOption("NO_CUDA", told, option="provider")
    events = profile.events_of(subject.place / answer.profile)
    counted = profile.arena(events, CUDA)
    if counted is None:
        told = f"the profile of onnxruntime {answer.release} has no counters of the CUDA arena"
        yield msgspec.structs.replace(section, unmeasured=told)
    elif said is not None:
        off = difference(said, counted.peak_bytes)
        one = Figure("arena_peak_bytes", said, counted.peak_bytes, off, abs(off) <= tolerances.memory)
        held = Figure("arena_held_bytes", None, counted.held_bytes, None, True)
        yield msgspec.structs.replace(section, compared=1, agreed=int(not off), figures=(one, held))
    yield card_memory(
        answer.device, empty.device, counted.held_bytes if counted else None, device, said, section
    )
    if device is not None:
        yield times(profile.kernels(events), _roofline(subject, bound, device), section)


def card_memory(
    marks: Sequence[Mark],
    empty: Sequence[Mark],
    held: int | None,
    device: Device | None,
    said: int | None,
    section: Section,
) -> Section:
    """The card's memory over a session's life: the context as an empty session shows it, and the most of all.

    What is neither context nor arena is cuDNN's workspace, its and cuBLAS's handles, and code that was loaded.
    """
    section = msgspec.structs.replace(section, kind="device")
    if not marks or not empty:
        return msgspec.structs.replace(section, unmeasured="NVML told nothing")
    context = empty[-1].used_bytes - empty[0].used_bytes
    most = max(mark.most_bytes for mark in marks) - marks[0].used_bytes
    known = None if device is None else device.context_bytes
    total = None if said is None or known is None else said + known
    figures = [
        _shown("context_bytes", known, context),
        _shown("card_bytes", total, most + context),
    ]
    if held is not None:
        figures.append(_shown("beside_arena_bytes", None, most - held))
    return msgspec.structs.replace(section, compared=len(figures), figures=tuple(figures))


def fits(below: Told, above: Told, said: int, tolerance: float, section: Section) -> Section:
    """Whether the model runs just above of the prediction, and does not just below."""
    figures = []
    for answer, limit, expected in zip((below, above), around(said, tolerance), (False, True), strict=True):
        runs = answer.refusal is None
        word = {True: "fits", False: "does not fit"}
        note = "" if runs else answer.refusal or ""
        figures.append(Figure(f"limit of {limit}", word[expected], word[runs], None, runs == expected, note))
    return msgspec.structs.replace(
        section, compared=2, agreed=sum(one.within for one in figures), figures=tuple(figures)
    )


def times(kernels: Sequence[Kernel], least: dict[str, RooflineRow], section: Section) -> Section:
    """The last time of each node on the card against the least that the roofline allows: shorter is wrong.

    The longest are listed, and all that are shorter. A fused node has no row of its own; use level disable.
    """
    last = {kernel.node: kernel.microseconds * 1e-6 for kernel in kernels if kernel.provider == CUDA}
    figures = []
    for node, seconds in sorted(last.items(), key=lambda pair: -pair[1]):
        row = least.get(node)
        if row is not None and row.least_seconds is not None:
            off = difference(row.least_seconds, seconds)
            figures.append(Figure(node, row.least_seconds, seconds, off, row.least_seconds <= seconds))
    shown = [figure for place, figure in enumerate(figures) if place < _MOST_TIMES or not figure.within]
    unmeasured = (
        f"{len(last) - len(figures)} nodes have no row in the roofline" if len(figures) < len(last) else None
    )
    return msgspec.structs.replace(
        section, kind="time", compared=len(figures), agreed=sum(one.within for one in figures),
        figures=tuple(shown), unmeasured=unmeasured,
    )  # fmt: skip


def calibrated(gpu: Card, marks: Sequence[Mark], release: str, date: str) -> str:
    """A device file (docs/devices.md) with what a context takes on this machine, and where that is from."""
    context = marks[-1].used_bytes - marks[0].used_bytes
    source = f"NVML over an empty session, driver {gpu.driver}, onnxruntime {release}, {date}"
    return (
        f'name = "{gpu.name}"\nmemory_bytes = {gpu.memory_bytes}\n'
        f'context_bytes = {context}\nsource = "{source}"\n'
    )


def context(place: Path, gpu: Card, limits: Limits = LIMITS) -> Told:
    """An empty session on the card."""
    asked = Asked(
        nothing(place), "disable", 1, True, {}, runs=0, providers=(provider(gpu.index, CONVOLUTION), CPU)
    )
    return measure(place, [asked], limits, gpu.index)[0]


def _roofline(subject: Subject, bound: Bound, device: Device) -> dict[str, RooflineRow]:
    from analyzer.analysis import study

    options = Options(shapes=bound.shapes, passes=("cost",), device=device)
    roofline = study(subject.loaded, options).roofline
    return {row.name: row for row in roofline.nodes} if roofline is not None else {}


def _shown(name: str, predicted: int | None, measured: int) -> Figure:
    """A figure that is shown, and held against nothing."""
    off = None if predicted is None else difference(predicted, measured)
    return Figure(name, predicted, measured, off, True)


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
