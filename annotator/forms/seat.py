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

from annotator.protocols import SIDES, AnswerInvalid, Choice, Definition

# A day: longer than any lease, far within the column.
LONGEST_MS = 86_400_000
LARGEST_ID = 2**63 - 1
JUSTIFICATION_MAX = 20_000
# An edited response may be longer than the longest response.
EDIT_MAX = 200_000
SPANS_MAX = 200
LONGEST_KEY = 60
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
    # Sent from somewhere else than its own seat: it is only stored, nothing is handed out.
    alone: bool = False
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
        alone=body.get("alone") in (True, "true"),
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
        "flags": _chosen(given.get("flags") or [], definition.flags),
        "feedback": given.get("feedback") or {} if definition.feedback != "none" else {},
        "edit": given.get("edit") or {} if definition.edit != "none" else {},
        "spans": given.get("spans") or [] if definition.spans else [],
        "ranking": given.get("ranking") or {} if definition.ranks else {},
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
    body: dict[str, Any] = {name: {} for name in ("aspects", "attributes", "feedback", "edit", "ranking", "typed")}
    body |= {name: sent.getlist(name) for name in ("reasons", "flags")}
    ranks: dict[str, str] = {}
    for name in sent:
        group, _dot, rest = name.partition(".")
        key, _dot, part = rest.rpartition(".")
        if group == "aspect" and key:
            value = sent.getlist(name) if part == "reasons" else sent[name]
            body["aspects"].setdefault(key, {})[part] = value
        elif group == "attribute" and key:
            body["attributes"].setdefault(key, {})[part] = sent[name]
        elif group == "ranking" and key == "rank":
            ranks[part] = str(sent[name])
        elif group in ("feedback", "edit", "ranking", "typed") and rest and not key:
            # A browser's own form sends every line end as CRLF, whatever the text had.
            body[group][part] = str(sent[name]).replace("\r\n", "\n")
        elif name == "spans":
            body["spans"] = _json_list("spans", str(sent[name]))
        elif not rest and name not in body:
            body[name] = sent[name]
    if ranks:
        body["ranking"]["ranks"] = [ranks.get(side) for side in SIDES[: _reach(ranks)]]
    return body


def _reach(sides: Mapping[str, Any]) -> int:
    """How many responses there are at least, when these were spoken of."""
    return max((SIDES.find(side) + 1 for side in sides), default=0)


def _json_list(name: str, written: str) -> Any:
    """The list in a hidden field, which only a script fills."""
    try:
        return json.loads(written) if written else []
    except (ValueError, RecursionError):
        raise AnswerInvalid(name, _("this is not JSON")) from None


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
            key: {
                side: _whole(f"attributes.{key}.{side}", answer.get(side)) for side in SIDES[: max(2, _reach(answer))]
            }
            for key, answer in _mappings("attributes", body.get("attributes"))
        },
        "reasons": _texts("reasons", body.get("reasons")),
        "justification": _words("justification", body.get("justification"), JUSTIFICATION_MAX),
        "flags": _texts("flags", body.get("flags")),
        "feedback": _feedback(body.get("feedback")),
        "edit": _edit(body.get("edit")),
        "spans": _spans(body.get("spans")),
        "ranking": _ranking(body.get("ranking")),
    }
    return given


def _words(name: str, value: Any, most: int) -> str:
    text = _text(name, value)
    if len(text) > most:
        raise AnswerInvalid(name, _("at most %(n)d characters") % {"n": most})
    return text


def _feedback(value: Any) -> dict[str, str]:
    sides = _mapping("feedback", value or {})
    return {side: _words(f"feedback.{side}", sides[side], JUSTIFICATION_MAX) for side in SIDES if sides.get(side)}


def _edit(value: Any) -> dict[str, str]:
    given = _mapping("edit", value or {})
    side, text = _key("edit", given.get("side")), _words("edit", given.get("text"), EDIT_MAX)
    # A form sends line ends as CRLF, a script as the text has them.
    return {"side": side, "text": text.replace("\r\n", "\n")} if side or text else {}


def _spans(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value or [], list) or len(value or []) > SPANS_MAX:
        raise AnswerInvalid("spans", _("this is not a list of at most %(n)d passages") % {"n": SPANS_MAX})
    return [_span(f"spans.{place}", _mapping(f"spans.{place}", span)) for place, span in enumerate(value or [])]


def _span(name: str, given: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{part: _key(name, given.get(part)) for part in ("side", "type", "severity")},
        **{part: _whole(name, given.get(part)) for part in ("start", "end")},
        "comment": _words(name, given.get("comment"), JUSTIFICATION_MAX),
    }


def _ranking(value: Any) -> dict[str, Any]:
    given = _mapping("ranking", value or {})
    ends = {end: _whole(f"ranking.{end}", given.get(end)) for end in ("best", "worst")}
    ranking: dict[str, Any] = {end: place for end, place in ends.items() if place is not None}
    ranks = given.get("ranks")
    if ranks:
        if not isinstance(ranks, list) or len(ranks) > len(SIDES):
            raise AnswerInvalid("ranking", _("this is not a list"))
        ranking["ranks"] = [_whole("ranking", rank) for rank in ranks]
    return ranking


def _key(name: str, value: Any) -> str:
    return _words(name, value, LONGEST_KEY)


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
