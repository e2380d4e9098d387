"""A reward model that is cheap enough to train for hundreds of mixtures: Bradley-Terry on frozen features.

P(B preferred to A) = σ(x·β), where x is antisymmetric: exchanging A and B gives −x (Bradley and Terry 1952, with
features as in every preference-trained reward model). No intercept: a mirrored comparison has a mirrored probability.

All mixtures share the same x and differ in their labels, so they are fitted together: Newton's method whose steps come
from preconditioned conjugate gradients, one matrix product for all mixtures. In the eigenbasis of XᵀX the shared
preconditioner c·λ + l2 is diagonal and fits every mixture with its own label count and its own l2.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import cache
from typing import Self

import numpy as np
from scipy.special import expit
from sklearn.base import BaseEstimator
from sklearn.model_selection import GroupKFold
from sklearn.utils.validation import check_is_fitted
from threadpoolctl import ThreadpoolController

# Weight of the embedding columns against the signed features; fixed, so that the design needs no fitting. Of 0.3, 1 and
# 3 the one with the least cross-validated log loss on people's votes of llmfao and pandalm, test parts left out.
DIFFERENCE_SCALE = 1.0
L2_GRID = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0)
# Numbers in one working matrix (comparisons × mixtures): bounds memory to a few such matrices.
BLOCK = 4_000_000
# A design with fewer numbers than this is solved by one thread: on a busy machine two mostly wait for each other.
SMALL = 1_000_000
# Gradients in float32 cannot fall further than this, as a share of the first.
FLOAT32_TOLERANCE = 1e-4
# What is noise in a sum of many such numbers.
_ROUNDING = {"float64": 1e-10, "float32": 1e-6}
NEWTON_STEPS = 50
GRADIENT_STEPS = 100


def scales(signed: np.ndarray) -> np.ndarray:
    """(s,) root mean square of each signed feature over the project, 1 where it is always 0 or never defined."""
    count = np.maximum(1, (~np.isnan(signed)).sum(axis=0))
    rms = np.sqrt(np.nansum(np.square(signed), axis=0) / count)
    return np.where(rms > 0, rms, 1.0)


def design(
    prompt: np.ndarray, a: np.ndarray, b: np.ndarray, signed: np.ndarray, scale: np.ndarray | None = None
) -> np.ndarray:
    """(n, 2d + 1 + s) float64 antisymmetric design of n comparisons.

    `prompt`, `a`, `b` (n, d) are unit-length embeddings, `signed` (n, s) features that flip under exchange of A and B
    (NaN counts as no difference). Columns: difference of the response embeddings; the same times the prompt embedding,
    coordinate by coordinate; difference in similarity to the prompt; signed features divided by `scale` (default:
    `scales(signed)`), never centred, and cut at ±3.
    """
    difference = b.astype(np.float64) - a
    interaction = prompt * difference
    relevance = interaction.sum(axis=1, keepdims=True)
    widen = np.sqrt(max(1, prompt.shape[1]))
    ratio = np.clip(np.nan_to_num(signed / (scales(signed) if scale is None else scale)), -3, 3)
    return np.hstack(
        [DIFFERENCE_SCALE * difference, DIFFERENCE_SCALE * widen * interaction, DIFFERENCE_SCALE * relevance, ratio]
    )


def fit_mixtures(
    X: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None = None,
    l2: float | np.ndarray = 10.0,
    tolerance: float = 1e-7,
) -> np.ndarray:
    """(m, d) coefficients of m reward models fitted at once.

    `X` (n, d) from `design`; `targets` (m, n) each mixture's probability that B is better, NaN where it leaves the
    comparison out; `weights` (n,) or (m, n); `l2` one or (m,) penalties. Minimises, for each mixture,
    Σᵢ wᵢ [log(1 + exp(xᵢ·β)) − tᵢ xᵢ·β] + l2 ‖β‖² / 2: scikit-learn's LogisticRegression with C = 1 / l2 and no
    intercept, with soft labels. A float32 design is solved in float32: half the memory and time, to 1e-4 of the first
    gradient instead of `tolerance`.
    """
    X = np.asarray(X, None if X.dtype == np.float32 else np.float64)
    if X.dtype == np.float32:
        tolerance = max(tolerance, FLOAT32_TOLERANCE)
    penalties = np.broadcast_to(np.asarray(l2, dtype=X.dtype), (len(targets),))
    if np.any(penalties <= 0):
        raise ValueError("l2 must be above 0: without it separable comparisons have no finite fit.")
    everyone = None if weights is None else np.broadcast_to(weights, targets.shape)
    with _threads().limit(limits=1) if X.size < SMALL else nullcontext():
        rotated, eigenvalues, basis = _rotate(X)
        coefficients = np.empty((len(targets), len(eigenvalues)), X.dtype)
        for part in _blocks(len(targets), len(X)):
            label, weight = _labels(targets[part], None if everyone is None else everyone[part], X.dtype)
            coefficients[part] = _newton(rotated, eigenvalues, label, weight, penalties[part], tolerance).T
        return np.asarray(coefficients @ basis.T)


@cache
def _threads() -> ThreadpoolController:
    return ThreadpoolController()


def _rotate(X: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """X·basis (n, r), the eigenvalues (r,) of XᵀX that are not 0, and their eigenvectors: basis (d, r).

    Penalised solutions lie in the row space of X, so with fewer comparisons than columns the small Gram matrix does.
    """
    if X.shape[0] >= X.shape[1]:
        eigenvalues, basis = np.linalg.eigh(X.T @ X)
        kept = eigenvalues > _ROUNDING[X.dtype.name] * max(eigenvalues[-1], 1e-30)
        return X @ basis[:, kept], eigenvalues[kept], basis[:, kept]
    eigenvalues, left = np.linalg.eigh(X @ X.T)
    kept = eigenvalues > _ROUNDING[X.dtype.name] * max(eigenvalues[-1], 1e-30)
    length = np.sqrt(eigenvalues[kept])
    return left[:, kept] * length, eigenvalues[kept], X.T @ (left[:, kept] / length)


def _blocks(mixtures: int, comparisons: int) -> Iterator[slice]:
    size = max(1, BLOCK // max(1, comparisons))
    return (slice(start, start + size) for start in range(0, mixtures, size))


def _labels(targets: np.ndarray, weights: np.ndarray | None, kind: np.dtype) -> tuple[np.ndarray, np.ndarray]:
    """(n, m) labels and weights; what is left out weighs nothing."""
    known = ~np.isnan(targets)
    weight = known if weights is None else np.where(known, weights, 0.0)
    return np.where(known, targets, 0.5).T.astype(kind), weight.T.astype(kind)


def _newton(
    X: np.ndarray, eigenvalues: np.ndarray, label: np.ndarray, weight: np.ndarray, l2: np.ndarray, tolerance: float
) -> np.ndarray:
    """(d, m): all columns move together; a column that has converged is left alone."""
    beta = np.zeros((X.shape[1], label.shape[1]), X.dtype)
    active = np.arange(label.shape[1])
    first: np.ndarray | None = None
    for _ in range(NEWTON_STEPS):
        now, t, w, penalty = beta[:, active], label[:, active], weight[:, active], l2[active]
        logits = X @ now
        chance = expit(logits)
        gradient = X.T @ (w * (chance - t)) + penalty * now
        size = np.linalg.norm(gradient, axis=0)
        first = size if first is None else first
        left = size > tolerance * np.maximum(first[active], 1e-12)
        if not left.any():
            break
        active, now, t, w, penalty = active[left], now[:, left], t[:, left], w[:, left], penalty[left]
        curvature = (w * chance[:, left] * (1 - chance[:, left]), penalty)
        step = _conjugate_gradients(X, eigenvalues, *curvature, gradient[:, left])
        beta[:, active] = _descend(X, now, step, gradient[:, left], logits[:, left], t, w, penalty)
    return beta


def _conjugate_gradients(
    X: np.ndarray, eigenvalues: np.ndarray, curvature: np.ndarray, l2: np.ndarray, gradient: np.ndarray
) -> np.ndarray:
    """Solve (Xᵀ diag(h) X + l2) step = gradient for every column, to a hundredth of its length."""
    inverse = 1 / (np.maximum(eigenvalues, 0)[:, None] * curvature.mean(axis=0) + l2)
    step, residual = np.zeros_like(gradient), gradient.copy()
    direction = shaped = inverse * residual
    energy = (residual * shaped).sum(axis=0)
    goal = (0.01 * np.linalg.norm(gradient, axis=0)) ** 2
    for _ in range(GRADIENT_STEPS):
        product = X.T @ (curvature * (X @ direction)) + l2 * direction
        length = np.divide(energy, (direction * product).sum(axis=0), out=np.zeros_like(energy), where=energy > 0)
        step += length * direction
        residual -= length * product
        if np.all((residual * residual).sum(axis=0) <= goal):
            break
        shaped = inverse * residual
        before, energy = energy, (residual * shaped).sum(axis=0)
        direction = shaped + np.divide(energy, before, out=np.zeros_like(energy), where=before > 0) * direction
    return step


def _descend(
    X: np.ndarray,
    beta: np.ndarray,
    step: np.ndarray,
    gradient: np.ndarray,
    logits: np.ndarray,
    label: np.ndarray,
    weight: np.ndarray,
    l2: np.ndarray,
) -> np.ndarray:
    """Take the step, halved per column until the loss falls enough (Armijo)."""

    def loss(values: np.ndarray, z: np.ndarray) -> np.ndarray:
        fit = weight * (np.logaddexp(0, z) - label * z)
        return np.asarray(fit.sum(axis=0, dtype=np.float64) + 0.5 * l2 * (values * values).sum(axis=0))

    slack = _ROUNDING[X.dtype.name]
    start, slope, moved = loss(beta, logits), (gradient * step).sum(axis=0), X @ step
    length = np.ones(beta.shape[1], beta.dtype)
    for _ in range(30):
        too_far = loss(beta - length * step, logits - length * moved) > start - 1e-4 * length * slope + slack * start
        if not too_far.any():
            break
        length = np.where(too_far, length / 2, length)
    return np.asarray(beta - length * step)


def accuracy(coefficients: np.ndarray, X: np.ndarray, people: np.ndarray, votes: np.ndarray) -> np.ndarray:
    """(m,) share of people's majorities that each reward model gets right, weighted by votes.

    `people` (n,) is the mean vote for B; where it is exactly one half, people have no majority and the comparison does
    not count. A reward model without a preference (logit exactly 0) gets half. NaN without any majority.
    """
    return _share(*_hits(coefficients, X, people, votes))


def _hits(
    coefficients: np.ndarray, X: np.ndarray, people: np.ndarray, votes: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(m,) weighted number right, (1,) weight of all that count."""
    counts = ~np.isnan(people) & (people != 0.5)
    weight, side = votes[counts].astype(np.float64), np.sign(people[counts] - 0.5)
    agreement = np.sign(coefficients @ X[counts].T) * side
    return ((agreement + 1) / 2) @ weight, np.array([weight.sum()])


def _share(right: np.ndarray, total: np.ndarray) -> np.ndarray:
    return np.divide(right, total, out=np.full(len(right), np.nan), where=total > 0)


def folds(groups: np.ndarray, count: int, seed: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """(train, test) positions of at most `count` folds; a group lies in one fold. Raises ValueError with one group."""
    distinct = len(np.unique(groups))
    if distinct < 2:
        raise ValueError("Cross-fitting needs comparisons of at least two groups (prompts).")
    splitter = GroupKFold(min(count, distinct), shuffle=True, random_state=seed)
    return list(splitter.split(groups, groups=groups))


def cross_fitted_accuracy(
    X: np.ndarray,
    targets: np.ndarray,
    people: np.ndarray,
    votes: np.ndarray,
    groups: np.ndarray,
    *,
    l2: float = 10.0,
    seed: int = 0,
    repeats: int = 1,
    count: int = 5,
    resample: bool = False,
) -> np.ndarray:
    """(m,) accuracy of each mixture's reward model on people's majorities of groups it was not trained on.

    `targets` (m, n) as in `fit_mixtures`. With `resample` every fit weighs its groups by draws from Poisson(1): the
    same mixture with a new seed, for the noise ceiling.
    """
    rng = np.random.default_rng(seed)
    right, total = np.zeros(len(targets)), np.zeros(1)
    for repeat in range(repeats):
        weights = rng.poisson(1.0, groups.max() + 1)[groups].astype(np.float64) if resample else None
        for train, test in folds(groups, count, seed + repeat):
            fitted = fit_mixtures(X[train], targets[:, train], None if weights is None else weights[train], l2)
            hits, weight = _hits(fitted, X[test], people[test], votes[test])
            right, total = right + hits, total + weight
    return _share(right, total)


def choose_l2(
    X: np.ndarray,
    p_b: np.ndarray,
    groups: np.ndarray,
    *,
    weights: np.ndarray | None = None,
    grid: Sequence[float] = L2_GRID,
    seed: int = 0,
    count: int = 5,
) -> float:
    """The penalty with the least cross-validated log loss; the whole grid is one batched fit a fold."""
    weight = np.ones(len(X)) if weights is None else weights
    loss = np.zeros(len(grid))
    for train, test in folds(groups, count, seed):
        labels = np.broadcast_to(p_b[train], (len(grid), len(train)))
        logits = fit_mixtures(X[train], labels, weight[train], np.asarray(grid, dtype=np.float64)) @ X[test].T
        loss += np.nansum(weight[test] * (np.logaddexp(0, logits) - p_b[test] * logits), axis=1)
    return float(grid[int(np.argmin(loss))])


class RewardProxy(BaseEstimator):
    """One Bradley-Terry reward model, usable as a labeler: `fit(X, p_b)`, `predict_proba(X) -> (n, 2)` for A and B.

    `X` from `design`, `p_b` soft labels in [0, 1] (NaN is left out). `l2=None` chooses the penalty by cross-validation
    over `groups` (default: every comparison its own).
    """

    def __init__(self, l2: float | None = None, seed: int = 0) -> None:
        self.l2 = l2
        self.seed = seed

    def fit(
        self,
        X: np.ndarray,
        p_b: np.ndarray,
        sample_weight: np.ndarray | None = None,
        groups: np.ndarray | None = None,
    ) -> Self:
        known = ~np.isnan(np.asarray(p_b, dtype=np.float64))
        if not known.any():
            raise ValueError("RewardProxy.fit needs at least one label.")
        X, p_b = np.asarray(X, dtype=np.float64)[known], np.asarray(p_b, dtype=np.float64)[known]
        weight = None if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)[known]
        group = np.arange(len(X)) if groups is None else np.asarray(groups)[known]
        self.l2_ = self._penalty(X, p_b, weight, group)
        self.coef_ = fit_mixtures(X, p_b[None, :], weight, self.l2_)[0]
        self.n_features_in_ = X.shape[1]
        return self

    def _penalty(self, X: np.ndarray, p_b: np.ndarray, weight: np.ndarray | None, groups: np.ndarray) -> float:
        if self.l2 is not None:
            return self.l2
        if len(np.unique(groups)) < 2:
            return max(L2_GRID)
        return choose_l2(X, p_b, groups, weights=weight, seed=self.seed)

    def decision_function(self, X: np.ndarray) -> np.ndarray:
        """(n,) logits; above 0 means B."""
        check_is_fitted(self)
        return np.asarray(np.asarray(X, dtype=np.float64) @ self.coef_)

    def predict_proba(self, X: np.ndarray) -> np.ndarray:
        p_b = expit(self.decision_function(X))
        return np.column_stack([1 - p_b, p_b])
