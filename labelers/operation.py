"""What models are asked about a prompt that is no judgment: how every such call is priced, repeated and made.

`labelers.generator` and `labelers.tagger` say what is asked and what comes of it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal

from labelers import endpoint
from labelers.base import Answer, LabelerError, Prices, Prompt, Usage
from labelers.chat import Message, Retries

# Chat templates add role marks and default system turns that we cannot see: once, and around each turn.
TEMPLATE_TOKENS, TURN_TOKENS = 256, 16


class Operation(ABC):
    """The part of `labelers.base.Calling` that all operations share: no call needs the answer of another."""

    def __init__(
        self,
        base_url: str,
        *,
        max_tokens: int,
        concurrency: int,
        timeout: float,
        prices: Prices | None,
        retries: Retries | None,
    ) -> None:
        self.max_tokens = max_tokens
        self.concurrency = concurrency
        self.timeout = timeout
        self.prices = prices or Prices()
        self.retries = retries or Retries()
        self.place = endpoint.place(base_url)

    @abstractmethod
    def messages(self, prompt: Prompt) -> list[Message]:
        """What one call sends."""

    def needs(self, _prompt: Prompt, _step: str, /) -> tuple[str, ...]:
        return ()

    def is_needed(self, _prompt: Prompt, _step: str, _earlier: Mapping[str, Answer], /) -> bool:
        return True

    def delay(self, error: LabelerError, failures: int) -> float | None:
        return self.retries.delay(error, failures)

    def highest_price(self, prompt: Prompt, _step: str, /) -> Decimal:
        """A token is at least one byte, so the bytes of the messages, and of what goes beside them, bound the input."""
        messages = self.messages(prompt)
        size = sum(len(message["content"].encode("utf-8", "surrogatepass")) for message in messages)
        size += self.bytes_beside + TEMPLATE_TOKENS + TURN_TOKENS * len(messages)
        return self.prices.of(Usage(size, self.max_tokens))

    @property
    def bytes_beside(self) -> int:
        """What some servers put into the prompt beside the messages, e.g. a schema."""
        return 0
