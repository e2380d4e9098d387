"""Mixtures: candidates that spread out, and descriptions in shares."""

import numpy as np

from routing import hyper, mixtures


def drawn(n=300, sources=3, count=128, **options):
    features = np.random.default_rng(0).standard_normal((n, 5))
    return features, mixtures.sample(features, sources, count, **options)


def test_candidates_start_with_each_source_alone_and_fill_the_range_of_peoples_share():
    _, candidates = drawn(seed=1)
    assert [set(row.tolist()) for row in candidates[:3]] == [{0}, {1}, {2}]
    share = (candidates[3:] == 0).mean(axis=1)
    counts, _ = np.histogram(share, bins=8, range=(0, 1))
    assert counts.min() >= 10
    assert set(np.unique(candidates)) == {0, 1, 2}


def test_the_seed_decides_and_features_steer_beyond_the_budget():
    features, candidates = drawn(seed=4)
    np.testing.assert_array_equal(candidates, drawn(seed=4)[1])
    assert not np.array_equal(candidates, drawn(seed=5)[1])
    bins = mixtures.Bins.fit(features, list("abcde"))
    described = mixtures.describe(candidates, bins.members(features), np.array([1.0, 0.1, 0.0]), [True, False, False])
    budget, lifts = described[3:, 3], described[3:, 4:]
    correlations = [abs(np.corrcoef(budget, column)[0, 1]) for column in lifts.T]
    assert max(correlations) < 0.5
    assert lifts.std(axis=0).min() > 0.02


def test_a_source_is_not_used_where_it_is_not_available():
    available = np.ones((300, 3), dtype=bool)
    available[:50, 1] = False
    available[50:60] = False
    _, candidates = drawn(available=available, seed=2)
    assert not (candidates[:, :50] == 1).any()
    assert (candidates[:, 50:60] == -1).all()


def test_one_source_and_no_features_are_fine():
    assert (mixtures.sample(np.empty((5, 0)), 1, 3) == 0).all()
    assert mixtures.sample(np.empty((5, 0)), 2, 4, people=None).shape == (4, 5)


def test_bins_do_not_overlap_and_skip_what_is_not_defined_or_constant():
    values = np.column_stack([np.arange(9.0), np.array([0, 0, 0, 0, 0, 0, 0, 1, 1.0]), np.ones(9)])
    values[8, 0] = np.nan
    bins = mixtures.Bins.fit(values, ["rank", "flag", "constant"])
    members = bins.members(values)
    assert [label[:2] for label in bins.labels] == [("rank", 0), ("rank", 1), ("rank", 2), ("flag", 0), ("flag", 1)]
    np.testing.assert_array_equal(members[:, :3].sum(axis=1), [1] * 8 + [0])
    np.testing.assert_array_equal(members[:, 4], values[:, 1] == 1)


def test_descriptions_are_shares_and_do_not_depend_on_size():
    members = np.array([[True, False], [True, False], [False, True], [False, True]])
    mixture, prices = np.array([[0, 0, 1, -1]]), np.array([1.0, 0.0])
    found = mixtures.describe(mixture, members, prices, [True, False])[0]
    np.testing.assert_allclose(found, [0.5, 0.25, np.log1p(50), 0.5, -0.5])
    doubled = mixtures.describe(np.tile(mixture, 2), np.tile(members, (2, 1)), prices, [True, False])[0]
    np.testing.assert_allclose(doubled, found)


def test_labels_are_those_of_the_chosen_source():
    p_b = np.array([[1.0, 0.2], [np.nan, 0.3], [0.0, 0.4]])
    np.testing.assert_array_equal(mixtures.labels_of(np.array([[0, 0, -1], [1, 1, 1]]), p_b)[0], [1, np.nan, np.nan])


def test_the_papers_mixtures_are_of_people_and_one_other_source():
    members = np.random.default_rng(0).random((50, 6)) < 0.4
    drawn = mixtures.sample_hyper(members, 2, 30, seed=1)
    assert set(np.unique(drawn)) == {0, 2}
    assert [set(row.tolist()) for row in drawn[:2]] == [{0}, {2}]
    np.testing.assert_array_equal(drawn[2:] == 0, hyper.sample(members, 28, seed=1))
    available = np.ones((50, 3), dtype=bool)
    available[:5, 2] = False
    assert not (mixtures.sample_hyper(members, 2, 30, available=available, seed=1)[:, :5] == 2).any()
