"""From a performance model and a budget to a plan: which strategy, and how much of the money.

The plan with the highest lower bound of predicted performance leads, so that a mixture unlike those the model has seen
does not win by luck; taken is the cheapest plan that the model cannot tell from it, so that money is not spent on
noise. Or the leader itself, or the one that improves most on random in expectation. Without skill no such choice is
pretended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from typing import Any

import numpy as np
from scipy.stats import norm

from routing import intervals, mixtures, strategies
from routing.performance import Chosen
from routing.strategies import Allocation, BudgetTooSmall, Problem

STEPS = 10
# What is compared unless told otherwise: `value` contains what other rankings know of labelers.
COMPARED = ("random", "value")
WHY = {
    "cheapest": "The cheapest plan that the model cannot tell from the best one",
    "lower": "Best lower bound of predicted performance",
    "improvement": "Highest expected improvement on random",
}


@dataclass(frozen=True)
class Prediction:
    """Predicted performance of one allocation with its interval; NaN without a performance model."""

    allocation: Allocation
    people_share: float
    predicted: float
    low: float
    high: float


@dataclass(frozen=True)
class Choice:
    """The plan chosen, everything it was chosen from, whether the model had skill, and why, in words."""

    best: Prediction
    skill: bool
    text: str
    candidates: tuple[Prediction, ...] = field(default=())


def predict(
    model: Chosen | None,
    problem: Problem,
    bins: mixtures.Bins,
    allocations: Sequence[Allocation],
    coverage: float = 0.9,
) -> list[Prediction]:
    """Performance that `model` predicts for each allocation of `problem`."""
    described = None if model is None or not allocations else _described(problem, bins, allocations)
    return _predict(model, problem, described, allocations, coverage)


def _predict(
    model: Chosen | None,
    problem: Problem,
    described: np.ndarray | None,
    allocations: Sequence[Allocation],
    coverage: float,
) -> list[Prediction]:
    people = [_people_share(problem, allocation) for allocation in allocations]
    if model is None or described is None:
        nothing = float("nan")
        return [
            Prediction(allocation, share, nothing, nothing, nothing)
            for allocation, share in zip(allocations, people, strict=True)
        ]
    low, high = model.predict_interval(described, coverage)
    return [Prediction(*row) for row in zip(allocations, people, model.predict(described), low, high, strict=True)]


def _described(problem: Problem, bins: mixtures.Bins, allocations: Sequence[Allocation]) -> np.ndarray:
    return describe(problem, bins, np.stack([allocation.source for allocation in allocations]))


def describe(problem: Problem, bins: mixtures.Bins, drawn: np.ndarray) -> np.ndarray:
    """`mixtures.describe` of mixtures (m, n) of a problem's comparisons."""
    prices = problem.units / float(strategies.UNIT)
    is_people = [source.is_people for source in problem.sources]
    return mixtures.describe(drawn, bins.members(problem.described), prices, is_people)


def choose_plan(
    problem: Problem,
    budget: Decimal,
    model: Chosen | None,
    bins: mixtures.Bins,
    *,
    seed: int = 0,
    names: Sequence[str] = COMPARED,
    control_share: float = strategies.CONTROL_SHARE,
    coverage: float = 0.9,
    by: str = "cheapest",
    **options: Any,
) -> Choice:
    """The strategy and people's share that is best among those within the budget.

    `by` "lower": highest lower bound of predicted performance; "cheapest": of the plans that the model cannot tell from
    that one (predicted at most one standard error of their difference below it, as Breiman et al. 1984 choose among
    trees) the one that costs least; "improvement": highest expected improvement on the best random plan. `options`
    (caps, bound, paper…) are handed to every strategy; the paper's are left out without `paper`.

    `model` from `performance.choose` over `mixtures.describe`d mixtures with the same sources and bins. A model that is
    no better than the mean cannot tell plans apart: the labelers are chosen (people, at random, without a labeler) and
    people judge the random control only; a model of the budget alone chooses how much, and people are drawn at random.
    Raises BudgetTooSmall; ValueError for caps that cannot be kept.
    """
    if by not in KEYS:
        raise ValueError(f"Plans are chosen by {', '.join(KEYS)}, not {by!r}.")
    options["control_share"] = control_share
    if problem.people is None or not problem.labelers:
        name = "all_ai" if problem.people is None else "all_people"
        only = strategies.STRATEGIES[name](problem, budget, seed=seed, **options)
        return Choice(predict(model, problem, bins, [only])[0], False, "There is only one kind of source.")
    if model is None or not model.skill_:
        cheap = strategies.all_ai(problem, budget, seed=seed, **options)
        return Choice(predict(model, problem, bins, [cheap])[0], False, _no_skill(model))
    paper = options.get("paper")
    wanted = tuple(name for name in names if paper or name not in strategies.OF_THE_PAPER)
    if paper:
        options.setdefault("tags", bins.members(problem.described))
    wanted = wanted if model.beats_budget_ else ("random",)
    found = candidates(problem, budget, wanted, seed=seed, **options)
    described = _described(problem, bins, found)
    predictions = _predict(model, problem, described, found, coverage)
    key = KEYS[by](predictions, coverage)
    leader = max(range(len(found)), key=lambda number: key(predictions[number]))
    best = predictions[leader]
    if by == "cheapest":
        best = _cheapest_alike(model, described, predictions, leader)
    return Choice(best, True, _why(model, best, by), tuple(predictions))


def candidates(
    problem: Problem, budget: Decimal, names: Sequence[str], *, seed: int = 0, **options: Any
) -> list[Allocation]:
    """Each labeler alone where the budget allows, and each strategy at people's shares up to what the budget buys.

    `options` (control_share, caps, bound, paper…) are handed to every strategy.
    """
    found = [_alone(problem, budget, labeler, seed, options) for labeler in problem.labelers]
    for name in names:
        strategy = partial(strategies.STRATEGIES[name], problem, budget, seed=seed, **options)
        full = strategy()
        most = _people_share(problem, full)
        shares = [step / STEPS for step in range(1, STEPS + 1) if step / STEPS < most]
        found.append(full)
        found += [strategy(people_share=share) for share in shares]
    return [allocation for allocation in found if allocation is not None]


def _alone(problem: Problem, budget: Decimal, labeler: int, seed: int, options: Mapping[str, Any]) -> Allocation | None:
    try:
        return strategies.all_ai(problem, budget, seed=seed, source=labeler, **options)
    except BudgetTooSmall:
        return None


Key = Callable[[Prediction], tuple[float, Decimal]]


def _by_lower(predictions: Sequence[Prediction], coverage: float) -> Key:
    return lambda prediction: (prediction.low, -prediction.allocation.cost)


def _by_improvement(predictions: Sequence[Prediction], coverage: float) -> Key:
    """E[max(0, performance − best predicted random)] = d Φ(d/σ) + σ φ(d/σ) (Močkus 1975), σ from the interval."""
    random = [each.predicted for each in predictions if each.allocation.strategy == "random"]
    reference = max(random or [each.predicted for each in predictions])
    width = 2 * norm.ppf(0.5 + coverage / 2)

    def expected(prediction: Prediction) -> tuple[float, Decimal]:
        ahead, sigma = prediction.predicted - reference, (prediction.high - prediction.low) / width
        if sigma <= 0:
            return max(0.0, ahead), -prediction.allocation.cost
        return float(ahead * norm.cdf(ahead / sigma) + sigma * norm.pdf(ahead / sigma)), -prediction.allocation.cost

    return expected


def _cheapest_alike(model: Chosen, described: np.ndarray, predictions: Sequence[Prediction], leader: int) -> Prediction:
    error = intervals.difference_error(model.fold_models_, described, leader)
    behind = np.array([predictions[leader].predicted - each.predicted for each in predictions])
    alike = [each for each, near in zip(predictions, behind <= error, strict=True) if near]
    return min(alike, key=lambda each: (each.allocation.cost, -each.low))


KEYS: dict[str, Callable[[Sequence[Prediction], float], Key]] = {
    "cheapest": _by_lower,
    "lower": _by_lower,
    "improvement": _by_improvement,
}


def _people_share(problem: Problem, allocation: Allocation) -> float:
    return float(np.isin(allocation.source, problem.people_sources).mean())


def _no_skill(model: Chosen | None) -> str:
    if model is None:
        return "There is no performance model yet: collect people's judgments on a random seed set first."
    return (
        "No skill: on the seed set no performance model predicts better than the mean, so there is no evidence that "
        "people's judgments improve the reward model. Labelers judge, people a random control; a larger seed set may "
        "show more."
    )


def _why(model: Chosen, best: Prediction, by: str) -> str:
    share = f"people for {best.people_share:.0%} of the comparisons"
    if not model.beats_budget_:
        return f"The model knows how much to spend, not on what: {share}, drawn at random."
    return f"{WHY[by]}: {best.allocation.strategy.replace('_', ' ')}, {share}."
