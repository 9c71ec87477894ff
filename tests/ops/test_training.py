"""Steps of an optimiser: sizes are those of onnx's reference, steps are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator

from analyzer.graph import Size
from tests.ops.runtime import check_named, facts_of, floats, model_of, scene_of

DOMAIN = "ai.onnx.preview.training"
RATE, COUNT = np.float32(0.1), np.int64(3)
X, Z = floats(2, 3) + 1, floats(4) + 1

OPTIMISERS: list[tuple[str, int, dict[str, Any], int]] = [
    ("Adagrad", 3, {"norm_coefficient": 0.1, "decay_factor": 0.1, "epsilon": 0.1}, 9),
    ("Adam", 4, {"norm_coefficient": 0.1, "alpha": 0.9, "beta": 0.9, "epsilon": 0.1}, 15),
    ("Momentum", 3, {"norm_coefficient": 0.1, "alpha": 0.9, "beta": 0.9, "mode": "standard"}, 7),
    ("Momentum", 3, {"norm_coefficient": 0.1, "alpha": 0.9, "beta": 0.9, "mode": "nesterov"}, 9),
]


@pytest.mark.parametrize(("op_type", "kinds", "attributes", "steps"), OPTIMISERS)
@pytest.mark.parametrize("parameters", [(X,), (X, Z)])
def test_a_step_gives_all_but_the_gradients(
    op_type: str, kinds: int, attributes: dict[str, Any], steps: int, parameters: tuple[Any, ...]
) -> None:
    """Parameters first, then what the optimiser remembers, kind by kind; each parameter costs its steps."""
    options: dict[str, Any] = {
        "domain": DOMAIN,
        "results": (kinds - 1) * len(parameters),
        "opset": 17,
        **attributes,
    }
    operands = (RATE, COUNT, *(parameters * kinds))
    model, feeds = model_of(op_type, *operands, fed=(0, 1), **options)
    scene = scene_of(model)
    for index, real in enumerate(ReferenceEvaluator(model).run(None, feeds)):
        size = scene.size(f"y{index}")
        assert size is not None
        assert (size.shape, size.dtype.name) == (real.shape, "float32")  # the reference may widen
    facts = facts_of(op_type, *operands, **options)
    assert facts.elementwise == steps * sum(x.size for x in parameters)


def test_tensors_come_in_whole_kinds() -> None:
    """Two tensors are not parameters, gradients and squares."""
    check_named("MISSING_OPERAND", "Adagrad", RATE, COUNT, X, X, domain=DOMAIN)
    check_named(
        "MODE", "Momentum", RATE, COUNT, X, X, X, domain=DOMAIN, **{**OPTIMISERS[2][2], "mode": "fast"}
    )


def test_what_a_gradient_costs_is_not_known() -> None:
    """Its sizes are: those of what it is taken by."""
    facts = facts_of("Gradient", X, Z, domain=DOMAIN, results=1, xs=["x"], zs=["z"], y="y")
    assert (facts.macs, facts.elementwise) == (None, None)
    assert isinstance(facts.outputs, tuple)
    assert [size.shape for size in facts.outputs if isinstance(size, Size)] == [(2, 3)]
