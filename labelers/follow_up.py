"""A response is better the likelier a satisfied user's next words are after it, and the less a dissatisfied one's.

Follow-up Likelihood as Reward (FLR): mean over F⁺ of log p(f | x, y)/|f|, minus the same over F⁻. Prefill of (x, y) is
shared between its follow-ups. The formula is as we understand the paper; the follow-ups are our own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

from labelers.base import PROMPTS
from labelers.density_ratio import Model, engine
from labelers.logprobs import Cache, Score, Tokens, Unscorable
from labelers.pointwise import Case, Pointwise, Scored


class FollowUp(Pointwise):
    """`good`, `bad`: what a satisfied and a dissatisfied user would say next; ours where none are given."""

    CODE_VERSION = 1
    PROMPT_FILES = ("follow_up_good.txt", "follow_up_bad.txt")

    def __init__(
        self,
        model: Model,
        *,
        good: Sequence[str] = (),
        bad: Sequence[str] = (),
        cut: Literal["refuse", "context"] = "refuse",
        slope: float = 1.0,
        tie: float = 1e-6,
        resident: bool = False,
        cache: Cache | None = None,
    ) -> None:
        self.engine = engine(model, cache, cut, 1.0)
        self.slope, self.tie, self.resident = slope, tie, resident
        self.good, self.bad = (
            list(given) or (PROMPTS / name).read_text().splitlines()
            for given, name in zip((good, bad), self.PROMPT_FILES, strict=True)
        )

    @property
    def provenance(self) -> dict[str, Any]:
        return {"models": {"model": self.engine.identity}, "templates": {"model": self.engine.texts.digest}}

    def free(self) -> None:
        self.engine.loaded.free()

    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        asked = [[self._tokens(case, text) for text in case.responses] for case in cases]
        texts = [tokens for each in asked for all_of in each if isinstance(all_of, list) for tokens in all_of]
        scores = iter(self.engine.score(texts))
        if not self.resident:
            self.free()
        count = len(self.good) + len(self.bad)
        return [
            [
                Scored(None, problem=str(all_of))
                if isinstance(all_of, Unscorable)
                else self._scored([next(scores) for _number in range(count)])
                for all_of in each
            ]
            for each in asked
        ]

    def _tokens(self, case: Case, text: str) -> list[Tokens] | Unscorable:
        turns = [*case.turns, {"role": "assistant", "content": text}]
        try:
            said = [*self.good, *self.bad]
            return [self.engine.texts.tokens(turns, follow_up, role="user", end="none") for follow_up in said]
        except Unscorable as problem:
            return problem

    def _scored(self, scores: Sequence[Score]) -> Scored:
        each = [score.total / score.tokens for score in scores]
        good, bad = each[: len(self.good)], each[len(self.good) :]
        high, low = sum(good) / len(good), sum(bad) / len(bad)
        return Scored(high - low, provenance={"log_p": [high, low]})
