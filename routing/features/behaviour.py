"""How the responses behave: refusals, repetition, answers that break off."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routing.features.registry import (
    Pair,
    difference,
    each,
    either,
    feature,
    least,
    percent,
    reading_a,
    reading_b,
    yes,
)


def _refusal_difference_words(value: float, _: tuple[float, float]) -> str:
    return f"only {'B' if value > 0 else 'A'} refuses" if value else "both or neither refuse"


@feature(_refusal_difference_words, signed=True, usual=(-1, 1))
def refusal_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """B opens like a refusal minus A does: -1, 0 or 1. By phrases in eight languages; not every refusal has one."""
    return difference(pairs, lambda response: float(response.refuses))


@feature(yes("a response refuses", "no refusal"))
def refusal_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response opens like a refusal, else 0."""
    return either(pairs, lambda response: response.refuses)


def _repetition_difference_words(value: float, _: tuple[float, float]) -> str:
    return "equally repetitive" if abs(value) < 0.05 else f"{'A' if value > 0 else 'B'} repeats itself more"


@feature(_repetition_difference_words, signed=True, usual=(-0.05, 0.05))
def distinct_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Share of distinct word trigrams in B minus A, in [-1, 1]; NaN when a response has under three words."""
    return difference(pairs, lambda response: response.distinct_trigrams)


@feature(percent("the more repetitive response has ", " distinct trigrams"), usual=(0.9, 0.99))
def distinct_least(pairs: Sequence[Pair]) -> np.ndarray:
    """Share of distinct word trigrams of the more repetitive response; NaN when both have under three words."""
    return each(pairs, lambda pair: least(reading_a(pair).distinct_trigrams, reading_b(pair).distinct_trigrams))


def _unfinished_words(value: float, _: tuple[float, float]) -> str:
    return f"only {'B' if value > 0 else 'A'} breaks off" if value else "both or neither break off"


@feature(_unfinished_words, signed=True, usual=(-1, 1))
def unfinished_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """B breaks off in mid-sentence minus A does: -1, 0 or 1. By its last character; code, lists and tables may."""
    return difference(pairs, lambda response: float(response.breaks_off))


@feature(yes("a response breaks off", "no response breaks off"))
def unfinished_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response breaks off in mid-sentence, else 0."""
    return either(pairs, lambda response: response.breaks_off)
