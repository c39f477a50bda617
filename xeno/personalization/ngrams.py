"""Texts as weighted n-grams: words and pairs of words beside runs of 2 to 5 letters.

Words carry the meaning, letters forgive endings and typing errors. Both halves are TF-IDF with
sublinear counts, each of unit length.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xeno.errors import DamagedDataError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix
    from sklearn.feature_extraction.text import TfidfVectorizer

_HALVES = ("words", "letters")


class NgramFeatures:
    """Turns texts into sparse rows. Made by `fit`, or by `load` from what `save` gave."""

    def __init__(self, halves: Sequence[TfidfVectorizer]) -> None:
        self._halves = tuple(halves)

    @classmethod
    def fit(cls, texts: Sequence[str]) -> NgramFeatures:
        """The n-grams that occur in `texts`; letter runs that occur twice."""
        return cls([_vectorizer(half, len(texts)).fit(texts) for half in _HALVES])

    def rows(self, texts: Sequence[str]) -> csr_matrix:
        """float32 [len(texts), number of n-grams]; a row without a known n-gram is empty."""
        from scipy.sparse import hstack

        return hstack([half.transform(texts) for half in self._halves], format="csr")

    def save(self) -> tuple[dict[str, np.ndarray[Any, Any]], dict[str, Any]]:
        """Arrays and a JSON value."""
        arrays, names = {}, {}
        for name, half in zip(_HALVES, self._halves, strict=True):
            arrays[f"idf_{name}"] = half.idf_.astype(np.float32)
            names[name] = [str(ngram) for ngram in half.get_feature_names_out()]
        return arrays, names

    @classmethod
    def load(
        cls, arrays: Mapping[str, np.ndarray[Any, Any]], names: Mapping[str, Any]
    ) -> NgramFeatures:
        """Raises DamagedDataError if the parts do not fit together."""
        halves = []
        for name in _HALVES:
            ngrams, idf = names.get(name), arrays.get(f"idf_{name}")
            if (
                not isinstance(ngrams, list)
                or not all(isinstance(each, str) for each in ngrams)
                or len(set(ngrams)) != len(ngrams)
                or idf is None
                or idf.shape != (len(ngrams),)
                or not np.isfinite(idf).all()
            ):
                raise DamagedDataError("The n-grams of the intent classifier do not fit together.")
            half = _vectorizer(name, 0)
            half.vocabulary = {ngram: place for place, ngram in enumerate(ngrams)}
            half.idf_ = idf.astype(np.float32)
            halves.append(half)
        return cls(halves)

    def __len__(self) -> int:
        return sum(len(half.idf_) for half in self._halves)


def _vectorizer(half: str, texts: int) -> TfidfVectorizer:
    from sklearn.feature_extraction.text import TfidfVectorizer

    if half == "words":
        # Single letters and digits count: "i", "a", "2" tell intents apart.
        return TfidfVectorizer(
            ngram_range=(1, 2), token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, dtype=np.float32
        )
    return TfidfVectorizer(
        analyzer="char_wb",
        ngram_range=(2, 5),
        min_df=2 if texts > 200 else 1,
        sublinear_tf=True,
        dtype=np.float32,
    )
