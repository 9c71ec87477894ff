"""Classic machine learning: sizes are onnxruntime's, steps are counted by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import Size
from tests.ops.runtime import Operand, check, check_named, check_refused, facts_of, floats, ints

ML = "ai.onnx.ml"
WORDS = np.array(["a", "b"], object)
KERNEL: dict[str, Any] = {"kernel_type": "LINEAR", "kernel_params": [1.0, 0.0, 3.0]}
SUPPORTED: dict[str, Any] = {**KERNEL, "coefficients": [0.1, 0.2], "rho": [0.5], "support_vectors": [1.0] * 6}
TWO: dict[str, Any] = {**SUPPORTED, "vectors_per_class": [1, 1], "classlabels_ints": [0, 1]}
THREE: dict[str, Any] = {**KERNEL, "coefficients": [0.1] * 9, "rho": [0.5], "classlabels_ints": [0, 1, 2]}
FOUR: dict[str, Any] = {
    **KERNEL, "coefficients": [0.1] * 12, "rho": [0.5] * 6, "support_vectors": [1.0] * 12, "vectors_per_class": [1] * 4,
    "classlabels_strings": ["a", "b", "c", "d"],
}  # fmt: skip

ONE_RESULT: list[tuple[str, tuple[Operand, ...], dict[str, Any]]] = [
    ("ArrayFeatureExtractor", (floats(2, 3), ints(0, 2)), {}),
    ("ArrayFeatureExtractor", (floats(3), ints(0, 2)), {}),
    ("ArrayFeatureExtractor", (floats(2, 3, 4), np.array([[0, 2, 1]])), {}),
    ("Binarizer", (floats(2, 3),), {"threshold": 1.0}),
    ("CategoryMapper", (WORDS,), {"cats_strings": ["a", "b"], "cats_int64s": [1, 2]}),
    ("CategoryMapper", (np.array([[1], [2]]),), {"cats_strings": ["a", "b"], "cats_int64s": [1, 2]}),
    ("FeatureVectorizer", (floats(2, 3), floats(2, 1)), {"inputdimensions": [3, 1]}),
    ("FeatureVectorizer", (floats(3), floats(1)), {"inputdimensions": [3, 1]}),
    ("FeatureVectorizer", (floats(2, 3, 2), floats(2, 1)), {"inputdimensions": [4, 2]}),
    ("Imputer", (floats(2, 3),), {"imputed_value_floats": [1.0, 2.0, 3.0]}),
    ("Imputer", (np.array([[1, 2]]),), {"imputed_value_int64s": [1]}),
    ("LinearRegressor", (floats(2, 3),), {"coefficients": [0.1] * 6, "targets": 2}),
    ("LinearRegressor", (floats(3),), {"coefficients": [0.1] * 3}),
    ("Normalizer", (floats(2, 3),), {"norm": "L1"}),
    ("Normalizer", (ints(1, 2),), {}),
    ("OneHotEncoder", (np.array([[1], [2]]),), {"cats_int64s": [1, 2, 3]}),
    ("OneHotEncoder", (WORDS,), {"cats_strings": ["a", "b"]}),
    ("Scaler", (floats(2, 3),), {"scale": [1.0], "offset": [0.0]}),
    ("Scaler", (floats(2, 3).astype(np.int64),), {"scale": [1.0] * 3, "offset": [0.0] * 3}),
    ("SVMRegressor", (floats(2, 3),), {**SUPPORTED, "n_supports": 2}),
    ("SVMRegressor", (floats(3),), {**KERNEL, "coefficients": [0.1] * 3, "rho": [0.5]}),
]  # fmt: skip


@pytest.mark.parametrize(("op_type", "operands", "attributes"), ONE_RESULT)
def test_features_become_numbers(
    op_type: str, operands: tuple[Operand, ...], attributes: dict[str, Any]
) -> None:
    """A vector is one row, of models and vectorisers."""
    check(op_type, *operands, domain=ML, fed=(0,), **attributes)


ENCODERS: list[tuple[int, Operand, dict[str, Any]]] = [
    (1, WORDS, {"classes_strings": ["a", "b"]}),
    (1, ints(0, 1), {"classes_strings": ["a", "b"]}),
    (2, WORDS, {"keys_strings": ["a"], "values_floats": [0.5]}),
    (2, floats(2, 3), {"keys_floats": [1.0], "values_strings": ["a"]}),
    (2, ints(0, 1), {"keys_int64s": [1], "values_int64s": [7]}),
]


@pytest.mark.parametrize(("version", "x", "attributes"), ENCODERS)
def test_labels_become_other_labels(version: int, x: Operand, attributes: dict[str, Any]) -> None:
    """Of the type of the values; in the first version strings become numbers, and numbers strings."""
    check("LabelEncoder", x, domain=ML, domain_version=version, **attributes)


def linear(rows: int, **labels: Any) -> dict[str, Any]:
    """Rows of three coefficients."""
    return {"coefficients": [0.1] * 3 * rows, "intercepts": [0.0] * rows, **labels}


CLASSIFIERS: list[tuple[str, Operand, dict[str, Any], int]] = [
    ("LinearClassifier", floats(2, 3), linear(2, classlabels_ints=[0, 1]), 12),
    ("LinearClassifier", floats(2, 3), linear(1, classlabels_strings=["a", "b"]), 6),
    ("LinearClassifier", floats(2, 3), linear(3, classlabels_ints=[0, 1, 2]), 18),
    ("LinearClassifier", floats(3), linear(2, classlabels_ints=[0, 1]), 12),
    ("LinearClassifier", floats(2, 3), linear(1), 6),
    ("SVMClassifier", floats(2, 3), TWO, 12 + 4),
    ("SVMClassifier", floats(2, 3), {**TWO, "prob_a": [1.0], "prob_b": [1.0]}, 12 + 4),
    ("SVMClassifier", floats(2, 3), FOUR, 24 + 24),
    ("SVMClassifier", floats(2, 3), {**FOUR, "prob_a": [1.0] * 6, "prob_b": [1.0] * 6}, 24 + 24),
    ("SVMClassifier", floats(2, 3), THREE, 18),
    ("SVMClassifier", floats(3), THREE, 18),
]


@pytest.mark.parametrize(("op_type", "x", "attributes", "steps"), CLASSIFIERS)
def test_rows_get_a_label_and_scores(op_type: str, x: Any, attributes: dict[str, Any], steps: int) -> None:
    """A column per class, or per pair of them; two steps a row per coefficient and per number of a support vector."""
    label, scores = check(op_type, x, domain=ML, results=2, **attributes)
    assert scores.shape[0] == label.count
    assert facts_of(op_type, x, domain=ML, results=2, **attributes).elementwise == label.count * steps


def test_maps_are_no_tensors() -> None:
    """What is made of them, or makes them, has no size that could be told; the node is described all the same."""
    assert facts_of("ZipMap", floats(2, 3), domain=ML, classlabels_int64s=[0, 1, 2]).outputs is None
    assert facts_of("DictVectorizer", floats(1), domain=ML, string_vocabulary=["a"]).outputs is None
    assert facts_of("CastMap", floats(1), domain=ML).outputs is None
    size = facts_of("CastMap", floats(1), domain=ML, map_form="SPARSE", max_map=5, cast_to="TO_INT64").outputs
    assert isinstance(size, Size)
    assert (size.shape, size.dtype.name) == ((1, 5), "int64")


def test_what_does_not_fit_is_refused() -> None:
    """A cube has no rows to normalise; a word that nobody knows names no norm and no type."""
    check_refused("RANK", "Normalizer", floats(2, 3, 4), domain=ML)
    check_refused("MODE", "Normalizer", floats(2, 3), domain=ML, norm="L7")
    check_named("UNKNOWN_DTYPE", "CastMap", floats(1), domain=ML, cast_to="TO_BOOL")
