"""People in the order of a ranking, a labeler for the rest, and a random control: what most strategies share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from routing.strategies import control
from routing.strategies.accounting import (
    allocation_of,
    base_sources,
    buy_people,
    cost_of,
    extra_units,
    most_people,
    upgradable,
)
from routing.strategies.money import to_units
from routing.strategies.problem import Allocation, Problem


@dataclass(frozen=True)
class Ranking:
    """`worth` (n,) of asking people; `gain` (n,) that is stored with it; `only` (n,) bool where people may be asked."""

    worth: np.ndarray
    gain: np.ndarray | None = None
    only: np.ndarray | None = None
    notes: tuple[str, ...] = ()


Rank = Callable[[Problem, np.ndarray, int], Ranking]


def by_rank(
    problem: Problem,
    budget: Decimal,
    strategy: str,
    rank: Rank,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    control_share: float = control.CONTROL_SHARE,
    source: int | None = None,
    caps: Mapping[str, float] | None = None,
    **_: Any,
) -> Allocation:
    """People where what `rank` (problem, base labeler's index (n,), seed) finds is highest per unit of money.

    The base labeler, `source` or the best one, elsewhere. Equals come in random order. A random `control_share` of the
    decisions is exchanged (`control.explore`).
    """
    rng = np.random.default_rng(seed)
    base = base_sources(problem, budget, source, caps)
    found = rank(problem, base, seed)
    money = to_units(budget)
    kept_back, share = exchange(problem, base, control_share, money - cost_of(problem, base))
    per_unit = found.worth / np.maximum(1, extra_units(problem, base))
    order = np.lexsort((rng.random(len(problem)), -per_unit))
    if found.only is not None:
        order = order[found.only[order]]
    most = most_people(problem, base, people_share, caps)
    chosen = buy_people(problem, base, order, money - kept_back, most)
    plan = allocation_of(problem, chosen, strategy, budget, gain=found.gain, notes=found.notes)
    if share < control_share:
        plan = replace(plan, notes=(*found.notes, NO_ROOM))
    return control.explore(problem, plan, share, rng, upgradable(problem, base) & (base >= 0))


NO_ROOM = "The budget leaves no money for a random control, because prices differ: raise it to know whether plans work."


def exchange(problem: Problem, base: np.ndarray, share: float, left: int) -> tuple[int, float]:
    """(units to keep back for exchanging `share` of the decisions, that share); (0, 0.0) when `left` is too little."""
    columns = sorted({*np.unique(base[base >= 0]).tolist(), *([] if problem.people is None else [problem.people])})
    kept_back = control.reserve(problem, share, columns)
    return (kept_back, share) if kept_back <= left else (0, 0.0)
