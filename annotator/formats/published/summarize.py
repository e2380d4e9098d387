"""Learning to summarize (arXiv 2009.01325): a text, two summaries, a choice and how sure the worker was of it.

`extra.confidence` runs from 1 (surely the first) over 5 (no idea) to 9 (surely the second), as the preset `summarize9`
asks. Where it contradicts `choice`, the choice holds. Rows of the same two summaries that follow each other are votes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.files import Numbered
from annotator.formats.published import better, conversations
from annotator.formats.published.together import together
from annotator.formats.rows import Entry, RowInvalid
from annotator.formats.source import (
    VALIDATION,
    Config,
    FormatUnfit,
    Judged,
    Options,
    Row,
    Source,
    Vote,
    Writer,
    split_of,
)
from annotator.protocols import Definition

TITLE = "Summarize from feedback"
PRESET = "summarize9"
COLUMNS = {
    "info": _("the text is the prompt; its id names it, the rest is its metadata"),
    "summaries": _("response A and response B, the policy is the model"),
    "choice": _("a vote: 0 for A, 1 for B"),
    "extra": _("how sure the vote is"),
    "worker": _("the person who voted"),
    "batch": _("provenance of the vote"),
    "split": _("metadata of the prompt"),
}
# A worker's notes were written before the post was read; they belong to the vote.
KNOWN = ("info", "summaries", "choice", "extra", "worker", "batch", "split", "judgments")
TEXTS = ("post", "article")
MIDDLE, REACH = 5, 4
_TEXT = pa.string()
_SUMMARY = pa.struct([("text", _TEXT), ("policy", _TEXT), ("note", _TEXT)])
_SCHEMA = pa.schema(
    [
        ("info", pa.struct([(name, _TEXT) for name in ("id", "post", "title", "subreddit", "site", "article")])),
        ("summaries", pa.list_(_SUMMARY)),
        ("choice", pa.int32()),
        ("worker", _TEXT),
        ("batch", _TEXT),
        ("split", _TEXT),
        ("extra", pa.struct([("confidence", pa.int32())])),
        ("meta_comparison_id", _TEXT),
    ]
)


class Summarize(Writer):
    title = TITLE
    group = "published"
    heeds = frozenset({"validation", "seed"})

    def __init__(self, protocol: Definition, options: Options) -> None:
        if [level.value for level in protocol.levels] != list(range(-REACH, REACH + 1)):
            raise FormatUnfit(
                "Summarize from feedback needs nine levels from -4 to 4, which this project's protocol does not have. "
                "The preset “summarize9” has; Chatbot Arena or judgments may fit this project."
            )
        super().__init__(protocol, options)

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("comparisons", _SCHEMA, "one row a vote: a text, two summaries and the choice"),)

    @property
    def notes(self) -> list[str]:
        return [
            "Every vote of a person is a row. `extra.confidence` runs from 1 (surely the first) to 9 (surely the "
            "second); votes in the middle are no choice and are left out, as are votes of AI labelers.",
            "`worker` is a pseudonym; `note` and `batch` are null. `info` holds what the project knows of the text; a "
            "text is one turn, so conversations of several turns and with system turns are left out.",
            "The validation split is called `valid1` in the column `split`.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            text, reason = conversations.only_turn(judged.prompt)
            if reason:
                self.left_out[reason] += 1
                continue
            for vote in judged.people:
                if not vote.preference:
                    self.left_out["a vote that chooses neither"] += 1
                else:
                    split = split_of(judged.prompt, self.options)
                    yield Row("comparisons", split, _row(judged, vote, vote.preference, text, split))


def _row(judged: Judged, vote: Vote, preference: float, text: str, split: str) -> dict[str, Any]:
    said = {**judged.prompt.metadata, **judged.metadata}
    known = {name: None if said.get(name) is None else str(said[name]) for name in ("title", "subreddit", "site")}
    place = "article" if said.get("text_is") == "article" else "post"
    return {
        "info": {**dict.fromkeys(TEXTS), **known, "id": judged.prompt.key, place: text},
        "summaries": [
            {"text": response.text, "policy": response.model, "note": None}
            for response in (judged.response_a, judged.response_b)
        ],
        "choice": int(preference > 0),
        "worker": vote.rater,
        "batch": None,
        "split": "valid1" if split == VALIDATION else split,
        "extra": {"confidence": MIDDLE + round(preference * REACH)},
        "meta_comparison_id": judged.key,
    }


def claims(row: Mapping[str, Any]) -> bool:
    """Also rows that rate one summary (`axis_evals`), to say in words why they are refused."""
    return "info" in row and ("summaries" in row or "summary" in row)


def joined(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    return better.named(together(numbered, _same, "judgments"))


def _same(row: Mapping[str, Any]) -> Any:
    """The votes on one comparison share the text and the summaries; the notes are each worker's own."""
    info, summaries = row.get("info"), row.get("summaries")
    texts = [summary.get("text") if isinstance(summary, Mapping) else summary for summary in summaries or ()]
    return [info.get("id") if isinstance(info, Mapping) else info, texts, row.get("meta_comparison_id")]


def read(row: Mapping[str, Any]) -> Entry:
    """One row, or one with the rows of its further votes in `judgments`. Raises RowInvalid."""
    if "summaries" not in row:
        raise RowInvalid("summary", "rates one summary alone; that is no comparison, so there is nothing here to judge")
    summaries = [rows.mapping(each, "summaries") for each in rows.sequence(row["summaries"], "summaries")]
    if len(summaries) != 2:
        raise RowInvalid("summaries", f"must be two, not {len(summaries)}")
    conversations.filled([], [each.get("text") for each in summaries])
    responses = rows.apart(
        [
            rows.response_row({"text": each.get("text"), "model": each.get("policy")}, name, f"{name}.text")
            for each, name in zip(summaries, ("summaries[0]", "summaries[1]"), strict=True)
        ]
    )
    own = row.get("meta_comparison_id")
    name = better.row_id(row) if own is None else rows.identifier(own, "meta_comparison_id")
    metadata = {key: value for key, value in row.items() if key not in (*KNOWN, "id", "meta_comparison_id")}
    comparison = rows.comparison_row(name, responses, 0, 1, metadata, "summaries")
    votes = [_vote(each) for each in row.get("judgments") or [row]]
    return Entry(_prompt(row), responses, [comparison], votes)


def _prompt(row: Mapping[str, Any]) -> rows.PromptRow:
    info = rows.mapping(row.get("info"), "info")
    place = next((name for name in TEXTS if info.get(name)), TEXTS[0])
    metadata = {name: value for name, value in info.items() if name not in ("id", *TEXTS) and value is not None}
    metadata |= {"text_is": place} | ({"split": row["split"]} if row.get("split") else {})
    own = None if info.get("id") is None else rows.identifier(info["id"], "info.id")
    turns = [{"role": "user", "content": rows.text(info.get(place), f"info.{place}")}]
    return rows.prompt_row(own, turns, [], metadata)


def _vote(row: Mapping[str, Any]) -> rows.Vote:
    choice = row.get("choice")
    if type(choice) is not int or choice not in (0, 1):
        raise RowInvalid("choice", f"must be 0 (the first) or 1 (the second), not {choice!r}")
    extra = rows.mapping(row.get("extra"), "extra")
    sure = rows.whole(extra.get("confidence"), "extra.confidence", MIDDLE - REACH, MIDDLE + REACH)
    preference = 2.0 * choice - 1 if sure is None else (sure - MIDDLE) / REACH
    if preference * (2 * choice - 1) < 0:
        preference = 2.0 * choice - 1
    notes = [each.get("note") for each in row.get("summaries") or () if isinstance(each, Mapping)]
    kept = {"choice": choice, "batch": row.get("batch"), "extra": extra, "notes": notes if any(notes) else None}
    return rows.Vote(
        field="choice",
        comparison=0,
        rater=rows.identifier(row["worker"], "worker") if row.get("worker") else "",
        is_ai=False,
        source="",
        preference=preference,
        provenance=rows.as_json({name: value for name, value in kept.items() if value is not None}, "extra"),
    )
