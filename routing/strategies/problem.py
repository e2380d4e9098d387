"""What a strategy decides about and what it decides: sources, comparisons, and one source for each comparison."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

from routing.strategies.money import to_units, units_of


@dataclass(frozen=True)
class Source:
    """Somebody who can judge: people (`votes` votes a comparison together) or one labeler. Price a comparison.

    Several sources may be people: "people" with the project's full votes, and cheaper ones with fewer votes each
    ("people:1", "people:2"…).
    """

    name: str
    price: Decimal
    is_people: bool = False
    votes: int = 1


@dataclass(frozen=True)
class Problem:
    """n comparisons and s sources.

    `features` (n, k) with `names`, symmetric ones (`features.symmetric`); `p_b` (n, s) each source's known probability
    that B is better, NaN where it has not judged (people: mean vote, known on the seed set only; people with fewer
    votes: known only where that many votes are); `groups` (n,) the
    prompt's number; `votes` (n,) people's votes behind their mean, default one each; `available` (n, s) where a source
    can be used, default everywhere; `prices` (n, s) Decimals where they differ between comparisons, default each
    source's own; `history` comparisons of the same sources that are no part of the plan, to learn from;
    `traits` (n, t) what a performance model reads of each comparison, default the features; `by_chance` (n,) where
    people were asked without a ranking, default everywhere: accuracies and plain averages are of these alone.
    """

    features: np.ndarray
    names: tuple[str, ...]
    sources: tuple[Source, ...]
    p_b: np.ndarray
    groups: np.ndarray
    votes: np.ndarray | None = None
    available: np.ndarray | None = None
    prices: np.ndarray | None = None
    history: Problem | None = None
    traits: np.ndarray | None = None
    by_chance: np.ndarray | None = None
    # What was learnt from these comparisons: plans at twenty budgets learn it once. A changed copy starts empty.
    memory: dict[Hashable, Any] = field(init=False, default_factory=dict, repr=False, compare=False)

    def __len__(self) -> int:
        return len(self.p_b)

    @cached_property
    def people(self) -> int | None:
        """Index of the people with most votes, the first of them when several have as many."""
        return max(self.people_sources, key=lambda index: self.sources[index].votes, default=None)

    @property
    def people_sources(self) -> list[int]:
        """Indexes of all sources that are people, whatever their number of votes."""
        return [index for index, source in enumerate(self.sources) if source.is_people]

    @property
    def described(self) -> np.ndarray:
        return self.features if self.traits is None else self.traits

    @property
    def labelers(self) -> list[int]:
        return [index for index, source in enumerate(self.sources) if not source.is_people]

    @cached_property
    def units(self) -> np.ndarray:
        """(n, s) int64 prices in units of 1e-8 money."""
        if self.prices is not None:
            units = units_of(np.asarray(self.prices, dtype=object))
        else:
            row = np.array([to_units(source.price) for source in self.sources], dtype=np.int64)
            units = np.broadcast_to(row, (len(self), len(self.sources)))
        if units.size and int(units.max()) * len(self) > np.iinfo(np.int64).max:
            raise ValueError("These prices are too large to be added exactly: use a larger unit of money.")
        return units

    @cached_property
    def usable(self) -> np.ndarray:
        return np.ones(self.p_b.shape, dtype=bool) if self.available is None else self.available

    @cached_property
    def human(self) -> np.ndarray:
        """(n,) people's mean vote for B, NaN where unknown."""
        return self.p_b[:, self.people] if self.people is not None else np.full(len(self), np.nan)

    @cached_property
    def weights(self) -> np.ndarray:
        return np.ones(len(self)) if self.votes is None else self.votes.astype(np.float64)

    @cached_property
    def measured(self) -> np.ndarray:
        return np.ones(len(self), dtype=bool) if self.by_chance is None else self.by_chance

    @cached_property
    def lessons(self) -> Problem:
        """This problem followed by its history: everything there is to learn from."""
        if self.history is None:
            return self
        past = self.history.lessons
        return Problem(
            features=np.vstack([self.features, past.features]),
            names=self.names,
            sources=self.sources,
            p_b=np.vstack([self.p_b, past.p_b]),
            groups=np.concatenate([self.groups, past.groups]),
            votes=np.concatenate([self.weights, past.weights]),
            available=np.vstack([self.usable, past.usable]),
            by_chance=np.concatenate([self.measured, past.measured]),
        )

    def accuracy(self, source: int) -> float:
        """Agreement with people's majorities where both are known and chance asked people, weighted by votes; ties of
        people do not count and a labeler's tie is half; NaN when nothing is known."""
        counts = self.measured & ~np.isnan(self.p_b[:, source]) & ~np.isnan(self.human) & (self.human != 0.5)
        if not counts.any():
            return float("nan")
        agreement = np.sign(self.p_b[counts, source] - 0.5) * np.sign(self.human[counts] - 0.5)
        return float(np.average((agreement + 1) / 2, weights=self.weights[counts]))


@dataclass(frozen=True)
class Allocation:
    """Exactly one source a comparison: `source` (n,) index, −1 = nobody (only `all_people` short of money).

    `propensity` (n,) the chance with which this source was drawn, `gain` (n,) expected label errors avoided by asking
    people (NaN where not estimated), `is_control` (n,) drawn at random to keep estimates honest; `cost` ≤ the budget.
    `value` (n, s) the estimated chance that each source's label equals the people's majority, with its standard error
    `value_error` (n, s): from strategies that estimate them, else None; NaN where a source cannot be used.
    """

    source: np.ndarray
    propensity: np.ndarray
    gain: np.ndarray
    is_control: np.ndarray
    cost: Decimal
    strategy: str
    notes: tuple[str, ...] = field(default=())
    value: np.ndarray | None = None
    value_error: np.ndarray | None = None


def patterns(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(k, q) the different rows of `flags` (n, q) bool, and (n,) which of them each row is; for any number of columns.

    In the order of whole numbers whose lowest bit is the first column.
    """
    packed = np.packbits(flags[:, ::-1], axis=1)
    keys = np.ascontiguousarray(packed).view(np.dtype((np.void, max(1, packed.shape[1])))).ravel()
    _, first, of_row = np.unique(keys, return_index=True, return_inverse=True)
    return flags[first], np.asarray(of_row).ravel()
