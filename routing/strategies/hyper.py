"""The two strategies of Hybrid Preferences (HyPER): the best of 500 simulated mixtures, and the k largest gains.

Both need the paper's performance model (`routing.hyper.Fitted`) and decide between people and the base labeler only.
The published budget is a number of comparisons; here it is the number that the money pays for.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np

from routing.strategies import control
from routing.strategies.accounting import (
    allocation_of,
    base_sources,
    cost_of,
    extra_units,
    most_people,
    payable,
    people_of,
    upgradable,
)
from routing.strategies.money import to_units
from routing.strategies.problem import Allocation, Problem
from routing.strategies.ranked import Ranking, by_rank, exchange

if TYPE_CHECKING:
    from routing.hyper import Fitted

SIMULATED = 500
# Mixtures drawn and scored at once: bounds memory to this many flags a comparison.
BLOCK = 25


def hyper_simulated(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    control_share: float = control.CONTROL_SHARE,
    source: int | None = None,
    caps: Mapping[str, float] | None = None,
    paper: Fitted | None = None,
    tags: np.ndarray | None = None,
    **_: Any,
) -> Allocation:
    """Of 500 mixtures drawn by Algorithm 1 at the budget, the one that the paper's model predicts to be best.

    `tags` (n, q) bool as the model was fitted with, default `mixtures.Bins` of what the problem describes.
    """
    model, tags = _checked(problem, paper, tags)
    base = base_sources(problem, budget, source, caps)
    either = np.flatnonzero(upgradable(problem, base) & (base >= 0))
    left = to_units(budget) - cost_of(problem, base)
    kept_back, share = exchange(problem, base, control_share, left)
    most = most_people(problem, base, people_share, caps)
    count = min(most, payable(extra_units(problem, base)[either], left - kept_back))
    chosen = base.copy()
    if count and len(either):
        chosen[either[_best_of(model, tags[either], count, seed)]] = people_of(problem)
    plan = allocation_of(problem, chosen, "hyper_simulated", budget)
    return control.explore(problem, plan, share, np.random.default_rng(seed), np.isin(np.arange(len(problem)), either))


def hyper_top_k(
    problem: Problem,
    budget: Decimal,
    *,
    paper: Fitted | None = None,
    tags: np.ndarray | None = None,
    **options: Any,
) -> Allocation:
    """People where the paper's gain PPM(e_i) − PPM(0) is largest, as far as the money goes; as published, unpriced.

    `tags` as in `hyper_simulated`, `options` as in `ranked.by_rank`.
    """
    model, tags = _checked(problem, paper, tags)

    def rank(known: Problem, base: np.ndarray, _: int) -> Ranking:
        # Times the extra price, because the ranking divides by it.
        return Ranking(model.gains(tags) * np.maximum(1, extra_units(known, base)))

    return by_rank(problem, budget, "hyper_top_k", rank, **options)


def _checked(problem: Problem, paper: Fitted | None, tags: np.ndarray | None) -> tuple[Fitted, np.ndarray]:
    if paper is None:
        raise ValueError(
            "The paper's strategies need its performance model, fitted on measured mixtures (routing.hyper.fit): "
            "train a performance model first."
        )
    if tags is None:
        from routing.mixtures import Bins

        described = problem.described
        tags = Bins.fit(described, [str(column) for column in range(described.shape[1])]).members(described)
    wanted = paper.model.n_features_in_
    if tags.shape[1] != wanted:
        raise ValueError(
            f"The paper's model counts {wanted} tags, these comparisons have {tags.shape[1]}: pass those of "
            "the same bins (tags=bins.members(problem.described)) or train the model anew."
        )
    return paper, tags


def _best_of(model: Fitted, tags: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(n,) bool, the best of the simulated mixtures with `count` comparisons for people."""
    from routing import hyper

    best, highest = np.zeros(len(tags), dtype=bool), -np.inf
    seeds = np.random.SeedSequence(seed).generate_state(-(-SIMULATED // BLOCK))
    for block in seeds.tolist():
        drawn = hyper.sample(tags, BLOCK, block, budgets=[count] * BLOCK)
        predicted = model.predict(hyper.counts(drawn, tags))
        if predicted.max() > highest:
            best, highest = drawn[predicted.argmax()], float(predicted.max())
    return best
