"""Reads nvidia/HelpSteer3: its `preference`, `feedback`, `edit` and `edit_quality`, told apart by their columns.

What carries a judgment becomes one: votes of `preference`, feedback (with the answer that follows from how helpful
each text calls its response), and which of two edits is the more faithful. An edit alone is compared with what it was
made of and waits to be judged. Nobody has a name in this set: all people are anonymous.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.published.helpsteer2 import HIGHEST
from annotator.formats.published.helpsteer2_ratings import text_id
from annotator.formats.published.helpsteer3 import FEEDBACK, ORIGINAL
from annotator.formats.rows import Entry, PromptRow, ResponseRow, RowInvalid, Vote

TITLE = "HelpSteer3"
PRESET = "helpsteer3"
SOURCE = "HelpSteer3"
COLUMNS = {
    "domain": _("metadata of the prompt"),
    "language": _("metadata of the prompt"),
    "context": _("the prompt's turns"),
    "response1": _("response A"),
    "response2": _("response B"),
    "overall_preference": _("metadata; the vote where the single votes are missing"),
    "individual_preference": _("one vote of an anonymous person each"),
    "feedback1": _("words about response A"),
    "feedback2": _("words about response B"),
    "original_response": _("response A; metadata where two edits are compared"),
    "edited_response": _("response B"),
    "good_edited_response": _("response A, the better one"),
    "bad_edited_response": _("response B"),
    "feedback": _("metadata: what the edits answer"),
    "change_summary": _("metadata"),
}
# By the columns that only this table has.
TABLES = {
    "preference": ("response1", "response2", "overall_preference"),
    "feedback": ("response1", "response2", "feedback1", "feedback2"),
    "edit_quality": ("good_edited_response", "bad_edited_response"),
    "edit": ("original_response", "edited_response"),
}
# What the better of two edits is told by.
FAITHFUL = "Which edit does what the feedback asks for, and nothing else?"
# The guidelines have feedback begin with how helpful its response is.
HELPFUL = {word: place for place, word in enumerate(("not", "slightly", "partially", "mostly", "perfectly"))}
_OPENING = re.compile(r"\s*The response is (not|slightly|partially|mostly|perfectly) helpful", re.IGNORECASE)


def claims(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("context"), list) and bool(_table(row))


def _table(row: Mapping[str, Any]) -> str:
    return next((name for name, columns in TABLES.items() if row.keys() >= set(columns)), "")


def read(row: Mapping[str, Any]) -> Entry:
    """One row of any of the tables. Raises RowInvalid."""
    table = _table(row)
    said = {name: row[name] for name in ("domain", "language") if row.get(name) is not None}
    prompt = rows.prompt_row(None, rows.sequence(row.get("context"), "context"), [], said)
    readers = {"preference": _preference, "feedback": _feedback, "edit": _edit, "edit_quality": _quality}
    if table not in readers:
        raise RowInvalid("", "is of no table of HelpSteer3 that holds judgments")
    return readers[table](row, prompt)


def _preference(row: Mapping[str, Any], prompt: PromptRow) -> Entry:
    given = rows.sequence(row.get("individual_preference"), "individual_preference")
    votes = []
    for place, one in enumerate(given):
        field = f"individual_preference[{place}]"
        each = rows.mapping(one, field)
        votes.append(_vote(field, _score(each.get("score"), f"{field}.score"), each.get("reasoning")))
    if not given:
        votes.append(_vote("overall_preference", _score(row["overall_preference"], "overall_preference"), None))
    return _entry(row, prompt, ("response1", "response2"), votes, {"individual_preference"})


def _score(value: Any, field: str) -> float:
    score = rows.whole(value, field, -HIGHEST, HIGHEST)
    if score is None:
        raise RowInvalid(field, "is missing")
    return score / HIGHEST


def _feedback(row: Mapping[str, Any], prompt: PromptRow) -> Entry:
    """A vote a place of the lists; texts that do not say how helpful their response is stay in the metadata too."""
    lists = [rows.sequence(row.get(name), name) for name in ("feedback1", "feedback2")]
    votes = []
    for place, texts in enumerate(itertools.zip_longest(*lists)):
        said = {
            side: rows.text(text, f"feedback{number}[{place}]")
            for side, number, text in zip("ab", (1, 2), texts, strict=True)
            if text is not None
        }
        votes.append(_vote(f"feedback[{place}]", _implied(said), None, {"feedback": said}))
    is_whole = all(vote.preference is not None for vote in votes)
    read_from = {"feedback1", "feedback2"} if is_whole else set()
    return _entry(row, prompt, ("response1", "response2"), votes, read_from)


def _implied(said: Mapping[str, str]) -> float | None:
    """The answer that follows from how helpful both responses are said to be; None when that is not said of both."""
    found = {side: opening[1].lower() for side, text in said.items() if (opening := _OPENING.match(text))}
    if len(found) < 2:
        return None
    return (HELPFUL[found["b"]] - HELPFUL[found["a"]]) / (len(HELPFUL) - 1)


def _edit(row: Mapping[str, Any], prompt: PromptRow) -> Entry:
    return _entry(row, prompt, ("original_response", "edited_response"), [], set())


def _quality(row: Mapping[str, Any], prompt: PromptRow) -> Entry:
    rows.text(row.get(ORIGINAL), ORIGINAL)
    vote = _vote("good_edited_response", -1.0, None)
    made = _entry(row, prompt, ("good_edited_response", "bad_edited_response"), [vote], set())
    made.comparisons[0].criterion = FAITHFUL
    return made


def _vote(field: str, preference: float | None, why: Any, more: Mapping[str, Any] | None = None) -> Vote:
    answer: dict[str, Any] = {**more} if more else {}
    if why:
        answer["justification"] = rows.text(why, f"{field}.reasoning")
    derived = {"preference_from": "feedback"} if more and preference is not None else {}
    return Vote(
        field=field,
        comparison=0,
        rater="",
        is_ai=False,
        source=SOURCE,
        answer=answer,
        preference=preference,
        provenance=rows.as_json(derived, field),
    )


def _entry(
    row: Mapping[str, Any], prompt: PromptRow, columns: tuple[str, str], votes: list[Vote], read_from: set[str]
) -> Entry:
    responses: list[ResponseRow] = rows.apart(
        [rows.response_row({"text": row.get(column)}, column, column) for column in columns]
    )
    known = {"domain", "language", "context", *columns, *read_from}
    metadata = {name: value for name, value in row.items() if name not in known}
    # Two edits of the same text for other feedback are another comparison than the same two for this one.
    name = text_id("helpsteer3", prompt, responses)
    if metadata.get(FEEDBACK):
        name += f"-{rows.digest(rows.as_json(metadata[FEEDBACK], FEEDBACK))[:12]}"
    return Entry(prompt, responses, [rows.comparison_row(name, responses, 0, 1, metadata, "context")], votes)
