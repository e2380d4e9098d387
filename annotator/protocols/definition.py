"""What a protocol asks, as typed values read from the stored JSON. Keys that a definition lacks ask for nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

CONFIDENCE = ((1, "low"), (2, "fair"), (3, "high"))
# Responses of one comparison by their place, in whichever order they are meant: A is the first.
SIDES = "abcdefgh"
# How much may be asked for: not at all, if there is something to say, always.
ASKED = ("none", "optional", "required")
RANKINGS = ("none", "full", "best_worst")


@dataclass(frozen=True)
class Level:
    """One answer of a scale: `meaning` says when to give it, `example` shows a case (Markdown)."""

    value: int
    label: str
    meaning: str = ""
    example: str = ""


@dataclass(frozen=True)
class Choice:
    key: str
    label: str


@dataclass(frozen=True)
class Aspect:
    """A question about one side of quality, answered on its own comparison scale, with reasons as chips."""

    key: str
    label: str
    levels: tuple[Level, ...]
    required: bool = False
    confidence: bool = False
    reasons: tuple[Choice, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class Attribute:
    """A rating of each response alone, e.g. HelpSteer2's helpfulness 0-4; `anchors` are the levels that have words."""

    key: str
    label: str
    minimum: int
    maximum: int
    required: bool = True
    anchors: tuple[Level, ...] = ()
    help: str = ""


@dataclass(frozen=True)
class SpanKinds:
    """What can be said of a marked passage. Without severities none is asked; `comment` lets one say more."""

    types: tuple[Choice, ...]
    severities: tuple[Choice, ...] = ()
    comment: bool = True


@dataclass(frozen=True)
class Definition:
    question: str
    levels: tuple[Level, ...]
    help: str = ""
    neither_valid: bool = True
    # What the answer "neither valid" is called on screen; "" for the usual words.
    neither_words: str = ""
    cannot_judge: bool = True
    confidence: bool = False
    aspects: tuple[Aspect, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    reasons: tuple[Choice, ...] = ()
    # One of ASKED, as `feedback` and `edit`; the shortest that counts, in characters (see `answers.length`), where
    # they are required.
    justification: str = "optional"
    justification_min: int = 0
    feedback: str = "none"
    feedback_min: int = 0
    edit: str = "none"
    spans: SpanKinds | None = None
    # One of RANKINGS. Where responses are ranked the overall level is not asked but follows from the ranks.
    ranking: str = "none"
    flags: tuple[Choice, ...] = ()
    # Whether the comparison's own criterion is shown above the question.
    criterion: bool = False

    @property
    def highest(self) -> int:
        return max(level.value for level in self.levels)

    @property
    def has_tie(self) -> bool:
        return any(level.value == 0 for level in self.levels)

    @property
    def ranks(self) -> bool:
        """Whether all responses of a comparison are on screen, to be ranked; otherwise A and B alone."""
        return self.ranking != "none"


def read(definition: Mapping[str, Any]) -> Definition:
    """The typed form of a stored definition. Raises ValueError on nonsense, TypeError on unknown keys."""
    known = dict(definition)
    spans = known.pop("spans", None)
    return Definition(
        question=known.pop("question"),
        levels=_levels(known.pop("levels")),
        aspects=tuple(_aspect(aspect) for aspect in known.pop("aspects", ())),
        attributes=tuple(_attribute(attribute) for attribute in known.pop("attributes", ())),
        reasons=_choices(known.pop("reasons", ())),
        flags=_choices(known.pop("flags", ())),
        spans=_span_kinds(spans) if spans else None,
        **known,
    )


def _levels(rows: Sequence[Sequence[Any]]) -> tuple[Level, ...]:
    levels = tuple(Level(int(value), *(str(words) for words in rest)) for value, *rest in rows)
    values = [level.value for level in levels]
    if values != sorted(set(values)) or not values or values[0] != -values[-1]:
        raise ValueError(f"levels must rise and mirror each other: {values}")
    return levels


def _choices(rows: Sequence[Sequence[str]]) -> tuple[Choice, ...]:
    return tuple(Choice(*row) for row in rows)


def _aspect(aspect: Mapping[str, Any]) -> Aspect:
    parts = {"levels": _levels(aspect["levels"]), "reasons": _choices(aspect.get("reasons", ()))}
    return Aspect(**{**aspect, **parts})


def _attribute(attribute: Mapping[str, Any]) -> Attribute:
    anchors = enumerate(attribute.get("anchors", ()), attribute["minimum"])
    levels = tuple(Level(value, words) if isinstance(words, str) else Level(value, **words) for value, words in anchors)
    return Attribute(**{**attribute, "anchors": levels})


def _span_kinds(spans: Mapping[str, Any]) -> SpanKinds:
    parts = {name: _choices(spans.get(name, ())) for name in ("types", "severities")}
    return SpanKinds(**{**spans, **parts})
