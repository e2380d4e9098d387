"""Rows of published preference data: one pair a row with `human_labels` and `ai_labels` on a scale from -1 to 1."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import native, rows
from annotator.formats.rows import Entry, RowInvalid, Vote

TITLE = "Rows with human_labels and ai_labels"
COLUMNS = {
    "id": _("name of the row"),
    "prompt": _("the prompt"),
    "prompt_id": _("name of the prompt"),
    "system": _("the system turn"),
    "context": _("documents"),
    "response_a": _("response A"),
    "response_b": _("response B"),
    "model_a": _("who wrote response A"),
    "model_b": _("who wrote response B"),
    "human_labels": _("judgments of people, from -1 (A) to 1 (B)"),
    "ai_labels": _("judgments of AI, from -1 (A) to 1 (B)"),
    "meta": _("metadata"),
    "source": _("where the judgments come from"),
}
KNOWN = {
    *("id", "source", "prompt", "prompt_id", "system", "context", "response_a", "response_b", "model_a", "model_b"),
    *("human_labels", "ai_labels", "meta"),
}


def claims(row: Mapping[str, Any]) -> bool:
    return "human_labels" in row or "ai_labels" in row


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid at the first thing that does not fit."""
    source = rows.text(row.get("source") or "", "source", width=rows.SOURCE_WIDTH, empty=True)
    prompt_id = row.get("prompt_id")
    prompt = rows.prompt_row(
        None if prompt_id is None else rows.identifier(prompt_id, "prompt_id"),
        native.turns_of(row),
        rows.sequence(row.get("context"), "context"),
    )
    responses = native.pair_of(row)
    metadata = {
        **{name: value for name, value in row.items() if name not in KNOWN},
        **rows.mapping(row.get("meta"), "meta"),
    }
    comparison = rows.comparison_row(rows.identifier(row.get("id"), "id"), responses, 0, 1, metadata, "id")
    votes = [
        _vote(rows.mapping(given, f"{column}[{place}]"), f"{column}[{place}]", who, source)
        for column, who in (("human_labels", "annotator"), ("ai_labels", "judge"))
        for place, given in enumerate(rows.sequence(row.get(column), column))
    ]
    return Entry(prompt, responses, [comparison], votes)


def _vote(given: dict[str, Any], name: str, who: str, source: str) -> Vote:
    is_ai = who == "judge"
    preference = rows.number(given.get("preference"), f"{name}.preference", -1, 1)
    if preference is None:
        raise RowInvalid(f"{name}.preference", "is missing")
    shown_first = given.get("shown_first")
    if shown_first not in (None, "a", "b"):
        raise RowInvalid(f"{name}.shown_first", f"must be a or b, not {shown_first!r}")
    rationale = given.get("rationale")
    kept = {key: value for key, value in given.items() if key not in (who, "rationale", "shown_first", "time")}
    return Vote(
        field=name,
        comparison=0,
        rater=native.rater_name(given.get(who), f"{name}.{who}", is_ai),
        is_ai=is_ai,
        source=source,
        answer={} if rationale is None else {"justification": rows.text(rationale, f"{name}.rationale", empty=True)},
        preference=preference,
        a_first=None if shown_first is None else shown_first == "a",
        created_at=rows.moment(given.get("time"), f"{name}.time"),
        provenance=rows.as_json(kept, name),
    )
