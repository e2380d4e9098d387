"""Protocols as data: reading a definition, checking an answer against it, and the presets.

Form, validation and exports are derived from the same `Definition`, so a protocol is added by data alone.
Sign: negative means A. `preference` = level / highest level.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

CONFIDENCE = ((1, "low"), (2, "fair"), (3, "high"))


class AnswerInvalid(Exception):
    """An answer that the protocol does not allow. `field` names the question, the message says what is missing."""

    def __init__(self, field_name: str, reason: str) -> None:
        super().__init__(f"{field_name}: {reason}")
        self.field = field_name
        self.reason = reason


@dataclass(frozen=True)
class Level:
    value: int
    label: str


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


@dataclass(frozen=True)
class Attribute:
    """A rating of each response alone, e.g. HelpSteer2's helpfulness 0-4."""

    key: str
    label: str
    minimum: int
    maximum: int
    required: bool = True
    anchors: tuple[str, ...] = ()


@dataclass(frozen=True)
class Answer:
    """A checked answer, in the comparison's own order."""

    outcome: str
    level: int | None = None
    preference: float | None = None
    confidence: float | None = None
    aspects: dict[str, Any] = field(default_factory=dict)
    attributes: dict[str, Any] = field(default_factory=dict)
    reasons: list[str] = field(default_factory=list)
    justification: str = ""
    spans: list[dict[str, Any]] = field(default_factory=list)
    feedback: dict[str, str] = field(default_factory=dict)
    edit: dict[str, str] = field(default_factory=dict)
    ranking: dict[str, Any] = field(default_factory=dict)
    flags: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Definition:
    question: str
    levels: tuple[Level, ...]
    neither_valid: bool = True
    cannot_judge: bool = True
    confidence: bool = False
    aspects: tuple[Aspect, ...] = ()
    attributes: tuple[Attribute, ...] = ()
    reasons: tuple[Choice, ...] = ()
    # "none", "optional" or "required"
    justification: str = "optional"

    @property
    def highest(self) -> int:
        return max(level.value for level in self.levels)

    @property
    def has_tie(self) -> bool:
        return any(level.value == 0 for level in self.levels)


def _levels(rows: list[list[Any]]) -> tuple[Level, ...]:
    levels = tuple(Level(int(value), str(label)) for value, label in rows)
    values = [level.value for level in levels]
    if values != sorted(set(values)) or not values or values[0] != -values[-1]:
        raise ValueError(f"levels must rise and mirror each other: {values}")
    return levels


def read(definition: Mapping[str, Any]) -> Definition:
    """The typed form of a stored definition. Raises ValueError on nonsense, TypeError on unknown keys."""
    known = dict(definition)
    return Definition(
        question=known.pop("question"),
        levels=_levels(known.pop("levels")),
        aspects=tuple(
            Aspect(
                **{
                    **aspect,
                    "levels": _levels(aspect["levels"]),
                    "reasons": tuple(Choice(*reason) for reason in aspect.get("reasons", ())),
                }
            )
            for aspect in known.pop("aspects", ())
        ),
        attributes=tuple(
            Attribute(**{**attribute, "anchors": tuple(attribute.get("anchors", ()))})
            for attribute in known.pop("attributes", ())
        ),
        reasons=tuple(Choice(*reason) for reason in known.pop("reasons", ())),
        **known,
    )


def check(definition: Definition, given: Mapping[str, Any]) -> Answer:
    """Check an answer in the comparison's own order.

    `given`: {"outcome", "level", "confidence", "aspects": {key: {"level", "confidence", "reasons"}},
    "attributes": {key: {"a": int, "b": int}}, "reasons": [key], "justification"}; missing keys are "not given".
    Raises AnswerInvalid at the first thing that does not fit.
    """
    outcome = given.get("outcome", "level")
    justification = str(given.get("justification") or "").strip()
    reasons = _chosen("reasons", given.get("reasons") or [], definition.reasons)
    if outcome == "cannot_judge" and definition.cannot_judge:
        if not justification and not reasons:
            raise AnswerInvalid("justification", "say in a few words why it cannot be judged")
        return Answer(outcome, reasons=reasons, justification=justification)
    if outcome == "neither_valid" and definition.neither_valid:
        return Answer(outcome, reasons=reasons, justification=justification)
    if outcome != "level":
        raise AnswerInvalid("outcome", "this protocol does not offer that answer")
    if given.get("level") is None:
        raise AnswerInvalid("level", "choose an answer")
    level = _level("level", given["level"], definition.levels)
    if definition.justification == "required" and not justification:
        raise AnswerInvalid("justification", "a sentence of justification is asked for")
    return Answer(
        outcome,
        level=level,
        preference=level / definition.highest,
        confidence=_confidence("confidence", given.get("confidence"), definition.confidence),
        aspects=_aspects(definition, given.get("aspects") or {}),
        attributes=_attributes(definition, given.get("attributes") or {}),
        reasons=reasons,
        justification="" if definition.justification == "none" else justification,
    )


def _level(name: str, value: Any, levels: tuple[Level, ...]) -> int:
    if value not in {level.value for level in levels} or isinstance(value, bool):
        raise AnswerInvalid(name, f"{value!r} is not on the scale")
    return int(value)


def _confidence(name: str, value: Any, asked: bool) -> float | None:
    if value is None or not asked:
        return None
    if value not in {number for number, _label in CONFIDENCE}:
        raise AnswerInvalid(name, f"{value!r} is not a confidence")
    return float(value)


def _chosen(name: str, keys: Any, choices: tuple[Choice, ...]) -> list[str]:
    known = {choice.key for choice in choices}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise AnswerInvalid(name, f"{unknown[0]!r} is not one of the reasons")
    return [choice.key for choice in choices if choice.key in set(keys)]


def _aspects(definition: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(given) - {aspect.key for aspect in definition.aspects}
    if unknown:
        raise AnswerInvalid("aspects", f"{sorted(unknown)[0]!r} is not asked for")
    answers: dict[str, Any] = {}
    for aspect in definition.aspects:
        name = f"aspects.{aspect.key}"
        answer = given.get(aspect.key) or {}
        if answer.get("level") is None:
            if aspect.required:
                raise AnswerInvalid(name, f"answer “{aspect.label}”")
            continue
        answers[aspect.key] = {
            "level": _level(name, answer["level"], aspect.levels),
            "confidence": _confidence(name, answer.get("confidence"), aspect.confidence),
            "reasons": _chosen(name, answer.get("reasons") or [], aspect.reasons),
        }
    return answers


def _attributes(definition: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
    unknown = set(given) - {attribute.key for attribute in definition.attributes}
    if unknown:
        raise AnswerInvalid("attributes", f"{sorted(unknown)[0]!r} is not asked for")
    ratings: dict[str, Any] = {}
    for attribute in definition.attributes:
        for side in ("a", "b"):
            value = (given.get(attribute.key) or {}).get(side)
            name = f"attributes.{attribute.key}.{side}"
            if value is None:
                if attribute.required:
                    raise AnswerInvalid(name, f"rate {attribute.label} of response {side.upper()}")
                continue
            if not isinstance(value, int) or not attribute.minimum <= value <= attribute.maximum:
                raise AnswerInvalid(name, f"{value!r} is not between {attribute.minimum} and {attribute.maximum}")
            ratings.setdefault(attribute.key, {})[side] = value
    return ratings


def mirror(given: Mapping[str, Any]) -> dict[str, Any]:
    """An answer given with B shown first, turned into the comparison's own order (and back: it is its own inverse)."""
    turned = dict(given)
    if turned.get("level") is not None:
        turned["level"] = -turned["level"]
    turned["aspects"] = {
        key: {**answer, "level": -answer["level"]} if answer.get("level") is not None else answer
        for key, answer in (given.get("aspects") or {}).items()
    }
    turned["attributes"] = {
        key: {{"a": "b", "b": "a"}[side]: value for side, value in sides.items()}
        for key, sides in (given.get("attributes") or {}).items()
    }
    return turned


_FIVE = [
    [-2, "A is clearly better"],
    [-1, "A is slightly better"],
    [0, "Tie"],
    [1, "B is slightly better"],
    [2, "B is clearly better"],
]
_SIX = [
    [-3, "A is much better"],
    [-2, "A is better"],
    [-1, "A is slightly better"],
    [1, "B is slightly better"],
    [2, "B is better"],
    [3, "B is much better"],
]

PRESETS: dict[str, dict[str, Any]] = {
    # One question, as on Chatbot Arena: A, tie, B.
    "plain": {
        "question": "Which response is better?",
        "levels": [[-1, "A is better"], [0, "Tie"], [1, "B is better"]],
        "reasons": [["correct", "Correct"], ["complete", "Complete"], ["clear", "Easier to follow"], ["safe", "Safer"]],
    },
    # Hybrid Preferences (arXiv 2410.19133), Fig. 7: three aspects and overall on five levels, each with confidence.
    "multipref": {
        "question": "Overall, which response is better?",
        "levels": _FIVE,
        "confidence": True,
        "aspects": [
            {
                "key": "helpful",
                "label": "Helpfulness",
                "levels": _FIVE,
                "confidence": True,
                "reasons": [
                    ["follows", "Follows instructions"],
                    ["complete", "More complete"],
                    ["clear", "Clearer"],
                    ["concise", "More concise"],
                    ["relevant", "More relevant"],
                    ["creative", "More creative"],
                ],
            },
            {
                "key": "truthful",
                "label": "Truthfulness",
                "levels": _FIVE,
                "confidence": True,
                "reasons": [
                    ["correct", "More correct"],
                    ["fewer_errors", "Fewer errors"],
                    ["honest", "Honest about doubt"],
                ],
            },
            {
                "key": "harmless",
                "label": "Harmlessness",
                "levels": _FIVE,
                "confidence": True,
                "reasons": [
                    ["declines", "Rightly declines"],
                    ["respectful", "More respectful"],
                    ["careful", "More careful"],
                ],
            },
        ],
    },
    # HelpSteer2 (arXiv 2406.08673) attributes 0-4 and HelpSteer2-Preference (arXiv 2410.01257): ±3 without a tie.
    "helpsteer2": {
        "question": "Which response is better overall?",
        "levels": _SIX,
        "justification": "optional",
        "attributes": [
            {"key": key, "label": label, "minimum": 0, "maximum": 4, "anchors": anchors}
            for key, label, anchors in (
                ("helpfulness", "Helpfulness", ["not helpful", "barely", "partly", "mostly", "fully helpful"]),
                ("correctness", "Correctness", ["wrong", "mostly wrong", "mixed", "mostly right", "right"]),
                ("coherence", "Coherence", ["incoherent", "hard to follow", "a little unclear", "clear", "very clear"]),
                ("complexity", "Complexity", ["basic", "simple", "intermediate", "advanced", "expert"]),
                ("verbosity", "Verbosity", ["succinct", "short", "average", "long", "verbose"]),
            )
        ],
    },
}
