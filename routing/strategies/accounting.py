"""Exact accounting shared by all strategies: what an assignment costs, and how far money goes. Integers throughout."""

from __future__ import annotations

from decimal import Decimal

import numpy as np

from routing.strategies.money import BudgetTooSmall, to_money, to_units
from routing.strategies.problem import Allocation, Problem


def cost_of(problem: Problem, source: np.ndarray) -> int:
    """Exact cost of an assignment in units; −1 costs nothing."""
    paid = source >= 0
    return int(problem.units[np.flatnonzero(paid), source[paid]].sum())


def people_of(problem: Problem) -> int:
    if problem.people is None:
        raise ValueError("The problem has no source that is people.")
    return problem.people


def base_sources(problem: Problem, budget: Decimal, source: int | None) -> np.ndarray:
    """(n,) the labeler that judges what people do not: `source`, or the one that agrees best with people within budget.

    Where it is not available, the cheapest available labeler, then people. Raises BudgetTooSmall.
    """
    money = to_units(budget)
    cheapest = cheapest_sources(problem)
    if cost_of(problem, cheapest) > money:
        raise BudgetTooSmall(budget, to_money(cost_of(problem, cheapest)))
    if source is not None:
        wanted = np.where(problem.usable[:, source], source, cheapest)
        if cost_of(problem, wanted) > money:
            name = problem.sources[source].name
            raise BudgetTooSmall(budget, to_money(cost_of(problem, wanted)), f"{name} for all comparisons")
        return wanted
    accuracy = {labeler: problem.lessons.accuracy(labeler) for labeler in problem.labelers}
    for labeler in sorted(accuracy, key=lambda labeler: -np.nan_to_num(accuracy[labeler], nan=-1.0)):
        wanted = np.where(problem.usable[:, labeler], labeler, cheapest)
        if cost_of(problem, wanted) <= money:
            return wanted
    return cheapest


def cheapest_sources(problem: Problem) -> np.ndarray:
    """(n,) the cheapest available source, −1 where there is none; labelers before people at equal price."""
    order = [*problem.labelers, *(index for index, source in enumerate(problem.sources) if source.is_people)]
    prices = np.where(problem.usable[:, order], problem.units[:, order], np.iinfo(np.int64).max)
    chosen = np.asarray(order)[prices.argmin(axis=1)]
    return np.where(problem.usable.any(axis=1), chosen, -1)


def extra_units(problem: Problem, base: np.ndarray) -> np.ndarray:
    """(n,) what people cost more than the base source, in units."""
    row = np.arange(len(problem))
    return np.asarray(
        problem.units[:, people_of(problem)] - np.where(base >= 0, problem.units[row, np.maximum(base, 0)], 0)
    )


def upgradable(problem: Problem, base: np.ndarray) -> np.ndarray:
    return np.asarray(problem.usable[:, people_of(problem)] & (base != people_of(problem)))


def buy_people(
    problem: Problem, base: np.ndarray, order: np.ndarray, budget: Decimal, people_share: float
) -> np.ndarray:
    """People in `order` as far as the money and `people_share` of the comparisons go."""
    order = order[upgradable(problem, base)[order]]
    affordable = fits(extra_units(problem, base)[order], to_units(budget) - cost_of(problem, base))
    already = int((base == problem.people).sum())
    most = max(0, int(np.floor(people_share * len(problem) + 1e-9)) - already)
    bought = order[affordable][:most]
    chosen = base.copy()
    chosen[bought] = people_of(problem)
    return chosen


def fits(prices: np.ndarray, money: int) -> np.ndarray:
    """(n,) bool: taken in order, passing over what no longer fits. Integers throughout."""
    if not len(prices):
        return np.zeros(0, dtype=bool)
    if (prices == prices[0]).all():
        count = len(prices) if prices[0] <= 0 else min(len(prices), money // int(prices[0]))
        return np.arange(len(prices)) < count
    taken = np.zeros(len(prices), dtype=bool)
    for position, price in enumerate(prices.tolist()):
        if price <= money:
            taken[position] = True
            money -= price
    return taken


def allocation_of(
    problem: Problem,
    source: np.ndarray,
    strategy: str,
    budget: Decimal,
    *,
    propensity: np.ndarray | None = None,
    gain: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
) -> Allocation:
    cost = cost_of(problem, source)
    if cost > to_units(budget):
        smallest = to_money(cost)
        raise BudgetTooSmall(budget, smallest, strategy)
    n = len(problem)
    return Allocation(
        source=source,
        propensity=np.ones(n) if propensity is None else propensity,
        gain=np.full(n, np.nan) if gain is None else gain,
        is_control=np.zeros(n, dtype=bool),
        cost=to_money(cost),
        strategy=strategy,
        notes=notes,
    )
