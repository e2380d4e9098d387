"""RewardBench (arXiv 2403.13787), first version: one instruction, a better and a worse answer, named subsets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.pairs import META, Pair, PairWriter
from annotator.formats.published import better, conversations
from annotator.formats.rows import Entry
from annotator.formats.source import Config, Judged, Row, Source

TITLE = "RewardBench"
COLUMNS = {
    "id": _("name of the comparison, with the subset"),
    "prompt": _("the prompt"),
    "chosen": _("the better response; which becomes A is drawn"),
    "chosen_model": _("its model"),
    "rejected": _("the other response"),
    "rejected_model": _("its model"),
    "meta_source": _("the AI labeler that judged; people where there is none"),
}
KNOWN = ("prompt", "chosen", "rejected", "chosen_model", "rejected_model")
# The split that the benchmark's own program reads.
SPLIT = "filtered"
# What the project's data may call the parts of a benchmark, and the name of the part that has none.
_SUBSETS = ("subset", "category", "domain")
NO_SUBSET = "default"


def subset_of(judged: Judged) -> str:
    said = {**judged.prompt.metadata, **judged.metadata}
    return next((str(said[name]) for name in _SUBSETS if said.get(name)), NO_SUBSET)


class RewardBench(PairWriter):
    title = TITLE
    group = "published"
    heeds = PairWriter.heeds - {"validation", "seed"}

    @property
    def configs(self) -> tuple[Config, ...]:
        text = ("prompt", "chosen", "chosen_model", "rejected", "rejected_model", "subset")
        columns = [*((name, pa.string()) for name in text), ("id", pa.int64())]
        meta = [(name, kind) for name, kind in META if name not in better.MODELS]
        return (Config(self.main, pa.schema([*columns, *meta]), "one row a pair: an instruction and two answers"),)

    @property
    def notes(self) -> list[str]:
        return [
            "The benchmark's prompts are one instruction; conversations of several turns and with system turns are "
            "left out.",
            "`subset` is what the project's data call subset, category or domain, else `default`; the benchmark's "
            "averages over its own subsets do not apply.",
            "`id` is a number made of the comparison's id, which is in `meta_comparison_id`.",
            *super().notes,
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        for row in super().rows(source):
            yield row._replace(split=SPLIT)

    def row(self, pair: Pair) -> dict[str, Any] | None:
        prompt, reason = conversations.only_turn(pair.prompt)
        if reason:
            self.left_out[reason] += 1
            return None
        return {
            "prompt": prompt,
            "chosen": pair.chosen.text,
            "chosen_model": pair.chosen.model,
            "rejected": pair.rejected.text,
            "rejected_model": pair.rejected.model,
            "subset": subset_of(pair.judged),
            "id": int.from_bytes(sha256(pair.key.encode()).digest()[:6]),
            **{name: value for name, value in pair.meta.items() if name not in better.MODELS},
        }


def claims(row: Mapping[str, Any]) -> bool:
    texts = all(isinstance(row.get(name), str) for name in ("prompt", "chosen", "rejected"))
    return texts and row.keys() >= {"chosen_model", "subset", "id"}


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid."""
    texts = [row.get(name) for name in better.SIDES]
    turns = [{"role": "user", "content": rows.text(row.get("prompt"), "prompt", empty=True)}]
    conversations.filled(turns, texts)
    prompt = rows.prompt_row(None, turns, [])
    models = [row.get(f"{name}_model") for name in better.SIDES]
    name = f"{rows.text(row['subset'], 'subset', width=100)}:{rows.identifier(row['id'], 'id')}"
    left = better.summed_up(row)
    return better.entry(name, prompt, texts, models, better.said_by(row), better.metadata_of(row, KNOWN), left)
