"""Classic machine learning (ai.onnx.ml): linear models, support vectors, tables that turn features into numbers.

elementwise, for each row: a linear model two per coefficient; support vectors two per number of theirs, for the kernel,
and two per coefficient; normalising three per element (power, sum, divide), scaling two, imputing and thresholding one.
A table looks up and computes nothing. Coefficients are attributes here, so they are not among the parameters.
"""

from __future__ import annotations

from analyzer.graph import FLOAT32, INT64, STRING, DType, Size
from analyzer.ops.rule import Facts, Setting, refuse, rule
from analyzer.spans import DATA, POINTWISE, WHOLE, Route, Routes, straight

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


# ------------------------------------------------------------------------------------------------- features


@rule("ArrayFeatureExtractor", domain=DOMAIN)
def array_feature_extractor(x: Size, y: Setting) -> Facts:
    """The columns that y names."""
    if not x.shape:
        raise refuse("RANK", "a scalar has no features")
    rows = x.shape[:-1] or (1,)
    routes: Routes = (*straight(len(x.shape) - 1), DATA if y.value is None else WHOLE)
    return Facts(Size((*rows, y.count), x.dtype), spans=(routes, (DATA,) * len(y.shape)))


@rule("Binarizer", domain=DOMAIN)
def binarizer(x: Size, *, threshold: float = 0.0) -> Facts:
    """One above the threshold, zero elsewhere."""
    return Facts(Size(x.shape, x.dtype), elementwise=x.count, spans=POINTWISE)


@rule("FeatureVectorizer", domain=DOMAIN)
def feature_vectorizer(first: Size, *rest: Size, inputdimensions: Ints | None = None) -> Facts:
    """Columns of several operands side by side, each cut or filled up to its entry of `inputdimensions`."""
    columns = inputdimensions or tuple(x.count // max(_rows(x), 1) for x in (first, *rest))
    y = Size((_rows(first), sum(columns)), FLOAT32)
    return Facts(y, spans=tuple(_by_row(x) for x in (first, *rest)))


@rule("Imputer", domain=DOMAIN)
def imputer(
    x: Size,
    *,
    imputed_value_floats: Floats | None = None,
    imputed_value_int64s: Ints | None = None,
    replaced_value_float: float = 0.0,
    replaced_value_int64: int = 0,
) -> Facts:
    """One value replaced, by column."""
    return Facts(Size(x.shape, x.dtype), elementwise=x.count, spans=POINTWISE)


@rule("Normalizer", domain=DOMAIN)
def normalizer(x: Size, *, norm: str = "MAX") -> Facts:
    """Each row divided by its norm."""
    if len(x.shape) > 2:
        raise refuse("RANK", f"{x.shape} is neither [C] nor [N, C]")
    if norm not in ("MAX", "L1", "L2"):
        raise refuse("MODE", f"norm {norm!r} is none of MAX, L1, L2", attribute="norm")
    routes: Routes = (*straight(len(x.shape) - 1), *(WHOLE,) * min(len(x.shape), 1))
    return Facts(Size(x.shape, FLOAT32), elementwise=3 * x.count, spans=routes)


@rule("Scaler", domain=DOMAIN)
def scaler(x: Size, *, offset: Floats | None = None, scale: Floats | None = None) -> Facts:
    """Shifted and scaled, by column."""
    return Facts(Size(x.shape, FLOAT32), elementwise=2 * x.count, spans=POINTWISE)


# --------------------------------------------------------------------------------------------------- tables


@rule("CastMap", domain=DOMAIN)
def cast_map(x: Size, *, cast_to: str = "TO_FLOAT", map_form: str = "DENSE", max_map: int = 1) -> Facts:
    """A map's values in a row: as many as it holds, or `max_map`."""
    dtype = {"TO_FLOAT": FLOAT32, "TO_INT64": INT64, "TO_STRING": STRING}.get(cast_to)
    if dtype is None:
        raise refuse("UNKNOWN_DTYPE", f"cast_to {cast_to!r} is no element type", attribute="cast_to")
    return Facts(Size((1, max_map), dtype) if map_form == "SPARSE" else None)


@rule("CategoryMapper", domain=DOMAIN)
def category_mapper(
    x: Size,
    *,
    cats_int64s: Ints | None = None,
    cats_strings: Strings | None = None,
    default_int64: int = -1,
    default_string: str = "_Unused",
) -> Facts:
    """Strings to their numbers, or numbers to their strings."""
    return Facts(Size(x.shape, INT64 if x.dtype is STRING else STRING), spans=POINTWISE)


@rule("DictVectorizer", domain=DOMAIN)
def dict_vectorizer(
    x: Size, *, int64_vocabulary: Ints | None = None, string_vocabulary: Strings | None = None
) -> Facts:
    """A map's values by the place of their keys; their element type is the map's, which is not told here."""
    return Facts(None)


@rule("LabelEncoder", domain=DOMAIN)
def label_encoder(
    x: Size,
    *,
    classes_strings: Strings | None = None,
    default_float: float = -0.0,
    default_int64: int = -1,
    default_string: str = "_Unused",
    default_tensor: Size | None = None,
    keys_floats: Floats | None = None,
    keys_int64s: Ints | None = None,
    keys_strings: Strings | None = None,
    keys_tensor: Size | None = None,
    values_floats: Floats | None = None,
    values_int64s: Ints | None = None,
    values_strings: Strings | None = None,
    values_tensor: Size | None = None,
) -> Facts:
    """Keys to values; the first version knew strings and their numbers only."""
    spelled = ((values_strings, STRING), (values_int64s, INT64), (values_floats, FLOAT32))
    dtype = next((kind for values, kind in spelled if values is not None), None)
    if values_tensor is not None:
        dtype = values_tensor.dtype
    if dtype is None:
        dtype = INT64 if x.dtype is STRING else STRING
    return Facts(Size(x.shape, dtype), spans=POINTWISE)


@rule("OneHotEncoder", domain=DOMAIN)
def one_hot_encoder(
    x: Size, *, cats_int64s: Ints | None = None, cats_strings: Strings | None = None, zeros: int = 1
) -> Facts:
    """A new last axis, one at the place of the category."""
    return Facts(
        Size((*x.shape, len(cats_int64s or cats_strings or ())), FLOAT32), spans=straight(len(x.shape))
    )


@rule("ZipMap", domain=DOMAIN)
def zip_map(
    x: Size, *, classlabels_int64s: Ints | None = None, classlabels_strings: Strings | None = None
) -> Facts:
    """A sequence of maps from labels to scores, which is no tensor."""
    return Facts(None)


# --------------------------------------------------------------------------------------------------- models


def _classified(x: Size, labels: DType, columns: int, steps: int) -> Facts:
    """A label and the scores of each row, at `steps` a row."""
    rows = _rows(x)
    outputs = Size((rows,), labels), Size((rows, columns), FLOAT32)
    return Facts(outputs, elementwise=rows * steps, spans=_by_row(x))


def _regressed(x: Size, targets: int, steps: int) -> Facts:
    return Facts(Size((_rows(x), targets), FLOAT32), elementwise=_rows(x) * steps, spans=_by_row(x))


@rule("LinearClassifier", domain=DOMAIN)
def linear_classifier(
    x: Size,
    *,
    classlabels_ints: Ints | None = None,
    classlabels_strings: Strings | None = None,
    coefficients: Floats,
    intercepts: Floats | None = None,
    multi_class: int = 0,
    post_transform: str = "NONE",
) -> Facts:
    """One row of coefficients per class; of two classes one row is enough."""
    labels = classlabels_strings or classlabels_ints or intercepts or ()
    return _classified(x, STRING if classlabels_strings else INT64, len(labels), 2 * len(coefficients))


@rule("LinearRegressor", domain=DOMAIN)
def linear_regressor(
    x: Size,
    *,
    coefficients: Floats | None = None,
    intercepts: Floats | None = None,
    post_transform: str = "NONE",
    targets: int = 1,
) -> Facts:
    """One row of coefficients per target."""
    return _regressed(x, targets, 2 * len(coefficients or ()))


@rule("SVMClassifier", domain=DOMAIN)
def svm_classifier(
    x: Size,
    *,
    classlabels_ints: Ints | None = None,
    classlabels_strings: Strings | None = None,
    coefficients: Floats | None = None,
    kernel_params: Floats | None = None,
    kernel_type: str = "LINEAR",
    post_transform: str = "NONE",
    prob_a: Floats | None = None,
    prob_b: Floats | None = None,
    rho: Floats | None = None,
    support_vectors: Floats | None = None,
    vectors_per_class: Ints | None = None,
) -> Facts:
    """Scores by class, or by pair of classes where support vectors vote and no probability is asked for."""
    columns = classes = len(classlabels_strings or classlabels_ints or ())
    if vectors_per_class and not prob_a and classes > 2:
        columns = classes * (classes - 1) // 2
    steps = 2 * len(support_vectors or ()) + 2 * len(coefficients or ())
    return _classified(x, STRING if classlabels_strings else INT64, columns, steps)


@rule("SVMRegressor", domain=DOMAIN)
def svm_regressor(
    x: Size,
    *,
    coefficients: Floats | None = None,
    kernel_params: Floats | None = None,
    kernel_type: str = "LINEAR",
    n_supports: int = 0,
    one_class: int = 0,
    post_transform: str = "NONE",
    rho: Floats | None = None,
    support_vectors: Floats | None = None,
) -> Facts:
    """One score a row."""
    return _regressed(x, 1, 2 * len(support_vectors or ()) + 2 * len(coefficients or ()))
