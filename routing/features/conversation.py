"""Languages of prompt and responses, and what the conversation is made of: turns, documents, questions, numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from routing.features.registry import (
    Pair,
    count,
    difference,
    each,
    feature,
    least,
    more,
    reading_a,
    reading_b,
    reading_last_turn,
    reading_prompt,
    yes,
)


@feature(yes("prompt in English", "prompt not in English"))
def prompt_english(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the last turn is English by py3langid, 0 when not, NaN under 20 letters."""
    return each(pairs, lambda pair: _is(reading_last_turn(pair).language, "en"))


def _is(language: str | None, wanted: str | None) -> float:
    return math.nan if language is None or wanted is None else float(language == wanted)


def _answers_in_language(pair: Pair) -> tuple[float, float]:
    wanted = reading_last_turn(pair).language
    return _is(reading_a(pair).language, wanted), _is(reading_b(pair).language, wanted)


def _language_difference_words(value: float, _: tuple[float, float]) -> str:
    return f"only {'B' if value > 0 else 'A'} is in the prompt's language" if value else "languages alike"


@feature(_language_difference_words, signed=True, usual=(-1, 1))
def language_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """B is in the last turn's language minus A is: -1, 0 or 1; NaN when a language is unknown (under 20 letters)."""
    answers = np.array([_answers_in_language(pair) for pair in pairs]).reshape(-1, 2)
    return np.asarray(answers[:, 1] - answers[:, 0])


@feature(yes("a response in another language than the prompt", "responses in the prompt's language"))
def language_mismatch(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response is not in the last turn's language, else 0; NaN when neither can be told."""
    return each(pairs, lambda pair: 1 - least(*_answers_in_language(pair)))


@feature(count("turn", "turns", "no turns"), usual=(1, 3))
def turns(pairs: Sequence[Pair]) -> np.ndarray:
    """Turns of the conversation, system turn out. Unit: turns."""
    return each(pairs, lambda pair: sum(turn["role"] != "system" for turn in pair.prompt.turns))


@feature(yes("system turn", "no system turn"))
def system_turn(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the conversation opens with a system turn, else 0."""
    return each(pairs, lambda pair: float(any(turn["role"] == "system" for turn in pair.prompt.turns)))


@feature(count("context document", "context documents", "no context documents"))
def context_documents(pairs: Sequence[Pair]) -> np.ndarray:
    """Documents that came with the prompt. Unit: documents."""
    return each(pairs, lambda pair: len(pair.prompt.context or ()))


@feature(count("question in the prompt", "questions in the prompt", "no question mark in the prompt"), usual=(0, 2))
def prompt_questions(pairs: Sequence[Pair]) -> np.ndarray:
    """Question marks of the prompt. Unit: marks."""
    return each(pairs, lambda pair: reading_prompt(pair).questions)


@feature(count("number in the prompt", "numbers in the prompt", "no numbers in the prompt"), usual=(0, 3))
def prompt_numbers(pairs: Sequence[Pair]) -> np.ndarray:
    """Numbers written with digits in the prompt. Unit: numbers."""
    return each(pairs, lambda pair: reading_prompt(pair).numbers)


@feature(more("numbers", "as many numbers in both"), signed=True, usual=(-3, 3))
def numbers_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Numbers written with digits in B minus A. Unit: numbers, signed."""
    return difference(pairs, lambda response: response.numbers)


@feature(more("questions", "as many questions in both"), signed=True)
def questions_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Question marks in B minus A. Unit: marks, signed."""
    return difference(pairs, lambda response: response.questions)
