"""Responses to a prompt, written by models behind an OpenAI-compatible endpoint: N of each model and temperature.

Each call is a step of its own, "1:0.7#2" (first model, temperature 0.7, second sample), so that its caller can reserve,
store and reuse it (`labelers.base.Calling`). More samples later are more steps: what was bought before stays bought.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from labelers.base import Answer, LabelerError, Prices, Prompt
from labelers.chat import Chat, Message, Retries
from labelers.operation import Operation

# How the server says that an answer was cut off at max_tokens.
CUT = "length"
_STEP = re.compile(r"(\d+):([0-9.e+-]+)#(\d+)")


@dataclass(frozen=True)
class Response:
    """One response as it was received, and where it comes from. `is_cut`: it ended at max_tokens, not by itself."""

    text: str
    model: str
    is_cut: bool
    provenance: dict[str, Any]


class Generator(Operation):
    """Models that answer prompts. Satisfies `labelers.base.Calling`; what it is asked about are prompts.

    `models` and `temperatures` are crossed, and each of these is asked `number` times, at temperature 0 once: it would
    say the same again. `system` goes in front of every prompt, before what the prompt's own system turn says. `seed` is
    sent as seed + sample number - 1; None sends none. `number`, `api_key`, `addresses` and `prices` are no part of the
    version.
    """

    CODE_VERSION = 1

    def __init__(
        self,
        base_url: str,
        models: Sequence[str],
        *,
        temperatures: Sequence[float] = (0.7,),
        max_tokens: int = 1024,
        system: str = "",
        seed: int | None = None,
        number: int = 1,
        concurrency: int = 4,
        timeout: float = 120.0,
        api_key: str = "",
        addresses: Sequence[str] = (),
        prices: Prices | None = None,
        retries: Retries | None = None,
    ) -> None:
        super().__init__(
            base_url, max_tokens=max_tokens, concurrency=concurrency, timeout=timeout, prices=prices, retries=retries
        )
        self.models = tuple(models)
        self.temperatures = tuple(temperatures)
        self.system = system
        self.seed = seed
        self.number = number
        self._chats = [
            Chat(base_url, model, api_key=api_key, timeout=timeout, addresses=addresses) for model in self.models
        ]

    def generate(self, prompts: Sequence[Prompt]) -> list[list[Response | LabelerError]]:
        """All responses to each prompt, `concurrency` calls at once, with retries; one call's failure stays its own."""
        wanted = [(prompt, step) for prompt in prompts for step in self.steps(prompt)]
        with ThreadPoolExecutor(self.concurrency) as threads:
            found = list(threads.map(lambda each: self._ask_patiently(*each), wanted))
        each = len(found) // max(len(prompts), 1)
        return [found[start : start + each] for start in range(0, len(found), each)] if each else []

    def _ask_patiently(self, prompt: Prompt, step: str) -> Response | LabelerError:
        failures = 0
        while True:
            try:
                answer = self.ask(prompt, step, {})
                if reason := self.refusal(answer):
                    return LabelerError(reason, permanent=True)
                return self.response(step, answer)
            except LabelerError as error:
                failures += 1
                delay = self.delay(error, failures)
                if delay is None:
                    return error
                time.sleep(delay)

    def steps(self, _prompt: Prompt, /) -> tuple[str, ...]:
        return tuple(
            f"{place}:{temperature:g}#{sample}"
            for place in range(1, len(self.models) + 1)
            for temperature in self.temperatures
            for sample in range(1, (self.number if temperature else 1) + 1)
        )

    def ask(self, prompt: Prompt, step: str, _earlier: Mapping[str, Answer], /) -> Answer:
        """One call. Raises LabelerError. An answer that cannot be a response is paid as well, and says why not."""
        place, temperature, seed = self._settings(step)
        completion = self._chats[place].complete(
            self.messages(prompt),
            max_tokens=self.max_tokens,
            temperature=temperature,
            extra=None if seed is None else {"seed": seed},
        )
        fault = fault_of(completion.text)
        return Answer(
            text="" if fault else completion.text,
            kind="refused" if fault else "text",
            finish_reason=fault or completion.finish_reason,
            usage=completion.usage,
            cost=self.prices.of(completion.usage),
            latency_ms=completion.latency_ms,
            answered_by=completion.answered_by,
        )

    def refusal(self, answer: Answer) -> str:
        """Why the answer is no response, "" when it is one."""
        return answer.finish_reason if answer.kind == "refused" else ""

    def response(self, step: str, answer: Answer) -> Response:
        """The response that an understood answer is. Its provenance says all that made it but the prompt."""
        place, temperature, seed = self._settings(step)
        model = self.models[place]
        provenance = {
            "model": model,
            "answered_by": answer.answered_by,
            "place": self.place,
            "temperature": temperature,
            "seed": seed,
            "max_tokens": self.max_tokens,
            "system_sha256": hashlib.sha256(self.system.encode()).hexdigest() if self.system else "",
            "finish_reason": answer.finish_reason,
            "is_cut": answer.finish_reason == CUT,
            "input_tokens": answer.usage.input_tokens,
            "output_tokens": answer.usage.output_tokens,
        }
        return Response(answer.text, model, answer.finish_reason == CUT, provenance)

    def _settings(self, step: str) -> tuple[int, float, int | None]:
        """(position in `models`, temperature, seed) of a step."""
        parts = _STEP.fullmatch(step)
        assert parts, step
        seed = None if self.seed is None else self.seed + int(parts[3]) - 1
        return int(parts[1]) - 1, float(parts[2]), seed

    def messages(self, prompt: Prompt) -> list[Message]:
        """The conversation so far, one system turn at most; the documents stand before the user's last words."""
        turns = [dict(turn) for turn in prompt.turns]
        own = [turn["content"] for turn in turns if turn["role"] == "system"]
        turns = [turn for turn in turns if turn["role"] != "system"]
        system = "\n\n".join(text for text in (self.system, *own) if text)
        last = max((place for place, turn in enumerate(turns) if turn["role"] == "user"), default=0)
        if documents := _documents(prompt):
            turns[last] = {**turns[last], "content": f"{documents}\n\n{turns[last]['content']}"}
        return [*([{"role": "system", "content": system}] if system else []), *turns]


def _documents(prompt: Prompt) -> str:
    return "\n\n".join(
        f"[document]\n{document.get('title', '')}\n{document['text']}\n[/document]" for document in prompt.context or ()
    )


def fault_of(text: str) -> str:
    """Why `text` cannot be kept as a response exactly as it was received; "" when it can."""
    if not text.strip():
        return "the answer is empty"
    if "\0" in text:
        return "the answer holds a NUL character, which the database cannot hold"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "the answer is not valid Unicode (a lone surrogate)"
    return ""
