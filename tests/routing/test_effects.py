"""What features do, from mixtures: planted effects are found again, and what is nothing is told as such."""

import numpy as np

from routing import effects, mixtures
from routing.evidence import FOLDS, Evidence


def planted(gain, seed=0, n=400, m=300):
    """Mixtures of people and a judge; a mixture scores `gain` points more per lift of the first feature's top third."""
    rng = np.random.default_rng(seed)
    features = rng.normal(size=(n, 3))
    bins = mixtures.Bins.fit(features, ["first", "second", "third"])
    members = bins.members(features)
    drawn = mixtures.sample(features, 2, m, seed=seed)
    described = mixtures.describe(drawn, members, np.array([1.0, 0.01]), [True, False])
    scores = 0.6 + 0.1 * described[:, 0] + gain * described[:, 3 + 2] + 0.002 * rng.normal(size=m)
    return described, scores, members, bins.labels, (drawn == 0).mean(axis=1)


def test_moving_a_tenth_of_peoples_judgments_changes_each_bin_by_what_comes_and_goes():
    members = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 1], [0, 1, 0]], dtype=bool)
    moved = effects.shifts(members)
    # Into the first two of four: 0.1 × 4 judgments come to 2 comparisons and leave 2; half of the third bin gains.
    np.testing.assert_allclose(moved[0], [0.2, -0.2, 0.0])
    np.testing.assert_allclose(moved, [[0.2, -0.2, 0], [-0.2, 0.2, 0], [0, 0, 0.2]])
    # As counted by hand on a real move.
    rng = np.random.default_rng(0)
    members = rng.random((1000, 4)) < 0.4
    people = np.full(1000, 0.5)
    after = people.copy()
    after[members[:, 0]] += 0.1 * 500 / members[:, 0].sum()
    after[~members[:, 0]] -= 0.1 * 500 / (~members[:, 0]).sum()
    by_hand = [(after - people)[members[:, bin]].mean() for bin in range(4)]
    np.testing.assert_allclose(0.5 * effects.shifts(members)[0], by_hand)


def test_a_bin_of_everything_or_of_nothing_moves_nothing():
    members = np.column_stack([np.ones(6, bool), np.zeros(6, bool), np.arange(6) < 3])
    moved = effects.shifts(members)
    assert not moved[:2].any() and np.isfinite(moved).all() and moved[2, 0] == 0


def test_a_planted_effect_is_found_and_stands_first():
    found = effects.effects(*planted(0.05), draws=60)
    best = found[0]
    assert (best.name, best.bin, best.bins) == ("first", 2, 3) and best.low > 0
    described, _scores, members, _labels, people = planted(0.05)
    # The top third gains 0.3 × P; the mean share of people is about a half.
    expected = 100 * 0.05 * effects.shifts(members)[2, 2] * np.clip(people, *effects.SOME).mean()
    assert 0.7 * expected < best.effect < 1.3 * expected
    others = [each for each in found if each.name != "first"]
    assert all(abs(each.effect) < 0.4 * best.effect for each in others)


def test_where_nothing_is_planted_intervals_hold_zero():
    missed = [each for each in effects.effects(*planted(0.0), draws=60) if each.low > 0 or each.high < 0]
    assert len(missed) <= 3  # of 9 bins that depend on each other, at 90%


def test_without_bins_there_is_nothing_to_tell():
    described, scores, members, _labels, people = planted(0.0, m=20)
    assert effects.effects(described[:, :3], scores, members[:, :0], [], people) == []


def evidence(groups):
    n = len(groups)
    rng = np.random.default_rng(0)
    people = rng.integers(0, 2, n).astype(float)
    return Evidence(
        names=["people", "judge"],
        is_people=[True, False],
        prices=np.tile([1.0, 0.01], (n, 1)),
        design=(people - 0.5)[:, None] + rng.normal(size=(n, 4)),
        traits=rng.normal(size=(n, 2)),
        members=np.zeros((n, 0), dtype=bool),
        bins=mixtures.Bins((), ()),
        p_b=np.column_stack([people, 1 - people]),
        votes=np.ones(n, dtype=np.int64),
        groups=groups,
        comparisons=np.arange(n),
    )


def test_seeds_take_turns_through_all_prompts_and_later_prompts_move_none():
    groups = np.repeat(np.arange(40), 3)
    known = evidence(groups)
    parts = np.array([known.held_out(seed) for seed in range(FOLDS)])
    assert (parts.sum(axis=0) == 1).all() and parts.any(axis=1).all()
    assert all(len(set(part[groups == group])) == 1 for part in parts for group in range(40))
    np.testing.assert_array_equal(known.held_out(1), known.held_out(1 + FOLDS))
    grown = evidence(np.concatenate([groups, [40, 41, 42]]))
    np.testing.assert_array_equal(grown.held_out(2)[: len(groups)], parts[2])


def test_a_mixture_of_wrong_labels_scores_worse_than_peoples_and_every_block_is_told():
    known = evidence(np.arange(120))
    drawn = np.array([[0] * 120, [1] * 120] * 20, dtype=np.int16)
    told = []
    scores = known.scores(drawn, l2=1.0, beat=lambda done, of: told.append((done, of)))
    assert scores[0] > 0.6 > 0.4 > scores[1] and told == [(0, 40), (25, 40)]
    np.testing.assert_allclose(scores[0] + scores[1], 1.0)  # mirrored labels, mirrored reward model
    assert 0 < known.sampling_error(scores) < 0.1
