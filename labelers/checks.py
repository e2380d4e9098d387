"""Checks of a labeler that need no people: pairs whose right answer is known because of how they were made.

`make` builds a check's pairs from pairs of the project, the same for the same seed; the caller has them judged, in
their order, and `Check.evaluate` turns the verdicts into a rate with its interval. A case that got no verdict counts
nowhere but in `unusable`. Each prompt is drawn at most once, so the cases are independent.

    name            a case                                              it passes when
    swap            a pair, and the same with A and B exchanged         the sides are exchanged too (a tie stays one)
    duplicate       a response against itself                           it is a tie, or nearly: |p − ½| ≤ `NEARLY`
    padding         a response against itself said twice                the padded one does not win
    criterion_flip  a pair under a criterion and under its reverse      the sides are exchanged; ties do not pass
    contrast        two prompts that are close to each other, each      its own response wins under each prompt
                    with its own response and the other's               (chance: one in four)
    shuffle         a pair judged twice, in another place of the batch  p is the same to within `SAME`

Sources: swap, Zheng et al. 2023 (MT-Bench); padding, their repetitive list attack; contrast, Contrast Instructions
(Shen et al. 2023); criterion flip, Pitis et al. 2024 (context-aware preference models). The thresholds are ours.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from labelers.base import Pair, Prompt, Verdict
from labelers.measures import wilson

MOST = 50
# The least share of cases that have to pass.
THRESHOLDS = {
    "swap": 0.9,
    "duplicate": 0.95,
    "padding": 0.9,
    "criterion_flip": 0.8,
    "contrast": 0.7,
    "shuffle": 0.99,
}
NAMES = tuple(THRESHOLDS)
NEARLY, SAME = 0.05, 0.01
# A criterion and its reverse, which any labeler that reads criteria must be able to tell apart.
FLIP = ("Which response is more detailed?", "Which response is less detailed?")
# Under so little likeness two prompts are just two prompts (cosine of character n-grams).
CLOSE = 0.1
# Neighbours are looked for among so many prompts.
AMONG = 1000


@dataclass(frozen=True)
class Text:
    text: str


@dataclass(frozen=True)
class Made:
    """A pair made for a check: a `labelers.base.Pair` of the project's own texts."""

    prompt: Prompt
    response_a: Text
    response_b: Text
    criterion: str = ""
    metadata: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Checked:
    """Wilson interval. pass: rate ≥ threshold; fail: high < threshold; unsure: below it, but maybe by chance."""

    name: str
    n: int
    passed: int
    rate: float | None
    low: float | None
    high: float | None
    threshold: float
    outcome: Literal["pass", "fail", "unsure"]
    unusable: int


# Positions in a check's pairs, each with whether A and B are exchanged there: then 1 − p is meant.
Case = tuple[tuple[int, bool], ...]


@dataclass(frozen=True)
class Check:
    """`pairs`: what is to be judged. `cases`: which of them belong together."""

    name: str
    pairs: tuple[Pair, ...]
    cases: tuple[Case, ...]
    # p of a case's pairs, turned where A and B are exchanged → whether it passes.
    passes: Callable[[Sequence[float]], bool]

    def evaluate(self, verdicts: Sequence[Verdict]) -> Checked:
        """Of one verdict for each of `pairs`, in their order."""
        if len(verdicts) != len(self.pairs):
            raise ValueError(f"{self.name}: {len(self.pairs)} pairs got {len(verdicts)} verdicts.")
        said = [self._said(case, verdicts) for case in self.cases]
        told = [self.passes(p) for p in said if p is not None]
        return checked(self.name, sum(told), len(told), len(said) - len(told))

    def _said(self, case: Case, verdicts: Sequence[Verdict]) -> list[float] | None:
        p = [verdicts[place].p_b for place, _turned in case]
        known = [each for each in p if each is not None]
        if len(known) < len(p):
            return None
        return [1 - each if turned else each for each, (_place, turned) in zip(known, case, strict=True)]


def checked(name: str, passed: int, n: int, unusable: int) -> Checked:
    threshold = THRESHOLDS[name]
    if not n:
        return Checked(name, 0, 0, None, None, None, threshold, "unsure", unusable)
    low, high = wilson(passed / n, n)
    outcome: Literal["pass", "fail", "unsure"] = "pass" if passed / n >= threshold else "unsure"
    if high < threshold:
        outcome = "fail"
    return Checked(name, n, passed, passed / n, low, high, threshold, outcome, unusable)


def make(
    name: str,
    pairs: Sequence[Pair],
    *,
    seed: int = 0,
    most: int = MOST,
    people: Sequence[float] | None = None,
    criteria: tuple[str, str] = FLIP,
) -> Check:
    """The check `name` (one of `NAMES`) on at most `most` cases drawn from `pairs`.

    `people`: share of votes for B of each pair, so that contrast can take the response that people preferred.
    `criteria`: a criterion and its reverse, for criterion_flip. Raises KeyError for a name that is no check.
    """
    rng = np.random.default_rng([seed, *name.encode()])
    if name == "contrast":
        return _contrast(pairs, rng, most, people)
    return _MAKERS[name](_drawn(pairs, rng, most), rng, criteria)


def _drawn(pairs: Sequence[Pair], rng: np.random.Generator, most: int) -> list[Pair]:
    """At most one pair of a prompt, in a drawn order; pairs of one text are no cases."""
    by_prompt: dict[str, Pair] = {}
    for place in rng.permutation(len(pairs)).tolist():
        pair = pairs[place]
        if pair.response_a.text != pair.response_b.text:
            by_prompt.setdefault(_key(pair), pair)
    return list(by_prompt.values())[:most]


def _key(pair: Pair) -> str:
    return json.dumps([pair.prompt.turns, pair.prompt.context], sort_keys=True, default=str)


def made(pair: Pair, a: str, b: str, criterion: str | None = None) -> Made:
    said = getattr(pair, "criterion", "") if criterion is None else criterion
    return Made(pair.prompt, Text(a), Text(b), said, dict(getattr(pair, "metadata", None) or {}))


def _swap(pairs: list[Pair], _rng: np.random.Generator, _criteria: tuple[str, str]) -> Check:
    turned = [made(pair, pair.response_b.text, pair.response_a.text) for pair in pairs]
    cases = _twice(len(pairs), turned=True)
    return Check("swap", (*pairs, *turned), cases, lambda p: _side(p[0]) == _side(p[1]))


def _duplicate(pairs: list[Pair], rng: np.random.Generator, _criteria: tuple[str, str]) -> Check:
    texts = [(pair, _either(pair, rng)) for pair in pairs]
    same = tuple(made(pair, text, text) for pair, text in texts)
    cases = tuple(((place, False),) for place in range(len(same)))
    return Check("duplicate", same, cases, lambda p: abs(p[0] - 0.5) <= NEARLY)


def _padding(pairs: list[Pair], rng: np.random.Generator, _criteria: tuple[str, str]) -> Check:
    """The padded one is A in some and B in others: a labeler that always names one side must not pass by it."""
    padded, cases = [], []
    for place, pair in enumerate(pairs):
        text = _either(pair, rng)
        turned = bool(rng.integers(2))
        twice = f"{text}\n\n{text}"
        padded.append(made(pair, twice, text) if turned else made(pair, text, twice))
        cases.append(((place, turned),))
    return Check("padding", tuple(padded), tuple(cases), lambda p: p[0] <= 0.5 + NEARLY)


def _criterion_flip(pairs: list[Pair], _rng: np.random.Generator, criteria: tuple[str, str]) -> Check:
    under = [
        made(pair, pair.response_a.text, pair.response_b.text, criterion) for criterion in criteria for pair in pairs
    ]
    cases = _twice(len(pairs), turned=True)
    return Check("criterion_flip", tuple(under), cases, lambda p: _side(p[0]) == _side(p[1]) != 0)


def _shuffle(pairs: list[Pair], rng: np.random.Generator, _criteria: tuple[str, str]) -> Check:
    order = rng.permutation(len(pairs)).tolist()
    again = {place: len(pairs) + new for new, place in enumerate(order)}
    cases = tuple(((place, False), (again[place], False)) for place in range(len(pairs)))
    shuffled = tuple(pairs[place] for place in order)
    return Check("shuffle", (*pairs, *shuffled), cases, lambda p: abs(p[0] - p[1]) <= SAME)


_MAKERS: dict[str, Callable[[list[Pair], np.random.Generator, tuple[str, str]], Check]] = {
    "swap": _swap,
    "duplicate": _duplicate,
    "padding": _padding,
    "criterion_flip": _criterion_flip,
    "shuffle": _shuffle,
}


def _contrast(pairs: Sequence[Pair], rng: np.random.Generator, most: int, people: Sequence[float] | None) -> Check:
    """The closest prompts first, each prompt in one case."""
    votes = {id(pair): vote for pair, vote in zip(pairs, people or (), strict=bool(people))}
    single = _drawn(pairs, rng, AMONG)
    own = [_preferred(pair, votes.get(id(pair), 0.5), rng) for pair in single]
    asked: list[Pair] = []
    cases: list[Case] = []
    for one, other in _neighbours(single, own)[:most]:
        case = []
        for place, another in ((one, other), (other, one)):
            turned = bool(rng.integers(2))
            mine, foreign = own[place], own[another]
            case.append((len(asked), turned))
            asked.append(made(single[place], mine, foreign) if turned else made(single[place], foreign, mine))
        cases.append(tuple(case))
    return Check("contrast", tuple(asked), tuple(cases), lambda p: min(p) > 0.5)


def _preferred(pair: Pair, vote: float, rng: np.random.Generator) -> str:
    if vote == 0.5:
        return _either(pair, rng)
    return (pair.response_b if vote > 0.5 else pair.response_a).text


def _neighbours(pairs: Sequence[Pair], own: Sequence[str]) -> list[tuple[int, int]]:
    """Pairs of prompts in the order of their likeness, no prompt twice, none with the same response."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    if len(pairs) < 2:
        return []
    texts = [" ".join(turn["content"] for turn in pair.prompt.turns) for pair in pairs]
    vectors = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit_transform(texts)
    alike = np.triu((vectors @ vectors.T).toarray(), 1)
    ones, others = np.nonzero(alike >= CLOSE)
    used: set[int] = set()
    found: list[tuple[int, int]] = []
    for place in np.argsort(-alike[ones, others], kind="stable").tolist():
        one, other = int(ones[place]), int(others[place])
        if not {one, other} & used and own[one] != own[other]:
            used |= {one, other}
            found.append((one, other))
    return found


def _either(pair: Pair, rng: np.random.Generator) -> str:
    return (pair.response_a, pair.response_b)[int(rng.integers(2))].text


def _twice(count: int, *, turned: bool) -> tuple[Case, ...]:
    """Cases of pairs that stand twice, the second time `count` places on."""
    return tuple(((place, False), (count + place, turned)) for place in range(count))


def _side(p_b: float) -> int:
    return (p_b > 0.5) - (p_b < 0.5)
