"""The answer form of a protocol, ready for a template: every control with its name, key, words and state.

Sides are on-screen ones: a level below 0 and side "a" mean the response on the left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from annotator import protocols

# Keys of reasons, in order; the letters left out are commands of the workbench.
REASON_KEYS = "qwertyioajlzvbn"
CONFIDENCE_WORDS: dict[int, Promise] = {1: _("low"), 2: _("fair"), 3: _("high")}


@dataclass(frozen=True)
class Option:
    """One button of a scale. `side` is "a", "b" or "" (tie); `marks` says by how much."""

    value: int
    label: str
    key: str
    checked: bool
    side: str = ""
    marks: tuple[int, ...] = ()

    @property
    def short(self) -> str:
        """ "A is slightly better" fits no button: beside the letter and the marks, "slightly" says it."""
        _letter, found, rest = self.label.partition(" is ")
        if not found or not self.side:
            return self.label
        return rest.removesuffix(" better") or rest

    @property
    def letter(self) -> str:
        return self.side.upper() if self.short != self.label else ""


@dataclass(frozen=True)
class Chip:
    value: str
    label: str
    key: str
    checked: bool


@dataclass(frozen=True)
class Scale:
    """One question answered by number keys; `name` is the field's name, `key` names its panel of reasons."""

    key: str
    name: str
    label: str
    options: tuple[Option, ...]
    required: bool
    side: str = ""
    confidence_name: str = ""
    confidence: tuple[tuple[int, Any, bool], ...] = ()
    reasons_name: str = ""
    reasons: tuple[Chip, ...] = ()

    @property
    def chosen(self) -> Option | None:
        return next((option for option in self.options if option.checked), None)


@dataclass(frozen=True)
class Ratings:
    """One attribute with its scale for each response; `anchors` say what the numbers mean."""

    key: str
    label: str
    anchors: tuple[tuple[int, str], ...]
    sides: tuple[Scale, Scale]


@dataclass(frozen=True)
class AnswerForm:
    overall: Scale
    aspects: tuple[Scale, ...]
    attributes: tuple[Ratings, ...]
    neither_valid: bool
    cannot_judge: bool
    outcome: str
    justification: str
    justification_asked: str

    @property
    def panels(self) -> tuple[Scale, ...]:
        """Scales that ask for more than a level in the panel beside them."""
        return tuple(
            scale
            for scale in (self.overall, *self.aspects)
            if scale.reasons or (scale.confidence and scale is not self.overall)
        )


def build(definition: protocols.Definition, given: Mapping[str, Any]) -> AnswerForm:
    """The form of `definition`, its controls set as in `given` (a draft or an answer in on-screen order)."""
    aspects = given.get("aspects") or {}
    attributes = given.get("attributes") or {}
    return AnswerForm(
        overall=Scale(
            key="overall",
            name="level",
            label=definition.question,
            options=_options(definition.levels, given.get("level")),
            required=True,
            confidence_name="confidence",
            confidence=_confidence(definition.confidence, given.get("confidence")),
            reasons_name="reasons",
            reasons=_chips(definition.reasons, given.get("reasons")),
        ),
        aspects=tuple(_aspect(aspect, aspects.get(aspect.key) or {}) for aspect in definition.aspects),
        attributes=tuple(
            _ratings(attribute, attributes.get(attribute.key) or {}) for attribute in definition.attributes
        ),
        neither_valid=definition.neither_valid,
        cannot_judge=definition.cannot_judge,
        outcome=given.get("outcome") or "level",
        justification=given.get("justification") or "",
        justification_asked=definition.justification,
    )


def _options(levels: tuple[protocols.Level, ...], chosen: Any) -> tuple[Option, ...]:
    return tuple(
        Option(
            value=level.value,
            label=level.label,
            key=str(number),
            checked=chosen == level.value and chosen is not None,
            side="a" if level.value < 0 else "b" if level.value > 0 else "",
            marks=tuple(range(abs(level.value))),
        )
        for number, level in enumerate(levels, 1)
    )


def _confidence(asked: bool, chosen: Any) -> tuple[tuple[int, Any, bool], ...]:
    if not asked:
        return ()
    return tuple((value, CONFIDENCE_WORDS.get(value, word), value == chosen) for value, word in protocols.CONFIDENCE)


def _chips(choices: tuple[protocols.Choice, ...], chosen: Any) -> tuple[Chip, ...]:
    keys = [*REASON_KEYS[: len(choices)], *[""] * (len(choices) - len(REASON_KEYS))]
    return tuple(
        Chip(choice.key, choice.label, key, choice.key in (chosen or ()))
        for choice, key in zip(choices, keys, strict=True)
    )


def _aspect(aspect: protocols.Aspect, given: Mapping[str, Any]) -> Scale:
    name = f"aspect.{aspect.key}"
    return Scale(
        key=aspect.key,
        name=f"{name}.level",
        label=aspect.label,
        options=_options(aspect.levels, given.get("level")),
        required=aspect.required,
        confidence_name=f"{name}.confidence",
        confidence=_confidence(aspect.confidence, given.get("confidence")),
        reasons_name=f"{name}.reasons",
        reasons=_chips(aspect.reasons, given.get("reasons")),
    )


def _ratings(attribute: protocols.Attribute, given: Mapping[str, Any]) -> Ratings:
    numbers = range(attribute.minimum, attribute.maximum + 1)
    words = dict(zip(numbers, attribute.anchors, strict=False))
    a, b = (
        Scale(
            key=f"{attribute.key}.{side}",
            name=f"attribute.{attribute.key}.{side}",
            label=attribute.label,
            options=tuple(
                Option(number, words.get(number, str(number)), str(number), given.get(side) == number)
                for number in numbers
            ),
            required=attribute.required,
            side=side,
        )
        for side in ("a", "b")
    )
    return Ratings(attribute.key, attribute.label, tuple(words.items()), (a, b))
