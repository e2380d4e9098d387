"""Hybrid Preferences (HyPER; Miranda et al., ACL 2025, arXiv 2410.19133), from the paper, as a baseline.

    tags = bins.members(features)                      # (n, q) bool: which comparison has which tag
    drawn = sample(tags, 200, seed=0)                  # (200, n) bool: whom people judge; the rest goes to the LM
    paper = fit(tags, drawn, scores)                   # scores (200,): how good a reward model on each mixture is
    paper.gains(tags)                                  # (n,) PPM(e_i) − PPM(0): what a comparison's tags add, alone

Algorithm 1, counts per tag and least squares are the published ones. What differs, and why:

1. The tags are bins of our corrected features. The published length bins are ranked anew inside the routed subset, so
   each always counts a third of it: 12 of 90 columns copy the budget. Ours are cut once, over the whole project, at its
   terciles instead of at 0.33 and 0.67 of the raw value, and a constant feature makes no tag.
2. Every bin owns its lower edge, in training and in use. The published code counts both edges when it trains and none
   when it computes gains, so that an overlap of exactly 0 or 1 belongs to two bins, or to no bin.
3. Counts are over everything that people are given. The published code first drops comparisons whose *selected* label
   is a tie and draws 7,000 of the rest, so that mixtures train on different comparisons; here ties are soft labels.
4. A score is measured on people's held-out majority (or brought from outside), not on RewardBench.
5. The caller's seed decides everything. With more mixtures than comparisons, budgets are drawn in rounds, each without
   replacement; the published code stops with an error.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from routing.estimators import LeastSquares

DEGREES = {"linear": 1, "quadratic": 2}


def sample(
    tags: np.ndarray, count: int, seed: int = 0, budgets: Sequence[int] | np.ndarray | None = None
) -> np.ndarray:
    """(count, n) bool, Algorithm 1: which comparisons go to people in each of `count` mixtures.

    `tags` (n, q) bool. A budget (number of comparisons) is drawn uniformly from 1…n without replacement, unless
    `budgets` (count,) gives them. Then the tags are shuffled and walked through, and each tag's comparisons, shuffled,
    are added until the budget is reached. Comparisons without any tag are never added, as published: such a mixture
    stops short of its budget. Raises ValueError when there is nothing to draw from, or `budgets` has another length.
    """
    tags = np.asarray(tags, dtype=bool)
    if not len(tags):
        raise ValueError("Algorithm 1 draws from comparisons, and there are none.")
    rng = np.random.default_rng(seed)
    sizes = _budgets(len(tags), count, rng) if budgets is None else np.asarray(budgets, dtype=np.int64)
    if len(sizes) != count:
        raise ValueError(f"{count} mixtures need as many budgets, there are {len(sizes)}.")
    return np.stack([_fill(tags, int(size), rng) for size in sizes]) if count else np.empty((0, len(tags)), dtype=bool)


def _budgets(n: int, count: int, rng: np.random.Generator) -> np.ndarray:
    rounds = [rng.permutation(n) + 1 for _ in range(-(-count // n))]
    return np.concatenate(rounds)[:count] if rounds else np.empty(0, dtype=np.int64)


def _fill(tags: np.ndarray, budget: int, rng: np.random.Generator) -> np.ndarray:
    """One walk. A comparison's turn is its first tag in the shuffled order; within a tag it is random.

    That is the published loop without the loop: what is left of a tag's uniform shuffle, once those already added are
    taken out, is a uniform shuffle of the rest.
    """
    n, q = tags.shape
    routed = np.zeros(n, dtype=bool)
    if not q:
        return routed
    shuffled = tags[:, rng.permutation(q)]
    turn = np.where(shuffled.any(axis=1), shuffled.argmax(axis=1), q)
    order = np.lexsort((rng.random(n), turn))
    routed[order[: min(max(budget, 0), int((turn < q).sum()))]] = True
    return routed


def counts(mixtures: np.ndarray, members: np.ndarray, people: int = 0) -> np.ndarray:
    """(m, q) how many comparisons of each tag people are given.

    `mixtures` (m, n): bool (given to people or not), or source indexes of which `people` is people's.
    """
    # float: a matrix product of whole numbers below 2^53 is exact, and integers have no BLAS.
    return _routed(mixtures, people).astype(np.float64) @ np.asarray(members, dtype=np.float64)


def _routed(mixtures: np.ndarray, people: int) -> np.ndarray:
    mixtures = np.asarray(mixtures)
    return mixtures if mixtures.dtype == bool else mixtures == people


@dataclass(frozen=True)
class Fitted:
    """The paper's performance prediction model (PPM): counts per tag → score."""

    kind: str
    model: LeastSquares

    def predict(self, counts: np.ndarray) -> np.ndarray:
        """(m,) predicted scores of m mixtures with these `counts` (m, q)."""
        return np.asarray(self.model.predict(np.asarray(counts, dtype=np.float64)))

    def gains(self, members: np.ndarray) -> np.ndarray:
        """(n,) PPM(e_i) − PPM(0), e_i the tags of comparison i: the published gain of giving it to people.

        Read it as the paper does, as an order. The model was fitted on counts of hundreds and is asked about a count
        of one, without the other comparisons that are routed: an extrapolation to the origin.
        """
        members = np.asarray(members, dtype=np.float64)
        return np.asarray(self.predict(members) - self.predict(np.zeros((1, members.shape[1]))))


def fit(members: np.ndarray, drawn: np.ndarray, scores: np.ndarray, kind: str = "quadratic", people: int = 0) -> Fitted:
    """The published model of `scores` (m,) measured for the mixtures `drawn` (m, n), see `counts`.

    `kind` "linear" (q terms) or "quadratic" (q + q(q+1)/2 terms, least norm). ValueError for any other, or when no
    comparison has a tag.
    """
    if kind not in DEGREES:
        raise ValueError(f"The paper's models are {' and '.join(DEGREES)}, not {kind!r}.")
    if not np.shape(members)[1]:
        raise ValueError("The paper's model counts tags, and no feature of these comparisons makes one.")
    return Fitted(kind, LeastSquares(DEGREES[kind]).fit(counts(drawn, members, people), scores))
