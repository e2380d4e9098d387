"""An LLM as pairwise judge: both orders, the probability of the verdict's token averaged before any threshold.

Why so: judging a pair in one order measures position as much as quality, and averaging decisions loses what the
distribution knows (research notes: AlpacaEval 2's parser; judgment distributions, EMNLP Findings 2025). Text is the
fallback where a server gives no log-probabilities.

Each call is a step of its own, so that each is paid, stored and reused by itself:

    tools, reference, questions     what is worked out once and shown to every verdict
    ab, ba, ab.2, ba.2, …           verdicts, response A or B shown first; samples
    scores.ab, scores.ba            ratings of both responses in one call, or
    scores.a, scores.b              of each by itself
    <step>.more                     the same with more room, where an answer was cut
    <step>.final                    the repair: the end alone, where an answer was not understood
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from functools import cached_property
from typing import Any

from labelers import parsing, tools
from labelers.base import Answer, LabelerError, Outcome, Pair, Prices, Usage, Verdict, verdict_of
from labelers.chat import ODD, Chat, Completion, Message, Retries, garbage
from labelers.judge_words import FILES, MOST_FINDINGS, Words, cut
from labelers.parsing import TIE, A, B
from labelers.pointwise import sigmoid

VARIANTS = ("plain", "critique", "reference", "questions")
# Chat templates add role marks and default system turns that we cannot see.
TEMPLATE_TOKENS = 256
# An answer that was cut gets this many times the room, once.
ESCALATION = 4
# Bytes of an earlier answer that are shown for each token it may have; a longer one is cut. English has about four.
BYTES_A_TOKEN = 4
# Room for {"verdict": "A"}, and for one rating with its key, whatever the tokenizer.
JSON_TOKENS = 32
RATING_TOKENS = 24
# Of a thought that many characters are kept.
THOUGHT = 4000


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


class LLMJudge:
    """A judge over an OpenAI-compatible endpoint. Satisfies `labelers.base.Asking`.

    `question`, `guidelines`, `tie`: the rubric, from the project's protocol and guidelines; whether it may say tie.
    `variant`: what comes before the verdict. `structured`: "choice" lets the server generate a verdict letter only
    (vLLM's `structured_outputs`), "json" an object by a schema (`response_format`). `attributes`
    ([{"key", "label", "help", "levels": [[0, "…"], …], "weight"}]) are rated beside the verdict, or where `pairwise` is
    False instead of it, for both responses in one call or each alone (`attribute_calls`). `disagreement` is what it
    comes to when the orders name different sides: "mean" (of the probabilities), "tie" or "abstain". `repair`: ask
    again, once with more room and once for the end alone; None: where it writes more than a letter.
    `max_tokens`: of each answer; None: 8 for a letter, 1024 otherwise. `tools`: see `labelers.tools`.
    `api_key`, `addresses`, `prices` and `retries` are no part of the version.
    """

    CODE_VERSION = 2
    PROMPT_FILES = FILES

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        question: str = "Which response is better?",
        guidelines: str = "",
        tie: bool = True,
        variant: str = "plain",
        by_criterion: bool = False,
        attributes: Sequence[Mapping[str, Any]] = (),
        attribute_calls: str = "both",
        pairwise: bool = True,
        exemplars: Sequence[Mapping[str, str]] = (),
        exemplar_count: int = 2,
        tools: Sequence[str] = (),
        samples: int = 1,
        disagreement: str = "mean",
        structured: str = "off",
        constrain: bool = False,
        repair: bool | None = None,
        max_tokens: int | None = None,
        temperature: float = 0.0,
        logprobs: bool = True,
        concurrency: int = 4,
        timeout: float = 60.0,
        api_key: str = "",
        addresses: Sequence[str] = (),
        prices: Prices | None = None,
        retries: Retries | None = None,
    ) -> None:
        self.tie = tie
        self.variant = _one_of("variant", variant, VARIANTS)
        # Versions from before there was JSON say `constrain`.
        self.structured = _one_of("structured", "choice" if constrain else structured, ("off", "choice", "json"))
        self.disagreement = _one_of("disagreement", disagreement, ("mean", "tie", "abstain"))
        self.attribute_calls = _one_of("attribute_calls", attribute_calls, ("both", "each"))
        self.attributes = tuple(attributes)
        self.pairwise = pairwise
        if not pairwise and not attributes:
            raise ValueError("a judge without a verdict needs attributes to rate")
        if samples > 1 and not temperature:
            raise ValueError("at temperature 0 all samples are the same: give a temperature, or samples=1")
        self.tools = tuple(tools)
        self.samples = samples
        self.writes = variant == "critique" or structured == "json" or bool(attributes)
        self.repair = self.writes if repair is None else repair
        self.max_tokens = max_tokens or (8 if variant == "plain" else 1024)
        self.temperature = temperature
        self.logprobs = logprobs
        self.concurrency = concurrency
        self.timeout = timeout
        self.prices = prices or Prices()
        self.retries = retries or Retries()
        self.chat = Chat(base_url, model, api_key=api_key, timeout=timeout, addresses=addresses)
        self._shared = (*(["tools"] if tools else []), *([variant] if variant in ("reference", "questions") else []))
        self.words = Words(
            question=question,
            guidelines=guidelines,
            tie=tie,
            critique=variant == "critique",
            as_json=self.structured == "json",
            by_criterion=by_criterion,
            attributes=self.attributes,
            exemplars=exemplars,
            exemplar_count=exemplar_count,
            aids=[name for name in ("questions", "reference", "tools") if name in self._shared],
        )

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """All pairs, `concurrency` at once, with retries; failed calls cost what they cost."""
        with ThreadPoolExecutor(self.concurrency) as threads:
            return list(threads.map(self._judge_one, pairs))

    def _judge_one(self, pair: Pair) -> Verdict:
        answers: dict[str, Answer] = {}
        try:
            for step in self.steps(pair):
                earlier = {name: answers[name] for name in self.needs(pair, step) if name in answers}
                if self.is_needed(pair, step, earlier):
                    answers[step] = self._ask_patiently(pair, step, earlier)
        except LabelerError as error:
            return Verdict(Outcome.ERROR, provenance={"error": str(error)})
        return self.verdict(answers)

    def _ask_patiently(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> Answer:
        failures = 0
        while True:
            try:
                return self.ask(pair, step, earlier)
            except LabelerError as error:
                failures += 1
                delay = self.delay(error, failures)
                if delay is None:
                    raise
                time.sleep(delay)

    def steps(self, pair: Pair) -> tuple[str, ...]:
        return tuple(self._needs)

    def needs(self, pair: Pair, step: str) -> tuple[str, ...]:
        return self._needs[step]

    @cached_property
    def _needs(self) -> dict[str, tuple[str, ...]]:
        """All steps, with those whose answers each is given."""
        needs: dict[str, tuple[str, ...]] = {}
        for name in self._shared:
            needs[name] = ()
            # A reference has no end to repair, and what programs found is whole.
            if self.repair and name != "tools":
                needs[f"{name}.more"] = (name,)
        shared = tuple(needs)
        for head in self._heads:
            needs[head] = shared
            if self.repair:
                needs[f"{head}.more"] = (*shared, head)
                needs[f"{head}.final"] = (*shared, head, f"{head}.more")
        return needs

    @cached_property
    def _heads(self) -> tuple[str, ...]:
        orders = ("ab", "ba") if self.pairwise else ()
        verdicts = [f"{order}.{n}" if n > 1 else order for n in range(1, self.samples + 1) for order in orders]
        sides = ("ab", "ba") if self.attribute_calls == "both" else ("a", "b")
        return (*verdicts, *(f"scores.{side}" for side in sides if self.attributes))

    def is_needed(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> bool:
        this = Step.of(step)
        if not this.follow:
            return True
        said = _latest(this.head, earlier)
        if said is None:
            return False
        cut_short = said.finish_reason == "length"
        if this.follow == "more":
            return cut_short and (this.kind == "text" or not said.is_understood)
        return not said.is_understood

    def delay(self, error: LabelerError, failures: int) -> float | None:
        return self.retries.delay(error, failures)

    def highest_price(self, pair: Pair, step: str) -> Decimal:
        """A token is at least one byte, so the messages' bytes bound the input, and `max_tokens` the output.

        Earlier answers are shown up to `BYTES_A_TOKEN` bytes for each token they could have, and so counted here.
        """
        if step == "tools":
            return Decimal(0)
        longest = {name: self._longest(name) for name in self.needs(pair, step)}
        size = sum(
            len(message["content"].encode("utf-8", "surrogatepass")) for message in self.messages(pair, step, longest)
        )
        # Some servers put the schema into the prompt, which `str` bounds.
        size += len(str(self._extra(Step.of(step))))
        return self.prices.of(Usage(size + TEMPLATE_TOKENS, self._limit(Step.of(step))))

    def _longest(self, name: str) -> Answer:
        if name == "tools":
            return Answer(tools.report("x" * MOST_FINDINGS, "x" * MOST_FINDINGS), kind="text")
        return Answer("x" * (BYTES_A_TOKEN * self._limit(Step.of(name))), kind=Step.of(name).kind)

    def ask(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> Answer:
        """One call; "tools" runs programs of ours instead. Raises LabelerError."""
        if step == "tools":
            return self._check(pair)
        this = Step.of(step)
        completion = self.chat.complete(
            self.messages(pair, step, earlier),
            max_tokens=self._limit(this),
            temperature=self.temperature,
            top_logprobs=10 if self.logprobs and this.kind != "text" else 0,
            extra=self._extra(this),
        )
        try:
            return self.read(step, completion)
        except ODD as error:
            raise garbage(error) from None

    def messages(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> list[Message]:
        """What `step` asks, given the answers of the steps it needs."""
        this = Step.of(step)
        asked = self._asked(pair, this, earlier)
        if this.follow != "final":
            return asked
        said = _latest(this.head, earlier)
        text = cut(said.text, self._shown(this.head, earlier)) if said else ""
        return self.words.final(asked, text, scores=this.kind == "scores")

    def _asked(self, pair: Pair, this: Step, earlier: Mapping[str, Answer]) -> list[Message]:
        if this.kind == "text":
            return self.words.reference(pair) if this.head == "reference" else self.words.questions(pair)
        aids = {}
        for name in self._shared:
            said = _latest(name, earlier)
            if said is not None:
                aids[name] = said.text if name == "tools" else cut(said.text, self._shown(name, earlier))
        build = self.words.scores if this.kind == "scores" else self.words.verdict
        return build(pair, this.order, aids)

    def _shown(self, head: str, earlier: Mapping[str, Answer]) -> int:
        """Bytes of the answer to `head` that may be shown: those of its latest step."""
        name = f"{head}.more" if f"{head}.more" in earlier else head
        return BYTES_A_TOKEN * self._limit(Step.of(name))

    def _limit(self, this: Step) -> int:
        """`max_tokens` of a step."""
        most = self.max_tokens
        if this.kind == "scores":
            most = max(most, JSON_TOKENS + RATING_TOKENS * len(self.attributes) * len(self._sides(this)))
        elif this.kind == "verdict" and self.structured == "json":
            most = max(most, JSON_TOKENS)
        return most * ESCALATION if this.follow == "more" else most

    def _sides(self, this: Step) -> tuple[str, ...]:
        return (A, B) if this.order in ("ab", "ba") else ("",)

    def _extra(self, this: Step) -> dict[str, Any] | None:
        """Parameters of a structured answer."""
        if this.kind == "text" or self.structured == "off":
            return None
        a_letter = this.kind == "verdict" and (self.variant != "critique" or this.follow == "final")
        if self.structured == "choice":
            return {"structured_outputs": {"choice": list(self._letters)}} if a_letter else None
        if this.kind == "scores":
            return _schema("ratings", {each["key"]: self._rating(each, this) for each in self.attributes})
        if this.follow == "final":
            return None
        # Generated in this order: what is thought first cannot be an excuse.
        thought = {"critique": {"type": "string"}} if self.variant == "critique" else {}
        return _schema("verdict", {**thought, "verdict": {"type": "string", "enum": list(self._letters)}})

    def _rating(self, attribute: Mapping[str, Any], this: Step) -> dict[str, Any]:
        level = {"type": "integer", "enum": _levels(attribute)}
        sides = self._sides(this)
        return level if sides == ("",) else _object(dict.fromkeys(sides, level))

    def read(self, step: str, completion: Completion) -> Answer:
        """The answer that a completion of `step` is, in the pair's own order."""
        this = Step.of(step)
        said: dict[str, Any] = {}
        if this.kind == "verdict":
            chances, said["method"] = parsing.chances(completion, self._letters)
            if chances:
                said["p_b"] = chances[B if this.order == "ab" else A] + chances[TIE] / 2
                said["p_tie"] = chances[TIE] if self.tie else None
        elif this.kind == "scores":
            levels = {each["key"]: _levels(each) for each in self.attributes}
            found, said["method"] = parsing.ratings(completion, levels, self._sides(this))
            names = {"ab": {A: "a", B: "b"}, "ba": {A: "b", B: "a"}}.get(this.order, {"": this.order})
            said["attributes"] = {
                key: {names[side]: value for side, value in sides.items()} for key, sides in found.items()
            }
        return Answer(
            text=completion.text,
            kind=this.kind,
            usage=completion.usage,
            cost=self.prices.of(completion.usage),
            latency_ms=completion.latency_ms,
            finish_reason=completion.finish_reason,
            reasoning=completion.reasoning[:THOUGHT],
            dropped=completion.dropped,
            **said,
        )

    def _check(self, pair: Pair) -> Answer:
        try:
            a, b = (tools.findings(one.text, self.tools) for one in (pair.response_a, pair.response_b))
        except tools.SandboxRefused as refusal:
            raise LabelerError(str(refusal), permanent=True) from None
        return Answer(tools.report(a, b), kind="text", finish_reason="stop")

    def verdict(self, answers: Mapping[str, Answer]) -> Verdict:
        """The mean of both orders' probabilities; one order that was not understood leaves the pair unparsed."""
        known = {head: said for head in self._heads if (said := _latest(head, answers)) and said.is_understood}
        whole: dict[str, Any] = {
            "usage": sum((answer.usage for answer in answers.values()), Usage()),
            "cost": sum((answer.cost for answer in answers.values()), Decimal(0)),
            "provenance": self._provenance(answers),
        }
        attributes = self._attributes(known)
        if not self.pairwise:
            return self._by_ratings(attributes, whole)
        orders = {
            order: [said for head, said in known.items() if Step.of(head).order == order and said.kind == "verdict"]
            for order in ("ab", "ba")
        }
        if not all(orders.values()):
            return Verdict(Outcome.UNPARSED, **whole)
        whole |= {"attributes": attributes, "rationale": self._rationale(orders["ab"][0])}
        p = [_mean([said.p_b for said in each]) for each in orders.values()]
        p_tie = _mean([_mean([said.p_tie or 0.0 for said in each]) for each in orders.values()]) if self.tie else None
        if self.disagreement != "mean" and (p[0] - 0.5) * (p[1] - 0.5) < 0:
            whole["provenance"]["disagreement"] = {"p_b": _mean(p)}
            if self.disagreement == "abstain":
                return Verdict(Outcome.ABSTAIN, **whole)
            return Verdict(Outcome.TIE, p_b=0.5, p_tie=p_tie, confidence=0.5, **whole)
        return verdict_of(_mean(p), p_tie, **whole)

    def _provenance(self, answers: Mapping[str, Answer]) -> dict[str, Any]:
        dropped = sorted({name for answer in answers.values() for name in answer.dropped})
        steps = {step: answer.stored() for step, answer in answers.items()}
        return {"model": self.chat.model, "steps": steps} | ({"dropped": dropped} if dropped else {})

    def _rationale(self, said: Answer) -> str:
        """The critique of the order in which its A and B are the pair's."""
        return parsing.critique(said.text) if self.variant == "critique" else ""

    def _attributes(self, known: Mapping[str, Answer]) -> dict[str, dict[str, float]]:
        """The mean of both orders, or of each response's own call; empty when any of them is missing."""
        rated = [said.attributes for head, said in known.items() if said.kind == "scores"]
        if len(rated) < 2:
            return {}
        keys = [each["key"] for each in self.attributes]
        return {
            key: {side: _mean([each[key][side] for each in rated if side in each[key]]) for side in ("a", "b")}
            for key in keys
        }

    def _by_ratings(self, attributes: Mapping[str, Mapping[str, float]], whole: Mapping[str, Any]) -> Verdict:
        """The weighted mean of the ratings, whose difference is a log-odds until calibration has seen people."""
        if not attributes:
            return Verdict(Outcome.UNPARSED, **whole)
        weights = {each["key"]: float(each.get("weight", 1)) for each in self.attributes}
        total = sum(abs(weight) for weight in weights.values()) or 1.0
        a, b = (sum(weights[key] * attributes[key][side] for key in weights) / total for side in ("a", "b"))
        return verdict_of(
            0.5 if abs(b - a) < 1e-9 else sigmoid(b - a), scores=(a, b), attributes=dict(attributes), **whole
        )

    @property
    def _letters(self) -> tuple[str, ...]:
        return (A, B, TIE) if self.tie else (A, B)


def _latest(head: str, answers: Mapping[str, Answer]) -> Answer | None:
    """What the last of the calls about `head` said."""
    found = (answers.get(name) for name in (f"{head}.final", f"{head}.more", head))
    return next((answer for answer in found if answer is not None), None)


def _levels(attribute: Mapping[str, Any]) -> list[int]:
    return [int(value) for value, _label in attribute["levels"]]


def _schema(name: str, properties: Mapping[str, Any]) -> dict[str, Any]:
    schema = {"name": name, "strict": True, "schema": _object(properties)}
    return {"response_format": {"type": "json_schema", "json_schema": schema}}


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _mean(values: Sequence[Any]) -> float:
    return float(sum(values) / len(values))


def _one_of(name: str, value: str, known: Sequence[str]) -> str:
    if value not in known:
        raise ValueError(f"{name} is one of {', '.join(known)}, not {value!r}")
    return value
