"""TRL's reward format: conversations `chosen` and `rejected`, with a `margin` that RewardTrainer reads.

Columns of ours begin with `meta_`: TRL changes its behaviour on names such as `margin`, `images`, `completion`.
A null margin stops RewardTrainer, so every row has one or the column is absent.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from annotator.formats.pairs import MESSAGES, META, Pair, PairWriter
from annotator.formats.source import Config

MARGINS = {
    "strength": "`margin` is the size of people's mean preference, 0 (none) to 1 (the strongest answer on the "
    "scale); 0 where only an AI labeler judged, whose probability is not a strength.",
    "llama2": "`margin` is the size of people's mean preference, 0 (none) to 3 (the strongest answer on the scale).",
    "soft": "`margin` is |2 p - 1| of the label's probability: 0 (even) to 1 (all agree).",
    "none": "There is no `margin` column.",
}


class TrlReward(PairWriter):
    title = "TRL reward"
    heeds = PairWriter.heeds | {"margin", "prompt"}

    @property
    def configs(self) -> tuple[Config, ...]:
        columns: list[tuple[str, Any]] = [("prompt", MESSAGES)] if self.options.prompt == "explicit" else []
        columns += [("chosen", MESSAGES), ("rejected", MESSAGES)]
        if self.options.margin != "none":
            columns.append(("margin", pa.float32()))
        return (
            Config("default", pa.schema([*columns, *META]), "one row a comparison: the better answer and the other"),
        )

    @property
    def notes(self) -> list[str]:
        return [
            MARGINS[self.options.margin],
            *super().notes,
            "`meta_p_chosen` is the label's probability that the chosen answer is the better one.",
            "RewardTrainer leaves out rows longer than its `max_length`; raise it if prompts are long.",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        before = [] if self.options.prompt == "explicit" else pair.prompt.messages
        row: dict[str, Any] = {
            "prompt": pair.prompt.messages,
            "chosen": [*before, {"role": "assistant", "content": pair.chosen.text}],
            "rejected": [*before, {"role": "assistant", "content": pair.rejected.text}],
            **pair.meta,
        }
        if self.options.margin != "none":
            row["margin"] = pair.margin(self.options.margin)
        return row
