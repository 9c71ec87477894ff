"""The flags of `field`, and what they ask."""

from __future__ import annotations

import argparse

from analyzer.errors import BadOption

FORMATS = {"table": ".txt", "json": ".json", "svg": ".svg"}
"""Every form, and the ending of a file's name that asks for it."""


def add(one: argparse.ArgumentParser) -> None:
    """What is to be looked at, and how it is to be shown."""
    one.add_argument("model", metavar="MODEL", help="an .onnx file; its weights need not be there")
    one.add_argument(
        "tensor", metavar="TENSOR", help='whose field; one of a function\'s body is "call/inner"'
    )
    one.add_argument(
        "--at",
        metavar="AXIS=N",
        action="append",
        type=_position,
        default=[],
        help="one position of an axis of it: 2=27; the others are taken whole",
    )
    one.add_argument("--format", choices=FORMATS, help="by default what FILE's name asks for, else table")
    one.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")


def _position(text: str) -> tuple[int, int]:
    axis, _, position = text.partition("=")
    try:
        return int(axis), int(position)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not AXIS=N, such as 2=27") from None


def positions(arguments: argparse.Namespace) -> dict[int, int]:
    """One position for each axis that is named."""
    given = dict(arguments.at)
    if len(given) < len(set(arguments.at)):
        raise BadOption("GIVEN_TWICE", "--at gives one axis two positions", option="--at")
    return given


def form(arguments: argparse.Namespace) -> str:
    """The form asked for. Decided before the work is done, so that a slip costs nothing."""
    if arguments.format is not None or arguments.output is None:
        return arguments.format or "table"
    for form, ending in FORMATS.items():
        if arguments.output.lower().endswith(ending):
            return form
    line = f"the name {arguments.output!r} asks for no format: add --format {'|'.join(FORMATS)}"
    raise BadOption("NO_FORMAT", line, option="--format")
