"""Our strategy: the most labels that agree with people for the money, among any number of sources."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np

from routing.strategies import control
from routing.strategies.accounting import allocation_of, caps_of, choose
from routing.strategies.doubt import ENOUGH, disagreement
from routing.strategies.knapsack import Solution
from routing.strategies.money import BudgetTooSmall
from routing.strategies.problem import Allocation, Problem
from routing.strategies.ranked import NO_ROOM

# One-sided 90%: a value is at least this many standard errors below its estimate with a chance of one in ten.
LOWER = 1.2816
BOUNDS = ("mean", "lower")


def value(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    control_share: float = control.CONTROL_SHARE,
    source: int | None = None,
    caps: Mapping[str, float] | None = None,
    bound: str = "mean",
    **_: Any,
) -> Allocation:
    """Each comparison's source by a multiple-choice knapsack over what sources are worth (`worth.estimate`).

    `bound` "lower" counts every value at its lower confidence bound, so that money goes where gains are certain.
    `source` leaves that labeler alone beside people. `caps` {source name: share of the comparisons}; `people_share`
    caps all people together. Sources of a random `control_share` are exchanged, with exact propensities. `gain` is
    what people would be worth more than the labeler of the comparison. With no labeler that people's judgments could
    check it is `disagreement`, which then ranks by doubt.
    """
    if bound not in BOUNDS:
        raise ValueError(f"A bound is {' or '.join(BOUNDS)}, not {bound!r}.")
    from routing.strategies import worth

    estimated = worth.estimate(problem, seed=seed)
    if problem.people is None or not estimated.checked[problem.labelers].any():
        return _untaught(problem, budget, seed, people_share, control_share, source, caps)
    rng = np.random.default_rng(seed)
    offered = problem if source is None else _only(problem, source)
    counted = estimated.value - LOWER * estimated.error if bound == "lower" else estimated.value
    limits = caps_of(problem, caps, people_share)
    kept_back = control.reserve(offered, control_share)
    try:
        solution, share = choose(offered, counted, budget, limits, kept_back=kept_back, rng=rng), control_share
    except BudgetTooSmall:
        if not kept_back:
            raise
        solution, share = choose(offered, counted, budget, limits, rng=rng), 0.0
    notes = _notes(problem, estimated.checked) + ((NO_ROOM,) if share < control_share else ())
    usable = problem.usable
    plan = replace(
        allocation_of(
            problem,
            solution.source,
            "value",
            budget,
            gain=_gain(offered, counted, estimated.value, solution),
            notes=notes,
        ),
        value=np.where(usable, estimated.value, np.nan),
        value_error=np.where(usable, estimated.error, np.nan),
    )
    return control.explore(offered, plan, share, rng, offered.usable.sum(axis=1) > 1)


def _only(problem: Problem, source: int) -> Problem:
    """Other labelers are taken away where this one can be used."""
    usable = problem.usable.copy()
    others = [labeler for labeler in problem.labelers if labeler != source]
    usable[np.ix_(np.flatnonzero(usable[:, source]), np.asarray(others, dtype=np.int64))] = False
    return replace(problem, available=usable)


def _gain(problem: Problem, counted: np.ndarray, value: np.ndarray, solution: Solution) -> np.ndarray:
    """(n,) what people's majority is worth more than the labeler chosen, or the one that would be without people."""
    labelers = np.asarray(problem.labelers)
    net = np.where(problem.usable, counted - solution.rate * problem.units, -np.inf)[:, labelers]
    instead = np.where(np.isin(solution.source, labelers), solution.source, labelers[net.argmax(axis=1)])
    gain = value[:, problem.people] - value[np.arange(len(problem)), instead]
    return np.where(problem.usable[np.arange(len(problem)), instead], gain, np.nan)


def _notes(problem: Problem, checked: np.ndarray) -> tuple[str, ...]:
    unknown = [source.name for source, known in zip(problem.sources, checked.tolist(), strict=True) if not known]
    if not unknown:
        return ()
    return (f"People judged nothing that {', '.join(unknown)} answered: nobody knows what that is worth.",)


def _untaught(
    problem: Problem,
    budget: Decimal,
    seed: int,
    people_share: float,
    control_share: float,
    source: int | None,
    caps: Mapping[str, float] | None,
) -> Allocation:
    from routing.strategies.simple import all_ai

    plain = all_ai if problem.people is None else disagreement
    found = plain(
        problem,
        budget,
        seed=seed,
        people_share=people_share,
        control_share=control_share,
        source=source,
        caps=caps,
    )
    notes = found.notes or (f"Fewer than {ENOUGH} comparisons teach what sources are worth.",)
    return replace(found, strategy="value", notes=notes)
