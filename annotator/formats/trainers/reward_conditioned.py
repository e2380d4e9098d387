"""Reward-conditioned pairs (reward-augmented DPO, arXiv 2410.08067): every pair twice, each with a score to reach.

Asked for the chosen response's score the chosen one is better; asked for the rejected response's score the rejected
one is. From the paper: the doubling, the score in front of the prompt as a system turn, its scale of 1 to 10. Ours: the
words; scores from people's ratings or the label instead of a judge model's; leaving out pairs whose two scores are
equal, which would contradict themselves; and doubling the validation split too.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats import scores
from annotator.formats.pairs import MESSAGES, META, Pair, PairWriter
from annotator.formats.source import Config, Judged, Options, Response
from annotator.protocols import Definition

GOAL = "Write a response that people would score {score} on a scale from 1 (worst) to 10 (best)."


class RewardConditioned(PairWriter):
    title = "Reward-conditioned pairs"
    group = "research"
    # A tie has equal scores by the label, and no winner by ratings.
    heeds = (PairWriter.heeds - {"ties"}) | {"prompt"}

    def __init__(self, protocol: Definition, options: Options) -> None:
        super().__init__(protocol, options)
        self.attribute = scores.scored_by(protocol)

    @property
    def configs(self) -> tuple[Config, ...]:
        columns: list[tuple[str, pa.DataType]] = [] if self.is_implicit else [("prompt", MESSAGES)]
        columns += [("chosen", MESSAGES), ("rejected", MESSAGES)]
        schema = pa.schema([*columns, ("meta_goal", pa.float64()), *META])
        return (Config(self.main, schema, "two rows a pair: each response chosen once, where its score is asked for"),)

    @property
    def is_implicit(self) -> bool:
        return self.options.prompt == "implicit"

    @property
    def notes(self) -> list[str]:
        return [
            "Reward-augmented DPO (arXiv 2410.08067): every pair stands here twice, with the score of the chosen "
            "response asked for in a system turn. In the second row the response that lost is the chosen one.",
            f"The goal, before a system turn that the prompt has: “{GOAL}” `meta_goal` is the score. Ask for 10 when "
            "you use the trained model.",
            scores.about(self.attribute),
            "Pairs whose scores are equal when rounded to tenths, or contradict the label, are left out; so are ties.",
            "`meta_chosen_model`, `meta_rejected_model` and `meta_p_chosen` are of the row's own chosen response. "
            "This is for training with a goal alone: as plain preferences half of the rows are wrong.",
        ]

    def tables(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        for pair in self.pairs(judged):
            goals, reason = self._goals(pair)
            if reason:
                self.left_out[reason] += 1
                continue
            high, low = goals
            yield self.main, self._conditioned(pair, pair.chosen, pair.rejected, high, pair.p_chosen)
            yield self.main, self._conditioned(pair, pair.rejected, pair.chosen, low, 1 - pair.p_chosen)

    def row(self, pair: Pair) -> None:
        """A pair has two rows: `tables` gives them."""

    def _goals(self, pair: Pair) -> tuple[tuple[float, float], str]:
        chosen, rejected = scores.scores_of(pair, self.attribute)
        if chosen is None or rejected is None:
            return (0, 0), f"nobody rated {self.attribute.key if self.attribute else ''}"
        high, low = round(chosen, 1), round(rejected, 1)
        if high == low:
            return (0, 0), "equal scores"
        return (high, low), "the better response has the lower score" if high < low else ""

    def _conditioned(
        self, pair: Pair, chosen: Response, rejected: Response, goal: float, p_chosen: float
    ) -> dict[str, Any]:
        prompt = conditioned(pair.prompt.messages, goal)
        before = prompt if self.is_implicit else []
        return {
            **pair.meta,
            **({} if self.is_implicit else {"prompt": prompt}),
            "chosen": [*before, {"role": "assistant", "content": chosen.text}],
            "rejected": [*before, {"role": "assistant", "content": rejected.text}],
            "meta_goal": goal,
            "meta_chosen_model": chosen.model,
            "meta_rejected_model": rejected.model,
            "meta_p_chosen": p_chosen,
        }


def conditioned(messages: list[dict[str, str]], goal: float) -> list[dict[str, str]]:
    """The messages with the goal in front: in a system turn of its own, or before the words of theirs."""
    words = GOAL.format(score=f"{goal:g}")
    if messages[0]["role"] == "system":
        return [{"role": "system", "content": f"{words}\n\n{messages[0]['content']}"}, *messages[1:]]
    return [{"role": "system", "content": words}, *messages]
