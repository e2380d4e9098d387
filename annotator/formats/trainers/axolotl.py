"""Axolotl: `dpo` for `chat_template.default`, `bradley_terry` for reward models, which read single turns only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from annotator.formats.pairs import MESSAGES, META, Pair, PairWriter
from annotator.formats.source import TURN, Config, Judged
from annotator.formats.trainers.trl import P_CHOSEN
from annotator.formats.trainers.turns import answer, apart

DPO = pa.schema([("messages", MESSAGES), ("chosen", TURN), ("rejected", TURN), *META])
FLAT = pa.schema([(name, pa.string()) for name in ("system", "input", "chosen", "rejected")] + META)


class Axolotl(PairWriter):
    title = "Axolotl"
    main = "dpo"
    containers = ("parquet", "jsonl")

    @property
    def configs(self) -> tuple[Config, ...]:
        return (
            Config(self.main, DPO, "one row a comparison, for `type: chat_template.default`"),
            Config("bradley_terry", FLAT, "those of one turn, for `type: bradley_terry.chat_template`"),
        )

    @property
    def notes(self) -> list[str]:
        return [
            "`bradley_terry` has the comparisons whose prompt is one user turn, with a system turn or without; "
            "Axolotl's reward models read no others. `system` is empty where there is none.",
            *super().notes,
            P_CHOSEN,
            "There is no margin: Axolotl reads none. It cuts conversations to `sequence_len`.",
        ]

    def row(self, pair: Pair) -> dict[str, Any]:
        texts = {"chosen": answer(pair.chosen.text), "rejected": answer(pair.rejected.text)}
        return {"messages": pair.prompt.messages, **texts, **pair.meta}

    def tables(self, judged: Judged) -> Iterator[tuple[str, dict[str, Any]]]:
        system, turns = apart(judged.prompt.messages)
        pairs = self.pairs(judged)
        is_flat = len(turns) == 1 and turns[0]["role"] == "user"
        if pairs and not is_flat:
            self.left_out["more than one turn (bradley_terry)"] += 1
        for pair in pairs:
            yield self.main, self.row(pair)
            if is_flat:
                texts = {"chosen": pair.chosen.text, "rejected": pair.rejected.text}
                yield "bradley_terry", {"system": system, "input": turns[0]["content"], **texts, **pair.meta}
