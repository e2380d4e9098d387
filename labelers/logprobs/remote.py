"""The same engine with the forward pass on another machine: vLLM or SGLang over HTTP.

    engine = Remote.at(Source("org/model", revision), "vllm", "http://gpu-1:8000")
    score, = engine.score([engine.texts.tokens(turns, "Because.")])

Templates, tokens, cache and labelers stay here and are those of `Engine`; token ids are sent, never text, so that no
server's own template comes between. What a server can do is asked of it once, before the first score.
"""

from __future__ import annotations

import functools
import itertools
import math
import secrets
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from labelers.base import LabelerError
from labelers.chat import Retries
from labelers.logprobs import models
from labelers.logprobs.cache import Cache, Key, Score
from labelers.logprobs.engine import Engine, UnfitModel
from labelers.logprobs.http import Http, Refused
from labelers.logprobs.packing import Tokens
from labelers.logprobs.sglang import SGLang
from labelers.logprobs.texts import Cut, Texts, Unscorable
from labelers.logprobs.vllm import VLLM, Unusable

# Words, digits, an accent and a character of several bytes: tokenizers that agree on these are the same or as good as.
PROBE = "Why is the sky blue? 17 + 25 = 42; naïve ☃\n\nBecause short waves scatter more."
# Scores of one text that differ by more than this, in nats a token, depend on what was asked before it.
ORDER = 0.02


class OrderMatters(UserWarning):
    """The server's scores depend on the order of requests."""


class Dialect(Protocol):
    """What differs between servers; `vllm` and `sglang` say it."""

    name: str
    ways: tuple[str, ...]
    without_cache: str

    def request(self, way: str, model: str, tokens: Tokens) -> tuple[str, dict[str, Any]]: ...
    def scores(self, way: str, answer: Any, tokens: Tokens) -> list[float]: ...
    def text_request(self, model: str, text: str) -> tuple[str, dict[str, Any]]: ...
    def text_ids(self, answer: Any) -> list[int]: ...


DIALECTS: dict[str, Callable[[], Dialect]] = {"vllm": VLLM, "sglang": SGLang}


@dataclass(kw_only=True)
class Remote(Engine):
    """`served`: the model's name at the server. `concurrency`: requests at once. `cautions`: what the self-test saw."""

    dialect: Dialect
    http: Http
    served: str
    # What the server computes in, as whoever started it says; a part of every score's name.
    precision: str = ""
    concurrency: int = 8
    retries: Retries = field(default_factory=Retries)
    cautions: list[str] = field(default_factory=list)
    sleep: Callable[[float], None] = time.sleep
    _way: str = ""
    _limit: int = 0

    @classmethod
    def at(
        cls,
        source: models.Source,
        backend: str,
        base_url: str,
        *,
        model: str = "",
        tokenizer: str = "",
        limit: int = 0,
        cut: Cut = "refuse",
        api_key: str = "",
        timeout: float = 300.0,
        addresses: tuple[str, ...] = (),
        **options: Any,
    ) -> Remote:
        """`source` names the weights the server was started with, exactly; their tokenizer is read now.

        `model`: what the server calls them, where that is not their name. `tokenizer`: a folder to read it from
        instead. `limit`: tokens a text may have, 0 for what the server says.
        """
        if backend not in DIALECTS:
            raise ValueError(f"no such backend: {backend!r}; there are transformers, {', '.join(DIALECTS)}")
        _refuse_without_weights(source)
        read = models.tokenizer(models.Source(tokenizer) if tokenizer else source)
        texts = Texts(read, source.template or None, limit=limit, cut=cut)
        http = Http(base_url, api_key=api_key, timeout=timeout, addresses=addresses)
        return cls(
            models.Loaded(None, source.identity()),
            texts,
            dialect=DIALECTS[backend](),
            http=http,
            served=model or source.name,
            precision=source.precision,
            **options,
        )

    @property
    def options(self) -> str:
        """Another server's kernels round otherwise, so its scores are not taken for our own."""
        return f"{self.dialect.name} {self.precision or 'as served'} t={self.temperature:g}"

    def _computed(self, todo: list[tuple[Key, Tokens]], per_token: bool) -> Iterator[dict[Key, Score]]:
        """Each score as soon as it is there. After a failure nothing new is asked, what is under way is kept."""
        if not todo:
            return
        self._agree()
        self._refuse_long(todo)
        # Responses of one context follow each other: servers that share prefixes rightly gain by it.
        ordered = iter(sorted(todo, key=lambda each: each[1].context))
        failures: list[LabelerError] = []
        begun = time.perf_counter()
        with ThreadPoolExecutor(self.concurrency) as pool:
            for done in self._flow(pool, ordered, failures):
                fresh = {name: _score(values, per_token) for name, values in done}
                self.effort.computed += len(fresh)
                self.effort.tokens += sum(score.tokens for score in fresh.values())
                self.effort.seconds += time.perf_counter() - begun
                yield fresh
                begun = time.perf_counter()
        if failures:
            raise failures[0]

    def _flow(
        self, pool: ThreadPoolExecutor, ordered: Iterator[tuple[Key, Tokens]], failures: list[LabelerError]
    ) -> Iterator[list[tuple[Key, list[float]]]]:
        """What has come back, again and again, with at most `concurrency` requests under way."""
        under_way: dict[Future[list[float]], Key] = {}
        while True:
            for name, tokens in itertools.islice(ordered, 0 if failures else self.concurrency - len(under_way)):
                under_way[pool.submit(self._asked, self._way, tokens)] = name
            if not under_way:
                return
            done: list[tuple[Key, list[float]]] = []
            for future in wait(under_way, return_when=FIRST_COMPLETED).done:
                name = under_way.pop(future)
                try:
                    done.append((name, future.result()))
                except LabelerError as failure:
                    failures.append(failure)
            if done:
                yield done

    def _asked(self, way: str, tokens: Tokens) -> list[float]:
        return self._patiently(lambda: self._once(way, tokens))

    def _patiently(self, call: Callable[[], Any], final: Callable[[LabelerError], bool] = lambda _error: False) -> Any:
        """`call`, again where that can help and `final` does not say that it cannot."""
        for failures in itertools.count(1):
            try:
                return call()
            except LabelerError as error:
                delay = None if final(error) else self.retries.delay(error, failures)
                if delay is None:
                    raise
                self.sleep(delay)

    def _once(self, way: str, tokens: Tokens) -> list[float]:
        path, body = self.dialect.request(way, self.served, tokens)
        return self.dialect.scores(way, self.http.post(path, body), tokens)

    # What the server is and can do, asked once

    def _agree(self) -> None:
        if self._way:
            return
        if self.temperature != 1:
            raise UnfitModel(f"{self.dialect.name} gives log-probabilities at temperature 1 only")
        self._limit = self._served_limit()
        self._compare_tokens()
        way = self._best_way()
        self._shuffle(way)
        self._way = way

    def _served_limit(self) -> int:
        """The longest text in tokens, 0 where the server does not say. Raises UnfitModel for a model it does not have.

        One less than its context: some token has to be generated.
        """
        try:
            listed = self._patiently(lambda: self.http.get("/v1/models"))
        except Refused as refusal:
            if refusal.status == 404:
                return 0
            raise
        cards = listed.get("data") if isinstance(listed, dict) else None
        for card in cards if isinstance(cards, list) else []:
            if isinstance(card, dict) and self.served in (card.get("id"), card.get("root")):
                self.served = str(card.get("id"))
                return max(int(card.get("max_model_len") or 0) - 1, 0)
        raise UnfitModel(
            f"{self.http.place} has no model called {self.served!r} (its /v1/models lists what it has);"
            " if it serves these weights under another name, give that name as `model`"
        )

    def _compare_tokens(self) -> None:
        """Raises UnfitModel where the server's tokenizer is another one. Servers without /tokenize are believed."""
        path, body = self.dialect.text_request(self.served, PROBE)
        try:
            theirs = self.dialect.text_ids(self._patiently(lambda: self.http.post(path, body)))
        except Refused as refusal:
            if refusal.status in (404, 405):
                return self._note(f"{self.http.place} has no {path}: its tokenizer was not compared with ours")
            raise
        ours = list(self.texts.tokenizer(PROBE, add_special_tokens=False).input_ids)
        if theirs != ours:
            raise UnfitModel(
                f"{self.http.place} makes other tokens of a text than {self.identity} does: {theirs[:8]}… for"
                f" {ours[:8]}…. Name the model and revision, or the tokenizer, that the server was started with"
            )
        return None

    def _best_way(self) -> str:
        """The first way of asking that gives scores. Raises UnfitModel where none does, with each way's reason."""
        tokens, reasons = self._probes(1)[0], []
        for way in self.dialect.ways:
            try:
                self._patiently(functools.partial(self._once, way, tokens), final=_says_no)
                return way
            except LabelerError as problem:
                if not _says_no(problem):
                    raise
                reasons.append(f"{way}: {problem}")
        raise UnfitModel(f"{self.http.place} gives no log-probabilities of a prompt's tokens ({'; '.join(reasons)})")

    def _shuffle(self, way: str) -> None:
        """Texts with a common beginning, asked in one order and in the other: prefix caches that lie show here."""
        texts = self._probes(3)
        there = [self._asked(way, tokens) for tokens in texts]
        back = [self._asked(way, tokens) for tokens in reversed(texts)][::-1]
        pairs = ((a, b) for one, other in zip(there, back, strict=True) for a, b in zip(one, other, strict=True))
        apart = max(abs(a - b) for a, b in pairs)
        if apart > ORDER:
            self._note(
                f"scores of {self.http.place} change with the order of requests, by up to {apart:.2g} nats a token:"
                f" start it with {self.dialect.without_cache}"
            )

    def _probes(self, count: int) -> list[Tokens]:
        """Texts that share all but the end of a context of a hundred tokens or so, as far as our own limit allows.

        They begin with what was never sent before: a beginning that is in the server's cache already would hide
        what the cache does.
        """
        for repeats in (3, 1):
            shared = " ".join([secrets.token_hex(8), *[PROBE] * repeats])
            try:
                return [
                    self.texts.tokens([{"role": "user", "content": f"{shared} {number % 2}"}], f"{number} {PROBE}")
                    for number in range(count)
                ]
            except Unscorable as problem:
                reason = problem
        raise UnfitModel(f"not even a short text can be scored: {reason}")

    def _refuse_long(self, todo: list[tuple[Key, Tokens]]) -> None:
        longest = max(len(tokens.context) + len(tokens.response) for _key, tokens in todo)
        if self._limit and longest > self._limit:
            raise UnfitModel(
                f"a text of {longest} tokens is longer than the {self._limit} that {self.http.place} reads:"
                f" start it with a longer context, or give the model `limit`: {self._limit}"
            )

    def _note(self, caution: str) -> None:
        self.cautions.append(caution)
        warnings.warn(caution, OrderMatters if "order" in caution else UserWarning, stacklevel=2)


def _score(values: list[float], per_token: bool) -> Score:
    return Score(math.fsum(values), len(values), tuple(values) if per_token else None)


def _says_no(problem: LabelerError) -> bool:
    """Whether a server does not know a way of asking. An internal error is such an answer too; a busy one is not."""
    busy = isinstance(problem, Refused) and problem.status in (429, 503)
    return isinstance(problem, Refused | Unusable) and not busy


def _refuse_without_weights(source: models.Source) -> None:
    folder = Path(source.name)
    if folder.is_dir() and not any(folder.glob("*.safetensors")):
        raise ValueError(
            f"{source.name} holds no weights, so it does not say which ones the server has: give their repository and"
            " commit as `name` and `revision`, and this folder as `tokenizer`"
        )


def named(
    model: Mapping[str, Any], *, cache: Cache | None = None, cut: Cut = "refuse", temperature: float = 1.0
) -> Engine:
    """The engine a mapping names: {"name", "revision", …} of `Source`, and where it runs.

    `backend`: "transformers" (here; the default), "vllm" or "sglang" with `base_url` and the keywords of `Remote.at`.
    """
    given: dict[str, Any] = {**model}
    backend = given.pop("backend", "transformers")
    source = {key: given.pop(key) for key in list(given) if key in models.Source.__dataclass_fields__}
    options: dict[str, Any] = {"cut": cut, "temperature": temperature, **({} if cache is None else {"cache": cache})}
    if backend == "transformers":
        if given:
            raise ValueError(f"a model that runs here has no {', '.join(given)}")
        return Engine.of(models.Source(**source), **options)
    if "base_url" not in given:
        raise ValueError(f"{backend} is a server: give its address as `base_url`")
    given["addresses"] = tuple(given.get("addresses", ()))
    return Remote.at(models.Source(**source), backend, given.pop("base_url"), **options, **given)
