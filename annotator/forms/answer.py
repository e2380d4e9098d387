"""The answer form of a protocol, ready for a template: every control with its name, key, words and state.

Sides are on-screen ones: a level below 0 and side "a" mean the response on the left. Every control has a key: digits
for the scale that is active, a letter for a chip, and one key each to jump to what is written or marked. Keys that
ran out are "": such a control is reached by Tab and Space.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.functional import Promise
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _

from annotator import protocols

# Keys of reasons, in order; the letters left out are commands of the workbench. Flags take from the end what no
# panel of reasons uses. `b` goes back to the last judgment where no chip has it, so few come that far from either end.
REASON_KEYS = "qwertyiobajzln"
# Jump to the feedback on A and on B, to the edited response; mark what is selected in a response.
FEEDBACK_KEYS = ",."
EDIT_KEY = ";"
MARK_KEY = "-"
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
    meaning: str = ""
    # A worked example, Markdown.
    example: str = ""

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
    help: str = ""

    @property
    def explained(self) -> bool:
        """Whether there is more to read about the question than its words."""
        return bool(self.help) or any(option.meaning or option.example for option in self.options)

    @property
    def chosen(self) -> Option | None:
        return next((option for option in self.options if option.checked), None)


@dataclass(frozen=True)
class Ratings:
    """One attribute with its scale for each response on screen; `anchors` say what the numbers mean."""

    key: str
    label: str
    anchors: tuple[tuple[int, str], ...]
    sides: tuple[Scale, ...]
    help: str = ""

    @property
    def levels(self) -> tuple[Option, ...]:
        """The levels with their meanings and examples, whichever response is rated."""
        return self.sides[0].options

    @property
    def explained(self) -> bool:
        return self.sides[0].explained


@dataclass(frozen=True)
class FlagChip(Chip):
    """Something wrong with the comparison itself; any number applies, field name `flags`, with every outcome."""


@dataclass(frozen=True)
class FeedbackBox:
    """Words about one response: a text box `name` ("feedback.a"). `minimum` is 0 unless they are required."""

    side: str
    name: str
    text: str
    required: bool
    minimum: int
    key: str

    @property
    def letter(self) -> str:
        return self.side.upper()


@dataclass(frozen=True)
class EditBox:
    """One response as its judge would have it: fields `edit.side` and `edit.text`. No side: nothing is edited yet.

    The text to begin with is the response's stored text, which the page has (the button "raw"). Unchanged text is no
    edit, so `required` asks for a change.
    """

    side: str
    text: str
    required: bool
    key: str = EDIT_KEY


@dataclass(frozen=True)
class SpanTypes:
    """What a marked passage can be called. Keys are those of the dialog that names it: digits and letters.

    `marks` is what is marked already, as the JSON of the hidden field `spans`. Without `severities` none is asked;
    `comment` offers a line of words.
    """

    types: tuple[Chip, ...]
    severities: tuple[Chip, ...]
    comment: bool
    marks: str
    key: str = MARK_KEY


@dataclass(frozen=True)
class RankRow:
    """One question of a ranking, answered by a digit like any scale.

    Of a full ranking: the rank of response `side`, field `ranking.rank.<side>`, 1 is best. Of best and worst: which
    response it is, field `ranking.best` or `ranking.worst`, values are on-screen places from 0; `side` is "".
    """

    side: str
    scale: Scale

    @property
    def letter(self) -> str:
        return self.side.upper()


@dataclass(frozen=True)
class Ranking:
    """`kind` is "full" or "best_worst"; `ties`: whether responses may share a rank."""

    kind: str
    rows: tuple[RankRow, ...]
    ties: bool


@dataclass(frozen=True)
class AnswerForm:
    """`overall` is shown unless there is a `ranking`, which answers it. Empty tuple, None or "none": not asked."""

    overall: Scale
    aspects: tuple[Scale, ...]
    attributes: tuple[Ratings, ...]
    neither_valid: bool
    # What "neither valid" is called by this protocol; "" for the usual words.
    neither_words: str
    cannot_judge: bool
    outcome: str
    justification: str
    justification_asked: str
    # In characters, white space between words as one; 0 unless it is required.
    justification_min: int
    flags: tuple[FlagChip, ...]
    feedback: tuple[FeedbackBox, ...]
    edit: EditBox | None
    spans: SpanTypes | None
    ranking: Ranking | None
    # Whether the comparison's own criterion is shown above the question.
    criterion: bool

    @property
    def panels(self) -> tuple[Scale, ...]:
        """Scales that ask for more than a level in the panel beside them."""
        return tuple(
            scale
            for scale in (self.overall, *self.aspects)
            if scale.reasons or (scale.confidence and scale is not self.overall)
        )


def build(definition: protocols.Definition, given: Mapping[str, Any], sides: int = 2) -> AnswerForm:
    """The form of `definition` for so many `sides`, its controls set as in `given` (a draft or an answer)."""
    aspects = given.get("aspects") or {}
    attributes = given.get("attributes") or {}
    letters = protocols.SIDES[: sides if definition.ranks else 2]
    return AnswerForm(
        overall=_overall(definition, given),
        aspects=tuple(_aspect(aspect, aspects.get(aspect.key) or {}) for aspect in definition.aspects),
        attributes=tuple(
            _ratings(attribute, attributes.get(attribute.key) or {}, letters) for attribute in definition.attributes
        ),
        neither_valid=definition.neither_valid,
        neither_words=definition.neither_words,
        cannot_judge=definition.cannot_judge,
        outcome=given.get("outcome") or "level",
        justification=given.get("justification") or "",
        justification_asked=definition.justification,
        justification_min=definition.justification_min if definition.justification == "required" else 0,
        flags=_flags(definition, given.get("flags") or ()),
        feedback=_feedback(definition, given.get("feedback") or {}, letters),
        edit=_edit(definition, given.get("edit") or {}),
        spans=_spans(definition.spans, given.get("spans") or []),
        ranking=_ranking(definition, given.get("ranking") or {}, letters),
        criterion=definition.criterion,
    )


def _overall(definition: protocols.Definition, given: Mapping[str, Any]) -> Scale:
    return Scale(
        key="overall",
        name="level",
        label=definition.question,
        options=_options(definition.levels, given.get("level")),
        required=not definition.ranks,
        confidence_name="confidence",
        confidence=_confidence(definition.confidence, given.get("confidence")),
        reasons_name="reasons",
        reasons=_chips(definition.reasons, given.get("reasons")),
        help=definition.help,
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
            meaning=level.meaning,
            example=level.example,
        )
        for number, level in enumerate(levels, 1)
    )


def _confidence(asked: bool, chosen: Any) -> tuple[tuple[int, Any, bool], ...]:
    if not asked:
        return ()
    return tuple((value, CONFIDENCE_WORDS.get(value, word), value == chosen) for value, word in protocols.CONFIDENCE)


def _chips(choices: tuple[protocols.Choice, ...], chosen: Any, keys: str = REASON_KEYS) -> tuple[Chip, ...]:
    return tuple(
        Chip(choice.key, choice.label, keys[place : place + 1], choice.key in (chosen or ()))
        for place, choice in enumerate(choices)
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
        help=aspect.help,
    )


def _ratings(attribute: protocols.Attribute, given: Mapping[str, Any], letters: str) -> Ratings:
    words = {level.value: level for level in attribute.anchors}
    scales = tuple(
        Scale(
            key=f"{attribute.key}.{side}",
            name=f"attribute.{attribute.key}.{side}",
            label=attribute.label,
            options=tuple(
                _rating(words.get(number) or protocols.Level(number, str(number)), given.get(side) == number)
                for number in range(attribute.minimum, attribute.maximum + 1)
            ),
            required=attribute.required,
            side=side,
        )
        for side in letters
    )
    anchors = tuple((level.value, level.label) for level in attribute.anchors if level.value <= attribute.maximum)
    return Ratings(attribute.key, attribute.label, anchors, scales, attribute.help)


def _rating(level: protocols.Level, checked: bool) -> Option:
    return Option(level.value, level.label, str(level.value), checked, meaning=level.meaning, example=level.example)


def _flags(definition: protocols.Definition, chosen: Any) -> tuple[FlagChip, ...]:
    most = max(len(definition.reasons), *(len(aspect.reasons) for aspect in definition.aspects), 0)
    free = REASON_KEYS[most:][::-1]
    return tuple(
        FlagChip(choice.key, choice.label, free[place : place + 1], choice.key in chosen)
        for place, choice in enumerate(definition.flags)
    )


def _feedback(definition: protocols.Definition, given: Mapping[str, Any], letters: str) -> tuple[FeedbackBox, ...]:
    if definition.feedback == "none":
        return ()
    required = definition.feedback == "required"
    return tuple(
        FeedbackBox(
            side=side,
            name=f"feedback.{side}",
            text=given.get(side) or "",
            required=required,
            minimum=definition.feedback_min if required else 0,
            key=FEEDBACK_KEYS[place : place + 1],
        )
        for place, side in enumerate(letters)
    )


def _edit(definition: protocols.Definition, given: Mapping[str, Any]) -> EditBox | None:
    if definition.edit == "none":
        return None
    return EditBox(given.get("side") or "", given.get("text") or "", definition.edit == "required")


def _spans(kinds: protocols.SpanKinds | None, given: list[dict[str, Any]]) -> SpanTypes | None:
    if kinds is None:
        return None
    return SpanTypes(
        types=_chips(kinds.types, (), keys="123456789"),
        severities=_chips(kinds.severities, ()),
        comment=kinds.comment,
        marks=json.dumps(given, ensure_ascii=False),
    )


def _ranking(definition: protocols.Definition, given: Mapping[str, Any], letters: str) -> Ranking | None:
    if not definition.ranks:
        return None
    rows = _ranks(given, letters) if definition.ranking == "full" else _ends(given, letters)
    return Ranking(definition.ranking, rows, definition.has_tie)


def _ranks(given: Mapping[str, Any], letters: str) -> tuple[RankRow, ...]:
    ranks = dict(zip(letters, given.get("ranks") or (), strict=False))
    return tuple(
        RankRow(
            side,
            Scale(
                key=f"rank.{side}",
                name=f"ranking.rank.{side}",
                label=gettext("Rank of response %(letter)s") % {"letter": side.upper()},
                options=tuple(
                    Option(rank, str(rank), str(rank), ranks.get(side) == rank) for rank in range(1, len(letters) + 1)
                ),
                required=True,
            ),
        )
        for side in letters
    )


def _ends(given: Mapping[str, Any], letters: str) -> tuple[RankRow, ...]:
    """The two questions of best and worst; a response's key is its number, as in a full ranking."""
    return tuple(
        RankRow(
            "",
            Scale(
                key=end,
                name=f"ranking.{end}",
                label=label,
                options=tuple(
                    Option(place, side.upper(), str(place + 1), given.get(end) == place)
                    for place, side in enumerate(letters)
                ),
                required=True,
            ),
        )
        for end, label in (("best", gettext("The best response")), ("worst", gettext("The worst response")))
    )
