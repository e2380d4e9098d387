"""What *choosing* a performance model is worth, mixture by mixture: predictions by models that have not seen it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold

from routing.fidelity import correlation
from routing.performance import Chosen, Score


@dataclass(frozen=True)
class Unseen:
    """(m,) each: the prediction, its interval, and what was measured; `score` of them all."""

    predicted: np.ndarray
    low: np.ndarray
    high: np.ndarray
    observed: np.ndarray
    score: Score

    @property
    def coverage(self) -> float:
        return float(((self.low <= self.observed) & (self.observed <= self.high)).mean())

    def rows(self) -> list[list[float]]:
        """[predicted, observed, low, high] of each mixture, as JSON."""
        columns = (self.predicted, self.observed, self.low, self.high)
        return [[round(float(value), 6) for value in row] for row in zip(*columns, strict=True)]


def unseen(model: Chosen, X: np.ndarray, y: np.ndarray, folds: int = 5, coverage: float = 0.9) -> Unseen:
    """Every fold chooses and fits anew (a clone of `model`), without those of the mixtures (`X`, `y`) it predicts."""
    predicted, low, high = np.empty(len(y)), np.empty(len(y)), np.empty(len(y))
    for train, test in KFold(folds, shuffle=True, random_state=model.seed + 1000).split(X):
        chosen = clone(model).fit(X[train], y[train])
        predicted[test] = chosen.predict(X[test])
        low[test], high[test] = chosen.predict_interval(X[test], coverage)
    return Unseen(predicted, low, high, y, _score(predicted, y))


def _score(predicted: np.ndarray, y: np.ndarray) -> Score:
    squared = np.square(predicted - y)
    rmse = float(np.sqrt(squared.mean()))
    error = float(squared.std(ddof=1) / np.sqrt(len(y)) / (2 * rmse)) if rmse > 0 else 0.0
    ranks = correlation(predicted, y)
    return Score(rmse, error, ranks.value, ranks.low, ranks.high, len(y))
