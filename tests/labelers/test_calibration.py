"""From verdicts to probabilities, and how good they are: mirrored, held out, planted faults found."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score

from labelers import calibration, measures
from labelers.calibration import cross_fitted, fit, judged, read
from labelers.measures import Draws
from labelers.report import NOTES, report


def planted(n=1200, seed=0, slope=1.0, length_bias=0.0, prompts=300, **more):
    """Comparisons whose labeler says log-odds slope · truth + bias · length, while people follow the truth alone."""
    rng = np.random.default_rng(seed)
    truth, lengths = rng.normal(size=n) * 1.5, rng.integers(20, 2000, (n, 2))
    people = (rng.random(n) < expit(truth)).astype(float)
    bias = length_bias * np.tanh((lengths[:, 1] - lengths[:, 0]) / 800)
    p_b = expit(slope * truth + bias)
    return judged(p_b, people, lengths=lengths, prompts=rng.integers(0, prompts, n), **more), truth


def mirror(said):
    turned = {name: column[:, ::-1] for name in ("lengths", "scores") if (column := getattr(said, name)) is not None}
    return judged(
        1 - said.p_b,
        1 - said.people,
        prompts=said.prompts,
        weight=said.weight,
        domains=said.domains,
        languages=said.languages,
        first=None if said.first is None else -said.first,
        **turned,
    )


shares = st.sampled_from([0.0, 1 / 3, 0.5, 2 / 3, 1.0])
places = st.integers(0, 500)
rows = st.tuples(st.floats(0, 1), shares, places, places, st.integers(0, 9), st.booleans(), st.integers(-1, 1))


@pytest.mark.slow
@given(st.lists(rows, min_size=8, max_size=60), st.lists(st.booleans(), min_size=60, max_size=60), st.booleans())
@settings(max_examples=40, deadline=None)
def test_exchanging_a_and_b_mirrors_p_and_changes_no_measure(some, turned, scored):
    p, people, a, b, prompts, domain, first = (np.array(column) for column in zip(*some, strict=True))
    scores = np.column_stack([1 - p, p]) if scored else None
    lengths, domains = np.column_stack([a, b]), domain.astype(str)
    said = judged(p, people, lengths=lengths, prompts=prompts, domains=domains, scores=scores, first=first)
    turn = np.array(turned[: len(some)])
    other = mirror(said)
    mixed = judged(
        np.where(turn, other.p_b, said.p_b),
        np.where(turn, other.people, said.people),
        lengths=np.where(turn[:, None], other.lengths, said.lengths),
        prompts=prompts,
        domains=said.domains,
        scores=np.where(turn[:, None], other.scores, said.scores) if scored else None,
        first=np.where(turn, other.first, said.first),
    )
    plain, after = cross_fitted(said), cross_fitted(mixed)
    np.testing.assert_allclose(np.where(turn, 1 - plain, plain), after, atol=1e-5)
    draws = Draws(said.prompts, replicates=20)
    here, there = measures.measures(said.p_b, said.people, draws), measures.measures(mixed.p_b, mixed.people, draws)
    for name in ("accuracy", "auc", "brier", "log_loss"):
        assert getattr(here, name).value == pytest.approx(getattr(there, name).value, abs=1e-9), name
    assert here.ece_plain == pytest.approx(there.ece_plain, abs=1e-9)


def test_a_labeler_that_is_calibrated_shows_no_more_error_than_noise():
    found = []
    for seed in range(20):
        said, _truth = planted(n=400, seed=seed)
        found.append(measures.measures(said.p_b, said.people, Draws(said.prompts, replicates=50)))
    plain, noise = (np.mean([getattr(each, name) for each in found]) for name in ("ece_plain", "ece_noise"))
    assert plain == pytest.approx(noise, rel=0.25), "the noise said beside the error is the error of no error"
    assert np.mean([each.ece.value for each in found]) < 0.75 * plain, "debiased, a part of it is gone"


def test_an_overconfident_labeler_is_seen_and_brought_down():
    said, _truth = planted(slope=4.0)
    draws = Draws(said.prompts, replicates=200)
    raw = measures.measures(said.p_b, said.people, draws)
    after = measures.measures(cross_fitted(said), said.people, draws)
    assert raw.ece.low > 0.08 > after.ece.high
    assert after.log_loss.high < raw.log_loss.low
    assert after.auc.value == pytest.approx(raw.auc.value, abs=0.02), "nothing to say about length: the order stays"


def test_planted_length_bias_is_found_and_removed():
    said, truth = planted(n=2000, length_bias=3.0)
    made = fit(said)
    assert made.whole.b_length < -0.5 < 0 < made.whole.b_margin
    longer = said.longer
    before = measures.correlation(Draws(said.prompts, replicates=50), said.margin, longer)
    assert before.low > 0.5
    assert abs(np.corrcoef(made.log_odds(said), np.tanh(longer / 800))[0, 1]) < 0.1
    assert abs(np.corrcoef(truth, np.tanh(longer / 800))[0, 1]) < 0.1
    people = said.people
    gained = measures.right(cross_fitted(said), people) - measures.right(said.p_b, people)
    assert measures.gain(Draws(said.prompts, replicates=200), gained).better


def test_a_judge_asked_in_one_order_loses_its_bias_to_what_is_shown_first():
    rng = np.random.default_rng(3)
    said, truth = planted(n=1500)
    first = rng.choice([-1, 1], 1500)
    biased = said.saying((truth + first * -1.5 > 0).astype(float))
    known = judged(biased.p_b, said.people, lengths=said.lengths, prompts=said.prompts, first=first)
    assert fit(known).whole.b_first > 0.3 and fit(biased).whole.b_first == 0
    draws = Draws(said.prompts, replicates=200)
    before, after = (measures.measures(cross_fitted(each), said.people, draws) for each in (biased, known))
    assert after.log_loss.value < before.log_loss.value - 0.02
    assert after.auc.value > before.auc.value + 0.03


def test_length_controlled_leaves_only_the_margin():
    said, _truth = planted(length_bias=2.0)
    made = fit(said)
    assert (np.sign(made.p_b(said, length=False) - 0.5) == np.sign(said.p_b - 0.5)).all()
    level = judged(said.p_b, said.people, lengths=np.full((len(said), 2), 100), prompts=said.prompts)
    np.testing.assert_allclose(made.p_b(level), made.p_b(said, length=False))


def test_each_prompt_is_judged_by_a_fit_that_never_saw_it(monkeypatch):
    said, _truth = planted(n=200, prompts=40)
    seen = []
    plain = calibration.fit

    def spy(taught, seed=0):
        seen.append(set(taught.prompts.tolist()))
        return plain(taught, seed)

    monkeypatch.setattr(calibration, "fit", spy)
    p_b = cross_fitted(said, folds=4)
    assert not np.isnan(p_b).any()
    for prompt in set(said.prompts.tolist()):
        assert sum(prompt not in taught for taught in seen) == 1


def test_one_prompt_cannot_be_held_out():
    said = judged([0.9, 0.8], [1, 0], lengths=[[1, 2], [3, 4]], prompts=["one", "one"])
    assert np.isnan(cross_fitted(said)).all()
    whole = report(said, {}, replicates=20)
    assert whole["measures"]["calibrated"]["accuracy"] == {"value": None, "low": None, "high": None, "n": 0}
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole


def test_small_cells_take_the_wholes_coefficients_and_large_ones_go_their_way():
    rng = np.random.default_rng(1)
    n = 1500
    domains = np.where(np.arange(n) < 700, "law", np.where(np.arange(n) < 1480, "chat", "poems"))
    truth = rng.normal(size=n) * 2
    people = (rng.random(n) < expit(np.where(domains == "law", -truth, truth))).astype(float)
    made = fit(judged(expit(truth), people, lengths=np.ones((n, 2)), prompts=np.arange(n), domains=domains))
    assert made.cells["law", ""].b_margin < -1 < 1 < made.cells["chat", ""].b_margin, "the judge is wrong on law"
    assert made.cells["poems", ""].pooled
    assert made.cells["poems", ""].b_margin == made.whole.b_margin
    assert not made.cells["law", ""].pooled


def test_where_domains_do_not_differ_they_are_pulled_together():
    rng = np.random.default_rng(2)
    said, _truth = planted(n=900, domains=rng.choice(["one", "two", "three"], 900))
    spread = np.ptp([cell.b_margin for cell in fit(said).cells.values()])
    apart = np.ptp([calibration._fit(said.at(said.domains == each), None).whole.b_margin for each in ("one", "two")])
    assert spread <= apart + 0.05
    assert fit(said).pooling in (None, 100.0, 300.0)


def test_what_is_stored_gives_the_same_probabilities():
    said, _truth = planted(n=300, domains=np.resize(["a", "b"], 300), languages=np.resize(["en", "en", "de"], 300))
    made = fit(said)
    again = read(json.loads(json.dumps(made.as_json())))
    assert again == made
    np.testing.assert_array_equal(again.p_b(said), made.p_b(said))


def test_a_domain_never_seen_is_judged_as_the_whole():
    said, _truth = planted(n=300)
    elsewhere = judged(said.p_b, said.people, lengths=said.lengths, prompts=said.prompts, domains=["new"] * 300)
    np.testing.assert_array_equal(fit(said).p_b(elsewhere), fit(said).p_b(said))


def test_a_missing_verdict_gives_no_probability_and_teaches_nothing():
    said, _truth = planted(n=300)
    holes = judged(
        np.where(np.arange(300) % 5, said.p_b, np.nan), said.people, lengths=said.lengths, prompts=said.prompts
    )
    made = fit(holes)
    assert made.whole.n == 240
    assert np.isnan(made.p_b(holes)[::5]).all() and not np.isnan(made.p_b(holes)[1::5]).any()
    assert np.isnan(cross_fitted(holes)).sum() == 60


def test_the_logistic_fit_is_scikit_learns():
    rng = np.random.default_rng(0)
    columns, share, weight = rng.normal(size=(200, 3)), rng.random(200), rng.random(200) + 0.5
    ours = calibration.fit_logistic(columns, share, weight, np.zeros(3), 2.0 * np.eye(3))
    theirs = LogisticRegression(C=0.5, fit_intercept=False, tol=1e-10).fit(
        np.vstack([columns, columns]), np.repeat([1, 0], 200), np.concatenate([weight * share, weight * (1 - share)])
    )
    np.testing.assert_allclose(ours, theirs.coef_[0], atol=1e-5)


def test_measures_agree_with_scikit_learn():
    said, _truth = planted(n=200)
    found = measures.measures(said.p_b, said.people, Draws(said.prompts, replicates=10))
    both = np.concatenate([said.p_b, 1 - said.p_b]), np.concatenate([said.people, 1 - said.people])
    assert found.auc.value == pytest.approx(roc_auc_score(both[1], both[0]))
    clipped = np.clip(said.p_b, measures.EPSILON, 1 - measures.EPSILON)
    assert found.log_loss.value == pytest.approx(log_loss(said.people, clipped))
    assert found.brier.value == pytest.approx(np.mean((said.p_b - said.people) ** 2))


def test_ties_count_half_and_peoples_ties_are_no_side():
    p_b, people = np.array([0.5, 0.9, 0.9, 0.2, 0.7]), np.array([1.0, 1.0, 0.5, 1.0, 2 / 3])
    found = measures.measures(p_b, people, Draws(np.arange(5), replicates=10))
    assert found.accuracy.value == (0.5 + 1 + 0 + 1) / 4
    assert (found.accuracy.n, found.brier.n) == (4, 5)


def test_comparisons_of_one_prompt_are_no_independent_evidence():
    said, _truth = planted(n=300, prompts=300)
    alone = Draws(np.arange(300)).mean(said.people)
    tenfold = Draws(np.repeat(np.arange(300), 10)).mean(np.repeat(said.people, 10))
    assert tenfold.high - tenfold.low == pytest.approx(alone.high - alone.low, rel=0.1)
    believed = Draws(np.arange(3000)).mean(np.repeat(said.people, 10))
    assert believed.high - believed.low < 0.5 * (alone.high - alone.low)


@pytest.mark.slow
def test_intervals_hold_the_truth_as_often_as_they_say():
    inside = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        hits = (rng.random(150) < 0.7).astype(float)
        value = Draws(np.arange(150), seed=seed, replicates=200).mean(hits)
        inside += value.low <= 0.7 <= value.high
    assert 0.89 <= inside / 200 <= 0.99


@pytest.mark.slow
def test_the_same_seed_gives_the_same_report():
    said, _truth = planted(n=200)
    nulls = {"null_longest": (said.longer > 0).astype(float)}
    assert report(said, nulls, replicates=50) == report(said, nulls, replicates=50)
    assert report(said, nulls, replicates=50) != report(said, nulls, replicates=50, seed=1)


@pytest.mark.slow
def test_the_report_of_a_judge_says_what_it_is_worth_beside_the_nulls():
    rng = np.random.default_rng(0)
    said, truth = planted(n=600, slope=3.0, length_bias=1.0, domains=np.resize(["chat", "code"], 600))
    shift = 1.0 * rng.normal(size=600) + 1.5
    orders = np.column_stack([expit(truth - shift), expit(truth + shift)])
    said = judged(
        said.p_b, said.people, lengths=said.lengths, prompts=said.prompts, domains=said.domains, orders=orders
    )
    nulls = {"null_longest": (said.longer > 0).astype(float), "null_random": rng.integers(0, 2, 600).astype(float)}
    whole = report(said, nulls, unusable={"unparsed": 3, "error": 0}, replicates=100)
    assert json.loads(json.dumps(whole, allow_nan=False)) == whole
    assert whole["comparisons"]["unusable"] == {"unparsed": 3}
    assert [null["difference"]["better"] for null in whole["nulls"]] == [True, True]
    assert whole["swap"]["consistent"]["value"] < 0.8
    assert whole["swap"]["first_shown"]["value"] > 0.6, "the one shown first is named too often"
    assert whole["length"]["names_longer"]["value"] > whole["length"]["people_longer"]["value"]
    assert {row["domain"] for row in whole["slices"]} == {"chat", "code"}
    codes = {note["code"] for note in whole["notes"]}
    assert "order_decides" in codes
    assert codes <= set(NOTES)
    assert "no_better_than_null" not in codes


def test_a_labeler_that_reads_length_alone_is_called_so():
    said, _truth = planted(n=600)
    longest = (said.longer > 0).astype(float)
    lazy = said.saying(longest)
    whole = report(lazy, {"null_longest": longest}, replicates=100)
    codes = {note["code"] for note in whole["notes"]}
    assert {"no_better_than_null", "length_bias", "saturated", "one_group"} <= codes
    assert whole["length"]["balanced_accuracy"]["value"] == pytest.approx(0.5)
    assert whole["swap"] is None


def test_prompts_that_it_has_not_judged_leave_the_report_as_if_they_were_not_there():
    """Their numbers are missing between the others."""
    said, _truth = planted(n=200, prompts=60)
    known = ~np.isin(said.prompts, [0, 7, 30])
    nulls = {"null_longest": (said.longer > 0).astype(float)}
    partly = report(said.saying(np.where(known, said.p_b, np.nan)), nulls, replicates=50)
    shown = judged(
        said.p_b[known], said.people[known], lengths=said.lengths[known], prompts=said.prompts[known],
    )  # fmt: skip
    assert partly == report(shown, {kind: p_b[known] for kind, p_b in nulls.items()}, replicates=50)
    assert partly["comparisons"]["prompts"] == len(np.unique(said.prompts)) - 3


def test_nothing_judged_is_no_report():
    with pytest.raises(ValueError, match="both a verdict"):
        report(judged([np.nan], [1], lengths=[[1, 2]], prompts=["p"]), {})
    with pytest.raises(ValueError, match="lengths has shape"):
        judged([0.5], [1], lengths=[1], prompts=["p"])
    with pytest.raises(ValueError, match="shares of votes"):
        judged([0.5], [2], lengths=[[1, 2]], prompts=["p"])


def test_reliability_bins_hold_what_they_say():
    said, _truth = planted(n=1000, slope=3.0)
    bins = measures.reliability(said.p_b, said.people, said.prompts)
    assert sum(each.n for each in bins) == 1000
    assert len(bins) == measures.MOST_BINS
    assert all(each.low <= each.found <= each.high for each in bins)
    assert bins[-3].said > bins[-3].high, "surer than it is right"
    hard = measures.reliability(np.array([0.0, 1.0, 1.0, 0.5] * 20), np.array([0.0, 1.0, 0.0, 1.0] * 20), np.arange(80))
    assert [(each.n, each.said, each.found) for each in hard] == [(20, 0.5, 0.5), (60, 1.0, pytest.approx(2 / 3))]
