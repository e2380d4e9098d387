"""Labelers that score each response by itself: of a pair the margin decides, of N responses the order.

A score is comparable among responses to one prompt and nowhere else. There is no position here to be biased by.
"""

from __future__ import annotations

import hashlib
import json
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from labelers.base import Outcome, Pair, Prompt, Verdict, verdict_of

Turns = list[dict[str, str]]


@dataclass(frozen=True)
class Case:
    """A prompt with any number of responses."""

    prompt: Prompt
    responses: tuple[str, ...]

    @property
    def turns(self) -> Turns:
        """The conversation; documents open its last user turn, as people see them beside it."""
        turns = [{"role": turn["role"], "content": turn["content"]} for turn in self.prompt.turns]
        documents = [f"{each.get('title', '')}\n{each['text']}".strip() for each in self.prompt.context or ()]
        for turn in reversed(turns if documents else []):
            if turn["role"] == "user":
                turn["content"] = "\n\n".join([*documents, turn["content"]])
                break
        return turns

    @property
    def digest(self) -> bytes:
        """For draws that depend on the prompt alone."""
        return hashlib.sha256(json.dumps(self.turns, sort_keys=True).encode()).digest()


@dataclass(frozen=True)
class Scored:
    """What a response is worth. `value` is None when it could not be scored; `problem` says why."""

    value: float | None
    problem: str = ""
    attributes: dict[str, float] = field(default_factory=dict)
    # (start, end, value) in code points of the response.
    per_token: tuple[tuple[int, int, float], ...] | None = None
    provenance: dict[str, Any] = field(default_factory=dict)


class Pointwise(ABC):
    """`slope` turns a margin into a probability, p(B) = σ(slope · (b − a)): a guess until calibration has seen people.

    Margins up to `tie` are a tie: equal texts have equal scores, and nothing hangs on the last digits of a sum.
    """

    slope: float = 1.0
    tie: float = 1e-6

    @abstractmethod
    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        """A score for each response of each case, in their order; one case's failure stays its own."""

    @property
    def provenance(self) -> dict[str, Any]:
        """What made every score of this labeler."""
        return {}

    def free(self) -> None:  # noqa: B027  # most keep nothing
        """Give back the memory of its models, if it keeps any; the next call reads them again."""

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        cases = [Case(pair.prompt, (pair.response_a.text, pair.response_b.text)) for pair in pairs]
        provenance = self.provenance
        return [self._verdict(a, b, provenance) for a, b in self.score(cases)]

    def _verdict(self, a: Scored, b: Scored, provenance: dict[str, Any]) -> Verdict:
        whole = {**provenance, "a": a.provenance, "b": b.provenance}
        if a.value is None or b.value is None:
            return Verdict(Outcome.ERROR, provenance={**whole, "error": a.problem or b.problem})
        margin = b.value - a.value
        names = [name for name in a.attributes if name in b.attributes]
        return verdict_of(
            0.5 if abs(margin) <= self.tie else sigmoid(self.slope * margin),
            scores=(a.value, b.value),
            attributes={name: {"a": a.attributes[name], "b": b.attributes[name]} for name in names},
            per_token=None if a.per_token is None or b.per_token is None else (a.per_token, b.per_token),
            provenance=whole,
        )


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


@dataclass(frozen=True)
class Chosen:
    """A pair made from N scored responses, by their places."""

    chosen: int
    rejected: int
    margin: float


def pair_of(
    case: Case,
    scored: Sequence[Scored],
    how: Literal["best_worst", "best_random"] = "best_worst",
    seed: int = 0,
    tie: float = 0.0,
) -> Chosen | None:
    """The best response against the worst, or against one drawn among those that are worse than it.

    None where there is nothing to choose: fewer than two scores, all equal (within `tie`), or no other text. The draw
    depends on `seed` and the prompt.
    """
    known = [(each.value, place) for place, each in enumerate(scored) if each.value is not None]
    if len(known) < 2:
        return None
    # Of equal scores the first place, so that the same file gives the same pairs.
    top, best = max(known, key=lambda each: (each[0], -each[1]))
    worse = [each for each in known if top - each[0] > tie and case.responses[each[1]] != case.responses[best]]
    if not worse:
        return None
    if how == "best_worst":
        low, rejected = min(worse)
    else:
        drawn = hashlib.sha256(f"{seed}".encode() + case.digest).digest()
        low, rejected = worse[int.from_bytes(drawn[:8], "big") % len(worse)]
    return Chosen(best, rejected, top - low)
