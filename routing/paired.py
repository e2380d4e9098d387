"""How well the difference of two mixtures is known, when both were measured on the same comparisons of people.

What the sample does to one mixture's accuracy it mostly does to the other's, but not all of it: where their reward
models contradict each other, the difference rests on that sample. Drawing prompts anew, two accuracies of n comparisons
with weights w (people's votes) differ with the variance

    v = G/(G − 1) · Σ_g (Σ_{i in g} wᵢ (dᵢ − d̄))² / (Σ w)²,    dᵢ = hitᵢ(one) − hitᵢ(other), G prompts

on hits out of fold (the linearised bootstrap of prompts; Bell and McCaffrey 2002). Two plans of a whole project have no
hits. But v grows with the share q of labels in which two mixtures differ, so log v = a + γ log q is fitted over pairs
of drawn mixtures, and q of two plans follows from whom they ask and how often these contradict each other.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np

from routing import mixtures, reward_proxy
from routing.evidence import FOLDS, Evidence


@dataclass(frozen=True)
class Paired:
    """log v = `level` + `growth` · log q; `differ` (s, s): how often two sources' labels contradict each other."""

    level: float
    growth: float
    differ: list[list[float]]

    @classmethod
    def read(cls, told: dict[str, Any]) -> Self:
        """From what `as_dict` gave."""
        return cls(**told)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def error(self, one: np.ndarray, other: np.ndarray, *, nested: bool = False) -> float:
        """Standard error of the difference of two plans, from the share of each source in them, each (s,).

        Taken as drawn independently of each other, as a ranked plan and a random one are; with `nested` as alike as
        their shares allow, as one plan at two budgets.
        """
        one, other = np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)
        if nested:
            more, less = np.maximum(one - other, 0), np.maximum(other - one, 0)
            together = np.outer(more, less) / max(more.sum(), less.sum(), 1e-12)
        else:
            together = np.outer(one, other)
        share = float((together * np.asarray(self.differ)).sum())
        return float(np.exp((self.level + self.growth * np.log(share)) / 2)) if share > 0 else 0.0


def paired(evidence: Evidence, drawn: np.ndarray, l2: float, seed: int = 0) -> Paired:
    """What pairs of the mixtures `drawn` (m, n) show; m around 30 is enough, and costs m fits in each fold."""
    targets = mixtures.labels_of(drawn, evidence.p_b)
    hits = _hits(evidence, targets, l2, seed)
    sides = np.sign(targets - 0.5)
    variances, shares = [], []
    for place in range(len(drawn) - 1):
        variances.append(_variance(evidence, hits[place] - hits[place + 1 :]))
        shares.append(np.nanmean(np.abs(sides[place] - sides[place + 1 :]) / 2, axis=1))
    level, growth = _fitted(np.concatenate(variances), np.concatenate(shares), len(evidence.votes))
    return Paired(level, growth, _differ(evidence.p_b))


def _hits(evidence: Evidence, targets: np.ndarray, l2: float, seed: int) -> np.ndarray:
    """(m, n) whether each mixture's reward model is right on prompts it has not seen; half when it cannot tell, 0 where
    people could not."""
    hits, side = np.zeros(targets.shape), np.sign(np.nan_to_num(evidence.people, nan=0.5) - 0.5)
    for train, test in reward_proxy.folds(evidence.groups, FOLDS, seed):
        fitted = reward_proxy.fit_mixtures(evidence.design[train], targets[:, train], None, l2)
        hits[:, test] = (np.sign(fitted @ evidence.design[test].T) * side[test] + 1) / 2
    return np.where(side == 0, 0.0, hits)


def _variance(evidence: Evidence, apart: np.ndarray) -> np.ndarray:
    """(k,) of the mean of each of k rows of differences (k, n), by prompts."""
    weight = np.where(np.nan_to_num(evidence.people, nan=0.5) == 0.5, 0.0, evidence.votes)
    mean = apart @ weight / weight.sum()
    groups = np.unique(evidence.groups, return_inverse=True)[1]
    order = np.argsort(groups, kind="stable")
    starts = np.flatnonzero(np.diff(groups[order], prepend=-1))
    sums = np.add.reduceat((weight * (apart - mean[:, None]))[:, order], starts, axis=1)
    count = len(starts)
    return np.asarray(count / (count - 1) * np.square(sums).sum(axis=1) / weight.sum() ** 2)


def _fitted(variances: np.ndarray, shares: np.ndarray, n: int) -> tuple[float, float]:
    """`level` and `growth`. Without pairs that differ, McNemar's bound v = q / n (1947)."""
    seen = (variances > 0) & (shares > 0)
    if seen.sum() < 3 or np.ptp(shares[seen]) < 1e-9:
        return float(-np.log(n)), 1.0
    x, y = np.log(shares[seen]), np.log(variances[seen])
    growth = float(np.clip(np.polyfit(x, y, 1)[0], 0.0, 1.0))
    left = y - growth * x
    # The logarithm of a mean is above the mean of logarithms by half their variance.
    return float(left.mean() + left.var() / 2), growth


def _differ(p_b: np.ndarray) -> list[list[float]]:
    """(s, s) share of the comparisons on which two sources are on different sides, a tie half; a half where none has
    both."""
    sides = np.sign(p_b - 0.5)
    apart = np.abs(sides[:, :, None] - sides[:, None, :]) / 2
    both = ~np.isnan(apart)
    count = both.sum(axis=0)
    return np.where(count > 0, np.where(both, apart, 0.0).sum(axis=0) / np.maximum(1, count), 0.5).tolist()
