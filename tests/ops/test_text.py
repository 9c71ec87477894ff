"""Strings: sizes are onnxruntime's, known where the words are."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from analyzer.graph import Size
from tests.ops.runtime import check, check_known, check_refused, facts_of

WORDS = np.array(["ab cd", "B", "the", "x  y z"], object)
EXACT: dict[str, Any] = {"is_case_sensitive": 1}


def test_strings_are_joined() -> None:
    """In pairs, broadcast as numbers are."""
    check("StringConcat", WORDS.reshape(4, 1), np.array(["x", "y"], object), opset=20)
    check_known("StringConcat", WORDS.reshape(4, 1), np.array(["x", "y"], object), opset=20)


@pytest.mark.parametrize("shape", [(4,), (1, 4)])
@pytest.mark.parametrize("stopwords", [["the"], ["ab cd", "B"], ["the", "B", "ab cd", "x  y z"], ["none"]])
def test_stopwords_are_taken_out(shape: tuple[int, ...], stopwords: list[str]) -> None:
    """How many are left is known where the words are; one empty string is left at least."""
    check("StringNormalizer", WORDS.reshape(shape), stopwords=stopwords, exact=False, **EXACT)
    check("StringNormalizer", WORDS.reshape(shape), stopwords=stopwords, stored=True, **EXACT)
    check("StringNormalizer", WORDS.reshape(shape), **EXACT)


def test_case_may_not_matter_to_a_stopword() -> None:
    """A stopword in small letters stops one that begins a sentence."""
    size = facts_of(
        "StringNormalizer", np.array(["The", "a"], object), stopwords=["the"], stored=True
    ).outputs
    assert isinstance(size, Size)
    assert size.shape == (1,)


@pytest.mark.parametrize(
    "options", [{}, {"delimiter": " "}, {"delimiter": "b"}, {"maxsplit": 1}, {"delimiter": ""}]
)
def test_strings_are_cut(options: dict[str, Any]) -> None:
    """Into as many columns as the most parts of a string, which only the strings tell."""
    check_known("StringSplit", WORDS, opset=20, results=2, **options)
    check_known("StringSplit", WORDS.reshape(2, 2), opset=20, results=2, **options)
    outputs = facts_of("StringSplit", WORDS, opset=20, results=2, **options).outputs
    assert isinstance(outputs, tuple)
    parts, counts = outputs
    assert parts is None
    assert isinstance(counts, Size)
    assert counts.shape == (4,)


def test_strings_are_matched() -> None:
    """A boolean each."""
    check("RegexFullMatch", WORDS.reshape(2, 2), opset=20, pattern=r"\w+")


GRAMS: dict[str, Any] = {
    "mode": "TF", "min_gram_length": 1, "max_gram_length": 2, "max_skip_count": 0, "ngram_counts": [0, 2],
    "ngram_indexes": [0, 1, 5], "pool_int64s": [1, 2, 1, 2],
}  # fmt: skip


@pytest.mark.parametrize("shape", [(6,), (1, 6), (3, 2)])
def test_grams_are_counted(shape: tuple[int, ...]) -> None:
    """In as many columns as the highest index asks for; one step each."""
    words = np.arange(6, dtype=np.int32).reshape(shape)
    (size,) = check("TfIdfVectorizer", words, opset=9, fed=(0,), **GRAMS)
    assert facts_of("TfIdfVectorizer", words, **GRAMS).elementwise == size.count


def test_what_does_not_fit_is_refused() -> None:
    """Words come as a vector or a row."""
    check_refused("RANK", "StringNormalizer", WORDS.reshape(2, 2), **EXACT)
    check_refused("MODE", "StringNormalizer", WORDS, case_change_action="TITLE", **EXACT)
    check_refused("RANK", "TfIdfVectorizer", np.zeros((1, 2, 3), np.int32), **GRAMS)
