"""Reward models: sequence classifiers that give a response a number, or one for each of several attributes.

Decoders are packed like the texts of `logprobs`, the prompt computed once for its responses; the number is read at the
last token that the chat template writes, which we know, so that no padding token can be taken for it. Encoders are run
one text at a time. The head computes in fp32: in bf16 scores near 20 are 0.125 apart, and different responses tie.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isclose
from typing import Any, Literal

from labelers.logprobs import Cache, InMemory, Score, Source, Texts, Tokens, Unscorable, models
from labelers.logprobs.cache import key
from labelers.logprobs.engine import BUDGET, states
from labelers.logprobs.packing import Batch, alone, pack
from labelers.pointwise import Case, Pointwise, Scored

# Names of a linear head in transformers' sequence classifiers.
HEADS = ("score", "classifier")


class RewardModel(Pointwise):
    """`weights`: how attributes make the score, {"helpfulness": 0.65, …}; a head of one number needs none.

    No system turn is added. Exactly equal scores are a tie.
    """

    CODE_VERSION = 1

    def __init__(
        self,
        model: Mapping[str, Any] | Source,
        *,
        weights: Mapping[str, float] | None = None,
        cut: Literal["refuse", "context"] = "refuse",
        budget: int = 0,
        layout: Literal["packed", "alone"] = "packed",
        slope: float = 1.0,
        tie: float = 0.0,
        resident: bool = False,
        cache: Cache | None = None,
    ) -> None:
        from transformers import AutoConfig

        self.source = model if isinstance(model, Source) else Source(**model)
        # Before anything is read: what may change under its name is refused.
        self.identity = self.source.identity()
        config = AutoConfig.from_pretrained(
            self.source.name, revision=self.source.revision or None, trust_remote_code=False
        )
        limit = getattr(config, "max_position_embeddings", 0) or 0
        self.texts = Texts(models.tokenizer(self.source), self.source.template or None, limit=limit, cut=cut)
        self.attributes = [config.id2label[number] for number in range(config.num_labels)]
        self.weights = dict(weights or ({self.attributes[0]: 1.0} if len(self.attributes) == 1 else {}))
        if not self.weights or not set(self.weights) <= set(self.attributes):
            raise ValueError(f"weights are needed for some of {', '.join(self.attributes)}; given: {self.weights}")
        self.budget, self.layout, self.slope, self.tie, self.resident = budget, layout, slope, tie, resident
        self.cache = InMemory() if cache is None else cache
        self.model: Any = None
        # Texts that the head has really seen.
        self.computed = 0
        self._packed: bool | None = None

    @property
    def provenance(self) -> dict[str, Any]:
        return {"models": {"model": self.identity}, "templates": {"model": self.texts.digest}, "weights": self.weights}

    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        asked = [[self._tokens(case, text) for text in case.responses] for case in cases]
        texts = dict.fromkeys(tokens for each in asked for tokens in each if isinstance(tokens, Tokens))
        found = self._found(list(texts))
        return [
            [
                Scored(None, problem=str(tokens)) if isinstance(tokens, Unscorable) else self._scored(found[tokens])
                for tokens in each
            ]
            for each in asked
        ]

    def _tokens(self, case: Case, text: str) -> Tokens | Unscorable:
        try:
            return self.texts.tokens(case.turns, text, end="template")
        except Unscorable as problem:
            return problem

    def _scored(self, values: Sequence[float]) -> Scored:
        by_name = dict(zip(self.attributes, values, strict=True))
        value = sum(weight * by_name[name] for name, weight in self.weights.items())
        return Scored(value, attributes=by_name if len(by_name) > 1 else {})

    def _found(self, texts: Sequence[Tokens]) -> dict[Tokens, Sequence[float]]:
        """The head's numbers, out of the cache where it has them. A `Score` holds them in `per_token`."""
        options = f"{models.place(self.source)[1]} head"
        keys = {tokens: key(self.identity, options, tokens) for tokens in texts}
        known = self.cache.get(list(keys.values()))
        found: dict[Tokens, Sequence[float]] = {
            tokens: known[each].per_token or () for tokens, each in keys.items() if each in known
        }
        for fresh in self._values([tokens for tokens in texts if tokens not in found]):
            self.cache.put({keys[each]: Score(values[0], len(values), tuple(values)) for each, values in fresh.items()})
            self.computed += len(fresh)
            found.update(fresh)
        return found

    def _values(self, texts: Sequence[Tokens]) -> Iterator[dict[Tokens, list[float]]]:
        """The head's numbers for each text, batch after batch."""
        import torch

        if not texts:
            return
        model = self._ready()
        numbered = list(enumerate(texts))
        budget = self.budget or BUDGET.get(model.device.type, BUDGET["cpu"])
        with torch.inference_mode():
            for batch in self._batches(model, numbered, budget):
                yield {texts[owner]: values for owner, values in self._run(model, batch, packed=self._packs(model))}
        if not self.resident:
            self.free()

    def free(self) -> None:
        if self.model is not None:
            self.model = None
            models.make_room()

    def _ready(self) -> Any:
        if self.model is None:
            self.model = models.weights(self.source, "AutoModelForSequenceClassification")
            _head(self.model).float()
        return self.model

    def _batches(self, model: Any, numbered: list[tuple[int, Tokens]], budget: int) -> Iterator[Batch]:
        """With one more token each than is needed to predict the last: here the last one is looked at, too."""
        padded = [(owner, Tokens(tokens.context, (*tokens.response, 0))) for owner, tokens in numbered]
        return pack(padded, budget) if self._packs(model) else alone(padded)

    def _packs(self, model: Any) -> bool:
        """Whether texts may share a row: looked up once, on a few tokens both ways."""
        if self._packed is None:
            self._packed = self.layout == "packed" and hasattr(model, "score") and self._same_packed(model)
        return self._packed

    def _same_packed(self, model: Any) -> bool:
        some = [(number, Tokens((7, 8, 9), tuple(range(10 + number, 16)))) for number in range(3)]
        try:
            packed = dict(each for batch in pack(some, 100) for each in self._run(model, batch, packed=True))
        except (ValueError, TypeError, AttributeError):
            return False
        apart = dict(each for batch in alone(some) for each in self._run(model, batch, packed=False))
        return all(
            isclose(a, b, rel_tol=1e-3, abs_tol=1e-3 if model.dtype.itemsize == 4 else 0.2)
            for owner in packed
            for a, b in zip(packed[owner], apart[owner], strict=True)
        )

    def _run(self, model: Any, batch: Batch, *, packed: bool) -> Iterator[tuple[int, list[float]]]:
        import torch

        if not hasattr(model, "score"):
            yield batch.owners[0][0], self._by_forward(model, batch)
            return
        hidden = states(model, batch, packed=packed)
        ends = torch.tensor([count for _owner, count in batch.owners]).cumsum(0) - 1
        last = torch.tensor(batch.rows)[ends].to(hidden.device)
        values = _head(model)(hidden[last].float()).tolist()
        for (owner, _count), each in zip(batch.owners, values, strict=True):
            yield owner, each

    def _by_forward(self, model: Any, batch: Batch) -> list[float]:
        """An encoder's own forward pass; its head is handed fp32."""
        import torch

        def as_fp32(_head: Any, given: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(each.float() if torch.is_tensor(each) else each for each in given)

        hook = _head(model).register_forward_pre_hook(as_fp32)
        try:
            return model(input_ids=torch.tensor([batch.ids], device=model.device)).logits[0].float().tolist()
        finally:
            hook.remove()


def _head(model: Any) -> Any:
    for name in HEADS:
        if hasattr(model, name):
            return getattr(model, name)
    raise ValueError(f"{type(model).__name__} has no head that is called {' or '.join(HEADS)}")
