"""A null that reads words but no meaning: relevance to the prompt × length × how little is repeated.

R³ (arXiv 2402.03469) showed that r = relevance · (words / 100) · (distinct trigrams / all trigrams), for open-ended
prompts, takes a policy far. A labeler that does not beat it may have learnt no more than that.

Theirs measures relevance with a retriever (Contriever). Ours needs no model: the cosine of word counts, 1 + log(count),
each word weighted by its rarity. `fitted` takes rarity from the prompts and responses of a project. Without it longer
words weigh more, as frequent words are short (Zipf 1949): cruder, but then a verdict hangs on nothing but its texts.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Self

from labelers.base import Pair
from labelers.pointwise import Case, Pointwise, Scored, Turns

# Scripts that put no spaces between words count by character.
_UNSPACED = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_UNSPACED}]|[^\W_{_UNSPACED}]+")
# Beyond so many characters a word is no rarer.
_LONG = 8

# Prompt and response → how close they are, from 0; for a model of one's own in a notebook.
Closeness = Callable[[str, str], float]


class Relevance(Pointwise):
    """`rarity`: word → weight, and `unseen` that of all other words. `closeness` replaces the cosine altogether."""

    CODE_VERSION = 1

    def __init__(
        self,
        rarity: Mapping[str, float] | None = None,
        unseen: float = 1.0,
        *,
        closeness: Closeness | None = None,
        slope: float = 1.0,
    ) -> None:
        self.rarity, self.unseen, self.slope = rarity, unseen, slope
        self.closeness = closeness or self._cosine

    @classmethod
    def fitted(cls, pairs: Iterable[Pair]) -> Self:
        """With log(N / n) of a project's texts as rarity: N texts, n of them with the word."""
        found: Counter[str] = Counter()
        seen: set[str] = set()
        for pair in pairs:
            for text in (_asked(pair.prompt.turns), pair.response_a.text, pair.response_b.text):
                if text not in seen:
                    seen.add(text)
                    found.update(set(words(text)))
        return cls({word: math.log((1 + len(seen)) / count) for word, count in found.items()}, math.log(1 + len(seen)))

    def score(self, cases: Sequence[Case]) -> list[list[Scored]]:
        return [[self._scored(_asked(case.turns), text) for text in case.responses] for case in cases]

    def _scored(self, asked: str, text: str) -> Scored:
        said = words(text)
        parts = {"relevance": self.closeness(asked, text), "length": len(said) / 100, "unique": distinct(said)}
        return Scored(math.prod(parts.values()), attributes=parts)

    def _cosine(self, asked: str, text: str) -> float:
        one, other = self._weighed(asked), self._weighed(text)
        both = math.sqrt(sum(x * x for x in one.values()) * sum(x * x for x in other.values()))
        return sum(weight * other.get(word, 0.0) for word, weight in one.items()) / both if both else 0.0

    def _weighed(self, text: str) -> dict[str, float]:
        return {word: (1 + math.log(count)) * self._rarity(word) for word, count in Counter(words(text)).items()}

    def _rarity(self, word: str) -> float:
        return min(len(word), _LONG) / _LONG if self.rarity is None else self.rarity.get(word, self.unseen)


def words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def distinct(said: Sequence[str]) -> float:
    """Share of word trigrams that are distinct, in (0, 1]; 1 under three words, which repeat nothing."""
    trigrams = list(zip(said, said[1:], said[2:], strict=False))
    return len(set(trigrams)) / len(trigrams) if trigrams else 1.0


def _asked(turns: Turns) -> str:
    """What the user asked last."""
    return next((turn["content"] for turn in reversed(turns) if turn["role"] == "user"), "")
