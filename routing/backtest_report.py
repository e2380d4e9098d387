"""From the outcomes of seeds to a report: means, paired differences to random, regret, and what may be said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np
from scipy.stats import t as student

from routing.backtest_parameters import ALWAYS, AUTO, Parameters

LEVEL = 0.95
Cell = tuple[str, float | None]
Interval = tuple[float | None, float | None, float | None]


@dataclass(frozen=True)
class Row:
    """One strategy at one budget over all seeds; accuracies in [0, 1], 95% intervals, money as mean over seeds.

    `budget` is the share of the cost of asking people everything; None for strategies that have no budget. Differences
    are to random at the same budget and seed; None where there is no such random. `regret` is to the best mixture found
    for the seed at no more money, picked on *test* and so optimistic about it (`routing.backtest.run_seed`). `people`
    is the share of the comparisons that people judge, `seeds` how many could pay for this row. None where one seed (or
    no vote) tells nothing.
    """

    strategy: str
    budget: float | None
    mean: float | None
    low: float | None
    high: float | None
    difference: float | None
    difference_low: float | None
    difference_high: float | None
    label_accuracy: float | None
    money: float
    regret: float | None = None
    regret_low: float | None = None
    regret_high: float | None = None
    people: float = 0.0
    seeds: int = 1


@dataclass(frozen=True)
class Difference:
    """`strategy` less `against`, mean over the budgets that both have, paired by seed. `is_noise` when the interval
    holds 0, or there is none because one seed was run."""

    strategy: str
    against: str
    mean: float | None
    low: float | None
    high: float | None
    is_noise: bool


@dataclass(frozen=True)
class Verdict:
    """What may be said in a sentence.

    `winner`: the strategy with the highest mean difference to random over all budgets, *one* choice for all budgets.
    It is picked on *test* among `compared` strategies, so its interval is widened for that many (Bonferroni). `second`:
    the winner less the next best. `auto`: the choice made on *select* less random, its interval needs no widening.
    `over_labelers`: the winner less the labeler that agrees best with people on the seed set, judging alone.
    `people_over_labelers`: people for everything less that labeler, whatever they cost: whether people's judgments
    train a better reward model at all.
    """

    compared: int
    winner: Difference | None = None
    second: Difference | None = None
    auto: Difference | None = None
    over_labelers: Difference | None = None
    people_over_labelers: Difference | None = None


@dataclass(frozen=True)
class Report:
    """`rows`, `verdict`, and what is needed to read them: the split, mean sizes of its parts, prices, money of the seed
    set (people's, and labelers' on it), how often which performance model and plan was chosen and had skill, what noise
    leaves possible, mixtures tried a seed, notes."""

    rows: tuple[Row, ...]
    verdict: Verdict
    split: str
    sizes: dict[str, float]
    seeds: int
    prices: dict[str, str]
    seed_set_money: float
    seed_set_labelers_money: float
    models: dict[str, int]
    plans: dict[str, int]
    skilled: int
    model_correlation: float | None
    noise_correlation: float | None
    noise_deviation: float | None
    mixtures: float
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def of(cls, stored: dict[str, Any]) -> Self:
        """What `as_json` gave, and JSON made lists of."""
        verdict: dict[str, Any] = {
            name: Difference(**value) if isinstance(value, dict) else value for name, value in stored["verdict"].items()
        }
        known = {each.name for each in fields(cls)}
        return cls(
            **{name: value for name, value in stored.items() if name in known - {"rows", "verdict", "notes"}},
            rows=tuple(Row(**row) for row in stored["rows"]),
            verdict=Verdict(**verdict),
            notes=tuple(stored["notes"]),
        )


def report(parameters: Parameters, outcomes: Sequence[dict[str, Any]]) -> Report:
    """What `run_seed` gave for some or all seeds of `parameters`, in any order. Raises ValueError without any."""
    if not outcomes:
        raise ValueError("No seed is computed yet, so there is nothing to report.")
    outcomes = sorted(outcomes, key=lambda outcome: int(outcome["seed"]))
    scores = _Scores(outcomes)
    first = outcomes[0]
    kinds = [outcome["model"]["kind"] for outcome in outcomes]
    plans = [row["plan"] for outcome in outcomes for row in outcome["rows"] if row["strategy"] == AUTO]
    return Report(
        rows=tuple(_row(scores, cell) for cell in scores.cells),
        verdict=_verdict(scores, parameters),
        split=first["by"],
        sizes={part: float(np.mean([outcome["sizes"][part] for outcome in outcomes])) for part in first["sizes"]},
        seeds=len(outcomes),
        prices=first["sources"],
        seed_set_money=float(np.mean([float(outcome["seed_set"]["people"]) for outcome in outcomes])),
        seed_set_labelers_money=float(np.mean([float(outcome["seed_set"]["labelers"]) for outcome in outcomes])),
        models=_counted(kinds),
        plans=_counted(plans),
        skilled=sum(outcome["model"]["skill"] for outcome in outcomes),
        model_correlation=_mean([outcome["model"]["spearman"] for outcome in outcomes]),
        noise_correlation=_mean([outcome["noise"].get("correlation") for outcome in outcomes]),
        noise_deviation=_mean([outcome["noise"].get("deviation") for outcome in outcomes]),
        mixtures=float(np.mean([outcome["mixtures"] for outcome in outcomes])),
        notes=tuple(first["notes"]),
    )


def interval(values: np.ndarray, ratio: float, level: float = LEVEL) -> tuple[float, float, float]:
    """(mean, low, high) over repeated splits of the same data; NaN bounds with one seed.

    Splits share data, so the plain error of the mean is too small: the variance is multiplied by 1/K + ratio, where
    `ratio` is test size over training size (Nadeau and Bengio 2003, corrected resampled t).
    """
    count, mean = len(values), float(np.mean(values)) if len(values) else float("nan")
    if count < 2:
        return mean, float("nan"), float("nan")
    half = student.ppf(0.5 + level / 2, count - 1) * np.sqrt(np.var(values, ddof=1) * (1 / count + ratio))
    return mean, mean - float(half), mean + float(half)


class _Scores:
    """The rows of all seeds, by strategy and budget."""

    def __init__(self, outcomes: Sequence[dict[str, Any]]) -> None:
        self.rows = [{(row["strategy"], row["budget"]): row for row in outcome["rows"]} for outcome in outcomes]
        # Every strategy that any seed could pay for, in the order they were run in.
        self.cells: list[Cell] = list(dict.fromkeys(cell for rows in self.rows for cell in rows))
        parts = [outcome["sizes"] for outcome in outcomes]
        self.ratio = float(np.mean([part["test"] / (part["fit"] + part["select"]) for part in parts]))

    def values(self, cell: Cell, name: str) -> np.ndarray:
        """(seeds,) NaN where the seed has no such row or no number in it."""
        found = [rows[cell][name] if cell in rows else None for rows in self.rows]
        return np.array([float("nan") if value is None else float(value) for value in found])

    def over_budgets(self, first: str, second: str) -> np.ndarray:
        """(seeds,) accuracy of `first` less `second`, mean over the budgets; one without a budget has it at each."""
        shares = dict.fromkeys(share for name, share in self.cells if name in (first, second) and share is not None)
        budgets: list[float | None] = [*shares] or [None]
        gaps = [
            self.values(self._at(first, budget), "accuracy") - self.values(self._at(second, budget), "accuracy")
            for budget in budgets
        ]
        known = ~np.isnan(gaps)
        count = known.sum(axis=0)
        return np.divide(np.where(known, gaps, 0).sum(axis=0), count, out=np.full(len(count), np.nan), where=count > 0)

    def _at(self, strategy: str, budget: float | None) -> Cell:
        return (strategy, None) if (strategy, None) in self.cells else (strategy, budget)

    def interval(self, values: np.ndarray, level: float = LEVEL) -> Interval:
        mean, low, high = interval(values[~np.isnan(values)], self.ratio, level)
        return _finite(mean), _finite(low), _finite(high)


def _row(scores: _Scores, cell: Cell) -> Row:
    strategy, budget = cell
    accuracy, regret = scores.values(cell, "accuracy"), scores.values(cell, "regret")
    paired: Interval = (None, None, None)
    if budget is not None and strategy != "random":
        paired = scores.interval(accuracy - scores.values(("random", budget), "accuracy"))
    money = scores.values(cell, "money")
    return Row(
        strategy,
        budget,
        *_between(scores.interval(accuracy), 0, 1),
        *paired,
        _mean(scores.values(cell, "label_accuracy")),
        float(np.nanmean(money)),
        *_between(scores.interval(regret), 0, 1),
        people=float(np.nanmean(scores.values(cell, "people"))),
        seeds=int((~np.isnan(money)).sum()),
    )


def _between(values: Interval, least: float, most: float) -> Interval:
    """An interval by Student's t may pass the ends of the scale; a few seeds make it wide."""
    mean, low, high = values
    return mean, None if low is None else max(least, low), None if high is None else min(most, high)


# What may be said


def _verdict(scores: _Scores, parameters: Parameters) -> Verdict:
    names = list(dict.fromkeys(name for name, budget in scores.cells if budget is not None and name != "random"))
    means = {name: _mean(scores.over_budgets(name, "random")) for name in names}
    ranked = sorted((name for name in names if means[name] is not None), key=lambda name: -(means[name] or 0.0))
    people = _difference(scores, ALWAYS[0], "all_ai")
    if not ranked:
        return Verdict(len(names), people_over_labelers=people)
    winner = ranked[0]
    return Verdict(
        compared=len(names),
        winner=_difference(scores, winner, "random", 1 - (1 - LEVEL) / len(names)),
        second=_difference(scores, winner, ranked[1]) if len(ranked) > 1 else None,
        auto=_difference(scores, AUTO, "random") if AUTO in ranked else None,
        over_labelers=_difference(scores, winner, "all_ai"),
        people_over_labelers=people,
    )


def _difference(scores: _Scores, strategy: str, against: str, level: float = LEVEL) -> Difference:
    mean, low, high = scores.interval(scores.over_budgets(strategy, against), level)
    is_noise = low is None or high is None or low <= 0 <= high
    return Difference(strategy, against, mean, low, high, is_noise)


def _counted(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names), key=lambda name: -names.count(name))}


def _mean(values: Sequence[float | None] | np.ndarray) -> float | None:
    known = [float(value) for value in values if value is not None and isfinite(value)]
    return float(np.mean(known)) if known else None


def _finite(value: float) -> float | None:
    return value if isfinite(value) else None
