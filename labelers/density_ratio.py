"""A response is better the more a strong model prefers it over a weak one: log π_strong(y|x) − log π_weak(y|x).

Strong over weak (CDR, Dr. SoW), a policy over its reference (the implicit reward of DPO) and one model under a good
and a bad system prompt are the same difference of two log-probabilities. What to expect is in docs/logprobs.md:
off-policy it leans to shorter responses with one pair of models and to longer ones with another, so look at the nulls.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from labelers.base import PROMPTS
from labelers.domains import DOMAINS, ByModel, Keywords
from labelers.exemplars import Exemplar, chooser
from labelers.logprobs import Cache, Engine, InMemory, Score, Tokens, Unscorable, named, sweep
from labelers.pointwise import Case, Pointwise, Scored, Turns

Reduction = Literal["sum", "mean", "bytes", "power"]
# An engine, or what names a model: {"name": …, "revision": …}; with "backend" and "base_url" where a server has it.
Model = Engine | Mapping[str, Any]
# A response, its tokens on either side, what else went into its score.
Asked = tuple[str, Tokens, Tokens, dict[str, Any]]


class Messages(NamedTuple):
    """What either side reads before a response, and what of it is worth noting with the score."""

    above: Turns
    below: Turns
    notes: dict[str, Any]


def engine(model: Model, cache: Cache | None, cut: Literal["refuse", "context"], temperature: float) -> Engine:
    if isinstance(model, Engine):
        return model
    shared = InMemory() if cache is None else cache
    return named(model, cache=shared, cut=cut, temperature=temperature)


def reduced(score: Score, tokens: Tokens, reduction: Reduction, alpha: float) -> float:
    """A text's log-probability as a sum, per token, per byte of text, or per token to the power of `alpha`."""
    lengths = {"sum": 1.0, "mean": score.tokens, "bytes": max(tokens.bytes, 1), "power": score.tokens**alpha}
    return score.total / lengths[reduction]


class Ratio(Pointwise):
    """The difference between two log-probabilities of a response, under `above` and `below`.

    `reduction`: "sum" is the density ratio itself; "mean" divides each side by its own tokens, "bytes" both by the
    text's bytes, "power" by tokens^`alpha`. `score_end`: the mark that ends the turn counts as a token. `resident`:
    keep both models in memory between calls; otherwise each call reads one after the other, so give it a large shard.
    `per_token`: keep the difference at each token where both models have the same tokens.
    """

    CODE_VERSION = 1

    def __init__(
        self,
        above: Model,
        below: Model,
        *,
        reduction: Reduction = "sum",
        alpha: float = 0.5,
        score_end: bool = True,
        temperature: float = 1.0,
        cut: Literal["refuse", "context"] = "refuse",
        slope: float = 0.1,
        tie: float = 1e-6,
        resident: bool = False,
        per_token: bool = False,
        cache: Cache | None = None,
    ) -> None:
        if reduction not in ("sum", "mean", "bytes", "power"):
            raise ValueError(f"no such reduction: {reduction!r}")
        shared = InMemory() if cache is None else cache
        self.above = engine(above, shared, cut, temperature)
        self.below = engine(below, shared, cut, temperature).sharing(self.above)
        self.reduction, self.alpha, self.score_end = reduction, alpha, score_end
        self.slope, self.tie, self.resident, self.per_token = slope, tie, resident, per_token

    @property
    def provenance(self) -> dict[str, Any]:
        """Models and templates by digest: two versions that differ in either are two labelers."""
        sides = {"above": self.above, "below": self.below}
        return {
            "models": {side: one.identity for side, one in sides.items()},
            "templates": {side: one.texts.digest for side, one in sides.items()},
            "reduction": self.reduction,
        }

    def free(self) -> None:
        for side in (self.above, self.below):
            side.loaded.free()

    def messages(self, case: Case) -> Messages:
        """What each side reads before a response of the case: the same, unless a subclass says otherwise."""
        return Messages(case.turns, case.turns, {})

    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        asked = [self._asked(case) for case in cases]
        fit = [each for of_case in asked for each in of_case if not isinstance(each, Unscorable)]
        found = iter(self._values(fit))
        return [
            [_refused(each) if isinstance(each, Unscorable) else next(found) for each in of_case] for of_case in asked
        ]

    def _asked(self, case: Case) -> list[Asked | Unscorable]:
        messages = self.messages(case)
        return [self._tokens(messages, text) for text in case.responses]

    def _tokens(self, messages: Messages, text: str) -> Asked | Unscorable:
        end: Literal["turn", "none"] = "turn" if self.score_end else "none"
        try:
            above = self.above.texts.tokens(messages.above, text, end=end)
            return text, above, self.below.texts.tokens(messages.below, text, end=end), messages.notes
        except Unscorable as problem:
            return problem

    def _values(self, asked: Sequence[Asked]) -> list[Scored]:
        sides = [self.above, self.below]
        texts = [[each[1] for each in asked], [each[2] for each in asked]]
        above, below = sweep(sides, texts, per_token=self.per_token, keep=self.resident)
        return [self._scored(each, high, low) for each, high, low in zip(asked, above, below, strict=True)]

    def _scored(self, of: Asked, above: Score, below: Score) -> Scored:
        text, tokens, others, notes = of
        high = reduced(above, tokens, self.reduction, self.alpha)
        low = reduced(below, others, self.reduction, self.alpha)
        provenance = {
            "log_p": [above.total, below.total],
            "tokens": [above.tokens, below.tokens],
            "bytes": tokens.bytes,
            **notes,
        }
        if tokens.cut or others.cut:
            provenance["cut"] = [tokens.cut, others.cut]
        return Scored(high - low, provenance=provenance, per_token=self._map(text, tokens, others, above, below))

    def _map(
        self, text: str, tokens: Tokens, others: Tokens, above: Score, below: Score
    ) -> tuple[tuple[int, int, float], ...] | None:
        if above.per_token is None or below.per_token is None or tokens.response != others.response:
            return None
        places = offsets(self.above.texts.tokenizer, tokens.response, text)
        differences = (a - b for a, b in zip(above.per_token, below.per_token, strict=True))
        return tuple((start, end, value) for (start, end), value in zip(places, differences, strict=True))


def _refused(problem: Unscorable) -> Scored:
    return Scored(None, problem=str(problem))


# Tokens decoded together while places are looked up: decoding the whole for each token would be quadratic.
WINDOW = 24


def offsets(tokenizer: Any, ids: Sequence[int], text: str) -> list[tuple[int, int]]:
    """Where in `text` each token of it stands. Marks have no width; of a character that several tokens make the last
    has it. Templates trim a response or put a space before it, so places count from its first letter."""
    marks, whole = set(tokenizer.all_special_ids), tokenizer.decode(ids, skip_special_tokens=True)
    ahead = _indent(text) - _indent(whole)
    # What is decoded begins at token `first`; before what follows it lie `before` characters more than are seen.
    ends, first, before = [0], 0, 0
    for number, id in enumerate(ids):
        seen = tokenizer.decode(ids[first : number + 1], skip_special_tokens=True)
        if id not in marks and number + 1 < len(ids):
            seen = seen.rstrip("\ufffd")
        ends.append(ends[-1] if id in marks else max(ends[-1], before + len(seen)))
        if number - first >= WINDOW and id not in marks:
            alone = tokenizer.decode([id], skip_special_tokens=True)
            if "\ufffd" not in alone:  # not a part of a character
                first, before = number, before + len(seen) - len(alone)
    placed = [min(max(end + ahead, 0), len(text)) for end in ends]
    return list(zip(placed, placed[1:], strict=False))


def _indent(text: str) -> int:
    return len(text) - len(text.lstrip())


class DensityRatio(Ratio):
    """Strong over weak. Preset "plain" shows both the conversation as it is; "cdr" also an instruction by domain.

    "cdr": a router says what a prompt is about ("safety", "reasoning", "chat"); prompts of the `instructed` domains
    get our instruction for it as system turn and, if there are any for the domain, an exemplar from `exemplars`:
    "drawn" by `seed` and prompt or the "nearest" by words. `router`: turns → domain; where it fails or answers
    something else, keywords decide. Both sides read the same messages, each in its own template.
    """

    PROMPT_FILES = (
        "ratio_safety.txt",
        "ratio_reasoning.txt",
        "ratio_chat.txt",
        "ratio_exemplar.txt",
        "ratio_domain.txt",
    )

    def __init__(
        self,
        strong: Model,
        weak: Model,
        *,
        preset: Literal["plain", "cdr"] = "plain",
        system: str = "",
        instructed: Sequence[str] = ("safety", "reasoning"),
        exemplars: Sequence[Exemplar | Mapping[str, str]] = (),
        exemplar_choice: Literal["drawn", "nearest"] = "drawn",
        seed: int = 0,
        router: ByModel | Callable[[Turns], str] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(strong, weak, **options)
        if preset not in ("plain", "cdr") or not set(instructed) <= set(DOMAINS):
            raise ValueError(f"no such preset or domain: {preset!r}, {instructed!r}")
        self.preset, self.system, self.instructed, self.router = preset, system, tuple(instructed), router
        self.keywords = Keywords()
        self.exemplars = chooser(exemplars, exemplar_choice, seed)
        self._instructions = {name: (PROMPTS / f"ratio_{name}.txt").read_text().strip() for name in DOMAINS}
        self._exemplar = (PROMPTS / "ratio_exemplar.txt").read_text()

    @property
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance, "preset": self.preset}

    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        if self.preset == "cdr" and isinstance(self.router, ByModel):
            self.router.prepare(case.turns for case in cases)
        return super().score(cases)

    def domain(self, turns: Turns) -> str:
        if self.router is not None:
            said = self.router(turns).strip().lower()
            if said in DOMAINS:
                return said
        return self.keywords(turns)

    def messages(self, case: Case) -> Messages:
        turns = _with_system(case.turns, self.system)
        if self.preset == "plain":
            return Messages(turns, turns, {})
        domain, shown = self.domain(case.turns), None
        if domain in self.instructed:
            turns = _with_system(turns, self._instructions[domain])
            shown = self.exemplars(case.turns, domain) if turns[-1]["role"] == "user" else None
        if shown is not None:
            turns[-1]["content"] = shown.before(turns[-1]["content"], self._exemplar)
        return Messages(turns, turns, {"domain": domain, "exemplar": None if shown is None else shown.digest})


class ImplicitReward(Ratio):
    """β · log π(y|x) / π_ref(y|x): the reward that DPO training gave a policy over the model it started from."""

    def __init__(self, policy: Model, reference: Model, *, beta: float = 0.1, **options: Any) -> None:
        super().__init__(policy, reference, **{"slope": beta, **options})
        self.beta = beta


class ContrastivePrompts(Ratio):
    """One model, told to answer well and told to answer badly: half the weights of a ratio, the same passes."""

    PROMPT_FILES = ("contrast_good.txt", "contrast_bad.txt")

    def __init__(self, model: Model, *, good: str = "", bad: str = "", **options: Any) -> None:
        shared = engine(model, options.get("cache"), options.get("cut", "refuse"), options.get("temperature", 1.0))
        super().__init__(shared, shared, **options)
        self.good, self.bad = (
            given or (PROMPTS / name).read_text().strip()
            for given, name in zip((good, bad), self.PROMPT_FILES, strict=True)
        )

    def messages(self, case: Case) -> Messages:
        return Messages(_with_system(case.turns, self.good), _with_system(case.turns, self.bad), {})


def _with_system(turns: Turns, text: str) -> Turns:
    """With `text` as system turn, after what the conversation's own system turn says. Copies."""
    turns = [dict(turn) for turn in turns]
    if not text:
        return turns
    if turns and turns[0]["role"] == "system":
        turns[0]["content"] += f"\n\n{text}"
        return turns
    return [{"role": "system", "content": text}, *turns]
