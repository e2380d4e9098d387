"""SHP, Stanford Human Preferences (arXiv 2110.08420): a post, two comments, and which one the forum's people voted up.

Its labels are made of the votes of many readers; a row comes in as one vote of an anonymous person. What only a forum
knows (scores, times, upvotes) is null in what we write.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.pairs import META, Pair, PairWriter
from annotator.formats.published import better, conversations
from annotator.formats.rows import Entry, RowInvalid
from annotator.formats.source import Config

TITLE = "SHP"
COLUMNS = {
    "post_id": _("name of the comparison, with the comments' ids"),
    "history": _("the prompt"),
    "human_ref_A": _("response A"),
    "human_ref_B": _("response B"),
    "labels": _("a vote of an anonymous person: 1 for A, 0 for B"),
    "score_A": _("provenance of the vote"),
    "score_B": _("provenance of the vote"),
    "meta_source": _("the AI labeler that judged; people where there is none"),
}
_NUMBERS: list[tuple[str, pa.DataType]] = [
    ("created_at_utc_A", pa.int64()),
    ("created_at_utc_B", pa.int64()),
    ("score_A", pa.int64()),
    ("score_B", pa.int64()),
]
_BEYOND: list[tuple[str, pa.DataType]] = [("seconds_difference", pa.float64()), ("score_ratio", pa.float64())]
# What tells of the votes, and so of the answer.
ABOUT_VOTES = ("score_A", "score_B", "score_ratio", "upvote_ratio")
KNOWN = ("history", "human_ref_A", "human_ref_B", "labels", "c_root_id_A", "c_root_id_B", *ABOUT_VOTES)
_META = [(name, kind) for name, kind in META if name not in better.MODELS]
_OWN_MODELS = ("meta_model_A", "meta_model_B")


class Shp(PairWriter):
    title = TITLE
    group = "published"

    @property
    def configs(self) -> tuple[Config, ...]:
        text = pa.string()
        columns: list[tuple[str, pa.DataType]] = [
            ("post_id", text),
            ("domain", text),
            ("upvote_ratio", pa.float64()),
            ("history", text),
            ("c_root_id_A", text),
            ("c_root_id_B", text),
            *_NUMBERS,
            ("human_ref_A", text),
            ("human_ref_B", text),
            ("labels", pa.int64()),
            *_BEYOND,
            *((name, text) for name in _OWN_MODELS),
        ]
        return (Config(self.main, pa.schema([*columns, *_META]), "one row a pair: a post and two comments"),)

    @property
    def notes(self) -> list[str]:
        return [
            "`labels` is 1 where A is better, 0 where B is; A and B are the project's own.",
            "Null, because only a forum knows them: `upvote_ratio`, `created_at_utc_*`, `score_*`, "
            "`seconds_difference`. The set's advice to filter by `score_ratio` does not apply.",
            "`post_id` and `c_root_id_*` are ids of the prompt and the responses, `domain` is the project's own or "
            "empty.",
            "A post is one text: conversations of several turns and with system turns are left out.",
            *super().notes,
        ]

    def row(self, pair: Pair) -> dict[str, Any] | None:
        history, reason = conversations.only_turn(pair.prompt)
        if reason:
            self.left_out[reason] += 1
            return None
        responses = (pair.judged.response_a, pair.judged.response_b, *pair.judged.further)
        a, b = (each for each in responses if each is pair.chosen or each is pair.rejected)
        domain = {**pair.prompt.metadata, **pair.judged.metadata}.get("domain")
        return {
            **dict.fromkeys(name for name, _kind in (*_NUMBERS, *_BEYOND)),
            "post_id": pair.prompt.key,
            "domain": "" if domain is None else str(domain),
            "upvote_ratio": None,
            "history": history,
            **{"c_root_id_A": a.key, "c_root_id_B": b.key, "human_ref_A": a.text, "human_ref_B": b.text},
            "labels": int(a is pair.chosen),
            **dict(zip(_OWN_MODELS, (a.model, b.model), strict=True)),
            **{name: value for name, value in pair.meta.items() if name not in better.MODELS},
        }


def claims(row: Mapping[str, Any]) -> bool:
    return row.keys() >= {"history", "human_ref_A", "human_ref_B", "labels"}


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid."""
    labels = row["labels"]
    if type(labels) is not int or labels not in (0, 1):
        raise RowInvalid("labels", f"must be 1 (A is better) or 0 (B is), not {labels!r}")
    turns = [{"role": "user", "content": rows.text(row.get("history"), "history", empty=True)}]
    conversations.filled(turns, [row.get("human_ref_A"), row.get("human_ref_B")])
    prompt = rows.prompt_row(None, turns, [])
    responses = rows.apart([_response(row, side) for side in "AB"])
    metadata = {
        name: value for name, value in better.metadata_of(row, KNOWN).items() if name not in ("post_id", *_OWN_MODELS)
    }
    comparison = rows.comparison_row(_name(row), responses, 0, 1, metadata, "post_id")
    said = better.said_by(row)
    said.provenance.update({name: row[name] for name in ABOUT_VOTES if row.get(name) is not None})
    vote = better.vote(said, -1 if labels else 1, "labels")
    return Entry(prompt, responses, [comparison], [vote], better.summed_up(row))


def _response(row: Mapping[str, Any], side: str) -> rows.ResponseRow:
    name = f"human_ref_{side}"
    return rows.response_row({"text": row.get(name), "model": row.get(f"meta_model_{side}")}, name, name)


def _name(row: Mapping[str, Any]) -> str:
    """Our own exports name the comparison; a post with two comments is one in the original."""
    if row.get("meta_comparison_id") is not None:
        return rows.identifier(row["meta_comparison_id"], "meta_comparison_id")
    parts = [rows.identifier(row.get(name), name) for name in ("post_id", "c_root_id_A", "c_root_id_B")]
    return ":".join(parts)
