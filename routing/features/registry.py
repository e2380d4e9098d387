"""What a feature is, how functions become features, and the words by which their values are told.

A feature is one function over a batch, registered by its own name. `@feature` is for what can be read off the texts
alone; `routing.features.similarity` registers those that an embedding measures, under the same roof.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from routing.text import Reading, read

# Where a feature's values come from: the texts alone, TF-IDF, or a model that reads sentences.
TEXT, TFIDF, SENTENCES = "text", "tfidf", "sentences"


class Prompt(Protocol):
    @property
    def turns(self) -> Any: ...
    @property
    def context(self) -> Any: ...


class Response(Protocol):
    @property
    def text(self) -> Any: ...


class Pair(Protocol):
    """A comparison, as far as features read it."""

    @property
    def prompt(self) -> Any: ...
    @property
    def response_a(self) -> Any: ...
    @property
    def response_b(self) -> Any: ...


Compute = Callable[[Any], np.ndarray]
Words = Callable[[float, tuple[float, float]], str]


@dataclass(frozen=True)
class Feature:
    """One feature: its function, its words, whether it flips under exchange of A and B, and its usual low and high.

    `usual` are values under which it is low and over which it is high when the project's quantiles are not given.
    """

    name: str
    compute: Compute
    words: Words
    signed: bool
    usual: tuple[float, float]
    source: str

    @property
    def meaning(self) -> str:
        """The first line of what its function says of itself."""
        return (self.compute.__doc__ or "").strip().splitlines()[0]


FEATURES: dict[str, Feature] = {}


def feature(
    words: Words, *, signed: bool = False, usual: tuple[float, float] = (0.0, 1.0), source: str = TEXT
) -> Callable[[Compute], Compute]:
    """Register a function as the feature of its own name."""

    def register(compute: Compute) -> Compute:
        name = compute.__name__
        FEATURES[name] = Feature(name, compute, words, signed, usual, source)
        return compute

    return register


# Reading pairs


def reading_a(pair: Pair) -> Reading:
    return read(pair.response_a.text)


def reading_b(pair: Pair) -> Reading:
    return read(pair.response_b.text)


def reading_prompt(pair: Pair) -> Reading:
    """The conversation without its system turn, as one text."""
    return read("\n\n".join(turn["content"] for turn in pair.prompt.turns if turn["role"] != "system"))


def reading_last_turn(pair: Pair) -> Reading:
    """The latest turn: its language is the one an answer should have."""
    turns = [turn["content"] for turn in pair.prompt.turns if turn["role"] != "system"]
    return read(turns[-1] if turns else "")


def each(pairs: Sequence[Pair], value: Callable[[Pair], float]) -> np.ndarray:
    """(n,) float64, one value a pair."""
    return np.array([value(pair) for pair in pairs], dtype=np.float64)


def difference(pairs: Sequence[Pair], value: Callable[[Reading], float]) -> np.ndarray:
    """(n,) the value of B minus the value of A."""
    return each(pairs, lambda pair: value(reading_b(pair)) - value(reading_a(pair)))


def either(pairs: Sequence[Pair], value: Callable[[Reading], float]) -> np.ndarray:
    """(n,) 1 where the value of a response is not 0, else 0."""
    return each(pairs, lambda pair: float(bool(value(reading_a(pair))) or bool(value(reading_b(pair)))))


def least(a: float, b: float) -> float:
    """The smaller of those that are known; NaN when neither is."""
    known = [value for value in (a, b) if not math.isnan(value)]
    return min(known) if known else math.nan


# Words


def graded(noun: str, low: str = "short", middle: str = "middling", high: str = "long") -> Words:
    def words(value: float, quantiles: tuple[float, float]) -> str:
        word = low if value <= quantiles[0] else high if value >= quantiles[1] else middle
        return f"{word} {noun} ({value:,.0f} words)"

    return words


def more(noun: str, none: str) -> Words:
    def words(value: float, _: tuple[float, float]) -> str:
        if value == 0:
            return none
        return f"{'B' if value > 0 else 'A'} has {abs(value):,.0f} more {noun}"

    return words


def yes(yes: str, no: str) -> Words:
    return lambda value, _: yes if value > 0 else no


def percent(before: str, after: str) -> Words:
    return lambda value, _: f"{before}{value:.0%}{after}"


def count(singular: str, plural: str, none: str) -> Words:
    return lambda value, _: none if value == 0 else f"{value:,.0f} {singular if value == 1 else plural}"
