"""Rows of the lossless store, checked as any uploaded file's and made ready for the database's columns.

Every function gives {column: value}: JSON as text, money exact, times in UTC. Raises RowInvalid.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from annotator import protocols
from annotator.formats import rows
from annotator.formats.judgments import TABLES
from annotator.formats.rows import RowInvalid
from annotator.protocols.faults import faults

Values = dict[str, Any]
SIDES = tuple(protocols.SIDES)
# Far above every id that a site gives, and exact in every JSON reader.
HIGHEST_ID = 10**15
# Of the database's columns.
SMALL, WHOLE = 2**15 - 1, 2**31 - 1
# Versions of guidelines and protocols, and plans.
HIGHEST_NUMBER = 100_000
# How deep JSON may nest: what people write is far from it, and a parser's stack is not.
DEEPEST = 64
OUTCOMES = ("level", "ranked", "neither_valid", "cannot_judge", "abstain")
PURPOSES = ("judge", "gold", "repeat", "review")
KINDS = PERSON, LABELER = ("person", "labeler")
PSEUDONYM = re.compile(r"person-[0-9a-z]{1,20}")
EMPTY: dict[type, str] = {dict: "{}", list: "[]"}
COLUMNS = {table: {name for name, _type in columns} for table, (_about, columns) in TABLES.items()}


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse)


def checked(table: str, row: Mapping[str, Any]) -> Values:
    if not row.keys() <= COLUMNS[table]:
        raise RowInvalid(min(row.keys() - COLUMNS[table]), "is no column of this table")
    return CHECKS[table](row)


def _judgment(row: Mapping[str, Any]) -> Values:
    return {
        "restored_id": _whole(row, "judgment_id", 1, HIGHEST_ID),
        "comparison_id": _key(row, "comparison_id"),
        "rater": rows.text(row.get("rater"), "rater"),
        "rater_kind": _one_of(row, "rater_kind", KINDS),
        "round": _whole(row, "round", 1, SMALL),
        "revision": _whole(row, "revision", 1, SMALL),
        "is_current": _yes(row, "is_current"),
        **_said(row),
        "purpose": _one_of(row, "purpose", PURPOSES),
        "a_first": _yes(row, "a_first", null=True),
        "active_ms": rows.whole(row.get("active_ms"), "active_ms", 0, WHOLE),
        "is_surplus": _yes(row, "is_surplus"),
        "cost": _money(row, "cost"),
        "protocol_version": rows.whole(row.get("protocol_version"), "protocol_version", 1, HIGHEST_NUMBER),
        "guidelines_version": rows.whole(row.get("guidelines_version"), "guidelines_version", 0, HIGHEST_NUMBER),
        "plan": rows.whole(row.get("plan"), "plan", 0, HIGHEST_NUMBER),
        "provenance": _json(row, "provenance", dict),
        "created_at": _moment(row, "created_at"),
        "effective_at": _moment(row, "effective_at"),
    }


def _said(row: Mapping[str, Any]) -> Values:
    said: Values = {
        "outcome": _one_of(row, "outcome", OUTCOMES),
        "level": rows.whole(row.get("level"), "level", -SMALL, SMALL),
        "preference": rows.number(row.get("preference"), "preference", -1, 1),
        "p_b": rows.number(row.get("p_b"), "p_b", 0, 1),
        "p_tie": rows.number(row.get("p_tie"), "p_tie", 0, 1),
        "confidence": _real(row, "confidence"),
        "reasons": _words(row, "reasons"),
        "flags": _words(row, "flags"),
        "justification": rows.text(row.get("justification"), "justification", empty=True),
        "aspects": _json(row, "aspects", dict),
        "attributes": _json(row, "attributes", dict, _ratings),
        "spans": _json(row, "spans", list, _spans),
        "feedback": _json(row, "feedback", dict, _sides_of_text),
        "edit": _json(row, "edit", dict, _edited),
        "ranking": _json(row, "ranking", dict, _ranked),
    }
    if said["preference"] is not None and (said["outcome"] != "level" or said["level"] is None):
        raise RowInvalid("preference", "is there without a level")
    return said


def _comparison(row: Mapping[str, Any]) -> Values:
    further = rows.sequence(row.get("further_response_ids"), "further_response_ids")
    if len(further) > len(SIDES) - 2:
        raise RowInvalid("further_response_ids", f"are more than {len(SIDES) - 2}")
    read = {
        "external_id": _key(row, "comparison_id"),
        "prompt_id": _key(row, "prompt_id"),
        "response_a_id": _key(row, "response_a_id"),
        "response_b_id": _key(row, "response_b_id"),
        "further": [rows.text(one, "further_response_ids", width=rows.ID_WIDTH) for one in further],
        "criterion": rows.text(row.get("criterion"), "criterion", empty=True),
        "harms": rows.sequence(row.get("harms"), "harms"),
        "metadata": _json(row, "metadata", dict),
    }
    if unknown := [harm for harm in read["harms"] if harm not in rows.HARMS]:
        raise RowInvalid("harms", f"must be of {', '.join(rows.HARMS)}; {unknown[0]!r} is not")
    if read["response_a_id"] == read["response_b_id"]:
        raise RowInvalid("response_b_id", "is response A's: a comparison needs two responses")
    return read


def _prompt(row: Mapping[str, Any]) -> Values:
    metadata = _json(row, "metadata", dict)
    turns, context = rows.sequence(row.get("turns"), "turns"), rows.sequence(row.get("context"), "context")
    if not turns:
        raise RowInvalid("turns", "are missing")
    try:
        read = rows.prompt_row(_key(row, "prompt_id"), turns, context)
    except RowInvalid as invalid:
        raise RowInvalid(invalid.field.replace("prompt", "turns"), invalid.reason) from None
    return {
        **{"external_id": read.external_id, "turns": read.turns, "context": read.context, "metadata": metadata},
        "text_hash": read.text_hash,
    }


def _response(row: Mapping[str, Any]) -> Values:
    text = rows.text(row.get("text"), "text", empty=True)
    return {
        "prompt_id": _key(row, "prompt_id"),
        "external_id": _key(row, "response_id"),
        "text": text,
        "model": rows.text(row.get("model"), "model", width=rows.ID_WIDTH, empty=True),
        "metadata": _json(row, "metadata", dict),
        "text_hash": rows.digest(text),
    }


def _rater(row: Mapping[str, Any]) -> Values:
    read: Values = {
        "rater": rows.text(row.get("rater"), "rater"),
        "kind": _one_of(row, "kind", KINDS),
        "is_expert": _yes(row, "is_expert"),
        "is_anonymous": _yes(row, "is_anonymous", null=True) or False,
    }
    return read | (_labeler(row) if read["kind"] == LABELER else _person(read["rater"]))


def _person(pseudonym: str) -> Values:
    if PSEUDONYM.fullmatch(pseudonym) is None:
        raise RowInvalid("rater", f"must be a pseudonym such as person-1f0c5a77b2e9, not {pseudonym!r}")
    return {}


def _labeler(row: Mapping[str, Any]) -> Values:
    name = rows.text(row.get("labeler"), "labeler", width=100)
    digest = rows.text(row.get("labeler_digest"), "labeler_digest", width=64)
    if row["rater"] != f"{name}@{digest[:12]}":
        raise RowInvalid("rater", f"must be the labeler's name and the first 12 digits of its version: {name}@…")
    accepted = row.get("accepted_at")
    return {
        "labeler": labeler_name(name, "labeler"),
        "labeler_kind": rows.text(row.get("labeler_kind"), "labeler_kind", width=40),
        "digest": digest,
        "parameters": _json(row, "parameters", dict),
        # Stores of earlier releases do not say; then every version counts.
        "is_accepted": accepted != "",
        "accepted_at": rows.moment(accepted or None, "accepted_at"),
    }


def labeler_name(name: str, field: str) -> str:
    """`name`, when a labeler may be called so: plans call people "people" and "people:2"."""
    if name.lower() == "people" or name.lower().startswith("people:"):
        raise RowInvalid(field, f"{name!r} is what plans call people, so no labeler can have the name")
    return name


def _protocol(row: Mapping[str, Any]) -> Values:
    definition = _json(row, "definition", dict)
    if wrong := faults(json.loads(definition)):
        raise RowInvalid("definition", f"cannot be used as a protocol: {wrong[0]}")
    return {
        "version": _whole(row, "version", 1, HIGHEST_NUMBER),
        "preset": rows.text(row.get("preset"), "preset", width=40, empty=True),
        "definition": definition,
    }


def _route(row: Mapping[str, Any]) -> Values:
    source = rows.text(row.get("source"), "source", width=100)
    return {
        "comparison_id": _key(row, "comparison_id"),
        "plan": _whole(row, "plan", 0, HIGHEST_NUMBER),
        "source": source if source == "people" else labeler_name(source, "source"),
        "votes": _whole(row, "votes", 0, SMALL),
        "price": _money(row, "price"),
        "propensity": _needed(rows.number(row.get("propensity"), "propensity", 0, 1), "propensity"),
        "is_control": _yes(row, "is_control"),
        "gain": _real(row, "gain"),
        "reason": rows.text(row.get("reason"), "reason", empty=True),
    }


CHECKS: dict[str, Callable[[Mapping[str, Any]], Values]] = {
    "protocols": _protocol,
    "raters": _rater,
    "prompts": _prompt,
    "responses": _response,
    "comparisons": _comparison,
    "routes": _route,
    "judgments": _judgment,
}


def _needed(value: Any, name: str) -> Any:
    if value is None:
        raise RowInvalid(name, "is missing")
    return value


def _key(row: Mapping[str, Any], name: str) -> str:
    return rows.text(row.get(name), name, width=rows.ID_WIDTH)


def _whole(row: Mapping[str, Any], name: str, low: int, high: int) -> int:
    return int(_needed(rows.whole(row.get(name), name, low, high), name))


def _real(row: Mapping[str, Any], name: str) -> float | None:
    value = rows.number(row.get(name), name, -math.inf, math.inf)
    if value is not None and math.isinf(value):
        raise RowInvalid(name, "is infinite")
    return value


def _money(row: Mapping[str, Any], name: str) -> Decimal:
    amount = rows.money(_needed(row.get(name), name), name)
    if amount != round(amount, 8):
        raise RowInvalid(name, "has more than eight digits after the point")
    return amount


def _yes(row: Mapping[str, Any], name: str, *, null: bool = False) -> bool | None:
    value = row.get(name)
    if value is None and null:
        return None
    if not isinstance(value, bool):
        raise RowInvalid(name, "is missing" if value is None else f"must be true or false, not {value!r}")
    return value


def _one_of(row: Mapping[str, Any], name: str, known: tuple[str, ...]) -> str:
    value = rows.text(row.get(name), name)
    if value not in known:
        raise RowInvalid(name, f"must be one of {', '.join(known)}, not {value!r}")
    return value


def _moment(row: Mapping[str, Any], name: str) -> Any:
    return _needed(rows.moment(row.get(name), name), name)


def _words(row: Mapping[str, Any], name: str) -> list[str]:
    return [rows.text(one, name, width=60, empty=True) for one in rows.sequence(row.get(name), name)]


def _json(row: Mapping[str, Any], name: str, kind: type, shaped: Callable[[Any], bool] | None = None) -> str:
    """The column's JSON, checked and written anew. `shaped` says whether it is as pages and labels read it."""
    value = row.get(name)
    if value == EMPTY[kind]:  # most are
        return EMPTY[kind]
    if isinstance(value, str):  # readers of Parquet have opened some columns already
        try:
            value = _JSON.decode(value)
        except (ValueError, RecursionError) as error:
            raise RowInvalid(name, rows.no_json(error)) from None
    if not isinstance(value, kind):
        raise RowInvalid(name, f"must be JSON, {'a list' if kind is list else 'an object'}, not {rows.kind_of(value)}")
    if _is_deeper(value, DEEPEST):
        raise RowInvalid(name, f"is nested more than {DEEPEST} levels deep")
    if value and shaped and not shaped(value):
        raise RowInvalid(name, "is not shaped as docs/exports.md says")
    return rows.as_json(value, name)


def _is_deeper(value: Any, levels: int) -> bool:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels < 0 or any(_is_deeper(one, levels - 1) for one in inner)


def _ratings(given: dict[str, Any]) -> bool:
    """{attribute: {side: number}}: labels average them."""
    return all(
        isinstance(sides, dict) and all(side in SIDES and _is_rating(value) for side, value in sides.items())
        for sides in given.values()
    )


def _is_rating(value: Any) -> bool:
    return value is None or (isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= WHOLE)


def _spans(given: list[Any]) -> bool:
    return all(
        isinstance(span, dict) and span.get("side") in SIDES and _are_places(span.get("start"), span.get("end"))
        for span in given
    )


def _are_places(*given: Any) -> bool:
    return all(type(place) is int and 0 <= place <= WHOLE for place in given)


def _sides_of_text(given: dict[str, Any]) -> bool:
    return all(side in SIDES and isinstance(text, str) for side, text in given.items())


def _edited(given: dict[str, Any]) -> bool:
    return given.get("side") in SIDES and isinstance(given.get("text"), str)


def _ranked(given: dict[str, Any]) -> bool:
    if isinstance(ranks := given.get("ranks"), list):
        return len(ranks) <= len(SIDES) and _are_places(*ranks)
    return _are_places(given.get("best"), given.get("worst"))
