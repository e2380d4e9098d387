"""Whatever prices, holes and caps: no plan costs more than its budget, and every comparison has exactly one route."""

from decimal import Decimal
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from routing import hyper, mixtures, strategies
from routing.strategies import BudgetTooSmall, Problem, Source, knapsack
from tests.examples import examples

N = 36
MONEY = some.decimals(min_value="0", max_value="3", places=8)
CAP = some.sampled_from([0.0, 0.1, 0.34, 0.5, 0.9, 1.0])
NAMES = ("people", "judge", "other", "people:1")


def problem(prices, seed, uneven, holes, failures):
    """Two labelers, people with three votes and with one. `failures`: judgments that are ties or missing, yet paid."""
    rng = np.random.default_rng(seed)
    features, truth = rng.standard_normal((N, 3)), rng.integers(0, 2, N)
    said = np.where(rng.random((N, 2)) < 0.25, 1 - truth[:, None], truth[:, None]) * 0.6 + 0.2
    if failures:
        said[rng.random((N, 2)) < 0.2] = 0.5
        said[rng.random((N, 2)) < 0.2] = np.nan
    people = np.where(rng.random(N) < 0.95, truth.astype(float), np.nan)
    people[rng.random(N) < 0.2] = 0.5 if failures else 2 / 3
    p_b = np.column_stack([people, said, np.full(N, np.nan)])
    votes = (3, 1, 1, 1)
    sources = tuple(
        Source(name, price, name.startswith("people"), count)
        for name, price, count in zip(NAMES, prices, votes, strict=True)
    )
    options = {"votes": np.where(np.isnan(people), 0, 3)}
    if uneven:
        factors = rng.integers(0, 4, (N, 4))
        options["prices"] = np.array(
            [[price * int(factor) for price, factor in zip(prices, row, strict=True)] for row in factors]
        )
    if holes:
        options["available"] = np.column_stack([np.ones(N, bool), rng.random((N, 3)) < 0.7])
    return Problem(features, tuple("abc"), sources, p_b, np.arange(N) // 2, **options)


def paper_of(case):
    tags = mixtures.Bins.fit(case.features, case.names).members(case.features)
    drawn = hyper.sample(tags, 30, seed=0)
    return hyper.fit(tags, drawn, np.linspace(0.5, 0.7, 30), kind="linear")


@settings(max_examples=examples(80), deadline=None)
@given(
    prices=some.tuples(MONEY, MONEY, MONEY, MONEY),
    budget=some.decimals(min_value="0", max_value="150", places=8),
    name=some.sampled_from(list(strategies.STRATEGIES)),
    seed=some.integers(0, 99),
    share=some.floats(0, 1),
    control=some.sampled_from([0.0, 0.05, 0.3]),
    uneven=some.booleans(),
    holes=some.booleans(),
    failures=some.booleans(),
    caps=some.none() | some.dictionaries(some.sampled_from(NAMES), CAP, max_size=3),
    bound=some.sampled_from(["mean", "lower"]),
)
def test_no_budget_is_passed_every_comparison_has_one_route_and_caps_are_kept(
    prices, budget, name, seed, share, control, uneven, holes, failures, caps, bound
):
    case = problem(prices, seed, uneven, holes, failures)
    paper = paper_of(case) if name in strategies.OF_THE_PAPER else None
    options = {"people_share": share, "control_share": control, "caps": caps, "bound": bound, "paper": paper}
    try:
        found = strategies.STRATEGIES[name](case, budget, seed=seed, **options)
    except BudgetTooSmall as refusal:
        assert refusal.smallest > budget
        assert name != "all_people"
        return
    except ValueError as refusal:
        assert (caps or (name == "value" and share < 1)) and "cap" in str(refusal).lower()
        return
    each = case.prices if uneven else np.tile(np.array(prices, dtype=object), (N, 1))
    paid = [each[row, source] for row, source in enumerate(found.source.tolist()) if source >= 0]
    assert found.cost == sum(paid, Decimal(0)) <= budget
    assert found.source.shape == (N,) and found.source.max() < 4
    assert (found.source >= 0).all() or name == "all_people"
    assert case.usable[np.arange(N), found.source][found.source >= 0].all()
    assert ((found.propensity > 0) & (found.propensity <= 1 + 1e-12)).all()
    for capped, most in (caps or {}).items():
        assert (found.source == NAMES.index(capped)).sum() <= np.floor(most * N + 1e-9)


@settings(max_examples=examples(60), deadline=None)
@given(data=some.data(), seed=some.integers(0, 10_000), money=some.integers(0, 60))
def test_the_knapsack_is_short_of_the_best_by_less_than_its_largest_step(data, seed, money):
    rng = np.random.default_rng(seed)
    value, units = rng.random((5, 3)), rng.integers(0, 20, (5, 3))
    usable = rng.random((5, 3)) < 0.8
    usable[:, 0] = True
    best, rows = -1.0, np.arange(5)
    for choice in product(range(3), repeat=5):
        picked = np.array(choice)
        if usable[rows, picked].all() and units[rows, picked].sum() <= money:
            best = max(best, value[rows, picked].sum())
    if best < 0:
        with pytest.raises(knapsack.TooDear):
            knapsack.solve(value, units, usable, money)
        return
    found = knapsack.solve(value, units, usable, money).source
    assert units[rows, found].sum() <= money and usable[rows, found].all()
    assert best - 1 < value[rows, found].sum() <= best + 1e-12


def test_the_knapsack_finds_the_best_where_steps_cost_the_same():
    rng = np.random.default_rng(0)
    for _ in range(30):
        value = np.column_stack([np.zeros(7), rng.random(7)])
        units = np.tile(np.array([1, 3]), (7, 1))
        money = int(rng.integers(7, 22))
        found = knapsack.solve(value, units, np.ones((7, 2), bool), money).source
        count = min(7, (money - 7) // 2)
        assert value[np.arange(7), found].sum() == pytest.approx(np.sort(value[:, 1])[::-1][:count].sum())


def test_caps_that_leave_nobody_are_refused_in_words():
    case = problem((Decimal(1), Decimal("0.1"), Decimal("0.2"), Decimal("0.4")), 0, False, False, False)
    with pytest.raises(ValueError, match="raise"):
        strategies.value(case, Decimal(40), caps=dict.fromkeys(NAMES, 0.1))
    with pytest.raises(ValueError, match="No source is called 'nobody'"):
        strategies.value(case, Decimal(40), caps={"nobody": 0.1})
    with pytest.raises(ValueError, match="from 0 to 1"):
        strategies.value(case, Decimal(40), caps={"judge": 10})
