"""Recorded judgments read by a project's protocol: answers of people on its scale, verdicts of AI as probabilities."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from annotator import protocols
from annotator.formats import rows
from annotator.formats.rows import RowInvalid, Vote
from annotator.protocols import SIDES, Answer, AnswerInvalid, Definition
from annotator.protocols.definition import Aspect

OUTCOMES = ("level", "neither_valid", "cannot_judge", "abstain")
# The parts that every protocol asks for.
OVERALL = {"level", "outcome"}
HIGHEST_RATING = 1_000_000
# The parts of an answer that a protocol may not ask for.
WORDS = {
    "attributes": "ratings", "aspects": "answers on aspects", "reasons": "reasons", "flags": "flags",
    "feedback": "feedback on the responses", "edit": "the edited response", "spans": "marked passages",
    "ranking": "the ranking", "confidence": "the confidence",
}  # fmt: skip


def lenient(definition: Definition) -> Definition:
    """The protocol as recorded judgments must keep it: what is given must fit, nothing is required."""
    return dataclasses.replace(
        definition,
        justification="none" if definition.justification == "none" else "optional",
        justification_min=0,
        feedback="optional",
        feedback_min=0,
        edit="optional",
        aspects=tuple(dataclasses.replace(aspect, required=False) for aspect in definition.aspects),
        attributes=tuple(dataclasses.replace(attribute, required=False) for attribute in definition.attributes),
    )


def answer(definition: Definition, vote: Vote, texts: Mapping[str, str]) -> Answer:
    """The judgment's answer in the project's protocol (people) or as a probability (AI). Raises RowInvalid.

    `texts`: the judged responses by side, for passages that are marked in them.
    """
    if vote.is_ai:
        return _ai_answer(definition, vote)
    given = dict(vote.answer)
    if definition.ranks and not given.get("ranking"):
        definition = dataclasses.replace(definition, ranking="none")
    if not definition.ranks and given.get("outcome", "level") == "level" and given.get("level") is None:
        if vote.preference is None:
            raise RowInvalid(vote.field, "needs a level, a preference or an outcome")
        given["level"] = nearest_level(definition, vote.preference, vote.field)
    if definition.spans and not any(_severity(span) for span in given.get("spans") or []):
        # The source may not have asked how bad a marked passage is.
        definition = dataclasses.replace(definition, spans=dataclasses.replace(definition.spans, severities=()))
    reason = _words(vote)
    if given.get("outcome") == "cannot_judge" and definition.cannot_judge and not reason:
        return Answer("cannot_judge")  # the source may not have asked why
    try:
        checked = protocols.check(definition, given, texts)
    except AnswerInvalid as invalid:
        raise RowInvalid(f"{vote.field}.{invalid.field}", invalid.reason) from None
    except (AttributeError, TypeError) as error:
        raise RowInvalid(vote.field, f"is not shaped as docs/formats.md says: {error}") from None
    # Words of the source stay as they are, even where the protocol would not have asked for them.
    if reason == checked.justification and "aspects" not in vote.answer:
        return checked
    return dataclasses.replace(checked, justification=reason, aspects=_with_own(checked.aspects, vote))


def _with_own(aspects: Mapping[str, Any], vote: Vote) -> dict[str, Any]:
    """The answers on aspects, each with the reason that was given in own words: no protocol of ours asks for one."""
    given = rows.mapping(vote.answer.get("aspects"), f"{vote.field}.aspects")
    own = {key: said["own"] for key, said in given.items() if isinstance(said, Mapping) and said.get("own")}
    return {
        key: {**said, "own": rows.text(own[key], f"{vote.field}.aspects.{key}.own")} if key in own else said
        for key, said in aspects.items()
    }


def _severity(span: Any) -> Any:
    return span.get("severity") if isinstance(span, Mapping) else None


def leave(definition: Definition, vote: Vote, preset: str = "") -> list[str]:
    """Take out of `vote.answer` what the protocol does not ask for; gives what was left, a few words for each part.

    For formats that were not written for this project. Values that do not fit what is asked for stay, to be refused.
    `preset` is one that asks for all that the format holds.
    """
    if vote.is_ai or vote.answer.keys() <= OVERALL:
        return []  # what an AI said is kept as it said it
    left = [
        *_leave_keys(vote.answer, "attributes", {one.key for one in definition.attributes}),
        *_leave_keys(vote.answer, "aspects", {one.key for one in definition.aspects}),
    ]
    for aspect in definition.aspects:
        left += _leave_of_aspect(aspect, vote.answer.get("aspects") or {})
    for name, offered in (("reasons", definition.reasons), ("flags", definition.flags)):
        left += _leave_choices(vote.answer, name, {one.key for one in offered}, WORDS[name])
    left += _leave_whole(definition, vote.answer)
    hint = f"; the preset {preset} does" if preset else ""
    return [f"{what}: this project's protocol does not ask for it{hint}" for what in left]


def _leave_keys(given: dict[str, Any], name: str, known: set[str]) -> list[str]:
    """Of ratings or answers by key those that nobody asks for."""
    said = given.get(name)
    if not isinstance(said, Mapping):
        return []
    given[name] = {key: value for key, value in said.items() if key in known}
    unasked = [str(key) for key in said if key not in known]
    return [f"{WORDS[name]} ({', '.join(unasked)})"] if unasked else []


def _leave_whole(definition: Definition, given: dict[str, Any]) -> list[str]:
    """Parts that are asked for as a whole or not at all."""
    asked = {
        "feedback": definition.feedback != "none",
        "edit": definition.edit != "none",
        "spans": definition.spans is not None,
        "ranking": definition.ranks,
        "confidence": definition.confidence,
    }
    unasked = [name for name, is_asked in asked.items() if given.get(name) and not is_asked]
    for name in unasked:
        del given[name]
    return [WORDS[name] for name in unasked]


def _leave_of_aspect(aspect: Aspect, aspects: Mapping[str, Any]) -> list[str]:
    given = aspects.get(aspect.key)
    if not isinstance(given, dict):
        return []
    left = _leave_choices(given, "reasons", {one.key for one in aspect.reasons}, f"reasons of {aspect.key}")
    if given.get("confidence") is not None and not aspect.confidence:
        left.append(f"the confidence of {aspect.key}")
    return left


def _leave_choices(given: dict[str, Any], name: str, known: set[str], words: str) -> list[str]:
    chosen = given.get(name)
    if not isinstance(chosen, list | tuple):
        return []
    given[name] = [key for key in chosen if key in known]
    unasked = [str(key) for key in chosen if key not in known]
    return [f"{words} ({', '.join(unasked)})"] if unasked else []


def cannot_say(definition: Definition, vote: Vote) -> str:
    """Why the protocol has no answer that says what this person said; "" when it has one."""
    if vote.is_ai:
        return ""
    given = vote.answer
    outcome = given.get("outcome") or "level"
    if outcome in ("neither_valid", "cannot_judge") and not getattr(definition, outcome):
        return f"judgments with the answer {outcome}: this project's protocol does not offer it"
    if outcome != "level" or given.get("level") is not None or given.get("ranking"):
        return ""
    if vote.preference is None:
        return "judgments without an answer to the overall question"
    if vote.preference == 0 and not definition.has_tie:
        return "ties: this project's protocol has none"
    return ""


def nearest_level(definition: Definition, preference: float, name: str) -> int:
    """The scale's level nearest to a preference in [-1, 1]: never on the other side, halves go away from the tie."""
    if preference == 0 and not definition.has_tie:
        raise RowInvalid(f"{name}.preference", "is a tie, and this project's protocol has none")
    wanted = preference * definition.highest
    fitting = [level.value for level in definition.levels if level.value * preference > 0 or level.value == 0]
    return min(fitting, key=lambda value: (abs(value - wanted), -abs(value)))


def _ai_answer(definition: Definition, vote: Vote) -> Answer:
    given = vote.answer
    outcome = given.get("outcome", "level")
    if outcome not in OUTCOMES:
        raise RowInvalid(f"{vote.field}.outcome", f"must be one of {', '.join(OUTCOMES)}, not {outcome!r}")
    if outcome == "level" and vote.p_b is None and vote.preference is None:
        if given.get("level") is None:
            raise RowInvalid(vote.field, "needs p_b, a preference or a level")
        level = rows.whole(given["level"], f"{vote.field}.level", -definition.highest, definition.highest)
        vote.preference = (level or 0) / definition.highest
    return Answer(
        outcome,
        confidence=rows.number(given.get("confidence"), f"{vote.field}.confidence", 0, 1_000_000),
        aspects=rows.mapping(given.get("aspects"), f"{vote.field}.aspects"),
        attributes=_ratings(rows.mapping(given.get("attributes"), f"{vote.field}.attributes"), vote),
        reasons=[
            rows.text(reason, f"{vote.field}.reasons", width=60)
            for reason in rows.sequence(given.get("reasons"), f"{vote.field}.reasons")
        ],
        justification=_words(vote),
        **_more(vote),
    )


def _ratings(given: dict[str, Any], vote: Vote) -> dict[str, Any]:
    """{attribute: {side: number}}, which labels average; an attribute may be any that the AI rated by."""
    for attribute, sides in given.items():
        name = f"{vote.field}.attributes.{attribute}"
        for side, value in rows.mapping(sides, name).items():
            if side not in SIDES:
                raise RowInvalid(f"{name}.{side}", f"must be the rating of a response: {', '.join(SIDES)}")
            rows.number(value, f"{name}.{side}", -HIGHEST_RATING, HIGHEST_RATING)
    return {attribute: sides for attribute, sides in given.items() if sides}


def _more(vote: Vote) -> dict[str, Any]:
    """What else an AI said, as it said it."""
    given = vote.answer
    mappings = {name: rows.mapping(given.get(name), f"{vote.field}.{name}") for name in ("feedback", "edit", "ranking")}
    flags = [
        rows.text(flag, f"{vote.field}.flags", width=60)
        for flag in rows.sequence(given.get("flags"), f"{vote.field}.flags")
    ]
    return {**mappings, "flags": flags, "spans": rows.sequence(given.get("spans"), f"{vote.field}.spans")}


def _words(vote: Vote) -> str:
    """The justification as the source has it."""
    given = vote.answer.get("justification")
    return "" if given is None else rows.text(given, f"{vote.field}.justification", empty=True)


def probability(vote: Vote, outcome: str) -> tuple[float | None, float | None]:
    """(p_b, p_tie) of an AI's recorded verdict; a graded preference is read as (1 + preference) / 2."""
    if not vote.is_ai or outcome != "level":
        return None, None
    if vote.p_b is not None or vote.preference is None:
        return vote.p_b, vote.p_tie
    return (1 + vote.preference) / 2, 1.0 if vote.preference == 0 else 0.0
