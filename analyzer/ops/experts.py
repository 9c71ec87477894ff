"""Mixtures of experts: every token goes through its best few of many two-layer networks.

macs: for each token `k` experts, each with two weights, three if gated apart. elementwise: 5 for each router
score (softmax), 5 for each hidden activation, and 2 for each element of an expert's result (weighed and
summed). Which expert serves which token is the data's to say, how many is not. Autograd keeps the tokens as
they were sorted to experts, the hidden layer before and after its activation, the experts' results and the
router's probabilities.
"""

from __future__ import annotations

import math

from analyzer.graph import Size
from analyzer.ops.rule import MICROSOFT, Buffer, Facts, Weight, refuse, rule
from analyzer.spans import WHOLE, Route, Span


def _mixed(x: Size, router: Size, sizes: tuple[int, ...], hidden: int, k: int) -> Facts:
    """x [tokens, channels] or [batch, tokens, channels], router [tokens, experts]; `sizes`: elements of an
    expert's weights, `hidden`: of its hidden layer.
    """
    experts = router.shape[-1]
    if not 1 <= k <= experts:
        raise refuse("EXPERTS", f"{k} of {experts} experts cannot be chosen", attribute="k")
    y = Size(x.shape, x.dtype)
    calls = math.prod(x.shape[:-1]) * k
    own: Span = (*(Route(axis) for axis in range(len(x.shape) - 1)), WHOLE)
    scores: Span = (Route(0), WHOLE) if len(x.shape) == 2 else (WHOLE, WHOLE)
    sorted_, result = (Size((calls, x.shape[-1]), x.dtype) for _ in range(2))
    layers = (Size((calls, hidden), x.dtype), Size((calls, hidden), x.dtype))
    return Facts(
        y,
        macs=calls * sum(sizes),
        elementwise=5 * router.count + calls * (5 * hidden + 2 * x.shape[-1]),
        spans=(own, scores, (WHOLE, WHOLE, WHOLE)),
        saved=(sorted_, *layers, result, Size(router.shape, router.dtype)),
    )


def _each(weight: Size | None, bits: int, experts: int) -> int:
    """Elements of one expert's weight, of which a byte may pack several."""
    if weight is None:
        return 0
    if not weight.shape or weight.shape[0] != experts:
        raise refuse("EXPERTS", f"weight {weight.shape} does not hold {experts} experts")
    stored = weight.dtype.bits or bits
    return math.prod(weight.shape[1:]) * (stored // bits if stored > bits else 1)


@rule("MoE", domain=MICROSOFT)
def mixture_of_experts(
    x: Size,
    router_probs: Size,
    fc1_experts_weights: Size,
    fc1_experts_bias: Size | None = None,
    fc2_experts_weights: Size | None = None,
    fc2_experts_bias: Size | None = None,
    fc3_experts_weights: Size | None = None,
    fc3_experts_bias: Size | None = None,
    *,
    activation_alpha: float = 1.0,
    activation_beta: float = 0.0,
    activation_type: str = "relu",
    k: int = 1,
    normalize_routing_weights: int = 0,
    swiglu_fusion: int = 0,
    swiglu_limit: float | None = None,
    swiglu_limit_after_activation: int = 0,
    use_sparse_mixer: int = 0,
) -> Facts:
    """Weights [experts, ...], either way round."""
    weights = (fc1_experts_weights, fc2_experts_weights, fc3_experts_weights)
    experts = router_probs.shape[-1]
    sizes = tuple(_each(weight, weight.dtype.bits or 8, experts) for weight in weights if weight is not None)
    return _mixed(x, router_probs, sizes, sizes[0] // x.shape[-1], k)


@rule("QMoE", domain=MICROSOFT)
def quantized_mixture_of_experts(
    x: Size,
    router_probs: Size,
    fc1_experts_weights: Weight,
    fc1_scales: Buffer | None = None,
    fc1_experts_bias: Size | None = None,
    fc2_experts_weights: Weight | None = None,
    fc2_scales: Buffer | None = None,
    fc2_experts_bias: Size | None = None,
    fc3_experts_weights: Weight | None = None,
    fc3_scales: Buffer | None = None,
    fc3_experts_bias: Size | None = None,
    fc1_zero_points: Buffer | None = None,
    fc2_zero_points: Buffer | None = None,
    fc3_zero_points: Buffer | None = None,
    router_weights: Size | None = None,
    fc1_global_scale: Buffer | None = None,
    fc2_global_scale: Buffer | None = None,
    fc1_act_scale: Buffer | None = None,
    fc2_act_scale: Buffer | None = None,
    fc1_act_block_scale: Buffer | None = None,
    fc2_act_block_scale: Buffer | None = None,
    *,
    accuracy_level: int = 0,
    activation_alpha: float = 1.0,
    activation_beta: float = 0.0,
    activation_type: str = "relu",
    block_size: int | None = None,
    expert_weight_bits: int = 4,
    fc1_expert_weight_bits: int = 0,
    fc2_expert_weight_bits: int = 0,
    fc3_expert_weight_bits: int = 0,
    k: int = 1,
    normalize_routing_weights: int = 0,
    quant_type: str = "int",
    swiglu_fusion: int = 0,
    swiglu_limit: float | None = None,
    swiglu_limit_after_activation: int = 0,
    use_sparse_mixer: int = 0,
    weights_prepacked: int = -1,
) -> Facts:
    """Weights of `expert_weight_bits`, packed into bytes. Nothing flows back."""
    experts = router_probs.shape[-1]
    packed = (
        (fc1_experts_weights, fc1_expert_weight_bits),
        (fc2_experts_weights, fc2_expert_weight_bits),
        (fc3_experts_weights, fc3_expert_weight_bits),
    )
    sizes = tuple(_each(weight, bits or expert_weight_bits, experts) for weight, bits in packed)
    said = _mixed(x, router_probs, sizes, sizes[0] // x.shape[-1], k)
    return Facts(said.outputs, macs=said.macs, elementwise=said.elementwise, spans=said.spans)
