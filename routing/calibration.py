"""Chances learnt on the seed set: a penalised logistic regression whose own rows get out-of-fold values."""

from __future__ import annotations

import numpy as np

from routing.reward_proxy import choose_l2, fit_mixtures, folds

# The last leaves next to nothing but the base rate, which is what remains when nothing can be learnt.
GRID = (3.0, 10.0, 30.0, 100.0, 300.0, 1000.0, 10000.0)
# The intercept is a column this large, so that it is hardly penalised.
INTERCEPT = 100.0


def out_of_fold(
    X: np.ndarray, target: np.ndarray, weight: np.ndarray, groups: np.ndarray, taught: np.ndarray, seed: int
) -> np.ndarray:
    """(n,) chance that `target` is 1. Fitted where `taught`; those rows are predicted by folds that did not see them.

    `X` (n, k) standardised inputs, `target` (n,) in [0, 1], `weight` (n,), `groups` (n,) kept in one fold.
    """
    inputs = np.column_stack([X, np.full(len(X), INTERCEPT)])
    rows = np.flatnonzero(taught)
    l2 = choose_l2(inputs[rows], target[rows], groups[rows], weights=weight[rows], grid=GRID, seed=seed)
    logits = inputs @ _fit(inputs[rows], target[rows], weight[rows], l2)
    for train, test in folds(groups[rows], 5, seed):
        fitted = _fit(inputs[rows[train]], target[rows[train]], weight[rows[train]], l2)
        logits[rows[test]] = inputs[rows[test]] @ fitted
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))))


def _fit(X: np.ndarray, target: np.ndarray, weight: np.ndarray, l2: float) -> np.ndarray:
    return np.asarray(fit_mixtures(X, target[None, :], weight, l2)[0])
