"""An LLM as pairwise judge: both orders, the probability of the verdict's token averaged before any threshold.

Why so: judging a pair in one order measures position as much as quality, and averaging decisions loses what the
distribution knows (research notes: AlpacaEval 2's parser; judgment distributions, EMNLP Findings 2025). Text is the
fallback where a server gives no log-probabilities.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

from labelers.base import (
    PROMPTS,
    Answer,
    LabelerError,
    Outcome,
    Pair,
    Prices,
    Usage,
    Verdict,
    texts_digest,
    verdict_of,
)
from labelers.chat import Chat, Completion, Message, Retries

A, B, TIE = "A", "B", "C"
# Chat templates add role marks and default system turns that we cannot see.
TEMPLATE_TOKENS = 256

_ALONE = re.compile(r"\W*(A|B|C|tie)\W*", re.IGNORECASE)
_BRACKETED = re.compile(r"\[\[\s*(A|B|C|tie)\s*\]\]", re.IGNORECASE)
_NAMED = re.compile(r"^\W*(?:final\s+)?verdict\W+(A|B|C|tie)\W*$", re.IGNORECASE | re.MULTILINE)
_AROUND = " \t\r\n[]()*\"'`.:▁Ġ"


class LLMJudge:
    """A judge over an OpenAI-compatible endpoint. Satisfies `labelers.base.Asking`.

    `question`, `guidelines`: the rubric, from the project's protocol and guidelines. `tie`: whether it may say tie.
    `logprobs`: ask for log-probabilities. `constrain`: let the server only generate a verdict letter (vLLM's
    `structured_outputs.choice`). `api_key`, `addresses` and `prices` are no part of the version.
    """

    CODE_VERSION = 1
    PROMPT_FILES = ("judge_system.txt", "judge_user.txt")

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        question: str = "Which response is better?",
        guidelines: str = "",
        tie: bool = True,
        max_tokens: int = 8,
        temperature: float = 0.0,
        logprobs: bool = True,
        constrain: bool = False,
        concurrency: int = 4,
        timeout: float = 60.0,
        api_key: str = "",
        addresses: Sequence[str] = (),
        prices: Prices | None = None,
        retries: Retries | None = None,
    ) -> None:
        self.question = question
        self.guidelines = guidelines
        self.tie = tie
        self.max_tokens = max_tokens
        self.temperature = temperature
        self.logprobs = logprobs
        self.constrain = constrain
        self.concurrency = concurrency
        self.timeout = timeout
        self.prices = prices or Prices()
        self.retries = retries or Retries()
        self.chat = Chat(base_url, model, api_key=api_key, timeout=timeout, addresses=addresses)
        self._system, self._user = ((PROMPTS / name).read_text() for name in self.PROMPT_FILES)

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        """All pairs in both orders, `concurrency` calls at once, with retries; failed calls cost what they cost."""
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
        return ("ab", "ba")

    def needs(self, pair: Pair, step: str) -> tuple[str, ...]:
        return ()

    def is_needed(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> bool:
        return True

    def delay(self, error: LabelerError, failures: int) -> float | None:
        return self.retries.delay(error, failures)

    def highest_price(self, pair: Pair, step: str) -> Decimal:
        """A token is at least one byte, so the messages' bytes bound the input."""
        size = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in self.messages(pair, step))
        return self.prices.of(Usage(size + TEMPLATE_TOKENS, self.max_tokens))

    def ask(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> Answer:
        """One call. Raises LabelerError."""
        completion = self.chat.complete(
            self.messages(pair, step),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
            top_logprobs=10 if self.logprobs else 0,
            extra={"structured_outputs": {"choice": list(self._letters)}} if self.constrain else None,
        )
        chances, method = self._chances(completion)
        p_b = p_tie = None
        if chances:
            p_tie = chances[TIE]
            p_b = chances[B if step == "ab" else A] + p_tie / 2
        return Answer(
            text=completion.text,
            p_b=p_b,
            p_tie=p_tie if self.tie else None,
            method=method,
            usage=completion.usage,
            cost=self.prices.of(completion.usage),
            latency_ms=completion.latency_ms,
            finish_reason=completion.finish_reason,
        )

    def verdict(self, answers: Mapping[str, Answer]) -> Verdict:
        """The mean of both orders' probabilities; one order that was not understood leaves the pair unparsed."""
        said = list(answers.values())
        usage = sum((answer.usage for answer in said), Usage())
        cost = sum((answer.cost for answer in said), Decimal(0))
        provenance = {
            "model": self.chat.model,
            "steps": {step: answer.stored() for step, answer in answers.items()},
        }
        p = [answer.p_b for answer in said if answer.p_b is not None]
        if len(p) < len(said):
            return Verdict(Outcome.UNPARSED, usage=usage, cost=cost, provenance=provenance)
        ties = [answer.p_tie for answer in said if answer.p_tie is not None]
        p_tie = sum(ties) / len(ties) if ties else None
        return verdict_of(sum(p) / len(p), p_tie, usage=usage, cost=cost, provenance=provenance)

    @property
    def _letters(self) -> tuple[str, ...]:
        return (A, B, TIE) if self.tie else (A, B)

    def messages(self, pair: Pair, order: str) -> list[Message]:
        """The static rubric first, so that servers can cache it; the texts as data between marks they cannot guess."""
        first, second = pair.response_a.text, pair.response_b.text
        if order == "ba":
            first, second = second, first
        mark = texts_digest(pair, "mark").hex()[:12]
        tie = f"\n{TIE} if neither is better" if self.tie else ""
        guidelines = self.guidelines.strip() or "(none)"
        system = _fill(self._system, question=self.question, guidelines=guidelines, mark="data", tie=tie)
        user = _fill(
            self._user,
            mark=f"data {mark}",
            context=_context(pair, mark),
            conversation="\n\n".join(f"{turn['role']}: {turn['content']}" for turn in pair.prompt.turns),
            first=first,
            second=second,
        )
        return [{"role": "system", "content": system}, {"role": "user", "content": user}]

    def _chances(self, completion: Completion) -> tuple[dict[str, float] | None, str]:
        said = parse(completion.text, self._letters)
        if said is None:
            return None, "text"
        for token in reversed(completion.tokens):
            if token.text.strip(_AROUND) == said:
                mass = dict.fromkeys((A, B, TIE), 0.0)
                for text, logprob in token.top.items():
                    letter = text.strip(_AROUND)
                    if letter in self._letters:
                        mass[letter] += math.exp(logprob)
                total = sum(mass.values())
                if total > 0:
                    return {letter: share / total for letter, share in mass.items()}, "logprobs"
        return {letter: float(letter == said) for letter in (A, B, TIE)}, "text"


def parse(text: str, letters: Sequence[str] = (A, B, TIE)) -> str | None:
    """The one verdict of an answer: a letter alone, [[letter]], or a line "Verdict: letter". Two of them are none."""
    alone = _ALONE.fullmatch(text)
    found = [alone[1]] if alone else _BRACKETED.findall(text) + _NAMED.findall(text)
    verdicts = {TIE if verdict.lower() == "tie" else verdict.upper() for verdict in found}
    if len(verdicts) != 1:
        return None
    (verdict,) = verdicts
    return verdict if verdict in letters else None


def _context(pair: Pair, mark: str) -> str:
    documents = [f"{document.get('title', '')}\n{document['text']}".strip() for document in pair.prompt.context or ()]
    if not documents:
        return ""
    inside = "\n\n".join(documents)
    return f"[data {mark} documents]\n{inside}\n[/data {mark} documents]\n\n"


def _fill(template: str, **values: str) -> str:
    """Each {name} once, in one pass: a value that contains {another} stays as it is."""
    return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], template)
