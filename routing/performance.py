"""Performance models: predict a reward model's performance from the description of a mixture.

`choose` compares the kinds by repeated cross-validation, takes the simplest that is not clearly worse than the best,
and so falls back to the budget alone, or to the mean, when nothing beats them. `y` is whatever was measured for a
mixture: a proxy's accuracy, or scores brought from outside; nothing here knows the difference.

What a choice costs, in fits of a kind: `repeats` × `folds` for the comparison and one on everything; `nested_score`
another 5 × (`folds` + 1). A kind that takes long (`COSTLY`) first runs on one fold, and stops there when it is clearly
worse than the best of those before it on the same mixtures. The stack costs nothing but its last fit: it combines what
the others predicted out of fold.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from scipy.stats import norm, rankdata
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted, validate_data

from routing.estimators import BudgetOnly, LeastSquares, LightGBM, Mean, Quadratic, Ridge
from routing.gaussian_process import GaussianProcess
from routing.intervals import calibrate
from routing.stack import BASE, PRESETS, Blend, Stack, convex_weights

__all__ = [
    "KINDS",
    "PRESETS",
    "BudgetOnly",
    "Chosen",
    "GaussianProcess",
    "LeastSquares",
    "LightGBM",
    "Mean",
    "Quadratic",
    "Ridge",
    "Score",
    "Stack",
    "as_dict",
    "choose",
    "nested_score",
    "noise_ceiling",
    "spearman",
]

Split = list[tuple[np.ndarray, np.ndarray]]
STACK = "stack"
# Simplest first: a later kind must be clearly better than an earlier one to be chosen.
KINDS: dict[str, Callable[[int, int], BaseEstimator]] = {
    **BASE,
    STACK: lambda budget_column, seed: Stack(budget_column=budget_column, seed=seed),
}
# Tenths of a second to seconds a fit, where the others take hundredths.
COSTLY = ("gaussian_process", "lightgbm")
# A costly kind stops after a fold on which it is worse by this many standard errors of the paired difference.
HOPELESS = 2.0
# Intervals come from residuals of models fitted on nine tenths of the mixtures, not on four fifths as for the choice:
# the less is held out, the less they exceed those of the model that predicts.
INTERVAL_FOLDS = 10


@dataclass(frozen=True)
class Score:
    """One kind's cross-validated score: RMSE (target's unit) with its standard error, rank correlation with 95%.

    `mixtures`: on how many it was held out; fewer than all for a kind that stopped after one fold.
    """

    rmse: float
    rmse_error: float
    spearman: float
    spearman_low: float
    spearman_high: float
    mixtures: int = 0


@dataclass
class _Trial:
    """One kind's out-of-fold predictions (repeats, m), NaN where it was not run, and the models that made them."""

    predicted: np.ndarray
    models: list[list[Any]] = field(default_factory=list)


class Chosen(RegressorMixin, BaseEstimator):
    """The performance model that cross-validation chose; `fit` chooses and fits.

    After it: `kind_`, `scores_` (kind → Score), `stopped_` (kinds that were clearly worse after a fold), `estimator_`,
    `coverage_` (share of held-out mixtures inside the 90% interval), `skill_` (it tells mixtures apart at all),
    `beats_budget_` (it tells where to spend, not only how much). `intervals` False saves their calibration, where only
    `predict` is wanted; `coverage_` and `predict_interval` are then not there.
    """

    def __init__(
        self,
        budget_column: int = 0,
        kinds: tuple[str, ...] = tuple(KINDS),
        repeats: int = 2,
        folds: int = 5,
        seed: int = 0,
        intervals: bool = True,
    ) -> None:
        self.budget_column = budget_column
        self.kinds = kinds
        self.repeats = repeats
        self.folds = folds
        self.seed = seed
        self.intervals = intervals

    def fit(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray | None = None) -> Self:
        """`groups` (m,) keeps mixtures that must not be separated (repeated seeds of one) in one fold."""
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2)
        groups = np.arange(len(X)) if groups is None else np.asarray(groups)
        splits = [_splits(groups, self.folds, self.seed + repeat) for repeat in range(self.repeats)]
        trials = self._trials(X, y, splits)
        self.scores_ = {kind: _score(trial.predicted, y) for kind, trial in trials.items()}
        whole = {kind: trial for kind, trial in trials.items() if not np.isnan(trial.predicted).any()}
        self.stopped_ = tuple(kind for kind in trials if kind not in whole)
        self.kind_ = _simplest({kind: trial.predicted for kind, trial in whole.items()}, y)
        self._keep(X, y, groups, whole)
        return self

    def _trials(self, X: np.ndarray, y: np.ndarray, splits: list[Split]) -> dict[str, _Trial]:
        """In the order of `kinds`, whatever the order in which they are run."""
        alone = [kind for kind in self.kinds if kind != STACK]
        if not alone:
            raise ValueError("The stack combines what other kinds predicted: name at least one beside it.")
        trials = {kind: self._trial(kind, X, y, splits, {}) for kind in alone if kind not in COSTLY}
        for kind in (kind for kind in alone if kind in COSTLY):
            rivals = {name: trial.predicted for name, trial in trials.items()}
            trials[kind] = self._trial(kind, X, y, splits, rivals)
        if STACK in self.kinds:
            members = {kind: trial for kind, trial in trials.items() if not np.isnan(trial.predicted).any()}
            trials[STACK] = self._stacked(members, y, splits)
        return {kind: trials[kind] for kind in self.kinds}

    def _trial(
        self, kind: str, X: np.ndarray, y: np.ndarray, splits: list[Split], rivals: dict[str, np.ndarray]
    ) -> _Trial:
        trial = _Trial(np.full((len(splits), len(y)), np.nan))
        for repeat, split in enumerate(splits):
            trial.models.append([])
            for train, test in split:
                model = self._new(kind).fit(X[train], y[train])  # type: ignore[attr-defined]
                trial.predicted[repeat, test] = model.predict(X[test])
                trial.models[-1].append(model)
                first = repeat == 0 and len(trial.models[0]) == 1
                if first and _hopeless(trial.predicted[0, test], [each[0, test] for each in rivals.values()], y[test]):
                    return trial
        return trial

    def _stacked(self, members: dict[str, _Trial], y: np.ndarray, splits: list[Split]) -> _Trial:
        """Each fold is predicted with weights that the other folds' predictions gave."""
        trial = _Trial(np.empty((len(splits), len(y))))
        for repeat, split in enumerate(splits):
            predicted = np.stack([each.predicted[repeat] for each in members.values()])
            trial.models.append([])
            for number, (train, test) in enumerate(split):
                weights = convex_weights(predicted[:, train], y[train])
                trial.predicted[repeat, test] = weights @ predicted[:, test]
                models = tuple(each.models[repeat][number] for each in members.values())
                trial.models[-1].append(Blend(models, tuple(weights)))
        return trial

    def _keep(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray, whole: dict[str, _Trial]) -> None:
        """The model on everything, and what intervals are made of."""
        trial = whole[self.kind_]
        members = {kind: each.predicted.mean(axis=0) for kind, each in whole.items() if kind != STACK}
        self.stack_kinds_ = tuple(members)
        self.stack_weights_ = tuple(convex_weights(np.stack(list(members.values())), y)) if members else ()
        self.estimator_ = self.combined(X, y) if self.kind_ == STACK else self._new(self.kind_).fit(X, y)  # type: ignore[attr-defined]
        self.fold_models_ = trial.models
        if self.intervals:
            self._calibrate(X, y, groups)

    def _calibrate(self, X: np.ndarray, y: np.ndarray, groups: np.ndarray) -> None:
        """Residuals of the chosen kind, held out anew in smaller folds, and the models that left them."""
        splits = [_splits(groups, INTERVAL_FOLDS, self.seed)]
        kinds = self.stack_kinds_ if self.kind_ == STACK else (self.kind_,)
        trials = {kind: self._trial(kind, X, y, splits, {}) for kind in kinds}
        trial = self._stacked(trials, y, splits) if self.kind_ == STACK else trials[self.kind_]
        fold = np.empty(trial.predicted.shape, dtype=np.int64)
        for repeat, split in enumerate(splits):
            for number, (_, test) in enumerate(split):
                fold[repeat, test] = number
        self.fold_models_ = trial.models
        self.intervals_ = calibrate(X, np.abs(y - trial.predicted), fold, trial.models, self.seed)
        self.coverage_ = self.intervals_.coverage(0.9)

    def combined(self, X: np.ndarray, y: np.ndarray) -> Stack:
        """The stack with the weights that the comparison's out-of-fold predictions gave, fitted on (X, y)."""
        check_is_fitted(self, "stack_weights_")
        return Stack(self.stack_kinds_, self.stack_weights_, self.budget_column, self.folds, self.seed).fit(X, y)

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
        return np.asarray(self.estimator_.predict(validate_data(self, X, reset=False)))

    def predict_interval(self, X: np.ndarray, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """(low, high), each (m,): intervals for a mixture's measured performance, see `routing.intervals`."""
        check_is_fitted(self, "intervals_")
        X = validate_data(self, X, reset=False)
        centre = self.estimator_.predict(X)
        half = self.intervals_.half_width(X, self.fold_models_, coverage)
        return centre - half, centre + half


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
    plain = clone(model).set_params(intervals=False)
    for train, test in _splits(groups, folds, model.seed + 1000):
        predicted[test] = clone(plain).fit(X[train], y[train], groups[train]).predict(X[test])
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
    """`predicted` (repeats, m), NaN where not run. Spearman: Fisher's z, Bonett and Wright's error (2000)."""
    ran = ~np.isnan(predicted).all(axis=0)
    predicted, y = predicted[~np.isnan(predicted).all(axis=1)][:, ran], y[ran]
    squared = np.square(predicted - y).mean(axis=0)
    rmse = float(np.sqrt(squared.mean()))
    error = float(squared.std(ddof=1) / np.sqrt(len(y)) / (2 * rmse)) if rmse > 0 else 0.0
    correlation = float(np.mean([spearman(row, y) for row in predicted]))
    if len(y) <= 4:
        return Score(rmse, error, correlation, -1.0, 1.0, len(y))
    z = np.arctanh(np.clip(correlation, -0.9999, 0.9999))
    half = norm.ppf(0.975) * np.sqrt((1 + correlation**2 / 2) / (len(y) - 3))
    return Score(rmse, error, correlation, float(np.tanh(z - half)), float(np.tanh(z + half)), len(y))


def _hopeless(predicted: np.ndarray, rivals: list[np.ndarray], y: np.ndarray) -> bool:
    """Clearly worse than the best rival on one fold; few mixtures prove nothing."""
    if not rivals or len(y) < 10:
        return False
    best = min((np.square(rival - y) for rival in rivals), key=lambda errors: float(errors.mean()))
    worse = np.square(predicted - y) - best
    return bool(worse.mean() > HOPELESS * worse.std(ddof=1) / np.sqrt(len(y)))


def _simplest(held_out: dict[str, np.ndarray], y: np.ndarray) -> str:
    errors = {kind: np.square(predicted - y).mean(axis=0) for kind, predicted in held_out.items()}
    best = min(errors, key=lambda kind: float(errors[kind].mean()))
    for kind, error in errors.items():
        worse = error - errors[best]
        if worse.mean() <= worse.std(ddof=1) / np.sqrt(len(y)):
            return kind
    return best


def as_dict(model: Chosen) -> dict[str, Any]:
    """What is worth storing beside a fitted model, as JSON."""
    return {
        "kind": model.kind_,
        "skill": model.skill_,
        "beats_budget": model.beats_budget_,
        "coverage_90": model.coverage_,
        "stopped": list(model.stopped_),
        "scores": {kind: vars(score) for kind, score in model.scores_.items()},
    }
