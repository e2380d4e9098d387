"""Reads HelpSteer2-Preference: one row a comparison with every vote's strength from -3 (response 1) to 3 and reason.

The votes are those of `all_preferences_unprocessed`, of anonymous people. `preference_strength`, `three_most_similar_
preferences` and the reason rewritten from theirs are made of them and kept as the comparison's metadata.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.published import helpsteer2_ratings as ratings
from annotator.formats.published.helpsteer2 import HIGHEST, NEITHER_VALID
from annotator.formats.rows import Entry, RowInvalid, Vote

TITLE = "HelpSteer2-Preference"
PRESET = "helpsteer2"
SOURCE = "HelpSteer2-Preference"
COLUMNS = {
    "split": _("metadata of the prompt"),
    "prompt": _("the prompt, its turns taken apart"),
    "response_1": _("response A"),
    "response_2": _("response B"),
    "all_preferences_unprocessed": _("one vote of an anonymous person each"),
    "preference_strength": _("metadata; the vote where the single votes are missing"),
}
VOTES = "all_preferences_unprocessed"


def claims(row: Mapping[str, Any]) -> bool:
    return row.keys() >= {"prompt", "response_1", "response_2", "preference_strength"}


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid."""
    split = {"split": row["split"]} if row.get("split") is not None else None
    prompt, responses = ratings.texts(
        row.get("prompt"), [row.get("response_1"), row.get("response_2")], "response", split
    )
    known = {"split", "prompt", "response_1", "response_2", VOTES, "meta_comparison_id"}
    metadata = {name: value for name, value in row.items() if name not in known}
    own = row.get("meta_comparison_id")
    name = (
        ratings.text_id("helpsteer2", prompt, responses) if own is None else rows.identifier(own, "meta_comparison_id")
    )
    return Entry(
        prompt, responses, [rows.comparison_row(name, responses, 0, 1, metadata, "meta_comparison_id")], _votes(row)
    )


def _votes(row: Mapping[str, Any]) -> list[Vote]:
    given = rows.sequence(row.get(VOTES), VOTES)
    if not given:
        statement = row.get("preference_statement") or ""
        return [_vote(row.get("preference_strength"), statement, "preference_strength")]
    return [
        _vote(each.get("strength"), each.get("justification") or "", f"{VOTES}[{place}]")
        for place, one in enumerate(given)
        for each in (rows.mapping(one, f"{VOTES}[{place}]"),)
    ]


def _vote(strength: Any, why: Any, field: str) -> Vote:
    answer: dict[str, Any] = {"justification": rows.text(why, f"{field}.justification", empty=True)}
    preference = None
    if strength == NEITHER_VALID:
        answer["outcome"] = "neither_valid"
    else:
        checked = rows.whole(strength, f"{field}.strength", -HIGHEST, HIGHEST)
        if checked is None:
            raise RowInvalid(f"{field}.strength", "is missing")
        preference = checked / HIGHEST
    return Vote(field=field, comparison=0, rater="", is_ai=False, source=SOURCE, answer=answer, preference=preference)
