"""log p(response | context) of one model for many texts: packed, cached, checked against the model's own logits.

    engine = Engine.of(Source("folder/of/a/model"), cache=SQLite("scores.sqlite"))
    score, = engine.score([engine.texts.tokens([{"role": "user", "content": "Why?"}], "Because.")])

Several models are swept one after the other over the whole shard: `sweep` loads each once, however many labelers ask.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from labelers.logprobs import attention, head, models
from labelers.logprobs.cache import Cache, InMemory, Key, Score, key
from labelers.logprobs.models import UnfitModel
from labelers.logprobs.packing import Batch, Tokens, alone, pack
from labelers.logprobs.texts import Cut, Texts

Layout = Literal["auto", "packed", "alone"]

# Tokens of a packed batch. On a CPU a few texts fill the cores, and what is small stays in the cache.
BUDGET = {"cpu": 2048, "cuda": 32768}
# The largest difference between a packed and a plain pass that is rounding, in nats a token.
ROUNDING = {"float32": 1e-3}


@dataclass
class Effort:
    """What an engine has done, to be shown and tested."""

    computed: int = 0
    from_cache: int = 0
    tokens: int = 0
    seconds: float = 0.0


@dataclass
class Engine:
    """One model as a scorer. `adapter`: with its LoRA, if it has one.

    `layout`: "packed" for models whose tokens see others through attention alone, "alone" for all others, "auto"
    looks which it is. `temperature` divides the logits. `budget`: tokens of a batch, 0 for the device's default.
    """

    loaded: models.Loaded
    texts: Texts
    cache: Cache = field(default_factory=InMemory)
    budget: int = 0
    temperature: float = 1.0
    layout: Layout = "auto"
    adapter: bool = True
    effort: Effort = field(default_factory=Effort)
    _checked: Any = field(default=None, repr=False)

    @classmethod
    def of(cls, source: models.Source, *, cut: Cut = "refuse", **options: Any) -> Engine:
        """A model by name. Its tokenizer is read now, its weights when something has to be computed."""
        from transformers import AutoConfig

        config = AutoConfig.from_pretrained(source.name, revision=source.revision or None, trust_remote_code=False)
        limit = getattr(config.get_text_config(), "max_position_embeddings", 0) or 0
        texts = Texts(models.tokenizer(source), source.template or None, limit=limit, cut=cut)
        return cls(models.Loaded.of(source), texts, **options)

    @classmethod
    def around(cls, model: Any, texts: Texts, identity: str, *, base_identity: str = "", **options: Any) -> Engine:
        """A model that is in memory already; `identity` must name its weights exactly, or the cache will lie."""
        return cls(models.Loaded(None, identity, model, base_identity), texts, **options)

    def base(self) -> Engine:
        """The same weights without the adapter; both share them and the cache."""
        if not self.loaded.base_identity:
            raise UnfitModel(f"{self.loaded.identity} has no adapter to leave out, or no name for its base")
        return Engine(self.loaded, self.texts, self.cache, self.budget, self.temperature, self.layout, adapter=False)

    def sharing(self, other: Engine) -> Engine:
        """This engine, on the weights of `other` where that is an adapter over it: one set is read instead of two."""
        ours, theirs = self.loaded.source, other.loaded.source
        if ours is None or theirs is None or self.identity != other.loaded.base_identity:
            return self
        if models.place(ours) != models.place(theirs):
            return self
        return Engine(other.loaded, self.texts, self.cache, self.budget, self.temperature, self.layout, adapter=False)

    @property
    def identity(self) -> str:
        return self.loaded.identity if self.adapter else self.loaded.base_identity

    @property
    def options(self) -> str:
        """What changes a score beside the texts. Neither batches nor their layout do, beyond rounding."""
        if self.loaded.source is not None:
            precision = models.place(self.loaded.source)[1]
        else:
            precision = str(models.plain(self.loaded.get()).dtype).removeprefix("torch.")
        return f"{precision} t={self.temperature:g}"

    def score(self, texts: Sequence[Tokens], *, per_token: bool = False) -> list[Score]:
        """A score for each text, in their order. Every batch is stored as soon as it is computed."""
        options = self.options
        keys = [key(self.identity, options, tokens) for tokens in texts]
        known = {each: score for each, score in self.cache.get(keys).items() if score.per_token or not per_token}
        todo: dict[Key, Tokens] = {}
        for each, tokens in zip(keys, texts, strict=True):
            if each not in known:
                todo.setdefault(each, tokens)
        self.effort.from_cache += len(texts) - len(todo)
        for fresh in self._computed(list(todo.items()), per_token):
            self.cache.put(fresh)
            known.update(fresh)
        return [known[each] for each in keys]

    def _computed(self, todo: list[tuple[Key, Tokens]], per_token: bool) -> Iterator[dict[Key, Score]]:
        if not todo:
            return
        model = self.loaded.get()
        packed = self._packs(model)
        numbered = [(number, tokens) for number, (_key, tokens) in enumerate(todo)]
        device = models.plain(model).device
        budget = self.budget or BUDGET.get(device.type, BUDGET["cpu"])
        for batch in pack(numbered, budget) if packed else alone(numbered):
            begun = time.perf_counter()
            scores = self._run(model, batch, packed=packed)
            self.effort.seconds += time.perf_counter() - begun
            self.effort.computed += len(batch.owners)
            self.effort.tokens += len(batch.targets)
            yield {todo[owner][0]: score for owner, score in _divided(batch, scores, per_token)}

    def _run(self, model: Any, batch: Batch, *, packed: bool) -> Any:
        """log p of the batch's targets, on the CPU."""
        import torch

        inside = models.plain(model)
        with torch.inference_mode(), _with(model, self.adapter):
            hidden = states(inside, batch, packed=packed)
            rows = torch.tensor(batch.rows, device=hidden.device)
            targets = torch.tensor(batch.targets, device=hidden.device)
            return head.logprobs(inside, hidden[rows], targets, temperature=self.temperature).cpu()

    def _packs(self, model: Any) -> bool:
        """Whether texts may share a row: looked up once for each set of weights in memory, on a text of the probe."""
        if self._checked is None or self._checked[0] is not model:
            with _with(model, self.adapter):
                self._checked = (model, _layout(models.plain(model), self.layout))
        return self._checked[1]


def _with(model: Any, adapter: bool) -> Any:
    from contextlib import nullcontext

    return nullcontext() if adapter else models.without_adapter(model)


def states(model: Any, batch: Batch, *, packed: bool) -> Any:
    """The last hidden states of a batch, [tokens, width]."""
    import torch

    ids = torch.tensor([batch.ids], device=model.device)
    if not packed:
        return model.base_model(input_ids=ids, use_cache=False).last_hidden_state[0]
    positions = torch.tensor([batch.positions], device=model.device)
    attention.register()
    with models.implementation(model, attention.NAME):
        spans = attention.Spans(batch.spans)
        out = model.base_model(input_ids=ids, position_ids=positions, use_cache=False, spans=spans)
    return out.last_hidden_state[0]


def _layout(model: Any, asked: Layout) -> bool:
    """True for packed. Raises UnfitModel where neither layout gives what the model's own forward pass gives."""
    plain, separate = _probe(model, packed=None), _probe(model, packed=False)
    allowed = ROUNDING.get(str(model.dtype).removeprefix("torch."), 0.1)
    if _apart(plain, separate) > allowed:
        raise UnfitModel(
            f"{type(model).__name__} does something to its logits that this engine does not know:"
            f" {_apart(plain, separate):.2g} nats a token from its own"
        )
    if asked == "alone":
        return False
    try:
        off = _apart(plain, _probe(model, packed=True)) if _packable(model.config.get_text_config()) else float("inf")
    except (ValueError, TypeError, AttributeError):
        off = float("inf")
    if off > allowed and asked == "packed":
        raise UnfitModel(f"{type(model).__name__} cannot be packed: its tokens see more than attention spans tell")
    return off <= allowed


def _packable(config: Any) -> bool:
    """Chunked attention would only show on texts longer than the probe's; sliding windows are known to `attend`."""
    kinds = set(getattr(config, "layer_types", None) or ())
    return kinds <= {"full_attention", "sliding_attention"} and not getattr(config, "attention_chunk_size", None)


def _probe(model: Any, *, packed: bool | None) -> list[float]:
    """log p of a few fixed tokens, three ways: by the model's own logits (None), one by one, packed."""
    import torch

    some = [3 + 7 * number % (model.config.get_text_config().vocab_size - 3) for number in range(40)]
    texts = [
        (0, Tokens(tuple(some[:9]), tuple(some[9:16]))),
        (1, Tokens(tuple(some[:9]), tuple(some[20:31]))),
        (2, Tokens(tuple(some[16:20]), tuple(some[31:]))),
    ]
    with torch.inference_mode():
        if packed is None:
            return [value for _number, tokens in texts for value in _by_logits(model, tokens)]
        found: dict[int, list[float]] = {}
        for batch in pack(texts, 1000) if packed else alone(texts):
            rows, targets = (torch.tensor(each, device=model.device) for each in (batch.rows, batch.targets))
            values = head.logprobs(model, states(model, batch, packed=packed)[rows], targets).tolist()
            for owner, count in batch.owners:
                found[owner], values = values[:count], values[count:]
        return [value for number, _tokens in texts for value in found[number]]


def _by_logits(model: Any, tokens: Tokens) -> list[float]:
    import torch

    ids = torch.tensor([tokens.context + tokens.response], device=model.device)
    logits = model(input_ids=ids, use_cache=False).logits[0, len(tokens.context) - 1 : -1].float()
    wanted = torch.tensor(tokens.response, device=model.device)[:, None]
    return logits.log_softmax(-1).gather(1, wanted)[:, 0].tolist()


def _apart(some: list[float], others: list[float]) -> float:
    return max(abs(a - b) for a, b in zip(some, others, strict=True))


def _divided(batch: Batch, values: Any, per_token: bool) -> Iterator[tuple[int, Score]]:
    """Sums in fp64: of 10,000 fp32 terms the last digits would be noise."""
    start = 0
    for owner, count in batch.owners:
        own = values[start : start + count]
        start += count
        yield owner, Score(own.double().sum().item(), count, tuple(own.tolist()) if per_token else None)


def sweep(
    engines: Sequence[Engine], texts: Sequence[Sequence[Tokens]], *, per_token: bool = False, keep: bool = False
) -> list[list[Score]]:
    """Each engine's own texts, engine after engine; weights are freed before the next set is read, unless `keep`.

    Engines that share weights (a LoRA and its base) follow each other, so that these are read once.
    """
    scores: dict[int, list[Score]] = {}
    order = sorted(range(len(engines)), key=lambda number: _first(engines, engines[number].loaded))
    for number, following in zip(order, [*order[1:], None], strict=True):
        scores[number] = engines[number].score(texts[number], per_token=per_token)
        if not keep and (following is None or engines[following].loaded is not engines[number].loaded):
            engines[number].loaded.free()
    return [scores[number] for number in range(len(engines))]


def _first(engines: Sequence[Engine], loaded: models.Loaded) -> int:
    return next(number for number, engine in enumerate(engines) if engine.loaded is loaded)
