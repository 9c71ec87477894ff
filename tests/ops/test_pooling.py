"""Windows of pools and convolutions against onnxruntime, attribute by attribute over a random table."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import pytest

from analyzer.ops.shared.sliding import slide
from analyzer.spans import Route
from tests.ops.kept import kept
from tests.ops.lone import Lone, inside

SINCE = {
    "ceil_mode": {"MaxPool": 10, "AveragePool": 10, "LpPool": 18},
    "dilations": {"MaxPool": 10, "AveragePool": 19, "LpPool": 18},
}
"""The opset in which a pool got an attribute."""

UNRUN = "padding values must be non-negative"
"""What onnxruntime's kernels do not run, though it is well defined: a stride beyond the kernel under SAME_*."""


def some_pool(seed: int) -> tuple[Lone, int]:
    """A pool over one axis, with whatever attributes its opset has, and the axis's rows."""
    rng = random.Random(seed)
    op_type, opset = (
        rng.choice(["MaxPool", "AveragePool", "LpPool"]),
        rng.choice([7, 8, 10, 11, 12, 18, 19, 21, 22]),
    )
    rows, kernel = rng.randint(1, 14), rng.randint(1, 5)
    attributes: dict[str, Any] = {"kernel_shape": [kernel], "strides": [rng.randint(1, 4)]}
    attributes["auto_pad"] = rng.choice(["NOTSET", "NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    if attributes["auto_pad"] == "NOTSET":
        attributes["pads"] = [rng.randint(0, min(kernel, 3)), rng.randint(0, min(kernel, 3))]
    if opset >= SINCE["dilations"][op_type] and rng.random() < 0.5:
        attributes["dilations"] = [rng.randint(1, 3)]
    if opset >= SINCE["ceil_mode"][op_type]:
        attributes["ceil_mode"] = rng.randint(0, 1)
    if op_type == "LpPool":
        attributes["p"] = 1
    return Lone(op_type, [np.ones((1, 1, rows), np.float32)], opset, **attributes), rows


@pytest.mark.parametrize("seed", range(400))
def test_a_pool_has_as_many_positions_as_in_onnxruntime(seed: int) -> None:
    """In every opset, ceil_mode and SAME_* with dilation included; refused where onnxruntime counts less than none."""
    pool, _ = some_pool(seed)
    fault, reason = pool.fault(), pool.reason()
    if UNRUN in fault:
        return
    if not reason:
        pool.check()
        return
    said = {"KERNEL_TOO_LARGE": "output dimension is negative", "PADS": "Pad should be smaller than kernel"}
    assert said[reason] in fault


@pytest.mark.parametrize("seed", range(120))
def test_a_pool_reads_the_rows_of_its_window(seed: int) -> None:
    """Which rows a position sees, its dilation's gaps included: padding under SAME_* is on the side that it says."""
    pool, rows = some_pool(seed)
    if pool.fault() or pool.reason():
        return
    seen = pool.rows(2)
    assert list(inside(pool.taps(2), len(seen), rows)) == seen


@pytest.mark.parametrize("seed", range(200))
def test_a_convolution_slides_as_in_onnxruntime(seed: int) -> None:
    """SAME_* with dilation follows the standard: onnxruntime does not run it."""
    rng = random.Random(seed)
    rows, kernel, stride, dilation = (
        rng.randint(1, 12),
        rng.randint(1, 5),
        rng.randint(1, 3),
        rng.randint(1, 3),
    )
    auto_pad = rng.choice(["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"])
    attributes: dict[str, Any] = {"strides": [stride], "dilations": [dilation], "auto_pad": auto_pad}
    if auto_pad == "NOTSET":
        attributes["pads"] = [rng.randint(0, 4), rng.randint(0, 4)]
    operands = [np.ones((1, 1, rows), np.float32), np.ones((1, 1, kernel), np.float32)]
    conv = Lone("Conv", operands, 13, **attributes)
    fault, reason = conv.fault(), conv.reason()
    if "Dilation not supported for AutoPadType" in fault:
        return
    assert bool(fault) == bool(reason)
    if reason:
        assert reason == "KERNEL_TOO_LARGE"
    else:
        conv.check()
        seen = conv.rows(2)
        assert list(inside(conv.taps(2), len(seen), rows)) == seen


@pytest.mark.parametrize(
    ("kernel", "stride", "pads", "rows", "out"),
    [
        (3, 3, (1, 1), 8, 3),  # 8 + 2 padded; windows at -1, 2, 5; one at 8 would start in the right padding
        (2, 2, (0, 0), 5, 3),  # windows at 0, 2 and, hanging over the end, 4
        (3, 2, (0, 0), 2, 1),  # the only window hangs over the end
        (3, 2, (0, 0), 6, 3),
        (3, 2, (0, 0), 7, 3),  # fits exactly: nothing to add
    ],
)
def test_ceil_mode_adds_a_window_that_starts_inside(
    kernel: int, stride: int, pads: tuple[int, int], rows: int, out: int
) -> None:
    """Or in the left padding; never one that starts in the right."""
    (axis,) = slide((rows,), (kernel,), (stride,), pads, ceil_mode=1, pooling=True).axes
    assert axis.out == out
    window: dict[str, Any] = {"kernel_shape": [kernel], "strides": [stride], "pads": list(pads)}
    Lone("MaxPool", [np.ones((1, 1, rows), np.float32)], 12, ceil_mode=1, **window).check()


@pytest.mark.parametrize("op_type", ["MaxPool", "AveragePool", "LpPool"])
@pytest.mark.parametrize("spatial", [(9,), (9, 10), (5, 6, 7)])
def test_pools_of_any_rank(op_type: str, spatial: tuple[int, ...]) -> None:
    """One step per tap of every output element, two for a power and a sum; channels stay apart."""
    rank = len(spatial)
    x = np.ones((2, 3, *spatial), np.float32)
    pool = Lone(op_type, [x], 22, kernel_shape=[3] * rank, strides=[2] * rank)
    pool.check()
    facts = pool.facts()
    (y,) = pool.run()
    assert facts.elementwise == y.size * 3**rank * (2 if op_type == "LpPool" else 1)
    assert [pool.route(axis) for axis in (0, 1)] == [Route(0), Route(1)]


def test_where_the_maxima_lay_is_kept_for_the_gradient() -> None:
    """Indices are int64, of the result's shape, whether or not the node names them."""
    pool = Lone("MaxPool", [np.ones((1, 2, 6, 6), np.float32)], 12, outputs=2, kernel_shape=[2, 2])
    pool.check()
    told = [(size.shape, size.dtype.name) for size in kept(pool.facts())]
    assert told == [((1, 2, 6, 6), "float32"), ((1, 2, 5, 5), "int64")]


@pytest.mark.parametrize("op_type", ["GlobalMaxPool", "GlobalAveragePool", "GlobalLpPool"])
def test_global_pools_read_every_row(op_type: str) -> None:
    """Spatial axes become 1 and are read whole."""
    pool = Lone(op_type, [np.ones((2, 3, 4, 5), np.float32)], 13)
    pool.check()
    assert pool.facts().elementwise == 2 * 3 * 4 * 5
    assert [pool.route(axis).axis for axis in range(4)] == [0, 1, None, None]


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [
        ({"kernel_shape": [4]}, ""),
        ({"kernel_shape": [5]}, "KERNEL_TOO_LARGE"),
        ({"kernel_shape": [6], "strides": [2]}, ""),
        ({"kernel_shape": [7], "strides": [2]}, "KERNEL_TOO_LARGE"),
        ({"kernel_shape": [2], "dilations": [3]}, ""),
        ({"kernel_shape": [2], "dilations": [4]}, "KERNEL_TOO_LARGE"),
        ({"kernel_shape": [2], "pads": [1, 2]}, "PADS"),
        ({"kernel_shape": [2], "pads": [-1, 0]}, "PADS"),
        ({"kernel_shape": [3], "auto_pad": "VALID"}, ""),
        ({"kernel_shape": [0]}, "KERNEL_SHAPE"),
        ({"kernel_shape": [2], "strides": [0]}, "STRIDE"),
        ({"kernel_shape": [2], "dilations": [0]}, "STRIDE"),
        ({"kernel_shape": [2, 2]}, "ATTRIBUTE_LENGTH"),
        ({"kernel_shape": [2], "pads": [1]}, "ATTRIBUTE_LENGTH"),
        ({"kernel_shape": [2], "auto_pad": "SAME"}, "MODE"),
    ],
)
def test_a_window_that_cannot_slide_is_refused(attributes: dict[str, Any], reason: str) -> None:
    """By the attribute that is at fault."""
    pool = Lone("MaxPool", [np.ones((1, 1, 3), np.float32)], 12, **attributes)
    if reason:
        assert pool.reason() == reason
    else:
        pool.check()
