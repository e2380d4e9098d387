"""One client for every OpenAI-compatible chat endpoint: one call, what came back, and which failures can pass.

Endpoints know different parameters. One that refuses a call because of a parameter is asked again without it, which
costs nothing because refused calls are not billed; what was left out is remembered for the process and told with every
answer, so that nobody takes a verdict without log-probabilities for one with them.

The openai client's own retries and redirects are off: each attempt must be reserved and recorded by the caller,
and a redirect could leave the endpoint that was checked. The environment's proxies are not asked either.
"""

from __future__ import annotations

import random
import re
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from http.client import responses
from typing import TYPE_CHECKING, Any, cast

from labelers.base import Failure, LabelerError, Usage
from labelers.keys import sendable

if TYPE_CHECKING:
    # Imported where it is used: a web process that only estimates a price must not pay for it.
    import openai

Message = Mapping[str, str]
# Bytes of an answer: more than any model writes, and little enough to be held by every call at once.
LONGEST = 32 * 2**20
# A count of tokens that a row can hold.
MOST_TOKENS = 2**31 - 1
# A logarithm of a probability may pass 0 by so much, in servers that round.
ROUNDING = 0.01
# What reading a stranger's answer raises when it is not what it should be.
ODD = (ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError)
# A server may ask for patience, but not for ever.
LONGEST_WAIT = 120.0
# Statuses by which an endpoint says that it has too much to do.
BUSY = (429, 503, 529)
# What an endpoint may say of its refusal: a word like invalid_api_key. All else is a stranger's text, or a page from
# inside the operator's network, and would stand on a lead's page.
_REASON = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{1,39}")
# Parameters that a call can do without, with the words by which refusals name them. `max_tokens` is never left out,
# because it bounds the price: it goes by its newer name where the endpoint asks for that.
_OPTIONAL = {
    "max_tokens": ("max_completion_tokens",),
    "response_format": ("response_format", "json_schema"),
    "structured_outputs": ("structured_outputs",),
    "logprobs": ("logprobs",),
    "temperature": ("temperature",),
}
_UNKNOWN = re.compile(r"support|unknown|unrecogni[sz]ed|unexpected|not (permitted|allowed|available)|extra|invalid")
# (base_url, model) → what it refused.
_refused_by: dict[tuple[str, str], frozenset[str]] = {}


@dataclass(frozen=True)
class Token:
    """One generated token and the log-probabilities of its `top_logprobs` rivals, itself included."""

    text: str
    top: dict[str, float]


@dataclass(frozen=True)
class Completion:
    text: str
    tokens: tuple[Token, ...]
    usage: Usage
    finish_reason: str
    latency_ms: int
    # What the server calls the model that answered, with its fingerprint of the revision where it tells one.
    answered_by: str = ""
    # What a reasoning model wrote before its answer.
    reasoning: str = ""
    # What was asked for and left out, because the endpoint refused it: "logprobs", "max_tokens" (sent by its new name).
    dropped: tuple[str, ...] = ()


@dataclass(frozen=True)
class Retries:
    """When to ask again: only what can pass, later each time, as the server says where it says so."""

    failures: int = 6
    first: float = 0.5
    longest: float = 30.0

    def delay(self, error: LabelerError, failures: int) -> float | None:
        """Seconds to wait after so many failures (1 = the first), None to give up."""
        if error.permanent or failures >= self.failures:
            return None
        if error.retry_after is not None:
            return min(error.retry_after, LONGEST_WAIT)
        # Jitter keeps the calls that failed together from coming back together.
        return min(self.first * 2 ** (failures - 1), self.longest) * random.uniform(0.5, 1)


class Chat:
    """A model behind `base_url` (ending in /v1). Safe to share between threads.

    A call has ended after `timeout` seconds, however slowly its answer comes in.

    `addresses` (IP, as checked) are connected to in this order instead of what the name says at that moment; empty =
    by name.
    """

    def __init__(
        self, base_url: str, model: str, *, api_key: str = "", timeout: float = 60.0, addresses: Sequence[str] = ()
    ) -> None:
        self.base_url = base_url
        self.model = model
        self.timeout = timeout
        self.addresses = tuple(addresses)
        self._secret = sendable(api_key)

    @cached_property
    def _client(self) -> openai.OpenAI:
        import openai

        from labelers.transport import Transport

        return openai.OpenAI(
            base_url=self.base_url,
            api_key=self._secret or "none",
            max_retries=0,
            timeout=self.timeout,
            http_client=openai.DefaultHttpxClient(
                follow_redirects=False,
                trust_env=False,
                transport=Transport(self.addresses, most=LONGEST, verify=self.base_url.lower().startswith("https:")),
            ),
        )

    def complete(
        self,
        messages: Sequence[Message],
        *,
        max_tokens: int,
        temperature: float = 0.0,
        top_logprobs: int = 0,
        extra: Mapping[str, Any] | None = None,
    ) -> Completion:
        """Make one call. Raises LabelerError; the key never appears in its message."""
        import openai

        from labelers.transport import TooLong

        options: dict[str, Any] = {"max_tokens": max_tokens, "temperature": temperature, **(extra or {})}
        if top_logprobs:
            options |= {"logprobs": True, "top_logprobs": top_logprobs}
        create = self._client.chat.completions.create
        started = time.monotonic()
        place = (self.base_url, self.model)
        refused = _refused_by.get(place, frozenset())
        try:
            while True:
                try:
                    answer = create(
                        model=self.model,
                        messages=cast(Any, messages),
                        extra_body=_without(options, refused),
                        # What is left: a server that refuses one parameter after the other gets no more.
                        timeout=max(self.timeout - (time.monotonic() - started), 0.001),
                    )
                    break
                except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                    name = _named(error, options.keys() - refused)
                    if name is None:
                        raise
                    refused |= {name}
        except openai.APITimeoutError:
            raise LabelerError("no answer in time", permanent=False, may_have_cost=True, kind=Failure.TIMEOUT) from None
        except openai.APIConnectionError as error:
            # Its name and never its words: those of a header that cannot be sent quote the key.
            reason = f"no connection ({type(error.__cause__ or error).__name__})"
            raise LabelerError(
                reason, permanent=False, may_have_cost=_was_sent(error), kind=Failure.CONNECTION
            ) from None
        except openai.APIStatusError as error:
            raise self._refused(error) from None
        except (openai.APIError, TooLong, *ODD) as error:
            raise garbage(error) from None
        # Learnt only once it helped: a refusal may name what it was not about.
        _refused_by[place] = _refused_by.get(place, frozenset()) | refused
        dropped = tuple(sorted(refused & options.keys()))
        return self._completion(answer, int((time.monotonic() - started) * 1000), dropped)

    def _completion(self, answer: Any, latency_ms: int, dropped: tuple[str, ...]) -> Completion:
        try:
            choice = answer.choices[0]
            text, reasoning = _apart(choice.message)
            tokens = tuple(
                Token(_text(token.token), {_text(rival.token): _logprob(rival.logprob) for rival in token.top_logprobs})
                for token in (choice.logprobs.content or () if choice.logprobs else ())
            )
            usage = Usage(_count(answer.usage.prompt_tokens), _count(answer.usage.completion_tokens))
            names = (getattr(answer, name, None) for name in ("model", "system_fingerprint"))
            told = " ".join(name for name in names if isinstance(name, str) and name.isprintable())[:200]
            finish_reason = str(choice.finish_reason or "")[:40]
            return Completion(text, tokens, usage, finish_reason, latency_ms, told, reasoning, dropped)
        except ODD as error:
            raise garbage(error) from None

    def _refused(self, error: openai.APIStatusError) -> LabelerError:
        code = error.status_code
        can_pass = code in (408, 409, 429) or code >= 500
        return LabelerError(
            self._clean(_status(error)),
            permanent=not can_pass,
            retry_after=_retry_after(error.response.headers.get("retry-after")),
            kind=Failure.BUSY if code in BUSY else Failure.SERVER if code >= 500 else Failure.REFUSED,
        )

    def _clean(self, text: str) -> str:
        return text.replace(self._secret, "[key]") if self._secret else text


def garbage(error: BaseException | None) -> LabelerError:
    """For an answer that cannot be read: it may have cost what it would have cost, and the next may be better."""
    reason = f"the answer was not a chat completion ({type(error).__name__})"
    return LabelerError(reason, permanent=False, may_have_cost=True, kind=Failure.GARBAGE)


def _without(options: Mapping[str, Any], refused: frozenset[str]) -> dict[str, Any]:
    """The options an endpoint knows."""
    known = {name: value for name, value in options.items() if name not in refused}
    if "max_tokens" in refused:
        known["max_completion_tokens"] = options["max_tokens"]
    if "logprobs" in refused:
        known.pop("top_logprobs", None)
    return known


def _named(error: openai.APIStatusError, sent: Collection[str]) -> str | None:
    """The optional parameter a refusal is about; None where it names none, or is no refusal of a parameter."""
    said = str(error.body if error.body is not None else "").lower()[:4000]
    if not _UNKNOWN.search(said):
        return None
    named = (name for name, words in _OPTIONAL.items() if name in sent and any(word in said for word in words))
    return next(named, None)


def _count(value: Any) -> int:
    """Tokens, as they can be stored and paid."""
    count = int(value)
    if not 0 <= count <= MOST_TOKENS:
        raise ValueError("no count of tokens")
    return count


def _logprob(value: Any) -> float:
    """-inf is one: what a server was not allowed to say has no chance."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value <= ROUNDING:
        raise ValueError("no logarithm of a probability")
    return float(value)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("no text")
    return value


def _apart(message: Any) -> tuple[str, str]:
    """What a model answered and what it thought before: fields of their own, or marks in the text."""
    thoughts = (getattr(message, name, None) for name in ("reasoning_content", "reasoning"))
    reasoning = next((each for each in thoughts if isinstance(each, str)), "")
    text = str(message.content or "")
    thought, ended, rest = text.partition("</think>")
    if not reasoning and ended:
        return rest.lstrip(), thought.lstrip().removeprefix("<think>").strip()
    if not reasoning and text.lstrip().startswith("<think>"):
        return "", text.strip().removeprefix("<think>").strip()
    return text, reasoning


def _status(error: openai.APIStatusError) -> str:
    """The status in words, with the endpoint's own word for it where it gives one; never its body."""
    status = f"HTTP {error.status_code} {responses.get(error.status_code, '')}".rstrip()
    words = (word for word in (error.code, error.type) if isinstance(word, str))
    reason = next((word for word in words if _REASON.fullmatch(word)), "")
    return f"{status} ({reason})" if reason else status


def _was_sent(error: openai.APIConnectionError) -> bool:
    """Whether the request may have reached the server: only a connection that was never made surely costs nothing."""
    return "Connect" not in type(error.__cause__).__name__


def _retry_after(header: str | None) -> float | None:
    """Seconds of a Retry-After header; its date form is left to our own patience."""
    try:
        return max(float(header), 0.0) if header else None
    except ValueError:
        return None
