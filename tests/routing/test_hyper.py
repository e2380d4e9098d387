"""The paper's method, by hand: Algorithm 1, counts, least squares and gains."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.preprocessing import PolynomialFeatures

from routing import hyper

# Comparisons 0-2 have tag A, 2-3 tag B, 4 has none.
TAGS = np.array([[1, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=bool)


def test_budgets_are_drawn_without_replacement_from_one_to_all():
    tags = np.ones((40, 1), dtype=bool)
    drawn = hyper.sample(tags, 40, seed=3)
    assert sorted(drawn.sum(axis=1)) == list(range(1, 41))
    assert sorted(hyper.sample(tags, 80, seed=3).sum(axis=1)) == sorted([*range(1, 41)] * 2)


def test_a_tag_is_finished_before_the_next_begins():
    """With budget 2, people get two of A, or both of B; never one of each unless 2, which has both tags, is in."""
    seen = {tuple(np.flatnonzero(row).tolist()) for row in hyper.sample(TAGS, 300, 0, budgets=[2] * 300)}
    assert seen == {(0, 1), (0, 2), (1, 2), (2, 3)}


def test_what_is_left_of_a_tag_is_drawn_evenly():
    """Budget 3, B first: 2, 3 and then one of A's other two; A first: all of A."""
    drawn = hyper.sample(TAGS, 4000, 1, budgets=[3] * 4000)
    found, times = np.unique(drawn, axis=0, return_counts=True)
    share = {tuple(np.flatnonzero(row).tolist()): time / 4000 for row, time in zip(found, times, strict=True)}
    assert share == pytest.approx({(0, 1, 2): 0.5, (0, 2, 3): 0.25, (1, 2, 3): 0.25}, abs=0.04)


def test_a_comparison_without_a_tag_is_never_added():
    drawn = hyper.sample(TAGS, 20, 0, budgets=[5] * 20)
    assert drawn.sum(axis=1).tolist() == [4] * 20
    assert not drawn[:, 4].any()
    assert not hyper.sample(np.zeros((3, 0), dtype=bool), 2).any()


def test_the_seed_decides():
    tags = np.random.default_rng(0).random((60, 7)) < 0.3
    np.testing.assert_array_equal(hyper.sample(tags, 10, seed=5), hyper.sample(tags, 10, seed=5))
    assert not np.array_equal(hyper.sample(tags, 10, seed=5), hyper.sample(tags, 10, seed=6))


def test_counts_are_of_peoples_part():
    routed = np.array([[1, 0, 1, 0, 1], [0, 0, 0, 1, 0]], dtype=bool)
    np.testing.assert_array_equal(hyper.counts(routed, TAGS), [[2, 1], [0, 1]])
    np.testing.assert_array_equal(hyper.counts(np.where(routed, 2, 0), TAGS, people=2), [[2, 1], [0, 1]])


@pytest.mark.parametrize("kind", ["linear", "quadratic"])
def test_the_model_is_the_published_one(kind):
    """Least squares of least norm on PolynomialFeatures, here with fewer mixtures (25) than quadratic terms (44)."""
    rng = np.random.default_rng(0)
    tags = rng.random((200, 8)) < 0.3
    drawn, scores = hyper.sample(tags, 25, seed=1), rng.random(25)
    paper = hyper.fit(tags, drawn, scores, kind)
    terms = PolynomialFeatures(hyper.DEGREES[kind])
    published = LinearRegression().fit(terms.fit_transform(hyper.counts(drawn, tags)), scores)
    new = hyper.counts(hyper.sample(tags, 9, seed=2), tags)
    np.testing.assert_allclose(paper.predict(new), published.predict(terms.transform(new)), rtol=1e-6)
    gains = published.predict(terms.transform(tags)) - published.predict(terms.transform(np.zeros((1, 8))))
    np.testing.assert_allclose(paper.gains(tags), gains, atol=1e-9)


def test_gains_by_hand():
    """score = 0.5 + 0.01·A − 0.02·B: a comparison with both tags loses 0.01, one with none changes nothing."""
    drawn = hyper.sample(TAGS, 30, seed=0)
    found = hyper.counts(drawn, TAGS)
    paper = hyper.fit(TAGS, drawn, 0.5 + found @ [0.01, -0.02], "linear")
    np.testing.assert_allclose(paper.gains(TAGS), [0.01, 0.01, -0.01, -0.02, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: hyper.sample(np.empty((0, 2), dtype=bool), 1), "there are none"),
        (lambda: hyper.sample(TAGS, 3, 0, budgets=[1, 2]), "as many budgets"),
        (lambda: hyper.fit(TAGS, TAGS.T, np.zeros(2), "cubic"), "linear and quadratic"),
        (lambda: hyper.fit(TAGS[:, :0], TAGS.T, np.zeros(2)), "no feature"),
    ],
)
def test_what_cannot_be_done_is_said(call, words):
    with pytest.raises(ValueError, match=words):
        call()
