"""What is wrong with a stored definition, all of it at once, for whoever writes one.

A fault names its place twice: `path` as in the JSON ("aspects.1.levels.0.label"), `place` in words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from django.utils.translation import gettext as _

from annotator.protocols.definition import ASKED, RANKINGS, Definition

KEY = re.compile(r"[a-z0-9][a-z0-9_-]{0,59}")
LABEL_MAX, WORDS_MAX, LENGTH_MAX = 200, 5_000, 5_000
# Digits answer a scale: 1 to 9 a comparison, 0 to 9 a rating.
LEVELS_MAX, RATING_MAX = 9, 9
ASPECTS_MAX, ATTRIBUTES_MAX, CHOICES_MAX = 12, 12, 20


@dataclass(frozen=True)
class Fault:
    path: str
    place: str
    reason: str

    def __str__(self) -> str:
        return f"{self.place}: {self.reason}" if self.place else self.reason


def faults(definition: Any) -> list[Fault]:
    """Empty when `definition` can be published."""
    if not isinstance(definition, Mapping):
        return [Fault("", "", _("a protocol is a JSON object"))]
    known = {field.name for field in fields(Definition)}
    unknown = [Fault(str(name), "", _("%(name)s is unknown") % {"name": name}) for name in definition.keys() - known]
    return [*sorted(unknown, key=lambda fault: fault.path), *_top(definition)]


def _top(given: Mapping[str, Any]) -> Iterator[Fault]:
    question = _("Question")
    yield from _text(given.get("question"), "question", question, LABEL_MAX * 2, needed=True)
    yield from _text(given.get("help", ""), "help", question, WORDS_MAX)
    yield from _text(given.get("neither_words", ""), "neither_words", _("Neither valid"), LABEL_MAX)
    yield from _levels(given.get("levels"), "levels", question)
    for name in ("neither_valid", "cannot_judge", "confidence", "criterion"):
        yield from _yes(given, name, "", name)
    for name in ("justification", "feedback", "edit"):
        yield from _one_of(given.get(name, "none"), ASKED, name)
    for name in ("justification_min", "feedback_min"):
        yield from _number(given.get(name, 0), name, _("Shortest length"), 0, LENGTH_MAX)
    yield from _one_of(given.get("ranking", "none"), RANKINGS, "ranking")
    yield from _choices(given.get("reasons", []), "reasons", _("Reason"))
    yield from _choices(given.get("flags", []), "flags", _("Flag"))
    yield from _spans(given.get("spans"))
    yield from _each(given.get("aspects", []), "aspects", _("Aspect"), _aspect, ASPECTS_MAX)
    yield from _each(given.get("attributes", []), "attributes", _("Rating"), _attribute, ATTRIBUTES_MAX)
    if given.get("ranking", "none") != "none" and given.get("aspects"):
        reason = _("aspects compare A with B; where several responses are ranked, ask for ratings of each instead")
        yield Fault("aspects", _("Aspects"), reason)


def _text(value: Any, path: str, place: str, most: int, *, needed: bool = False) -> Iterator[Fault]:
    if not isinstance(value, str):
        yield Fault(path, place, _("words are missing"))
    elif needed and not value.strip():
        yield Fault(path, place, _("is empty: write what annotators read"))
    elif len(value) > most:
        yield Fault(path, place, _("is longer than %(n)d characters") % {"n": most})
    elif "\x00" in value or any("\ud800" <= character <= "\udfff" for character in value):
        yield Fault(path, place, _("holds a character that cannot be stored"))


def _yes(given: Mapping[str, Any], name: str, prefix: str, place: str) -> Iterator[Fault]:
    if not isinstance(given.get(name, False), bool):
        yield Fault(f"{prefix}{name}", place, _("must be true or false"))


def _one_of(value: Any, allowed: Sequence[str], path: str) -> Iterator[Fault]:
    if value not in allowed:
        yield Fault(path, path, _("must be one of %(allowed)s") % {"allowed": ", ".join(allowed)})


def _number(value: Any, path: str, place: str, low: int, high: int) -> Iterator[Fault]:
    if type(value) is not int or not low <= value <= high:
        yield Fault(path, place, _("must be a whole number from %(low)d to %(high)d") % {"low": low, "high": high})


def _levels(rows: Any, path: str, place: str) -> Iterator[Fault]:
    if not isinstance(rows, list) or not 2 <= len(rows) <= LEVELS_MAX:
        yield Fault(path, place, _("a scale has 2 to %(n)d levels") % {"n": LEVELS_MAX})
        return
    for number, row in enumerate(rows):
        at = _("%(place)s, level %(n)d") % {"place": place, "n": number + 1}
        if not isinstance(row, list) or not 2 <= len(row) <= 4 or type(row[0]) is not int:
            yield Fault(f"{path}.{number}", at, _("must be [number, words], a meaning and an example may follow"))
            return
        for name, words, most in zip(
            ("label", "meaning", "example"), row[1:], (LABEL_MAX, WORDS_MAX, WORDS_MAX), strict=False
        ):
            yield from _text(words, f"{path}.{number}.{name}", at, most, needed=name == "label")
    values = [row[0] for row in rows]
    if max(map(abs, values)) > LEVELS_MAX:
        yield Fault(path, place, _("levels are numbered from -%(n)d to %(n)d at most") % {"n": LEVELS_MAX})
    elif values != sorted(set(values)) or values != [-value for value in reversed(values)]:
        yield Fault(path, place, _("levels rise from A to B and mirror each other, e.g. -1, 0, 1"))


def _choices(rows: Any, path: str, place: str, most: int = CHOICES_MAX) -> Iterator[Fault]:
    if not isinstance(rows, list) or len(rows) > most:
        yield Fault(path, place, _("at most %(n)d of them") % {"n": most})
        return
    seen: set[str] = set()
    for number, row in enumerate(rows):
        at = f"{place} {number + 1}"
        if not isinstance(row, list) or len(row) != 2:
            yield Fault(f"{path}.{number}", at, _("must be [key, words]"))
            continue
        yield from _key(row[0], f"{path}.{number}.key", at, seen)
        yield from _text(row[1], f"{path}.{number}.label", at, LABEL_MAX, needed=True)


def _key(key: Any, path: str, place: str, seen: set[str]) -> Iterator[Fault]:
    if not isinstance(key, str) or not KEY.fullmatch(key):
        yield Fault(path, place, _("the key is of small letters a-z, digits, _ and -, at most 60"))
    elif key in seen:
        yield Fault(path, place, _("the key %(key)s is taken by another row") % {"key": key})
    else:
        seen.add(key)


def _spans(given: Any) -> Iterator[Fault]:
    if not given:
        return
    if not isinstance(given, Mapping) or given.keys() - {"types", "severities", "comment"}:
        yield Fault("spans", _("Marked passages"), _("must have types, and may have severities and comment"))
        return
    # The dialog offers them on the keys 1 to 9.
    yield from _choices(given.get("types", []), "spans.types", _("Type of error"), most=9)
    yield from _choices(given.get("severities", []), "spans.severities", _("Severity"), most=9)
    yield from _yes(given, "comment", "spans.", _("Marked passages"))
    if not given.get("types"):
        yield Fault("spans.types", _("Marked passages"), _("name at least one type of error"))


def _each(
    rows: Any, path: str, place: str, look: Callable[[Mapping[str, Any], str, str], Iterator[Fault]], most: int
) -> Iterator[Fault]:
    if not isinstance(rows, list) or len(rows) > most:
        yield Fault(path, place, _("at most %(n)d of them") % {"n": most})
        return
    seen: set[str] = set()
    for number, row in enumerate(rows):
        at, prefix = f"{place} {number + 1}", f"{path}.{number}."
        if not isinstance(row, Mapping):
            yield Fault(prefix[:-1], at, _("must be an object with key and label"))
            continue
        if row.get("label"):
            at = f"{at} “{row['label']}”"
        yield from _key(row.get("key"), f"{prefix}key", at, seen)
        yield from _text(row.get("label"), f"{prefix}label", at, LABEL_MAX, needed=True)
        yield from _text(row.get("help", ""), f"{prefix}help", at, WORDS_MAX)
        yield from _yes(row, "required", prefix, at)
        yield from look(row, prefix, at)


def _strangers(row: Mapping[str, Any], known: set[str], prefix: str, place: str) -> Iterator[Fault]:
    for name in sorted(row.keys() - known):
        yield Fault(f"{prefix}{name}", place, _("%(name)s is unknown") % {"name": name})


def _aspect(row: Mapping[str, Any], prefix: str, place: str) -> Iterator[Fault]:
    known = {"key", "label", "help", "required", "confidence", "levels", "reasons"}
    yield from _strangers(row, known, prefix, place)
    yield from _yes(row, "confidence", prefix, place)
    yield from _levels(row.get("levels"), f"{prefix}levels", place)
    yield from _choices(row.get("reasons", []), f"{prefix}reasons", _("%(place)s, reason") % {"place": place})


def _attribute(row: Mapping[str, Any], prefix: str, place: str) -> Iterator[Fault]:
    yield from _strangers(row, {"key", "label", "help", "required", "minimum", "maximum", "anchors"}, prefix, place)
    low, high = row.get("minimum"), row.get("maximum")
    yield from _number(low, f"{prefix}minimum", place, 0, RATING_MAX)
    yield from _number(high, f"{prefix}maximum", place, 0, RATING_MAX)
    if type(low) is not int or type(high) is not int:
        return
    if low >= high:
        yield Fault(f"{prefix}maximum", place, _("the highest number must be above the lowest"))
    anchors = row.get("anchors", [])
    if not isinstance(anchors, list) or len(anchors) > high - low + 1:
        yield Fault(f"{prefix}anchors", place, _("there are more levels in words than numbers"))
        return
    for number, anchor in enumerate(anchors):
        at = _("%(place)s, level %(n)d") % {"place": place, "n": low + number}
        words = {"label": anchor} if isinstance(anchor, str) else anchor
        if not isinstance(words, Mapping) or words.keys() - {"label", "meaning", "example"}:
            yield Fault(f"{prefix}anchors.{number}", at, _("must be words, or label, meaning and example"))
            continue
        for name in ("label", "meaning", "example"):
            most = LABEL_MAX if name == "label" else WORDS_MAX
            where = f"{prefix}anchors.{number}.{name}"
            yield from _text(words.get(name, ""), where, at, most, needed=name == "label")
