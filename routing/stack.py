"""Several kinds of performance model in one: the convex combination that did best on mixtures they had not seen.

ŷ = Σ wₖ ŷₖ with wₖ ≥ 0 and Σ wₖ = 1, the weights by least squares on out-of-fold predictions (Breiman 1996, "Stacked
regressions"; van der Laan et al. 2007, "Super learner"). No weight can be negative, so no kind is used against another,
and a kind that knows nothing gets nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.optimize import nnls
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import KFold
from sklearn.utils.validation import check_is_fitted, validate_data

from routing.estimators import BudgetOnly, LeastSquares, LightGBM, Mean, Quadratic, Ridge
from routing.gaussian_process import GaussianProcess

# Simplest first: a later kind must be clearly better than an earlier one to be chosen. Trees come after the smooth
# kinds: where two are alike on mixtures like those seen, the smooth one is the safer guess elsewhere.
BASE: dict[str, Callable[[int, int], BaseEstimator]] = {
    "mean": lambda budget_column, seed: Mean(),
    "budget": lambda budget_column, seed: BudgetOnly(budget_column),
    "ridge": lambda budget_column, seed: Ridge(),
    "quadratic": lambda budget_column, seed: Quadratic(),
    "gaussian_process": lambda budget_column, seed: GaussianProcess(seed=seed),
    "lightgbm": lambda budget_column, seed: LightGBM(seed=seed),
}
# The published models, for comparison; never among those that a choice is made from.
PRESETS: dict[str, Callable[[int, int], BaseEstimator]] = {
    "hyper_linear": lambda budget_column, seed: LeastSquares(1),
    "hyper_quadratic": lambda budget_column, seed: LeastSquares(2),
}
# A kind with less weight than this is not worth its fit.
LEAST = 0.02


@dataclass(frozen=True)
class Blend:
    """Fitted models and their weights."""

    models: tuple[Any, ...]
    weights: tuple[float, ...]

    def predict(self, X: np.ndarray) -> np.ndarray:
        return np.asarray(sum(w * model.predict(X) for w, model in zip(self.weights, self.models, strict=True)))


def convex_weights(predicted: np.ndarray, y: np.ndarray) -> np.ndarray:
    """(k,) weights ≥ 0 of sum 1 that minimise ‖y − Σ wₖ `predicted`ₖ‖, `predicted` (k, m). Tiny ones are dropped."""
    errors = (predicted - y).T
    scale = float(np.abs(errors).max()) or 1.0
    # Σ w (ŷ − y) = ŷ_w − y when Σ w = 1; a heavy row of ones asks for that sum.
    heavy = 1e3 * np.sqrt(len(y))
    weights, _ = nnls(np.vstack([errors / scale, np.full(len(predicted), heavy)]), np.append(np.zeros(len(y)), heavy))
    weights[weights < LEAST * weights.sum()] = 0.0
    return np.asarray(weights / weights.sum())


class Stack(RegressorMixin, BaseEstimator):
    """The combination of `kinds` as an estimator of its own: out-of-fold predictions, weights, kinds fitted on all.

    `weights` (one for each kind) skips the folds when a caller has the out-of-fold predictions already. After `fit`:
    `weights_` (kind → weight, those that are used).
    """

    def __init__(
        self,
        kinds: tuple[str, ...] = tuple(BASE),
        weights: tuple[float, ...] | None = None,
        budget_column: int = 0,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.kinds = kinds
        self.weights = weights
        self.budget_column = budget_column
        self.folds = folds
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2)
        weights = convex_weights(self._out_of_fold(X, y), y) if self.weights is None else np.asarray(self.weights)
        self.weights_ = {kind: float(w) for kind, w in zip(self.kinds, weights, strict=True) if w > 0}
        fitted = tuple(self._fitted(kind, X, y) for kind in self.weights_)
        self.blend_ = Blend(fitted, tuple(self.weights_.values()))
        return self

    def _out_of_fold(self, X: np.ndarray, y: np.ndarray) -> np.ndarray:
        predicted = np.empty((len(self.kinds), len(y)))
        for train, test in KFold(min(self.folds, len(y)), shuffle=True, random_state=self.seed).split(X):
            for row, kind in zip(predicted, self.kinds, strict=True):
                row[test] = self._fitted(kind, X[train], y[train]).predict(X[test])
        return predicted

    def _fitted(self, kind: str, X: np.ndarray, y: np.ndarray) -> Any:
        return BASE[kind](self.budget_column, self.seed).fit(X, y)  # type: ignore[attr-defined]

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return self.blend_.predict(validate_data(self, X, reset=False))
