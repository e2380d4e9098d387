"""Reads the ratings of HelpSteer2 (`load_dataset("nvidia/HelpSteer2")`): one row a response, two rows a comparison.

HelpSteer, the set before it, has the same columns and up to four responses a prompt, which are compared in twos.
The sets hold no comparison but ratings of each response: the side that is the more helpful is the better one, by a
quarter of the scale a point; equally helpful ones are a tie. `provenance` says so.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.files import Numbered
from annotator.formats.published.glued import turns_of
from annotator.formats.published.helpsteer2 import ATTRIBUTES
from annotator.formats.rows import Entry, PromptRow, ResponseRow, RowInvalid, Vote

TITLE = "HelpSteer2"
PRESET = "helpsteer2"
SOURCE = "HelpSteer2"
COLUMNS = {
    "prompt": _("the prompt, its turns taken apart"),
    "response": _("a response; two rows that follow each other are A and B"),
    **{key: _("a rating of the response, 0 to 4") for key in ATTRIBUTES},
}
HIGHEST = 4
# What `provenance` says of an overall answer that the source does not have.
DERIVED = {"preference_from": "helpfulness"}


def claims(row: Mapping[str, Any]) -> bool:
    return has_columns(row) and all(_is_number(row[key]) for key in ATTRIBUTES)


def has_columns(row: Mapping[str, Any]) -> bool:
    return row.keys() >= {"prompt", "response", *ATTRIBUTES}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def joined(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    """{"pair": [row, row]} of two rows in a row with the same prompt.

    The third of three is compared with the second. A response alone with its prompt is refused on its line.
    """
    waiting: tuple[int, dict[str, Any]] | None = None
    before: dict[str, Any] | None = None
    for line, row in numbered:
        if isinstance(row, RowInvalid):
            yield line, row
            continue
        if waiting and waiting[1].get("prompt") == row.get("prompt"):
            yield waiting[0], {"pair": [waiting[1], row]}
            waiting, before = None, row
            continue
        yield from _alone(waiting, before)
        if waiting or before is None or before.get("prompt") != row.get("prompt"):
            before = None
        waiting = (line, row)
    yield from _alone(waiting, before)


def _alone(waiting: tuple[int, dict[str, Any]] | None, before: dict[str, Any] | None) -> Iterator[Numbered]:
    if waiting is None:
        return
    line, row = waiting
    if before is not None:
        yield line, {"pair": [before, row]}
    else:
        reason = "has no second response: the row before or after it must have the same prompt"
        yield line, RowInvalid("prompt", f"of line {line} {reason}")


def read(row: Mapping[str, Any]) -> Entry:
    """One joined pair. Raises RowInvalid."""
    pair = pair_of(row)
    sides = [_ratings(given, place) for place, given in enumerate(pair, 1)]
    both = {key: {"a": sides[0][key], "b": sides[1][key]} for key in ATTRIBUTES}
    return entry("helpsteer2", pair, [vote("ratings", SOURCE, both)])


def pair_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    if "pair" not in row:
        raise RowInvalid("prompt", "stands alone: two rows with the same prompt make one comparison")
    return [rows.mapping(given, "row") for given in row["pair"]]


def _ratings(given: Mapping[str, Any], place: int) -> dict[str, int]:
    ratings = {}
    for key in ATTRIBUTES:
        rating = rows.whole(given.get(key), f"{key} (response {place})", 0, HIGHEST)
        if rating is None:
            raise RowInvalid(f"{key} (response {place})", "is missing")
        ratings[key] = rating
    return ratings


def vote(field: str, source: str, attributes: dict[str, dict[str, int]]) -> Vote:
    """One anonymous person's ratings, and the overall answer that follows from how helpful both are."""
    helpful = attributes["helpfulness"]
    return Vote(
        field=field,
        comparison=0,
        rater="",
        is_ai=False,
        source=source,
        answer={"attributes": attributes},
        preference=(helpful["b"] - helpful["a"]) / HIGHEST,
        provenance=rows.as_json(DERIVED, field),
    )


def entry(name: str, pair: list[dict[str, Any]], votes: list[Vote]) -> Entry:
    """The comparison of both responses, known by its texts: the set has no ids."""
    prompt, responses = texts(pair[0].get("prompt"), [given.get("response") for given in pair], "response")
    known = {"prompt", "response", *ATTRIBUTES}
    metadata = {key: value for given in pair for key, value in given.items() if key not in known}
    made = rows.comparison_row(text_id(name, prompt, responses), responses, 0, 1, metadata, "prompt")
    return Entry(prompt, responses, [made], votes)


def texts(prompt: Any, responses: list[Any], field: str, said: Any = None) -> tuple[PromptRow, list[ResponseRow]]:
    """A glued prompt and its responses, checked; `said` is the prompt's metadata."""
    made = rows.prompt_row(None, turns_of(rows.text(prompt, "prompt")), [], said)
    given = [
        rows.response_row({"text": text}, f"{field}_{place}", f"{field}_{place}")
        for place, text in enumerate(responses, 1)
    ]
    return made, rows.apart(given)


def text_id(name: str, prompt: PromptRow, responses: list[ResponseRow]) -> str:
    """An id for a comparison that has none: the same texts have the same one in every file."""
    return f"{name}-{rows.digest(prompt.text_hash, *(response.text_hash for response in responses))[:32]}"
