"""How near the responses are in meaning (Hybrid Preferences: bertscore, bertscore_length, cosine_sim).

Two sets of the same three measures: by a model of sentences where one is configured, and by TF-IDF where none is. They
have names of their own, because they are not the same thing. What is read here is a batch that an embedding measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from routing.features.registry import SENTENCES, TFIDF, feature, percent


@dataclass(frozen=True)
class Nearness:
    """n pairs of responses as an embedding sees them.

    `cosine` (n,) of their vectors, in [-1, 1]; `alignment` (n,) F1 of their words or tokens, each aligned with the one
    nearest to it in the other response, in [-1, 1]; `lengths` (n, 2) of A and B in those words or tokens. NaN in the
    first two where a response has none.
    """

    cosine: np.ndarray
    alignment: np.ndarray
    lengths: np.ndarray


def length_damped(near: Nearness) -> np.ndarray:
    """(n,) alignment × exp(1 − longer / shorter): equal lengths keep it, unequal ones take it towards 0."""
    shorter, longer = near.lengths.min(axis=1), near.lengths.max(axis=1)
    ratio = np.divide(longer, shorter, out=np.full(len(shorter), np.inf), where=shorter > 0)
    return np.asarray(near.alignment * np.exp(1 - ratio))


@feature(percent("responses ", " alike (TF-IDF)"), usual=(0.2, 0.5), source=TFIDF)
def tfidf_cosine(near: Nearness) -> np.ndarray:
    """Cosine of the responses' TF-IDF vectors over words and word pairs, in [0, 1]."""
    return near.cosine


@feature(percent("words of the responses align to ", " (word vectors)"), usual=(0.4, 0.65), source=TFIDF)
def soft_alignment(near: Nearness) -> np.ndarray:
    """Soft alignment of words by their SVD vectors, weighted by rarity: F1 in [0, 1]. BERTScore without a model."""
    return near.alignment


@feature(percent("words of the responses align to ", " (word vectors, unequal lengths damped)"), source=TFIDF)
def soft_alignment_length(near: Nearness) -> np.ndarray:
    """Soft alignment × exp(1 − longer / shorter), lengths in words."""
    return length_damped(near)


@feature(percent("responses ", " alike (sentence vectors)"), usual=(0.6, 0.85), source=SENTENCES)
def sentence_cosine(near: Nearness) -> np.ndarray:
    """Cosine of the responses' sentence vectors by the configured model, in [-1, 1]."""
    return near.cosine


@feature(percent("tokens of the responses align to ", ""), usual=(0.6, 0.8), source=SENTENCES)
def bertscore_f1(near: Nearness) -> np.ndarray:
    """BERTScore F1 on the last layer of the configured model, in [-1, 1], not rescaled (Zhang et al. 2020)."""
    return near.alignment


@feature(percent("tokens of the responses align to ", " (unequal lengths damped)"), source=SENTENCES)
def bertscore_length(near: Nearness) -> np.ndarray:
    """BERTScore F1 × exp(1 − longer / shorter), lengths in tokens of the model."""
    return length_damped(near)
