"""Two fidelities of one score, on planted data: the few dear scores correct the many cheap ones, or are not used."""

import numpy as np
import pytest

from routing.fidelity import ENOUGH, Stack, correlation


def planted(seed, rho, delta=0.0, m=60, columns=6):
    """Low scores, high scores with correlation `rho` (and `delta` of a column in them) on another scale, X."""
    rng = np.random.default_rng(seed)
    z, X = rng.normal(size=m), rng.normal(size=(m, columns))
    signal = rho * z + delta * X[:, 0] + np.sqrt(1 - rho**2) * rng.normal(size=m)
    return 0.68 + 0.03 * z, 0.74 + 0.03 * signal, X


def errors(k, rho, delta=0.0, draws=16):
    """Mean RMSE on the mixtures without a high score: (stack, low moved to the mean of the high, that mean alone)."""
    found = []
    for seed in range(draws):
        low, high, X = planted(seed, rho, delta)
        stack = Stack().fit(low, high[:k], np.arange(k), X)
        shifted = low - low[:k].mean() + high[:k].mean()
        guesses = stack.predict(low, X), shifted, np.full(len(low), high[:k].mean())
        found.append([np.sqrt(np.mean(np.square((guess - high)[k:]))) for guess in guesses])
    return np.mean(found, axis=0)


@pytest.mark.slow
def test_correlated_fidelities_predict_better_together_than_the_low_one_alone():
    """The low scores as they are would be 0.06 off; what is beaten here are those moved to where the high ones lie."""
    for k, rho in ((8, 0.5), (16, 0.5)):
        stack, moved, mean = errors(k, rho)
        assert stack < moved and stack < mean
    stack, moved, mean = errors(16, 0.8)
    assert stack < 1.1 * moved and stack < 0.8 * mean  # the slope planted here is nearly the 1 that moving assumes
    stack, moved, _mean = errors(16, 0.5, delta=1.0)
    assert stack < 0.95 * moved  # what the description explains of the difference is used


@pytest.mark.slow
def test_fidelities_that_have_nothing_in_common_lose_nothing():
    for k in (6, 16):
        stack, moved, mean = errors(k, 0.0)
        assert stack < moved and stack < 1.1 * mean


def test_a_strong_correlation_costs_next_to_nothing_with_few_pairs():
    stack, moved, mean = errors(6, 0.95)
    assert stack < 1.15 * moved and stack < 0.6 * mean


def test_intervals_cover_what_they_say():
    inside = []
    for seed in range(40):
        low, high, X = planted(seed, 0.6)
        stack = Stack().fit(low, high[:10], np.arange(10), X)
        below, above = stack.predict_interval(low, X)
        inside.append(np.mean(((below <= high) & (high <= above))[10:]))
    assert 0.85 < np.mean(inside) < 0.95


def test_with_few_pairs_the_proxy_stands_alone_and_says_so():
    low, high, X = planted(0, 0.9)
    # Seeds of one mixture are no further pairs.
    which = np.array([0, 0, 0, 1, 2, 3])
    stack = Stack().fit(low, high[which], which, X)
    assert not stack.used and stack.correlation.pairs == 4 == ENOUGH - 1
    np.testing.assert_array_equal(stack.predict(low, X), low)
    assert np.isnan(stack.predict_interval(low, X)).all()
    assert "Only 4 mixtures" in stack.text and "Proxy scores alone" in stack.text


def test_slope_and_offset_of_planted_scores_are_found_again():
    low, _high, X = planted(1, 0.0)
    high = 0.2 + 0.8 * low
    stack = Stack().fit(low, high, np.arange(len(low)), X)
    assert stack.slope == pytest.approx(0.8, abs=0.02) and stack.slope_error < 0.02
    np.testing.assert_allclose(stack.predict(low, X), high, atol=1e-3)
    assert stack.correlation.value == pytest.approx(1.0)


def test_a_scale_of_another_kind_is_learnt_such_as_a_loss_that_falls():
    low, high, X = planted(2, 0.95)
    loss = 400 - 100 * high
    stack = Stack().fit(low, loss[:20], np.arange(20), X)
    assert stack.slope < 0 and stack.correlation.value < -0.5
    assert np.corrcoef(stack.predict(low, X), loss)[0, 1] > 0.85


def test_several_seeds_of_a_mixture_count_as_what_they_are():
    low, high, X = planted(3, 0.7)
    which = np.repeat(np.arange(10), 4)
    noisy = high[which] + 0.02 * np.random.default_rng(0).normal(size=40)
    stack = Stack().fit(low, noisy, which, X)
    assert stack.used and stack.correlation.pairs == 10


def test_what_is_no_pair_is_refused():
    low, high, X = planted(0, 0.5)
    for scores, which in ((high[:3], np.array([0, 1])), (high[:2], np.array([0, 60])), (high[:1], np.array([-1]))):
        with pytest.raises(ValueError, match="index of its mixture"):
            Stack().fit(low, scores, which, X)
    with pytest.raises(ValueError, match="finite"):
        Stack().fit(low, np.array([np.nan]), np.array([0]), X)


def test_a_rank_correlation_comes_with_its_interval_and_none_with_nothing_to_rank():
    rng = np.random.default_rng(0)
    inside = []
    for _ in range(200):  # Spearman's of a bivariate normal with r = 0.7 is 6/π asin(r/2)
        z = rng.normal(size=20)
        found = correlation(z, 0.7 * z + np.sqrt(1 - 0.49) * rng.normal(size=20))
        inside.append(found.low <= 6 / np.pi * np.arcsin(0.35) <= found.high)
    assert 0.91 < np.mean(inside) < 0.99
    flat = correlation(np.ones(9), np.arange(9.0))
    assert (flat.value, flat.low, flat.high) == (0.0, -1.0, 1.0)
