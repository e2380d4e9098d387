"""NeMo RL: ranked completions (PreferenceDataset), and the same pairs as plain answers (BinaryPreferenceDataset)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.pairs import MESSAGES, META, Pair, PairWriter
from annotator.formats.source import Config, Judged
from annotator.formats.trainers.trl import P_CHOSEN
from annotator.formats.trainers.turns import answer

COMPLETION = pa.struct([("rank", pa.int64()), ("completion", MESSAGES)])
RANKED = pa.schema([("context", MESSAGES), ("completions", pa.list_(COMPLETION)), *META])
BINARY = pa.schema([("prompt", MESSAGES), ("chosen", pa.string()), ("rejected", pa.string()), *META])


class NemoRl(PairWriter):
    title = "NeMo RL"
    main = "preference"
    containers = ("jsonl",)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (
            Config(self.main, RANKED, "one row a comparison, for PreferenceDataset: rank 0 is the better answer"),
            Config("binary", BINARY, "the same rows for BinaryPreferenceDataset: answers as plain text"),
        )

    @property
    def notes(self) -> list[str]:
        return [
            "Reward models and DPO take exactly two completions of different rank: every row has ranks 0 and 1.",
            "`binary` needs `prompt_key: prompt`, `chosen_key: chosen`, `rejected_key: rejected`.",
            *super().notes,
            P_CHOSEN,
            "There is no margin: NeMo RL reads none.",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        ranked = enumerate((pair.chosen.text, pair.rejected.text))
        completions = [{"rank": rank, "completion": [answer(text)]} for rank, text in ranked]
        return {"context": pair.prompt.messages, "completions": completions, **pair.meta}

    def tables(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        for pair in self.pairs(judged):
            yield self.main, self.row(pair)
            texts = {"chosen": pair.chosen.text, "rejected": pair.rejected.text}
            yield "binary", {"prompt": pair.prompt.messages, **texts, **pair.meta}
