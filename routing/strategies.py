"""Strategies: spend a budget on people where it is worth most. All have one interface and exact accounting.

Money is counted in whole units of 1e-8, never in floats; no allocation costs more than its budget.
A strategy is a function (problem, budget, *, seed, people_share, control_share, source) -> Allocation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import cached_property
from typing import Any

import numpy as np

UNIT = Decimal(10) ** 8
CONTROL_SHARE = 0.05
# Fewer comparisons than this with both people's and the labeler's answer cannot teach where the labeler is wrong.
ENOUGH = 30


class BudgetTooSmall(Exception):
    """Even the cheapest source for every comparison costs more. `smallest` is the smallest feasible budget."""

    def __init__(
        self, budget: Decimal, smallest: Decimal, what: str = "the cheapest source for all comparisons"
    ) -> None:
        super().__init__(f"The budget {budget} is too small: {what} costs {smallest}. Raise it to at least {smallest}.")
        self.budget = budget
        self.smallest = smallest


@dataclass(frozen=True)
class Source:
    """Somebody who can judge: people (all votes of a comparison together) or one labeler. Price a comparison."""

    name: str
    price: Decimal
    is_people: bool = False


@dataclass(frozen=True)
class Problem:
    """n comparisons and s sources.

    `features` (n, k) with `names`, symmetric ones (`features.symmetric`); `p_b` (n, s) each source's known probability
    that B is better, NaN where it has not judged (people: mean vote, known on the seed set only); `groups` (n,) the
    prompt's number; `votes` (n,) people's votes behind their mean, default one each; `available` (n, s) where a source
    can be used, default everywhere; `prices` (n, s) Decimals where they differ between comparisons, default each
    source's own; `history` comparisons of the same sources that are no part of the plan, to learn from;
    `traits` (n, t) what a performance model reads of each comparison, default the features.
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

    def __len__(self) -> int:
        return len(self.p_b)

    @cached_property
    def people(self) -> int | None:
        """Index of the first source that is people."""
        return next((index for index, source in enumerate(self.sources) if source.is_people), None)

    @property
    def described(self) -> np.ndarray:
        return self.features if self.traits is None else self.traits

    @property
    def labelers(self) -> list[int]:
        return [index for index, source in enumerate(self.sources) if not source.is_people]

    @cached_property
    def units(self) -> np.ndarray:
        """(n, s) int64 prices in units of 1e-8 money."""
        if self.prices is None:
            row = np.array([to_units(source.price) for source in self.sources], dtype=np.int64)
            return np.broadcast_to(row, (len(self), len(self.sources)))
        return np.array([[to_units(Decimal(price)) for price in row] for row in self.prices], dtype=np.int64)

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
        )

    def accuracy(self, source: int) -> float:
        """Agreement with people's majorities where both are known, weighted by votes; ties of people do not count and a
        labeler's tie is half; NaN when nothing is known."""
        counts = ~np.isnan(self.p_b[:, source]) & ~np.isnan(self.human) & (self.human != 0.5)
        if not counts.any():
            return float("nan")
        agreement = np.sign(self.p_b[counts, source] - 0.5) * np.sign(self.human[counts] - 0.5)
        return float(np.average((agreement + 1) / 2, weights=self.weights[counts]))


@dataclass(frozen=True)
class Allocation:
    """Exactly one source a comparison: `source` (n,) index, −1 = nobody (only `all_people` short of money).

    `propensity` (n,) the chance with which this source was drawn, `gain` (n,) expected label errors avoided by asking
    people (NaN where not estimated), `is_control` (n,) drawn at random to keep estimates honest; `cost` ≤ the budget.
    """

    source: np.ndarray
    propensity: np.ndarray
    gain: np.ndarray
    is_control: np.ndarray
    cost: Decimal
    strategy: str
    notes: tuple[str, ...] = field(default=())


def to_units(amount: Decimal) -> int:
    """Money in whole units of 1e-8. Raises ValueError for a finer, negative or not finite amount."""
    if not amount.is_finite() or amount < 0 or (amount * UNIT) % 1:
        raise ValueError(f"{amount} is no amount of money: finite, at least 0, at most 8 decimal places.")
    return int(amount * UNIT)


def to_money(units: int) -> Decimal:
    return Decimal(int(units)) / UNIT


def cost_of(problem: Problem, source: np.ndarray) -> int:
    """Exact cost of an assignment in units; −1 costs nothing."""
    paid = source >= 0
    return int(problem.units[np.flatnonzero(paid), source[paid]].sum())


# Strategies


def all_people(problem: Problem, budget: Decimal, *, seed: int = 0, **_: Any) -> Allocation:
    """People for everything. When the money does not reach, comparisons drawn at random go to nobody (−1)."""
    people = _people(problem)
    everything = np.flatnonzero(problem.usable[:, people])
    order = np.random.default_rng(seed).permutation(everything)
    affordable = _affordable(problem.units[order, people], to_units(budget))
    source = np.full(len(problem), -1, dtype=np.int64)
    source[order[affordable]] = people
    share = affordable.sum() / max(1, len(problem))
    short = len(everything) - int(affordable.sum())
    notes = (f"The budget leaves {short} comparisons without a judgment.",) if short else ()
    propensity = np.where(source == people, share, 1 - share)
    return _allocation(problem, source, "all_people", budget, propensity=propensity, notes=notes)


def all_ai(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    source: int | None = None,
    control_share: float = 0.0,
    **_: Any,
) -> Allocation:
    """One labeler for everything: `source`, or the one that agrees best with people within the budget.

    With `control_share`, people judge that share of the comparisons, drawn at random, as far as the money goes: without
    them nobody would see when the labeler gets worse. A note says when the money does not reach.
    """
    base = _base(problem, budget, source)
    return _with_people(problem, _allocation(problem, base, "all_ai", budget), base, control_share, budget, seed)


def random_share(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    source: int | None = None,
    **_: Any,
) -> Allocation:
    """People for comparisons drawn at random as far as the budget (and `people_share`) goes, a labeler for the rest.

    None is marked as control, because all that people judge is one: every comparison had the same chance.
    """
    base = _base(problem, budget, source)
    order = np.random.default_rng(seed).permutation(len(problem))
    chosen = _buy_people(problem, base, order, budget, people_share)
    bought = chosen != base
    share = bought.sum() / max(1, int(_upgradable(problem, base).sum()))
    propensity = np.where(_upgradable(problem, base), np.where(bought, share, 1 - share), 1.0)
    return _allocation(problem, chosen, "random", budget, propensity=propensity)


def disagreement(
    problem: Problem,
    budget: Decimal,
    *,
    seed: int = 0,
    people_share: float = 1.0,
    control_share: float = CONTROL_SHARE,
    source: int | None = None,
    **_: Any,
) -> Allocation:
    """People where the labeler is most probably wrong, by what the seed set teaches; a labeler for the rest.

    `control_share` of the comparisons keeps the same number of people but in random order, so that what people add can
    be estimated without the ranking (inverse propensity).
    """
    rng = np.random.default_rng(seed)
    base = _base(problem, budget, source)
    learnt, wrong = chance_wrong(problem, base, seed=seed)
    worth = wrong / np.maximum(1, _extra(problem, base))
    order = np.lexsort((rng.random(len(problem)), -worth))
    chosen = _buy_people(problem, base, order, budget, people_share)
    notes = () if learnt else (f"Fewer than {ENOUGH} comparisons teach where labelers err; ranked by their doubt.",)
    allocation = _allocation(problem, chosen, "disagreement", budget, gain=wrong if learnt else None, notes=notes)
    return _with_control(problem, allocation, base, control_share, budget, rng)


STRATEGIES: dict[str, Callable[..., Allocation]] = {
    "all_people": all_people,
    "all_ai": all_ai,
    "random": random_share,
    "disagreement": disagreement,
}


# Where the labeler is wrong


def chance_wrong(problem: Problem, base: np.ndarray, *, seed: int = 0) -> tuple[bool, np.ndarray]:
    """(True, (n,) probability that source `base[i]` and people's majority disagree on comparison i).

    Logistic regression on what the labelers said (confidence, disagreement between them) and the symmetric features,
    penalty by cross-validation, fitted where both are known. Those comparisons get out-of-fold values, so that a plan
    does not rank the comparisons it learnt from by their own answers. With under 30 of them, or under 5 prompts:
    (False, an untaught score of doubt and disagreement, good for ranking only).
    """
    n, known = len(problem), problem.lessons
    base = np.concatenate([base, _past_base(problem, base)])
    doubt, taught = _doubt(known, base), _taught(known, base)
    if taught.sum() < ENOUGH or len(np.unique(known.groups[taught])) < 5:
        return False, np.asarray(doubt[:n, 0] + doubt[:n, 1]) / 2
    # Not at the top: forms that only list strategies need no scikit-learn.
    from routing import calibration

    side = np.sign(known.p_b[np.arange(len(known)), np.maximum(base, 0)] - 0.5)
    wrong = np.where(side == 0, 0.5, (side * np.sign(known.human - 0.5) < 0).astype(float))
    weight = np.nan_to_num(known.weights * np.abs(2 * known.human - 1))
    inputs = np.hstack([doubt, _standard(known.features)])
    return True, calibration.out_of_fold(inputs, wrong, weight, known.groups, taught, seed)[:n]


def _past_base(problem: Problem, base: np.ndarray) -> np.ndarray:
    """What the history learns about: the labeler that judges most of the plan."""
    used = base[base >= 0]
    usual = int(np.bincount(used).argmax()) if len(used) else -1
    return np.full(len(problem.lessons) - len(problem), usual)


def _taught(problem: Problem, base: np.ndarray) -> np.ndarray:
    known = ~np.isnan(problem.p_b[np.arange(len(problem)), np.maximum(base, 0)]) & (base >= 0)
    return known & ~np.isnan(problem.human) & (problem.human != 0.5)


def _doubt(problem: Problem, base: np.ndarray) -> np.ndarray:
    """(n, 2 + L): doubt of the base labeler in [0, 1], share of other labelers on the other side, each's side."""
    if not problem.labelers:
        return np.zeros((len(problem), 2))
    said = problem.p_b[np.arange(len(problem)), np.maximum(base, 0)]
    doubt = np.nan_to_num(1 - np.abs(2 * said - 1), nan=1.0)
    sides = np.sign(problem.p_b[:, problem.labelers] - 0.5)
    opposite = np.nan_to_num((1 - sides * np.sign(np.nan_to_num(said, nan=0.5) - 0.5)[:, None]) / 2, nan=0.5)
    return np.column_stack([doubt, opposite.sum(axis=1) / max(1, len(problem.labelers) - 1), opposite])


def _standard(values: np.ndarray) -> np.ndarray:
    """Rank-free standardising that survives NaN and constants: NaN becomes the mean, long tails are cut at ±3."""
    if not values.shape[1]:
        return values
    known = ~np.isnan(values)
    count = np.maximum(1, known.sum(axis=0))
    mean = np.where(known, values, 0).sum(axis=0) / count
    centred = np.where(known, values - mean, 0.0)
    deviation = np.sqrt((centred**2).sum(axis=0) / count)
    return np.clip(centred / np.where(deviation > 0, deviation, 1.0), -3, 3)


# Accounting


def _people(problem: Problem) -> int:
    if problem.people is None:
        raise ValueError("The problem has no source that is people.")
    return problem.people


def _base(problem: Problem, budget: Decimal, source: int | None) -> np.ndarray:
    """(n,) the labeler that judges what people do not: `source`, or the one that agrees best with people within budget.

    Where it is not available, the cheapest available labeler, then people. Raises BudgetTooSmall.
    """
    money = to_units(budget)
    cheapest = _cheapest(problem)
    if cost_of(problem, cheapest) > money:
        raise BudgetTooSmall(budget, to_money(cost_of(problem, cheapest)))
    if source is not None:
        wanted = np.where(problem.usable[:, source], source, cheapest)
        if cost_of(problem, wanted) > money:
            name = problem.sources[source].name
            raise BudgetTooSmall(budget, to_money(cost_of(problem, wanted)), f"{name} for all comparisons")
        return wanted
    accuracy = {labeler: problem.lessons.accuracy(labeler) for labeler in problem.labelers}
    for labeler in sorted(accuracy, key=lambda labeler: -np.nan_to_num(accuracy[labeler], nan=-1.0)):
        wanted = np.where(problem.usable[:, labeler], labeler, cheapest)
        if cost_of(problem, wanted) <= money:
            return wanted
    return cheapest


def _cheapest(problem: Problem) -> np.ndarray:
    """(n,) the cheapest available source, −1 where there is none; labelers before people at equal price."""
    order = [*problem.labelers, *(index for index, source in enumerate(problem.sources) if source.is_people)]
    prices = np.where(problem.usable[:, order], problem.units[:, order], np.iinfo(np.int64).max)
    chosen = np.asarray(order)[prices.argmin(axis=1)]
    return np.where(problem.usable.any(axis=1), chosen, -1)


def _extra(problem: Problem, base: np.ndarray) -> np.ndarray:
    """(n,) what people cost more than the base source, in units."""
    row = np.arange(len(problem))
    return np.asarray(
        problem.units[:, _people(problem)] - np.where(base >= 0, problem.units[row, np.maximum(base, 0)], 0)
    )


def _upgradable(problem: Problem, base: np.ndarray) -> np.ndarray:
    return np.asarray(problem.usable[:, _people(problem)] & (base != _people(problem)))


def _buy_people(
    problem: Problem, base: np.ndarray, order: np.ndarray, budget: Decimal, people_share: float
) -> np.ndarray:
    """People in `order` as far as the money and `people_share` of the comparisons go."""
    order = order[_upgradable(problem, base)[order]]
    affordable = _affordable(_extra(problem, base)[order], to_units(budget) - cost_of(problem, base))
    already = int((base == problem.people).sum())
    most = max(0, int(np.floor(people_share * len(problem) + 1e-9)) - already)
    bought = order[affordable][:most]
    chosen = base.copy()
    chosen[bought] = _people(problem)
    return chosen


def _affordable(prices: np.ndarray, money: int) -> np.ndarray:
    """(n,) bool: taken in order, passing over what no longer fits. Integers throughout."""
    if not len(prices):
        return np.zeros(0, dtype=bool)
    if (prices == prices[0]).all():
        count = len(prices) if prices[0] <= 0 else min(len(prices), money // int(prices[0]))
        return np.arange(len(prices)) < count
    taken = np.zeros(len(prices), dtype=bool)
    for position, price in enumerate(prices.tolist()):
        if price <= money:
            taken[position] = True
            money -= price
    return taken


def _allocation(
    problem: Problem,
    source: np.ndarray,
    strategy: str,
    budget: Decimal,
    *,
    propensity: np.ndarray | None = None,
    gain: np.ndarray | None = None,
    notes: tuple[str, ...] = (),
) -> Allocation:
    cost = cost_of(problem, source)
    if cost > to_units(budget):
        smallest = to_money(cost)
        raise BudgetTooSmall(budget, smallest, strategy)
    n = len(problem)
    return Allocation(
        source=source,
        propensity=np.ones(n) if propensity is None else propensity,
        gain=np.full(n, np.nan) if gain is None else gain,
        is_control=np.zeros(n, dtype=bool),
        cost=to_money(cost),
        strategy=strategy,
        notes=notes,
    )


def _with_control(
    problem: Problem,
    allocation: Allocation,
    base: np.ndarray,
    share: float,
    budget: Decimal,
    rng: np.random.Generator,
) -> Allocation:
    """Shuffle the decisions of a random `share` of the comparisons among themselves.

    The number of people, and so the cost, stays the same where prices are equal, and the propensities are exact:
    P(i gets its source s) = (1 − c) [s was i's own decision] + c P(s | i in control), where c is the control's share of
    the n comparisons that can go either way, and an element of a shuffled control set keeps its own decision with
    probability 1/|C| and takes another's otherwise. Where prices differ and the shuffle costs more than the budget,
    control comparisons are handed back to the base source, dearest first (propensities are then approximate).
    """
    either = np.flatnonzero(_upgradable(problem, base) & (base >= 0))
    size = int(round(share * len(either)))
    if size < 2:
        return allocation
    control = rng.choice(either, size=size, replace=False)
    people, own = _people(problem), allocation.source == _people(problem)
    chosen = allocation.source.copy()
    shuffled = own[control[rng.permutation(size)]]
    chosen[control] = np.where(shuffled, people, base[control])
    chosen = _within(problem, chosen, base, control, to_units(budget))
    n, count = len(either), int(own[either].sum())
    kept = 1 / size
    to_people = kept * own + (1 - kept) * (count - own) / max(1, n - 1)
    chance = (1 - size / n) * own + size / n * to_people
    got = np.where(chosen == people, chance, 1 - chance)
    eligible = np.isin(np.arange(len(problem)), either)
    return replace(
        allocation,
        source=chosen,
        propensity=np.where(eligible, got, 1.0),
        is_control=np.isin(np.arange(len(problem)), control),
        cost=to_money(cost_of(problem, chosen)),
    )


def _with_people(
    problem: Problem, allocation: Allocation, base: np.ndarray, share: float, budget: Decimal, seed: int
) -> Allocation:
    """People for a random `share` of the comparisons that they could judge instead, as far as the money goes.

    Every one of these has the same chance where people's extra price is the same everywhere, else approximately.
    """
    if problem.people is None or share <= 0:
        return allocation
    either = np.flatnonzero(_upgradable(problem, base) & (base >= 0))
    drawn = np.random.default_rng(seed).permutation(either)[: max(1, int(round(share * len(either))))]
    control = drawn[_affordable(_extra(problem, base)[drawn], to_units(budget) - cost_of(problem, base))]
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
        notes=(*allocation.notes, *_control_note(len(control), len(drawn))),
    )


def _control_note(paid: int, wanted: int) -> tuple[str, ...]:
    if paid == wanted:
        return ()
    return (
        f"The budget pays people for {paid} of the {wanted} comparisons of the random control share, which tells how "
        "often the labelers are wrong: raise it to know that better.",
    )


def _within(problem: Problem, chosen: np.ndarray, base: np.ndarray, control: np.ndarray, money: int) -> np.ndarray:
    extra = _extra(problem, base)
    for index in control[np.argsort(-extra[control], kind="stable")]:
        if cost_of(problem, chosen) <= money:
            break
        chosen[index] = base[index]
    return chosen
