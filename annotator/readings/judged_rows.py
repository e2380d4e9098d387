"""The rows behind a page of judged comparisons: one statement each, by id, as plain values without models.

JSON is text until somebody needs what is in it, because most of what a protocol defines freely is empty; so are times,
which Python reads in a tenth of the time that the database's driver takes.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import fields
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from annotator.formats import source
from annotator.models import Candidate

_TEXTS = {
    "prompt": ("external_id", "turns", "context", "metadata"),
    "response_a": ("external_id", "text", "model", "metadata"),
    "response_b": ("external_id", "text", "model", "metadata"),
}
_COMPARISON = ("id", "external_id", "metadata", "candidates_count")
_COMPARISONS = f"""
SELECT {", ".join(f"c.{name}" for name in _COMPARISON)},
       {", ".join(f"{table}.{name}" for table, names in _TEXTS.items() for name in names)}
FROM annotator_comparison c
JOIN annotator_prompt prompt ON prompt.id = c.prompt_id
JOIN annotator_response response_a ON response_a.id = c.response_a_id
JOIN annotator_response response_b ON response_b.id = c.response_b_id
JOIN unnest(%s::bigint[]) WITH ORDINALITY AS asked(id, place) ON asked.id = c.id
ORDER BY asked.place
"""
# What a `source.Vote` has of its judgment, in its order: all but what it has of its rater.
VOTE = tuple(each.name for each in fields(source.Vote) if each.name not in ("rater", "is_person", "is_expert"))
_FACTS = ("id", "comparison_id", "rater_id", "cost", "protocol_id", "assignment_id", "guidelines_version")
_JUDGMENTS = f"""
SELECT {", ".join((*_FACTS, *(f"{name}::text" if name == "created_at" else name for name in VOTE)))}
FROM annotator_judgment WHERE id = ANY(%s) ORDER BY id
"""
_JSON = [VOTE.index(name) for name in ("aspects", "attributes", "feedback", "edit", "spans", "ranking")]
_CREATED, _PREFERENCE = VOTE.index("created_at"), VOTE.index("preference")


class Given(NamedTuple):
    """A judgment; `said` are its values of `VOTE`."""

    id: int
    comparison_id: int
    rater_id: int
    cost: Decimal
    protocol_id: int | None
    assignment_id: int | None
    guidelines_version: int | None
    said: list[Any]

    @property
    def preference(self) -> float | None:
        preference: float | None = self.said[_PREFERENCE]
        return preference


def comparisons(ids: list[int]) -> list[tuple[Any, ...]]:
    """`_COMPARISON` and then `_TEXTS` of each, in the order of `ids`; JSON as text."""
    with connection.cursor() as cursor:
        cursor.execute(_COMPARISONS, [ids])
        return cursor.fetchall()


def judgments(ids: list[int]) -> list[Given]:
    """In order."""
    with connection.cursor() as cursor:
        cursor.execute(_JUDGMENTS, [ids])
        rows = cursor.fetchall()
    return [Given._make((*row[: len(_FACTS)], _read(list(row[len(_FACTS) :])))) for row in rows]


def _read(said: list[Any]) -> list[Any]:
    for place in _JSON:
        said[place] = parsed(said[place])
    said[_CREATED] = datetime.fromisoformat(said[_CREATED])
    return said


def further_responses(comparisons: list[int]) -> dict[int, list[source.Response]]:
    """The responses that are ranked with A and B, C first."""
    found: dict[int, list[source.Response]] = defaultdict(list)
    candidates = Candidate.objects.filter(comparison__in=comparisons).order_by("comparison", "place")
    columns = ("comparison", *(f"response__{name}" for name in ("external_id", "text", "model", "metadata")))
    for comparison, *response in candidates.values_list(*columns) if comparisons else ():
        found[comparison].append(source.Response(*response))
    return found


def parsed(text: str) -> Any:
    if text == "{}":
        return {}
    return [] if text == "[]" else json.loads(text)


def as_json(value: Any) -> str:
    """JSON as data sets have it: keys sorted, letters as they are."""
    if not value:  # most of what a protocol defines freely is empty
        return "{}" if isinstance(value, dict) else "[]" if isinstance(value, list) else json.dumps(value)
    return json.dumps(value, ensure_ascii=False, sort_keys=True)


def tidy(text: str) -> str:
    """JSON as the database has it, as data sets have it."""
    return text if text in ("{}", "[]") else as_json(json.loads(text))
