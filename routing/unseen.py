"""What *choosing* a performance model is worth, mixture by mixture: predictions by models that have not seen it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import KFold

from routing import intervals
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
    """Every fold chooses and fits anew (a clone of `model`), without those of the mixtures (`X`, `y`) it predicts.

    A fold's intervals are calibrated on what the other folds got wrong, which costs no fit: to calibrate each fold's
    model for itself takes ten more fits of every kind it is made of.
    """
    predicted, fold = np.empty(len(y)), np.empty(len(y), dtype=np.int64)
    models = []
    plain = clone(model).set_params(intervals=False)
    for number, (train, test) in enumerate(KFold(folds, shuffle=True, random_state=model.seed + 1000).split(X)):
        models.append(clone(plain).fit(X[train], y[train]))
        predicted[test], fold[test] = models[-1].predict(X[test]), number
    half = _half_widths(X, np.abs(y - predicted), fold, models, coverage, model.seed)
    return Unseen(predicted, predicted - half, predicted + half, y, _score(predicted, y))


def _half_widths(
    X: np.ndarray, absolute: np.ndarray, fold: np.ndarray, models: list[Chosen], coverage: float, seed: int
) -> np.ndarray:
    half = np.empty(len(X))
    for number in range(len(models)):
        test = fold == number
        others = [[model for place, model in enumerate(models) if place != number]]
        known = intervals.calibrate(X[~test], absolute[None, ~test], fold[None, ~test], others, seed)
        half[test] = known.half_width(X[test], others, coverage)
    return half


def _score(predicted: np.ndarray, y: np.ndarray) -> Score:
    squared = np.square(predicted - y)
    rmse = float(np.sqrt(squared.mean()))
    error = float(squared.std(ddof=1) / np.sqrt(len(y)) / (2 * rmse)) if rmse > 0 else 0.0
    ranks = correlation(predicted, y)
    return Score(rmse, error, ranks.value, ranks.low, ranks.high, len(y))
