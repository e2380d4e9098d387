"""Potato: what people said of instances, with the instances' own fields beside it.

Version 2 writes {"instance_id", "user_id", "labels": {schema: {label: value}}} (JSON Lines), or a column "schema.label"
each (CSV); the instance's fields are joined to it on the id (docs/formats.md). Version 1 writes one file a person:
{"id", "displayed_text", "label_annotations": {schema: {label: value}}}. A pairwise schema says "selection": "A", "B" or
"tie", or "scale_value": below 0 for A. A is the side that was shown first: with `randomize_order` the order is only in
Potato's user_state.json.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby, islice
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.rows import Entry, RowInvalid, Vote
from annotator.formats.tools import sides
from annotator.formats.tools.said import Said

TITLE = "Potato"
COLUMNS = {
    "instance_id": _("the comparison's name"),
    "user_id": _("who judged"),
    "labels": _("the judgment: pairwise selections, scales, reasons and texts"),
    "annotator_origin": _("whether a person, a tool or a model judged"),
    "id": _("the comparison's name"),
    "displayed_text": _("the responses, where no field lists them"),
    "label_annotations": _("the judgment: pairwise selections, scales, reasons and texts"),
    "responses": _("the responses"),
    "prompt": _("the prompt"),
    "spans": _("counted as left"),
    "span_annotations": _("counted as left"),
}
SOURCE = "potato"
# The end of a scale, where the instance has no `scale_max`: Potato's default.
SCALE_MAX = 3
# So many rows may be about one instance: they are held together.
MOST_TOGETHER = 1000
MARKED = re.compile(r"\A\s*A[.:)]\s+(?P<a>.+?)(?:\n|<br\s*/?>)+\s*B[.:)]\s+(?P<b>.+?)\s*\Z", re.DOTALL)
SECOND = re.compile(r"(?:\n|<br\s*/?>)\s*B[.:)]\s")
# What a row has beside the instance's own fields.
OWN = (
    *("instance_id", "user_id", "labels", "spans", "links", "annotator_origin", "annotator_origin_detail", "id"),
    *("displayed_text", "label_annotations", "span_annotations", "behavioral_data", "scale_max", "judgments"),
)
PAIRWISE = ("selection", "scale_value", "justification")


def claims(row: Mapping[str, Any]) -> bool:
    if isinstance(row.get("label_annotations"), Mapping):
        return True
    if not {"instance_id", "user_id"} <= row.keys():
        return False
    return isinstance(row.get("labels"), Mapping) or bool(_columns(row))


def joined(numbered: Iterable[tuple[int, Any]]) -> Iterator[tuple[int, Any]]:
    """Neighbours about one instance become one row with all that was said, in "judgments"."""
    for key, group in groupby(numbered, key=lambda one: _key(one[1])):
        (line, first), *others = islice(group, MOST_TOGETHER + 1)
        if isinstance(first, RowInvalid) or key is None:
            yield from ((line, first), *others)
        elif len(others) == MOST_TOGETHER:
            yield others[-1][0], RowInvalid("instance_id", f"is that of {MOST_TOGETHER:,} rows before it")
        else:
            yield line, {**first, "judgments": [_judgment(first), *(_judgment(row) for _line, row in others)]}


def read(row: Mapping[str, Any]) -> Entry:
    """One instance and what was said of it. Raises RowInvalid."""
    name = "instance_id" if "instance_id" in row else "id"
    row_id = rows.identifier(row.get(name), name)
    fields = {key: value for key, value in row.items() if key not in OWN and value is not None}
    columns = _columns(row)
    fields = {key: value for key, value in fields.items() if key not in columns}
    found = _sides(fields, row)
    left: list[str] = []
    judgments = row.get("judgments") or [_judgment(row)]
    votes = [vote for place, one in enumerate(judgments) if (vote := _vote(found, one, place, row, left))]
    metadata = {key: value for key, value in fields.items() if key not in found.used}
    return found.entry(row_id, metadata, votes, left)


def _key(row: Any) -> Any:
    """What rows of one instance share; every row that cannot be read is alone."""
    return id(row) if isinstance(row, RowInvalid) else row.get("instance_id")


def _columns(row: Mapping[str, Any]) -> list[str]:
    """The columns of a CSV export that hold labels: "schema.label"."""
    if not {"instance_id", "user_id"} <= row.keys() or "labels" in row:
        return []
    return [name for name in row if "." in name]


def _judgment(row: Mapping[str, Any]) -> dict[str, Any]:
    """{"user", "labels", "spans", "origin"} of one row of either version."""
    labels = row.get("labels", row.get("label_annotations"))
    if labels is None:
        labels = {}
        for name in _columns(row):
            schema, _dot, label = name.partition(".")
            labels.setdefault(schema, {})[label] = row[name]
    return {
        "user": row.get("user_id"),
        "labels": labels,
        "spans": row.get("spans") or row.get("span_annotations") or row.get("links"),
        "origin": row.get("annotator_origin"),
    }


def _sides(fields: dict[str, Any], row: Mapping[str, Any]) -> sides.Sides:
    """A list of two texts or more in one field; `left` and `right`, or other pairs; or marks in the displayed text."""
    listed = {name: value for name, value in fields.items() if _is_texts(value)}
    shown = row.get("displayed_text")
    if not listed and _is_texts(shown):
        listed = {"displayed_text": shown}
    if listed:
        name = next((name for name in ("responses", "items", "text") if name in listed), next(iter(listed)))
        asked = sides.mapped.guess(other for other in fields if other != name).get("prompt", "")
        items = [(letter, {"text": one}) for letter, one in zip("ABCDEFGHI", listed[name], strict=False)]
        return sides.of_items(items, name, fields.get(asked), {name, asked})
    if isinstance(shown, str) and (marked := _marked(shown)):
        return sides.find({**fields, **marked}, "displayed_text")
    if not fields and shown is None:
        reason = "has no texts beside it: join Potato's data file to the export by the instance's id (docs/formats.md)"
        raise RowInvalid("instance_id", reason)
    return sides.find(fields, "displayed_text" if shown is not None else "")


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(one, str) for one in value)


def _marked(shown: str) -> dict[str, str]:
    """The two texts of "A. … B. …"; empty where the marks are not there once each."""
    found = MARKED.match(shown)
    if not found or len(SECOND.findall(shown)) > 1:
        return {}
    return {"response_a": found["a"], "response_b": found["b"]}


def _vote(
    found: sides.Sides, given: Mapping[str, Any], place: int, row: Mapping[str, Any], left: list[str]
) -> Vote | None:
    where = f"labels[{place}]" if row.get("judgments") else "labels"
    if given["spans"]:
        left.append("marked passages")
    labels = rows.mapping(given["labels"], where)
    if not labels:
        left.append("an instance that was opened without an answer")
        return None
    said = Said(found, where)
    for schema, answer in labels.items():
        _take(said, schema, answer, row)
    is_ai, rater, origin = _who(given, where)
    vote = said.vote(rater, is_ai=is_ai, source=SOURCE, kept={"origin": origin})
    left += said.left
    if vote:
        left.append("whether the sides were shuffled when they were shown, which Potato's rows do not say")
    return vote


def _who(given: Mapping[str, Any], where: str) -> tuple[bool, Any, Any]:
    """(is AI, name, what the row says of the origin). A tool that judged is no person."""
    origin = given["origin"]
    kind = origin.get("kind") if isinstance(origin, Mapping) else origin
    is_ai = kind in ("tool", "llm")
    user = given["user"]
    rater = None if user in (None, "") else rows.identifier(user, f"{where}.user_id")
    return is_ai, rater or ("potato tool" if is_ai else None), origin if is_ai else None


def _take(said: Said, schema: str, answer: Any, row: Mapping[str, Any]) -> None:
    """What one schema holds: a pairwise answer, the best and the worst, the label that was chosen, or words."""
    labels = answer if isinstance(answer, Mapping) else {"": answer}
    labels = {
        label: value for label, value in labels.items() if value is not None and value is not False and value != ""
    }
    if "scale_value" in labels:
        said.strengths[schema] = _strength(labels["scale_value"], row, f"{said.where}.{schema}.scale_value")
    elif "selection" in labels and not said.choose(schema, labels["selection"]):
        said.keep(schema, labels["selection"])
    elif {"best", "worst"} <= labels.keys() and _best_worst(said, labels):
        labels = {}
    if "justification" in labels:
        _justify(said, schema, labels["justification"])
    rest = {label: value for label, value in labels.items() if label not in PAIRWISE}
    if rest:
        _rest(said, schema, rest)


def _rest(said: Said, schema: str, labels: dict[str, Any]) -> None:
    """A radio button is a label whose value repeats it or is true; a text box holds words; dimensions are questions."""
    (label, value), *others = labels.items()
    if not others and said.choose(schema, label if str(value).casefold() in ("true", "1", label.casefold()) else value):
        return
    if not others and label in ("text_box", "text", "") and isinstance(value, str):
        said.answer(schema, value)
        return
    for name, one in labels.items():
        if not said.choose(name, one):
            said.keep(f"{schema}.{name}".strip("."), one)


def _strength(value: Any, row: Mapping[str, Any], where: str) -> float:
    """-1 (A) to 1 (B)."""
    highest = rows.number(_number(row.get("scale_max", SCALE_MAX)), "scale_max", 1, 1000) or SCALE_MAX
    given = _number(value)
    if not isinstance(given, float) or abs(given) > highest:
        reason = (
            f"must be a number from -{highest:g} to {highest:g}, not {value!r}; scale_max says where the scale ends"
        )
        raise RowInvalid(where, reason)
    return given / highest


def _number(value: Any) -> Any:
    """The number that a text or a number is; anything else as it is, for the error to name."""
    try:
        return value if isinstance(value, bool) else float(value)
    except (TypeError, ValueError):
        return value


def _best_worst(said: Said, labels: Mapping[str, Any]) -> bool:
    best, worst = (said.sides.place(labels[end]) for end in ("best", "worst"))
    if best is None or worst is None or len(said.sides.names) < rows.RANKED_AT_LEAST:
        return False
    said.ranking = {"best": best, "worst": worst}
    return True


def _justify(said: Said, schema: str, value: Any) -> None:
    """JSON with "reasons" (names of the project's own) and "rationale"; other text is the reason itself."""
    try:
        given = json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        given = None
    if not isinstance(given, Mapping):
        said.write("justification", str(value))
        return
    said.write("justification", str(given.get("rationale") or ""))
    if given.get("reasons"):
        said.keep(f"{schema}.reasons", given["reasons"])
