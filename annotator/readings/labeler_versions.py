"""A labeler's versions, newest first: which is in use, how much each has judged, what changed from one to the next."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.db.models import Count, Q

from annotator import difference
from annotator.models import Labeler, LabelerVersion

# Texts up to this length are shown before and after, longer ones by what was put in and taken out.
SHORT = 80
# A value that is written longer than this is named by its size.
LONGEST = 400


@dataclass(frozen=True)
class Change:
    """One parameter in both versions, in words; `passages` instead where two long texts differ."""

    name: str
    before: str
    after: str
    passages: list[difference.Passage]


@dataclass(frozen=True)
class Row:
    """`state`: "in use", "candidate", "discarded" or "former". `changes` are those since the version before it."""

    version: LabelerVersion
    state: str
    judged: int
    changes: list[Change]
    is_first: bool


def rows(labeler: Labeler) -> list[Row]:
    judged = Count("rater__judgments", filter=Q(rater__judgments__is_current=True))
    found = list(labeler.versions.annotate(judged=judged).order_by("id"))
    accepted = [version for version in found if version.accepted_at]
    in_use = max(accepted, key=lambda version: (version.accepted_at, version.pk), default=None)
    made = []
    for number, version in enumerate(found):
        before = found[number - 1].parameters if number else {}
        changed = changes(before, version.parameters) if number else []
        made.append(Row(version, _state(version, in_use), version.judged, changed, not number))
    return made[::-1]


def _state(version: LabelerVersion, in_use: LabelerVersion | None) -> str:
    if version == in_use:
        return "in use"
    if version.accepted_at:
        return "former"
    return "discarded" if version.discarded_at else "candidate"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """What differs between two versions' parameters, by name."""
    differing = (name for name in sorted(before.keys() | after.keys()) if before.get(name) != after.get(name))
    return [_change(name, before.get(name), after.get(name)) for name in differing]


def _change(name: str, before: Any, after: Any) -> Change:
    if isinstance(before, str) and isinstance(after, str) and max(len(before), len(after)) > SHORT:
        changed = [passage for passage in difference.between(before, after) if passage.is_changed]
        return Change(name, "", "", changed)
    return Change(name, _words(before), _words(after), [])


def _words(value: Any) -> str:
    if value is None or value == "":
        return "–"
    written = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, sort_keys=True)
    if len(written) > LONGEST and isinstance(value, list | dict):
        return f"[{len(value)}] {written[:SHORT]}…"
    return written if len(written) <= LONGEST else f"{written[:LONGEST]}…"
