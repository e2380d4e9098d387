"""What a strategy does with money in a project, what is kept of earlier plans included. Nothing is stored here."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from annotator.pipeline.basis import KEPT, Basis, whole
from routing import strategies
from routing.backtest_parameters import VARIANTS

# Strategies a plan can be made by: those of routing, and those of them with a setting that backtests compare too.
NAMES = (*strategies.STRATEGIES, *VARIANTS)


def allocate(
    basis: Basis, strategy: str, budget: Decimal, seed: int, *, source: int | None = None
) -> strategies.Allocation:
    """What a strategy (one of NAMES) does with `budget`, kept comparisons included.

    Raises BudgetTooSmall, and ValueError in words.
    """
    name, options = VARIANTS.get(strategy, (strategy, {}))
    problem, money, caps = basis.problem, budget, basis.caps
    if name == "all_people":
        problem, money, caps = _left(basis, budget)
    made = strategies.STRATEGIES[name](
        problem,
        money,
        seed=seed,
        control_share=basis.project.control_share,
        source=source,
        caps=caps or None,
        **options,
        **of_the_paper(basis, name),
    )
    return whole(basis, replace(made, strategy=strategy), budget)


def of_the_paper(basis: Basis, name: str) -> dict[str, Any]:
    """The paper's model with the tags that it was fitted with, for the strategies that need them."""
    if name not in strategies.OF_THE_PAPER:
        return {}
    return {"paper": basis.paper, "tags": basis.tags}


def _left(basis: Basis, budget: Decimal) -> tuple[strategies.Problem, Decimal, dict[str, float]]:
    """The problem, the money and the caps without what is kept: a strategy that leaves comparisons out would leave
    these out as well, and they are paid all the same.

    Raises BudgetTooSmall when the money does not pay for what is kept.
    """
    kept, problem, caps = basis.kept, basis.problem, dict(basis.caps)
    if not len(kept.rows):
        return problem, budget, caps
    if kept.cost > budget:
        raise strategies.BudgetTooSmall(budget, kept.cost, KEPT)
    usable = problem.usable.copy()
    usable[kept.rows] = False
    people = problem.sources[problem.people or 0].name
    if people in caps:
        caps[people] = max(0.0, caps[people] - float((kept.source == problem.people).sum()) / len(problem))
    return replace(problem, available=usable), budget - kept.cost, caps


def enough(basis: Basis) -> Decimal:
    """Money for the dearest source everywhere."""
    usable = np.where(basis.problem.usable, basis.problem.units, 0)
    return strategies.to_money(int(usable.max(axis=1).sum()))


def least(basis: Basis) -> Decimal:
    """Money for the cheapest source everywhere."""
    usable = np.where(basis.problem.usable, basis.problem.units, np.iinfo(np.int64).max)
    cheapest = np.where(basis.problem.usable.any(axis=1), usable.min(axis=1), 0)
    return strategies.to_money(int(cheapest.sum()))
