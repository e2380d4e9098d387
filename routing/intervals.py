"""How far a performance model can be trusted, from what it got wrong on mixtures it had not seen.

    half width at x = q · σ(x) · √max(1, J(x)/J*)

σ(x), the difficulty, is what residuals are like for mixtures such as x: a small random forest of the logarithm of the
out-of-fold residuals, used where it makes intervals sharper on mixtures it was not fitted on, else 1 (normalised
conformal prediction; Papadopoulos et al. 2011, Johansson et al. 2014). q is the quantile of |residual|/σ with the
conformal correction for a finite sample. J(x) is the delete-a-fold jackknife's variance of the prediction at x and J*
its largest value among the mixtures seen: where folds disagree by more than on any of them, the interval widens with
them.

CV+ (Barber et al. 2021), used before, adds the folds' spread to residuals that already contain it, and has one width
for easy and hard mixtures: on RegMix it was wider than asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.ensemble import RandomForestRegressor

# The forest of the difficulty; a leaf holds enough residuals for their mean logarithm to mean something.
TREES, LEAF = 30, 8
# Share of the root mean square added to each residual before its logarithm: one lucky hit is not precision.
FLOOR = 0.05
# The level at which the forest must make intervals sharper.
LEVEL = 0.9


@dataclass(frozen=True)
class Intervals:
    """`scaled` (r, m): |residual|/σ of r repeats on m mixtures, `fold` (r, m) in which each was held out, σ's forest
    (None: 1 everywhere), and J*."""

    scaled: np.ndarray
    fold: np.ndarray
    forest: RandomForestRegressor | None
    most: float

    def half_width(self, X: np.ndarray, models: Sequence[Sequence[Any]], coverage: float) -> np.ndarray:
        """(k,) half widths at k mixtures; `models` as in `calibrate`."""
        difficulty = np.exp(self.forest.predict(X)) if self.forest else np.ones(len(X))
        further = np.sqrt(np.maximum(1.0, jackknife_variance(models, X) / self.most)) if self.most > 0 else 1.0
        return np.asarray(quantile(self.scaled, coverage) * difficulty * further)

    def coverage(self, wanted: float) -> float:
        """Share of each fold's residuals under the other folds' quantile: coverage that nothing was fitted on."""
        inside = [
            (row[fold == number] <= quantile(row[None, fold != number], wanted)).sum()
            for row, fold in zip(self.scaled, self.fold, strict=True)
            for number in np.unique(fold)
        ]
        return float(sum(inside)) / self.scaled.size


def calibrate(
    X: np.ndarray, absolute: np.ndarray, fold: np.ndarray, models: Sequence[Sequence[Any]], seed: int = 0
) -> Intervals:
    """Intervals from absolute out-of-fold residuals (r, m) at `X` (m, c); `models[repeat]` were fitted without a fold
    each."""
    most = float(jackknife_variance(models, X).max())
    size = float(np.sqrt(np.square(absolute).mean()))
    if size == 0:
        return Intervals(absolute, fold, None, most)
    target = np.log(np.sqrt(np.square(absolute).mean(axis=0)) + FLOOR * size)
    difficulty = np.empty(len(X))
    for number in np.unique(fold[0]):
        out = fold[0] == number
        difficulty[out] = np.exp(_forest(seed).fit(X[~out], target[~out]).predict(X[out]))
    if _sharpness(absolute, difficulty) >= _sharpness(absolute, np.ones(len(X))):
        return Intervals(absolute, fold, None, most)
    return Intervals(absolute / difficulty, fold, _forest(seed).fit(X, target), most)


def _forest(seed: int) -> RandomForestRegressor:
    return RandomForestRegressor(TREES, min_samples_leaf=LEAF, random_state=seed)


def _sharpness(absolute: np.ndarray, difficulty: np.ndarray) -> float:
    """The mean interval score (Gneiting and Raftery 2007): width, and 2/(1 − level) times what falls outside."""
    half = quantile(absolute / difficulty, LEVEL) * difficulty
    return float(np.mean(2 * half + 2 / (1 - LEVEL) * np.maximum(absolute - half, 0)))


def quantile(scaled: np.ndarray, coverage: float) -> float:
    """The ⌈(m + 1) · coverage⌉-th smallest of m residuals; of r repeats (r, m) the same share of all r·m.

    Repeats hold out the same mixtures, so they steady the quantile without counting as more evidence.
    """
    repeats, m = scaled.shape
    rank = min(m, int(np.ceil((m + 1) * coverage))) * repeats
    return float(np.partition(scaled.ravel(), rank - 1)[rank - 1])


def jackknife_variance(models: Sequence[Sequence[Any]], X: np.ndarray) -> np.ndarray:
    """(k,) (f − 1)/f · Σ (ŷ_i − ȳ)² over a repeat's f models, each fitted without one fold; mean of the repeats.

    Efron and Tibshirani 1993, chapter 11.
    """
    by_repeat = [np.stack([model.predict(X) for model in repeat]) for repeat in models]
    return np.asarray(np.mean([each.var(axis=0) * (len(each) - 1) for each in by_repeat], axis=0))


def difference_error(models: Sequence[Sequence[Any]], X: np.ndarray, reference: int) -> np.ndarray:
    """(k,) standard error of each prediction's difference to that of row `reference`, by the same jackknife.

    What the folds' models get wrong alike falls out: two plans can be told apart though neither is known well.
    """
    by_repeat = [np.stack([model.predict(X) for model in repeat]) for repeat in models]
    apart = [each - each[:, [reference]] for each in by_repeat]
    return np.asarray(np.sqrt(np.mean([each.var(axis=0) * (len(each) - 1) for each in apart], axis=0)))
