"""Reads qa-feedback of Fine-Grained RLHF: up to four predictions, errors marked in the first, and preferences.

Every two predictions are a comparison, and each number of `preference` is an anonymous person's judgment of one. What
was marked in `prediction 1` belongs to the judgment of predictions 1 and 2. Rows of our own export say whose they are:
those of one comparison are read as one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.files import Numbered
from annotator.formats.published.fine_grained import COMPLETENESS, ERRORS, MISSING
from annotator.formats.published.glued import turns_of
from annotator.formats.published.helpsteer2_ratings import text_id
from annotator.formats.rows import Entry, PromptRow, ResponseRow, RowInvalid, Vote

TITLE = "Fine-grained feedback"
PRESET = "fine-grained"
SOURCE = "qa-feedback"
COLUMNS = {
    "question": _("the prompt"),
    "passages": _("documents, the title first"),
    **{f"prediction {number}": _("a response; every two are compared") for number in range(1, 5)},
    "feedback": _("marked passages, what is missing (as a rating of completeness) and the edited response"),
    "preference": _("one judgment each of predictions 1 and 2, 1 and 3, … 3 and 4"),
    "gold": _("metadata of the prompt"),
}
MOST = 4
# Key of the preset by the original's word.
TYPES = {words: key for key, words in ERRORS.items()}
# Which response a number of `preference` prefers.
PREFERRED = {0: 0.0, 1: -1.0, 2: 1.0}
OURS = ("meta_comparison_id", "meta_side")


def claims(row: Mapping[str, Any]) -> bool:
    feedback = row.get("feedback")
    return row.keys() >= {"question", "prediction 1"} and isinstance(feedback, Mapping) and "errors" in feedback


def joined(numbered: Iterable[Numbered]) -> Iterator[Numbered]:
    """{"rows": [...]} of our own rows of one comparison, which follow each other; others as they are."""
    for name, group in itertools.groupby(numbered, key=_comparison_of):
        if name is None:
            yield from group
            continue
        own = list(group)
        yield own[0][0], {"rows": [row for _line, row in own]}


def _comparison_of(numbered: Numbered) -> Any:
    row = numbered[1]
    if isinstance(row, RowInvalid) or any(row.get(name) is None for name in OURS):
        return None
    return str(row[OURS[0]])


def read(row: Mapping[str, Any]) -> Entry:
    """One row of the original, or the joined ones of a comparison of ours. Raises RowInvalid."""
    return _ours(row["rows"]) if "rows" in row else _original(row)


def _original(row: Mapping[str, Any]) -> Entry:
    texts = [
        row[f"prediction {number}"] for number in range(1, MOST + 1) if row.get(f"prediction {number}") is not None
    ]
    if len(texts) < 2:
        raise RowInvalid("prediction 2", "is missing: there is nothing to compare")
    prompt, responses = _prompt(row), _responses(texts, [""] * len(texts))
    pairs = list(itertools.combinations(range(len(texts)), 2))
    preferences = rows.sequence(row.get("preference"), "preference")
    if preferences and len(preferences) != len(pairs):
        raise RowInvalid("preference", f"has {len(preferences)} numbers for {len(pairs)} pairs of predictions")
    name = text_id("qa-feedback", prompt, responses)
    feedback = rows.mapping(row.get("feedback"), "feedback")
    missing = {"missing-info": feedback["missing-info"]} if feedback.get("missing-info") else {}
    comparisons, votes = [], []
    for place, (a, b) in enumerate(pairs):
        kept = missing if place == 0 else {}
        own = f"{name}:{a + 1}-{b + 1}"
        comparisons.append(rows.comparison_row(own, responses, a, b, kept, "question"))
        answer = _answer(feedback, "a") if place == 0 else {}
        preferred = _preferred(preferences[place], f"preference[{place}]") if preferences else None
        if answer or preferred is not None:
            votes.append(_vote(f"preference[{place}]", place, "", answer, preferred))
    return Entry(prompt, responses, comparisons, votes)


def _ours(given: list[dict[str, Any]]) -> Entry:
    """The rows of one comparison: of every person two, one for each response."""
    first = given[0]
    by_side = [first.get("prediction 1"), first.get("prediction 2")]
    models = rows.sequence(first.get("meta_models"), "meta_models") or ["", ""]
    if first["meta_side"] == "b":
        by_side, models = by_side[::-1], models[::-1]
    prompt, responses = _prompt(first), _responses(by_side, models)
    name = rows.identifier(first["meta_comparison_id"], "meta_comparison_id")
    comparison = rows.comparison_row(name, responses, 0, 1, {}, "meta_comparison_id")
    votes: list[Vote] = []
    for whose, own in itertools.groupby(given, key=lambda row: row.get("meta_rater")):
        # Somebody asked in several rounds gives several pairs of rows, side a first.
        votes += [_of_both(pair, whose) for pair in _rounds(list(own))]
    return Entry(prompt, responses, [comparison], votes)


def _rounds(own: list[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    started: list[dict[str, Any]] = []
    for row in own:
        if started and any(row["meta_side"] == before["meta_side"] for before in started):
            yield started
            started = []
        started.append(row)
    yield started


def _of_both(pair: list[dict[str, Any]], whose: Any) -> Vote:
    answer: dict[str, Any] = {}
    preferred = None
    for row in pair:
        side = row["meta_side"]
        if side not in ("a", "b"):
            raise RowInvalid("meta_side", f"must be a or b, not {side!r}")
        more = _answer(rows.mapping(row.get("feedback"), "feedback"), side)
        answer["spans"] = answer.get("spans", []) + more.get("spans", [])
        ratings = more.get("attributes", {}).get(COMPLETENESS, {})
        answer.setdefault("attributes", {}).setdefault(COMPLETENESS, {}).update(ratings)
        answer.update({"edit": more["edit"]} if "edit" in more else {})
        numbers = rows.sequence(row.get("preference"), "preference")
        if numbers:
            towards_second = _preferred(numbers[0], "preference[0]")
            preferred = towards_second if side == "a" else -towards_second
    if preferred is None:
        answer["outcome"] = "neither_valid"
    rater = "" if whose is None else rows.identifier(whose, "meta_rater")
    return _vote("feedback", 0, rater, answer, preferred)


def _prompt(row: Mapping[str, Any]) -> PromptRow:
    documents = []
    for place, passage in enumerate(rows.sequence(row.get("passages"), "passages")):
        title, *sentences = rows.sequence(passage, f"passages[{place}]") or [""]
        texts = [rows.text(sentence, f"passages[{place}]", empty=True) for sentence in sentences]
        documents.append({"title": title, "text": " ".join(texts)})
    own = row.get("meta_prompt_id")
    known = {*COLUMNS, *OURS, "meta_prompt_id", "meta_rater", "meta_models"} - {"gold"}
    metadata = {name: value for name, value in row.items() if name not in known}
    turns = turns_of(rows.text(row.get("question"), "question"))
    name = None if own is None else rows.identifier(own, "meta_prompt_id")
    return rows.prompt_row(name, turns, documents, metadata)


def _responses(texts: list[Any], models: list[Any]) -> list[ResponseRow]:
    return rows.apart(
        [
            rows.response_row({"text": text, "model": model}, f"prediction {number}", f"prediction {number}")
            for number, (text, model) in enumerate(zip(texts, models, strict=True), 1)
        ]
    )


def _answer(feedback: Mapping[str, Any], side: str) -> dict[str, Any]:
    """What a person marked in the response of `side`, how complete they found it, and how they would have it."""
    spans = [
        _span(rows.mapping(error, f"feedback.errors[{place}]"), side)
        for place, error in enumerate(rows.sequence(feedback.get("errors"), "feedback.errors"))
    ]
    missing = [
        str(rows.mapping(each, "feedback.missing-info").get("error type"))
        for each in rows.sequence(feedback.get("missing-info"), "feedback.missing-info")
    ]
    answer: dict[str, Any] = {"spans": spans}
    if feedback.get("missing-info") is not None:
        # As incomplete as the worst of what is missing.
        worst = min((MISSING.index(each) for each in missing if each in MISSING), default=len(MISSING))
        answer["attributes"] = {COMPLETENESS: {side: worst}}
    corrected = feedback.get("corrected-prediction")
    if corrected:
        text = rows.text(corrected, "feedback.corrected-prediction")
        answer["edit"] = {"side": side, "text": text}
    return answer


def _span(error: Mapping[str, Any], side: str) -> dict[str, Any]:
    kind = error.get("error type")
    span = {
        "side": side,
        "start": error.get("start"),
        "end": error.get("end"),
        "type": TYPES.get(str(kind), kind),
        "comment": error.get("explanation") or "",
    }
    severity = error.get("meta_severity")
    return {**span, "severity": severity} if severity else span


def _preferred(number: Any, name: str) -> float:
    if isinstance(number, bool) or number not in PREFERRED:
        raise RowInvalid(name, f"must be 0, 1 or 2, not {number!r}")
    return PREFERRED[number]


def _vote(field: str, comparison: int, rater: str, answer: dict[str, Any], preference: float | None) -> Vote:
    return Vote(
        field=field,
        comparison=comparison,
        rater=rater,
        is_ai=False,
        source=SOURCE,
        answer=answer,
        preference=preference,
    )
