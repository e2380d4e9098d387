"""The random control: comparisons whose source chance decides, so that a plan can be checked without its ranking.

Propensities are exact: no decision outside the control depends on who is drawn, and nothing is repaired afterwards.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from routing.strategies.accounting import cost_of, draw, extra_units, upgradable
from routing.strategies.money import to_money
from routing.strategies.problem import Allocation, Problem, patterns

CONTROL_SHARE = 0.05


def reserve(problem: Problem, share: float, columns: list[int] | None = None) -> int:
    """Units that exchanging the sources of a random `share` of the comparisons among themselves costs at most more.

    Nothing where a source costs the same everywhere. Otherwise every one of m comparisons may get its source where that
    is dearest: m × the largest price difference of one source (of `columns`, default all) between comparisons.
    """
    if share <= 0 or not len(problem):
        return 0
    if problem.prices is None:
        return 0
    used = range(len(problem.sources)) if columns is None else columns
    paid = [problem.units[problem.usable[:, column], column] for column in used]
    spread = max((int(np.ptp(prices)) for prices in paid if len(prices)), default=0)
    return spread * int(np.ceil(share * len(problem)))


def explore(
    problem: Problem, allocation: Allocation, share: float, rng: np.random.Generator, eligible: np.ndarray | None = None
) -> Allocation:
    """Exchange the sources of a random `share` of the `eligible` comparisons (default all) among themselves.

    How many each source gets stays the same, so caps are kept, and cost grows by at most `reserve`. Exchanged are only
    comparisons with the same sources available. With a stratum of n such comparisons, m of them drawn, and N(s) of the
    n decided for source s, comparison i gets s with the chance
    (1 − m/n) [s is i's own] + m/n (1/m [s is i's own] + (1 − 1/m) (N(s) − [s is i's own]) / (n − 1)).
    """
    source, propensity = allocation.source.copy(), np.ones(len(problem))
    drawn = np.zeros(len(problem), dtype=bool)
    open_ = (allocation.source >= 0) & (True if eligible is None else eligible)
    for rows in _strata(problem.usable, np.flatnonzero(open_)):
        n, size = len(rows), int(share * len(rows) + 1e-9)  # rounded down, so that `reserve` holds
        if size < 2:
            continue
        control = rng.choice(n, size=size, replace=False)
        own = allocation.source[rows]
        got = own.copy()
        got[control] = own[control[rng.permutation(size)]]
        source[rows], drawn[rows[control]] = got, True
        propensity[rows] = _chance(own, got, size)
    return replace(
        allocation,
        source=source,
        propensity=propensity,
        is_control=drawn,
        cost=to_money(cost_of(problem, source)),
    )


def _strata(usable: np.ndarray, rows: np.ndarray) -> list[np.ndarray]:
    if not len(rows):
        return []
    if usable[rows].all():
        return [rows]
    known, key = patterns(usable[rows])
    return [rows[key == number] for number in range(len(known))]


def _chance(own: np.ndarray, got: np.ndarray, size: int) -> np.ndarray:
    """The chance with which each comparison got what it got, see `explore`."""
    n = len(own)
    decided = np.bincount(own, minlength=int(max(own.max(), got.max())) + 1)[got]
    mine = own == got
    exchanged = mine / size + (1 - 1 / size) * (decided - mine) / (n - 1)
    return np.asarray((1 - size / n) * mine + size / n * exchanged)


def with_people(
    problem: Problem, allocation: Allocation, base: np.ndarray, share: float, money: int, seed: int
) -> Allocation:
    """People for a random `share` of the comparisons that they could judge instead, as far as `money` units go.

    Each of these has the same chance. Where people's extra price differs, as many are drawn as even the dearest allow.
    """
    if problem.people is None or share <= 0:
        return allocation
    either = np.flatnonzero(upgradable(problem, base) & (base >= 0))
    wanted = min(len(either), max(1, int(round(share * len(either)))))
    rng = np.random.default_rng(seed)
    control = draw(either, extra_units(problem, base), money - cost_of(problem, base), wanted, rng)
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
        notes=(*allocation.notes, *_control_note(len(control), wanted)),
    )


def _control_note(paid: int, wanted: int) -> tuple[str, ...]:
    if paid == wanted:
        return ()
    return (
        f"The budget pays people for {paid} of the {wanted} comparisons of the random control share, which tells how "
        "often the labelers are wrong: raise it to know that better.",
    )
