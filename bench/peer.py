"""The full report against its nearest peer, onnxsim's `ModelInfo` and `plan_activation_memory`, and both against the
floor, side by side in one warm process.

    pip install --editable '.[bench]'
    python bench/peer.py [MODEL or FOLDER ...]

Without arguments: the models that the project ships. The peer is used as it comes, without its optional packages
(sympy would make its figures formulas): `onnx.load` without external data, then both functions with their defaults,
each of which infers the shapes for itself. Free dimensions of the inputs are first bound to what our report binds them
to, so that both count the same; a plan that leaves tensors out is taken as one all the same.

Prints milliseconds of processor time (medians of interleaved runs), their ratios to the floor, the medians of the
ratios, and on how many of the models that the peer can do ours is the faster, with those where it is not. A model that
the peer cannot do is named with its error and is neither won nor lost; one that ours cannot do is lost. Asserts
nothing.
"""

from __future__ import annotations

import statistics
import sys
from collections.abc import Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path

import onnx

# A script finds its own folder, not the project's.
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from analyzer import AnalyzerError, analyze
from analyzer.load import load
from bench.floor import compare, floor, models, report

COLUMNS = ("floor ms", "ours ms", "peer ms", "ours/floor", "peer/floor")


def peer(path: Path, dims: Mapping[str, int]) -> None:
    """Theirs: operations, traffic, peak, and an arena."""
    from onnxsim import plan_activation_memory
    from onnxsim.model_info import ModelInfo

    model = onnx.load(path, load_external_data=False)
    bind(model, dims)
    ModelInfo(model)
    plan_activation_memory(model)


def bind(model: onnx.ModelProto, dims: Mapping[str, int]) -> None:
    """Give the free dimensions of the inputs their values, in place."""
    for value in model.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.dim_param in dims:
                dim.dim_value = dims[dim.dim_param]


class Refused(Exception):
    """The peer cannot do a model; its own error is the cause."""


def race(path: Path) -> list[float]:
    """The times of floor, ours and peer."""
    theirs = partial(peer, dims=analyze(path).dims)
    try:
        theirs(path)
    except Exception as error:  # whatever it raises is its answer
        raise Refused(f"{type(error).__name__}: {error}") from error
    return compare(path, floor, report, theirs)


def main() -> None:
    if find_spec("onnxsim") is None:
        print("onnxsim is not installed: pip install --editable '.[bench]'")
        return
    print(f"{'model':<44}{'nodes':>6}{''.join(f'{word:>12}' for word in COLUMNS)}")
    ratios: dict[str, tuple[float, float]] = {}
    unable: list[str] = []
    refused: list[str] = []
    for path in models(sys.argv[1:]):
        try:
            below, ours, theirs = race(path)
        except AnalyzerError as error:
            unable.append(path.stem)
            print(f"{path.stem}: {error.reason}: {error}")
            continue
        except Refused as error:
            refused.append(path.stem)
            print(f"{path.stem}: onnxsim: {error}")
            continue
        ratios[path.stem] = (ours / below, theirs / below)
        figures = (below, ours, theirs, *ratios[path.stem])
        print(
            f"{path.stem:<44}{len(load(path).graph.nodes):>6}{''.join(f'{x:>12.2f}' for x in figures)}",
            flush=True,
        )
    if ratios:
        ours, theirs = (statistics.median(column) for column in zip(*ratios.values(), strict=True))
        print(f"{'median of ' + str(len(ratios)):<50}{ours:>48.2f}{theirs:>12.2f}")
    verdict([name for name, (ours, theirs) in ratios.items() if ours < theirs], [*ratios, *unable], refused)


def verdict(won: list[str], compared: list[str], refused: list[str]) -> None:
    share = len(won) / len(compared) if compared else 0.0
    print(f"ours is faster on {len(won)} of {len(compared)} models ({share:.1%})", end="")
    print(f"; onnxsim cannot do {len(refused)} more, which are not counted")
    if lost := [name for name in compared if name not in won]:
        print(f"not on: {', '.join(lost)}")


if __name__ == "__main__":
    main()
