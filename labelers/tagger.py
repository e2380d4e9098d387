"""Tags of a prompt, by a model behind an OpenAI-compatible endpoint: one call a prompt, all dimensions in one answer.

What the tags are is told from outside (`instructions`, `schema`, `read`), so that this knows how to ask and not what
for. Each call is one step, "tags", which its caller reserves, stores and reuses (`labelers.base.Calling`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from labelers.base import Answer, Prices, Prompt
from labelers.chat import Chat, Completion, Message, Retries
from labelers.operation import Operation

STEP = "tags"
# Characters of a conversation that are shown, from its beginning and from its end: what it asks stands in there.
HEAD, TAIL = 6000, 6000
# Of each document its title and so many characters, of at most so many documents: enough to see what it is.
DOCUMENT, DOCUMENTS = 500, 8


class Tagger(Operation):
    """Satisfies `labelers.base.Calling`; what it is asked about are prompts. It sees no response.

    `structured`: the answer is asked for by a JSON schema (`response_format`); an endpoint that knows none is asked
    again without, at no cost. `read(text)` gives what an answer says, None when it says nothing that can be read.
    `api_key`, `addresses` and `prices` are no part of the version.
    """

    CODE_VERSION = 1

    def __init__(
        self,
        base_url: str,
        model: str,
        *,
        instructions: str,
        schema: Mapping[str, Any],
        read: Callable[[str], Any],
        structured: bool = True,
        max_tokens: int = 512,
        concurrency: int = 4,
        timeout: float = 60.0,
        api_key: str = "",
        addresses: Sequence[str] = (),
        prices: Prices | None = None,
        retries: Retries | None = None,
    ) -> None:
        super().__init__(
            base_url, max_tokens=max_tokens, concurrency=concurrency, timeout=timeout, prices=prices, retries=retries
        )
        self.instructions = instructions
        self.schema = dict(schema)
        self.read = read
        self.structured = structured
        self.chat = Chat(base_url, model, api_key=api_key, timeout=timeout, addresses=addresses)

    def steps(self, _prompt: Prompt, /) -> tuple[str, ...]:
        return (STEP,)

    @property
    def bytes_beside(self) -> int:
        return len(json.dumps(self._format())) if self.structured else 0

    def ask(self, prompt: Prompt, _step: str, _earlier: Mapping[str, Answer], /) -> Answer:
        """One call. Raises LabelerError. An answer that cannot be read is paid as well, and is not asked for again."""
        completion = self.chat.complete(
            self.messages(prompt),
            max_tokens=self.max_tokens,
            extra={"response_format": self._format()} if self.structured else None,
        )
        fault = self._fault(completion)
        return Answer(
            text=completion.text,
            kind="refused" if fault else "text",
            finish_reason=fault or completion.finish_reason,
            usage=completion.usage,
            cost=self.prices.of(completion.usage),
            latency_ms=completion.latency_ms,
            answered_by=completion.answered_by,
            dropped=completion.dropped,
        )

    def _fault(self, completion: Completion) -> str:
        if self.read(completion.text) is not None:
            return ""
        return "length" if completion.finish_reason == "length" else "the answer is no JSON object with tags"

    def _format(self) -> dict[str, Any]:
        return {"type": "json_schema", "json_schema": {"name": STEP, "strict": True, "schema": self.schema}}

    def messages(self, prompt: Prompt) -> list[Message]:
        """The instructions, and the prompt between marks that it cannot contain: what it says is no instruction."""
        text = "\n\n".join([*_turns(prompt), *_documents(prompt)])
        if len(text) > HEAD + TAIL:
            text = f"{text[:HEAD]}\n[…]\n{text[-TAIL:]}"
        mark = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return [
            {"role": "system", "content": self.instructions},
            {"role": "user", "content": f"The prompt:\n<{mark}>\n{text}\n</{mark}>\nGive its JSON object."},
        ]


def _turns(prompt: Prompt) -> list[str]:
    return [f"[{turn['role']}]\n{turn['content']}" for turn in prompt.turns]


def _documents(prompt: Prompt) -> list[str]:
    shown = list(prompt.context or ())[:DOCUMENTS]
    return [f"[document] {document.get('title', '')}\n{document['text'][:DOCUMENT]}" for document in shown]
