"""An answer checked against the protocol, in whichever order it is given: the refusals are in the annotator's words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from django.utils.translation import gettext as _

from annotator.protocols import ranking, spans
from annotator.protocols.definition import CONFIDENCE, SIDES, Choice, Definition, Level
from annotator.protocols.refusal import AnswerInvalid


@dataclass(frozen=True)
class Answer:
    """A checked answer, in the order it was given in; stored is the comparison's own."""

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


def length(text: str) -> int:
    """What counts towards a required length: code points, any white space between words as one."""
    return len(" ".join(text.split()))


def check(definition: Definition, given: Mapping[str, Any], texts: Mapping[str, str] | None = None) -> Answer:
    """Check an answer; missing keys are "not given". Raises AnswerInvalid at the first thing that does not fit.

    `given`: {"outcome", "level", "confidence", "aspects": {key: {"level", "confidence", "reasons"}},
    "attributes": {key: {side: int}}, "reasons": [key], "justification", "flags": [key], "feedback": {side: str},
    "edit": {"side", "text"}, "spans": [{"side", "start", "end", "type", "severity", "comment"}],
    "ranking": {"ranks": [int]} or {"best": place, "worst": place}}.
    `texts`: the stored text of every response by side, in the same order as `given`; without them (recorded answers)
    passages and edits are taken as they are, and the ranking says how many responses there are.
    """
    outcome = given.get("outcome") or "level"
    said: dict[str, Any] = {
        "reasons": _chosen("reasons", given.get("reasons") or [], definition.reasons),
        "justification": str(given.get("justification") or "").strip(),
        "flags": _flags(definition, given.get("flags") or []),
    }
    if outcome == "cannot_judge" and definition.cannot_judge:
        if not any(said.values()):
            raise AnswerInvalid("justification", _("say in a few words why it cannot be judged"))
        return Answer(outcome, **said)
    sides = _sides(definition, given, texts)
    said["spans"] = spans.check(definition, given.get("spans") or [], texts)
    if outcome == "neither_valid" and definition.neither_valid:
        return Answer(outcome, **said, feedback=_feedback(definition, given, sides, asked=False))
    if outcome != "level" and not (outcome == "ranked" and definition.ranks):
        raise AnswerInvalid("outcome", _("this protocol does not offer that answer"))
    level, ranks = _decided(definition, given, len(sides))
    _justified(definition, said)
    return Answer(
        "ranked" if level is None else "level",
        level=level,
        preference=None if level is None else level / definition.highest,
        confidence=_confidence("confidence", given.get("confidence"), definition.confidence),
        aspects=_aspects(definition, given.get("aspects") or {}),
        attributes=_attributes(definition, given.get("attributes") or {}, sides),
        ranking=ranks,
        feedback=_feedback(definition, given, sides, asked=definition.feedback == "required"),
        edit=_edit(definition, given.get("edit") or {}, sides, texts),
        **said,
    )


def _sides(definition: Definition, given: Mapping[str, Any], texts: Mapping[str, str] | None) -> str:
    if texts is not None:
        return SIDES[: len(texts)]
    return SIDES[: ranking.count_of(given.get("ranking")) if definition.ranks else 2]


def _decided(definition: Definition, given: Mapping[str, Any], count: int) -> tuple[int | None, dict[str, Any]]:
    """The level of A against B and the ranking; None where best and worst do not tell."""
    ranks = ranking.check(definition, given.get("ranking") or {}, count)
    if definition.ranks:
        return ranking.level(definition, ranks), ranks
    if given.get("level") is None:
        raise AnswerInvalid("level", _("choose an answer"))
    return _level("level", given["level"], definition.levels), ranks


def _justified(definition: Definition, said: dict[str, Any]) -> None:
    if definition.justification == "none":
        said["justification"] = ""
    if definition.justification != "required":
        return
    if not said["justification"]:
        raise AnswerInvalid("justification", _("a sentence of justification is asked for"))
    _long_enough("justification", said["justification"], definition.justification_min, _("the justification"))


def _long_enough(name: str, text: str, least: int, what: str) -> None:
    if length(text) < least:
        words = _("%(what)s needs at least %(least)d characters; there are %(given)d")
        raise AnswerInvalid(name, words % {"what": what, "least": least, "given": length(text)})


def _level(name: str, value: Any, levels: tuple[Level, ...]) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in {level.value for level in levels}:
        raise AnswerInvalid(name, _("%(value)s is not on the scale") % {"value": repr(value)})
    return value


def _confidence(name: str, value: Any, asked: bool) -> float | None:
    if value is None or not asked:
        return None
    if value not in {number for number, _label in CONFIDENCE}:
        raise AnswerInvalid(name, _("%(value)s is not a confidence") % {"value": repr(value)})
    return float(value)


def _chosen(name: str, keys: Any, choices: tuple[Choice, ...]) -> list[str]:
    known = {choice.key for choice in choices}
    unknown = [key for key in keys if key not in known]
    if unknown:
        raise AnswerInvalid(name, _("%(key)s is not one of the reasons") % {"key": repr(unknown[0])})
    return [choice.key for choice in choices if choice.key in set(keys)]


def _flags(definition: Definition, keys: Any) -> list[str]:
    known = {choice.key for choice in definition.flags}
    for key in keys:
        if key not in known:
            raise AnswerInvalid("flags", _("%(key)s is not one of the flags") % {"key": repr(key)})
    return [choice.key for choice in definition.flags if choice.key in set(keys)]


def _aspects(definition: Definition, given: Mapping[str, Any]) -> dict[str, Any]:
    _only_asked("aspects", given, {aspect.key for aspect in definition.aspects})
    answers: dict[str, Any] = {}
    for aspect in definition.aspects:
        name = f"aspects.{aspect.key}"
        answer = given.get(aspect.key) or {}
        if answer.get("level") is None:
            if aspect.required:
                raise AnswerInvalid(name, _("answer “%(question)s”") % {"question": aspect.label})
            continue
        answers[aspect.key] = {
            "level": _level(name, answer["level"], aspect.levels),
            "confidence": _confidence(name, answer.get("confidence"), aspect.confidence),
            "reasons": _chosen(name, answer.get("reasons") or [], aspect.reasons),
        }
    return answers


def _attributes(definition: Definition, given: Mapping[str, Any], sides: str) -> dict[str, Any]:
    _only_asked("attributes", given, {attribute.key for attribute in definition.attributes})
    ratings: dict[str, Any] = {}
    for attribute in definition.attributes:
        for side in sides:
            value = (given.get(attribute.key) or {}).get(side)
            name = f"attributes.{attribute.key}.{side}"
            if value is None:
                if attribute.required:
                    words = _("rate %(attribute)s of response %(letter)s")
                    raise AnswerInvalid(name, words % {"attribute": attribute.label, "letter": side.upper()})
                continue
            if not isinstance(value, int) or not attribute.minimum <= value <= attribute.maximum:
                words = _("%(value)s is not between %(low)d and %(high)d")
                between = {"value": repr(value), "low": attribute.minimum, "high": attribute.maximum}
                raise AnswerInvalid(name, words % between)
            ratings.setdefault(attribute.key, {})[side] = value
    return ratings


def _only_asked(name: str, given: Mapping[str, Any], asked: set[str]) -> None:
    unknown = set(given) - asked
    if unknown:
        raise AnswerInvalid(name, _("%(key)s is not asked for") % {"key": repr(min(unknown))})


def _feedback(definition: Definition, given: Mapping[str, Any], sides: str, *, asked: bool) -> dict[str, str]:
    written = {side: str(text or "").strip() for side, text in (given.get("feedback") or {}).items()}
    if any(written.values()) and definition.feedback == "none":
        raise AnswerInvalid("feedback", _("this protocol asks for no feedback"))
    for side in sides if asked else "":
        letter = {"letter": side.upper()}
        if not written.get(side):
            raise AnswerInvalid(f"feedback.{side}", _("say something about response %(letter)s") % letter)
        what = _("the feedback on response %(letter)s") % letter
        _long_enough(f"feedback.{side}", written[side], definition.feedback_min, what)
    return {side: written[side] for side in sides if written.get(side)}


def _edit(
    definition: Definition, given: Mapping[str, Any], sides: str, texts: Mapping[str, str] | None
) -> dict[str, str]:
    """The edited response; a text that was not changed is no edit."""
    side, text = given.get("side"), str(given.get("text") or "")
    edited = text.strip() and (texts is None or _lines(text) != _lines(texts.get(str(side)) or ""))
    if edited and definition.edit == "none":
        raise AnswerInvalid("edit", _("this protocol asks for no edited response"))
    if edited and side not in tuple(sides):
        raise AnswerInvalid("edit", _("say which response was edited"))
    if not edited and definition.edit == "required":
        raise AnswerInvalid("edit", _("improve the better response: nothing in it is changed yet"))
    return {"side": str(side), "text": text} if edited else {}


def _lines(text: str) -> list[str]:
    """A form sends other line ends than the text has; that is no edit."""
    return text.replace("\r\n", "\n").split("\n")
