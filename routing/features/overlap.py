"""What the two responses, and a response and its prompt, have in common (Hybrid Preferences: rouge, entity_sim)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from routing.features.registry import Pair, each, feature, percent, reading_a, reading_b, reading_prompt, yes
from routing.text import Reading

# Texts longer than this many words are cut for ROUGE-L, whose time grows with the product of both lengths.
ROUGE_WORDS = 4000


def rouge_l(a: Sequence[str], b: Sequence[str]) -> float:
    """ROUGE-L F1 of two word lists: 2 LCS / (|a| + |b|) (Lin 2004, with beta = 1); NaN when both are empty.

    The longest common subsequence by bit-parallel dynamic programming (Hyyrö 2004): one big-integer step a word of b.
    """
    a, b = a[:ROUGE_WORDS], b[:ROUGE_WORDS]
    if not a and not b:
        return math.nan
    places: dict[str, int] = {}
    for position, word in enumerate(a):
        places[word] = places.get(word, 0) | (1 << position)
    everything = (1 << len(a)) - 1
    unmatched = everything
    for word in b:
        matches = unmatched & places.get(word, 0)
        if matches:
            unmatched = ((unmatched + matches) | (unmatched - matches)) & everything
    return 2 * (len(a) - unmatched.bit_count()) / (len(a) + len(b))


@feature(percent("responses ", " alike (word order)"), usual=(0.15, 0.35))
def rouge_l_overlap(pairs: Sequence[Pair]) -> np.ndarray:
    """ROUGE-L F1 of the responses, in [0, 1], over the first 4,000 words. Source: Lin 2004."""
    return each(pairs, lambda pair: rouge_l(reading_a(pair).words, reading_b(pair).words))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else math.nan


@feature(percent("responses share ", " of their words"), usual=(0.15, 0.35))
def word_jaccard(pairs: Sequence[Pair]) -> np.ndarray:
    """Distinct words in both over distinct words in either, in [0, 1]; NaN when both are empty."""
    return each(pairs, lambda pair: _overlap(reading_a(pair).vocabulary, reading_b(pair).vocabulary))


@feature(percent("responses share ", " of their names and numbers"), usual=(0.1, 0.4))
def entity_overlap(pairs: Sequence[Pair]) -> np.ndarray:
    """Symmetric intersection over union of names and numbers, in [0, 1]; NaN when neither has any.

    Names are found without a model (capitalised spans, `routing.text.entities`): a stand-in for spaCy's entities.
    """
    return each(pairs, lambda pair: _overlap(reading_a(pair).entities, reading_b(pair).entities))


def _repeats(response: Reading, prompt: Reading) -> float:
    return len(response.vocabulary & prompt.vocabulary) / len(prompt.vocabulary) if prompt.vocabulary else math.nan


def _prompt_overlap_words(value: float, _: tuple[float, float]) -> str:
    if abs(value) < 0.05:
        return "both take up the prompt's words alike"
    return f"{'B' if value > 0 else 'A'} takes up more of the prompt's words"


@feature(_prompt_overlap_words, signed=True, usual=(-0.1, 0.1))
def prompt_overlap_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Share of the prompt's distinct words that are in B minus those in A, in [-1, 1]; NaN without a prompt word."""
    return each(
        pairs,
        lambda pair: _repeats(reading_b(pair), reading_prompt(pair)) - _repeats(reading_a(pair), reading_prompt(pair)),
    )


@feature(yes("equal responses", "different responses"))
def identical(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when both responses are the same text, else 0."""
    return each(pairs, lambda pair: float(pair.response_a.text == pair.response_b.text))
