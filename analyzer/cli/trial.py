"""The flags of `verify`, and what they ask."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import msgspec

from analyzer.devices import find
from analyzer.options import LEVELS, Level
from analyzer.units import parse_quantity

if TYPE_CHECKING:
    from analyzer.verify import Wanted

TOLERANCES = ("memory", "scratch", "outputs", "fields")
SEARCHES = ("EXHAUSTIVE", "HEURISTIC", "DEFAULT")


def add(one: argparse.ArgumentParser) -> None:
    """Who runs the model and how often, what is compared, and how far apart it may be."""
    add = one.add_argument
    add("model", metavar="MODEL", help="an .onnx file; weights that are absent are made up")
    add("--provider", choices=("cpu", "cuda"), default="cpu", help="who runs it (default: %(default)s)")
    add("--batch", metavar="N,...", type=_numbers, default=(), help="batches to run it at")
    add("--threads", metavar="N,...", type=_numbers, default=(1,), help="intra-op threads (default: 1)")
    levels = f"{', '.join(LEVELS)} (default: all)"
    add("--level", metavar="LEVEL,...", type=_levels, default=("all",), help=levels)
    add("--fields", metavar="N", type=_natural, default=0, help="tensors whose fields are measured")
    kinds = f"of {', '.join(TOLERANCES)}: memory=0.05"
    add("--tolerance", metavar="KIND=SHARE", action="append", type=_tolerance, default=[], help=kinds)
    add("--seconds", metavar="N", type=_natural, default=120, help="for each session (default: %(default)s)")
    add("--memory", metavar="BYTES", type=_quantity, help="for each process, such as 4GiB")
    add("--device", metavar="NAME", help="whose roofline a card is held against")
    search, workspace = f"{', '.join(SEARCHES)} (default: the first)", "max or small (default: max)"
    add("--conv-search", metavar="HOW", choices=SEARCHES, default=SEARCHES[0], help=search)
    add("--conv-workspace", metavar="W", choices=("max", "small"), default="max", help=workspace)
    add("--format", choices=("table", "json"), default="table", help="default: %(default)s")
    add("-o", "--output", metavar="FILE", help="write here instead of standard output")


def wanted(arguments: argparse.Namespace) -> Wanted:
    """What is to be measured."""
    from analyzer.verify import Limits, Tolerances, Wanted

    limits = Limits(seconds=float(arguments.seconds))
    if arguments.memory is not None:
        limits = msgspec.structs.replace(limits, memory_bytes=arguments.memory)
    return Wanted(
        provider=arguments.provider,
        batches=arguments.batch,
        threads=arguments.threads,
        levels=arguments.level,
        fields=arguments.fields,
        tolerances=Tolerances(**dict(arguments.tolerance)),
        limits=limits,
        conv_search=arguments.conv_search,
        conv_workspace=arguments.conv_workspace,
        device=None if arguments.device is None else find(arguments.device),
    )


def _natural(text: str) -> int:
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 up")
    return int(text)


def _numbers(text: str) -> tuple[int, ...]:
    if not all(part.isdecimal() and int(part) for part in text.split(",")):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers from 1 up, such as 1,8")
    return tuple(dict.fromkeys(map(int, text.split(","))))


def _levels(text: str) -> tuple[Level, ...]:
    names = text.split(",")
    if strange := [name for name in names if name not in LEVELS]:
        raise argparse.ArgumentTypeError(f"no level is named {strange[0]!r}; there are {', '.join(LEVELS)}")
    return tuple(level for level in LEVELS if level in names)


def _tolerance(text: str) -> tuple[str, float]:
    kind, _, number = text.partition("=")
    try:
        share = float(number)
    except ValueError:
        share = -1.0
    if kind not in TOLERANCES or not 0 <= share < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not KIND=SHARE with KIND of {', '.join(TOLERANCES)}")
    return kind, share


def _quantity(text: str) -> int:
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
