"""UltraFeedback binarized, in the layout of HuggingFaceH4/ultrafeedback_binarized: full chats with a score each.

TRL refuses it as it is, because `prompt` is text and the chats are messages: remove the column `prompt`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows, scores
from annotator.formats.pairs import MESSAGES, META, Pair, PairWriter
from annotator.formats.published import better, conversations
from annotator.formats.rows import Entry
from annotator.formats.source import Config, Options, Row, Source
from annotator.formats.splits import TRAIN
from annotator.protocols import Definition

TITLE = "UltraFeedback binarized"
LABELER = "ultrafeedback"
COLUMNS = {
    "prompt": _("left aside: the chats begin with it"),
    "prompt_id": _("name of the prompt"),
    "chosen": _("the prompt and the better response; which becomes A is drawn"),
    "rejected": _("the other response"),
    "messages": _("left aside: it repeats the chosen chat"),
    "score_chosen": _("how clearly the chosen response is better, with the other score"),
    "score_rejected": _("how clearly the chosen response is better, with the other score"),
    "meta_source": _("who judged; the labeler “ultrafeedback” where there is none"),
}
KNOWN = ("prompt", "prompt_id", "chosen", "rejected", "messages")
SPLITS = {True: "train_prefs", False: "test_prefs"}

joined = better.named


class UltraFeedbackBinarized(PairWriter):
    title = TITLE
    group = "published"

    def __init__(self, protocol: Definition, options: Options) -> None:
        super().__init__(protocol, options)
        self.attribute = scores.scored_by(protocol)

    @property
    def configs(self) -> tuple[Config, ...]:
        columns: list[tuple[str, pa.DataType]] = [
            ("prompt", pa.string()),
            ("prompt_id", pa.string()),
            ("chosen", MESSAGES),
            ("rejected", MESSAGES),
            ("messages", MESSAGES),
            ("score_chosen", pa.float64()),
            ("score_rejected", pa.float64()),
        ]
        return (Config(self.main, pa.schema([*columns, *META]), "one row a pair: two full chats with scores"),)

    @property
    def notes(self) -> list[str]:
        return [
            "`prompt` is the conversation as one string and `messages` the chosen chat. TRL wants `prompt` removed: "
            '`rows.remove_columns(["prompt", "messages"])`.',
            scores.about(self.attribute)
            + (" Null where nobody rated the response." if self.attribute else "")
            + " They are not UltraFeedback's, which a model gave.",
            "The validation split is called `test_prefs`, as in the original; there are no `sft` and `gen` splits.",
            *super().notes,
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        for row in super().rows(source):
            yield row._replace(split=SPLITS[row.split == TRAIN])

    def row(self, pair: Pair) -> dict[str, Any]:
        chosen, rejected = scores.scores_of(pair, self.attribute)
        conversation = pair.conversation(pair.chosen)
        return {
            "prompt": pair.prompt.text,
            "prompt_id": pair.prompt.key,
            "chosen": conversation,
            "rejected": pair.conversation(pair.rejected),
            "messages": conversation,
            "score_chosen": chosen,
            "score_rejected": rejected,
            **pair.meta,
        }


def claims(row: Mapping[str, Any]) -> bool:
    chats = all(isinstance(row.get(name), list) for name in ("chosen", "rejected"))
    return chats and not row.keys().isdisjoint(("score_chosen", "score_rejected"))


def read(row: Mapping[str, Any]) -> Entry:
    """One row; the original's scores are a model's, 1 to 10. Raises RowInvalid."""
    left = better.summed_up(row)
    chosen, rejected = (conversations.turns_of(row[name], name, left) for name in better.SIDES)
    turns, texts = conversations.taken_apart(chosen, rejected, better.SIDES, left)
    conversations.filled(turns, texts)
    prompt_id = row.get("prompt_id")
    prompt = rows.prompt_row(None if prompt_id is None else rows.identifier(prompt_id, "prompt_id"), turns, [])
    said = better.said_by(row, _strength(row), otherwise=LABELER)
    return better.entry(
        better.row_id(row), prompt, texts, better.models_of(row), said, better.metadata_of(row, KNOWN), left
    )


def _strength(row: Mapping[str, Any]) -> float:
    """A model's scores say by their distance how clear it was; people's say nothing of the two compared."""
    given = [rows.number(row.get(name), name, -1000, 1000) for name in ("score_chosen", "score_rejected")]
    chosen, rejected = given
    if better.labeler_of(row.get("meta_source"), LABELER) == "" or chosen is None or rejected is None:
        return 1.0
    return min(1.0, max(0.0, (chosen - rejected) / (scores.HIGHEST - scores.LOWEST)))
