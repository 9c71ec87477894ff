"""Recurrent layers: LSTM, GRU, RNN.

macs: each gate takes input and last state through a weight each, for every step, row and direction; bias is
excluded. elementwise, for each element of a state and step: RNN 2 (sum, tanh); GRU 17 (3 sums, two sigmoids
of 4, tanh, reset 1, blend 4); LSTM 22 (4 sums, three sigmoids of 4, two tanh, 3 products and a sum) and 6
more with peepholes. Other activations count as those do.

Autograd keeps what torch's own cells keep on CPU, oneDNN left out: the input, and of every step the last
state, the gates, and what else the cell multiplies: 1 state for RNN (the first too), 7 for GRU and for LSTM. Each
direction takes the input as one matrix of all steps; the weights are parameters, however they were stacked.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Kept, Setting, refuse, rule
from analyzer.spans import NOTHING, WHOLE, Abreast, Each, Read, Route, Span

Floats = tuple[float, ...]
Strings = tuple[str, ...]
States = tuple[tuple[str, Size | None], ...]
ACTIVATIONS = {
    "affine", "elu", "hardsigmoid", "leakyrelu", "relu", "scaledtanh", "sigmoid", "softplus", "softsign", "tanh",
    "thresholdedrelu",
}  # fmt: skip


def _layer(
    x: Size,
    w: Size,
    r: Size,
    gates: int,
    steps: int,
    kept: int,
    initial: int,
    direction: str,
    hidden: int | None,
    layout: int,
    activations: Strings | None,
    b: Size | None,
    lengths: Size | None,
    states: States,
    peepholes: Size | None = None,
) -> Facts:
    """x [time, batch, inputs], w [directions, gates x hidden, inputs], r [directions, gates x hidden,
    hidden]; or x [batch, time, inputs] in layout 1. There are `initial` results behind the first, one for each of
    `states`.
    """
    if len(x.shape) != 3:
        raise refuse("RANK", f"input {x.shape} must be [time, batch, inputs]")
    directions = 2 if direction == "bidirectional" else 1
    if direction not in ("forward", "reverse", "bidirectional"):
        raise refuse("DIRECTION", f"direction {direction!r} is unknown", attribute="direction")
    if hidden is None:
        raise refuse("MISSING_ATTRIBUTE", "attribute hidden_size is missing", attribute="hidden_size")
    if layout not in (0, 1):
        raise refuse("MODE", f"layout {layout} is neither 0 nor 1", attribute="layout")
    unknown = [name for name in activations or () if name.lower() not in ACTIVATIONS]
    if unknown:
        raise refuse("MODE", f"activation {unknown[0]!r} is unknown", attribute="activations")
    time, batch, inputs = (x.shape[1], x.shape[0], x.shape[2]) if layout else x.shape
    if layout:
        every, last = (batch, time, directions, hidden), (batch, directions, hidden)
    else:
        every, last = (time, directions, batch, hidden), (directions, batch, hidden)
    wanted = (
        ("W", w, (directions, gates * hidden, inputs)),
        ("R", r, (directions, gates * hidden, hidden)),
        ("B", b, (directions, 2 * gates * hidden)),
        ("P", peepholes, (directions, 3 * hidden)),
        ("sequence_lens", lengths, (batch,)),
        *((name, state, last) for name, state in states),
    )
    for name, size, shape in wanted:
        if size is not None and size.shape != shape:
            raise refuse(
                "WEIGHT_SHAPE",
                f"{name} is {size.shape}, {direction} layers of {hidden} on {x.shape} need {shape}",
                attribute="hidden_size" if name in ("W", "R") else name,
            )
    cells = time * batch * directions
    order = (1, 0, 2) if layout else None
    given = Kept(x, order=order, folded=((time, batch, inputs), (time * batch, inputs)))
    first = batch * directions if kept == 1 else 0
    steps_kept = Size((cells * kept + first, hidden), x.dtype)
    reserve, beside = _fused(x, w, r, cells, steps_kept) if gates == _FUSED_GATES else (0, 0)
    return Facts(
        (Size(every, x.dtype), *(Size(last, x.dtype) for _ in range(initial))),
        macs=cells * gates * hidden * (inputs + hidden),
        elementwise=cells * hidden * steps,
        spans=_spans(direction, layout, initial),
        exact={0: lambda: _both_ways(layout)} if directions == 2 else None,
        saved=(*(given,) * directions, steps_kept),
        workspace=(beside, beside),
        reserve=reserve,
    )


_FUSED_GATES = 4
"""Layers of so many gates are one kernel of oneDNN in PyTorch on a CPU, the others a loop of small ones."""


def _fused(x: Size, w: Size, r: Size, cells: int, steps: Size) -> tuple[int, int]:
    """Bytes that the kernel holds for its way back beyond `steps`, and those beside: weights once more, and gates.

    For each cell its gates, four rows of the hidden size and seven of the wider of input and hidden size, each filled
    up to an odd number of cache lines. Fitted to ten layers: up to 8% above what was measured.
    """
    width, hidden, inputs = (x.dtype.bits or 0) // 8, r.shape[2], x.shape[2]
    row = _filled(4 * hidden, width) + 4 * _filled(hidden, width) + 7 * _filled(max(hidden, inputs), width)
    held = cells * (row + hidden * width) - (steps.bytes or 0)
    directions = w.shape[0]
    return max(held, 0), (w.count + r.count + 4 * cells * hidden) * width // directions


def _filled(length: int, width: int) -> int:
    """Bytes of a row whose length is no multiple of four cache lines."""
    lines = -(-length * width // 64)
    return 64 * (lines + (lines % 4 == 0))


def _spans(direction: str, layout: int, initial: int) -> Each:
    """A step sees all before it, all after it, or both, and the last state sees all; rows of the batch keep
    apart.
    """
    axis = 1 if layout else 0
    seen = {"forward": Read("prefix", axis), "reverse": Read("suffix", axis)}.get(direction, WHOLE)
    every = _reads(seen, Route(0 if layout else 2), layout, initial, 2 if layout else 1)
    last = _reads(WHOLE, Route(0 if layout else 1), layout, initial, 1 if layout else 0)
    return Each((every, *(last,) * initial))


def _reads(steps: Read, rows: Route, layout: int, initial: int, direction: int) -> tuple[Span, ...]:
    """Input, both weights, bias, lengths, initial states, peepholes; each direction, an axis of the result, reads what
    is its own.
    """
    own = Route(direction)
    x = (rows, steps, WHOLE) if layout else (steps, rows, WHOLE)
    state = (rows, own, WHOLE) if layout else (own, rows, WHOLE)
    weight = (own, WHOLE, WHOLE)
    return (x, weight, weight, weight[:2], NOTHING, *(state,) * initial, weight[:2])


def _both_ways(layout: int) -> Abreast:
    """What the two directions of every step read of the input."""
    axis, rows = (1, Route(0)) if layout else (0, Route(2))
    ways = (Read("prefix", axis), Read("suffix", axis))
    return Abreast(axis + 1, tuple((rows, way, WHOLE) if layout else (way, rows, WHOLE) for way in ways))


@rule("RNN", since=7)
def rnn(
    x: Size,
    w: Size,
    r: Size,
    b: Size | None = None,
    sequence_lens: Setting | None = None,
    initial_h: Size | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Strings = ("Tanh", "Tanh"),
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
) -> Facts:
    """Results: the state of every step, and the last one."""
    states = (("initial_h", initial_h),)
    return _layer(
        x, w, r, 1, 2, 1, 1, direction, hidden_size, layout, activations, b, sequence_lens, states
    )  # fmt: skip


@rule("GRU", since=7)
def gru(
    x: Size,
    w: Size,
    r: Size,
    b: Size | None = None,
    sequence_lens: Setting | None = None,
    initial_h: Size | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Strings | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    layout: int = 0,
    linear_before_reset: int = 0,
) -> Facts:
    """Gates update, reset, hidden. Results: the state of every step, and the last one."""
    states = (("initial_h", initial_h),)
    return _layer(
        x, w, r, 3, 17, 7, 1, direction, hidden_size, layout, activations, b, sequence_lens, states
    )  # fmt: skip


@rule("LSTM", since=7)
def lstm(
    x: Size,
    w: Size,
    r: Size,
    b: Size | None = None,
    sequence_lens: Setting | None = None,
    initial_h: Size | None = None,
    initial_c: Size | None = None,
    p: Size | None = None,
    *,
    activation_alpha: Floats | None = None,
    activation_beta: Floats | None = None,
    activations: Strings | None = None,
    clip: float | None = None,
    direction: str = "forward",
    hidden_size: int | None = None,
    input_forget: int = 0,
    layout: int = 0,
) -> Facts:
    """Gates input, output, forget, cell. Results: every step's state, the last one, the last cell."""
    states, steps = (("initial_h", initial_h), ("initial_c", initial_c)), 28 if p is not None else 22
    return _layer(
        x, w, r, 4, steps, 7, 2, direction, hidden_size, layout, activations, b, sequence_lens, states, p
    )  # fmt: skip
