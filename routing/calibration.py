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
SKILL = 2.0
# Penalties of the two fits that adaptive ones are made from, and how much more than others a column may count.
FIRST, SECOND, WIDEST = 10.0, 30.0, 3.0
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
    X: np.ndarray,
    target: np.ndarray,
    weight: np.ndarray,
    groups: np.ndarray,
    taught: np.ndarray,
    seed: int,
    fair: np.ndarray | None = None,
) -> Chances:
    """As `out_of_fold`, with errors; without skill the average for every row, so that nobody ranks by noise.

    `fair` (n,) the rows that the average is of, default those taught: the ones that nobody picked for being hard.
    """
    rows = np.flatnonzero(taught)
    fitted = _fit(np.asarray(X[rows]), target[rows], weight[rows], groups[rows], seed)
    if not _skill(fitted, target[rows], weight[rows], groups[rows]):
        rows = rows if fair is None else np.flatnonzero(fair)
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
    inputs = _with_intercept(X)
    parts = folds(groups, FOLDS, seed)
    held_out, models = np.empty((2 * len(GRID), len(inputs))), []
    for train, test in parts:
        models.append(_candidates(inputs[train], target[train], weight[train]))
        held_out[:, test] = models[-1] @ inputs[test].T
    loss = (np.logaddexp(0, held_out) - target * held_out) @ weight
    best = int(np.argmin(loss))
    final = _candidates(inputs, target, weight)[best]
    return _Fitted(np.vstack([final, *(model[best] for model in models)]), held_out[best], parts)


def _candidates(inputs: np.ndarray, target: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """(2 × penalties, d + 1) coefficients: every penalty as it is, and adaptive.

    Adaptive penalties weigh on a column the more, the less a first fit made of it (Zou 2006, with squares, twice): few
    features show where a labeler errs and many do not, and a plain penalty strong enough for those shrinks these.
    """
    grid = np.asarray(GRID)
    labels = np.broadcast_to(target, (len(grid), len(target)))
    plain = fit_mixtures(inputs, labels, weight, grid, TOLERANCE)
    scale = _scale(plain[GRID.index(FIRST)])
    again = fit_mixtures(inputs * scale, labels[:1], weight, SECOND, TOLERANCE)[0] * scale
    scale = _scale(again)
    return np.vstack([plain, fit_mixtures(inputs * scale, labels, weight, grid, TOLERANCE) * scale])


def _scale(coefficients: np.ndarray) -> np.ndarray:
    """(d + 1,) size of each coefficient against their root mean square, at most WIDEST; the intercept's stays."""
    size = np.abs(coefficients[:-1])
    typical = np.sqrt(np.mean(size**2)) if len(size) else 1.0
    return np.append(np.minimum(size / max(typical, 1e-12), WIDEST), 1.0)


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
