"""Reads the default table of allenai/multipref: one row a comparison with every person's answers.

People are known by `evaluator`, experts as experts. What has no place in an answer stands in the judgment's
provenance: checked reasons that the preset does not offer, and words about an aspect that nothing else was said of.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator import protocols
from annotator.formats import rows
from annotator.formats.published.glued import turns_of
from annotator.formats.published.multipref import ASPECTS, CONFIDENCES, PREFERENCES
from annotator.formats.rows import Entry, RowInvalid, Vote

TITLE = "MultiPref"
PRESET = "multipref"
SOURCE = "MultiPref"
NORMAL, EXPERT = "normal_worker_annotations", "expert_worker_annotations"
PROMPT_FACTS = ("source", "category", "subject_study", "highest_level_degree")
COLUMNS = {
    "comparison_id": _("id of the comparison"),
    "prompt_id": _("id of the prompt"),
    "text": _("the prompt"),
    "model_a": _("model of response A"),
    "completion_a": _("response A"),
    "model_b": _("model of response B"),
    "completion_b": _("response B"),
    **{name: _("metadata of the prompt") for name in PROMPT_FACTS},
    NORMAL: _("one judgment each, of the person that `evaluator` names"),
    EXPERT: _("one judgment each, of an expert"),
}
LEVELS = {words: level for level, words in PREFERENCES.items()}
HIGHEST = max(PREFERENCES)
SURE = {words: level for level, words in CONFIDENCES.items()}
LONGEST_SECONDS = (2**31 - 1) / 1000
# Key by the words of a reason, as the preset and our own exports write them.
REASONS = {
    aspect.key: {choice.label: choice.key for choice in aspect.reasons}
    for aspect in protocols.read(protocols.PRESETS[PRESET]).aspects
}


def claims(row: Mapping[str, Any]) -> bool:
    return row.keys() >= {"completion_a", "completion_b"} and (NORMAL in row or EXPERT in row)


def read(row: Mapping[str, Any]) -> Entry:
    """One row. Raises RowInvalid at the first thing that does not fit."""
    turns = rows.sequence(row.get("meta_turns"), "meta_turns") or turns_of(rows.text(row.get("text"), "text"))
    own = row.get("prompt_id")
    facts = {name: row[name] for name in PROMPT_FACTS if row.get(name)}
    prompt = rows.prompt_row(None if own is None else rows.identifier(own, "prompt_id"), turns, [], facts)
    responses = rows.apart(
        [
            rows.response_row(
                {"text": row.get(f"completion_{side}"), "model": row.get(f"model_{side}")},
                f"completion_{side}",
                f"completion_{side}",
            )
            for side in "ab"
        ]
    )
    name = rows.identifier(row.get("comparison_id"), "comparison_id")
    metadata = {key: value for key, value in row.items() if key not in {*COLUMNS, "meta_turns"}}
    votes = [
        _vote(rows.mapping(given, f"{column}[{place}]"), f"{column}[{place}]", column == EXPERT)
        for column in (NORMAL, EXPERT)
        for place, given in enumerate(rows.sequence(row.get(column), column))
    ]
    return Entry(prompt, responses, [rows.comparison_row(name, responses, 0, 1, metadata, "comparison_id")], votes)


def _vote(given: dict[str, Any], name: str, is_expert: bool) -> Vote:
    kept: dict[str, Any] = {}
    answer: dict[str, Any] = {"aspects": {}}
    for aspect in ASPECTS:
        said = _aspect(given, aspect, name, kept)
        if said:
            answer["aspects"][aspect] = said
    sure = _known(given.get("overall_confidence"), SURE, f"{name}.overall_confidence")
    if sure is not None:
        answer["confidence"] = sure
    if given.get("meta_justification"):
        answer["justification"] = rows.text(given["meta_justification"], f"{name}.meta_justification")
    level = _known(given.get("overall_pref"), LEVELS, f"{name}.overall_pref")
    seconds = rows.number(given.get("time_spent"), f"{name}.time_spent", 0, LONGEST_SECONDS)
    evaluator = given.get("evaluator")
    created_at = _moment(given, kept)
    return Vote(
        field=name,
        comparison=0,
        rater="" if evaluator in (None, "") else rows.identifier(evaluator, f"{name}.evaluator"),
        is_ai=False,
        source=SOURCE,
        answer=answer,
        preference=None if level is None else level / HIGHEST,
        active_ms=None if seconds is None else round(seconds * 1000),
        created_at=created_at,
        provenance=rows.as_json(kept, name),
        is_expert=is_expert,
    )


def _aspect(given: Mapping[str, Any], aspect: str, name: str, kept: dict[str, Any]) -> dict[str, Any]:
    """The answer on an aspect, {} without one; `kept` takes what it has no place for."""
    checked = [
        rows.text(reason, f"{name}.{aspect}_checked_reasons")
        for reason in rows.sequence(given.get(f"{aspect}_checked_reasons"), f"{name}.{aspect}_checked_reasons")
    ]
    unknown = [reason for reason in checked if reason not in REASONS[aspect]]
    own = rows.text(given.get(f"{aspect}_own_reason") or "", f"{name}.{aspect}_own_reason", empty=True)
    kept.update({f"{aspect}_checked_reasons": unknown} if unknown else {})
    level = _known(given.get(f"{aspect}_pref"), LEVELS, f"{name}.{aspect}_pref")
    if level is None:
        kept.update({f"{aspect}_own_reason": own} if own else {})
        return {}
    return ({"own": own} if own else {}) | {
        "level": level,
        "confidence": _known(given.get(f"{aspect}_confidence"), SURE, f"{name}.{aspect}_confidence"),
        "reasons": [REASONS[aspect][reason] for reason in checked if reason in REASONS[aspect]],
    }


def _known(words: Any, values: Mapping[str, int], name: str) -> int | None:
    if words is None or words == "":
        return None
    if words not in values:
        raise RowInvalid(name, f"must be one of {', '.join(values)}, not {words!r}")
    return values[words]


def _moment(given: Mapping[str, Any], kept: dict[str, Any]) -> Any:
    """The time of an answer; one that is no time we can read stays in `kept` as it came."""
    try:
        return rows.moment(given.get("timestamp"), "timestamp")
    except RowInvalid:
        kept["timestamp"] = given["timestamp"]
        return None
