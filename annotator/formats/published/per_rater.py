"""One row a person and judgment, with what people told of themselves and agreed to publish (after PRISM, 2404.16019).

`judgments`: who said what of which conversation; `survey`: one row a person who agreed. Nothing of a profile is written
that fewer than SMALLEST people of the data set share: see `in_crowds`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pyarrow as pa

from annotator.formats.source import (
    TRAIN,
    Config,
    Judged,
    Prompt,
    Response,
    Row,
    Source,
    Vote,
    Writer,
    split_of,
)
from annotator.protocols import SIDES

# No combination of answers is told of fewer people than this.
SMALLEST = 5
# Questions of a profile. Where too few people share a combination, the last is left out first.
QUESTIONS = ("age", "gender", "region", "education", "model_use", "languages")
SEVERAL = ("languages",)

Told = dict[str, Any]

_TEXT = pa.string()
_ABOUT: list[tuple[str, pa.DataType]] = [
    (question, pa.list_(_TEXT) if question in SEVERAL else _TEXT) for question in QUESTIONS
]
_SAID = pa.struct(
    [
        ("turn", pa.int32()),
        ("role", _TEXT),
        ("content", _TEXT),
        ("model_name", _TEXT),
        ("if_chosen", pa.bool_()),
        ("within_turn_id", pa.int32()),
    ]
)
# What a protocol defines freely is JSON text.
_FREE = ("aspects", "ratings", "ranking", "spans", "feedback", "edit")
_JUDGMENTS = pa.schema(
    [
        ("user_id", _TEXT),
        ("conversation_id", _TEXT),
        ("prompt_id", _TEXT),
        ("opening_prompt", _TEXT),
        ("conversation_history", pa.list_(_SAID)),
        ("outcome", _TEXT),
        ("preference", pa.float64()),
        ("confidence", pa.float64()),
        ("reasons", pa.list_(_TEXT)),
        ("justification", _TEXT),
        *((name, _TEXT) for name in _FREE),
        ("timing_duration_s", pa.float64()),
        ("timestamp", _TEXT),
        *_ABOUT,
    ]
)
_SURVEY = pa.schema([("user_id", _TEXT), *_ABOUT])


class PerRater(Writer):
    title = "Judgments by person"
    group = "research"
    heeds = frozenset({"validation", "seed"})
    # Who is in the data set decides what may be told of anybody in it.
    is_whole = True

    @property
    def configs(self) -> tuple[Config, ...]:
        return (
            Config("judgments", _JUDGMENTS, "one row a person and judgment"),
            Config("survey", _SURVEY, "one row a person who agreed to publish what they told of themselves"),
        )

    @property
    def notes(self) -> list[str]:
        return [
            "`user_id` is a pseudonym. People of an import who have no name there share one.",
            f"The columns {', '.join(f'`{question}`' for question in QUESTIONS)} are people's own answers to coarse "
            "questions that need not be answered; they are here only of those who agreed to publish them and have not "
            "withdrawn, and null of everybody else.",
            f"No combination of these answers is told of fewer than {SMALLEST} people of this data set: where fewer "
            "share one, answers are left out until they do, the languages first, the age last.",
            "Do not try to find out who somebody is, nor put these rows together with others to do so.",
            "`conversation_history` ends with the responses, `within_turn_id` 0 is A; `if_chosen` is null where "
            "neither is the better one. `preference` is from -1 (A) to 1 (B).",
            f"{', '.join(f'`{name}`' for name in _FREE)} are JSON as the project's protocol defines it.",
        ]

    def rows(self, source: Source) -> Iterator[Row]:
        self.left_out.clear()
        told = self._told(source)
        for judged in source.judged():
            if not judged.people:
                self.left_out["judged by an AI labeler only"] += 1
            split = split_of(judged.prompt, self.options)
            for vote in judged.people:
                yield Row("judgments", split, {**_judgment(judged, vote), **told.get(vote.rater, _NOTHING)})
        for person, about in sorted(told.items()):
            yield Row("survey", TRAIN, {"user_id": person, **about})

    def _told(self, source: Source) -> dict[str, Told]:
        """What may be told of those who agreed and have judged here; a pass over the data set of its own."""
        agreed = source.profiles()
        if not agreed:
            return {}
        here = {vote.rater for judged in source.judged() for vote in judged.people}
        return in_crowds({person: _read(about) for person, about in agreed.items() if person in here})


_NOTHING: Told = dict.fromkeys(QUESTIONS)


def _read(about: Mapping[str, Any]) -> Told:
    """The answers by question, None where there is none; several in one order."""
    told: Told = {question: about.get(question) or None for question in QUESTIONS}
    return told | {question: sorted(told[question]) for question in SEVERAL if told[question]}


def in_crowds(told: Mapping[str, Told], smallest: int = SMALLEST) -> dict[str, Told]:
    """`told` with answers left out until each combination that is left is shared by at least `smallest` people.

    Question by question from the last on, everybody in too small a crowd loses the answer to it. Whoever shares any
    part of a combination with others then does so with whole crowds, so no part of one is rarer either.
    """
    kept = {person: dict(about) for person, about in told.items()}
    for question in reversed(QUESTIONS):
        crowds = Counter(_combination(about) for about in kept.values())
        alone = [person for person, about in kept.items() if crowds[_combination(about)] < smallest]
        for person in alone:
            kept[person][question] = None
    return kept


def _combination(told: Told) -> str:
    return json.dumps([told[question] for question in QUESTIONS])


def _judgment(judged: Judged, vote: Vote) -> dict[str, Any]:
    return {
        "user_id": vote.rater,
        "conversation_id": judged.key,
        "prompt_id": judged.prompt.key,
        "opening_prompt": next(turn["content"] for turn in judged.prompt.turns if turn["role"] == "user"),
        "conversation_history": _history(judged.prompt, (judged.response_a, judged.response_b, *judged.further), vote),
        "outcome": vote.outcome,
        "preference": vote.preference,
        "confidence": vote.confidence,
        "reasons": vote.reasons,
        "justification": vote.justification,
        **{name: _as_json(value) for name, value in _free(vote).items()},
        "timing_duration_s": None if vote.active_ms is None else vote.active_ms / 1000,
        "timestamp": vote.created_at.isoformat(),
    }


def _free(vote: Vote) -> dict[str, Any]:
    return {
        "aspects": vote.aspects,
        "ratings": vote.attributes,
        "ranking": vote.ranking,
        "spans": vote.spans,
        "feedback": vote.feedback,
        "edit": vote.edit,
    }


def _as_json(value: Any) -> str | None:
    return json.dumps(value, ensure_ascii=False, sort_keys=True) if value else None


def _history(prompt: Prompt, responses: tuple[Response, ...], vote: Vote) -> list[dict[str, Any]]:
    """The turns as people read them, then every response. A user's word begins a turn, the model's answer ends it."""
    history: list[dict[str, Any]] = []
    turn = -1
    for message in prompt.messages:
        turn += message["role"] == "user"
        history.append(_entry(max(turn, 0), message["role"], message["content"]))
    better = _better(vote)
    for place, (side, response) in enumerate(zip(SIDES, responses, strict=False)):
        said = _entry(max(turn, 0), "model", response.text)
        said |= {"model_name": response.model, "within_turn_id": place}
        history.append({**said, "if_chosen": side == better if better and side in "ab" else None})
    return history


def _better(vote: Vote) -> str:
    """The side that the person prefers; "" for neither."""
    return {0: "", 1: "b", -1: "a"}[((vote.preference or 0) > 0) - ((vote.preference or 0) < 0)]


def _entry(turn: int, role: str, content: str) -> dict[str, Any]:
    return {
        "turn": turn,
        "role": "model" if role == "assistant" else role,
        "content": content,
        "model_name": None,
        "if_chosen": None,
        "within_turn_id": 0,
    }
