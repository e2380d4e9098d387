"""Lengths, in words (Hybrid Preferences: prompt_len, len_shorter, len_longer, token_len_diff; theirs in tokens)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from routing.features.registry import (
    Pair,
    difference,
    each,
    feature,
    graded,
    more,
    percent,
    reading_a,
    reading_b,
    reading_prompt,
)


@feature(graded("prompt"), usual=(20, 120))
def prompt_words(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of all turns but the system turn. Unit: words."""
    return each(pairs, lambda pair: len(reading_prompt(pair).words))


@feature(graded("shorter response"), usual=(60, 250))
def shorter_words(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of the shorter response. Unit: words."""
    return each(pairs, lambda pair: min(len(reading_a(pair).words), len(reading_b(pair).words)))


@feature(graded("longer response"), usual=(120, 400))
def longer_words(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of the longer response. Unit: words."""
    return each(pairs, lambda pair: max(len(reading_a(pair).words), len(reading_b(pair).words)))


@feature(more("words", "equally long"), signed=True, usual=(-50, 50))
def words_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of B minus words of A. Unit: words, signed."""
    return difference(pairs, lambda response: len(response.words))


def _log_length_words(value: float, _: tuple[float, float]) -> str:
    times = math.exp(abs(value))
    return "about equally long" if times < 1.1 else f"{'B' if value > 0 else 'A'} {times:.1f} times as long"


@feature(_log_length_words, signed=True, usual=(-0.3, 0.3))
def log_length_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """log(1 + words of B) − log(1 + words of A). Unit: natural logarithm, signed."""
    return difference(pairs, lambda response: math.log1p(len(response.words)))


@feature(
    lambda value, q: (
        f"lengths {'close' if value <= q[0] else 'far apart' if value >= q[1] else 'apart'} ({value:,.0f} words)"
    ),
    usual=(20, 120),
)
def words_gap(pairs: Sequence[Pair]) -> np.ndarray:
    """Absolute difference of lengths. Unit: words."""
    return np.abs(words_difference(pairs))


@feature(percent("shorter response has ", " of the longer one's length"), usual=(0.5, 0.85))
def length_ratio(pairs: Sequence[Pair]) -> np.ndarray:
    """Shorter over longer, in [0, 1]; NaN when both are empty. Unit: ratio of words."""
    longer = longer_words(pairs)
    return np.divide(shorter_words(pairs), longer, out=np.full(len(pairs), np.nan), where=longer > 0)
