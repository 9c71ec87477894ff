"""Control flow: If, Loop, Scan, SequenceMap. Their bodies are described for the operands at hand and counted
as often as they run.

A loop is first described once, with nothing assumed of its counter and of the values it carries. Where shapes
change from turn to turn, or hang on the counter, and the number of turns is known and small, it is described
turn by turn; else what changes is unknown. Operands of these rules may be Unknown: a body can make do without
some of them.
"""

from __future__ import annotations

import msgspec
import numpy as np

from analyzer.graph import BOOL, INT64, Known, Sequence, Size
from analyzer.ops.rule import Body, Facts, Run, Setting, Turns, axis_of, refuse, rule

Ints = tuple[int, ...]
TURNS_LIMIT = 64
"""Most turns that are described one by one."""


@rule("If")
def if_(condition: Setting, *, then_branch: Body, else_branch: Body, results: int) -> Facts:
    """One of two bodies. A known condition tells the sizes; the cost is the dearer branch's either way."""
    _check_single(condition, "cond")
    known = _truth(condition)
    runs = (then_branch(unsure=known is False), else_branch(unsure=known is True))
    for run, name in zip(runs, ("then_branch", "else_branch"), strict=True):
        _check_results(run, results, name)
    for place, (a, b) in enumerate(zip(runs[0].outputs, runs[1].outputs, strict=True)):
        _check_dtype(a, b, f"result {place} of the branches", "else_branch")
    if known is not None:
        outputs = runs[0].outputs if known else runs[1].outputs
    else:
        outputs = tuple(map(_either, runs[0].outputs, runs[1].outputs))
    taken = tuple(
        msgspec.structs.replace(run, never=known is not None and known is not choice)
        for run, choice in zip(runs, (True, False), strict=True)
    )
    return Facts(outputs, runs=taken, exclusive=True, transparent=True)


def _either(a: Known | None, b: Known | None) -> Known | None:
    """The size of a result that one of two branches makes: theirs if they agree."""
    if isinstance(a, Size) and isinstance(b, Size) and a.dtype is b.dtype and a.shape == b.shape:
        return Size(a.shape, a.dtype, exact=a.exact and b.exact)
    return None


def _check_single(size: Known | None, name: str) -> None:
    """A condition or a count is one number, whatever its rank."""
    if isinstance(size, Size) and size.count != 1:
        raise refuse("NOT_SINGLE", f"{name} has shape {size.shape}, one element is needed", attribute=name)


def _check_operands(body: Body, count: int) -> None:
    if len(body.inputs) != count:
        raise refuse(
            "BODY_SIGNATURE",
            f"the body takes {len(body.inputs)} operands, {count} are given",
            attribute="body",
        )


def _check_results(run: Run, count: int, name: str) -> None:
    if len(run.outputs) != count:
        raise refuse(
            "BODY_SIGNATURE", f"{name} gives {len(run.outputs)} results, {count} are needed", attribute=name
        )


def _check_dtype(a: Known | None, b: Known | None, what: str, name: str) -> None:
    if isinstance(a, Size) and isinstance(b, Size) and a.dtype is not b.dtype:
        raise refuse("DTYPES_DIFFER", f"{what} has two types, {a.dtype} and {b.dtype}", attribute=name)


@rule("Loop")
def loop(
    trip_count: Setting | None = None,
    condition: Setting | None = None,
    *carried: Size,
    body: Body,
    results: int,
) -> Facts:
    """A body run up to `trip_count` times while its condition holds; results of every turn are stacked."""
    _check_single(trip_count, "M")
    _check_single(condition, "cond")
    _check_operands(body, 2 + len(carried))
    trips = None
    if isinstance(trip_count, Size) and trip_count.value is not None and trip_count.value_exact:
        trips = max(int(trip_count.value.reshape(-1)[0]), 0)
    if condition is not None and _truth(condition) is False:
        trips = 0
    run = body(Size((), INT64), Size((), BOOL), *map(_without_value, carried), repeat=trips)
    _check_results(run, 1 + max(results, len(carried)), "body")
    for place, (before, after) in enumerate(zip(carried, run.outputs[1:], strict=False)):
        _check_dtype(before, after, f"carried tensor {place}", "body")
    if not _goes_on(run, condition, body):
        trips = None
        run = Run(run.outputs, run.scene, None)
    count = len(carried)
    steady = all(map(_alike, carried, run.outputs[1 : 1 + count])) and None not in run.outputs[1:]
    turns = Turns(2, 2, 1, count, stacked=((0, False),) * (len(run.outputs) - 1 - count))
    if not steady and trips is not None and trips <= TURNS_LIMIT:
        return _turn_by_turn(trips, carried, body, turns)
    kept = run.outputs[1 : 1 + count] if steady else (None,) * count
    stacked = tuple(_stacked(size, trips, 0) for size in run.outputs[1 + count :])
    return Facts((*kept, *stacked), runs=(run,), turns=turns)


def _turn_by_turn(trips: int, carried: tuple[Size, ...], body: Body, turns: Turns) -> Facts:
    """Every turn described with its own counter and what the one before it left."""
    runs: list[Run] = []
    state: tuple[Known | None, ...] = carried
    rows: list[tuple[Known | None, ...]] = []
    for turn in range(trips):
        run = body(Size((), INT64, np.array(turn, np.int64)), Size((), BOOL, np.array(True)), *state)
        runs.append(run)
        state = run.outputs[1 : 1 + len(carried)]
        rows.append(run.outputs[1 + len(carried) :])
    scanned = (
        len(body(Size((), INT64), Size((), BOOL), *map(_without_value, carried)).outputs) - 1 - len(carried)
    )
    stacked = tuple(_stacked(_common([row[i] for row in rows]), trips, 0) for i in range(scanned))
    return Facts((*state, *stacked), runs=tuple(runs), turns=turns)


def _goes_on(run: Run, condition: Size | None, body: Body) -> bool:
    """Whether the body is sure to ask for the next turn: its first result is true, or is the condition it was given."""
    asked = _truth(run.outputs[0])
    if asked is not None or not (condition is None or _truth(condition)):
        return bool(asked)
    again = body(
        Size((), INT64), Size((), BOOL, np.array(True)), *(None,) * (len(body.inputs) - 2), unsure=True
    )
    return bool(_truth(again.outputs[0]))


def _truth(condition: Known | None) -> bool | None:
    """What a condition is known to be."""
    if not isinstance(condition, Size) or condition.value is None or not condition.value_exact:
        return None
    return bool(condition.value.any())


def _without_value(size: Known) -> Known:
    """What is known of a carried tensor at any turn."""
    return Size(size.shape, size.dtype, exact=size.exact) if isinstance(size, Size) else size


def _alike(a: Known, b: Known | None) -> bool:
    return isinstance(a, Size) and isinstance(b, Size) and a.shape == b.shape and a.dtype is b.dtype


def _common(sizes: list[Known | None]) -> Known | None:
    first = sizes[0] if sizes else None
    return (
        first
        if first is not None and all(size is not None and _alike(first, size) for size in sizes)
        else None
    )


def _stacked(size: Known | None, turns: int | None, axis: int) -> Size | None:
    """One row per turn along a new axis."""
    if not isinstance(size, Size) or turns is None:
        return None
    place = axis_of(axis, len(size.shape) + 1)
    return Size((*size.shape[:place], turns, *size.shape[place:]), size.dtype, exact=size.exact)


@rule("Scan", since=9)
def scan(
    *operands: Size,
    body: Body,
    num_scan_inputs: int,
    scan_input_axes: Ints | None = None,
    scan_input_directions: Ints | None = None,
    scan_output_axes: Ints | None = None,
    scan_output_directions: Ints | None = None,
    results: int,
) -> Facts:
    """A body run once per row of its scanned operands, with state carried along."""
    _check_scanned(operands, num_scan_inputs, body)
    _check_length(scan_input_axes, num_scan_inputs, "scan_input_axes")
    _check_length(scan_input_directions, num_scan_inputs, "scan_input_directions")
    states, scanned = operands[: len(operands) - num_scan_inputs], operands[len(operands) - num_scan_inputs :]
    axes = scan_input_axes or (0,) * len(scanned)
    turns, rows = _rows(scanned, axes)
    run = body(*map(_without_value, states), *rows, repeat=turns)
    _check_states(states, run, results)
    rows_made = run.outputs[len(states) :]
    _check_length(scan_output_axes, len(rows_made), "scan_output_axes")
    _check_length(scan_output_directions, len(rows_made), "scan_output_directions")
    places = scan_output_axes or (0,) * len(rows_made)
    stacked = tuple(_stacked(size, turns, place) for size, place in zip(rows_made, places, strict=True))
    steady = tuple(
        after if _alike(before, after) else None for before, after in zip(states, run.outputs, strict=False)
    )
    ways = (
        _ways(axes, scan_input_directions, [size.rank + 1 for size in rows if size is not None]),
        _ways(places, scan_output_directions, [size.rank for size in stacked if size is not None]),
    )
    sized = all(size is not None for size in (*rows, *stacked))
    turning = Turns(0, 0, 0, len(states), *ways) if sized else None
    return Facts((*steady, *stacked), runs=(run,), turns=turning)


def _ways(axes: Ints, directions: Ints | None, ranks: list[int]) -> tuple[tuple[int, bool], ...]:
    """Each axis, and whether it is gone through backwards."""
    backwards = directions or (0,) * len(axes)
    return tuple(
        (axis_of(axis, rank), bool(turned))
        for axis, turned, rank in zip(axes, backwards, ranks, strict=False)
    )


@rule("Scan", since=8, until=8)
def scan_batched(
    sequence_lens: Setting | None = None,
    *operands: Size,
    body: Body,
    directions: Ints | None = None,
    num_scan_inputs: int,
    results: int,
) -> Facts:
    """The first form: a batch in front of every operand, and the sequence next."""
    _check_scanned(operands, num_scan_inputs, body)
    _check_length(directions, num_scan_inputs, "directions")
    states, scanned = operands[: len(operands) - num_scan_inputs], operands[len(operands) - num_scan_inputs :]
    if not all(isinstance(size, Size) for size in operands):
        return Facts(None, None, None)  # sizes, cost: nothing is known
    batch, turns = scanned[0].shape[0], scanned[0].shape[1]
    rows = tuple(Size(size.shape[2:], size.dtype) for size in scanned)
    run = body(*(Size(size.shape[1:], size.dtype) for size in states), *rows, repeat=batch * turns)
    _check_states(states, run, results)
    kept = tuple(
        Size((batch, *size.shape), size.dtype) if isinstance(size, Size) else None for size in run.outputs
    )
    stacked = tuple(
        Size((batch, turns, *size.shape), size.dtype) if isinstance(size, Size) else None
        for size in run.outputs[len(states) :]
    )
    return Facts((*kept[: len(states)], *stacked), runs=(run,))


def _check_scanned(operands: tuple[Size, ...], scanned: int, body: Body) -> None:
    if not 0 < scanned <= len(operands):
        raise refuse(
            "MISSING_OPERAND",
            f"num_scan_inputs is {scanned}, there are {len(operands)} operands",
            attribute="num_scan_inputs",
        )
    _check_operands(body, len(operands))


def _check_length(given: Ints | None, count: int, name: str) -> None:
    if given and len(given) != count:
        raise refuse(
            "ATTRIBUTE_LENGTH", f"{name} has {len(given)} entries, {count} are needed", attribute=name
        )


def _check_states(states: tuple[Size, ...], run: Run, results: int) -> None:
    """A state leaves the body as what it was; what else the body gives is stacked."""
    _check_results(run, max(results, len(states)), "body")
    for place, (before, after) in enumerate(zip(states, run.outputs, strict=False)):
        _check_dtype(before, after, f"state {place}", "body")


def _rows(scanned: tuple[Known, ...], axes: Ints) -> tuple[int | None, tuple[Size | None, ...]]:
    """The number of turns, and what one turn sees of each scanned operand; None where an operand's size is not
    known.
    """
    lengths: list[int] = []
    rows: list[Size | None] = []
    for size, given in zip(scanned, axes, strict=True):
        if not isinstance(size, Size):
            rows.append(None)
            continue
        axis = axis_of(given, len(size.shape))
        lengths.append(size.shape[axis])
        rows.append(Size((*size.shape[:axis], *size.shape[axis + 1 :]), size.dtype, exact=size.exact))
    if len(set(lengths)) > 1:
        raise refuse("SCAN_LENGTH", f"scanned operands have lengths {lengths}", attribute="scan_input_axes")
    return lengths[0] if lengths else None, tuple(rows)


@rule("SequenceMap", since=17)
def sequence_map(sequence: Size, *others: Size, body: Body) -> Facts:
    """A body run once per element of a sequence."""
    first: Known = sequence
    if not isinstance(first, Sequence) or first.items is None:
        return Facts(None)
    runs = []
    for index, item in enumerate(first.items):
        rest = [
            other.items[index] if isinstance(other, Sequence) and other.items is not None else other
            for other in others
        ]
        runs.append(body(item, *rest))
    width = len(runs[0].outputs) if runs else 0
    columns = [[run.outputs[i] for run in runs] for i in range(width)]
    outputs = tuple(
        Sequence(tuple(size for size in column if isinstance(size, Size)))
        if all(isinstance(size, Size) for size in column)
        else None
        for column in columns
    )
    return Facts(outputs or Sequence(()), runs=tuple(runs))
