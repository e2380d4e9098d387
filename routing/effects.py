"""What a performance model says of features: where people's judgments are worth more than elsewhere.

The question that a lead asks of one bin of a feature: with the same number of people's judgments, how much does
performance rise when a tenth of them moves there from elsewhere? A ridge on the descriptions answers it, whatever kind
was chosen: its coefficients can be drawn again hundreds of times, and a curved model has no one answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from sklearn.linear_model import RidgeCV

MOVED = 0.1
DRAWS = 200
ALPHAS = np.logspace(-3, 4, 15)
# Only mixtures in which people judge some and labelers some can move anything.
SOME = (0.05, 0.95)


@dataclass(frozen=True)
class Effect:
    """Points (0.01) of performance for one bin, with a 90% interval."""

    name: str
    bin: int
    bins: int
    effect: float
    low: float
    high: float


def effects(
    described: np.ndarray,
    scores: np.ndarray,
    members: np.ndarray,
    labels: Sequence[tuple[str, int, int]],
    people_share: np.ndarray,
    *,
    seed: int = 0,
    draws: int = DRAWS,
) -> list[Effect]:
    """One `Effect` a bin, the largest first.

    `described` (m, c) from `mixtures.describe`, whose last q columns are the bins' lifts; `scores` (m,); `members`
    (n, q) and `labels` (q,) from `mixtures.Bins`; `people_share` (m,) of each mixture. Mixtures are drawn with
    replacement `draws` times for the intervals, at the penalty that fits all of them. Empty without bins.
    """
    if not members.shape[1]:
        return []
    moved = shifts(members) * float(np.clip(people_share, *SOME).mean()) * 100
    spread = described.std(axis=0)
    X = (described - described.mean(axis=0)) / np.where(spread > 1e-12, spread, np.inf)
    scale = np.where(spread > 1e-12, spread, np.inf)[-members.shape[1] :]
    penalty = float(RidgeCV(ALPHAS).fit(X, scores).alpha_)
    rng = np.random.default_rng(seed)
    rows = [np.arange(len(X)), *(rng.integers(0, len(X), len(X)) for _ in range(draws))]
    slopes = np.array([_ridge(X[row], scores[row], penalty)[-members.shape[1] :] / scale for row in rows])
    found = slopes @ moved.T
    low, high = np.quantile(found[1:], [0.05, 0.95], axis=0)
    made = [
        Effect(*label, float(found[0, place]), float(low[place]), float(high[place]))
        for place, label in enumerate(labels)
    ]
    return sorted(made, key=lambda each: -abs(each.effect))


def shifts(members: np.ndarray) -> np.ndarray:
    """(q, q): row j is how the lifts of all bins change when 0.1 of n judgments moves into bin j from outside it.

    Those that leave are taken evenly from outside, those that come are spread evenly inside: bin k gains its overlap
    with j as a share of j, and loses its part outside j as a share of what is outside, both counted in its own size.
    A bin that holds everything, or nothing, moves nothing.
    """
    n, inside = len(members), members.astype(np.float64)
    size, overlap = inside.sum(axis=0), inside.T @ inside
    others = n - size
    comes = np.divide(overlap, size[:, None], out=np.zeros_like(overlap), where=size[:, None] > 0)
    goes = np.divide(size[None, :] - overlap, others[:, None], out=np.zeros_like(overlap), where=others[:, None] > 0)
    change = np.divide(comes - goes, size[None, :], out=np.zeros_like(overlap), where=size[None, :] > 0)
    change[(size == 0) | (others == 0)] = 0.0
    return np.asarray(MOVED * n * change)


def _ridge(X: np.ndarray, y: np.ndarray, penalty: float) -> np.ndarray:
    """(c,) coefficients, by the smaller of the two normal equations."""
    X, y = X - X.mean(axis=0), y - y.mean()
    if X.shape[0] < X.shape[1]:
        return np.asarray(X.T @ np.linalg.solve(X @ X.T + penalty * np.eye(len(X)), y))
    return np.asarray(np.linalg.solve(X.T @ X + penalty * np.eye(X.shape[1]), X.T @ y))
