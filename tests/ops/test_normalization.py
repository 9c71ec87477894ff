"""Normalisation and softmax: sizes are onnxruntime's, steps and what autograd keeps are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.spans import WHOLE, Affine, Route
from tests.ops.reading import span_of
from tests.ops.runtime import Array, check, check_refused, facts_of, floats

X = floats(2, 6, 4, 4)
VECTOR = np.ones(6, np.float32)


def kept(facts: Any) -> list[tuple[int, ...]]:
    """Shapes of what autograd keeps."""
    return [size.shape for size in facts.saved]


@pytest.mark.parametrize("opset", [7, 9, 14, 15])
def test_batch_norm_keeps_its_input_and_scale(opset: int) -> None:
    """Four steps per element at inference; two vectors more where such a graph is trained."""
    check("BatchNormalization", X, VECTOR, VECTOR, VECTOR, VECTOR, opset=opset)
    facts = facts_of("BatchNormalization", X, VECTOR, VECTOR, VECTOR, VECTOR, opset=opset)
    assert facts.elementwise == 4 * X.size
    assert kept(facts) == [X.shape, (6,), (6,), (6,)]


def test_batch_norm_trains_where_it_is_told() -> None:
    """By an attribute since opset 14, by its outputs before: then the batch is read whole, and two vectors are kept."""
    check("BatchNormalization", X, VECTOR, VECTOR, VECTOR, VECTOR, opset=14, results=3, training_mode=1)
    check("BatchNormalization", X, VECTOR, VECTOR, VECTOR, VECTOR, opset=9, results=5)
    for options in ({"opset": 14, "training_mode": 1}, {"opset": 9, "results": 5}):
        facts = facts_of("BatchNormalization", X, VECTOR, VECTOR, VECTOR, VECTOR, **options)
        assert kept(facts) == [X.shape, (6,), (6,), (6,)]
        assert span_of(facts, 0) == (WHOLE, Route(1), WHOLE, WHOLE)


def test_batch_norm_had_numbers_for_each_element_once() -> None:
    """`spatial=0`, until opset 8."""
    each = np.ones((6, 4, 4), np.float32)
    check("BatchNormalization", X, each, each, each, each, opset=7, spatial=0)


@pytest.mark.parametrize("shape", [(3,), (2, 6), (2, 6, 1)])
def test_batch_norm_takes_any_rank(shape: tuple[int, ...]) -> None:
    """A vector has one channel."""
    vector = np.ones(shape[1] if len(shape) > 1 else 1, np.float32)
    check("BatchNormalization", floats(*shape), vector, vector, vector, vector, opset=15)


LAYERS: list[tuple[Array, Array, int]] = [
    (floats(2, 3, 4), np.ones(4, np.float32), -1),
    (floats(2, 3, 4), np.ones((3, 4), np.float32), 1),
    (floats(2, 3, 4), np.ones(1, np.float32), -1),
    (floats(2, 3, 4), np.ones((3, 1), np.float32), 1),
    (floats(2, 3, 4).astype(np.float64), np.ones(4), -1),
    (floats(2, 3, 4).astype(np.float16), np.ones(4, np.float16), 2),
    (floats(5), np.ones(5, np.float32), 0),
]


@pytest.mark.parametrize(("x", "scale", "axis"), LAYERS)
def test_layer_norm_gives_mean_and_deviation_too(x: Array, scale: Array, axis: int) -> None:
    """In single precision, whatever the input's type is; seven steps per element."""
    check("LayerNormalization", x, scale, opset=17, results=3, axis=axis)
    check("LayerNormalization", x, scale, scale, opset=17, axis=axis)
    assert facts_of("LayerNormalization", x, scale, opset=17, axis=axis).elementwise == 7 * x.size


def test_instance_norm_is_over_the_plane() -> None:
    """Autograd keeps the input, and for each plane a mean, a deviation and a scale of its own."""
    check("InstanceNormalization", X, VECTOR, VECTOR)
    facts = facts_of("InstanceNormalization", X, VECTOR, VECTOR)
    assert kept(facts) == [X.shape, (2, 6), (2, 6), (6,), (2, 6)]
    assert span_of(facts, 0) == (Route(0), Route(1), WHOLE, WHOLE)


@pytest.mark.parametrize(("opset", "scale"), [(18, 3), (21, 6)])
def test_group_norm_is_over_a_group_of_channels(opset: int, scale: int) -> None:
    """Three groups of two: channels 2g and 2g+1 read both. Scale is per group first, per channel later."""
    vector = np.ones(scale, np.float32)
    check("GroupNormalization", X, vector, vector, opset=opset, num_groups=3)
    facts = facts_of("GroupNormalization", X, vector, vector, opset=opset, num_groups=3)
    assert kept(facts) == [X.shape, (2, 3), (2, 3), (scale,)]
    assert span_of(facts, 0) == (Route(0), Route(1, Affine(2, 2, (0, 0), (1, 1))), WHOLE, WHOLE)


def test_local_response_reads_neighbouring_channels() -> None:
    """A window of five channels is ten steps, and three more scale, raise and divide."""
    check("LRN", X, size=5)
    facts = facts_of("LRN", X, size=5)
    assert facts.elementwise == 13 * X.size
    assert span_of(facts, 0) == (Route(0), Route(1, Affine(1, 1, (-2,), (2,))), Route(2), Route(3))


@pytest.mark.parametrize(("op_type", "steps"), [("Softmax", 5), ("LogSoftmax", 6), ("Hardmax", 1)])
def test_softmax_is_along_one_axis_and_was_along_all_after_it(op_type: str, steps: int) -> None:
    """Since opset 13 an axis is only itself; the default moved from 1 to the last."""
    for opset, axis, read in (
        (7, None, (1, 2)),
        (12, 2, (2,)),
        (11, -2, (1, 2)),
        (13, None, (2,)),
        (13, 1, (1,)),
    ):
        attributes = {} if axis is None else {"axis": axis}
        check(op_type, floats(2, 3, 4), opset=opset, **attributes)  # type: ignore[arg-type]  # spread over all keywords
        facts = facts_of(op_type, floats(2, 3, 4), opset=opset, **attributes)
        assert facts.elementwise == steps * 24
        assert tuple(place for place, route in enumerate(span_of(facts, 0)) if route == WHOLE) == read


@pytest.mark.parametrize("p", [1, 2])
@pytest.mark.parametrize("axis", [0, -1])
def test_a_norm_is_divided_by(p: int, axis: int) -> None:
    """Power, sum and divide are three steps per element; the norms are kept."""
    check("LpNormalization", floats(2, 3), axis=axis, p=p)
    facts = facts_of("LpNormalization", floats(2, 3), axis=axis, p=p)
    assert facts.elementwise == 18
    assert kept(facts) == [(2, 3), (1, 3) if axis == 0 else (2, 1)]


@pytest.mark.parametrize("opset", [9, 13])
def test_mean_and_variance_are_taken_over_axes(opset: int) -> None:
    """By default all but the channels."""
    check("MeanVarianceNormalization", X, opset=opset)
    check("MeanVarianceNormalization", floats(2, 3), opset=opset, axes=[-1])
    facts = facts_of("MeanVarianceNormalization", X, opset=opset)
    assert facts.elementwise == 5 * X.size
    assert span_of(facts, 0) == (WHOLE, Route(1), WHOLE, WHOLE)


REFUSED: list[tuple[str, str, tuple[Array, ...], dict[str, Any]]] = [
    ("CHANNEL_MISMATCH", "BatchNormalization", (X, *(np.ones(4, np.float32),) * 4), {}),
    ("CHANNEL_MISMATCH", "BatchNormalization", (X, VECTOR, VECTOR, VECTOR, np.ones(4, np.float32)), {}),
    ("CHANNEL_MISMATCH", "InstanceNormalization", (X, np.ones(2, np.float32), np.ones(2, np.float32)), {}),
    ("RANK", "InstanceNormalization", (floats(2, 6), VECTOR, VECTOR), {}),
    ("GROUP", "GroupNormalization", (X, np.ones(4, np.float32), np.ones(4, np.float32)), {"num_groups": 4}),
    ("SHAPES_DO_NOT_BROADCAST", "LayerNormalization", (floats(2, 4), np.ones(5, np.float32)), {}),
    ("AXIS_OUT_OF_RANGE", "Softmax", (floats(2, 3),), {"axis": 2}),
    ("AXIS_OUT_OF_RANGE", "Softmax", (floats(),), {}),
    ("NORM_ORDER", "LpNormalization", (floats(2, 3),), {"p": 3}),
]  # fmt: skip


@pytest.mark.parametrize(("reason", "op_type", "operands", "attributes"), REFUSED)
def test_what_no_runtime_could_run_is_refused(
    reason: str, op_type: str, operands: tuple[Array, ...], attributes: dict[str, Any]
) -> None:
    """With a reason; onnxruntime is held to its refusal."""
    check_refused(reason, op_type, *operands, **attributes)
