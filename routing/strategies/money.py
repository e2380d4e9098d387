"""Money in whole units of 1e-8: sums and comparisons of budgets are exact, floats never decide."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import numpy as np

UNIT = Decimal(10) ** 8


class BudgetTooSmall(Exception):
    """Even the cheapest source for every comparison costs more. `smallest` is the smallest feasible budget."""

    def __init__(
        self, budget: Decimal, smallest: Decimal, what: str = "the cheapest source for all comparisons"
    ) -> None:
        super().__init__(f"The budget {budget} is too small: {what} costs {smallest}. Raise it to at least {smallest}.")
        self.budget = budget
        self.smallest = smallest


def to_units(amount: Decimal) -> int:
    """Money in whole units of 1e-8. Raises ValueError for a finer, negative or not finite amount."""
    if not amount.is_finite() or amount < 0 or (amount * UNIT) % 1:
        raise ValueError(f"{amount} is no amount of money: finite, at least 0, at most 8 decimal places.")
    return int(amount * UNIT)


def units_of(prices: np.ndarray) -> np.ndarray:
    """(n, s) int64 of (n, s) Decimals. Raises ValueError as `to_units`."""
    known: dict[Any, int] = {}  # prices repeat: a million comparisons rarely have a thousand different ones
    flat = [
        known[price] if price in known else known.setdefault(price, to_units(Decimal(price))) for price in prices.flat
    ]
    return np.array(flat, dtype=np.int64).reshape(prices.shape)


def to_money(units: int) -> Decimal:
    return Decimal(int(units)) / UNIT
