"""What If, Loop and Scan do around the bodies that they run (`core/providers/cpu/controlflow`).

Every run of a body is a frame of its own, with a pattern of its own from the second run on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from analyzer.runtime.frame import Buffer, Flow, Frame, Provider, storage_bytes
from analyzer.runtime.planner import Body, Step, Value

COUNTER_BYTES, CONDITION_BYTES = 8, 1


def branch(frame: Frame, step: Step) -> None:
    """If: a result of known shape is there before the branch runs, another one from when the branch makes it."""
    taken = next((body for body in step.bodies if body.trips), None)
    if taken is None:
        return
    provided: dict[str, Provider] = {}
    for inner, outer in zip(taken.block.outputs, step.outputs, strict=True):
        if outer:
            provided[inner] = partial(frame.allocate, outer)
            if _settled(taken.block.values.get(inner)):
                frame.allocate(outer)
    _drop(frame, _run(frame, step, taken, (), provided))


def loop(frame: Frame, step: Step) -> None:
    """Loop: results of an iteration are kept until the next one has read them, those to be concatenated until the end;
    then everything is copied.
    """
    replay, (body,) = frame.replay, step.bodies
    condition, counter = replay.take(CONDITION_BYTES), replay.take(COUNTER_BYTES)
    fed = [counter, condition, *(frame.lend(name) for name in step.inputs[2:])]
    kept: list[Buffer] = []
    fetched: list[Buffer] = []
    for trip in range(body.trips):
        if trip:
            _drop(frame, fed[1:])
            fed[1:], rest = fetched[: len(fed) - 1], fetched[len(fed) - 1 :]
            kept += rest
        fetched = _run(frame, step, body, fed, {})
    for name in filter(None, step.outputs):
        frame.allocate(name)
    _drop(frame, (*fed, *kept, *fetched))


def scan(frame: Frame, step: Step) -> None:
    """Scan: states go to and fro between two buffers and end in the result; any other result is there as a whole from
    the first iteration on, first in a buffer of its own where it is to be transposed.
    """
    replay, (body,), call = frame.replay, step.bodies, step.call
    states = len(step.inputs) - int(call.attributes["num_scan_inputs"])
    turned_in = (0,) * states + tuple(call.attributes.get("scan_input_axes", ()))
    turned_out = (0,) * states + tuple(call.attributes.get("scan_output_axes", ()))
    temporary = [
        replay.take(storage_bytes(size)) for size, axis in zip(call.inputs, turned_in, strict=False) if axis
    ]
    results: dict[str, Provider] = {}
    for place, (inner, outer) in enumerate(zip(body.block.outputs, step.outputs, strict=True)):
        if any(turned_out[place : place + 1]):
            temporary.append(replay.take(storage_bytes(call.outputs[place])))
            results[inner] = partial(_same, temporary[-1])
        else:
            results[inner] = partial(frame.allocate, outer)
            if place < states or _settled(body.block.values.get(inner)):
                frame.allocate(outer)
    pairs = [
        [replay.take(storage_bytes(size)) for _ in range(min(body.trips - 1, 2))]
        for size in call.inputs[:states]
    ]
    fed = [frame.lend(name) for name in step.inputs[:states]]
    temporary += [buffer for buffers in (fed, *pairs) for buffer in buffers]
    for trip in range(body.trips):
        provided = dict(results)
        if trip + 1 < body.trips:
            for inner, pair in zip(body.block.outputs, pairs, strict=False):
                provided[inner] = partial(_same, pair[trip % 2])
        _drop(frame, _run(frame, step, body, fed, provided))
        fed = [pair[trip % 2] for pair in pairs if trip + 1 < body.trips]
    for name in filter(None, step.outputs):
        frame.allocate(name)
    _drop(frame, temporary)


FLOWS: Mapping[str, Flow] = {"If": branch, "Loop": loop, "Scan": scan}


def _run(
    frame: Frame, step: Step, body: Body, fed: Sequence[Buffer], provided: Mapping[str, Provider]
) -> list[Buffer]:
    """Run a body once; its outputs' buffers, held for whoever asked."""
    lent = {name: frame.buffers[name] for name in step.captures if name in frame.buffers}
    inside = Frame(
        frame.replay,
        body.block,
        {**lent, **dict(zip(body.block.inputs, fed, strict=False))},
        provided,
    )
    inside.run()
    return inside.leave()


def _same(buffer: Buffer) -> Buffer:
    return buffer


def _settled(value: Value | None) -> bool:
    """Whether a body's output has a shape that is known before it runs."""
    return value is not None and value.dims is not None and all(isinstance(dim, int) for dim in value.dims)


def _drop(frame: Frame, buffers: Sequence[Buffer]) -> None:
    for buffer in buffers:
        frame.replay.drop(buffer)
