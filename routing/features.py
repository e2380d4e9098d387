"""Model-free features of comparisons: what can be read off the texts alone.

A feature is one function over a batch of pairs, registered by its name. Signed features are B minus A and flip when A
and B are exchanged; all others stay. NaN means "not defined here". A pair is anything with `.prompt.turns` (list of
{"role", "content"}), `.prompt.context` (list of {"title", "text"}), `.response_a.text` and `.response_b.text`.

Sources: the nine textual measures of Hybrid Preferences (arXiv 2410.19133, section 3) as far as they need no model,
corrected (ROUGE-L is ROUGE-L, entity overlap is symmetric, lengths are ranked over the whole project), and our own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from routing.text import Reading, read

# Bump when a function's values change: stored features are then made anew (tests/routing/test_features.py says when).
CODE_VERSION = 1
# Texts longer than this many words are cut for ROUGE-L, whose time grows with the product of both lengths.
ROUGE_WORDS = 4000
CHUNK = 512


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


Compute = Callable[[Sequence[Pair]], np.ndarray]
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


FEATURES: dict[str, Feature] = {}


def extract(pairs: Sequence[Pair]) -> np.ndarray:
    """(n, k) float64, columns in the order of NAMES; NaN where a feature is not defined. Batches of any size."""
    chunks = [pairs[start : start + CHUNK] for start in range(0, len(pairs), CHUNK)]
    if not chunks:
        return np.empty((0, len(NAMES)))
    return np.vstack([np.column_stack([f.compute(chunk) for f in FEATURES.values()]) for chunk in chunks])


def symmetric(values: np.ndarray) -> np.ndarray:
    """`extract`'s columns with signed ones made absolute: what is left is the same when A and B are exchanged."""
    return np.where(SIGNED, np.abs(values), values)


def describe(name: str, value: float, quantiles: tuple[float, float] | None = None) -> str:
    """A feature's value in words ("responses 40% alike", "long prompt").

    `quantiles` are the values under which a third and over which a third of the project lies; without them the
    feature's usual ones serve. Raises KeyError for an unknown name.
    """
    feature = FEATURES[name]
    if math.isnan(value):
        return f"{name.replace('_', ' ')} not defined"
    return feature.words(value, quantiles or feature.usual)


def percentile_ranks(values: np.ndarray, of: np.ndarray | None = None) -> np.ndarray:
    """Mid-ranks in [0, 1] of `values` within the whole project's distribution `of` (default: the values themselves).

    Ranking inside a subset makes every bin equally full (a defect of the published code), so `of` is always the
    project. NaN stays NaN; equal values get equal ranks.
    """
    known = np.sort(of if of is not None else values)
    known = known[~np.isnan(known)]
    if not len(known):
        return np.full(len(values), np.nan)
    low, high = np.searchsorted(known, values, "left"), np.searchsorted(known, values, "right")
    return np.where(np.isnan(values), np.nan, (low + high) / (2 * len(known)))


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


# Reading pairs


def _a(pair: Pair) -> Reading:
    return read(pair.response_a.text)


def _b(pair: Pair) -> Reading:
    return read(pair.response_b.text)


def _prompt(pair: Pair) -> Reading:
    """The conversation without its system turn, as one text."""
    return read("\n\n".join(turn["content"] for turn in pair.prompt.turns if turn["role"] != "system"))


def _last_turn(pair: Pair) -> Reading:
    """The latest turn: its language is the one an answer should have."""
    turns = [turn["content"] for turn in pair.prompt.turns if turn["role"] != "system"]
    return read(turns[-1] if turns else "")


def _each(pairs: Sequence[Pair], value: Callable[[Pair], float]) -> np.ndarray:
    return np.array([value(pair) for pair in pairs], dtype=np.float64)


def _difference(pairs: Sequence[Pair], value: Callable[[Reading], float]) -> np.ndarray:
    return _each(pairs, lambda pair: value(_b(pair)) - value(_a(pair)))


def _either(pairs: Sequence[Pair], value: Callable[[Reading], float]) -> np.ndarray:
    return _each(pairs, lambda pair: float(bool(value(_a(pair))) or bool(value(_b(pair)))))


# Words


def _graded(noun: str, low: str = "short", middle: str = "middling", high: str = "long") -> Words:
    def words(value: float, quantiles: tuple[float, float]) -> str:
        word = low if value <= quantiles[0] else high if value >= quantiles[1] else middle
        return f"{word} {noun} ({value:,.0f} words)"

    return words


def _more(noun: str, none: str) -> Words:
    def words(value: float, _: tuple[float, float]) -> str:
        if value == 0:
            return none
        return f"{'B' if value > 0 else 'A'} has {abs(value):,.0f} more {noun}"

    return words


def _yes(yes: str, no: str) -> Words:
    return lambda value, _: yes if value > 0 else no


def _percent(before: str, after: str) -> Words:
    return lambda value, _: f"{before}{value:.0%}{after}"


def _count(singular: str, plural: str, none: str) -> Words:
    return lambda value, _: none if value == 0 else f"{value:,.0f} {singular if value == 1 else plural}"


def feature(
    words: Words, *, signed: bool = False, usual: tuple[float, float] = (0.0, 1.0)
) -> Callable[[Compute], Compute]:
    """Register a function as the feature of its own name."""

    def register(compute: Compute) -> Compute:
        name = compute.__name__
        FEATURES[name] = Feature(name, compute, words, signed, usual)
        return compute

    return register


# Lengths (Hybrid Preferences: prompt_len, len_shorter, len_longer, token_len_diff; theirs in Llama tokens)


@feature(_graded("prompt"), usual=(20, 120))
def prompt_words(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of all turns but the system turn. Unit: words."""
    return _each(pairs, lambda pair: len(_prompt(pair).words))


@feature(_graded("shorter response"), usual=(60, 250))
def shorter_words(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of the shorter response. Unit: words."""
    return _each(pairs, lambda pair: min(len(_a(pair).words), len(_b(pair).words)))


@feature(_graded("longer response"), usual=(120, 400))
def longer_words(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of the longer response. Unit: words."""
    return _each(pairs, lambda pair: max(len(_a(pair).words), len(_b(pair).words)))


@feature(_more("words", "equally long"), signed=True, usual=(-50, 50))
def words_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Words of B minus words of A. Unit: words, signed."""
    return _difference(pairs, lambda response: len(response.words))


def _log_length_words(value: float, _: tuple[float, float]) -> str:
    times = math.exp(abs(value))
    return "about equally long" if times < 1.1 else f"{'B' if value > 0 else 'A'} {times:.1f} times as long"


@feature(_log_length_words, signed=True, usual=(-0.3, 0.3))
def log_length_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """log(1 + words of B) − log(1 + words of A). Unit: natural logarithm, signed."""
    return _difference(pairs, lambda response: math.log1p(len(response.words)))


@feature(
    lambda value, q: (
        f"lengths {'close' if value <= q[0] else 'far apart' if value >= q[1] else 'apart'} ({value:,.0f} words)"
    ),
    usual=(20, 120),
)
def words_gap(pairs: Sequence[Pair]) -> np.ndarray:
    """Absolute difference of lengths. Unit: words."""
    return np.abs(words_difference(pairs))


@feature(_percent("shorter response has ", " of the longer one's length"), usual=(0.5, 0.85))
def length_ratio(pairs: Sequence[Pair]) -> np.ndarray:
    """Shorter over longer, in [0, 1]; NaN when both are empty. Unit: ratio of words."""
    longer = longer_words(pairs)
    return np.divide(shorter_words(pairs), longer, out=np.full(len(pairs), np.nan), where=longer > 0)


# Overlap of the responses (Hybrid Preferences: rouge, entity_sim)


@feature(_percent("responses ", " alike (word order)"), usual=(0.15, 0.35))
def rouge_l_overlap(pairs: Sequence[Pair]) -> np.ndarray:
    """ROUGE-L F1 of the responses, in [0, 1], over the first 4,000 words. Source: Lin 2004."""
    return _each(pairs, lambda pair: rouge_l(_a(pair).words, _b(pair).words))


def _overlap(a: frozenset[str], b: frozenset[str]) -> float:
    return len(a & b) / len(a | b) if a or b else math.nan


@feature(_percent("responses share ", " of their words"), usual=(0.15, 0.35))
def word_jaccard(pairs: Sequence[Pair]) -> np.ndarray:
    """Distinct words in both over distinct words in either, in [0, 1]; NaN when both are empty."""
    return _each(pairs, lambda pair: _overlap(_a(pair).vocabulary, _b(pair).vocabulary))


@feature(_percent("responses share ", " of their names and numbers"), usual=(0.1, 0.4))
def entity_overlap(pairs: Sequence[Pair]) -> np.ndarray:
    """Symmetric intersection over union of names and numbers, in [0, 1]; NaN when neither has any.

    Names are found without a model (capitalised spans, `routing.text.entities`): a stand-in for spaCy's entities.
    """
    return _each(pairs, lambda pair: _overlap(_a(pair).entities, _b(pair).entities))


# Format


@feature(_more("list lines", "as many list lines in both"), signed=True)
def list_lines_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """List lines (bulleted or numbered) in B minus A. Unit: lines, signed."""
    return _difference(pairs, lambda response: response.list_lines)


@feature(_yes("a response has a list", "no lists"))
def lists_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a list line, else 0."""
    return _either(pairs, lambda response: response.list_lines)


@feature(_more("code pieces", "as much code in both"), signed=True)
def code_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Fenced blocks and inline code in B minus A. Unit: pieces, signed."""
    return _difference(pairs, lambda response: response.code)


@feature(_yes("a response has code", "no code"))
def code_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has fenced or inline code, else 0."""
    return _either(pairs, lambda response: response.code)


@feature(_more("formulas", "as many formulas in both"), signed=True)
def maths_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """TeX formulas in B minus A. Unit: formulas, signed."""
    return _difference(pairs, lambda response: response.maths)


@feature(_yes("a response has formulas", "no formulas"))
def maths_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a TeX formula, else 0."""
    return _either(pairs, lambda response: response.maths)


@feature(_more("tables", "as many tables in both"), signed=True)
def tables_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Markdown tables in B minus A. Unit: tables, signed."""
    return _difference(pairs, lambda response: response.tables)


@feature(_yes("a response has a table", "no tables"))
def tables_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a Markdown table, else 0."""
    return _either(pairs, lambda response: response.tables)


@feature(_more("headings", "as many headings in both"), signed=True)
def headings_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Markdown headings in B minus A. Unit: headings, signed."""
    return _difference(pairs, lambda response: response.headings)


@feature(_yes("a response has headings", "no headings"))
def headings_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response has a Markdown heading, else 0."""
    return _either(pairs, lambda response: response.headings)


@feature(_yes("code in the prompt", "no code in the prompt"))
def prompt_code(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the prompt has fenced or inline code, else 0."""
    return _each(pairs, lambda pair: float(_prompt(pair).code > 0))


# Language


@feature(_yes("prompt in English", "prompt not in English"))
def prompt_english(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the last turn is English by py3langid, 0 when not, NaN under 20 letters."""
    return _each(pairs, lambda pair: _is(_last_turn(pair).language, "en"))


def _is(language: str | None, wanted: str | None) -> float:
    return math.nan if language is None or wanted is None else float(language == wanted)


def _answers_in_language(pair: Pair) -> tuple[float, float]:
    wanted = _last_turn(pair).language
    return _is(_a(pair).language, wanted), _is(_b(pair).language, wanted)


def _language_difference_words(value: float, _: tuple[float, float]) -> str:
    return f"only {'B' if value > 0 else 'A'} is in the prompt's language" if value else "languages alike"


@feature(_language_difference_words, signed=True, usual=(-1, 1))
def language_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """B is in the last turn's language minus A is: -1, 0 or 1; NaN when a language is unknown (under 20 letters)."""
    answers = np.array([_answers_in_language(pair) for pair in pairs]).reshape(-1, 2)
    return np.asarray(answers[:, 1] - answers[:, 0])


@feature(_yes("a response in another language than the prompt", "responses in the prompt's language"))
def language_mismatch(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response is not in the last turn's language, else 0; NaN when neither can be told."""
    return _each(pairs, lambda pair: 1 - _least(*_answers_in_language(pair)))


def _least(a: float, b: float) -> float:
    known = [value for value in (a, b) if not math.isnan(value)]
    return min(known) if known else math.nan


# Conversation


@feature(_count("turn", "turns", "no turns"), usual=(1, 3))
def turns(pairs: Sequence[Pair]) -> np.ndarray:
    """Turns of the conversation, system turn out. Unit: turns."""
    return _each(pairs, lambda pair: sum(turn["role"] != "system" for turn in pair.prompt.turns))


@feature(_yes("system turn", "no system turn"))
def system_turn(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when the conversation opens with a system turn, else 0."""
    return _each(pairs, lambda pair: float(any(turn["role"] == "system" for turn in pair.prompt.turns)))


@feature(_count("context document", "context documents", "no context documents"))
def context_documents(pairs: Sequence[Pair]) -> np.ndarray:
    """Documents that came with the prompt. Unit: documents."""
    return _each(pairs, lambda pair: len(pair.prompt.context or ()))


@feature(_count("question in the prompt", "questions in the prompt", "no question mark in the prompt"), usual=(0, 2))
def prompt_questions(pairs: Sequence[Pair]) -> np.ndarray:
    """Question marks of the prompt. Unit: marks."""
    return _each(pairs, lambda pair: _prompt(pair).questions)


@feature(_count("number in the prompt", "numbers in the prompt", "no numbers in the prompt"), usual=(0, 3))
def prompt_numbers(pairs: Sequence[Pair]) -> np.ndarray:
    """Numbers written with digits in the prompt. Unit: numbers."""
    return _each(pairs, lambda pair: _prompt(pair).numbers)


@feature(_more("numbers", "as many numbers in both"), signed=True, usual=(-3, 3))
def numbers_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Numbers written with digits in B minus A. Unit: numbers, signed."""
    return _difference(pairs, lambda response: response.numbers)


@feature(_more("questions", "as many questions in both"), signed=True)
def questions_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Question marks in B minus A. Unit: marks, signed."""
    return _difference(pairs, lambda response: response.questions)


# Behaviour


def _refusal_difference_words(value: float, _: tuple[float, float]) -> str:
    return f"only {'B' if value > 0 else 'A'} refuses" if value else "both or neither refuse"


@feature(_refusal_difference_words, signed=True, usual=(-1, 1))
def refusal_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """B opens like a refusal minus A does: -1, 0 or 1. By phrases in eight languages; not every refusal has one."""
    return _difference(pairs, lambda response: float(response.refuses))


@feature(_yes("a response refuses", "no refusal"))
def refusal_either(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when a response opens like a refusal, else 0."""
    return _either(pairs, lambda response: response.refuses)


def _repetition_difference_words(value: float, _: tuple[float, float]) -> str:
    return "equally repetitive" if abs(value) < 0.05 else f"{'A' if value > 0 else 'B'} repeats itself more"


@feature(_repetition_difference_words, signed=True, usual=(-0.05, 0.05))
def distinct_difference(pairs: Sequence[Pair]) -> np.ndarray:
    """Share of distinct word trigrams in B minus A, in [-1, 1]; NaN when a response has under three words."""
    return _difference(pairs, lambda response: response.distinct_trigrams)


@feature(_percent("the more repetitive response has ", " distinct trigrams"), usual=(0.9, 0.99))
def distinct_least(pairs: Sequence[Pair]) -> np.ndarray:
    """Share of distinct word trigrams of the more repetitive response; NaN when both have under three words."""
    return _each(pairs, lambda pair: _least(_a(pair).distinct_trigrams, _b(pair).distinct_trigrams))


@feature(_yes("equal responses", "different responses"))
def identical(pairs: Sequence[Pair]) -> np.ndarray:
    """1 when both responses are the same text, else 0."""
    return _each(pairs, lambda pair: float(pair.response_a.text == pair.response_b.text))


def _version(features: Mapping[str, Feature]) -> str:
    names = "\n".join(f"{name} {item.signed}" for name, item in features.items())
    return f"{CODE_VERSION}-{hashlib.sha256(names.encode()).hexdigest()[:12]}"


NAMES: tuple[str, ...] = tuple(FEATURES)
SIGNED: np.ndarray = np.array([item.signed for item in FEATURES.values()])
VERSION: str = _version(FEATURES)
