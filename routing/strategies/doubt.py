"""Strategies that send people where a labeler is in doubt, and what the seed set teaches about where it errs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from routing.strategies.problem import Allocation, Problem
from routing.strategies.ranked import Ranking, by_rank

# Fewer comparisons than this with both people's and the labeler's answer cannot teach where the labeler is wrong.
ENOUGH = 30
# A labeler is trusted alone where it is so sure that it agrees with people this often.
TARGET = 0.9


def uncertainty(problem: Problem, budget: Decimal, **options: Any) -> Allocation:
    """People where the base labeler's own probability is nearest to one half, as far as the money goes.

    Where it has not answered it counts as undecided. Its probabilities are taken as they are, calibrated or not.
    `options` as in `ranked.by_rank`.
    """
    return by_rank(problem, budget, "uncertainty", lambda known, base, _: Ranking(_own_doubt(known, base)), **options)


def threshold(problem: Problem, budget: Decimal, *, target: float = TARGET, **options: Any) -> Allocation:
    """People, in random order, for all that the base labeler is less sure of than a threshold; the rest stays with it.

    The threshold is the lowest confidence from which on the labeler agrees with people in `target` of the judged
    comparisons (selective evaluation). Money that is left when all of these are with people is not spent. `options` as
    in `ranked.by_rank`.
    """

    def rank(known: Problem, base: np.ndarray, _: int) -> Ranking:
        limit, notes = _limit(known, base, target)
        below = _own_doubt(known, base) > limit
        return Ranking(np.where(below, 1.0, -1.0), only=below, notes=notes)

    return by_rank(problem, budget, "threshold", rank, **options)


def disagreement(problem: Problem, budget: Decimal, **options: Any) -> Allocation:
    """People where the labeler is most probably wrong, by what the seed set teaches; a labeler for the rest.

    The sources of `control_share` of the comparisons are exchanged at random, so that what people add can be estimated
    without the ranking (inverse propensity). `options` as in `ranked.by_rank`.
    """
    return by_rank(problem, budget, "disagreement", _by_chance_wrong, **options)


def _by_chance_wrong(problem: Problem, base: np.ndarray, seed: int) -> Ranking:
    learnt, wrong = chance_wrong(problem, base, seed=seed)
    notes = () if learnt else (f"Fewer than {ENOUGH} comparisons teach where labelers err; ranked by their doubt.",)
    return Ranking(wrong, gain=wrong if learnt else None, notes=notes)


def _own_doubt(problem: Problem, base: np.ndarray) -> np.ndarray:
    """(n,) 1 − |2p − 1| of the base labeler, 1 where it has not answered."""
    said = problem.p_b[np.arange(len(problem)), np.maximum(base, 0)]
    return np.asarray(np.nan_to_num(1 - np.abs(2 * said - 1), nan=1.0))


def _limit(problem: Problem, base: np.ndarray, target: float) -> tuple[float, tuple[str, ...]]:
    """(the doubt above which people are asked, notes): the largest doubt up to which agreement is at least `target`.

    −inf, and a note that says why, when none is known: too little is judged to tell, or the labeler never agrees so
    often.
    """
    known = problem.lessons
    everywhere = np.concatenate([base, _past_base(problem, base)])
    taught = np.flatnonzero(_taught(known, everywhere))
    if len(taught) < ENOUGH:
        return float("-inf"), (
            f"Only {len(taught)} comparisons have both people's judgment and the labeler's, and a threshold needs "
            f"{ENOUGH}: people are drawn at random among all.",
        )
    doubt = _own_doubt(known, everywhere)[taught]
    order = np.argsort(doubt, kind="stable")
    right = 1 - wrong_of(known, everywhere)[taught][order]
    agreement = np.cumsum(right) / np.arange(1, len(order) + 1)
    ends = np.append(np.diff(doubt[order]) > 0, True)  # equal doubts are on one side of the threshold
    reached = np.flatnonzero((agreement >= target) & ends & (np.arange(1, len(order) + 1) >= ENOUGH // 3))
    if len(reached):
        return float(doubt[order][reached[-1]]), ()
    never = f"However sure the labeler is, it does not agree with people in {target:.0%} of the comparisons."
    return float("-inf"), (never,)


def wrong_of(problem: Problem, base: np.ndarray) -> np.ndarray:
    """(n,) 1 where the base source and people's majority differ, half where the source is undecided."""
    side = np.sign(problem.p_b[np.arange(len(problem)), np.maximum(base, 0)] - 0.5)
    return np.where(side == 0, 0.5, (side * np.sign(problem.human - 0.5) < 0).astype(float))


def chance_wrong(problem: Problem, base: np.ndarray, *, seed: int = 0) -> tuple[bool, np.ndarray]:
    """(True, (n,) probability that source `base[i]` and people's majority disagree on comparison i).

    Logistic regression on what the labelers said (confidence, disagreement between them) and the symmetric features,
    penalty by cross-validation, fitted where both are known. Those comparisons get out-of-fold values, so that a plan
    does not rank the comparisons it learnt from by their own answers. With under 30 of them, or under 5 prompts:
    (False, an untaught score of doubt and disagreement, good for ranking only).
    """
    key = ("wrong", base.tobytes(), seed)
    if key not in problem.memory:
        problem.memory[key] = _chance_wrong(problem, base, seed)
    return problem.memory[key]  # type: ignore[no-any-return]


def _chance_wrong(problem: Problem, base: np.ndarray, seed: int) -> tuple[bool, np.ndarray]:
    n, known = len(problem), problem.lessons
    base = np.concatenate([base, _past_base(problem, base)])
    doubt, taught = doubt_of(known, base), _taught(known, base)
    if taught.sum() < ENOUGH or len(np.unique(known.groups[taught])) < 5:
        return False, np.asarray(doubt[:n, 0] + doubt[:n, 1]) / 2
    # Not at the top: forms that only list strategies need no scikit-learn.
    from routing import calibration

    wrong = wrong_of(known, base)
    weight = np.nan_to_num(known.weights * np.abs(2 * known.human - 1))
    inputs = np.hstack([doubt, standard(known.features)])
    return True, calibration.out_of_fold(inputs, wrong, weight, known.groups, taught, seed)[:n]


def _past_base(problem: Problem, base: np.ndarray) -> np.ndarray:
    """What the history learns about: the labeler that judges most of the plan."""
    used = base[base >= 0]
    usual = int(np.bincount(used).argmax()) if len(used) else -1
    return np.full(len(problem.lessons) - len(problem), usual)


def _taught(problem: Problem, base: np.ndarray) -> np.ndarray:
    known = ~np.isnan(problem.p_b[np.arange(len(problem)), np.maximum(base, 0)]) & (base >= 0)
    return known & ~np.isnan(problem.human) & (problem.human != 0.5)


def doubt_of(problem: Problem, base: np.ndarray) -> np.ndarray:
    """(n, 2 + L): doubt of the base labeler in [0, 1], share of other labelers on the other side, each's side."""
    if not problem.labelers:
        return np.zeros((len(problem), 2))
    said = problem.p_b[np.arange(len(problem)), np.maximum(base, 0)]
    doubt = np.nan_to_num(1 - np.abs(2 * said - 1), nan=1.0)
    sides = np.sign(problem.p_b[:, problem.labelers] - 0.5)
    opposite = np.nan_to_num((1 - sides * np.sign(np.nan_to_num(said, nan=0.5) - 0.5)[:, None]) / 2, nan=0.5)
    return np.column_stack([doubt, opposite.sum(axis=1) / max(1, len(problem.labelers) - 1), opposite])


def standard(values: np.ndarray) -> np.ndarray:
    """Rank-free standardising that survives NaN and constants: NaN becomes the mean, long tails are cut at ±3."""
    if not values.shape[1]:
        return values
    known = ~np.isnan(values)
    count = np.maximum(1, known.sum(axis=0))
    mean = np.where(known, values, 0).sum(axis=0) / count
    centred = np.where(known, values - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / count)
    return np.clip(centred / np.where(deviation > 0, deviation, 1.0), -3, 3)
