"""Strategies that send people where a labeler is in doubt, and what the seed set teaches about where it errs."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from routing.strategies.accounting import allocation_of, base_sources, buy_people, extra_units
from routing.strategies.control import CONTROL_SHARE, with_control
from routing.strategies.problem import Allocation, Problem

ENOUGH = 30


def disagreement(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    control_share: float = CONTROL_SHARE,
    source: int | None = None,
    **_: Any,
) -> Allocation:
    """People where the labeler is most probably wrong, by what the seed set teaches; a labeler for the rest.

    `control_share` of the comparisons keeps the same number of people but in random order, so that what people add can
    be estimated without the ranking (inverse propensity).
    """
    rng = np.random.default_rng(seed)
    base = base_sources(problem, budget, source)
    learnt, wrong = chance_wrong(problem, base, seed=seed)
    worth = wrong / np.maximum(1, extra_units(problem, base))
    order = np.lexsort((rng.random(len(problem)), -worth))
    chosen = buy_people(problem, base, order, budget, people_share)
    notes = () if learnt else (f"Fewer than {ENOUGH} comparisons teach where labelers err; ranked by their doubt.",)
    allocation = allocation_of(problem, chosen, "disagreement", budget, gain=wrong if learnt else None, notes=notes)
    return with_control(problem, allocation, base, control_share, budget, rng)


def chance_wrong(problem: Problem, base: np.ndarray, *, seed: int = 0) -> tuple[bool, np.ndarray]:
    """(True, (n,) probability that source `base[i]` and people's majority disagree on comparison i).

    Logistic regression on what the labelers said (confidence, disagreement between them) and the symmetric features,
    penalty by cross-validation, fitted where both are known. Those comparisons get out-of-fold values, so that a plan
    does not rank the comparisons it learnt from by their own answers. With under 30 of them, or under 5 prompts:
    (False, an untaught score of doubt and disagreement, good for ranking only).
    """
    n, known = len(problem), problem.lessons
    base = np.concatenate([base, _past_base(problem, base)])
    doubt, taught = doubt_of(known, base), _taught(known, base)
    if taught.sum() < ENOUGH or len(np.unique(known.groups[taught])) < 5:
        return False, np.asarray(doubt[:n, 0] + doubt[:n, 1]) / 2
    # Not at the top: forms that only list strategies need no scikit-learn.
    from routing import calibration

    side = np.sign(known.p_b[np.arange(len(known)), np.maximum(base, 0)] - 0.5)
    wrong = np.where(side == 0, 0.5, (side * np.sign(known.human - 0.5) < 0).astype(float))
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
