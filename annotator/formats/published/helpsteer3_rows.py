"""Reads nvidia/HelpSteer3: its `preference`, `feedback`, `edit` and `edit_quality`, told apart by their columns.

What carries a judgment becomes one: votes of `preference`, and which of two edits is the more faithful. Feedback is
about one response: the texts at one place of both lists are of different people, so no preference follows from them.
They stay in the comparison's metadata, and it waits to be judged, as does an edit beside what it was made of. Nobody
has a name in this set: all people are anonymous.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.published.helpsteer2 import HIGHEST
from annotator.formats.published.helpsteer2_ratings import text_id
from annotator.formats.published.helpsteer3 import FEEDBACK, ORIGINAL, SAID
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
    "feedback1": _("words about response A; metadata"),
    "feedback2": _("words about response B; metadata"),
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
WORDS = "words about one response, which say nothing of the other (kept as metadata)"


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
    """A comparison without a vote, the words about its responses in its metadata."""
    said = {
        name: [
            rows.text(text, f"{name}[{place}]", empty=True)
            for place, text in enumerate(rows.sequence(row.get(name), name))
        ]
        for name in SAID
    }
    made = _entry({**row, **said}, prompt, ("response1", "response2"), [], set())
    made.left = [WORDS] * any(said.values())
    return made


def _edit(row: Mapping[str, Any], prompt: PromptRow) -> Entry:
    return _entry(row, prompt, ("original_response", "edited_response"), [], set())


def _quality(row: Mapping[str, Any], prompt: PromptRow) -> Entry:
    rows.text(row.get(ORIGINAL), ORIGINAL)
    vote = _vote("good_edited_response", -1.0, None)
    made = _entry(row, prompt, ("good_edited_response", "bad_edited_response"), [vote], set())
    made.comparisons[0].criterion = FAITHFUL
    return made


def _vote(field: str, preference: float, why: Any) -> Vote:
    answer = {"justification": rows.text(why, f"{field}.reasoning")} if why else {}
    return Vote(
        field=field,
        comparison=0,
        rater="",
        is_ai=False,
        source=SOURCE,
        answer=answer,
        preference=preference,
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
