"""Strategies that learn nothing: people for everything, a labeler for everything, people drawn at random."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import numpy as np

from routing.strategies.accounting import (
    allocation_of,
    base_sources,
    cost_of,
    draw,
    extra_units,
    most_people,
    people_of,
    upgradable,
)
from routing.strategies.control import with_people
from routing.strategies.money import to_units
from routing.strategies.problem import Allocation, Problem


def all_people(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    caps: Mapping[str, float] | None = None,
    **_: Any,
) -> Allocation:
    """People for everything. When the money does not reach, comparisons drawn at random go to nobody (−1)."""
    people = people_of(problem)
    everything = np.flatnonzero(problem.usable[:, people])
    source = np.full(len(problem), -1, dtype=np.int64)
    most = most_people(problem, source, people_share, caps)
    rng = np.random.default_rng(seed)
    source[draw(everything, problem.units[:, people], to_units(budget), most, rng)] = people
    share = (source == people).sum() / max(1, len(everything))
    short = len(everything) - int((source == people).sum())
    notes = (f"The budget leaves {short} comparisons without a judgment.",) if short else ()
    chance = np.where(problem.usable[:, people], share, 0.0)
    propensity = np.where(source == people, chance, 1 - chance)
    return allocation_of(problem, source, "all_people", budget, propensity=propensity, notes=notes)


def all_ai(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    source: int | None = None,
    control_share: float = 0.0,
    caps: Mapping[str, float] | None = None,
    **_: Any,
) -> Allocation:
    """One labeler for everything: `source`, or the one that agrees best with people within the budget.

    With `control_share`, people judge that share of the comparisons, drawn at random, as far as the money goes: without
    them nobody would see when the labeler gets worse. A note says when the money does not reach.
    """
    base = base_sources(problem, budget, source, caps)
    alone = allocation_of(problem, base, "all_ai", budget)
    if problem.people is not None:
        control_share = min(control_share, most_people(problem, base, 1.0, caps) / max(1, len(problem)))
    return with_people(problem, alone, base, control_share, to_units(budget), seed)


def random_share(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    source: int | None = None,
    caps: Mapping[str, float] | None = None,
    **_: Any,
) -> Allocation:
    """People for comparisons drawn at random as far as the budget (and `people_share`) goes, a labeler for the rest.

    None is marked as control, because all that people judge is one: every comparison had the same chance.
    """
    base = base_sources(problem, budget, source, caps)
    either = np.flatnonzero(upgradable(problem, base))
    most = most_people(problem, base, people_share, caps)
    money = to_units(budget) - cost_of(problem, base)
    bought = draw(either, extra_units(problem, base), money, most, np.random.default_rng(seed))
    chosen = base.copy()
    chosen[bought] = people_of(problem)
    share = len(bought) / max(1, len(either))
    propensity = np.where(upgradable(problem, base), np.where(chosen != base, share, 1 - share), 1.0)
    return allocation_of(problem, chosen, "random", budget, propensity=propensity)
