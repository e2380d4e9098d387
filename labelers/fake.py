"""A labeler of planted accuracy, for simulations and tests: it knows the answer and errs as often as it is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from labelers.base import Outcome, Pair, Verdict, texts_digest, verdict_of


class KnownPair(Pair, Protocol):
    @property
    def metadata(self) -> Any:
        """A mapping that holds the planted answer."""


class Planted:
    """Right with probability `accuracy`. The truth stands in `pair.metadata[key]`: "a" or "b".

    Its errors are drawn from `seed` and the texts: the same every time, and mirrored when A and B change places.
    It reports the accuracy it really has, so it is calibrated. A pair without a planted truth gets an abstention.
    """

    CODE_VERSION = 1

    def __init__(self, accuracy: float, seed: int = 0, key: str = "better") -> None:
        if not 0 <= accuracy <= 1:
            raise ValueError(f"accuracy is a share between 0 and 1, not {accuracy}")
        self.accuracy = accuracy
        self.seed = seed
        self.key = key

    def judge(self, pairs: Sequence[KnownPair]) -> list[Verdict]:
        return [self._verdict(pair) for pair in pairs]

    def _verdict(self, pair: KnownPair) -> Verdict:
        metadata: Mapping[str, Any] = pair.metadata
        truth = metadata.get(self.key)
        if truth not in ("a", "b"):
            return Verdict(Outcome.ABSTAIN)
        drawn = int.from_bytes(texts_digest(pair, "planted", str(self.seed))[:7], "big") / 2**56
        says_b = (truth == "b") == (drawn < self.accuracy)
        sure = max(self.accuracy, 1 - self.accuracy)
        return verdict_of(sure if says_b else 1 - sure)
