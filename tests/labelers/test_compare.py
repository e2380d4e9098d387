"""Two labelers on the same comparisons; several against people."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import kendalltau

from labelers.compare import consistency, consistency_by_prompt, paired, strength, suspects


def scorer(people, accuracy, seed):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(len(people)) < accuracy, people, 1 - people) * 0.8 + 0.1


def test_a_worse_candidate_is_called_worse_and_an_equal_one_is_not():
    rng = np.random.default_rng(0)
    people = rng.integers(0, 2, 600).astype(float)
    good, bad = scorer(people, 0.85, 1), scorer(people, 0.7, 2)
    prompts = rng.integers(0, 150, 600)
    down = paired(bad, good, people, prompts, replicates=300)
    assert down.worse and down.accuracy.high < 0 and down.log_loss.worse
    up = paired(good, bad, people, prompts, replicates=300)
    assert up.accuracy.better and up.accuracy.difference == pytest.approx(-down.accuracy.difference)
    assert not paired(good, scorer(people, 0.85, 3), people, prompts, replicates=300).worse
    assert paired(good, good, people, prompts, replicates=50).accuracy.difference == 0


def test_only_what_both_judged_counts():
    people = np.array([1.0, 0.0, 1.0, 0.5])
    one, other = np.array([0.9, np.nan, 0.9, 0.9]), np.array([0.1, 0.1, np.nan, 0.2])
    found = paired(one, other, people, np.arange(4), replicates=20)
    assert (found.accuracy.n, found.log_loss.n) == (1, 2)
    assert found.accuracy.difference == 1


def test_nothing_in_common_is_no_difference():
    found = paired(np.array([0.9, np.nan]), np.array([np.nan, 0.1]), np.array([1.0, 0.0]), np.arange(2))
    assert (found.accuracy.n, found.accuracy.difference, found.worse) == (0, None, False)


@given(st.permutations(range(6)), st.permutations(range(6)))
@settings(max_examples=30, deadline=None)
def test_over_all_pairs_of_a_prompt_it_is_kendalls_tau_of_the_rankings(one, other):
    places = [(a, b) for a in range(6) for b in range(a)]
    ranks = [np.array([float(order[b] > order[a]) for a, b in places]) for order in (one, other)]
    assert consistency(*ranks).tau == pytest.approx(kendalltau(one, other).statistic)


def test_c_of_the_same_is_1_of_the_opposite_0_and_ties_say_nothing():
    one = np.array([0.9, 0.2, 0.5, np.nan])
    assert (consistency(one, one).c, consistency(one, 1 - one).c, consistency(one, one).n) == (1, 0, 3)
    assert consistency(np.full(3, 0.5), one[:3]).c is None


def test_each_prompt_has_its_own_c():
    one, other = np.array([0.9, 0.9, 0.2, 0.5]), np.array([0.8, 0.2, 0.1, 0.5])
    found = consistency_by_prompt(one, other, np.array(["x", "y", "x", "z"]))
    np.testing.assert_array_equal(found, [1, 0, 1, np.nan])


def test_planted_wrong_labels_are_the_suspects():
    rng = np.random.default_rng(5)
    truth = rng.integers(0, 2, 400).astype(float)
    people = truth.copy()
    wrong = rng.permutation(400)[:20]
    people[wrong] = 1 - people[wrong]
    log_odds = (2 * truth - 1)[:, None] * 1.5 + rng.normal(size=(400, 4))
    found = suspects(log_odds, people)
    assert set(wrong.tolist()) >= {each.place for each in found[:15]}
    assert found == sorted(found, key=lambda each: each.mean)
    assert all(each.mean + each.spread < 0 for each in found)
    assert {each.reason for each in found} <= {"all_against", "most_against"}
    assert all((each.reason == "all_against") == (each.against == each.of) for each in found)


def test_one_labeler_alone_or_peoples_tie_makes_no_suspect():
    log_odds = np.array([[-3.0, np.nan], [-3.0, -3.0], [-3.0, -2.0]])
    assert [each.place for each in suspects(log_odds, np.array([1.0, 0.5, 1.0]))] == [2]


def test_strength_is_the_mean_and_spread_for_peoples_side():
    mean, spread = strength(np.array([[1.0, 3.0], [1.0, np.nan], [np.nan, np.nan]]), np.array([0.0, 1.0, 1.0]))
    np.testing.assert_allclose(mean, [-2, 1, np.nan])
    np.testing.assert_allclose(spread, [1, 0, np.nan])
