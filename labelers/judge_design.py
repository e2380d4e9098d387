"""How a judge asks: what a version of it says, the steps that makes, and how much each may be answered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from labelers.base import Answer
from labelers.judge_words import Words
from labelers.parsing import TIE, A, B

VARIANTS = ("plain", "critique", "reference", "questions")
# An answer that was cut gets this many times the room, once.
ESCALATION = 4
# Room for {"verdict": "A"}, and for one rating with its key, whatever the tokenizer.
JSON_TOKENS = 32
RATING_TOKENS = 24


@dataclass(frozen=True)
class Step:
    """A step's name, taken apart: "ab.2.more" is the second sample with A first, asked again with more room."""

    name: str
    head: str
    follow: str

    @classmethod
    def of(cls, name: str) -> Step:
        head, _dot, tail = name.rpartition(".")
        return cls(name, head, tail) if tail in ("more", "final") else cls(name, name, "")

    @property
    def kind(self) -> str:
        """As in `Answer.kind`."""
        first = self.head.split(".")[0]
        return "scores" if first == "scores" else "verdict" if first in ("ab", "ba") else "text"

    @property
    def order(self) -> str:
        return self.head.split(".")[1 if self.kind == "scores" else 0]


@dataclass(frozen=True, kw_only=True)
class Design:
    """What of a judge's parameters decides what it asks; `LLMJudge` says what each means."""

    question: str = "Which response is better?"
    guidelines: str = ""
    tie: bool = True
    variant: str = "plain"
    by_criterion: bool = False
    attributes: Sequence[Mapping[str, Any]] = ()
    attribute_calls: str = "both"
    pairwise: bool = True
    exemplars: Sequence[Mapping[str, str]] = ()
    exemplar_count: int = 2
    tools: Sequence[str] = ()
    samples: int = 1
    disagreement: str = "mean"
    structured: str = "off"
    constrain: bool = False
    repair: bool | None = None
    max_tokens: int | None = None
    temperature: float = 0.0
    logprobs: bool = True

    def __post_init__(self) -> None:
        """Raises ValueError, in words, for what cannot be."""
        _one_of("variant", self.variant, VARIANTS)
        _one_of("structured", self.structured, ("off", "choice", "json"))
        _one_of("disagreement", self.disagreement, ("mean", "tie", "abstain"))
        _one_of("attribute_calls", self.attribute_calls, ("both", "each"))
        if not self.pairwise and not self.attributes:
            raise ValueError("a judge without a verdict needs attributes to rate")
        if self.samples > 1 and not self.temperature:
            raise ValueError("at temperature 0 all samples are the same: give a temperature, or samples=1")

    @property
    def form(self) -> str:
        """`structured`; versions from before there was JSON say `constrain`."""
        return "choice" if self.constrain else self.structured

    @property
    def repairs(self) -> bool:
        writes = self.variant == "critique" or self.form == "json" or bool(self.attributes)
        return writes if self.repair is None else self.repair

    @property
    def letters(self) -> tuple[str, ...]:
        return (A, B, TIE) if self.tie else (A, B)

    @cached_property
    def shared(self) -> tuple[str, ...]:
        """What is worked out once and shown to every verdict."""
        first = ("tools",) if self.tools else ()
        return (*first, *((self.variant,) if self.variant in ("reference", "questions") else ()))

    def words(self) -> Words:
        return Words(
            question=self.question,
            guidelines=self.guidelines,
            tie=self.tie,
            critique=self.variant == "critique",
            as_json=self.form == "json",
            by_criterion=self.by_criterion,
            attributes=self.attributes,
            exemplars=self.exemplars,
            exemplar_count=self.exemplar_count,
            aids=[name for name in ("questions", "reference", "tools") if name in self.shared],
        )

    @cached_property
    def needs(self) -> dict[str, tuple[str, ...]]:
        """All steps, with those whose answers each is given."""
        needs: dict[str, tuple[str, ...]] = {}
        for name in self.shared:
            needs[name] = ()
            # A reference has no end to repair, and what programs found is whole.
            if self.repairs and name != "tools":
                needs[f"{name}.more"] = (name,)
        shared = tuple(needs)
        for head in self.heads:
            needs[head] = shared
            if self.repairs:
                needs[f"{head}.more"] = (*shared, head)
                needs[f"{head}.final"] = (*shared, head, f"{head}.more")
        return needs

    @cached_property
    def heads(self) -> tuple[str, ...]:
        orders = ("ab", "ba") if self.pairwise else ()
        verdicts = [f"{order}.{n}" if n > 1 else order for n in range(1, self.samples + 1) for order in orders]
        sides = ("ab", "ba") if self.attribute_calls == "both" else ("a", "b")
        return (*verdicts, *(f"scores.{side}" for side in sides if self.attributes))

    def is_needed(self, step: str, earlier: Mapping[str, Answer]) -> bool:
        """Whether `step` is to be asked, given the answers of those it needs."""
        this = Step.of(step)
        if not this.follow:
            return True
        said = latest(this.head, earlier)
        if said is None:
            return False
        cut_short = said.finish_reason == "length"
        if this.follow == "more":
            return cut_short and (this.kind == "text" or not said.is_understood)
        return not said.is_understood

    def limit(self, this: Step) -> int:
        """`max_tokens` of a step."""
        most = self.max_tokens or (8 if self.variant == "plain" else 1024)
        if this.kind == "scores":
            most = max(most, JSON_TOKENS + RATING_TOKENS * len(self.attributes) * len(self.sides(this)))
        elif this.kind == "verdict" and self.form == "json":
            most = max(most, JSON_TOKENS)
        return most * ESCALATION if this.follow == "more" else most

    def sides(self, this: Step) -> tuple[str, ...]:
        return (A, B) if this.order in ("ab", "ba") else ("",)


def latest(head: str, answers: Mapping[str, Answer]) -> Answer | None:
    """What the last of the calls about `head` said."""
    found = (answers.get(name) for name in (f"{head}.final", f"{head}.more", head))
    return next((answer for answer in found if answer is not None), None)


def _one_of(name: str, value: str, known: Sequence[str]) -> None:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
