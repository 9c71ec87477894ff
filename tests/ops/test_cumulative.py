"""Running sums and products: values are onnxruntime's, and each position sees what comes before it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.spans import OPAQUE, Read, Route
from tests.ops.reading import span_of
from tests.ops.runtime import check, check_known, check_refused, facts_of, floats

OPS = [("CumSum", 11), ("CumSum", 14), ("CumProd", 26)]
X = np.array([[3, 1, 2], [5, 0, 4]])


@pytest.mark.parametrize(("op_type", "opset"), OPS)
@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
@pytest.mark.parametrize("kind", [np.int32, np.int64, np.float32])
def test_what_runs_along_an_axis_is_known(
    op_type: str, opset: int, axis: int, exclusive: int, reverse: int, kind: Any
) -> None:
    """From either end, with the element itself or without."""
    where: dict[str, Any] = {"opset": opset, "exclusive": exclusive, "reverse": reverse}
    check(op_type, X.astype(kind), np.int64(axis), **where)
    check_known(op_type, X.astype(kind), np.array([axis], np.int32), **where)
    check_known(op_type, X.astype(kind)[:, :0], np.int64(axis), **where)


@pytest.mark.parametrize(("reverse", "kind"), [(0, "prefix"), (1, "suffix")])
def test_a_position_sees_its_prefix_or_its_suffix(reverse: int, kind: Any) -> None:
    """The other axes go along."""
    facts = facts_of("CumSum", floats(2, 3, 4), np.int64(1), reverse=reverse)
    assert span_of(facts, 0) == (Route(0), Read(kind, 1), Route(2))
    assert facts.elementwise == 24


def test_along_which_axis_the_data_may_decide() -> None:
    """The size is the same; what is read is anybody's guess."""
    check("CumSum", floats(2, 3), np.int64(1), fed=(0, 1))
    assert span_of(facts_of("CumSum", floats(2, 3), np.int64(1), fed=(0, 1)), 0) is OPAQUE


def test_a_scalar_has_no_axis_to_run_along() -> None:
    """onnxruntime says so too."""
    check_refused("RANK", "CumSum", np.float32(1), np.int64(0))
    check_refused("AXIS_OUT_OF_RANGE", "CumSum", floats(2, 3), np.int64(2))
