"""Reads HelpSteer2's `disagreements`: ratings as lists, one entry a vote, two rows a comparison.

Nobody stands at a fixed place of the lists, so every place is a vote of an anonymous person.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.published import helpsteer2_ratings as ratings
from annotator.formats.published.helpsteer2 import ATTRIBUTES
from annotator.formats.rows import Entry, Vote

TITLE = "HelpSteer2 disagreements"
PRESET = "helpsteer2"
SOURCE = "HelpSteer2 disagreements"
COLUMNS = {
    **ratings.COLUMNS,
    **{key: _("every vote's rating of the response, 0 to 4") for key in ATTRIBUTES},
}
joined = ratings.joined


def claims(row: Mapping[str, Any]) -> bool:
    return ratings.has_columns(row) and all(isinstance(row[key], list) for key in ATTRIBUTES)


def read(row: Mapping[str, Any]) -> Entry:
    """One joined pair. Raises RowInvalid. A vote that has not rated both responses for helpfulness is left."""
    pair = ratings.pair_of(row)
    sides = [_lists(given, place) for place, given in enumerate(pair, 1)]
    said = [_vote(sides, place) for place in range(max(len(each) for lists in sides for each in lists.values()))]
    votes = [vote for vote in said if vote is not None]
    made = ratings.entry("helpsteer2", pair, votes)
    made.left += ["a vote on one response alone"] * (len(said) - len(votes))
    return made


def _lists(given: Mapping[str, Any], number: int) -> dict[str, list[int | None]]:
    return {
        key: [
            rows.whole(value, f"{key}[{place}] (response {number})", 0, ratings.HIGHEST)
            for place, value in enumerate(rows.sequence(given.get(key), f"{key} (response {number})"))
        ]
        for key in ATTRIBUTES
    }


def _vote(sides: list[dict[str, list[int | None]]], place: int) -> Vote | None:
    both = {
        key: {
            side: value
            for side, lists in zip("ab", sides, strict=True)
            if (value := dict(enumerate(lists[key])).get(place)) is not None
        }
        for key in ATTRIBUTES
    }
    if len(both["helpfulness"]) < 2:
        return None
    return ratings.vote(f"votes[{place}]", SOURCE, {key: said for key, said in both.items() if said})
