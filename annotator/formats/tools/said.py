"""What one person or model said of a row's responses, gathered question by question into one judgment.

A tool's questions mean what its project says. What is recognised becomes the answer; everything else is kept with the
judgment's provenance, and its question is named among what was left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from annotator.formats import mapped, native, rows
from annotator.formats.rows import RowInvalid, Vote
from annotator.formats.tools.sides import Sides
from annotator.protocols import SIDES

# Questions by which of several preferences is the overall one.
OVERALL = ("preference", "overall", "better", "winner", "choice", "comparison", "preferred", "best")
# Questions whose text says why.
REASONS = (
    *("justification", "rationale", "reason", "reasons", "explanation", "comment", "comments", "why", "notes"),
    *("feedback", "note"),
)
PREFERENCES = {"a": -1.0, "b": 1.0, "tie": 0.0}


@dataclass
class Said:
    """`where` names the place in the row, for errors."""

    sides: Sides
    where: str
    verdicts: dict[str, str] = field(default_factory=dict)
    strengths: dict[str, float] = field(default_factory=dict)
    ratings: dict[str, dict[str, int]] = field(default_factory=dict)
    ranking: dict[str, Any] = field(default_factory=dict)
    words: list[str] = field(default_factory=list)
    feedback: dict[str, str] = field(default_factory=dict)
    kept: dict[str, Any] = field(default_factory=dict)
    left: list[str] = field(default_factory=list)

    def answer(self, question: str, value: Any, *about: str) -> None:
        """Take an answer whose kind shows only in its value. `about`: further names that may name a response."""
        if isinstance(value, list) and self._ranks(value):
            return
        only = value[0] if isinstance(value, list) and len(value) == 1 else value
        if self.choose(question, only):
            return
        if isinstance(only, int | float) and not isinstance(only, bool):
            self.rate(question, only, *about)
        elif isinstance(only, str) and self._is_said(question, *about):
            self.write(question, only, *about)
        else:
            self.keep(question, value)

    def choose(self, question: str, value: Any) -> bool:
        """Take an answer that names one of two responses, a tie or neither; False when it does not."""
        verdict = self.sides.verdict(value)
        if verdict:
            self.verdicts[question] = verdict
        return bool(verdict)

    def rate(self, question: str, value: Any, *about: str) -> None:
        """Take a rating of one response; one that is of no response is kept."""
        place = self._place(*about, question)
        if place is None:
            self.keep(question, value)
            return
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise RowInvalid(f"{self.where}.{question}", f"must be a whole number, not {value!r}")
        attribute = self.sides.about(question)[1] or "rating"
        self.ratings.setdefault(attribute, {})[SIDES[place]] = int(value)

    def write(self, question: str, value: str, *about: str) -> None:
        """Take words: on one response where the question is about one, else on why."""
        if not value:
            return
        place = self._place(*about, question)
        if place is None:
            self.words.append(value)
        else:
            side = SIDES[place]
            self.feedback[side] = "\n".join(part for part in (self.feedback.get(side, ""), value) if part)

    def rank(self, question: str, groups: list[list[Any]]) -> bool:
        """Take responses from best to worst, those of a group sharing a rank; False when these are not all of them."""
        places = [[self.sides.place(one) for one in group] for group in groups]
        flat = [place for group in places for place in group]
        if None in flat or sorted(flat) != list(range(len(self.sides.names))):  # type: ignore[type-var]
            return False
        ranks = {place: rank for rank, group in enumerate(places, 1) for place in group}
        if len(ranks) == 2:
            self.verdicts[question] = "tie" if ranks[0] == ranks[1] else "a" if ranks[0] < ranks[1] else "b"
        else:
            self.ranking = {"ranks": [ranks[place] for place in sorted(ranks)]}  # type: ignore[type-var]
        return True

    def keep(self, question: str, value: Any) -> None:
        """An answer to something else: it goes with the judgment, not into it."""
        self.kept[question] = value
        self.left.append(f"the answers to the question {question}, kept with the judgments' provenance only")

    def vote(self, rater: Any, *, is_ai: bool, source: str, kept: Mapping[str, Any], **facts: Any) -> Vote | None:
        """The judgment, or None and a word in `left` when nothing of it says which response is better."""
        preference, outcome = self._overall()
        if preference is None and not outcome and not self.ranking:
            who = "an AI's suggestion" if is_ai else "a person's answers"
            self.left.append(f"{who} that did not say which response is better")
            return None
        answer = {
            "outcome": outcome,
            "attributes": self.ratings,
            "ranking": self.ranking,
            "justification": "\n".join(self.words),
            "feedback": self.feedback,
        }
        provenance = {name: value for name, value in kept.items() if value is not None}
        if self.kept:
            provenance["answers"] = self.kept
        return Vote(
            field=self.where,
            comparison=0,
            rater=native.rater_name(rater, f"{self.where}.rater", is_ai),
            is_ai=is_ai,
            source=source,
            answer={name: value for name, value in answer.items() if value},
            preference=preference,
            provenance=rows.as_json(provenance, self.where),
            **facts,
        )

    def _overall(self) -> tuple[float | None, str]:
        """(preference, outcome) by the question that asks for it, else by the ratings or the ranks.

        Of several questions it is the one that is called so; where none is, none of them is taken for it.
        """
        asked = [*self.verdicts, *self.strengths]
        overall = [name for name in asked if mapped.words(name) in OVERALL]
        best = next(iter(overall if len(asked) > 1 else asked), None)
        for name in asked:
            if name != best:
                self.keep(name, self.verdicts.get(name, self.strengths.get(name)))
        if best is None:
            return (None if asked else self._by_numbers()), ""
        if best in self.strengths:
            return self.strengths[best], ""
        verdict = self.verdicts[best]
        return (None, "neither_valid") if verdict == "neither" else (PREFERENCES[verdict], "")

    def _by_numbers(self) -> float | None:
        """Which of A and B ranks or rates higher, without a strength: tools do not say how wide their scales are."""
        if "ranks" in self.ranking:
            a, b = self.ranking["ranks"][:2]
            return float((a > b) - (a < b))
        both = [given for given in self.ratings.values() if {"a", "b"} <= given.keys()]
        if not both or len(self.sides.names) != 2:
            return None
        a, b = (sum(given[side] for given in both) for side in "ab")
        return float((b > a) - (b < a))

    def _ranks(self, value: list[Any]) -> bool:
        """A ranking: names in order, or {"value", "rank"} each. It goes under the name of none of the questions."""
        if len(value) < 2:
            return False
        if all(isinstance(one, Mapping) and "value" in one for one in value):
            by_rank: dict[Any, list[Any]] = {}
            for place, one in enumerate(value, 1):
                by_rank.setdefault(one.get("rank") or place, []).append(one["value"])
            return self.rank("ranking", [by_rank[rank] for rank in sorted(by_rank)])
        return all(isinstance(one, str) for one in value) and self.rank("ranking", [[one] for one in value])

    def _is_said(self, question: str, *about: str) -> bool:
        return mapped.words(question) in REASONS or self._place(*about, question) is not None

    def _place(self, *names: str) -> int | None:
        """Which response the first of these names that names one is about."""
        found = (self.sides.about(name)[0] for name in names)
        return next((place for place in found if place is not None), None)
