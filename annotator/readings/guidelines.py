"""What one person finds in a project's guidelines: the text, what changed since they last read it, examples."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from html import unescape
from typing import Any

from django.utils.html import strip_tags
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import slugify

from annotator import difference, protocols, rendering
from annotator.difference import Passage
from annotator.models import Guidelines, Judgment, Project, Rater, Standing

_HEADING = re.compile(r"<(h[1-6])((?: [^>]*)?)>(.*?)</\1>", re.DOTALL)
# Lines around a change that say where it is.
CONTEXT_LINES = 2


@dataclass(frozen=True)
class Changed:
    """What somebody has not read yet: from `since` (0: nothing read) to `newest`."""

    since: int
    newest: Guidelines
    must_acknowledge: bool
    notes: list[Guidelines]
    passages: Sequence[Passage]


@dataclass(frozen=True)
class Example:
    """A level: what it is called and means, and an answer that is on it ("" where the protocol shows none)."""

    value: int
    label: str
    meaning: str = ""
    html: str = ""


@dataclass(frozen=True)
class Topic:
    """A question of the protocol, the heading about it ("" where there is none), and worked examples of its levels."""

    key: str
    label: str
    anchor: str
    help: str = ""
    examples: tuple[Example, ...] = ()


# By the text itself: it is never out of date, and each version is rendered once a process.
@lru_cache(maxsize=64)
def to_html(text: str) -> SafeString:
    """`draft_to_html` of a text that is asked for again and again."""
    return draft_to_html(text)


def draft_to_html(text: str) -> SafeString:
    """Guidelines as HTML whose headings can be linked to: "Truthfulness" is #guide-truthfulness, if it is the first."""
    seen: set[str] = set()

    def with_anchor(found: re.Match[str]) -> str:
        tag, attributes, inner = found.groups()
        name = anchor(unescape(strip_tags(inner)))
        if not name or name in seen:
            return found.group()
        seen.add(name)
        return f'<{tag}{attributes} id="{name}" tabindex="-1">{inner}</{tag}>'

    return mark_safe(_HEADING.sub(with_anchor, rendering.to_html(text)))  # noqa: S308 - a slug into clean HTML


def anchor(words: str) -> str:
    slug = slugify(words, allow_unicode=True)
    return f"guide-{slug}" if slug else ""


@lru_cache(maxsize=64)
def _anchors(text: str) -> frozenset[str]:
    return frozenset(
        anchor(unescape(strip_tags(found.group(3)))) for found in _HEADING.finditer(rendering.to_html(text))
    )


def topics(definition: protocols.Definition, text: str) -> list[Topic]:
    """The protocol's questions of which `text` or the protocol says more; headings go by words or key."""
    there = _anchors(text)
    asked: list[protocols.Aspect | protocols.Attribute] = [*definition.aspects, *definition.attributes]
    overall = Topic("overall", definition.question, _first_of(there, "overall"), "", _examples(definition.levels))
    others = [
        Topic(
            key=one.key,
            label=one.label,
            anchor=_first_of(there, one.label, one.key.replace("_", " ")),
            help=one.help,
            examples=_of_all(one.anchors) if isinstance(one, protocols.Attribute) else _examples(one.levels),
        )
        for one in asked
    ]
    return [topic for topic in (overall, *others) if topic.anchor or topic.help or topic.examples]


def _first_of(there: frozenset[str], *names: str) -> str:
    return next((name for name in map(anchor, names) if name in there), "")


def _examples(levels: Sequence[protocols.Level]) -> tuple[Example, ...]:
    """The levels, when the protocol says of one of them more than its name."""
    return _of_all(levels) if any(level.meaning or level.example for level in levels) else ()


def _of_all(levels: Sequence[protocols.Level]) -> tuple[Example, ...]:
    return tuple(
        Example(level.value, level.label, level.meaning, to_html(level.example) if level.example else "")
        for level in levels
    )


@lru_cache(maxsize=64)
def passages(old: str, new: str) -> tuple[Passage, ...]:
    return tuple(difference.between(old, new))


@lru_cache(maxsize=64)
def changed_passages(old: str, new: str) -> tuple[Passage, ...]:
    """Only what changed, with a little of what stands around it."""
    whole = passages(old, new)
    shown = []
    for place, passage in enumerate(whole):
        if passage.is_changed:
            shown.append(passage)
        else:
            shown.append(_shortened(passage, is_first=place == 0, is_last=place == len(whole) - 1))
    return tuple(passage for passage in shown if passage.pieces[0].text.strip())


def _shortened(passage: Passage, *, is_first: bool, is_last: bool) -> Passage:
    lines = [line for line in passage.pieces[0].text.split("\n") if line.strip()]
    ahead = [] if is_first else lines[:CONTEXT_LINES]
    behind = [] if is_last else lines[len(ahead) :][-CONTEXT_LINES:]
    left_out = ["…"] if len(ahead) + len(behind) < len(lines) else []
    return Passage(False, (difference.Piece("same", "\n".join([*ahead, *left_out, *behind])),))


def notes(versions: Iterable[Guidelines], old: Guidelines, new: Guidelines) -> list[Guidelines]:
    """The versions after `old` up to `new` that say what changed, oldest first."""
    between = (one for one in versions if old.version < one.version <= new.version and one.change_note)
    return sorted(between, key=lambda one: one.version)


def newest(project: Project) -> Guidelines:
    """The version in force; made up from the project's own copy where no version was stored."""
    stored = project.guidelines_versions.order_by("-version").first()
    if stored is None or stored.version < project.guidelines_version:
        return Guidelines(project=project, version=project.guidelines_version, text=project.guidelines)
    return stored


def last_read(rater: Rater) -> int:
    """The version `rater` acknowledged; before they did, the one they began to judge under; 0 when neither is known."""
    standing = Standing.objects.filter(rater=rater).first()
    if standing and standing.acknowledged:
        return standing.acknowledged
    first = Judgment.objects.filter(rater=rater, guidelines_version__isnull=False).order_by("created_at").first()
    return (first.guidelines_version or 0) if first else 0


def changed(project: Project, rater: Rater) -> Changed | None:
    """What is new to `rater`, None when nothing is. To somebody who has read nothing only a duty to read is new."""
    current, since = newest(project), last_read(rater)
    unread = list(project.guidelines_versions.filter(version__gt=since).order_by("version"))
    duty = any(version.must_acknowledge for version in unread)
    if since >= current.version or (not since and not duty):
        return None
    before = project.guidelines_versions.filter(version=since).first()
    shown = changed_passages(before.text, current.text) if before else ()
    return Changed(since, current, duty, [version for version in unread if version.change_note], shown)


def drawer(project: Project, rater: Rater | None, definition: protocols.Definition | None) -> dict[str, Any]:
    """The context of `guidelines/_drawer.html`: what is new to `rater`, the text, its topics and their levels."""
    return {
        "project": project,
        "version": project.guidelines_version,
        "html": to_html(project.guidelines) if project.guidelines.strip() else "",
        "changed": changed(project, rater) if rater else None,
        "topics": topics(definition, project.guidelines) if definition else [],
    }
