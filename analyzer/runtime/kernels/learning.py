"""Classical models and text (ai.onnx.ml, and what is like them). Work in vectors of their own, outside of the arena.

Sources, under onnxruntime/core/providers/cpu: ml/*.cc, nn/string_normalizer.cc, nn/tfidfvectorizer.cc.
"""

from __future__ import annotations

from analyzer.runtime.kernel import NOTHING, Call, Usage, kernel, plain
from analyzer.runtime.kernels.operands import operand
from analyzer.runtime.mlas import FLOAT_BYTES

DOMAIN = "ai.onnx.ml"
OVER_ITSELF = ((0, 0),)

plain("Normalizer", "Scaler", domain=DOMAIN, inplace=OVER_ITSELF)
plain("ArrayFeatureExtractor", "Binarizer", "FeatureVectorizer", "Imputer", "LabelEncoder", domain=DOMAIN)
plain("LinearClassifier", "LinearRegressor", "OneHotEncoder", domain=DOMAIN)
plain("TreeEnsembleClassifier", "SVMClassifier", domain=DOMAIN)
plain("TreeEnsemble", "TreeEnsembleRegressor", domain=DOMAIN, inplace=OVER_ITSELF)
plain("TfIdfVectorizer")


@kernel("SVMRegressor", domain=DOMAIN)
def svm_regressor(call: Call) -> Usage:
    """How much each row is like each support vector."""
    vectors = int(call.attributes.get("n_supports", 0))
    return Usage(scratch=((operand(call, 0).shape[0] * vectors * FLOAT_BYTES,),)) if vectors else NOTHING
