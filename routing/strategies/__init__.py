"""Strategies: spend a budget where it is worth most. All have one interface and exact accounting.

Money is counted in whole units of 1e-8, never in floats; no allocation costs more than its budget.
A strategy is a function (problem, budget, *, seed, people_share, control_share, source, …) -> Allocation.
"""

from __future__ import annotations

from collections.abc import Callable

from routing.strategies.accounting import cost_of
from routing.strategies.by_value import value
from routing.strategies.control import CONTROL_SHARE
from routing.strategies.doubt import ENOUGH, chance_wrong, disagreement, threshold, uncertainty
from routing.strategies.hyper import hyper_simulated, hyper_top_k
from routing.strategies.money import UNIT, BudgetTooSmall, to_money, to_units
from routing.strategies.problem import Allocation, Problem, Source
from routing.strategies.simple import all_ai, all_people, random_share

STRATEGIES: dict[str, Callable[..., Allocation]] = {
    "all_people": all_people,
    "all_ai": all_ai,
    "random": random_share,
    "uncertainty": uncertainty,
    "threshold": threshold,
    "disagreement": disagreement,
    "hyper_simulated": hyper_simulated,
    "hyper_top_k": hyper_top_k,
    "value": value,
}
# These need the paper's performance model (`paper`, and `tags` when its bins are at hand).
OF_THE_PAPER = ("hyper_simulated", "hyper_top_k")

__all__ = [
    "CONTROL_SHARE",
    "ENOUGH",
    "OF_THE_PAPER",
    "STRATEGIES",
    "UNIT",
    "Allocation",
    "BudgetTooSmall",
    "Problem",
    "Source",
    "all_ai",
    "all_people",
    "chance_wrong",
    "cost_of",
    "disagreement",
    "hyper_simulated",
    "hyper_top_k",
    "random_share",
    "to_money",
    "to_units",
    "threshold",
    "uncertainty",
    "value",
]
