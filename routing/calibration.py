"""Chances learnt on the seed set: a penalised logistic regression, cross-fitted, that must beat the plain average.

All penalties of a fold are one batched fit. The fold models serve three times: they choose the penalty, predict the
rows that the final model was taught on, and tell how far the predictions can be trusted (delete-a-group jackknife).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit

from routing.reward_proxy import fit_mixtures, folds

# The last leaves next to nothing but the base rate, which is what remains when nothing can be learnt.
GRID = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10000.0)
# The intercept is a column this large, so that it is hardly penalised.
INTERCEPT = 100.0
FOLDS = 10
# A model must beat the average by this many standard errors of the difference in out-of-fold log loss.
SKILL = 1.0
# Of the first gradient; closer changes no chance by a thousandth.
TOLERANCE = 1e-4
# Rows predicted at once, which bounds memory.
BLOCK = 100_000


@dataclass(frozen=True)
class Chances:
    """Chances (n,) in [0, 1], their standard errors (n,), and whether they differ between rows for a reason."""

    value: np.ndarray
    error: np.ndarray
    skill: bool


def out_of_fold(
    X: np.ndarray, target: np.ndarray, weight: np.ndarray, groups: np.ndarray, taught: np.ndarray, seed: int
) -> np.ndarray:
    """(n,) chance that `target` is 1. Fitted where `taught`; those rows are predicted by folds that did not see them.

    `X` (n, k) standardised inputs, `target` (n,) in [0, 1], `weight` (n,), `groups` (n,) kept in one fold.
    """
    fitted = _fit(np.asarray(X[taught]), target[taught], weight[taught], groups[taught], seed)
    value = _predict(X, fitted)[0]
    value[taught] = expit(fitted.held_out)
    return value


def chances(
    X: np.ndarray, target: np.ndarray, weight: np.ndarray, groups: np.ndarray, taught: np.ndarray, seed: int
) -> Chances:
    """As `out_of_fold`, with errors; without skill the average for every row, so that nobody ranks by noise."""
    rows = np.flatnonzero(taught)
    fitted = _fit(np.asarray(X[rows]), target[rows], weight[rows], groups[rows], seed)
    if not _skill(fitted, target[rows], weight[rows], groups[rows]):
        return average(target[rows], weight[rows], len(X))
    value, error = _predict(X, fitted)
    value[rows] = expit(fitted.held_out)
    return Chances(value, error, True)


def average(target: np.ndarray, weight: np.ndarray, n: int) -> Chances:
    """One chance for all: two right and two wrong are added (Agresti and Coull 1998), so that none is certain."""
    effective = weight.sum() ** 2 / max(np.square(weight).sum(), 1e-12) if len(weight) else 0.0
    mean = (float(np.dot(weight, target)) / max(weight.sum(), 1e-12) * effective + 2) / (effective + 4)
    return Chances(np.full(n, mean), np.full(n, np.sqrt(mean * (1 - mean) / (effective + 4))), False)


@dataclass(frozen=True)
class _Fitted:
    """`models` (1 + folds, d + 1): the final one first; `held_out` (t,) logits of the taught rows by their own fold."""

    models: np.ndarray
    held_out: np.ndarray
    parts: list[tuple[np.ndarray, np.ndarray]]


def _fit(X: np.ndarray, target: np.ndarray, weight: np.ndarray, groups: np.ndarray, seed: int) -> _Fitted:
    inputs, grid = _with_intercept(X), np.asarray(GRID)
    parts = folds(groups, FOLDS, seed)
    held_out, models = np.empty((len(grid), len(inputs))), []
    for train, test in parts:
        labels = np.broadcast_to(target[train], (len(grid), len(train)))
        models.append(fit_mixtures(inputs[train], labels, weight[train], grid, TOLERANCE))
        held_out[:, test] = models[-1] @ inputs[test].T
    loss = (np.logaddexp(0, held_out) - target * held_out) @ weight
    best = int(np.argmin(loss))
    final = fit_mixtures(inputs, target[None, :], weight, grid[best], TOLERANCE)[0]
    return _Fitted(np.vstack([final, *(model[best] for model in models)]), held_out[best], parts)


def _with_intercept(X: np.ndarray) -> np.ndarray:
    return np.column_stack([np.asarray(X, dtype=np.float64), np.full(len(X), INTERCEPT)])


def _skill(fitted: _Fitted, target: np.ndarray, weight: np.ndarray, groups: np.ndarray) -> bool:
    """Whether the held-out log loss is below that of the training folds' average, by more than chance would have it."""
    plain = np.empty(len(target))
    for train, test in fitted.parts:
        plain[test] = logit(average(target[train], weight[train], 1).value[0])
    better = weight * (_loss(plain, target) - _loss(fitted.held_out, target))
    by_group = np.bincount(np.unique(groups, return_inverse=True)[1], weights=better)
    spread = by_group.std(ddof=1) * np.sqrt(len(by_group))
    return bool(by_group.sum() > SKILL * spread)


def _loss(logits: np.ndarray, target: np.ndarray) -> np.ndarray:
    return np.asarray(np.logaddexp(0, logits) - target * logits)


def _predict(X: np.ndarray, fitted: _Fitted) -> tuple[np.ndarray, np.ndarray]:
    """(chance by the final model, standard error): √((K − 1)/K Σ (p_k − p̄)²) over the K fold models."""
    value, error = np.empty(len(X)), np.empty(len(X))
    slopes, offsets = fitted.models[:, :-1].T, INTERCEPT * fitted.models[:, -1]
    for start in range(0, len(X), BLOCK):
        here = slice(start, start + BLOCK)
        p = expit(X[here].astype(slopes.dtype if len(X) < BLOCK else np.float32) @ slopes.astype(X.dtype) + offsets)
        value[here] = p[:, 0]
        count = p.shape[1] - 1
        error[here] = np.sqrt((count - 1) * np.var(p[:, 1:], axis=1))
    return value, error
