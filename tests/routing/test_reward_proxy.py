"""Bradley-Terry proxies: equal to scikit-learn, mirrored, and able to learn what was planted."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from routing import reward_proxy


def planted(n=400, d=12, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, d)) * np.geomspace(3, 0.1, d)
    return rng, X, X @ (0.5 * rng.standard_normal(d))


@pytest.mark.slow
def test_all_mixtures_at_once_equal_scikit_learn_one_by_one():
    rng, X, logits = planted()
    targets = (rng.random((8, len(X))) < expit(logits)).astype(float)
    targets[rng.random(targets.shape) < 0.3] = np.nan
    weights = rng.integers(1, 5, len(X)).astype(float)
    l2 = np.geomspace(0.5, 50, 8)
    found = reward_proxy.fit_mixtures(X, targets, weights, l2)
    for target, penalty, coefficients in zip(targets, l2, found, strict=True):
        known = ~np.isnan(target)
        model = LogisticRegression(C=1 / penalty, fit_intercept=False, tol=1e-10, max_iter=5000)
        model.fit(X[known], target[known], sample_weight=weights[known])
        np.testing.assert_allclose(coefficients, model.coef_[0], atol=1e-3)


def test_soft_labels_equal_votes_counted_one_by_one():
    rng, X, _ = planted(100)
    votes = rng.integers(0, 4, len(X))
    soft = reward_proxy.fit_mixtures(X, (votes / 3)[None], np.full(len(X), 3.0), 2.0)[0]
    doubled = np.vstack([X, X])
    labels = np.repeat([1.0, 0.0], len(X))[None]
    hard = reward_proxy.fit_mixtures(doubled, labels, np.concatenate([votes, 3 - votes]).astype(float), 2.0)[0]
    np.testing.assert_allclose(soft, hard, atol=1e-6)


def test_blocks_of_mixtures_change_nothing(monkeypatch):
    rng, X, logits = planted(60)
    targets = (rng.random((7, len(X))) < expit(logits)).astype(float)
    whole = reward_proxy.fit_mixtures(X, targets, l2=1.0)
    monkeypatch.setattr(reward_proxy, "BLOCK", 2 * len(X))
    np.testing.assert_allclose(reward_proxy.fit_mixtures(X, targets, l2=1.0), whole, atol=1e-5)


def test_separable_and_empty_mixtures_stay_finite():
    _, X, logits = planted(80)
    targets = np.vstack([logits > 0, np.full(len(X), np.nan)])
    found = reward_proxy.fit_mixtures(X, targets, l2=1e-3)
    assert np.isfinite(found).all() and not found[1].any()
    with pytest.raises(ValueError, match="l2"):
        reward_proxy.fit_mixtures(X, targets, l2=0.0)


def test_exchanging_a_and_b_mirrors_design_and_probability():
    rng = np.random.default_rng(1)
    prompt, a, b = (rng.standard_normal((30, 6)) for _ in range(3))
    signed = rng.standard_normal((30, 3)) * 50
    signed[0, 0] = np.nan
    X = reward_proxy.design(prompt, a, b, signed)
    mirrored = reward_proxy.design(prompt, b, a, -signed)
    np.testing.assert_allclose(mirrored, -X)
    model = reward_proxy.RewardProxy(l2=1.0).fit(X, rng.random(30))
    np.testing.assert_allclose(model.predict_proba(mirrored), model.predict_proba(X)[:, ::-1])


def test_accuracy_weighs_by_votes_leaves_ties_of_people_out_and_halves_its_own():
    X = np.array([[1.0], [1.0], [-1.0], [0.0], [1.0]])
    people = np.array([1.0, 0.25, 0.0, 1.0, 0.5])
    votes = np.array([3, 4, 2, 1, 9])
    found = reward_proxy.accuracy(np.array([[1.0], [-1.0], [0.0]]), X, people, votes)
    np.testing.assert_allclose(found, [5.5 / 10, 4.5 / 10, 0.5])
    assert np.isnan(reward_proxy.accuracy(np.array([[1.0]]), X[4:], people[4:], votes[4:]))[0]


def test_more_correct_labels_score_higher_on_groups_not_seen():
    rng, X, logits = planted(600, 6)
    people = (rng.random(600) < expit(3 * logits)).astype(float)
    wrong = np.where(rng.random(600) < 0.5, 1 - people, people)
    groups = np.arange(600) // 3
    scores = reward_proxy.cross_fitted_accuracy(X, np.vstack([people, wrong]), people, np.ones(600), groups, l2=10.0)
    assert scores[0] > 0.75 > scores[1]
    noisy = reward_proxy.cross_fitted_accuracy(
        X, people[None], people, np.ones(600), groups, l2=10.0, resample=True, seed=5
    )
    assert abs(noisy[0] - scores[0]) < 0.1


def test_the_penalty_is_strong_when_labels_are_noise_and_weak_when_they_are_not():
    rng, X, logits = planted(500, 10)
    groups = np.arange(500)
    noise = rng.integers(0, 2, 500).astype(float)
    signal = (rng.random(500) < expit(5 * logits)).astype(float)
    assert reward_proxy.choose_l2(X, noise, groups) > reward_proxy.choose_l2(X, signal, groups)


def test_a_proxy_refuses_to_learn_from_no_label():
    with pytest.raises(ValueError, match="at least one label"):
        reward_proxy.RewardProxy().fit(np.ones((3, 1)), np.full(3, np.nan))


def test_single_precision_finds_the_same_reward_models():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(300, 20))
    targets = (rng.random((4, 300)) < 1 / (1 + np.exp(-X[:, 0]))).astype(float)
    targets[2, :150] = np.nan
    single = reward_proxy.fit_mixtures(X.astype(np.float32), targets)
    assert single.dtype == np.float32
    assert np.abs(single - reward_proxy.fit_mixtures(X, targets)).max() < 1e-3
