"""Exact accounting shared by all strategies: what an assignment costs, and how far money goes. Integers throughout."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

import numpy as np

from routing.strategies.knapsack import Cap, Solution, TooDear, solve
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


def base_sources(
    problem: Problem, budget: Decimal, source: int | None, caps: Mapping[str, float] | None = None
) -> np.ndarray:
    """(n,) the labeler that judges what people do not: `source`, or the one that agrees best with people within budget.

    Where it is not available, the cheapest available labeler, then people. With caps on labelers, the others judge what
    passes the cap, best first. Raises BudgetTooSmall; ValueError when the caps cannot be kept.
    """
    money = to_units(budget)
    cheapest = cheapest_sources(problem)
    if cost_of(problem, cheapest) > money:
        raise BudgetTooSmall(budget, to_money(cost_of(problem, cheapest)))
    if caps:
        return _capped_base(problem, budget, source, caps)
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


def _capped_base(problem: Problem, budget: Decimal, source: int | None, caps: Mapping[str, float]) -> np.ndarray:
    accuracy = np.array([problem.lessons.accuracy(each) for each in range(len(problem.sources))])
    value = np.nan_to_num(accuracy, nan=0.5)
    value[problem.people_sources] = -1.0  # people only where no labeler is left
    if source is not None:
        value[source] = 2.0
    return choose(problem, np.broadcast_to(value, problem.usable.shape), budget, caps_of(problem, caps)).source


def choose(
    problem: Problem,
    value: np.ndarray,
    budget: Decimal,
    caps: list[Cap],
    *,
    kept_back: int = 0,
    rng: np.random.Generator | None = None,
) -> Solution:
    """`knapsack.solve` with a budget of which `kept_back` units stay unspent. Raises BudgetTooSmall."""
    try:
        return solve(value, problem.units, problem.usable, to_units(budget) - kept_back, caps=caps, rng=rng)
    except TooDear as refusal:
        what = "the cheapest choice within the caps" if caps else "the cheapest source for all comparisons"
        raise BudgetTooSmall(budget, to_money(refusal.smallest + kept_back), what) from refusal


def caps_of(problem: Problem, caps: Mapping[str, float] | None, people_share: float = 1.0) -> list[Cap]:
    """Shares of the comparisons in whole comparisons: each named source, and all people together.

    People's share is never below the comparisons that only people can judge, e.g. since they have judged them.
    Raises ValueError for a name that is no source or a share outside [0, 1].
    """
    names = [source.name for source in problem.sources]
    found = []
    for name, share in (caps or {}).items():
        if name not in names:
            raise ValueError(f"No source is called {name!r}, so it cannot be capped; there are {', '.join(names)}.")
        if not 0 <= share <= 1:
            raise ValueError(f"The cap of {name} is {share}: a cap is a share of the comparisons, from 0 to 1.")
        found.append(Cap((names.index(name),), _count(share, len(problem))))
    if people_share < 1 and problem.people_sources:
        columns = np.isin(np.arange(len(names)), problem.people_sources)
        only = problem.usable.any(axis=1) & ~problem.usable[:, ~columns].any(axis=1)
        most = max(_count(people_share, len(problem)), int(only.sum()))
        found.append(Cap(tuple(problem.people_sources), most))
    return found


def most_people(problem: Problem, base: np.ndarray, people_share: float, caps: Mapping[str, float] | None) -> int:
    """How many comparisons more than `base` sends there may go to people."""
    cap = (caps or {}).get(problem.sources[people_of(problem)].name, 1.0)
    already = int((base == problem.people).sum())
    return max(0, _count(min(people_share, cap), len(problem)) - already)


def _count(share: float, n: int) -> int:
    return int(np.floor(share * n + 1e-9))


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


def buy_people(problem: Problem, base: np.ndarray, order: np.ndarray, money: int, most: int) -> np.ndarray:
    """People in `order` instead of `base`, for at most `most` comparisons and as far as `money` units go."""
    order = order[upgradable(problem, base)[order]]
    affordable = fits(extra_units(problem, base)[order], money - cost_of(problem, base))
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


def draw(rows: np.ndarray, prices: np.ndarray, money: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """At most `most` of `rows` at random, every one with the same chance: as many as even the dearest would cost.

    Drawing until the money is spent would favour cheap comparisons, and their chances could not be told exactly.
    """
    return rng.permutation(rows)[: min(most, payable(prices[rows], money))]


def payable(prices: np.ndarray, money: int) -> int:
    """How many of `prices` can be paid whichever they are: counted by the dearest."""
    reached = np.flatnonzero(np.cumsum(np.sort(prices)[::-1]) <= money)
    return int(reached[-1]) + 1 if len(reached) else 0


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
