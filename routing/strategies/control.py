"""The random control: comparisons whose source chance decides, so that a plan can be checked without its ranking."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import numpy as np

from routing.strategies.accounting import cost_of, extra_units, fits, people_of, upgradable
from routing.strategies.money import to_money, to_units
from routing.strategies.problem import Allocation, Problem

CONTROL_SHARE = 0.05


def with_control(
    problem: Problem,
    allocation: Allocation,
    base: np.ndarray,
    share: float,
    budget: Decimal,
    rng: np.random.Generator,
) -> Allocation:
    """Shuffle the decisions of a random `share` of the comparisons among themselves.

    The number of people, and so the cost, stays the same where prices are equal, and the propensities are exact:
    P(i gets its source s) = (1 − c) [s was i's own decision] + c P(s | i in control), where c is the control's share of
    the n comparisons that can go either way, and an element of a shuffled control set keeps its own decision with
    probability 1/|C| and takes another's otherwise. Where prices differ and the shuffle costs more than the budget,
    control comparisons are handed back to the base source, dearest first (propensities are then approximate).
    """
    either = np.flatnonzero(upgradable(problem, base) & (base >= 0))
    size = int(round(share * len(either)))
    if size < 2:
        return allocation
    control = rng.choice(either, size=size, replace=False)
    people, own = people_of(problem), allocation.source == people_of(problem)
    chosen = allocation.source.copy()
    shuffled = own[control[rng.permutation(size)]]
    chosen[control] = np.where(shuffled, people, base[control])
    chosen = _within(problem, chosen, base, control, to_units(budget))
    n, count = len(either), int(own[either].sum())
    kept = 1 / size
    to_people = kept * own + (1 - kept) * (count - own) / max(1, n - 1)
    chance = (1 - size / n) * own + size / n * to_people
    got = np.where(chosen == people, chance, 1 - chance)
    eligible = np.isin(np.arange(len(problem)), either)
    return replace(
        allocation,
        source=chosen,
        propensity=np.where(eligible, got, 1.0),
        is_control=np.isin(np.arange(len(problem)), control),
        cost=to_money(cost_of(problem, chosen)),
    )


def with_people(
    problem: Problem, allocation: Allocation, base: np.ndarray, share: float, budget: Decimal, seed: int
) -> Allocation:
    """People for a random `share` of the comparisons that they could judge instead, as far as the money goes.

    Every one of these has the same chance where people's extra price is the same everywhere, else approximately.
    """
    if problem.people is None or share <= 0:
        return allocation
    either = np.flatnonzero(upgradable(problem, base) & (base >= 0))
    drawn = np.random.default_rng(seed).permutation(either)[: max(1, int(round(share * len(either))))]
    control = drawn[fits(extra_units(problem, base)[drawn], to_units(budget) - cost_of(problem, base))]
    chosen, is_control = base.copy(), np.isin(np.arange(len(problem)), control)
    chosen[control] = problem.people
    chance = len(control) / max(1, len(either))
    eligible = np.isin(np.arange(len(problem)), either)
    return replace(
        allocation,
        source=chosen,
        propensity=np.where(eligible, np.where(is_control, chance, 1 - chance), 1.0),
        is_control=is_control,
        cost=to_money(cost_of(problem, chosen)),
        notes=(*allocation.notes, *_control_note(len(control), len(drawn))),
    )


def _control_note(paid: int, wanted: int) -> tuple[str, ...]:
    if paid == wanted:
        return ()
    return (
        f"The budget pays people for {paid} of the {wanted} comparisons of the random control share, which tells how "
        "often the labelers are wrong: raise it to know that better.",
    )


def _within(problem: Problem, chosen: np.ndarray, base: np.ndarray, control: np.ndarray, money: int) -> np.ndarray:
    extra = extra_units(problem, base)
    for index in control[np.argsort(-extra[control], kind="stable")]:
        if cost_of(problem, chosen) <= money:
            break
        chosen[index] = base[index]
    return chosen
