"""What every source is worth for every comparison: the calibrated chance that its label equals people's majority.

A labeler that has answered is judged by the features, by how sure it was and by whom it agrees with; one that has not,
by the features and by what others said. Everything is cross-fitted by prompt, out of fold where it was taught, and
falls back to the source's average where no model beats it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import hypergeom

from routing import calibration
from routing.calibration import Chances
from routing.strategies.doubt import ENOUGH, standard, wrong_of
from routing.strategies.problem import Problem, patterns

PROMPTS = 5
# Comparisons with the same labelers answered share a model; rarer combinations are judged by their features alone.
COMBINATIONS, RARE = 4, 0.01
# Log-odds a labeler can claim at most.
SUREST = 4.0
# What is known of a source that nobody could check: anything from 0 to 1 (mean and standard deviation, uniform).
UNKNOWN = (0.5, 12**-0.5)


@dataclass(frozen=True)
class Worth:
    """`value` and `error` (n, s); `checked` (s,) where people's judgments could check the source at all."""

    value: np.ndarray
    error: np.ndarray
    checked: np.ndarray


def estimate(problem: Problem, *, seed: int = 0) -> Worth:
    """The worth of all sources; 1 without error for people with most votes, whose majority is what is asked for."""
    if ("worth", seed) not in problem.memory:
        problem.memory["worth", seed] = _estimate(problem, seed)
    return problem.memory["worth", seed]  # type: ignore[no-any-return]


def _estimate(problem: Problem, seed: int) -> Worth:
    known, n, count = problem.lessons, len(problem), len(problem.sources)
    value, error = np.full((n, count), UNKNOWN[0]), np.full((n, count), UNKNOWN[1])
    checked = np.zeros(count, dtype=bool)
    inputs = standard(known.features).astype(np.float32)
    for column in range(count):
        if column == problem.people:
            value[:, column], error[:, column], checked[column] = 1.0, 0.0, True
        elif problem.sources[column].is_people:
            checked[column] = _fewer_votes(known, n, column, inputs, seed, value, error)
        else:
            checked[column] = _labeler(known, n, column, inputs, seed, value, error)
    return Worth(value, error, checked)


def _labeler(
    known: Problem, n: int, column: int, inputs: np.ndarray, seed: int, value: np.ndarray, error: np.ndarray
) -> bool:
    taught = ~np.isnan(known.p_b[:, column]) & ~np.isnan(known.human) & (known.human != 0.5)
    if not taught.any():
        return False
    target = 1 - wrong_of(known, np.full(len(known), column))
    for labelers, rows in _combinations(known, n):
        usable = taught & ~np.isnan(known.p_b[:, labelers]).any(axis=1)
        if not _teaches(known, usable):
            labelers, usable = [], taught
        needed = np.union1d(rows, np.flatnonzero(usable))
        said = _signals(known, column, labelers, needed, usable)
        found = _learn(known, np.hstack([inputs[needed], said]), needed, target, usable, seed)
        here = np.searchsorted(needed, rows)
        value[rows, column], error[rows, column] = found.value[here], found.error[here]
    return True


def _combinations(known: Problem, n: int) -> list[tuple[list[int], np.ndarray]]:
    """[(the labelers that answered, rows of the plan)], rare combinations together as if nobody had."""
    labelers = np.asarray(known.labelers, dtype=np.int64)
    if not len(labelers):
        return [([], np.arange(n))]
    answered, key = patterns(~np.isnan(known.p_b[:n, labelers]))
    counts = np.bincount(key, minlength=len(answered))
    common = np.argsort(-counts)[:COMBINATIONS]
    common = common[(counts[common] >= RARE * n) & answered[common].any(axis=1)]
    found = [(labelers[answered[each]].tolist(), key == each) for each in common]
    rest = ~np.isin(key, common)
    return [(who, np.flatnonzero(rows)) for who, rows in [*found, ([], rest)] if rows.any()]


def _teaches(known: Problem, taught: np.ndarray) -> bool:
    return int(taught.sum()) >= ENOUGH and len(np.unique(known.groups[taught])) >= PROMPTS


def _learn(
    known: Problem, X: np.ndarray, needed: np.ndarray, target: np.ndarray, taught: np.ndarray, seed: int
) -> Chances:
    """Chances of the rows `needed`; every comparison counts as one, however many votes its majority has.

    What a ranking sent to people teaches where a source errs, but not how often: without skill it counts for nothing.
    """
    fair = taught & known.measured
    if not _teaches(known, taught):
        return calibration.average(target[fair], np.ones(int(fair.sum())), len(needed))
    one, groups = np.ones(len(needed)), known.groups[needed]
    return calibration.chances(X, target[needed], one, groups, taught[needed], seed, fair[needed])


def _signals(known: Problem, column: int, labelers: list[int], rows: np.ndarray, taught: np.ndarray) -> np.ndarray:
    """(r, q) what `labelers` said, seen from the source: how sure each was, and whether it was on the source's side.

    Scaled by the rows that teach. Exchanging A and B changes nothing.
    """
    if not labelers:
        return np.empty((len(rows), 0), dtype=np.float32)
    p = np.clip(known.p_b[np.ix_(rows, np.asarray(labelers))], 1e-6, 1 - 1e-6)
    sure = np.clip(np.log(p / (1 - p)), -SUREST, SUREST)
    others = [position for position, labeler in enumerate(labelers) if labeler != column]
    found = [np.abs(sure), np.abs(sure.mean(axis=1, keepdims=True)), np.abs(np.sign(sure).mean(axis=1, keepdims=True))]
    if column in labelers:
        own = sure[:, [labelers.index(column)]]
        found += [np.sign(own) * np.sign(sure[:, others]), np.sign(own) * sure[:, others]]
    signals = np.hstack(found)
    lessons = signals[taught[rows]]
    deviation = lessons.std(axis=0)
    return ((signals - lessons.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)).astype(np.float32)


def _fewer_votes(
    known: Problem, n: int, column: int, inputs: np.ndarray, seed: int, value: np.ndarray, error: np.ndarray
) -> bool:
    """Fewer votes against the majority of all: exact from the votes' split, else from what that source is known for."""
    votes = known.sources[column].votes
    judged = ~np.isnan(known.human) & (known.human != 0.5)
    taught = judged & (known.weights > votes)
    target = subset_agreement(known.human, known.weights, votes)
    if not taught.any():
        taught = judged & ~np.isnan(known.p_b[:, column])
        target = 1 - wrong_of(known, np.full(len(known), column))
    if not taught.any():
        return False
    found = _learn(known, inputs, np.arange(len(known)), target, taught, seed)
    value[:, column], error[:, column] = found.value[:n], found.error[:n]
    return True


def subset_agreement(mean: np.ndarray, votes: np.ndarray, drawn: int) -> np.ndarray:
    """(n,) chance that the majority of `drawn` of a comparison's votes, at random, is the majority of them all.

    Hypergeometric; a split subset counts half. `mean` (n,) share of votes for B (a vote for neither is half a vote:
    both roundings are averaged), `votes` (n,) how many. NaN where the mean is.
    """
    total = np.maximum(np.nan_to_num(votes), drawn).astype(np.int64)
    leading = np.maximum(mean, 1 - mean) * total
    leading = np.nan_to_num(np.round(2 * leading) / 2)

    def agreement(count: np.ndarray) -> np.ndarray:
        law = hypergeom(total, count.astype(np.int64), drawn)
        even = law.pmf(drawn // 2) / 2 if drawn % 2 == 0 else 0.0
        return np.asarray(law.sf(drawn // 2) + even)

    return np.where(np.isnan(mean), np.nan, (agreement(np.floor(leading)) + agreement(np.ceil(leading))) / 2)
