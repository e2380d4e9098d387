"""What the annotator's page sends, form-encoded or as JSON, turned into one clean shape (see views/annotate.py).

Only shape and types are checked here; whether the protocol allows the answer is `protocols.check`'s business.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.http import HttpRequest, QueryDict
from django.utils.translation import gettext as _

from annotator.protocols import AnswerInvalid, Choice, Definition

# A day: longer than any lease, far within the column.
LONGEST_MS = 86_400_000
LARGEST_ID = 2**63 - 1
JUSTIFICATION_MAX = 20_000
HAVING_MAX = 16


@dataclass(frozen=True)
class Sent:
    """One request of the seat. `given` has the shape of `protocols.check`, in on-screen order."""

    given: dict[str, Any] = field(default_factory=dict)
    client_id: UUID | None = None
    active_ms: int = 0
    protocol_id: int | None = None
    # The prefetched assignment that is on screen already.
    showing: int | None = None
    # What the page has fetched ahead beyond it.
    having: tuple[int, ...] = ()
    # How the words came to be: {"keys", "pasted", "ms"}; {} when the page did not count.
    typed: dict[str, int] = field(default_factory=dict)


def read(request: HttpRequest) -> Sent:
    """Raises AnswerInvalid, which names the field, at the first thing that is not of its type."""
    body = _json(request.body) if request.content_type == "application/json" else _nested(request.POST)
    return Sent(
        given=_given(body),
        client_id=_uuid(body.get("client_id")),
        active_ms=min(max(_whole("active_ms", body.get("active_ms")) or 0, 0), LONGEST_MS),
        protocol_id=_whole("protocol", body.get("protocol")),
        showing=_whole("showing", body.get("showing")),
        having=ids(body.get("having")),
        typed=_typed(body.get("typed")),
    )


def ids(value: Any) -> tuple[int, ...]:
    """At most as many as anybody holds, from a list or from words with commas; what is no id is left out."""
    listed = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else []
    return tuple(int(text) for text in map(str, listed[:HAVING_MAX]) if text.isdecimal() and len(text) < 19)


def _typed(value: Any) -> dict[str, int]:
    """Evidence, not an answer: what does not fit is left out and refuses nothing."""
    counted = value if isinstance(value, dict) else {}
    numbers = {key: counted.get(key) for key in ("keys", "pasted", "ms")}
    return {key: min(n, LONGEST_MS) for key, n in numbers.items() if type(n) is int and n >= 0}


def known(given: dict[str, Any], definition: Definition) -> dict[str, Any]:
    """`given` without what `definition` does not ask: a draft is stored unchecked, and must not store just anything."""
    aspects = {aspect.key: aspect for aspect in definition.aspects}
    return given | {
        "aspects": {
            key: answer | {"reasons": _chosen(answer["reasons"], aspects[key].reasons)}
            for key, answer in given["aspects"].items()
            if key in aspects
        },
        "attributes": {
            attribute.key: given["attributes"][attribute.key]
            for attribute in definition.attributes
            if attribute.key in given["attributes"]
        },
        "reasons": _chosen(given["reasons"], definition.reasons),
    }


def _chosen(reasons: list[str], offered: Iterable[Choice]) -> list[str]:
    """Each offered reason at most once."""
    sent = set(reasons)
    return [choice.key for choice in offered if choice.key in sent]


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        raise AnswerInvalid("body", _("this is not JSON")) from None
    return _mapping("body", value)


def _nested(sent: QueryDict) -> dict[str, Any]:
    """`aspect.helpful.level=1` becomes {"aspects": {"helpful": {"level": "1"}}}."""
    body: dict[str, Any] = {"aspects": {}, "attributes": {}, "reasons": sent.getlist("reasons")}
    for name in sent:
        group, _dot, rest = name.partition(".")
        key, _dot, part = rest.rpartition(".")
        if group == "aspect" and key:
            value = sent.getlist(name) if part == "reasons" else sent[name]
            body["aspects"].setdefault(key, {})[part] = value
        elif group == "attribute" and key:
            body["attributes"].setdefault(key, {})[part] = sent[name]
        elif not rest and name not in body:
            body[name] = sent[name]
    return body


def _given(body: Mapping[str, Any]) -> dict[str, Any]:
    given: dict[str, Any] = {
        "outcome": _text("outcome", body.get("outcome")) or "level",
        "level": _whole("level", body.get("level")),
        "confidence": _whole("confidence", body.get("confidence")),
        "aspects": {
            key: {
                "level": _whole(f"aspects.{key}", answer.get("level")),
                "confidence": _whole(f"aspects.{key}", answer.get("confidence")),
                "reasons": _texts(f"aspects.{key}", answer.get("reasons")),
            }
            for key, answer in _mappings("aspects", body.get("aspects"))
        },
        "attributes": {
            key: {side: _whole(f"attributes.{key}.{side}", answer.get(side)) for side in ("a", "b")}
            for key, answer in _mappings("attributes", body.get("attributes"))
        },
        "reasons": _texts("reasons", body.get("reasons")),
        "justification": _text("justification", body.get("justification")),
    }
    if len(given["justification"]) > JUSTIFICATION_MAX:
        raise AnswerInvalid("justification", _("at most %(n)d characters") % {"n": JUSTIFICATION_MAX})
    return given


def _uuid(value: Any) -> UUID | None:
    if value in (None, ""):
        return None
    try:
        return UUID(str(value))
    except ValueError:
        raise AnswerInvalid("client_id", _("this is not a UUID")) from None


def _whole(name: str, value: Any) -> int | None:
    """A whole number; empty is "not given"."""
    if value is None or value == "":
        return None
    number = value
    if isinstance(value, str):
        try:
            number = int(value[:20])
        except ValueError:
            number = None
    if not isinstance(number, int) or isinstance(number, bool) or abs(number) > LARGEST_ID:
        raise AnswerInvalid(name, _("this is not a whole number"))
    return number


def _text(name: str, value: Any) -> str:
    if value is None:
        return ""
    if not isinstance(value, str) or not _storable(value):
        raise AnswerInvalid(name, _("this is not text that can be stored"))
    return value


def _storable(text: str) -> bool:
    """PostgreSQL holds neither NUL nor lone surrogates."""
    return "\x00" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


def _texts(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if not isinstance(value, list):
        raise AnswerInvalid(name, _("this is not a list"))
    return [_text(name, entry) for entry in value]


def _mapping(name: str, value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise AnswerInvalid(name, _("this is not an object with named fields"))
    return value


def _mappings(name: str, value: Any) -> list[tuple[str, Mapping[str, Any]]]:
    return [(_text(name, key), _mapping(f"{name}.{key}", entry)) for key, entry in _mapping(name, value or {}).items()]
