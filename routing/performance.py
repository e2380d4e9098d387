"""Performance models: predict a reward model's performance from the description of a mixture.

Scikit-learn estimators. `choose` compares them by repeated cross-validation, takes the simplest that is not clearly
worse than the best, and so falls back to the budget alone, or to the mean, when nothing beats them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, StandardScaler
from sklearn.utils.validation import check_is_fitted, validate_data

ALPHAS = np.logspace(-3, 4, 15)
Split = list[tuple[np.ndarray, np.ndarray]]


class Mean(RegressorMixin, BaseEstimator):
    """Every mixture performs alike: the score that every other model has to beat."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        _, y = validate_data(self, X, y, y_numeric=True)
        self.mean_ = float(np.mean(y))
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.full(len(validate_data(self, X, reset=False)), self.mean_)

    def __sklearn_tags__(self) -> Any:
        # It ignores columns on purpose, so a check that wants a good score on all of them does not apply.
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class BudgetOnly(RegressorMixin, BaseEstimator):
    """A quadratic ridge in one column, the log budget: how much is spent counts, on what does not.

    The published performance models were never shown beside it, and lose to it on the one public table of scores.
    """

    def __init__(self, column: int = 0) -> None:
        self.column = column

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True)
        self.curve_ = make_pipeline(PolynomialFeatures(2, include_bias=False), StandardScaler(), RidgeCV(ALPHAS))
        self.curve_.fit(X[:, [self.column]], y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        return np.asarray(self.curve_.predict(X[:, [self.column]]))

    def __sklearn_tags__(self) -> Any:
        # It ignores columns on purpose, so a check that wants a good score on all of them does not apply.
        tags = super().__sklearn_tags__()
        tags.regressor_tags.poor_score = True
        return tags


class Ridge(RegressorMixin, BaseEstimator):
    """Linear in all columns, standardised; the penalty by generalised cross-validation."""

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        X, y = validate_data(self, X, y, y_numeric=True)
        self.line_ = make_pipeline(StandardScaler(), RidgeCV(ALPHAS)).fit(X, y)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.line_.predict(validate_data(self, X, reset=False)))


class LightGBM(RegressorMixin, BaseEstimator):
    """Boosted trees: 1,000 at rate 0.01, as RegMix uses them; small leaves when mixtures are few. Deterministic.

    One thread by default: on so few rows two spend their time waiting for each other, much of it on a busy machine.
    """

    def __init__(self, trees: int = 1000, rate: float = 0.01, seed: int = 0, threads: int = 1) -> None:
        self.trees = trees
        self.rate = rate
        self.seed = seed
        self.threads = threads

    def fit(self, X: np.ndarray, y: np.ndarray) -> Self:
        # Not at the top: it needs libgomp, which the other kinds do not.
        import lightgbm

        X, y = validate_data(self, X, y, y_numeric=True)
        settings = {
            "objective": "regression",
            "learning_rate": self.rate,
            "num_leaves": 31,
            "min_data_in_leaf": int(np.clip(len(X) // 25, 2, 20)),
            "seed": self.seed,
            "num_threads": self.threads,
            "deterministic": True,
            "force_col_wise": True,
            "verbosity": -1,
        }
        self.booster_ = lightgbm.train(settings, lightgbm.Dataset(X, y, free_raw_data=True), self.trees)
        return self

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.booster_.predict(validate_data(self, X, reset=False), num_threads=self.threads))


# Simplest first: a later kind must be clearly better than an earlier one to be chosen.
KINDS: dict[str, Callable[[int, int], BaseEstimator]] = {
    "mean": lambda budget_column, seed: Mean(),
    "budget": lambda budget_column, seed: BudgetOnly(budget_column),
    "ridge": lambda budget_column, seed: Ridge(),
    "lightgbm": lambda budget_column, seed: LightGBM(seed=seed),
}


@dataclass(frozen=True)
class Score:
    """One kind's cross-validated score: RMSE (target's unit) with its standard error, rank correlation with 95%."""

    rmse: float
    rmse_error: float
    spearman: float
    spearman_low: float
    spearman_high: float


class Chosen(RegressorMixin, BaseEstimator):
    """The performance model that cross-validation chose; `fit` chooses and fits.

    After it: `kind_`, `scores_` (kind → Score), `estimator_`, `coverage_` (share of held-out mixtures inside the 90%
    interval), `skill_` (it tells mixtures apart at all), `beats_budget_` (it tells where to spend, not only how much).
    """

    def __init__(
        self,
        budget_column: int = 0,
        kinds: tuple[str, ...] = tuple(KINDS),
        repeats: int = 2,
        folds: int = 5,
        seed: int = 0,
    ) -> None:
        self.budget_column = budget_column
        self.kinds = kinds
        self.repeats = repeats
        self.folds = folds
        self.seed = seed

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """`groups` (m,) keeps mixtures that must not be separated (repeated seeds of one) in one fold."""
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2)
        groups = np.arange(len(X)) if groups is None else np.asarray(groups)
        splits = [_splits(groups, self.folds, self.seed + repeat) for repeat in range(self.repeats)]
        held_out = {kind: np.stack([self._held_out(kind, X, y, split) for split in splits]) for kind in self.kinds}
        self.scores_ = {kind: _score(predicted, y) for kind, predicted in held_out.items()}
        self.kind_ = _simplest(held_out, y)
        self._keep(X, y, splits[0], held_out[self.kind_][0])
        return self

    def _held_out(
        self, kind: str, X: np.ndarray, y: np.ndarray, split: list[tuple[np.ndarray, np.ndarray]]
    ) -> np.ndarray:
        predicted = np.empty(len(y))
        for train, test in split:
            predicted[test] = self._new(kind).fit(X[train], y[train]).predict(X[test])  # type: ignore[attr-defined]
        return predicted

    def _keep(self, X: np.ndarray, y: np.ndarray, split: Split, predicted: np.ndarray) -> None:
        """The model on everything, and each fold's with its residuals: what intervals are made of."""
        self.estimator_ = self._new(self.kind_).fit(X, y)  # type: ignore[attr-defined]
        self.fold_models_ = [self._new(self.kind_).fit(X[train], y[train]) for train, _ in split]  # type: ignore[attr-defined]
        self.fold_ = np.empty(len(y), dtype=np.int64)
        for number, (_, test) in enumerate(split):
            self.fold_[test] = number
        self.residuals_ = np.abs(y - predicted)
        self.coverage_ = _coverage(self.residuals_, self.fold_, 0.9)

    def _new(self, kind: str) -> BaseEstimator:
        return KINDS[kind](self.budget_column, self.seed)

    @property
    def skill_(self) -> bool:
        return self.kind_ != "mean"

    @property
    def beats_budget_(self) -> bool:
        return self.kind_ not in ("mean", "budget")

    def predict(self, X: np.ndarray) -> np.ndarray:
        check_is_fitted(self)
        return np.asarray(self.estimator_.predict(validate_data(self, X, reset=False)))  # type: ignore[attr-defined]

    def predict_interval(self, X: np.ndarray, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (m,): CV+ intervals for a mixture's measured performance (Barber et al. 2021, section 4).

        They are wider where the folds' models disagree, which is where mixtures are unlike those seen.
        """
        check_is_fitted(self)
        X = validate_data(self, X, reset=False)
        by_fold = np.stack([model.predict(X) for model in self.fold_models_])  # type: ignore[attr-defined]
        centre = by_fold[self.fold_]
        count = len(self.residuals_)
        rank = min(count, int(np.ceil((count + 1) * coverage)))
        low = -np.partition(-(centre - self.residuals_[:, None]), rank - 1, axis=0)[rank - 1]
        high = np.partition(centre + self.residuals_[:, None], rank - 1, axis=0)[rank - 1]
        return low, high


def choose(
    X: np.ndarray,
    y: np.ndarray,
    *,
    budget_column: int,
    groups: np.ndarray | None = None,
    seed: int = 0,
    kinds: tuple[str, ...] = tuple(KINDS),
    repeats: int = 2,
    folds: int = 5,
) -> Chosen:
    """The simplest kind of performance model that is not clearly worse than the best, fitted on all of (X, y).

    `X` (m, c) from `mixtures.describe`, `y` (m,) measured performance. Repeated cross-validation; a kind is passed over
    when its squared error exceeds the best kind's by more than one standard error of the paired difference. Raises
    ValueError with fewer than 10 mixtures.
    """
    if len(X) < 10:
        raise ValueError(f"A performance model needs at least 10 mixtures, there are {len(X)}.")
    return Chosen(budget_column, kinds, repeats, folds, seed).fit(X, y, groups)


def nested_score(
    model: Chosen, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None, folds: int = 5
) -> Score:
    """The score of *choosing*, for reports: every outer fold chooses anew, without the mixtures it is scored on."""
    groups = np.arange(len(X)) if groups is None else np.asarray(groups)
    predicted = np.empty(len(y))
    for train, test in _splits(groups, folds, model.seed + 1000):
        predicted[test] = clone(model).fit(X[train], y[train], groups[train]).predict(X[test])
    return _score(predicted[None, :], y)


def noise_ceiling(scores: np.ndarray) -> dict[str, float]:
    """What no performance model can pass. `scores` (m, r): the same m mixtures, each with r seeds.

    `deviation`: standard deviation of one mixture between seeds; `reliability`: share of the variance of single scores
    that is between mixtures (one-way ANOVA, intraclass correlation, at least 0); `correlation`: its square root, the
    highest correlation a perfect model can reach with single scores.
    """
    m, r = scores.shape
    within = float(scores.var(axis=1, ddof=1).mean())
    between = max(0.0, float(scores.mean(axis=1).var(ddof=1)) - within / r)
    reliability = between / (between + within) if between + within > 0 else 0.0
    return {"deviation": within**0.5, "reliability": reliability, "correlation": reliability**0.5}


def spearman(predicted: np.ndarray, y: np.ndarray) -> float:
    """Rank correlation; 0 when either side is constant."""
    a, b = rankdata(predicted), rankdata(y)
    if np.ptp(predicted) <= 1e-12 * max(1.0, float(np.abs(predicted).max())) or np.ptp(y) == 0:
        return 0.0
    return float(np.corrcoef(a, b)[0, 1])


def _splits(groups: np.ndarray, folds: int, seed: int) -> Split:
    count = min(folds, len(np.unique(groups)))
    return list(GroupKFold(count, shuffle=True, random_state=seed).split(groups, groups=groups))


def _score(predicted: np.ndarray, y: np.ndarray) -> Score:
    """`predicted` (repeats, m). Spearman's interval by Fisher's z with Bonett and Wright's error (2000)."""
    squared = np.square(predicted - y).mean(axis=0)
    rmse = float(np.sqrt(squared.mean()))
    error = float(squared.std(ddof=1) / np.sqrt(len(y)) / (2 * rmse)) if rmse > 0 else 0.0
    correlation = float(np.mean([spearman(row, y) for row in predicted]))
    if len(y) <= 4:
        return Score(rmse, error, correlation, -1.0, 1.0)
    z = np.arctanh(np.clip(correlation, -0.9999, 0.9999))
    half = norm.ppf(0.975) * np.sqrt((1 + correlation**2 / 2) / (len(y) - 3))
    return Score(rmse, error, correlation, float(np.tanh(z - half)), float(np.tanh(z + half)))


def _simplest(held_out: dict[str, np.ndarray], y: np.ndarray) -> str:
    errors = {kind: np.square(predicted - y).mean(axis=0) for kind, predicted in held_out.items()}
    best = min(errors, key=lambda kind: float(errors[kind].mean()))
    for kind, error in errors.items():
        worse = error - errors[best]
        if worse.mean() <= worse.std(ddof=1) / np.sqrt(len(y)):
            return kind
    return best


def _coverage(residuals: np.ndarray, fold: np.ndarray, wanted: float) -> float:
    """Share of each fold's residuals under the other folds' quantile: coverage that no interval was fitted on."""
    inside = 0
    for number in np.unique(fold):
        other = np.sort(residuals[fold != number])
        rank = min(len(other), int(np.ceil((len(other) + 1) * wanted)))
        inside += int((residuals[fold == number] <= other[rank - 1]).sum())
    return inside / len(residuals)


def as_dict(model: Chosen) -> dict[str, Any]:
    """What is worth storing beside a fitted model, as JSON."""
    return {
        "kind": model.kind_,
        "skill": model.skill_,
        "beats_budget": model.beats_budget_,
        "coverage_90": model.coverage_,
        "scores": {kind: vars(score) for kind, score in model.scores_.items()},
    }
