"""The command line: parse, call, show. Each command loads only the rooms that it needs.

Exit status: 0 done; 1 a budget is breached, a verification fails (or, where asked for, a model of a batch is bad);
2 bad input or usage, said in one line on stderr; 130 interrupted. Results go to stdout or -o, progress to stderr.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence

from analyzer.cli import flags, trial
from analyzer.cli.output import PROGRAM, appended, progress_line, replaced, show, show_text, tell, write
from analyzer.errors import AnalyzerError

DONE, BREACHED, REFUSED, INTERRUPTED = 0, 1, 2, 130
CLOSED = 141
"""What a shell says of a program whose reader went away."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command and returns its exit status."""
    try:
        arguments = flags.parser().parse_args(argv)
        status = COMMANDS[arguments.command](arguments)
        sys.stdout.flush()
        return status
    except SystemExit as stop:  # argparse has said what it had to say
        return stop.code if isinstance(stop.code, int) else REFUSED
    except AnalyzerError as error:
        return _refuse(error.message)
    except BrokenPipeError:
        os.dup2(
            os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno()
        )  # or Python complains when it closes it
        return CLOSED
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        return _refuse(f"{where}{error.strerror or error}")
    except MemoryError:
        return _refuse("out of memory")
    except Exception:  # noqa: BLE001  # Python's own status for it is 1, which would read as a breached budget
        traceback.print_exc()
        return _refuse("that is a fault in onnx-analyzer itself: please report it with the lines above")


def analyze(arguments: argparse.Namespace) -> int:
    """What one model costs, whether it fits and what it sees."""
    from analyzer.analysis import analyze

    form = flags.form(arguments)
    show(analyze(arguments.model, flags.options(arguments)), form, arguments.output)
    return DONE


def plan(arguments: argparse.Namespace) -> int:
    """What fits, and how to train on a batch that does not."""
    from analyzer.plan import plan
    from analyzer.render import plan as rendered

    form = flags.form(arguments)
    memory, options = flags.memory(arguments), flags.binding(arguments)
    found = plan(arguments.model, memory, options, target_batch=arguments.target_batch)
    show_text(rendered.FORMS[form](found), arguments.output)
    return DONE


def check(arguments: argparse.Namespace) -> int:
    """One model against a budget: a line for each breach."""
    from analyzer import budget
    from analyzer.analysis import analyze

    limits = budget.load(arguments.budget)
    breaches = budget.check(analyze(arguments.model, flags.options(arguments)), limits)
    number = len(limits.limits)
    told = "\n".join(map(str, breaches)) or f"within budget: {number} {'limit' if number == 1 else 'limits'}"
    write(f"{told}\n")
    return BREACHED if breaches else DONE


def verify(arguments: argparse.Namespace) -> int:
    """One model run, and every prediction held against it."""
    from analyzer.render import verification as rendered
    from analyzer.verify import verify

    found = verify(arguments.model, trial.wanted(arguments), flags.sizes(arguments))
    show_text(rendered.FORMS[arguments.format](found), arguments.output)
    return DONE if found.passed else BREACHED


def field(arguments: argparse.Namespace) -> int:
    """What one position of a tensor sees, clipped to the input."""
    from analyzer.analysis import look
    from analyzer.cli import look as asked
    from analyzer.render import field as rendered

    form = asked.form(arguments)
    found = look(arguments.model, arguments.tensor, asked.positions(arguments), flags.sizes(arguments))
    show_text(rendered.FORMS[form](found), arguments.output)
    return DONE


def batch(arguments: argparse.Namespace) -> int:
    """Many models, a line of JSON for each as it finishes."""
    from analyzer import batch

    options = flags.options(arguments)
    paths = batch.find(arguments.places)
    bad = 0
    with appended(arguments.output) as lines:
        for number, outcome in enumerate(batch.run(paths, options, workers=arguments.workers), 1):
            lines.write(f"{outcome.to_json()}\n")
            lines.flush()
            bad += outcome.status == "error"
            why = f" {outcome.error.reason}: {outcome.error.message}" if outcome.error else ""
            tell(f"{number}/{len(paths)} {outcome.path} {outcome.seconds:.2f} s{why}")
    tell(f"{len(paths) - bad} of {len(paths)} models analysed" + (f", {bad} bad" if bad else ""))
    return BREACHED if bad and arguments.strict else DONE


def serve(arguments: argparse.Namespace) -> int:
    """The gRPC server, until it is told to stop."""
    from analyzer.server import Limits, serve

    asked = {
        "workers": arguments.workers,
        "max_upload_bytes": arguments.max_upload,
        "max_uploads": arguments.max_uploads,
        "deadline_seconds": arguments.deadline,
    }
    limits = Limits(**{name: value for name, value in asked.items() if value is not None})
    host = f"[{arguments.host}]" if ":" in arguments.host else arguments.host
    serve(f"{host}:{arguments.port}", limits=limits, on_ready=lambda address: tell(f"listening on {address}"))
    return DONE


def remote_analyze(arguments: argparse.Namespace) -> int:
    """The report of a server, in the same forms."""
    from analyzer.client import Client

    form = flags.form(arguments)
    with Client(arguments.address) as client, progress_line() as progress:
        report = client.analyze(
            arguments.model,
            flags.options(arguments),
            with_weights=arguments.with_weights,
            progress=progress,
        )
    show(report, form, arguments.output)
    return DONE


def remote_plan(arguments: argparse.Namespace) -> int:
    """The plan of a server, in the same forms."""
    from analyzer.client import Client
    from analyzer.render import plan as rendered

    form = flags.form(arguments)
    memory, options = flags.memory(arguments), flags.binding(arguments)
    with Client(arguments.address) as client, progress_line() as progress:
        found = client.plan(
            arguments.model, memory, options, target_batch=arguments.target_batch, progress=progress
        )
    show_text(rendered.FORMS[form](found), arguments.output)
    return DONE


def remote_health(arguments: argparse.Namespace) -> int:
    """Whether a server takes models."""
    from analyzer.client import Client

    with Client(arguments.address) as client:
        serving = client.health()
    write(f"{arguments.address} is {'serving' if serving else 'not serving'}\n")
    return DONE if serving else BREACHED


def strip(arguments: argparse.Namespace) -> int:
    """The model without its weights, as a file that other tools can open."""
    from analyzer.load import strip

    thin = strip(arguments.model)
    with replaced(arguments.output) as file:
        file.write(thin)
    return DONE


def ops(arguments: argparse.Namespace) -> int:
    """The op types that have a rule, and what is known of each."""
    from analyzer.ops import extend
    from analyzer.render import operators

    extend()
    show_text(operators.FORMS[arguments.format](), arguments.output)
    return DONE


def devices(arguments: argparse.Namespace) -> int:
    """The devices that are known by name."""
    from analyzer.render import devices

    show_text(devices.FORMS[arguments.format](), arguments.output)
    return DONE


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "analyze": analyze,
    "plan": plan,
    "check": check,
    "field": field,
    "verify": verify,
    "batch": batch,
    "strip": strip,
    "ops": ops,
    "devices": devices,
    "serve": serve,
    "remote analyze": remote_analyze,
    "remote plan": remote_plan,
    "remote health": remote_health,
}


def _refuse(message: str) -> int:
    tell(f"{PROGRAM}: {message}")
    return REFUSED
