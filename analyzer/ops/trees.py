"""Ensembles of decision trees (ai.onnx.ml).

elementwise, for each row: one compare per level of inner nodes on the longest path of each tree, and one add per tree.
"""

from __future__ import annotations

from collections.abc import Sequence

from analyzer.graph import FLOAT32, INT64, STRING, Size
from analyzer.ops.rule import Facts, rule
from analyzer.spans import WHOLE, Route, Routes

DOMAIN = "ai.onnx.ml"
Ints = tuple[int, ...]
Floats = tuple[float, ...]
Strings = tuple[str, ...]


def _rows(x: Size) -> int:
    """Rows of features: a vector is one row."""
    return x.shape[0] if len(x.shape) > 1 else 1


def _by_row(x: Size) -> Routes:
    """Each row's result reads that row whole."""
    return (Route(0), *(WHOLE,) * (len(x.shape) - 1)) if len(x.shape) > 1 else (WHOLE,) * len(x.shape)


def _steps(children: Sequence[Ints], roots: Ints) -> int:
    """Levels of inner nodes under each root, and one for each root; no node is gone through twice, come what may."""
    steps = 0
    seen: set[int] = set()
    for root in roots:
        level = [root]
        while level:
            inner = [node for node in level if children[node] and node not in seen]
            seen.update(inner)
            steps += bool(inner)
            level = [child for node in inner for child in children[node]]
    return steps + len(roots)


def _listed(trees: Ints, nodes: Ints, modes: Strings, true: Ints, false: Ints) -> int:
    """`_steps` of nodes that name their tree, themselves and their children; a root is nobody's child."""
    place = {key: index for index, key in enumerate(zip(trees, nodes, strict=True))}
    children = [
        () if mode == "LEAF" else (place[tree, yes], place[tree, no])
        for tree, mode, yes, no in zip(trees, modes, true, false, strict=True)
    ]
    roots = set(range(len(children))).difference(*children)
    return _steps(children, tuple(sorted(roots)))


@rule("TreeEnsembleClassifier", domain=DOMAIN)
def tree_ensemble_classifier(
    x: Size,
    *,
    base_values: Floats | None = None,
    base_values_as_tensor: Size | None = None,
    class_ids: Ints | None = None,
    class_nodeids: Ints | None = None,
    class_treeids: Ints | None = None,
    class_weights: Floats | None = None,
    class_weights_as_tensor: Size | None = None,
    classlabels_int64s: Ints | None = None,
    classlabels_strings: Strings | None = None,
    nodes_falsenodeids: Ints | None = None,
    nodes_featureids: Ints | None = None,
    nodes_hitrates: Floats | None = None,
    nodes_hitrates_as_tensor: Size | None = None,
    nodes_missing_value_tracks_true: Ints | None = None,
    nodes_modes: Strings | None = None,
    nodes_nodeids: Ints | None = None,
    nodes_treeids: Ints | None = None,
    nodes_truenodeids: Ints | None = None,
    nodes_values: Floats | None = None,
    nodes_values_as_tensor: Size | None = None,
    post_transform: str = "NONE",
) -> Facts:
    """A label and the scores of each row."""
    labels = classlabels_strings or classlabels_int64s or ()
    rows = _rows(x)
    steps = _listed(
        nodes_treeids or (),
        nodes_nodeids or (),
        nodes_modes or (),
        nodes_truenodeids or (),
        nodes_falsenodeids or (),
    )
    outputs = Size((rows,), STRING if classlabels_strings else INT64), Size((rows, len(labels)), FLOAT32)
    return Facts(outputs, elementwise=rows * steps, spans=_by_row(x))


@rule("TreeEnsembleRegressor", domain=DOMAIN)
def tree_ensemble_regressor(
    x: Size,
    *,
    aggregate_function: str = "SUM",
    base_values: Floats | None = None,
    base_values_as_tensor: Size | None = None,
    n_targets: int | None = None,
    nodes_falsenodeids: Ints | None = None,
    nodes_featureids: Ints | None = None,
    nodes_hitrates: Floats | None = None,
    nodes_hitrates_as_tensor: Size | None = None,
    nodes_missing_value_tracks_true: Ints | None = None,
    nodes_modes: Strings | None = None,
    nodes_nodeids: Ints | None = None,
    nodes_treeids: Ints | None = None,
    nodes_truenodeids: Ints | None = None,
    nodes_values: Floats | None = None,
    nodes_values_as_tensor: Size | None = None,
    post_transform: str = "NONE",
    target_ids: Ints | None = None,
    target_nodeids: Ints | None = None,
    target_treeids: Ints | None = None,
    target_weights: Floats | None = None,
    target_weights_as_tensor: Size | None = None,
) -> Facts:
    """A number for each target of each row."""
    targets = n_targets if n_targets is not None else max(target_ids or (0,)) + 1
    steps = _listed(
        nodes_treeids or (),
        nodes_nodeids or (),
        nodes_modes or (),
        nodes_truenodeids or (),
        nodes_falsenodeids or (),
    )
    return Facts(Size((_rows(x), targets), FLOAT32), elementwise=_rows(x) * steps, spans=_by_row(x))


@rule("TreeEnsemble", domain=DOMAIN, since=5)
def tree_ensemble(
    x: Size,
    *,
    aggregate_function: int = 1,
    leaf_targetids: Ints,
    leaf_weights: Size,
    membership_values: Size | None = None,
    n_targets: int | None = None,
    nodes_falseleafs: Ints,
    nodes_falsenodeids: Ints,
    nodes_featureids: Ints,
    nodes_hitrates: Size | None = None,
    nodes_missing_value_tracks_true: Ints | None = None,
    nodes_modes: Size,
    nodes_splits: Size,
    nodes_trueleafs: Ints,
    nodes_truenodeids: Ints,
    post_transform: int = 0,
    tree_roots: Ints,
) -> Facts:
    """A number for each target of each row; inner nodes and leaves are listed apart."""
    targets = n_targets if n_targets is not None else max(leaf_targetids) + 1
    sides = zip(nodes_truenodeids, nodes_trueleafs, nodes_falsenodeids, nodes_falseleafs, strict=True)
    leaf = len(nodes_truenodeids)  # stands for any leaf, after the inner nodes
    children: list[Ints] = [
        (leaf if yes_leaf else yes, leaf if no_leaf else no) for yes, yes_leaf, no, no_leaf in sides
    ]
    steps = _steps([*children, ()], tree_roots)
    return Facts(Size((_rows(x), targets), x.dtype), elementwise=_rows(x) * steps, spans=_by_row(x))
