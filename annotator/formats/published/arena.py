"""Chatbot Arena (arXiv 2403.04132): battles of two models, one vote a row, as its conversation sets publish them.

Read are lmsys/chatbot_arena_conversations, the sets with lists of content parts and “both_bad” after it, and the
competition's layout of prompts and responses as lists. Rows of one comparison that follow each other are its votes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
from django.utils.translation import gettext_lazy as _

from annotator.formats import native, rows
from annotator.formats.files import Numbered
from annotator.formats.pairs import MESSAGES
from annotator.formats.published import conversations
from annotator.formats.published.together import together
from annotator.formats.rows import Entry, RowInvalid
from annotator.formats.source import Config, Judged, Row, Source, Vote, Writer, split_of

TITLE = "Chatbot Arena"
PRESET = "arena"
COLUMNS = {
    "question_id": _("name of the comparison"),
    "id": _("name of the comparison"),
    "conversation_a": _("the turns both begin with are the prompt, the rest is response A"),
    "conversation_b": _("the turns both begin with are the prompt, the rest is response B"),
    "prompt": _("the prompt, and what was asked later"),
    "response_a": _("response A"),
    "response_b": _("response B"),
    "model_a": _("model of response A"),
    "model_b": _("model of response B"),
    "winner": _("a vote; “both bad” says that neither is valid"),
    "winner_model_*": _("a vote"),
    "winner_tie": _("a vote for a tie"),
    "judge": _("the person who voted"),
    "tstamp": _("when the vote was given"),
    "timestamp": _("when the vote was given"),
    "full_conversation": _("left aside: it repeats the conversations"),
}
BOTH_BAD = "tie (bothbad)"
PREFERENCES = {"model_a": -1.0, "model_b": 1.0, "tie": 0.0}
WINNERS = (*PREFERENCES, BOTH_BAD, "both_bad", "bothbad")
KNOWN = (
    *("question_id", "id", "conversation_a", "conversation_b", "model_a", "model_b", "winner", "judge", "turn"),
    *("tstamp", "timestamp", "full_conversation", "prompt", "response_a", "response_b", "judgments"),
    *("winner_model_a", "winner_model_b", "winner_tie", "meta_rater_kind", "meta_preference", "meta_p_b"),
)
_SCHEMA = pa.schema(
    [
        ("question_id", pa.string()),
        ("model_a", pa.string()),
        ("model_b", pa.string()),
        ("winner", pa.string()),
        ("judge", pa.string()),
        ("conversation_a", MESSAGES),
        ("conversation_b", MESSAGES),
        ("turn", pa.int64()),
        ("anony", pa.bool_()),
        ("language", pa.string()),
        ("tstamp", pa.float64()),
        ("meta_rater_kind", pa.string()),
        ("meta_preference", pa.float64()),
        ("meta_p_b", pa.float64()),
    ]
)


class Arena(Writer):
    title = TITLE
    group = "published"
    heeds = frozenset({"ai", "validation", "seed"})

    @property
    def configs(self) -> tuple[Config, ...]:
        return (Config("default", _SCHEMA, "one row a vote: two conversations and the winner"),)

    @property
    def notes(self) -> list[str]:
        notes = [
            "Every vote is a row, ties and “tie (bothbad)” (neither is valid) among them; rows with the same "
            "`question_id` are votes on one comparison.",
            "`judge` is a pseudonym; `anony` is true because annotators are not told the models. `language` is the "
            "project's own or null.",
            "`winner` has no strength: `meta_preference` is the answer from -1 (A) to 1 (B).",
        ]
        if self.options.ai == "keep":
            notes.append(
                "Votes of AI labelers have `meta_rater_kind` ai; `meta_p_b` is the probability they gave to B, the "
                "winner the side that is more probable."
            )
        return notes

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        for judged in source.judged():
            votes = judged.votes if self.options.ai == "keep" else judged.people
            if not votes:
                self.left_out["judged by an AI labeler only"] += 1
            split = split_of(judged.prompt, self.options)
            for vote in votes:
                winner = _winner(vote)
                if winner:
                    yield Row("default", split, _row(judged, vote, winner))
                else:
                    self.left_out["a vote that is no answer"] += 1


def _winner(vote: Vote) -> str:
    if vote.outcome == "neither_valid":
        return BOTH_BAD
    towards_b = vote.preference if vote.p_b is None else 2 * vote.p_b - 1
    if towards_b is None:
        return ""
    return "tie" if abs(towards_b) < 1e-9 else "model_b" if towards_b > 0 else "model_a"


def _row(judged: Judged, vote: Vote, winner: str) -> dict[str, Any]:
    messages = judged.prompt.messages
    language = {**judged.prompt.metadata, **judged.metadata}.get("language")
    return {
        "question_id": judged.key,
        "model_a": judged.response_a.model,
        "model_b": judged.response_b.model,
        "winner": winner,
        "judge": vote.rater,
        "conversation_a": [*messages, {"role": "assistant", "content": judged.response_a.text}],
        "conversation_b": [*messages, {"role": "assistant", "content": judged.response_b.text}],
        "turn": sum(turn["role"] == "user" for turn in messages),
        "anony": True,
        "language": None if language is None else str(language),
        "tstamp": vote.created_at.timestamp(),
        "meta_rater_kind": "person" if vote.is_person else "ai",
        "meta_preference": vote.preference,
        "meta_p_b": vote.p_b,
    }


def claims(row: Mapping[str, Any]) -> bool:
    return {"winner", "conversation_a", "conversation_b"} <= row.keys() or {
        *("winner_model_a", "winner_model_b", "response_a", "response_b")
    } <= row.keys()


def joined(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    return together(numbered, _same, "judgments")


def _same(row: Mapping[str, Any]) -> Any:
    """The votes on one comparison share its id and all that was judged."""
    names = ("question_id", "id", "model_a", "model_b", "conversation_a", "conversation_b", "prompt", "response_a")
    return [row.get(name) for name in (*names, "response_b")]


def read(row: Mapping[str, Any]) -> Entry:
    """One row, or one with the rows of its further votes in `judgments`. Raises RowInvalid."""
    left: list[str] = []
    names = ("conversation_a", "conversation_b")
    a, b = (conversations.turns_of(turns, name, left) for name, turns in zip(names, _both(row), strict=True))
    turns, texts = conversations.taken_apart(a, b, names, left)
    conversations.filled(turns, texts)
    prompt = rows.prompt_row(None, turns, [], _language(row))
    responses = rows.apart(
        [
            rows.response_row({"text": text, "model": row.get(f"model_{side}")}, f"model_{side}", name)
            for side, text, name in zip("ab", texts, names, strict=True)
        ]
    )
    own = row.get("question_id") if row.get("question_id") is not None else row.get("id")
    metadata = {name: value for name, value in row.items() if name not in KNOWN}
    comparison = rows.comparison_row(rows.identifier(own, "question_id"), responses, 0, 1, metadata, "question_id")
    given = row.get("judgments") or [row]
    return Entry(prompt, responses, [comparison], [_vote(each) for each in given], left)


def _language(row: Mapping[str, Any]) -> dict[str, Any] | None:
    return {"language": row["language"]} if row.get("language") is not None else None


def _both(row: Mapping[str, Any]) -> list[list[Any]]:
    """The two conversations; the competition's layout has them as lists of what was asked and answered."""
    if "conversation_a" in row:
        return [_listed(row[name], name) for name in ("conversation_a", "conversation_b")]
    asked = _listed(row.get("prompt"), "prompt")
    both = []
    for name in ("response_a", "response_b"):
        answers = _listed(row[name], name)
        if len(answers) != len(asked):
            raise RowInvalid(name, f"has {len(answers)} turns where the prompt has {len(asked)}")
        spoken = zip(asked, answers, strict=True)
        both.append(
            [
                {"role": role, "content": text}
                for pair in spoken
                for role, text in zip(("user", "assistant"), pair, strict=True)
            ]
        )
    return both


def _listed(value: Any, name: str) -> list[Any]:
    """A list, also where a file holds it as JSON text."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise RowInvalid(name, rows.no_json(error)) from None
    return rows.sequence(value, name)


def _vote(row: Mapping[str, Any]) -> rows.Vote:
    winner = _named_winner(row)
    is_ai = row.get("meta_rater_kind") == "ai"
    preference, p_b = row.get("meta_preference"), row.get("meta_p_b")
    is_level = winner in PREFERENCES
    if is_level and preference is None and p_b is None:
        preference = PREFERENCES[winner]
    return rows.Vote(
        field="winner",
        comparison=0,
        rater=native.rater_name(row.get("judge"), "judge", is_ai),
        is_ai=is_ai,
        source="",
        answer={} if is_level else {"outcome": "neither_valid"},
        preference=rows.number(preference, "meta_preference", -1, 1) if is_level else None,
        p_b=rows.number(p_b, "meta_p_b", 0, 1) if is_level and is_ai else None,
        created_at=_moment(row),
    )


def _named_winner(row: Mapping[str, Any]) -> str:
    winner = row.get("winner")
    if winner is None:
        flags = {"model_a": "winner_model_a", "model_b": "winner_model_b", "tie": "winner_tie"}
        won = [name for name, column in flags.items() if row.get(column) in (1, True, "1")]
        winner = won[0] if len(won) == 1 else None
    if winner not in WINNERS:
        raise RowInvalid("winner", f"must be one of {', '.join(WINNERS)}, not {winner!r}")
    return str(winner)


def _moment(row: Mapping[str, Any]) -> datetime | None:
    given = row.get("tstamp") if row.get("tstamp") is not None else row.get("timestamp")
    if isinstance(given, int | float) and not isinstance(given, bool):
        try:
            return datetime.fromtimestamp(given, UTC)
        except (OverflowError, OSError, ValueError):
            raise RowInvalid("tstamp", f"is no time in seconds since 1970: {given!r}") from None
    return rows.moment(given, "timestamp")
