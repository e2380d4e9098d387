"""Labelers that read no meaning: longest, shortest, random. A labeler that does not beat them is not one."""

from __future__ import annotations

from collections.abc import Sequence

from labelers.base import Pair, Verdict, texts_digest, verdict_of


class Longest:
    """The longer response is better (length in code points of the stored text); equal lengths are a tie."""

    CODE_VERSION = 1
    sign = 1

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        return [self._verdict(pair) for pair in pairs]

    def _verdict(self, pair: Pair) -> Verdict:
        a, b = self.sign * len(pair.response_a.text), self.sign * len(pair.response_b.text)
        return verdict_of(0.5 if a == b else float(b > a), scores=(a, b))


class Shortest(Longest):
    """The shorter response is better."""

    sign = -1


class Random:
    """A coin for each pair, seeded by `seed` and the texts: the same verdict every time, mirrored with the pair."""

    CODE_VERSION = 1

    def __init__(self, seed: int = 0) -> None:
        self.seed = seed

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        return [self._verdict(pair) for pair in pairs]

    def _verdict(self, pair: Pair) -> Verdict:
        a, b = pair.response_a.text, pair.response_b.text
        if a == b:
            return verdict_of(0.5)
        higher_is_better = texts_digest(pair, "random", str(self.seed))[0] & 1
        return verdict_of(float((b > a) == bool(higher_is_better)))
