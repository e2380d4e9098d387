"""A project's own proxy reward model as a labeler. Fitting it is its owner's business; here it only judges."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from labelers.base import Outcome, Pair, Verdict, verdict_of

# Pairs in, P(B is better) for each, NaN where the model cannot say.
Predict = Callable[[Sequence[Pair]], NDArray[np.float64]]


class Proxy:
    """`predict` gives P(B is better); `provenance` says which model it is and goes on every verdict."""

    CODE_VERSION = 1

    def __init__(self, predict: Predict, **provenance: Any) -> None:
        self.predict = predict
        self.provenance = provenance

    def judge(self, pairs: Sequence[Pair]) -> list[Verdict]:
        probabilities = np.asarray(self.predict(pairs), dtype=float)
        if probabilities.shape != (len(pairs),):
            raise ValueError(f"{len(pairs)} pairs got predictions of shape {probabilities.shape}")
        return [self._verdict(float(p)) for p in probabilities]

    def _verdict(self, p: float) -> Verdict:
        if np.isnan(p):
            return Verdict(Outcome.ABSTAIN, provenance=self.provenance)
        return verdict_of(min(max(p, 0.0), 1.0), provenance=self.provenance)
