"""What a performance model knows of comparisons: their features, and what labelers' answers say about each.

Features alone rarely line up with where labelers err, so mixtures described by them look like copies of the budget.
The calibrated chance that the best labeler is wrong, and disagreement between labelers, are where people's judgments
make a difference; half of the candidate mixtures are therefore drawn along these two.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from routing import features, mixtures
from routing.strategies import Problem, chance_wrong

LABELER_TRAITS = ("labeler_wrong", "labelers_disagree")


def names_of(names: Sequence[str]) -> tuple[str, ...]:
    """Names of the columns of `traits`, given those of the problem's features."""
    return (*names, *LABELER_TRAITS)


# Of a problem that knows no features but those of the texts.
NAMES: tuple[str, ...] = names_of(features.NAMES)


def traits(problem: Problem, *, seed: int = 0) -> np.ndarray:
    """(n, k + 2): the problem's features, the chance that its best labeler is wrong (out of fold where people judged;
    NaN when too little is judged to learn it), and the share of labelers that contradict the majority of labelers."""
    if not problem.labelers:
        nothing = np.full((len(problem), 2), np.nan)
        return np.hstack([problem.features, nothing])
    learnt, wrong = chance_wrong(problem, np.full(len(problem), best_labeler(problem)), seed=seed)
    sides = np.sign(problem.p_b[:, problem.labelers] - 0.5)
    count = np.maximum(1, (~np.isnan(sides)).sum(axis=1))
    split = 1 - np.abs(np.nansum(sides, axis=1)) / count
    return np.column_stack([problem.features, wrong if learnt else np.full(len(problem), np.nan), split])


def best_labeler(problem: Problem) -> int:
    """Index of the labeler that agrees best with people; the first when nothing is known."""
    return max(problem.labelers, key=lambda labeler: float(np.nan_to_num(problem.lessons.accuracy(labeler), nan=-1.0)))


def sample(
    described: np.ndarray, sources: int, count: int, *, available: np.ndarray | None = None, seed: int = 0
) -> np.ndarray:
    """(count, n) mixtures as `mixtures.sample`, half along directions of all traits, half of the labelers' alone."""
    half = count - count // 2
    broad = mixtures.sample(described, sources, half, available=available, seed=seed)
    if np.isnan(described[:, -2:]).all():
        return np.vstack([broad, mixtures.sample(described, sources, count // 2, available=available, seed=seed + 1)])
    along = mixtures.sample(described[:, -2:], sources, count // 2 + sources, available=available, seed=seed + 1)
    return np.vstack([broad, along[sources:]])  # the first of each are the sources alone


def describe(name: str, value: float, quantiles: tuple[float, float]) -> str:
    """A trait's value in words; `quantiles` as in `features.describe`."""
    if name == "labeler_wrong":
        return f"a labeler is wrong with a chance of about {value:.0%}"
    if name == "labelers_disagree":
        return "the labelers disagree" if value > 0 else "the labelers agree"
    return features.describe(name, value, quantiles)
