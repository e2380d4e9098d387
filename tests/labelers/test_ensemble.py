"""Several labelers as one: better than its members, and no member can spoil it."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from labelers import ensemble
from labelers.calibration import judged
from labelers.ensemble import cross_fitted, fit, measured, read
from labelers.measures import right


def panel(n=600, seed=0, skills=(1.2, 1.0, 0.8), prompts=200, domains=None):
    """Members of independent noise; a skill of 0 knows nothing but is as sure as the others."""
    rng = np.random.default_rng(seed)
    truth = rng.normal(size=n) * 2
    people = (rng.random(n) < expit(truth)).astype(float)
    lengths, groups = rng.integers(20, 900, (n, 2)), rng.integers(0, prompts, n)
    said = [expit(3 * (skill * np.sign(people - 0.5) + rng.normal(size=n))) for skill in skills]
    return {
        f"m{number}": judged(p_b, people, lengths=lengths, prompts=groups, domains=domains)
        for number, p_b in enumerate(said)
    }


def accuracy(p_b, members):
    return float(np.mean(right(p_b, next(iter(members.values())).people)))


def test_it_is_better_than_its_best_member_out_of_fold():
    members = panel()
    found = measured(members, replicates=200, curve=False)
    alone = [row["alone"]["value"] for row in found["members"]]
    assert found["accuracy"]["low"] > max(alone) - 0.02
    assert found["best"]["better"]
    assert json.loads(json.dumps(found, allow_nan=False)) == found


@pytest.mark.slow
def test_a_member_that_knows_nothing_gets_no_say_and_does_not_spoil_it():
    members = panel(skills=(1.0, 0.0, 0.0, 0.0))
    made = fit(members)
    rows = measured(members, replicates=50, curve=False)
    share = {row["label"]: row["share"] for row in rows["members"]}
    assert share["m0"] > 0.85 and max(share[name] for name in ("m1", "m2", "m3")) < 0.1
    alone, equal = rows["members"][0]["alone"]["value"], rows["equal"]["value"]
    assert rows["accuracy"]["value"] > alone - 0.02
    assert equal < alone - 0.05, "with equal say the three spoil it"
    assert sum(made.weights[1:]) < 3


def test_a_member_that_is_wrong_on_purpose_is_turned_round():
    members = panel(skills=(0.3, -1.2))
    assert accuracy(cross_fitted(members), members) > accuracy(members["m0"].p_b, members) + 0.1


@pytest.mark.slow
def test_members_that_repeat_each_other_share_one_say():
    members = panel(skills=(1.0, 1.0))
    doubled = {**members, "again": members["m0"], "and again": members["m0"]}
    weight = dict(zip(doubled, fit(doubled).weights, strict=True))
    assert weight["m0"] + weight["again"] + weight["and again"] == pytest.approx(weight["m1"], rel=0.6)
    assert accuracy(cross_fitted(doubled), doubled) > accuracy(cross_fitted(members), members) - 0.02


@pytest.mark.slow
def test_forty_gold_comparisons_go_most_of_the_way():
    curve = {row["n"]: row["accuracy"]["value"] for row in measured(panel(n=420), replicates=20)["curve"]}
    assert list(curve) == [10, 20, 40, 80, 160, 320]
    assert curve[40] > max(curve.values()) - 0.03


@pytest.mark.slow
@given(st.integers(0, 1000), st.sampled_from(["weighted", "equal", "by_domain"]))
@settings(max_examples=4, deadline=None)
def test_exchanging_a_and_b_mirrors_p(seed, method):
    members = panel(n=60, seed=seed, prompts=20)
    turned = {
        name: judged(1 - each.p_b, 1 - each.people, lengths=each.lengths[:, ::-1], prompts=each.prompts)
        for name, each in members.items()
    }
    options = {"domains": {"": "m1"}} if method == "by_domain" else {}
    np.testing.assert_allclose(
        cross_fitted(turned, method, **options), 1 - cross_fitted(members, method, **options), atol=1e-6
    )


def test_a_member_missing_here_and_there_leaves_the_rest_to_decide():
    members = panel(n=400)
    holes = {**members, "m0": members["m0"].saying(np.where(np.arange(400) % 2, members["m0"].p_b, np.nan))}
    p_b = cross_fitted(holes)
    assert not np.isnan(p_b).any()
    assert accuracy(p_b[::2], {"m": members["m0"].at(np.arange(400) % 2 == 0)}) > 0.75
    nobody = {name: each.saying(np.where(np.arange(400) == 7, np.nan, each.p_b)) for name, each in members.items()}
    assert np.flatnonzero(np.isnan(fit(nobody).p_b(nobody))).tolist() == [7]


def test_equal_is_the_mean_of_what_they_say_and_needs_no_people():
    members = {name: each.saying(each.p_b) for name, each in panel(n=30).items()}
    np.testing.assert_allclose(
        fit(members, "equal").p_b(members), np.mean([each.p_b for each in members.values()], axis=0)
    )


def test_by_domain_each_domain_has_its_member():
    members = panel(n=300, domains=np.resize(["law", "code", "poems"], 300))
    made = fit(members, "by_domain", domains={"law": "m0", "code": "m1", "": "m2"})
    p_b = made.p_b(members)
    for place, name in enumerate(("m0", "m1", "m2")):
        rows = np.arange(300) % 3 == place
        np.testing.assert_allclose(p_b[rows], made.calibrations[place].p_b(members[name])[rows])
    without_rest = fit(members, "by_domain", domains={"law": "m0"}).p_b(members)
    assert np.isnan(without_rest).tolist() == [place % 3 != 0 for place in range(300)]


def test_what_is_stored_gives_the_same_probabilities():
    members = panel(n=200)
    for method, domains in (("weighted", None), ("equal", None), ("by_domain", {"": "m0"})):
        made = fit(members, method, domains=domains)
        again = read(json.loads(json.dumps(made.as_json())))
        np.testing.assert_array_equal(again.p_b(members), made.p_b(members))


def test_new_comparisons_need_no_people():
    members = panel(n=200)
    made = fit(members)
    new = {name: judged(each.p_b, lengths=each.lengths, prompts=each.prompts) for name, each in members.items()}
    np.testing.assert_array_equal(made.p_b(new), made.p_b(members))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"method": "vote"}, "one of the methods"),
        ({"method": "by_domain"}, "needs a member for each domain"),
        ({"method": "by_domain", "domains": {"": "nobody"}}, "No member is called nobody"),
    ],
)
def test_what_cannot_be_combined_is_refused(options, words):
    with pytest.raises(ValueError, match=words):
        fit(panel(n=20), **options)


def test_members_of_other_comparisons_are_refused():
    with pytest.raises(ValueError, match="line up"):
        fit({"one": panel(n=20)["m0"], "two": panel(n=21)["m0"]})


def test_calibrated_log_odds_stay_finite():
    sure = judged([0.0, 1.0] * 20, [0.0, 1.0] * 20, lengths=np.ones((40, 2)), prompts=np.arange(40))
    found = ensemble.log_odds({"sure": sure})
    assert np.isfinite(found).all() and (np.sign(found[:, 0]) == np.sign(logit([0.1, 0.9] * 20))).all()
