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
from decimal import Decimal
from typing import Any

from labelers import parsing, tools
from labelers.base import Answer, LabelerError, Outcome, Pair, Prices, Usage, Verdict
from labelers.chat import ODD, Chat, Completion, Message, Retries, garbage
from labelers.judge_design import Design, Step, latest
from labelers.judge_schema import extra, levels
from labelers.judge_verdict import verdict
from labelers.judge_words import FILES, MOST_FINDINGS, cut
from labelers.parsing import TIE, A, B

# Chat templates add role marks and default system turns that we cannot see.
TEMPLATE_TOKENS = 256
# Bytes of an earlier answer that are shown for each token it may have; a longer one is cut. English has about four.
BYTES_A_TOKEN = 4
# Of a thought that many characters are kept.
THOUGHT = 4000


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
        concurrency: int = 4,
        timeout: float = 60.0,
        api_key: str = "",
        addresses: Sequence[str] = (),
        prices: Prices | None = None,
        retries: Retries | None = None,
        **design: Any,
    ) -> None:
        """`design`: the fields of `Design`. Raises ValueError for what cannot be, TypeError for what there is not."""
        self.design = Design(**design)
        self.words = self.design.words()
        self.concurrency = concurrency
        self.timeout = timeout
        self.prices = prices or Prices()
        self.retries = retries or Retries()
        self.chat = Chat(base_url, model, api_key=api_key, timeout=timeout, addresses=addresses)

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
        return tuple(self.design.needs)

    def needs(self, pair: Pair, step: str) -> tuple[str, ...]:
        return self.design.needs[step]

    def is_needed(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> bool:
        return self.design.is_needed(step, earlier)

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
        size += len(str(extra(self.design, Step.of(step))))
        return self.prices.of(Usage(size + TEMPLATE_TOKENS, self.design.limit(Step.of(step))))

    def _longest(self, name: str) -> Answer:
        if name == "tools":
            return Answer(tools.report("x" * MOST_FINDINGS, "x" * MOST_FINDINGS), kind="text")
        return Answer("x" * (BYTES_A_TOKEN * self.design.limit(Step.of(name))), kind=Step.of(name).kind)

    def ask(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> Answer:
        """One call; "tools" runs programs of ours instead. Raises LabelerError."""
        if step == "tools":
            return self._check(pair)
        this = Step.of(step)
        completion = self.chat.complete(
            self.messages(pair, step, earlier),
            max_tokens=self.design.limit(this),
            temperature=self.design.temperature,
            top_logprobs=10 if self.design.logprobs and this.kind != "text" else 0,
            extra=extra(self.design, this),
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
        said = latest(this.head, earlier)
        text = cut(said.text, self._shown(this.head, earlier)) if said else ""
        return self.words.final(asked, text, scores=this.kind == "scores")

    def _asked(self, pair: Pair, this: Step, earlier: Mapping[str, Answer]) -> list[Message]:
        if this.kind == "text":
            return self.words.reference(pair) if this.head == "reference" else self.words.questions(pair)
        aids = {}
        for name in self.design.shared:
            said = latest(name, earlier)
            if said is not None:
                aids[name] = said.text if name == "tools" else cut(said.text, self._shown(name, earlier))
        build = self.words.scores if this.kind == "scores" else self.words.verdict
        return build(pair, this.order, aids)

    def _shown(self, head: str, earlier: Mapping[str, Answer]) -> int:
        """Bytes of the answer to `head` that may be shown: those of its latest step."""
        name = f"{head}.more" if f"{head}.more" in earlier else head
        return BYTES_A_TOKEN * self.design.limit(Step.of(name))

    def read(self, step: str, completion: Completion) -> Answer:
        """The answer that a completion of `step` is, in the pair's own order."""
        this = Step.of(step)
        said: dict[str, Any] = {}
        if this.kind == "verdict":
            chances, said["method"] = parsing.chances(completion, self.design.letters)
            if chances:
                said["p_b"] = chances[B if this.order == "ab" else A] + chances[TIE] / 2
                said["p_tie"] = chances[TIE] if self.design.tie else None
        elif this.kind == "scores":
            known = {each["key"]: levels(each) for each in self.design.attributes}
            found, said["method"] = parsing.ratings(completion, known, self.design.sides(this))
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
            a, b = (tools.findings(one.text, self.design.tools) for one in (pair.response_a, pair.response_b))
        except tools.SandboxRefused as refusal:
            raise LabelerError(str(refusal), permanent=True) from None
        return Answer(tools.report(a, b), kind="text", finish_reason="stop")

    def verdict(self, answers: Mapping[str, Answer]) -> Verdict:
        """The mean of both orders' probabilities; one order that was not understood leaves the pair unparsed."""
        return verdict(self.design, self.chat.model, answers)
