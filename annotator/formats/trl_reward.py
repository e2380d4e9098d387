"""TRL's reward format: conversations `chosen` and `rejected`, with a `margin` that RewardTrainer reads.

Columns of ours begin with `meta_`: TRL changes its behaviour on names such as `margin`, `images`, `completion`.
A null margin stops RewardTrainer, so every row has one or the column is absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.source import TURN, Config, FormatUnfit, Judged, Options, Row, Source, split_of
from annotator.protocols import Definition

_META = [
    ("meta_comparison_id", pa.string()),
    ("meta_prompt_id", pa.string()),
    ("meta_chosen_model", pa.string()),
    ("meta_rejected_model", pa.string()),
    ("meta_source", pa.string()),
    ("meta_p_chosen", pa.float64()),
    ("meta_p_tie", pa.float64()),
    ("meta_agreement", pa.float64()),
    ("meta_votes", pa.int32()),
]


class TrlReward:
    title = "TRL reward"
    heeds = frozenset({"ties", "neither", "margin", "prompt", "validation", "seed"})
    is_lossless = False

    def __init__(self, protocol: Definition, options: Options) -> None:
        if options.ties == "keep":
            raise FormatUnfit("TRL reward has no row for a tie: leave ties out, or write them both ways round.")
        self.options = options
        self.left_out: Counter[str] = Counter()

    @property
    def configs(self) -> tuple[Config, ...]:
        messages = pa.list_(TURN)
        columns: list[tuple[str, Any]] = [("prompt", messages)] if self.options.prompt == "explicit" else []
        columns += [("chosen", messages), ("rejected", messages)]
        if self.options.margin != "none":
            columns.append(("margin", pa.float32()))
        return (
            Config("default", pa.schema([*columns, *_META]), "one row a comparison: the better answer and the other"),
        )

    @property
    def notes(self) -> list[str]:
        margin = {
            "strength": "`margin` is the size of people's mean preference, 0 (none) to 1 (the strongest answer on the "
            "scale); 0 where only an AI labeler judged, whose probability is not a strength.",
            "soft": "`margin` is |2 p - 1| of the label's probability: 0 (even) to 1 (all agree).",
            "none": "There is no `margin` column.",
        }[self.options.margin]
        ties = {"both": "Ties are written twice, once each way round, with margin 0."}
        return [
            margin,
            ties.get(self.options.ties, "Ties are left out: the trainer has no loss for them."),
            "`meta_p_chosen` is the label's probability that the chosen answer is the better one.",
            "RewardTrainer leaves out rows longer than its `max_length`; raise it if prompts are long.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            reason = judged.unusable(self.options)
            if not reason and judged.label.is_tie and self.options.ties != "both":
                reason = "a tie"
            if reason:
                self.left_out[reason] += 1
                continue
            split = split_of(judged.prompt, self.options)
            for b_wins in self._ways(judged):
                yield Row("default", split, self._row(judged, b_wins))

    def _ways(self, judged: Judged) -> tuple[bool, ...]:
        if judged.label.is_tie:
            return (False, True)
        return ((judged.label.p_b or 0) > 0.5,)

    def _row(self, judged: Judged, b_wins: bool) -> dict[str, Any]:
        label, prompt = judged.label, judged.prompt.messages
        chosen, rejected = judged.response_a, judged.response_b
        if b_wins:
            chosen, rejected = rejected, chosen
        before = [] if self.options.prompt == "explicit" else prompt
        p_b = label.p_b or 0.0
        row = {
            "prompt": prompt,
            "chosen": [*before, {"role": "assistant", "content": chosen.text}],
            "rejected": [*before, {"role": "assistant", "content": rejected.text}],
            "margin": self._margin(judged, b_wins),
            "meta_comparison_id": judged.key,
            "meta_prompt_id": judged.prompt.key,
            "meta_chosen_model": chosen.model,
            "meta_rejected_model": rejected.model,
            "meta_source": label.source,
            "meta_p_chosen": p_b if b_wins else 1 - p_b,
            "meta_p_tie": label.p_tie,
            "meta_agreement": label.agreement,
            "meta_votes": label.votes,
        }
        return row

    def _margin(self, judged: Judged, b_wins: bool) -> float:
        label = judged.label
        if self.options.margin == "soft":
            return abs(2 * (label.p_b or 0.0) - 1)
        # Where a few strong votes outweigh the majority's mild ones, the margin is none rather than negative.
        towards_b = label.strength or 0.0
        return max(0.0, towards_b if b_wins else -towards_b)
