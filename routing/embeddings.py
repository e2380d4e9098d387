"""Text embeddings that need no download: TF-IDF over words and word pairs, reduced by truncated SVD.

Latent semantic analysis (Deerwester et al. 1990). Scikit-learn estimator; vectors have unit length, or are zero for a
text without a known word.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize
from sklearn.utils.validation import check_is_fitted

from routing import alignment, artifact
from routing.features.registry import TFIDF
from routing.features.similarity import Nearness
from routing.text import words

KIND = "text-embedding"
VERSION = "2"
# Longer texts are cut: what a text is about is said by then, and one huge text must not hold up a batch.
WORDS = 2000
# A word of a large corpus that occurs in one text only says nothing about others.
LARGE = 200


def terms(text: str) -> list[str]:
    """Words and pairs of neighbouring words (for scripts counted by character: characters and their pairs)."""
    found = words(text[: 20 * WORDS])[:WORDS]
    return found + [f"{first} {second}" for first, second in zip(found, found[1:], strict=False)]


class TextEmbedding(TransformerMixin, BaseEstimator):
    """`fit(texts)`, then `transform(texts) -> (n, width_) float32`.

    `width` is the most dimensions (`width_` ≤ width for small corpora), `vocabulary` the most terms, `seed` the seed of
    the randomised SVD. Equal input and seed give equal vectors.
    """

    # Which features `triples` measures (`routing.features.measured`).
    SOURCE = TFIDF

    def __init__(self, width: int = 128, vocabulary: int = 50_000, seed: int = 0) -> None:
        self.width = width
        self.vocabulary = vocabulary
        self.seed = seed

    def fit(self, texts: Iterable[str], y: object = None) -> Self:
        """Learn terms and directions. Repeated texts count once. Raises ValueError without texts."""
        distinct = list(dict.fromkeys(texts))
        if not distinct:
            raise ValueError("TextEmbedding.fit needs at least one text.")
        tfidf = self._vectorizer(min_df=2 if len(distinct) >= LARGE else 1)
        try:
            weights = tfidf.fit_transform(distinct)
        except ValueError:  # no text holds a word
            self.terms_, self.idf_, self.components_ = [], np.empty(0), np.zeros((1, 0), dtype=np.float32)
            self.scale_ = np.zeros(1, dtype=np.float32)
            return self
        self.terms_ = [str(term) for term in tfidf.get_feature_names_out()]
        self.idf_ = tfidf.idf_
        directions, scale = self._directions(weights)
        self.components_, self.scale_ = directions.astype(np.float32), scale.astype(np.float32)
        return self

    def transform(self, texts: Sequence[str]) -> np.ndarray:
        """(n, width_) float32 with rows of unit length; zero rows for texts without a known term."""
        check_is_fitted(self)
        if not self.terms_ or not len(texts):
            return np.zeros((len(texts), self.width_), dtype=np.float32)
        return self._reduce(self._fitted_vectorizer().transform(texts))

    def triples(self, prompts: Sequence[str], a: Sequence[str], b: Sequence[str]) -> tuple[np.ndarray, Nearness]:
        """([prompt | A | B] (n, 3 width_) float32, how near A and B are). A text that occurs twice is read once."""
        check_is_fitted(self)
        place = {text: row for row, text in enumerate(dict.fromkeys([*prompts, *a, *b]))}
        rows = [[place[text] for text in texts] for texts in (prompts, a, b)]
        if not self.terms_ or not place:
            vectors, cosine = np.zeros((len(place), self.width_), dtype=np.float32), np.full(len(a), np.nan)
        else:
            weights = self._fitted_vectorizer().transform(place)
            vectors = self._reduce(weights)
            cosine = np.asarray(weights[rows[1]].multiply(weights[rows[2]]).sum(axis=1), dtype=np.float64).ravel()
            said = np.diff(weights.indptr) > 0
            cosine[~(said[rows[1]] & said[rows[2]])] = np.nan
        aligned = [alignment.of_words(self._lexicon(), first, second) for first, second in zip(a, b, strict=True)]
        found = np.array(aligned, dtype=np.float64).reshape(-1, 3)
        return np.hstack([vectors[each] for each in rows]), Nearness(cosine, found[:, 0], found[:, 1:])

    def _reduce(self, weights: Any) -> np.ndarray:
        return np.asarray(normalize(weights @ self.components_.T), dtype=np.float32)

    def _lexicon(self) -> alignment.Lexicon:
        """Words with their directions (rows of V Σ, unit length) and rarity; made once, pairs of words left out."""
        if not hasattr(self, "_words"):
            alone = [(term, row) for row, term in enumerate(self.terms_) if " " not in term]
            rows = [row for _term, row in alone]
            vectors = normalize(self.components_.T[rows] * self.scale_) if alone else np.zeros((0, self.width_))
            self._words = alignment.Lexicon(
                {term: place for place, (term, _row) in enumerate(alone)}, vectors, self.idf_[rows].astype(np.float64)
            )
        return self._words

    @property
    def width_(self) -> int:
        return int(self.components_.shape[0])

    def save(self, path: Path | str) -> str:
        """Write to one file without pickle; returns its SHA-256."""
        check_is_fitted(self)
        return artifact.save(path, self, kind=KIND, version=VERSION)

    @classmethod
    def load(cls, path: Path | str, *, sha256: str | None = None) -> TextEmbedding:
        """Raises artifact.ArtifactMismatch when the file is no text embedding, or not the one with `sha256`."""
        embedding: TextEmbedding = artifact.load(path, kind=KIND, version=VERSION, sha256=sha256, into=cls)
        return embedding

    def to_arrays(self) -> tuple[dict[str, np.ndarray], Any]:
        return {"components": self.components_, "idf": self.idf_, "scale": self.scale_}, {
            "parameters": self.get_params(),
            "terms": self.terms_,
        }

    @classmethod
    def from_arrays(cls, arrays: dict[str, np.ndarray], meta: Any) -> TextEmbedding:
        embedding = cls(**meta["parameters"])
        embedding.terms_, embedding.idf_ = meta["terms"], arrays["idf"]
        embedding.components_, embedding.scale_ = arrays["components"], arrays["scale"]
        return embedding

    def _directions(self, weights: Any) -> tuple[np.ndarray, np.ndarray]:
        """(width_, terms) right singular vectors and (width_,) singular values; exact when there are few texts."""
        if min(weights.shape) <= self.width:
            _, values, directions = np.linalg.svd(weights.toarray(), full_matrices=False)
            kept = values > 1e-6 * values[0]
            return np.asarray(directions[kept]), np.asarray(values[kept])
        fitted = TruncatedSVD(self.width, random_state=self.seed).fit(weights)
        return np.asarray(fitted.components_), np.asarray(fitted.singular_values_)

    def _vectorizer(self, **options: Any) -> TfidfVectorizer:
        return TfidfVectorizer(
            analyzer=terms, max_features=self.vocabulary, sublinear_tf=True, dtype=np.float32, **options
        )

    def _fitted_vectorizer(self) -> TfidfVectorizer:
        if not hasattr(self, "_ready"):
            self._ready = self._vectorizer(vocabulary={term: column for column, term in enumerate(self.terms_)})
            self._ready.idf_ = self.idf_
        return self._ready

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in super().__getstate__().items() if name not in ("_ready", "_words")}
