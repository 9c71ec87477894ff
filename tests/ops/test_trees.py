"""Trees: sizes are onnxruntime's, levels are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper

from tests.ops.runtime import Operand, check, facts_of, floats

ML = "ai.onnx.ml"

# Two trees, listed leaves first: in one a root with a leaf and a node with two leaves, in the other a lone leaf.
FOREST: dict[str, Any] = {
    "nodes_treeids": [0, 0, 0, 0, 0, 1],
    "nodes_nodeids": [3, 4, 1, 2, 0, 0],
    "nodes_modes": ["LEAF", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LT", "LEAF"],
    "nodes_featureids": [0, 0, 0, 1, 2, 0],
    "nodes_values": [0.0, 0.0, 0.0, 1.0, 2.0, 0.0],
    "nodes_truenodeids": [0, 0, 0, 3, 1, 0],
    "nodes_falsenodeids": [0, 0, 0, 4, 2, 0],
}
STEPS = 2 + 1 + 0 + 1
"""Two levels of inner nodes and an add; no level and an add."""
LEAVES: dict[str, Any] = {"treeids": [0, 0, 0, 1], "nodeids": [1, 3, 4, 0], "weights": [1.0, 2.0, 3.0, 4.0]}


def leaves(kind: str, ids: list[int]) -> dict[str, Any]:
    """What the leaves say, as classes or as targets."""
    return {f"{kind}_{name}": value for name, value in LEAVES.items()} | {f"{kind}_ids": ids}


ROWS = [(1, floats(2, 3)), (1, floats(3)), (3, floats(2, 3)), (3, floats(2, 3).astype(np.float64))]
"""A vector was a row once."""


@pytest.mark.parametrize(("version", "x"), ROWS)
@pytest.mark.parametrize(
    ("ids", "labels"),
    [
        ([0, 1, 2, 0], {"classlabels_int64s": [0, 1, 2]}),
        ([0, 0, 0, 0], {"classlabels_strings": ["no", "yes"]}),
        ([0, 1, 0, 1], {"classlabels_int64s": [0, 1]}),
    ],
)
def test_a_forest_classifies(version: int, x: Any, ids: list[int], labels: dict[str, Any]) -> None:
    """A column per label, also where one score decides between two."""
    attributes = {**FOREST, **leaves("class", ids), **labels}
    label, scores = check(
        "TreeEnsembleClassifier", x, domain=ML, domain_version=version, results=2, **attributes
    )
    assert scores.shape[0] == label.count
    facts = facts_of("TreeEnsembleClassifier", x, domain=ML, domain_version=version, results=2, **attributes)
    assert facts.elementwise == label.count * STEPS


@pytest.mark.parametrize(("version", "x"), ROWS)
def test_a_forest_regresses(version: int, x: Operand) -> None:
    """A column per target."""
    attributes = {**FOREST, **leaves("target", [0, 1, 1, 0]), "n_targets": 2}
    check("TreeEnsembleRegressor", x, domain=ML, domain_version=version, **attributes)
    rows = 2 if np.asarray(x).ndim > 1 else 1
    assert facts_of("TreeEnsembleRegressor", x, domain=ML, **attributes).elementwise == rows * STEPS


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_forest_may_list_its_leaves_apart(kind: Any) -> None:
    """Since version 5: the same tree, of two inner nodes and three leaves, twice."""
    code = TensorProto.FLOAT if kind is np.float32 else TensorProto.DOUBLE
    attributes: dict[str, Any] = {
        "n_targets": 2,
        "tree_roots": [0, 0],
        "nodes_featureids": [2, 1],
        "nodes_splits": helper.make_tensor("splits", code, [2], [2.0, 1.0]),
        "nodes_modes": helper.make_tensor("modes", TensorProto.UINT8, [2], [1, 0]),
        "nodes_truenodeids": [0, 1],
        "nodes_trueleafs": [1, 1],
        "nodes_falsenodeids": [1, 2],
        "nodes_falseleafs": [0, 1],
        "leaf_targetids": [0, 1, 1],
        "leaf_weights": helper.make_tensor("weights", code, [3], [1.0, 2.0, 3.0]),
    }
    x = floats(2, 3).astype(kind)
    check("TreeEnsemble", x, domain=ML, domain_version=5, **attributes)
    facts = facts_of("TreeEnsemble", x, domain=ML, domain_version=5, **{**attributes, "tree_roots": [0]})
    assert facts.elementwise == 2 * (2 + 1)


def test_a_tree_that_bites_its_tail_is_still_counted() -> None:
    """No node is gone through twice: a file cannot make the count run for ever."""
    bitten = {**FOREST, "nodes_truenodeids": [0, 0, 0, 0, 1, 0]}
    attributes = {**bitten, **leaves("target", [0, 0, 0, 0])}
    facts = facts_of("TreeEnsembleRegressor", floats(2, 3), domain=ML, **attributes)
    assert facts.elementwise is not None
