"""What a backtest is asked: budgets, strategies, seeds, prices, how to split. Plain JSON outside, typed inside."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from math import isfinite
from typing import Any

from routing.strategies import STRATEGIES, to_units
from routing.table import WAYS

BUDGETS = (0.1, 0.25, 0.5, 0.75)
# Run in every backtest: what all others are held against.
ALWAYS = ("all_people", "all_ai", "random")
# The strategy that the performance model chooses on the seed set.
AUTO = "auto"
# Strategies with a setting that is compared as a strategy of its own.
VARIANTS: dict[str, tuple[str, dict[str, Any]]] = {"value_lower": ("value", {"bound": "lower"})}
MOST_SEEDS, MOST_BUDGETS = 500, 20


def offered() -> tuple[str, ...]:
    """Strategies with a budget that may be chosen from, `random` left out because it always runs."""
    variants = (name for name, (named, _options) in VARIANTS.items() if named in STRATEGIES)
    return (*(name for name in STRATEGIES if name not in ALWAYS), *variants, AUTO)


@dataclass(frozen=True)
class Parameters:
    """`budgets` shares of what people cost for all of *fit*; `strategies` of `offered()`, empty = all; `prices` by
    source ("people", "people:1" or a judge), money a comparison; `by` as in `table.split`; `kinds` of
    `performance.KINDS`, empty = all; `votes` of people that may be asked for instead of all, e.g. (1,).

    Raises ValueError, in words, for what cannot be run.
    """

    seeds: int = 20
    seed: int = 0
    budgets: tuple[float, ...] = BUDGETS
    strategies: tuple[str, ...] = ()
    prices: Mapping[str, Decimal] = field(default_factory=dict)
    by: str = "auto"
    kinds: tuple[str, ...] = ()
    votes: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if not 1 <= self.seeds <= MOST_SEEDS or self.seed < 0:
            raise ValueError(f"A backtest has 1 to {MOST_SEEDS} seeds from 0 on.")
        if not 1 <= len(self.budgets) <= MOST_BUDGETS or len(set(self.budgets)) < len(self.budgets):
            raise ValueError(f"Give 1 to {MOST_BUDGETS} budgets, each once.")
        if not all(isfinite(share) and 0 < share <= 1 for share in self.budgets):
            raise ValueError("A budget is a share, over 0 and at most 1, of what people cost for everything.")
        if unknown := set(self.strategies) - set(offered()):
            raise ValueError(f"No strategy is called {', '.join(sorted(unknown))}; there are {', '.join(offered())}.")
        if self.by not in WAYS:
            raise ValueError(f"A table is split by {', '.join(WAYS)}, not by {self.by!r}.")
        for price in self.prices.values():
            to_units(price)

    @property
    def names(self) -> tuple[str, ...]:
        """Strategies with a budget, `random` first."""
        return ("random", *(name for name in offered() if not self.strategies or name in self.strategies))

    @property
    def numbers(self) -> range:
        return range(self.seed, self.seed + self.seeds)

    def as_json(self) -> dict[str, Any]:
        prices = {name: str(price) for name, price in self.prices.items()}
        lists = {name: list(getattr(self, name)) for name in ("budgets", "strategies", "kinds", "votes")}
        return {"seeds": self.seeds, "seed": self.seed, "by": self.by, "prices": prices, **lists}

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> Parameters:
        """What `as_json` gave; other keys are left alone."""
        lists = {name: tuple(stored.get(name, ())) for name in ("strategies", "kinds", "votes")}
        try:
            prices = {name: Decimal(str(price)) for name, price in stored.get("prices", {}).items()}
        except InvalidOperation:
            raise ValueError("A price is a decimal number.") from None
        return cls(
            seeds=int(stored.get("seeds", cls.seeds)),
            seed=int(stored.get("seed", cls.seed)),
            budgets=tuple(float(share) for share in stored.get("budgets", BUDGETS)),
            by=str(stored.get("by", cls.by)),
            prices=prices,
            **lists,
        )
