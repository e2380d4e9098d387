"""Argilla 2: records with questions that people answered and models suggested answers to.

Flattened, as `records.to_datasets()` and `to_list(flatten=True)` write them: "q.responses", "q.responses.users" and
"q.responses.status" are lists with one entry a person, "q.suggestion" has an ".agent" and a ".score". Nested, as
`to_json` writes them: "fields", "metadata", "responses", "suggestions". Only submitted responses are answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.rows import Entry, RowInvalid, Vote
from annotator.formats.tools import sides
from annotator.formats.tools.said import Said

TITLE = "Argilla"
COLUMNS = {
    "id": _("the comparison's name"),
    "fields": _("the prompt and the responses, by the names of the fields"),
    "*.responses": _("answers of people: the preference where they name a response, ratings, ranks or words"),
    "*.responses.users": _("who answered"),
    "*.responses.status": _("only what was submitted counts; drafts and discarded answers are counted as left"),
    "*.suggestion": _("the vote of an AI labeler"),
    "*.suggestion.agent": _("the AI labeler's name"),
    "*.suggestion.score": _("the AI labeler's probability"),
    "responses": _("answers of people: the preference where they name a response, ratings, ranks or words"),
    "suggestions": _("the vote of an AI labeler"),
}
SOURCE = "argilla"
# What a record has beside its fields, metadata and questions.
OWN = ("id", "_server_id")
ENDS = tuple(
    f".{name}"
    for name in (
        "responses",
        "responses.users",
        "responses.status",
        "suggestion",
        "suggestion.agent",
        "suggestion.score",
    )
)
# A longer list of numbers is a vector, which says nothing to people.
LONGEST_LIST = 8


@dataclass(frozen=True)
class Answer:
    """An answer to one question. `status` is "" where the layout does not tell; `score` is a suggestion's."""

    question: str
    value: Any
    who: str
    status: str = ""
    score: Any = None


def claims(row: Mapping[str, Any]) -> bool:
    nested = isinstance(row.get("fields"), Mapping) and {"responses", "suggestions"} <= row.keys()
    flat = any(name.endswith((".responses.status", ".responses.users", ".suggestion.agent")) for name in row)
    return nested or flat


def read(row: Mapping[str, Any]) -> Entry:
    """One record. Raises RowInvalid."""
    row_id = rows.identifier(row.get("id"), "id")
    nested = isinstance(row.get("fields"), Mapping)
    fields, people, models = _nested(row) if nested else _flat(row)
    found = sides.find(fields, "fields" if nested else "")
    left = [f"a vector ({name})" for name, value in fields.items() if _is_vector(value)]
    metadata = {name: value for name, value in fields.items() if name not in found.used and not _is_vector(value)}
    votes = [*_of_people(found, people, left), *_of_models(found, models, left)]
    return found.entry(row_id, metadata, votes, left)


def _flat(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[Answer], list[Answer]]:
    """(fields and metadata, answers of people, suggestions). Which column is a field and which metadata is not said."""
    fields = {name: value for name, value in row.items() if not name.endswith(ENDS) and name not in OWN}
    people: list[Answer] = []
    models: list[Answer] = []
    for name, value in row.items():
        if name.endswith(".responses"):
            people += _listed(row, name)
        elif name.endswith(".suggestion") and value is not None:
            agent = row.get(f"{name}.agent")
            models.append(Answer(name.removesuffix(".suggestion"), value, agent or "", "", row.get(f"{name}.score")))
    return {name: value for name, value in fields.items() if value is not None}, people, models


def _listed(row: Mapping[str, Any], name: str) -> list[Answer]:
    """The answers to one question. Users and status stand beside them, in the same order."""
    values = rows.sequence(row.get(name), name)
    users = rows.sequence(row.get(f"{name}.users"), f"{name}.users")
    status = rows.sequence(row.get(f"{name}.status"), f"{name}.status")
    for beside, said in ((users, "users"), (status, "status")):
        if beside and len(beside) != len(values):
            raise RowInvalid(f"{name}.{said}", f"has {len(beside)} entries for {len(values)} answers")
    return [
        Answer(name.removesuffix(".responses"), value, str(who or ""), str(state or ""))
        for value, who, state in zip(values, users or [None] * len(values), status or [None] * len(values), strict=True)
    ]


def _nested(row: Mapping[str, Any]) -> tuple[dict[str, Any], list[Answer], list[Answer]]:
    metadata = rows.mapping(row.get("metadata"), "metadata")
    more = {name: row[name] for name in ("status", "score") if row.get(name) is not None}
    vectors = {name: value for name, value in rows.mapping(row.get("vectors"), "vectors").items() if value}
    fields = {**vectors, **more, **metadata, **rows.mapping(row["fields"], "fields")}
    people = [
        Answer(question, one.get("value"), str(one.get("user_id") or ""), str(one.get("status") or ""))
        for question, given in rows.mapping(row.get("responses"), "responses").items()
        for place, each in enumerate(rows.sequence(given, f"responses.{question}"))
        for one in (rows.mapping(each, f"responses.{question}[{place}]"),)
    ]
    models = [
        Answer(question, one["value"], str(one.get("agent") or ""), "", one.get("score"))
        for question, given in rows.mapping(row.get("suggestions"), "suggestions").items()
        for one in (rows.mapping(given, f"suggestions.{question}"),)
        if one.get("value") is not None
    ]
    return {name: value for name, value in fields.items() if value is not None}, people, models


def _of_people(found: sides.Sides, answers: list[Answer], left: list[str]) -> list[Vote]:
    """One vote a person, from what that person submitted."""
    persons: dict[str, Said] = {}
    for answer in answers:
        if answer.value is None:
            continue
        if answer.status not in ("submitted", ""):
            left.append("a draft" if answer.status == "draft" else f"an answer that was {answer.status}")
            continue
        if not answer.status:
            left.append(
                "whether an answer was submitted or a draft, which this layout does not say: taken as submitted"
            )
        said = persons.setdefault(answer.who, Said(found, "responses"))
        said.answer(answer.question, answer.value)
    votes = [said.vote(who or None, is_ai=False, source=SOURCE, kept={}) for who, said in persons.items()]
    for said in persons.values():
        left += said.left
    return [vote for vote in votes if vote]


def _of_models(found: sides.Sides, answers: list[Answer], left: list[str]) -> list[Vote]:
    """One vote an agent: what it suggested, with its score as the probability where that can be one."""
    votes = []
    for agent in dict.fromkeys(answer.who for answer in answers):
        said = Said(found, "suggestions")
        own = [answer for answer in answers if answer.who == agent]
        for answer in own:
            said.answer(answer.question, answer.value)
        scores = {answer.question: answer.score for answer in own if answer.score is not None}
        vote = said.vote(agent or "argilla suggestion", is_ai=True, source=SOURCE, kept={"scores": scores or None})
        left += said.left
        if vote:
            vote.p_b = _probability(vote, said, scores)
            votes.append(vote)
    return votes


def _probability(vote: Vote, said: Said, scores: Mapping[str, Any]) -> float | None:
    """That B is better: a score of a half or more is the probability of what was suggested; another says nothing."""
    score = scores.get(next(iter(said.verdicts), ""))
    if len(said.verdicts) != 1 or not vote.preference or not isinstance(score, int | float) or not 0.5 <= score <= 1:
        return None
    return float(score if vote.preference > 0 else 1 - score)


def _is_vector(value: Any) -> bool:
    return (
        isinstance(value, list)
        and len(value) > LONGEST_LIST
        and all(isinstance(one, int | float) and not isinstance(one, bool) for one in value)
    )
