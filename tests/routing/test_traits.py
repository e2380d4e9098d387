"""What labelers said reaches the performance model, and mixtures are drawn along it."""

from decimal import Decimal

import numpy as np

from routing import traits
from routing.strategies import Problem, Source


def planted(n=600, seed=0):
    """A labeler that is wrong where feature 0 is above one half, people known on half of the comparisons."""
    rng = np.random.default_rng(seed)
    values = rng.random((n, 3))
    truth = rng.integers(2, size=n)
    wrong = rng.random(n) < np.where(values[:, 0] > 0.5, 0.6, 0.05)
    people = np.where(np.arange(n) < n // 2, truth, np.nan)
    labeler = np.where(wrong, 1 - truth, truth) * 0.8 + 0.1
    other = np.where(rng.random(n) < 0.45, 1 - truth, truth) * 0.8 + 0.1
    sources = (Source("people", Decimal(1), True), Source("good", Decimal("0.1")), Source("other", Decimal("0.1")))
    p_b = np.column_stack([people, labeler, other])
    return Problem(values, ("x", "y", "z"), sources, p_b, np.arange(n)), wrong


def test_the_chance_that_a_labeler_is_wrong_is_learnt_and_holds_where_nobody_judged():
    problem, _wrong = planted()
    found = traits.traits(problem)
    assert found.shape == (600, 5)
    chance, hard = found[300:, 3], problem.features[300:, 0] > 0.5
    assert chance[hard].mean() > chance[~hard].mean() + 0.1


def test_disagreement_is_between_none_and_all():
    problem, _wrong = planted()
    sides = np.sign(problem.p_b[:, 1:] - 0.5)
    assert np.array_equal(traits.traits(problem)[:, 4] > 0, sides[:, 0] != sides[:, 1])


def test_half_of_the_mixtures_follow_the_labelers_traits():
    problem, _wrong = planted()
    described = traits.traits(problem)
    drawn = traits.sample(described, 3, 64, seed=1)
    assert drawn.shape == (64, 600)
    gaps = [
        abs(described[row == 0, 3].mean() - described[row != 0, 3].mean())
        for row in drawn
        if 0.1 < (row == 0).mean() < 0.9
    ]
    assert max(gaps) > 2 * np.median(gaps)


def test_without_labelers_there_is_nothing_to_describe_them_by():
    problem, _wrong = planted()
    alone = Problem(problem.features, problem.names, problem.sources[:1], problem.p_b[:, :1], problem.groups)
    assert np.isnan(traits.traits(alone)[:, 3:]).all()
