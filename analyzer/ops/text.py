"""Strings: cleaned, joined, cut, matched, counted.

elementwise: 0, for no number is computed; counting n-grams one per count.
"""

from __future__ import annotations

import numpy as np

from analyzer.graph import BOOL, FLOAT32, INT64, STRING, VALUE_LIMIT, Size
from analyzer.ops.rule import Facts, broadcast, known, refuse, rule
from analyzer.spans import DATA, POINTWISE, WHOLE, Route, Routes, straight

Ints = tuple[int, ...]


@rule("StringConcat", since=20)
def string_concat(x: Size, y: Size) -> Facts:
    """Pairs of strings joined."""
    shape = broadcast(x.shape, y.shape)
    z = Size(shape, STRING)
    return Facts(Size(shape, STRING, known(z.count, np.add, x, y)), spans=POINTWISE)


@rule("StringNormalizer", since=10)
def string_normalizer(
    x: Size,
    *,
    case_change_action: str = "NONE",
    is_case_sensitive: int = 0,
    locale: str | None = None,
    stopwords: tuple[str, ...] | None = None,
) -> Facts:
    """[C] or [1, C] in one case and without stopwords; if none are left, one empty string is."""
    if len(x.shape) not in (1, 2) or (len(x.shape) == 2 and x.shape[0] != 1):
        raise refuse("RANK", f"{x.shape} is neither [C] nor [1, C]")
    if case_change_action not in ("NONE", "LOWER", "UPPER"):
        raise refuse(
            "MODE", f"case_change_action {case_change_action!r} is unknown", attribute="case_change_action"
        )
    if not stopwords:
        return Facts(Size(x.shape, STRING), spans=POINTWISE)
    routes: Routes = (*straight(len(x.shape) - 1), DATA)
    if x.value is None:
        return Facts(Size((*x.shape[:-1], max(x.shape[-1], 1)), STRING, exact=False), spans=routes)
    words, stopped = x.value.reshape(-1).tolist(), set(stopwords)
    if not is_case_sensitive:
        words, stopped = [word.lower() for word in words], {word.lower() for word in stopped}
    left = sum(word not in stopped for word in words)
    return Facts(Size((*x.shape[:-1], max(left, 1)), STRING), spans=routes)


@rule("StringSplit", since=20)
def string_split(x: Size, *, delimiter: str | None = None, maxsplit: int | None = None) -> Facts:
    """Each string's parts along a new last axis, as long as the most parts there are, and how many each string has."""
    routes = straight(len(x.shape))
    if x.value is None and x.count:
        return Facts((None, Size(x.shape, INT64)), spans=routes)
    words = [] if x.value is None else x.value.reshape(-1).tolist()
    limit = -1 if maxsplit is None else maxsplit
    parts = [word.split(delimiter or None, limit) if word else [] for word in words]
    longest = max(map(len, parts), default=0)
    cells = [part + [""] * (longest - len(part)) for part in parts]
    y = Size((*x.shape, longest), STRING)
    if y.count <= VALUE_LIMIT:
        y = Size(y.shape, STRING, np.array(cells, object).reshape(y.shape))
    counts = np.array([len(part) for part in parts], np.int64).reshape(x.shape)
    return Facts((y, Size(x.shape, INT64, counts)), spans=routes)


@rule("RegexFullMatch", since=20)
def regex_full_match(x: Size, *, pattern: str | None = None) -> Facts:
    """Whether each whole string matches."""
    return Facts(Size(x.shape, BOOL), spans=POINTWISE)


@rule("TfIdfVectorizer", since=9)
def tf_idf_vectorizer(
    x: Size,
    *,
    max_gram_length: int,
    max_skip_count: int,
    min_gram_length: int,
    mode: str,
    ngram_counts: Ints,
    ngram_indexes: Ints,
    pool_int64s: Ints | None = None,
    pool_strings: tuple[str, ...] | None = None,
    weights: tuple[float, ...] | None = None,
) -> Facts:
    """[C] or [N, C] of words -> how often each n-gram of the pool is there, [n-grams] or [N, n-grams]."""
    if len(x.shape) > 2:
        raise refuse("RANK", f"{x.shape} is neither [C] nor [N, C]")
    columns = max(ngram_indexes, default=-1) + 1
    y = Size((*x.shape[:-1], columns), FLOAT32)
    routes: Routes = (Route(0), WHOLE) if len(x.shape) == 2 else (WHOLE,)
    return Facts(y, elementwise=y.count, spans=routes)
