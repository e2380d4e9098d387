"""Off-policy estimates: the truth is inside the intervals as often as promised, and models may be wrong."""

from decimal import Decimal

import numpy as np
import pytest

from routing import strategies
from routing.strategies import Problem, Source
from routing.strategies.off_policy import Predicted, estimate


def logged(seed, n=400):
    """A logging policy that favours people where labelers err, outcomes by source, and a target: people where x > 0."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(n)
    chance = 0.2 + 0.6 * (x > 0.5)
    people = rng.random(n) < chance
    right = np.column_stack([rng.random(n) < 0.95, rng.random(n) < np.where(x > 0, 0.6, 0.9)]).astype(float)
    outcome = np.where(people, right[:, 0], right[:, 1])
    target = x > 0
    taken = people == target
    propensity = np.where(people, chance, 1 - chance)
    model = Predicted(np.where(target, 0.95, 0.9), np.where(people, 0.95, np.where(target, 0.6, 0.9)))
    return outcome, propensity, taken, model


TRUTH = 0.5 * 0.95 + 0.5 * 0.9


@pytest.mark.parametrize("method", ["ips", "snips", "dr"])
def test_intervals_hold_the_truth_as_often_as_they_say_and_estimates_are_unbiased(method):
    found = [estimate(*logged(seed)[:3], logged(seed)[3], method=method) for seed in range(400)]
    inside = np.mean([each.low <= TRUTH <= each.high for each in found])
    assert 0.92 <= inside <= 0.98
    values = np.array([each.value for each in found])
    assert abs(values.mean() - TRUTH) < 3 * values.std() / 20 + 0.002


@pytest.mark.slow
def test_a_wrong_model_costs_width_but_not_truth_and_a_good_one_gains():
    spreads = {}
    for name in ("none", "good", "wrong"):
        values = []
        for seed in range(300):
            outcome, propensity, taken, model = logged(seed)
            wrong = Predicted(np.full(400, 0.2), np.full(400, 0.2))
            used = {"none": None, "good": model, "wrong": wrong}[name]
            values.append(estimate(outcome, propensity, taken, used, method=None if used else "ips").value)
        spreads[name] = np.std(values)
        assert np.mean(values) == pytest.approx(TRUTH, abs=0.012)
    assert spreads["good"] < spreads["none"]


def test_comparisons_of_one_prompt_do_not_count_as_many():
    rng = np.random.default_rng(0)
    outcome = np.repeat((rng.random(100) < 0.7).astype(float), 5)
    ones, groups = np.ones(500), np.repeat(np.arange(100), 5)
    apart = estimate(outcome, ones, ones)
    together = estimate(outcome, ones, ones, groups=groups)
    assert together.high - together.low > 2 * (apart.high - apart.low)
    assert apart.effective == pytest.approx(500)


@pytest.mark.slow
def test_a_plans_own_propensities_tell_what_random_people_would_have_done():
    """`value` exchanges 20% of its decisions: from one such plan, what people for everything would be right in."""
    rng = np.random.default_rng(1)
    n = 600
    x = rng.standard_normal((n, 2))
    truth = rng.integers(0, 2, n)
    right = rng.random(n) < np.where(x[:, 0] > 0.3, 0.55, 0.95)
    said = np.where(right, truth, 1 - truth) * 0.8 + 0.1
    seen = np.where(rng.random(n) < 0.4, truth.astype(float), np.nan)
    sources = (Source("people", Decimal(1), True), Source("judge", Decimal("0.01")))
    case = Problem(x, ("a", "b"), sources, np.column_stack([seen, said]), np.arange(n))
    values = []
    for seed in range(60):
        plan = strategies.value(case, Decimal(200), seed=seed, control_share=0.2)
        outcome = np.where(plan.source == 1, right, 1.0)
        values.append(estimate(outcome, plan.propensity, plan.source == 1, method="ips").value)
    assert np.mean(values) == pytest.approx(right.mean(), abs=4 * np.std(values) / np.sqrt(60))


def test_what_cannot_be_estimated_is_said():
    ones = np.ones(3)
    with pytest.raises(ValueError, match="Propensities"):
        estimate(ones, np.array([0.5, 0, 1]), ones)
    with pytest.raises(ValueError, match="Outcomes are missing"):
        estimate(np.array([1, np.nan, 1]), ones, ones)
    with pytest.raises(ValueError, match="dr needs a model"):
        estimate(ones, ones, ones, method="dr")
    nothing = estimate(ones, ones, np.zeros(3, dtype=bool))
    assert np.isnan(nothing.value) and nothing.effective == 0
