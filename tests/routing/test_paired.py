"""The error of a difference between mixtures, against what drawing the comparisons anew does to it."""

import numpy as np
import pytest

from routing import mixtures, reward_proxy
from routing.evidence import Evidence
from routing.paired import Paired, paired

N, WIDTH, WRONG = 300, 8, 0.3


def world(seed, n=N):
    """Labels follow a line, the judge errs anywhere: no mixture is better than another with as many of people."""
    rng = np.random.default_rng(seed)
    line = np.random.default_rng(0).standard_normal(WIDTH) * 0.6
    X = rng.standard_normal((n, WIDTH))
    people = (rng.random(n) < 1 / (1 + np.exp(-X @ line))).astype(float)
    said = np.where(rng.random(n) < WRONG, 1 - people, people)
    return Evidence(
        names=["people", "judge"],
        is_people=[True, False],
        prices=np.tile([1.0, 0.01], (n, 1)),
        design=X,
        traits=rng.normal(size=(n, 3)),
        members=np.zeros((n, 0), dtype=bool),
        bins=mixtures.Bins((), ()),
        p_b=np.column_stack([people, said]),
        votes=np.ones(n, dtype=np.int64),
        groups=np.arange(n) // 2,
        comparisons=np.arange(n),
    )


def by_chance(rng, share, n=N):
    return (rng.random(n) >= share).astype(np.int16)


@pytest.mark.parametrize(("one", "other"), [(0.4, 0.4), (0.9, 0.1)])
@pytest.mark.slow
def test_the_error_is_what_new_comparisons_make_of_a_difference(one, other):
    found, errors = [], []
    for seed in range(30):
        known, rng = world(seed), np.random.default_rng(seed)
        pair = np.stack([by_chance(rng, one), by_chance(rng, other)])
        scores = reward_proxy.cross_fitted_accuracy(
            known.design, mixtures.labels_of(pair, known.p_b), known.people, known.votes, known.groups, l2=10.0
        )
        found.append(scores[0] - scores[1])
        if seed < 4:
            drawn = mixtures.sample(known.traits, 2, 24, seed=seed)
            told = paired(known, drawn, 10.0, seed)
            errors.append(told.error(np.array([one, 1 - one]), np.array([other, 1 - other])))
    assert np.mean(errors) == pytest.approx(np.std(found), rel=0.35)


def test_one_plan_at_two_budgets_is_known_better_than_two_plans():
    told = Paired(level=-5.0, growth=0.8, differ=[[0.0, 0.3], [0.3, 0.0]])
    here, there = np.array([0.5, 0.5]), np.array([0.6, 0.4])
    assert 0 < told.error(here, there, nested=True) < told.error(here, there)
    assert told.error(here, here, nested=True) == 0.0
    assert Paired.read(told.as_dict()) == told


def test_sources_that_never_differ_leave_nothing_open():
    known = world(1, 80)
    known.p_b[:, 1] = known.p_b[:, 0]
    told = paired(known, mixtures.sample(known.traits, 2, 10, seed=0), 10.0)
    assert told.differ == [[0.0, 0.0], [0.0, 0.0]] and told.error(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 0.0
