"""What a judge would send, and what it makes of an answer that came another way than by a call: batch files, samples.

The judge itself is asked, with a transport under its client that takes the request's bytes and gives the answer that is
at hand. So both are what a call would have been, whatever the judge's variant. Nothing leaves.
"""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from labelers.base import Answer, LabelerError, Pair
from labelers.chat import Chat

if TYPE_CHECKING:
    import httpx2
    import openai


class _Unplugged(Chat):
    """A client whose requests end in `sent`; each is answered with `said`."""

    sent: bytes = b""
    said: Any = None

    @cached_property
    def _client(self) -> openai.OpenAI:
        import httpx2
        import openai

        transport = httpx2.MockTransport(self._answer)
        return openai.OpenAI(
            base_url=self.base_url,
            api_key="none",
            max_retries=0,
            http_client=openai.DefaultHttpxClient(transport=transport, trust_env=False),
        )

    def _answer(self, request: httpx2.Request) -> httpx2.Response:
        import httpx2

        self.sent = request.read()
        # As a server would send it: in ASCII, with whatever numbers and characters there are.
        content = json.dumps(self.said).encode()
        return httpx2.Response(200, content=content, headers={"Content-Type": "application/json"})


class Offline:
    """`judge` without its endpoint. Not safe to share between threads; the judge itself stays as it is."""

    def __init__(self, judge: Any) -> None:
        self.judge = copy.copy(judge)
        self.judge.chat = self._chat = _Unplugged(judge.chat.base_url, judge.chat.model)

    def request(self, pair: Pair, step: str, earlier: Mapping[str, Answer]) -> dict[str, Any]:
        """The JSON body of the call that `step` would make. Raises ValueError for a step that calls nobody."""
        self._chat.said, self._chat.sent = None, b""
        with contextlib.suppress(LabelerError):  # it gets no answer, as is meant to be
            self.judge.ask(pair, step, earlier)
        body: dict[str, Any] = json.loads(self._chat.sent)
        return body

    def answer(self, pair: Pair, step: str, earlier: Mapping[str, Answer], said: Any) -> Answer:
        """What `step` makes of the chat completion `said` (JSON). Raises LabelerError when it is none."""
        self._chat.said = said
        found: Answer = self.judge.ask(pair, step, earlier)
        return found
