r"""Anthropic's hh-rlhf (arXiv 2204.05862): whole conversations as strings, `\n\nHuman: …\n\nAssistant: …`.

A text that contains such a tag would come back as other turns, so it is not written; the reader takes the longest
common beginning that ends in `\n\nAssistant:` for the prompt, as the set's users do.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.pairs import META, Pair, PairWriter
from annotator.formats.published import better, conversations
from annotator.formats.rows import Entry, RowInvalid
from annotator.formats.source import Config

TITLE = "hh-rlhf"
COLUMNS = {
    "chosen": _("the prompt and the better response; which becomes A is drawn"),
    "rejected": _("the other response"),
    "meta_source": _("the AI labeler that judged; people where there is none"),
}
_ROLES = {"user": "Human", "assistant": "Assistant"}
_TAG = re.compile(r"\n\n(Human|Assistant):")
_ANSWER = "\n\nAssistant:"

joined = better.named


class HhRlhf(PairWriter):
    title = TITLE
    group = "published"

    @property
    def configs(self) -> tuple[Config, ...]:
        columns = [("chosen", pa.string()), ("rejected", pa.string())]
        return (Config(self.main, pa.schema([*columns, *META]), "one row a pair: two whole conversations as text"),)

    @property
    def notes(self) -> list[str]:
        return [
            r"A conversation is one string: `\n\nHuman: ` before what people say, `\n\nAssistant: ` before answers; "
            "both columns begin with the prompt.",
            "Conversations with a system turn, or with such a tag in a text, have no place in this format and are "
            "left out.",
            *super().notes,
        ]

    def row(self, pair: Pair) -> dict[str, Any] | None:
        turns = pair.prompt.messages
        if any(turn["role"] not in _ROLES for turn in turns):
            self.left_out["a system turn"] += 1
            return None
        texts = [*(turn["content"] for turn in turns), pair.chosen.text, pair.rejected.text]
        if any(_TAG.search(text) for text in texts):
            self.left_out["a text with the tags that separate turns"] += 1
            return None
        said = "".join(f"\n\n{_ROLES[turn['role']]}: {turn['content']}" for turn in turns)
        two = {"chosen": pair.chosen.text, "rejected": pair.rejected.text}
        return {**{name: f"{said}{_ANSWER} {text}" for name, text in two.items()}, **pair.meta}


def claims(row: Mapping[str, Any]) -> bool:
    return "prompt" not in row and all(
        isinstance(row.get(name), str) and _TAG.match(row[name]) for name in ("chosen", "rejected")
    )


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid."""
    said = [rows.text(row.get(name), name) for name in better.SIDES]
    cut = _shared(*said)
    turns = _turns(said[0][: cut - len(_ANSWER)])
    left = better.summed_up(row)
    left += ["a response of several turns, kept as one text"] * any(_TAG.search(text[cut:]) for text in said)
    texts, models = [text[cut:].removeprefix(" ") for text in said], better.models_of(row)
    conversations.filled(turns, texts)
    prompt, metadata = rows.prompt_row(None, turns, []), better.metadata_of(row, better.SIDES)
    return better.entry(better.row_id(row), prompt, texts, models, better.said_by(row), metadata, left)


def _shared(chosen: str, rejected: str) -> int:
    """Where the longest common beginning that ends in `_ANSWER` ends."""
    ends = [match.end() for match in _TAG.finditer(chosen) if match[1] == "Assistant"]
    common = [end for end in ends if rejected.startswith(chosen[:end])]
    if not common:
        raise RowInvalid("rejected", r"has no beginning up to \n\nAssistant: in common with chosen")
    return common[-1]


def _turns(text: str) -> list[dict[str, str]]:
    before, *rest = _TAG.split(text)
    if before:
        raise RowInvalid("chosen", r"must begin with \n\nHuman:")
    roles = {spoken: role for role, spoken in _ROLES.items()}
    return [
        {"role": roles[who], "content": content.removeprefix(" ")}
        for who, content in zip(rest[::2], rest[1::2], strict=True)
    ]
