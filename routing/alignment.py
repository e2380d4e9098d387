"""How well the words of two texts align: each with the nearest one of the other text, the way BERTScore does it.

F1 of precision (the words of B, each with its nearest of A) and recall (the words of A). With a language model's token
vectors this is BERTScore (Zhang et al. 2020, equations 1 to 3, without its optional rescaling). Without one it is done
here on the SVD's word vectors, weighted by rarity as that paper's optional weighting does; it sees words without their
context, so it is called soft alignment and never BERTScore.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from routing.text import read

# Words of a text that are aligned: the time grows with the product of both.
WORDS = 400


@dataclass(frozen=True)
class Lexicon:
    """`place`: word → row of `vectors` (w, d), which have unit length, and of `rarity` (w,), its inverse frequency."""

    place: Mapping[str, int]
    vectors: np.ndarray
    rarity: np.ndarray

    @property
    def unseen(self) -> float:
        """The rarity of a word that is not in the lexicon: that of the rarest one."""
        return float(self.rarity.max()) if len(self.rarity) else 1.0


def of_words(lexicon: Lexicon, a: str, b: str) -> tuple[float, int, int]:
    """(F1 in [0, 1], words of A, words of B); F1 is NaN when a text has no word.

    Of the first 400 words of each. A word that stands in both aligns with itself; one that the lexicon does not know
    aligns with nothing else; likeness below 0 counts 0.
    """
    all_a, all_b = read(a).words, read(b).words
    counts_a, counts_b = _counts(all_a[:WORDS]), _counts(all_b[:WORDS])
    if not counts_a or not counts_b:
        return math.nan, len(all_a), len(all_b)
    precision, recall = _share(lexicon, counts_b, counts_a), _share(lexicon, counts_a, counts_b)
    return _f1(precision, recall), len(all_a), len(all_b)


def of_tokens(a: np.ndarray, b: np.ndarray) -> float:
    """BERTScore F1 of token vectors (p, d) and (q, d) of unit length, in [-1, 1]; NaN when a text has no token."""
    if not len(a) or not len(b):
        return math.nan
    likeness = a @ b.T
    return _f1(float(likeness.max(axis=0).mean()), float(likeness.max(axis=1).mean()))


def _f1(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _counts(words: list[str]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for word in words:
        counts[word] = counts.get(word, 0) + 1
    return counts


def _share(lexicon: Lexicon, words: Mapping[str, int], others: Mapping[str, int]) -> float:
    """Mean likeness of `words` to their nearest of `others`, weighted by count and rarity."""
    total = aligned = 0.0
    rows, weights = [], []
    for word, count in words.items():
        row = lexicon.place.get(word)
        weight = count * (lexicon.unseen if row is None else float(lexicon.rarity[row]))
        total += weight
        if word in others:
            aligned += weight
        elif row is not None:
            rows.append(row)
            weights.append(weight)
    known = [lexicon.place[word] for word in others if word in lexicon.place]
    if rows and known:
        nearest = (lexicon.vectors[rows] @ lexicon.vectors[known].T).max(axis=1)
        aligned += float(np.maximum(nearest, 0) @ np.asarray(weights))
    return aligned / total
