"""Reads HelpSteer2's `disagreements`: ratings of each response as lists, two rows a comparison.

Nobody stands at a fixed place of the lists: the same place in both may be of two people, and how they differ says
nothing of what anybody prefers. So the ratings stay in the comparison's metadata, and it waits to be judged. The
ratings on which people agreed (`default`, `helpsteer2_ratings`) come in as one judgment.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.published import helpsteer2_ratings as ratings
from annotator.formats.published.helpsteer2 import ATTRIBUTES
from annotator.formats.rows import Entry

TITLE = "HelpSteer2 disagreements"
PRESET = "helpsteer2"
LEFT = "ratings by people who cannot be told apart, which make no judgment (kept as metadata)"
COLUMNS = {
    **ratings.COLUMNS,
    **{key: _("every rating of the response, 0 to 4; metadata") for key in ATTRIBUTES},
}
joined = ratings.joined


def claims(row: Mapping[str, Any]) -> bool:
    return ratings.has_columns(row) and all(isinstance(row[key], list) for key in ATTRIBUTES)


def read(row: Mapping[str, Any]) -> Entry:
    """One joined pair: a comparison without a vote, each response with its ratings. Raises RowInvalid."""
    pair = ratings.pair_of(row)
    made = ratings.entry("helpsteer2", pair, [])
    said = {side: _lists(given, place) for place, (side, given) in enumerate(zip("ab", pair, strict=True), 1)}
    made.comparisons[0].metadata = rows.as_json(
        {**json.loads(made.comparisons[0].metadata), **{f"ratings_{side}": lists for side, lists in said.items()}},
        "metadata",
    )
    made.left = [LEFT]
    return made


def _lists(given: Mapping[str, Any], number: int) -> dict[str, list[int | None]]:
    return {
        key: [
            rows.whole(value, f"{key}[{place}] (response {number})", 0, ratings.HIGHEST)
            for place, value in enumerate(rows.sequence(given.get(key), f"{key} (response {number})"))
        ]
        for key in ATTRIBUTES
    }
