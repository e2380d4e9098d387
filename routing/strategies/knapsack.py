"""The budgeted choice of one source a comparison: a multiple-choice knapsack, solved on upper convex hulls.

maximise Σᵢ v[i, sᵢ] subject to Σᵢ c[i, sᵢ] ≤ money and caps. For every comparison only sources on the upper convex
hull of value against cost can be optimal at some price λ of money (Sinha and Zoltners 1979). All comparisons start with
their cheapest source; the steps along the hulls are taken in falling order of value per unit of money until the next
one no longer fits. That is the optimum of the Lagrangian, short of the true optimum by less than the value of one step;
what is left of the money then buys what still fits. Costs are whole units of 1e-8 throughout.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

# Rounds of buying with what is left; each takes all that fits in order, so few ever find anything.
FILLS = 20


@dataclass(frozen=True)
class Cap:
    """At most `count` comparisons get one of the sources `columns`."""

    columns: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Solution:
    """`source` (n,), −1 where nothing can be used; `rate` the value that one more unit of money would have bought."""

    source: np.ndarray
    rate: float


class TooDear(Exception):
    """Even the cheapest assignment costs `smallest` units, more than there are."""

    def __init__(self, smallest: int) -> None:
        super().__init__(f"The cheapest assignment costs {smallest} units.")
        self.smallest = smallest


def solve(
    value: np.ndarray,
    units: np.ndarray,
    usable: np.ndarray,
    money: int,
    *,
    caps: Sequence[Cap] = (),
    rng: np.random.Generator | None = None,
) -> Solution:
    """The best assignment within `money`; ties in random order. Raises TooDear; ValueError when caps cannot be kept.

    `value` (n, s) in any unit, `units` (n, s) int64 costs, `usable` (n, s). Caps are kept one after the other: a capped
    source stays where giving it up would lose most at the current price of money, and is taken away elsewhere. So a
    cap is never passed; with several that bind at once the result is good, not provably best, and caps that only just
    leave room may be refused.
    """
    rng = rng or np.random.default_rng(0)
    allowed = usable
    # Values first; should what the caps take away make the money too short, again by costs alone.
    for by_cost in (False, True):
        allowed = usable.copy()
        try:
            for _ in range(len(caps) + 1):
                found = _uncapped(value, units, allowed, money, rng)
                broken = [cap for cap in caps if np.isin(found.source, cap.columns).sum() > cap.count]
                if not broken:
                    return found
                worth = -units.astype(np.float64) if by_cost else value - found.rate * units
                allowed = _keep(worth, allowed, broken[0], rng)
        except TooDear:
            if by_cost or not caps or _cheapest_cost(units, usable) > money:
                raise
    raise ValueError("The caps cannot be kept together: raise one of them.")


def _cheapest_cost(units: np.ndarray, usable: np.ndarray) -> int:
    cheapest = np.where(usable, units, np.iinfo(np.int64).max).min(axis=1)
    return int(cheapest[usable.any(axis=1)].sum())


def _keep(worth: np.ndarray, allowed: np.ndarray, cap: Cap, rng: np.random.Generator) -> np.ndarray:
    """`allowed` with the capped sources left only where they beat the best other source by most."""
    columns = np.isin(np.arange(allowed.shape[1]), cap.columns)
    inside = np.where(allowed & columns, worth, -np.inf).max(axis=1)
    outside = np.where(allowed & ~columns, worth, -np.inf).max(axis=1)
    candidates = np.flatnonzero(inside > -np.inf)
    with np.errstate(invalid="ignore"):
        regret = inside[candidates] - outside[candidates]
    if np.isinf(regret).sum() > cap.count:
        raise ValueError(
            f"A cap leaves {int(np.isinf(regret).sum()) - cap.count} comparisons without any source: raise it."
        )
    order = np.lexsort((rng.random(len(candidates)), -regret))
    kept = allowed.copy()
    kept[np.ix_(candidates[order[cap.count :]], np.flatnonzero(columns))] = False
    return kept


def _uncapped(
    value: np.ndarray, units: np.ndarray, usable: np.ndarray, money: int, rng: np.random.Generator
) -> Solution:
    source = _cheapest(value, units, usable)
    left = money - _cost(units, source)
    if left < 0:
        raise TooDear(money - left)
    rows, targets, slopes, prices = _steps(value, units, usable, source)
    # One random number a comparison: its own steps stay in order, equals of others come in random order.
    order = np.lexsort((np.arange(len(rows)), rng.random(len(value))[rows], -slopes))
    paid = np.cumsum(prices[order])
    count = int(np.searchsorted(paid, left, side="right"))
    taken = order[:count]
    source[rows[taken]] = targets[taken]  # of several steps of one comparison the last counts
    rate = float(slopes[order[count]]) if count < len(order) else 0.0
    return Solution(_fill(value, units, usable, source, left - (int(paid[count - 1]) if count else 0), rng), rate)


def _cheapest(value: np.ndarray, units: np.ndarray, usable: np.ndarray) -> np.ndarray:
    """(n,) the cheapest source, at equal cost the most valuable."""
    price = np.where(usable, units, np.iinfo(np.int64).max)
    equal = usable & (price == price.min(axis=1, keepdims=True))
    chosen = np.where(equal, value, -np.inf).argmax(axis=1)
    return np.where(usable.any(axis=1), chosen, -1)


def _cost(units: np.ndarray, source: np.ndarray) -> int:
    paid = np.flatnonzero(source >= 0)
    return int(units[paid, source[paid]].sum())


def _steps(
    value: np.ndarray, units: np.ndarray, usable: np.ndarray, start: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Every step along every hull, first steps first: rows, the source it leads to, value per unit, extra units."""
    rows, current, before = np.flatnonzero(start >= 0), start[start >= 0], np.inf
    found = []
    for _ in range(value.shape[1] - 1):
        slope, target, price = _best_step(value, units, usable, rows, current, np.iinfo(np.int64).max)
        going = slope > 0
        rows, current, slope, price = rows[going], target[going], slope[going], price[going]
        before = np.minimum(slope, before if np.isscalar(before) else np.asarray(before)[going])
        found.append((rows, current, before, price))
    if not found:
        nothing = np.zeros(0, dtype=np.int64)
        return nothing, nothing, np.zeros(0), nothing
    rows, targets, slopes, prices = (np.concatenate(part) for part in zip(*found, strict=True))
    return rows, targets, slopes, prices


def _best_step(
    value: np.ndarray, units: np.ndarray, usable: np.ndarray, rows: np.ndarray, current: np.ndarray, most: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each of `rows` the source with most extra value per extra unit that costs at most `most` extra; 0 = none."""
    extra = units[rows] - units[rows, current][:, None]
    gain = value[rows] - value[rows, current][:, None]
    fits = usable[rows] & (extra > 0) & (gain > 0) & (extra <= most)
    slope = np.where(fits, gain / np.where(fits, extra, 1), 0.0)
    target = slope.argmax(axis=1)
    row = np.arange(len(rows))
    return slope[row, target], target, extra[row, target]


def _fill(
    value: np.ndarray, units: np.ndarray, usable: np.ndarray, source: np.ndarray, left: int, rng: np.random.Generator
) -> np.ndarray:
    """Spends what is left on single steps that still fit, best value per unit first."""
    for _ in range(FILLS):
        rows = np.flatnonzero(source >= 0)
        slope, target, price = _best_step(value, units, usable, rows, source[rows], left)
        going = np.flatnonzero(slope > 0)
        if not len(going):
            break
        going = going[np.lexsort((rng.random(len(going)), -slope[going]))]
        paid = np.cumsum(price[going])
        count = int(np.searchsorted(paid, left, side="right"))
        source[rows[going[:count]]] = target[going[:count]]
        left -= int(paid[count - 1])
    return source
