"""The labeler contract: what a labeler is given, what it answers, what it may raise.

Everything is in the pair's own order: `p_b` is the probability that response B is better, negative scores mean A.
A labeler whose calls cost money also satisfies `Asking`, so that its caller can reserve, store and reuse each call.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

PROMPTS = Path(__file__).parent / "prompts"
MILLION = Decimal(1_000_000)


class Prompt(Protocol):
    @property
    def turns(self) -> Any:
        """[{"role": "system" | "user" | "assistant", "content": str}, …]"""

    @property
    def context(self) -> Any:
        """[{"title": str, "text": str}, …]"""


class Response(Protocol):
    @property
    def text(self) -> str: ...


class Pair(Protocol):
    """What is judged; a `Comparison` row of the database satisfies it as it is."""

    @property
    def prompt(self) -> Prompt: ...

    @property
    def response_a(self) -> Response: ...

    @property
    def response_b(self) -> Response: ...


class Outcome(StrEnum):
    A = "a"
    B = "b"
    TIE = "tie"
    ABSTAIN = "abstain"
    # The labeler answered, but not with one verdict.
    UNPARSED = "unparsed"
    # No answer; `Verdict.provenance["error"]` says why.
    ERROR = "error"


@dataclass(frozen=True)
class Usage:
    """Tokens of one or several calls, as the server counted them."""

    input_tokens: int = 0
    output_tokens: int = 0

    def __add__(self, other: Usage) -> Usage:
        return Usage(self.input_tokens + other.input_tokens, self.output_tokens + other.output_tokens)


@dataclass(frozen=True)
class Verdict:
    """What a labeler says of one pair. `p_b` counts a tie half; `p_tie` is None where a tie cannot be said."""

    outcome: Outcome
    p_b: float | None = None
    p_tie: float | None = None
    # How sure it is of the side it names, in [0.5, 1].
    confidence: float | None = None
    scores: tuple[float, float] | None = None
    # {"helpfulness": {"a": 3, "b": 4}, …}
    attributes: dict[str, dict[str, float]] = field(default_factory=dict)
    # For A and for B: (start, end, value) in code points of the text, negative where it speaks against the response.
    per_token: tuple[tuple[tuple[int, int, float], ...], tuple[tuple[int, int, float], ...]] | None = None
    rationale: str = ""
    usage: Usage = Usage()
    cost: Decimal = Decimal(0)
    provenance: dict[str, Any] = field(default_factory=dict)

    @property
    def is_judgment(self) -> bool:
        return self.outcome not in (Outcome.UNPARSED, Outcome.ERROR)


def verdict_of(p_b: float, p_tie: float | None = None, **more: Any) -> Verdict:
    """The verdict that a probability stands for. Equal chances are a tie, never a coin flip or the else-branch."""
    tie = p_tie or 0.0
    a, b = 1 - p_b - tie / 2, p_b - tie / 2
    if tie > max(a, b) or abs(a - b) < 1e-9:
        return Verdict(Outcome.TIE, p_b=p_b, p_tie=p_tie, confidence=max(p_b, 1 - p_b), **more)
    outcome = Outcome.B if b > a else Outcome.A
    return Verdict(outcome, p_b=p_b, p_tie=p_tie, confidence=max(p_b, 1 - p_b), **more)


class Failure(StrEnum):
    """Why a call did not give what it was made for."""

    # The endpoint has too much to do: HTTP 429, 503, 529.
    BUSY = "busy"
    SERVER = "server"
    TIMEOUT = "timeout"
    CONNECTION = "connection"
    # Not a chat completion.
    GARBAGE = "garbage"
    # The endpoint will not do it: another HTTP status under 500.
    REFUSED = "refused"
    # An answer, but not the one that was asked for; or cut where it was as long as it may be.
    UNPARSED = "unparsed"
    TRUNCATED = "truncated"
    # An exception of ours that nobody foresaw.
    FAULT = "fault"
    OTHER = "other"


class LabelerError(Exception):
    """One call failed. `permanent`: the same call can never pass (a wrong key, a model that is not there).

    `may_have_cost` is True where the server may have worked for us without our seeing it (a timeout, cut answers);
    `retry_after` is what the server asked for, in seconds.
    """

    def __init__(
        self,
        reason: str,
        *,
        permanent: bool,
        may_have_cost: bool = False,
        retry_after: float | None = None,
        kind: Failure = Failure.OTHER,
    ) -> None:
        super().__init__(reason)
        self.kind = kind
        self.permanent = permanent
        self.may_have_cost = may_have_cost
        self.retry_after = retry_after


class Labeler(Protocol):
    """Pairs in, verdicts out, in the same order; one pair's failure stays its own (`Outcome.ERROR`)."""

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]: ...


@dataclass(frozen=True)
class Prices:
    """Unit prices, all in one currency."""

    per_call: Decimal = Decimal(0)
    per_million_input: Decimal = Decimal(0)
    per_million_output: Decimal = Decimal(0)

    def of(self, usage: Usage) -> Decimal:
        tokens = usage.input_tokens * self.per_million_input + usage.output_tokens * self.per_million_output
        return self.per_call + tokens / MILLION


@dataclass(frozen=True)
class Answer:
    """What one call said, in the pair's own order, as far as it is needed to never buy it again.

    `kind` says what was asked for: "verdict" (`p_b` is None when the text was not one verdict), "scores" (`attributes`
    are empty when it was not ratings), or "text" that later steps are shown or that is a response; "refused" is a text
    of no use, `finish_reason` says why. `method` is "logprobs" or "text"; `answered_by` the server's name of the model;
    `dropped` names what the endpoint did not know and was asked without.
    """

    text: str
    kind: str = "verdict"
    p_b: float | None = None
    p_tie: float | None = None
    method: str = "text"
    usage: Usage = Usage()
    cost: Decimal = Decimal(0)
    latency_ms: int = 0
    finish_reason: str = ""
    # {"helpfulness": {"a": 3.2, "b": 1.0}, …}; one side alone where a response was scored by itself.
    attributes: dict[str, dict[str, float]] = field(default_factory=dict)
    # What a reasoning model thought before it answered; nothing is ever parsed from it.
    reasoning: str = ""
    dropped: tuple[str, ...] = ()
    answered_by: str = ""

    @property
    def is_understood(self) -> bool:
        """Whether it is what was asked for. A text to be shown later always is."""
        understood = {"verdict": self.p_b is not None, "scores": bool(self.attributes), "refused": False}
        return understood.get(self.kind, True)

    def stored(self) -> dict[str, Any]:
        """A JSON object, empty fields left out; tokens, cost and latency have columns of their own."""
        kept = asdict(self)
        always = {key: kept[key] for key in ("text", "p_b", "p_tie", "method", "finish_reason")}
        more = {key: kept[key] for key in ("attributes", "reasoning", "dropped", "answered_by") if kept[key]}
        return always | more | ({"kind": self.kind} if self.kind != "verdict" else {})


class Calling(Protocol):
    """What asks call by call about subjects: pairs of responses, or prompts. Each call is a step with its own name.

    Of a pair that is "ab" (response A is shown first), "ba", "ab.2" (the second sample) or "questions" (what both
    orders are then shown); of a prompt as `labelers.generator` says.
    """

    @property
    def concurrency(self) -> int:
        """Calls at once."""

    @property
    def timeout(self) -> float:
        """Seconds after which a call has ended, one way or the other."""

    def steps(self, subject: Any, /) -> tuple[str, ...]:
        """The names of all calls that may be made for it, each after those it needs."""

    def needs(self, subject: Any, step: str, /) -> tuple[str, ...]:
        """The steps that come before `step` and whose answers it is given; () for most."""

    def is_needed(self, subject: Any, step: str, earlier: Mapping[str, Answer], /) -> bool:
        """Whether the answers of the steps it needs leave anything to ask; asked once they are there.

        A step that is not needed (an answer that was understood needs no repair) is not called, costs nothing, and is
        missing from `earlier` and from what `verdict` is given.
        """

    def highest_price(self, subject: Any, step: str, /) -> Decimal:
        """What the call can cost at most; known before any call is made, earlier answers taken at their longest."""

    def ask(self, subject: Any, step: str, earlier: Mapping[str, Answer], /) -> Answer:
        """Make one call, once, given the answers of the steps it needs. Raises LabelerError."""

    def delay(self, error: LabelerError, failures: int) -> float | None:
        """Seconds to wait before asking again after so many failures, None when it is of no use."""


@runtime_checkable
class Asking(Labeler, Calling, Protocol):
    """A labeler that asks call by call; what it asks about are pairs."""

    def verdict(self, answers: Mapping[str, Answer]) -> Verdict:
        """One verdict from the answers of all steps that were needed."""


def digest(kind: str, parameters: Mapping[str, Any], *, code: int, prompts: Sequence[str] = ()) -> str:
    """What names a labeler's version: sha256 over kind, parameters, prompt files and code version."""
    files = {name: hashlib.sha256((PROMPTS / name).read_bytes()).hexdigest() for name in prompts}
    whole = {"kind": kind, "parameters": dict(parameters), "prompts": files, "code": code}
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def texts_digest(pair: Pair, *more: str) -> bytes:
    """A digest of the pair that is the same when A and B change places: for draws that must mirror."""
    low, high = sorted((pair.response_a.text, pair.response_b.text))
    prompt = json.dumps(pair.prompt.turns, sort_keys=True)
    return hashlib.sha256("\0".join((*more, prompt, low, high)).encode("utf-8", "surrogatepass")).digest()
