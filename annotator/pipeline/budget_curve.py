"""Performance against budget: what a strategy is predicted to reach for less and for more money, beside simple ones.

`Plan.summary["curve"]` (see `forecast`). Of every allocation tried only what a row needs is kept, so that fifty of a
million comparisons fit into memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np

from annotator.pipeline import grounds
from annotator.pipeline.allocations import allocate, enough, least
from annotator.pipeline.basis import Basis
from routing import mixtures, strategies

# Points of the curve: enough for a slider to move along. The paper's search draws hundreds of mixtures at every one.
POINTS = 14
POINTS_OF_SEARCH = 5
SEARCH = "hyper_simulated"
# What a strategy is held against at every budget.
BESIDE = ("random", "all_people", "all_ai")
# z of the 90% interval that predictions carry.
Z = 1.645
Interval = dict[str, float | None]
Beat = Callable[[int, int], None]


@dataclass(frozen=True)
class Told:
    """What is kept of an allocation: what a row of the curve tells, and what the performance model reads of it."""

    described: np.ndarray
    composition: dict[str, Any]


@dataclass(frozen=True)
class Predicted:
    """Predicted performance with the model's own interval, NaN without a model; `shares` (s,) of each source."""

    predicted: float
    low: float
    high: float
    shares: np.ndarray


def curve(basis: Basis, strategy: str, seed: int, beat: Beat) -> list[dict[str, Any]]:
    """The rows of `Plan.summary["curve"]`, with a `beat` for every budget. Needs a performance model."""
    budgets = _budgets(least(basis), enough(basis), POINTS_OF_SEARCH if strategy == SEARCH else POINTS)
    told: dict[str, list[Told | None]] = {name: [] for name in (strategy, *BESIDE)}
    for number, budget in enumerate(budgets):
        beat(number, len(budgets))
        for name, row in told.items():
            row.append(tried(basis, name, budget, seed))
    predicted = {name: predict(basis, row) for name, row in told.items()}
    return [
        _row(basis, budget, here.composition, {name: predicted[name][number] for name in told}, strategy)
        | {"step": _step(basis, predicted[strategy], number)}
        for number, (budget, here) in enumerate(zip(budgets, told[strategy], strict=True))
        if here is not None
    ]


def _row(
    basis: Basis, budget: Decimal, composition: dict[str, Any], at: dict[str, Predicted | None], strategy: str
) -> dict[str, Any]:
    here = at[strategy]
    assert here is not None, "there is a composition, so there is a prediction"
    beside = {name: None if (level := at[name]) is None else interval(basis, level)["predicted"] for name in BESIDE}
    return {
        "budget": str(budget),
        **composition,
        **beside,
        "gain": gain(basis, here, at["random"]),
        **interval(basis, here),
    }


def _step(basis: Basis, drawn: list[Predicted | None], number: int) -> dict[str, float] | None:
    """The gain over the stop before; None at the first."""
    before = [each for each in drawn[:number] if each is not None]
    return gain(basis, drawn[number], before[-1], nested=True) if before else None  # type: ignore[arg-type]


def tried(basis: Basis, strategy: str, budget: Decimal, seed: int) -> Told | None:
    """None where the strategy can do nothing with the budget."""
    try:
        made = allocate(basis, strategy, budget, seed)
    except (strategies.BudgetTooSmall, ValueError):
        return None
    return Told(describe(basis, made), composition_of(basis, made))


def describe(basis: Basis, allocation: strategies.Allocation) -> np.ndarray:
    """(1, d) what the performance model reads of an allocation."""
    prices = basis.problem.units / float(strategies.UNIT)
    is_people = [source.is_people for source in basis.problem.sources]
    return mixtures.describe(allocation.source[None], basis.tags, prices, is_people)


def predict(basis: Basis, told: Sequence[Told | None]) -> list[Predicted | None]:
    """What the model says of each; None stays None. Without a model all are NaN."""
    there = [each.described for each in told if each is not None]
    if basis.model is None or not there:
        return [None if each is None else Predicted(np.nan, np.nan, np.nan, np.empty(0)) for each in told]
    described = np.vstack(there)
    low, high = basis.model.predict_interval(described, 0.9)
    shares = described[:, : len(basis.problem.sources)]
    found = zip(basis.model.predict(described).tolist(), low.tolist(), high.tolist(), shares, strict=True)
    return [None if each is None else Predicted(*next(found)) for each in told]


def composition_of(basis: Basis, allocation: strategies.Allocation) -> dict[str, Any]:
    """Who judges which share of the comparisons, and of the money."""
    shares, money = {}, {}
    for column, source in enumerate(basis.problem.sources):
        got = allocation.source == column
        if got.any():
            shares[source.name] = round(float(got.mean()), 4)
            money[source.name] = str(strategies.to_money(int(basis.problem.units[got, column].sum())))
    people = np.isin(allocation.source, basis.problem.people_sources)
    return {
        "spent": str(allocation.cost),
        "people_share": float(people.mean()),
        "shares": shares,
        "cost": money,
    }


def interval(basis: Basis, prediction: Any) -> Interval:
    """The prediction with its interval, widened by what all mixtures share: accuracy was measured on a sample."""
    if np.isnan(prediction.predicted):
        return {"predicted": None, "low": None, "high": None}
    shared = Z * basis.sampling_error
    below = float(np.hypot(max(0.0, prediction.predicted - prediction.low), shared))
    above = float(np.hypot(max(0.0, prediction.high - prediction.predicted), shared))
    return {
        "predicted": float(prediction.predicted),
        "low": max(0.0, float(prediction.predicted) - below),
        "high": min(1.0, float(prediction.predicted) + above),
    }


def gain(basis: Basis, here: Predicted, other: Predicted | None, *, nested: bool = False) -> dict[str, float] | None:
    """`here` over another mixture: the model's own intervals, and what the judged sample leaves open of it."""
    if other is None:
        return None
    told = basis.stored.metrics if basis.stored else {}
    shared = Z * grounds.difference_error(told, here.shares, other.shares, nested=nested)
    ahead = here.predicted - other.predicted
    below = np.linalg.norm([here.predicted - here.low, other.high - other.predicted, shared])
    above = np.linalg.norm([here.high - here.predicted, other.predicted - other.low, shared])
    return {"value": float(ahead), "low": float(ahead - below), "high": float(ahead + above)}


def _budgets(lowest: Decimal, highest: Decimal, points: int) -> list[Decimal]:
    """`points` amounts in whole cents: evenly spaced, but for a third near the cheap end, where most happens."""
    low, high = float(lowest), float(highest)
    near = max(1, points // 3)
    steps = [*np.linspace(0, 0.15, near, endpoint=False), *np.linspace(0.15, 1, points - near)]
    amounts = [min(highest, max(lowest, Decimal(f"{low + step * (high - low):.2f}"))) for step in steps[:-1]]
    return sorted({*amounts, highest})
