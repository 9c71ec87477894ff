"""Steps of an optimiser, and a gradient. elementwise: each multiplication, addition, root or division per parameter.

What a gradient costs depends on the graph between its tensors, which is not told here: its work is not known.
"""

from __future__ import annotations

from analyzer.graph import Size
from analyzer.ops.rule import Facts, Setting, refuse, rule
from analyzer.spans import POINTWISE

DOMAIN = "ai.onnx.preview.training"


@rule("Adagrad", domain=DOMAIN)
def adagrad(
    rate: Setting,
    count: Setting,
    first: Size,
    *rest: Size,
    decay_factor: float = 0.0,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
) -> Facts:
    """Parameters, gradients and sums of squares -> parameters and sums of squares. 9 steps."""
    return _step((first, *rest), ("parameter", "gradient", "square"), ("parameter", "square"), 9)


@rule("Adam", domain=DOMAIN)
def adam(
    rate: Setting,
    count: Setting,
    first: Size,
    *rest: Size,
    alpha: float = 0.9,
    beta: float = 0.999,
    epsilon: float = 1e-6,
    norm_coefficient: float = 0.0,
    norm_coefficient_post: float = 0.0,
) -> Facts:
    """Parameters, gradients, means and mean squares -> all but the gradients. 15 steps."""
    return _step(
        (first, *rest), ("parameter", "gradient", "mean", "square"), ("parameter", "mean", "square"), 15
    )


@rule("Momentum", domain=DOMAIN)
def momentum(
    rate: Setting,
    count: Setting,
    first: Size,
    *rest: Size,
    alpha: float,
    beta: float,
    mode: str,
    norm_coefficient: float,
) -> Facts:
    """Parameters, gradients and velocities -> parameters and velocities. 7 steps, with Nesterov's look ahead 9."""
    if mode not in ("standard", "nesterov"):
        raise refuse("MODE", f"mode {mode!r} is neither standard nor nesterov", attribute="mode")
    steps = 7 if mode == "standard" else 9
    return _step((first, *rest), ("parameter", "gradient", "velocity"), ("parameter", "velocity"), steps)


def _step(tensors: tuple[Size, ...], kinds: tuple[str, ...], kept: tuple[str, ...], steps: int) -> Facts:
    """Operands come kind by kind, results too."""
    each, rest = divmod(len(tensors), len(kinds))
    if rest:
        raise refuse("MISSING_OPERAND", f"{len(tensors)} tensors are not {', '.join(kinds)} each")
    groups = {kind: tensors[index * each : (index + 1) * each] for index, kind in enumerate(kinds)}
    outputs = tuple(Size(x.shape, x.dtype) for kind in kept for x in groups[kind])
    work = steps * sum(x.count for x in groups["parameter"])
    return Facts(outputs, elementwise=work, spans=POINTWISE)


@rule("Gradient", domain=DOMAIN)
def gradient(
    first: Size, *rest: Size, xs: tuple[str, ...], y: str, zs: tuple[str, ...] | None = None
) -> Facts:
    """The gradient of y by each of `xs`, of its size; the first operands are the values of `xs`."""
    return Facts(
        tuple(Size(x.shape, x.dtype) for x in (first, *rest)[: len(xs)]), macs=None, elementwise=None
    )
