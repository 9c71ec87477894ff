"""The batch of a model: where it enters, how to set it, and whether the model runs at more than one.

    1. free dimensions whose name says batch, wherever they stand, with the first axes that have no name
    2. else the first axis of every input that leaves it free
    3. else the first axis of every input that is as long there as the first input is: a number in the file, which is
       overridden

All of them are one batch. Whether the model runs at any is tried, at 1, 2 and 3: an export may have a batch in the
constant of a Reshape or an Expand. It must run at each, and what it makes and computes must grow by the same steps.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from analyzer.errors import BadModel, BadOption
from analyzer.graph import Tensor
from analyzer.options import Options
from analyzer.plan.record import Batch
from analyzer.report import Report

_NAMED = re.compile(r"batch|^[nb]$", re.IGNORECASE)
Place = tuple[Tensor, int]


class Entry(msgspec.Struct, frozen=True):
    """The axes of the inputs that are the batch, and the number that the file has there, if it has one."""

    places: tuple[Place, ...]
    written: int | None

    @property
    def names(self) -> tuple[str, ...]:
        """Free dimensions by name, other axes by their place."""
        return tuple(dict.fromkeys(_symbol(tensor, axis) for tensor, axis in self.places))


def find(inputs: tuple[Tensor, ...], options: Options) -> Entry:
    """Where the batch enters. Raises BadOption where the caller has bound it already."""
    axes = [(tensor, axis) for tensor in inputs for axis in range(len(tensor.dims or ()))]
    named = [place for place in axes if isinstance(dim := _dim(*place), str) and _NAMED.search(dim)]
    nameless = [(tensor, axis) for tensor, axis in axes if axis == 0 and _dim(tensor, axis) is None]
    first = [(tensor, axis) for tensor, axis in axes if axis == 0]
    free = [*named, *nameless] if named else [place for place in first if not isinstance(_dim(*place), int)]
    if free:
        entry = Entry(tuple(free), None)
        for name in entry.names:
            if name in options.dims:
                line = f"{name!r} is the batch, which a plan is to find: leave it out of the dimensions"
                raise BadOption("BATCH_GIVEN", line, option="dims", dim=name)
        return entry
    written = _dim(*first[0]) if first else None
    alike = tuple(place for place in first if _dim(*place) == written)
    return Entry(alike, written if isinstance(written, int) else None)


def bound(entry: Entry, options: Options, base: Report, batch: int) -> Options:
    """The options at which the model has this batch; `base` tells the shapes of the inputs at any other."""
    shapes = {row.name: row.shape for row in base.tensors if row.role == "input" and row.shape is not None}
    set_at = {
        tensor.name: [axis for other, axis in entry.places if other is tensor] for tensor, _ in entry.places
    }
    whole = dict(options.shapes)
    for name, axes in set_at.items():
        if name in whole or entry.written is not None:
            shape = list(shapes[name])
            for axis in axes:
                shape[axis] = batch
            whole[name] = tuple(shape)
    dims = (
        dict(options.dims)
        if entry.written is not None
        else {**options.dims, **dict.fromkeys(entry.names, batch)}
    )
    return msgspec.structs.replace(options, dims=dims, shapes=whole)


def described(entry: Entry, base: Report, at: Callable[[int], Report]) -> Batch:
    """Whether the model runs at any batch. `at` analyses it at one, `base` is it as the file has it."""
    fixed = entry.written if entry.written is not None else 1
    if not entry.places:
        return Batch((), fixed, "no input has an axis for it")
    try:
        odd = _odd(base, [at(batch) for batch in (1, 2, 3)])
    except BadModel as error:
        odd = f"at another, {error.message}"
    return Batch(entry.names) if odd is None else Batch(entry.names, fixed, odd)


def _odd(base: Report, tried: list[Report]) -> str | None:
    """What speaks against any batch: a node that cannot run at one, or what does not grow by equal steps."""
    forgiven = _invalid(base).keys()
    lines = [line for report in tried for node, line in _invalid(report).items() if node not in forgiven]
    if lines:
        return f"at another, {lines[0]}"
    made, computed = ([count(report) for report in tried] for count in (_made, _computed))
    for what, (one, two, three) in (("what it makes", made), ("what it computes", computed)):
        if three - two != two - one or one > two or (what == "what it makes" and one == two):
            return f"{what} does not grow evenly with it ({one:,}, {two:,} and {three:,} at 1, 2 and 3)"
    return None


def _invalid(report: Report) -> dict[str | None, str]:
    """Nodes that cannot run, which a lenient analysis puts up with."""
    return {warning.node: warning.message for warning in report.warnings if warning.reason == "INVALID"}


def _made(report: Report) -> int:
    """Bytes of all that is made, views too."""
    return sum(row.bytes or 0 for row in report.tensors if row.role in ("activation", "output"))


def _computed(report: Report) -> int:
    return report.totals.flops.known or 0


def _dim(tensor: Tensor, axis: int) -> int | str | None:
    return tensor.dims[axis] if tensor.dims else None


def _symbol(tensor: Tensor, axis: int) -> str:
    dim = _dim(tensor, axis)
    return dim if isinstance(dim, str) and dim else f"{tensor.name}[{axis}]"
