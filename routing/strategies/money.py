"""Money in whole units of 1e-8: sums and comparisons of budgets are exact, floats never decide."""

from __future__ import annotations

from decimal import Decimal

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


def to_money(units: int) -> Decimal:
    return Decimal(int(units)) / UNIT
