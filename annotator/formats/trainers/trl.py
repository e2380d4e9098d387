"""TRL's preference formats: what RewardTrainer and DPOTrainer load.

Columns of ours begin with `meta_`: TRL changes its behaviour on names such as `margin`, `images`, `completion`.
A null margin stops RewardTrainer, so every row has one or the column is absent.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from annotator.formats.pairs import MESSAGES, META, Pair, PairWriter
from annotator.formats.source import Config
from annotator.formats.trainers.turns import answer

ABOUT = "one row a comparison: the better answer and the other"
MARGINS = {
    "strength": "`margin` is the size of people's mean preference, 0 (none) to 1 (the strongest answer on the "
    "scale); 0 where only an AI labeler judged, whose probability is not a strength.",
    "llama2": "`margin` is the size of people's mean preference, 0 (none) to 3 (the strongest answer on the scale).",
    "soft": "`margin` is |2 p - 1| of the label's probability: 0 (even) to 1 (all agree).",
    "none": "There is no `margin` column.",
}
P_CHOSEN = "`meta_p_chosen` is the label's probability that the chosen answer is the better one."


def columns(explicit: bool, *more: tuple[str, Any]) -> pa.Schema:
    prompt: list[tuple[str, Any]] = [("prompt", MESSAGES)] if explicit else []
    return pa.schema([*prompt, ("chosen", MESSAGES), ("rejected", MESSAGES), *more, *META])


def conversations(pair: Pair, explicit: bool) -> dict[str, Any]:
    """`chosen` and `rejected` as whole conversations, or as answers beside `prompt`."""
    if explicit:
        texts = {"chosen": [answer(pair.chosen.text)], "rejected": [answer(pair.rejected.text)]}
        return {"prompt": pair.prompt.messages, **texts, **pair.meta}
    return {
        "chosen": pair.conversation(pair.chosen),
        "rejected": pair.conversation(pair.rejected),
        **pair.meta,
    }


class TrlReward(PairWriter):
    title = "TRL reward"
    heeds = PairWriter.heeds | {"margin", "prompt"}

    @property
    def is_explicit(self) -> bool:
        return self.options.prompt == "explicit"

    @property
    def configs(self) -> tuple[Config, ...]:
        margin = [] if self.options.margin == "none" else [("margin", pa.float32())]
        return (Config(self.main, columns(self.is_explicit, *margin), ABOUT),)

    @property
    def notes(self) -> list[str]:
        return [
            MARGINS[self.options.margin],
            *super().notes,
            P_CHOSEN,
            "RewardTrainer leaves out rows longer than its `max_length` (1,024 tokens unless set) without a word: "
            "compare the number of rows that it trains on.",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        row = conversations(pair, self.is_explicit)
        if self.options.margin != "none":
            row["margin"] = pair.margin(self.options.margin)
        return row


class TrlPreference(PairWriter):
    """For DPOTrainer and its kin, which read no margin."""

    title = "TRL preference (DPO)"
    heeds = PairWriter.heeds | {"prompt"}

    @property
    def is_explicit(self) -> bool:
        return self.options.prompt != "implicit"

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config(self.main, columns(self.is_explicit), ABOUT),)

    @property
    def notes(self) -> list[str]:
        return [
            *super().notes,
            P_CHOSEN,
            "DPOTrainer has no weight or soft label for a row: how sure a label is stands in `meta_*` alone. "
            "Choose by agreement before the export if unsure pairs should not count.",
            "DPOTrainer cuts conversations to its `max_length` (1,024 tokens unless set).",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        return conversations(pair, self.is_explicit)
