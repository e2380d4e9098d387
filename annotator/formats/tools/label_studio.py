"""Label Studio's JSON export: tasks with `data`, what people made of them (`annotations`) and models (`predictions`).

The labelling configuration is not in the file. A Pairwise tag has from_name == to_name and says "left" or "right";
which field stood left is taken from the order of the fields' names. Rating tags name what they rate in `to_name`; a
Ranker lists ids of `data`'s items, best first.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext_lazy as _

from annotator.formats import rows
from annotator.formats.rows import Entry, RowInvalid, Vote
from annotator.formats.tools import sides
from annotator.formats.tools.said import Said

TITLE = "Label Studio"
COLUMNS = {
    "id": _("the comparison's name"),
    "data": _("the prompt and the responses, by the names of the fields; the rest is metadata"),
    "annotations": _("judgments of people: pairwise, rating, ranker, choices and text areas"),
    "predictions": _("votes of AI labelers, by model_version"),
    "drafts": _("counted as left"),
}
SOURCE = "label-studio"
# Names of lists of responses in a task, and of a response's text in such a list.
ITEMS = ("items", "answers", "responses", "candidates", "options", "results")
BODY = ("body", "text", "html", "content", "value")
# Keys of a task beside its data and its annotations that are worth keeping.
OWN = ("meta", "inner_id", "file_upload", "project", "created_at", "updated_at")


def claims(row: Mapping[str, Any]) -> bool:
    return isinstance(row.get("data"), Mapping) and isinstance(row.get("annotations", row.get("predictions")), list)


def read(row: Mapping[str, Any]) -> Entry:
    """One task. Raises RowInvalid."""
    row_id = rows.identifier(row.get("id"), "id")
    data = rows.mapping(row["data"], "data")
    found = _sides(data)
    left = ["a draft"] * len(rows.sequence(row.get("drafts"), "drafts"))
    people = _each(row, "annotations")
    models = _each(row, "predictions")
    votes = [vote for name, given in people if (vote := _of_person(found, given, name, left))]
    votes += [vote for name, given in models if (vote := _of_model(found, given, name, left))]
    metadata = {name: value for name, value in data.items() if name not in found.used}
    metadata |= {f"label_studio_{name}": row[name] for name in OWN if row.get(name) not in (None, {}, [], "")}
    return found.entry(row_id, metadata, votes, left)


def _each(row: Mapping[str, Any], name: str) -> list[tuple[str, dict[str, Any]]]:
    given = rows.sequence(row.get(name), name)
    return [(f"{name}[{place}]", rows.mapping(one, f"{name}[{place}]")) for place, one in enumerate(given)]


def _sides(data: dict[str, Any]) -> sides.Sides:
    name = next((name for name in ITEMS if _is_items(data.get(name))), "")
    if not name:
        return sides.find(data, "data")
    asked = sides.mapped.guess(other for other in data if other != name).get("prompt", "")
    items = [_item(one, f"data.{name}[{place}]") for place, one in enumerate(data[name])]
    return sides.of_items(items, f"data.{name}", data.get(asked), {name, asked})


def _is_items(value: Any) -> bool:
    return isinstance(value, list) and len(value) > 1 and all(isinstance(one, Mapping | str) for one in value)


def _item(given: Any, where: str) -> tuple[str, dict[str, Any]]:
    """(the id by which a ranker names it, the response)."""
    if isinstance(given, str):
        return given, {"text": given}
    key = next((name for name in BODY if given.get(name)), "")
    if not key:
        raise RowInvalid(where, f"has no text: one of {', '.join(BODY)}")
    rest = {name: value for name, value in given.items() if name not in ("id", key)}
    name = rows.identifier(given["id"], f"{where}.id") if given.get("id") is not None else where
    return name, {"id": given.get("id"), "text": given[key], "model": given.get("model"), "metadata": rest}


def _of_person(found: sides.Sides, given: dict[str, Any], name: str, left: list[str]) -> Vote | None:
    if given.get("was_cancelled"):
        left.append("a cancelled annotation")
        return None
    said = _said(found, given, name, left)
    if said is None:
        return None
    seconds = rows.number(given.get("lead_time"), f"{name}.lead_time", 0, 2_000_000)
    vote = said.vote(
        _person(given.get("completed_by"), f"{name}.completed_by"),
        is_ai=False,
        source=SOURCE,
        kept={
            "annotation": given.get("id"),
            "ground_truth": given.get("ground_truth") or None,
            "parent_prediction": given.get("parent_prediction"),
        },
        active_ms=None if seconds is None else round(seconds * 1000),
        created_at=rows.moment(given.get("created_at"), f"{name}.created_at"),
    )
    left += said.left
    return vote


def _of_model(found: sides.Sides, given: dict[str, Any], name: str, left: list[str]) -> Vote | None:
    said = _said(found, given, name, left)
    if said is None:
        return None
    vote = said.vote(
        given.get("model_version") or "label studio prediction",
        is_ai=True,
        source=SOURCE,
        kept={"prediction": given.get("id"), "score": given.get("score")},
        created_at=rows.moment(given.get("created_at"), f"{name}.created_at"),
    )
    left += said.left
    return vote


def _person(value: Any, name: str) -> Any:
    """Who annotated: a number, or with the snapshot export an object with an id and an email."""
    if isinstance(value, Mapping):
        return value.get("email") or rows.identifier(value.get("id"), f"{name}.id")
    return value


def _said(found: sides.Sides, given: dict[str, Any], name: str, left: list[str]) -> Said | None:
    """What the annotation says, control by control; None for one that says nothing."""
    results = rows.sequence(given.get("result"), f"{name}.result")
    if not results:
        left.append("an annotation without an answer")
        return None
    said = Said(found, name)
    for place, one in enumerate(results):
        where = f"{name}.result[{place}]"
        result = rows.mapping(one, where)
        _take(said, result, rows.mapping(result.get("value"), f"{where}.value"), where)
    return said


def _take(said: Said, result: dict[str, Any], value: dict[str, Any], where: str) -> None:
    kind = result.get("type") or ""
    control, about = str(result.get("from_name") or kind), str(result.get("to_name") or "")
    given = value.get("selected" if kind == "pairwise" else "text" if kind == "textarea" else kind)
    if kind == "pairwise":
        if not said.choose(control, given):
            raise RowInvalid(f"{where}.value.selected", f"must be left or right, not {given!r}")
    elif kind == "rating":
        said.rate(control, given, about)
    elif kind == "textarea":
        words = rows.sequence([given] if isinstance(given, str) else given, f"{where}.value.text")
        said.write(control, "\n".join(rows.text(one, f"{where}.value.text", empty=True) for one in words), about)
    elif kind == "ranker":
        _rank(said, control, given, f"{where}.value.ranker")
    elif kind == "choices":
        chosen = rows.sequence(given, f"{where}.value.choices")
        if len(chosen) != 1 or not said.choose(control, chosen[0]):
            said.keep(control, chosen)
    else:
        said.keep(control, value)


def _rank(said: Said, control: str, given: Any, where: str) -> None:
    """A list of ids is a ranking, and so is one bucket that holds them all; several buckets are kinds, not ranks."""
    buckets = given if isinstance(given, Mapping) else {"": given}
    lists = [rows.sequence(ids, where) for ids in buckets.values()]
    known = set(said.sides.names)
    unknown = [one for one in itertools.chain(*lists) if str(one) not in known]
    if unknown:
        raise RowInvalid(where, f"ranks {unknown[0]!r}, which is none of the task's items")
    full = [ids for ids in lists if ids]
    if len(full) != 1 or not said.rank(control, [[str(one)] for one in full[0]]):
        said.keep(control, given)
