"""Strategies that learn nothing: people for everything, a labeler for everything, people drawn at random."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

from routing.strategies.accounting import (
    allocation_of,
    base_sources,
    buy_people,
    fits,
    people_of,
    upgradable,
)
from routing.strategies.control import with_people
from routing.strategies.money import to_units
from routing.strategies.problem import Allocation, Problem


def all_people(problem: Problem, budget: Decimal, *, seed: int = 0, **_: Any) -> Allocation:
    """People for everything. When the money does not reach, comparisons drawn at random go to nobody (−1)."""
    people = people_of(problem)
    everything = np.flatnonzero(problem.usable[:, people])
    order = np.random.default_rng(seed).permutation(everything)
    affordable = fits(problem.units[order, people], to_units(budget))
    source = np.full(len(problem), -1, dtype=np.int64)
    source[order[affordable]] = people
    share = affordable.sum() / max(1, len(problem))
    short = len(everything) - int(affordable.sum())
    notes = (f"The budget leaves {short} comparisons without a judgment.",) if short else ()
    propensity = np.where(source == people, share, 1 - share)
    return allocation_of(problem, source, "all_people", budget, propensity=propensity, notes=notes)


def all_ai(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    source: int | None = None,
    control_share: float = 0.0,
    **_: Any,
) -> Allocation:
    """One labeler for everything: `source`, or the one that agrees best with people within the budget.

    With `control_share`, people judge that share of the comparisons, drawn at random, as far as the money goes: without
    them nobody would see when the labeler gets worse. A note says when the money does not reach.
    """
    base = base_sources(problem, budget, source)
    return with_people(problem, allocation_of(problem, base, "all_ai", budget), base, control_share, budget, seed)


def random_share(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    source: int | None = None,
    **_: Any,
) -> Allocation:
    """People for comparisons drawn at random as far as the budget (and `people_share`) goes, a labeler for the rest.

    None is marked as control, because all that people judge is one: every comparison had the same chance.
    """
    base = base_sources(problem, budget, source)
    order = np.random.default_rng(seed).permutation(len(problem))
    chosen = buy_people(problem, base, order, budget, people_share)
    bought = chosen != base
    share = bought.sum() / max(1, int(upgradable(problem, base).sum()))
    propensity = np.where(upgradable(problem, base), np.where(bought, share, 1 - share), 1.0)
    return allocation_of(problem, chosen, "random", budget, propensity=propensity)
