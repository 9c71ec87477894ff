"""The flags of every command, and the Options that they ask for."""

from __future__ import annotations

import argparse
from typing import Any, NoReturn, TypeVar

import msgspec

from analyzer import __version__
from analyzer.cli import look, trial
from analyzer.cli.output import PROGRAM, one_line
from analyzer.devices import Device, find
from analyzer.errors import BadOption
from analyzer.options import DETAILS, LEVELS, PRECISIONS, Options
from analyzer.render import FORMS, form_of
from analyzer.units import parse_quantity

T = TypeVar("T")


class Parser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, and whose flags are written out."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.allow_abbrev = False

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{PROGRAM}: {one_line(message)} (see {self.prog} --help)\n")


def parser() -> Parser:
    """Every command with its flags."""
    top = Parser(prog=PROGRAM, description="What a network costs, whether it fits, and what it sees.")
    top.add_argument("--version", action="version", version=f"{PROGRAM} {__version__}")
    commands = top.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)

    one = _command(commands, "analyze", "models/googlenet.onnx --dim batch=8")
    one.add_argument("model", metavar="MODEL", help="an .onnx file; its weights need not be there")
    _add_options(one)
    _add_device(one)
    _add_output(one)

    one = _command(
        commands, "plan", "models/resnet50.onnx --device gtx980 --target-batch 256 --optimizer momentum"
    )
    _add_plan(one)

    one = _command(commands, "check", "models/resnet50.onnx --budget budget.toml")
    one.add_argument("model", metavar="MODEL", help="an .onnx file")
    one.add_argument("--budget", metavar="FILE", required=True, help="limits in TOML, see docs/budget.md")
    _add_options(one)

    one = _command(commands, "verify", "models/resnet50.onnx --batch 1,8 --threads 1,2 --level disable,all")
    trial.add(one)
    _add_sizes(one)

    one = _command(commands, "field", "models/resnet50.onnx layer2.0.add --at 2=3 --at 3=3 -o field.svg")
    look.add(one)
    one.add_argument("--dim", metavar="NAME=N", action="append", type=_dim, default=[], help=DIM)
    one.add_argument("--shape", metavar="INPUT:DIMS", action="append", type=_shape, default=[], help=SHAPE)

    one = _command(commands, "batch", "models -o models.jsonl --workers 4")
    one.add_argument("places", metavar="DIR_OR_GLOB", nargs="+", help="directories, globs or files")
    one.add_argument("-o", "--output", metavar="FILE", help="JSON lines; standard output by default")
    one.add_argument("--workers", metavar="N", type=_positive, help="processes; by default one per processor")
    one.add_argument("--strict", action="store_true", help="exit with 1 if any model is bad")
    _add_options(one)

    one = _command(commands, "strip", "model.onnx -o thin.onnx")
    one.add_argument("model", metavar="MODEL", help="an .onnx file")
    one.add_argument("-o", "--output", metavar="FILE", required=True, help="the copy")
    one.add_argument(
        "--data-prop",
        choices=("safe",),
        default="safe",
        help="which numbers stay: safe, all that may decide a shape (default: %(default)s)",
    )

    one = _command(commands, "ops", "--format markdown -o docs/operators.md")
    one.add_argument(
        "--format", choices=("table", "json", "markdown"), default="table", help="default: %(default)s"
    )
    one.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")

    one = _command(commands, "devices", "--format markdown -o docs/devices.md")
    one.add_argument(
        "--format", choices=("table", "json", "markdown"), default="table", help="default: %(default)s"
    )
    one.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")

    one = _command(commands, "serve", "--port 50051 --workers 4")
    one.add_argument("--host", default="127.0.0.1", help="where to listen (default: %(default)s)")
    one.add_argument("--port", type=_port, default=50051, help="0 picks a free one (default: %(default)s)")
    one.add_argument("--workers", metavar="N", type=_positive, help="analyses at once, each in a process")
    one.add_argument(
        "--max-upload", metavar="BYTES", type=_quantity, help="of one model, such as 2GiB (default: 4GiB)"
    )
    one.add_argument("--max-uploads", metavar="N", type=_positive, help="uploads at once (default: 64)")
    one.add_argument("--deadline", metavar="SECONDS", type=_seconds, help="of one analysis (default: 60)")

    remote = _command(commands, "remote", "--address localhost:50051 analyze models/vgg16.onnx")
    remote.add_argument("--address", default="localhost:50051", help="HOST:PORT (default: %(default)s)")
    verbs = remote.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    one = _command(verbs, "analyze", "models/vgg16.onnx --format json")
    one.add_argument("model", metavar="MODEL", help="an .onnx file; its weights stay here")
    one.add_argument("--with-weights", action="store_true", help="send the file as it is, weights included")
    _add_options(one)
    _add_device(one)
    _add_output(one)
    one = _command(verbs, "plan", "models/vgg16.onnx --device k20 --target-batch 256")
    _add_plan(one)
    _command(verbs, "health", "")
    return top


DIM, SHAPE = "bind a free dimension: seq=128", "bind an input's shape: x:1,3,224,224"

HELP = {
    "field": "what one position of a tensor sees of the input",
    "analyze": "parameters, multiply-accumulates, memory and receptive fields of a model",
    "check": "compare a model with a budget; exit with 1 if it is breached",
    "batch": "analyse many models, a line of JSON for each as it finishes",
    "plan": "the largest batch that fits on a device, and how to train on a larger one",
    "devices": "list the devices that are known by name",
    "verify": "run a model and hold every prediction against it; exit with 1 if one is off",
    "strip": "write the model without its weights: the same report, a fraction of the bytes",
    "ops": "list the op types that have a rule, and what is known of each",
    "serve": "run the gRPC server until SIGTERM or Ctrl-C",
    "remote": "have a server do it",
    "health": "ask whether the server takes models; exit with 1 if not",
}


def _command(commands: argparse._SubParsersAction[Parser], name: str, example: str) -> Parser:
    """One command, with its help and one example. Its full name ("remote health") is `command`."""
    one = commands.add_parser(name, help=HELP[name], description=HELP[name])
    one.epilog = f"example: {one.prog} {example}".rstrip()
    one.set_defaults(command=one.prog.removeprefix(f"{PROGRAM} "))
    return one


def _add_options(one: argparse.ArgumentParser) -> None:
    _add_binding(one)
    add = one.add_argument
    add(
        "--detail",
        metavar="NAME",
        choices=DETAILS,
        action="append",
        default=[],
        help=f"also {' or '.join(DETAILS)}",
    )
    add("--runtime", metavar="NAME", choices=("onnxruntime",), help="predict what onnxruntime takes on a CPU")
    add("--level", metavar="L", choices=LEVELS, default="all", help="disable, basic, extended, all (default)")
    add("--threads", metavar="N", type=_positive, default=1, help="of its pool (default: %(default)s)")


def _add_sizes(one: argparse.ArgumentParser) -> None:
    """The sizes of a model's inputs."""
    add = one.add_argument
    add(
        "--dim",
        metavar="NAME=N",
        action="append",
        type=_dim,
        default=[],
        help="bind a free dimension: batch=8",
    )
    add(
        "--shape",
        metavar="INPUT:DIMS",
        action="append",
        type=_shape,
        default=[],
        help="bind an input's shape: x:1,3,224,224 or x:1x3x224x224",
    )


def _add_binding(one: argparse.ArgumentParser) -> None:
    """What every command asks that looks at a model."""
    _add_sizes(one)
    add = one.add_argument
    add(
        "--optimizer",
        metavar="O",
        choices=("sgd", "momentum", "adam"),
        default="sgd",
        help="sgd (default), momentum or adam, in training",
    )
    add(
        "--training-graph",
        metavar="G",
        choices=("unfold", "as-is"),
        default="unfold",
        help="unfold (default): with folded batch norms; as-is",
    )
    add("--precision", metavar="P", choices=PRECISIONS, default="fp32", help="fp32 (default), fp16 or bf16")
    add("--freeze", metavar="GLOB", action="append", default=[], help="parameters that do not learn")
    add("--checkpoint", metavar="N", default="none", help="segments, sqrt, or none (default)")
    add("--foreach", action="store_true", help="step for all parameters at once, as on a GPU")
    add(
        "--lenient",
        action="store_true",
        help="report on what no runtime could run, as far as it goes",
    )


def _add_device(one: argparse.ArgumentParser) -> None:
    one.add_argument("--device", metavar="NAME", help="draw its roofline; or a TOML file's")


def _add_plan(one: argparse.ArgumentParser) -> None:
    one.add_argument("model", metavar="MODEL", help="an .onnx file; its weights need not be there")
    memory = one.add_mutually_exclusive_group(required=True)
    memory.add_argument("--device", metavar="NAME", help="a name that `devices` lists, or a TOML file")
    memory.add_argument("--memory", metavar="BYTES", type=_quantity, help="so much memory, such as 12GiB")
    one.add_argument(
        "--target-batch", metavar="N", type=_positive, help="samples for each step of the optimizer"
    )
    _add_binding(one)
    _add_output(one)


def _add_output(one: argparse.ArgumentParser) -> None:
    one.add_argument("--format", choices=FORMS, help="by default what FILE's name asks for, else table")
    one.add_argument("-o", "--output", metavar="FILE", help="write here instead of standard output")


def _dim(text: str) -> tuple[str, int]:
    name, equals, number = text.rpartition("=")
    if not (name and equals and number.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is not NAME=N, such as batch=8")
    return name, int(number)


def _shape(text: str) -> tuple[str, tuple[int, ...]]:
    """Split at the last colon: names of inputs may hold colons."""
    name, colon, dims = text.rpartition(":")
    numbers = dims.replace("x", ",").split(",")
    if not (name and colon and all(number.isdecimal() for number in numbers)):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not INPUT:DIMS, such as x:1,3,224,224 or x:1x3x224x224"
        )
    return name, tuple(map(int, numbers))


def _quantity(text: str) -> int:
    try:
        return parse_quantity(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1 up")
    return int(text)


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of seconds above 0")
    return seconds


def binding(arguments: argparse.Namespace) -> Options:
    """What `_add_binding` asks."""
    return Options(
        dims=_once("--dim", arguments.dim),
        shapes=_once("--shape", arguments.shape),
        optimizer=arguments.optimizer,
        training_graph=arguments.training_graph,
        precision=arguments.precision,
        freeze=tuple(arguments.freeze),
        checkpoint=arguments.checkpoint,
        foreach=arguments.foreach,
        lenient=arguments.lenient,
    )


def options(arguments: argparse.Namespace) -> Options:
    """What `_add_options` asks, and the device where a command has that flag."""
    device = getattr(arguments, "device", None)
    return msgspec.structs.replace(
        binding(arguments),
        device=None if device is None else find(device),
        details=tuple(dict.fromkeys(arguments.detail)),
        runtime=arguments.runtime,
        runtime_level=arguments.level,
        runtime_threads=arguments.threads,
    )


def sizes(arguments: argparse.Namespace) -> Options:
    """The dimensions that are bound, and nothing else."""
    return Options(dims=_once("--dim", arguments.dim), shapes=_once("--shape", arguments.shape))


def memory(arguments: argparse.Namespace) -> Device | int:
    """What a plan is to fit in: one of the two was given."""
    return find(arguments.device) if arguments.device is not None else int(arguments.memory)


def _once(flag: str, pairs: list[tuple[str, T]]) -> dict[str, T]:
    """Pairs as a dict; a name that is given two values is a slip that would go unnoticed."""
    given = dict(pairs)
    for name, value in pairs:
        if given[name] != value:
            raise BadOption("GIVEN_TWICE", f"{flag} gives {name!r} two values", option=flag, name=name)
    return given


def form(arguments: argparse.Namespace) -> str:
    """The form asked for. Decided before the work is done, so that a slip costs nothing."""
    if arguments.format is not None or arguments.output is None:
        return arguments.format or "table"
    form = form_of(arguments.output)
    if form is None:
        line = f"the name {arguments.output!r} asks for no format: add --format {'|'.join(FORMS)}"
        raise BadOption("NO_FORMAT", line, option="--format")
    return form
