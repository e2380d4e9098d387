"""Ours on planted labelers: it finds where each errs, invents nothing, and says how sure it is."""

from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest

from routing import hyper, mixtures, strategies
from routing.strategies import Problem, Source, accounting, control, worth

SOURCES = (Source("people", Decimal(1), True, 3), Source("small", Decimal("0.01")), Source("large", Decimal("0.03")))


def world(seed, errors=((0.4, 0.1), (0.1, 0.4)), n=2000, taught=500, answered=False):
    """Two labelers, each with `errors` (where the first feature is high, elsewhere); `taught` judged by everybody."""
    rng = np.random.default_rng(seed)
    x = np.column_stack([(rng.random(n) < 0.4) * 1.0, rng.standard_normal((n, 4))])
    truth = rng.integers(0, 2, n).astype(float)
    chance = np.column_stack([np.where(x[:, 0] > 0, *each) for each in errors])
    said = np.where(rng.random((n, 2)) < chance, 1 - truth[:, None], truth[:, None]) * 0.8 + 0.1
    known = np.arange(n) < taught
    p_b = np.column_stack([np.where(known, truth, np.nan), said])
    if not answered:
        p_b[~known] = np.nan
    return Problem(x, tuple("abcde"), SOURCES, p_b, np.arange(n) // 2), truth, said, chance


def after(case, taught):
    """The comparisons that come after the first `taught`, which are history."""

    def part(rows, **more):
        return Problem(case.features[rows], case.names, SOURCES, case.p_b[rows], case.groups[rows], **more)

    return part(slice(taught, None), history=part(slice(0, taught)))


def accuracy(plan, truth, said):
    labels = np.column_stack([truth, said > 0.5])[np.arange(len(truth)), plan.source]
    return (labels == truth).mean()


def test_each_kind_goes_to_the_labeler_that_is_good_at_it():
    gains = []
    for seed in range(2):
        case, truth, said, _ = world(seed)
        plan = strategies.value(case, Decimal(300), seed=seed, control_share=0)
        high = case.features[:, 0] > 0
        assert (plan.source[high] == 2).mean() > 0.6 > 0.3 > (plan.source[~high] == 2).mean()
        random = strategies.random_share(case, Decimal(300), seed=seed)
        gains.append(accuracy(plan, truth, said) - accuracy(random, truth, said))
    assert min(gains) > 0.05


@pytest.mark.slow
def test_what_sources_are_worth_is_calibrated_and_honest_about_its_error():
    case, _, _, chance = world(0, taught=800)
    found = worth.estimate(case)
    assert (found.value[:, 0] == 1).all() and (found.error[:, 0] == 0).all() and found.checked.all()
    for column in (1, 2):
        miss = (found.value[:, column] - (1 - chance[:, column - 1]))[800:]  # where nobody has answered
        assert np.abs(miss).mean() < 0.06
        assert found.error[800:, column].mean() == pytest.approx(np.abs(miss).mean(), rel=0.9)
    assert worth.estimate(case) is found, "learnt once a problem"
    assert worth.estimate(replace(case, votes=np.ones(len(case)))) is not found


@pytest.mark.slow
def test_nothing_planted_nothing_gained_or_lost():
    differences = []
    for seed in range(5):
        case, truth, said, _ = world(seed, errors=((0.2, 0.2), (0.3, 0.3)), n=1000, taught=200)
        later, truth, said = after(case, 200), truth[200:], said[200:]
        plan = strategies.value(later, Decimal(300), seed=seed)
        random = strategies.random_share(later, Decimal(300), seed=seed, source=1)
        differences.append(accuracy(plan, truth, said) - accuracy(random, truth, said))
    assert abs(np.mean(differences)) < 3 * np.std(differences, ddof=1) / np.sqrt(5) + 0.002


@pytest.mark.slow
def test_answers_tell_more_than_features():
    errors = ((0.25, 0.25), (0.25, 0.25))
    case, truth, said, _ = world(1, errors, answered=True)
    blind, *_ = world(1, errors)
    known, unknown = (strategies.value(each, Decimal(400), seed=0, control_share=0) for each in (case, blind))
    assert accuracy(known, truth, said) > accuracy(unknown, truth, said) + 0.02, (
        "labelers that disagree cannot both be right"
    )


def test_a_labeler_nobody_could_check_is_not_trusted_and_named():
    case, *_ = world(0)
    p_b = case.p_b.copy()
    p_b[:, 2] = np.nan
    plan = strategies.value(replace(case, p_b=p_b), Decimal(300), control_share=0)
    assert not (plan.source == 2).any() and "large" in plan.notes[0]


@pytest.mark.slow
def test_the_lower_bound_moves_money_to_what_is_sure():
    case, *_ = world(2, taught=120)
    mean, lower = (strategies.value(case, Decimal(300), control_share=0, bound=bound) for bound in ("mean", "lower"))
    assert not np.array_equal(mean.source, lower.source)
    assert lower.cost <= 300 and np.array_equal(mean.value, lower.value), "what is reported is the estimate itself"
    with pytest.raises(ValueError, match="mean or lower"):
        strategies.value(case, Decimal(300), bound="upper")


def test_fewer_votes_are_worth_what_the_votes_say():
    share, votes = np.array([1.0, 2 / 3, 0.5, 0.25, np.nan]), np.array([3, 3, 4, 4, 0])
    assert worth.subset_agreement(share, votes, 1) == pytest.approx([1, 2 / 3, 0.5, 0.75, np.nan], nan_ok=True)
    # Two of four votes 3:1 — both from the three: 3/6, one of each: split, half of 3/6.
    assert worth.subset_agreement(share[3:4], votes[3:4], 2) == pytest.approx([0.75])
    rng = np.random.default_rng(0)
    x = np.column_stack([(np.arange(600) % 2) * 1.0, rng.standard_normal(600)])
    people = np.where(x[:, 0] > 0, 1.0, rng.choice([1 / 3, 2 / 3], 600))
    people[400:] = np.nan
    sources = (*SOURCES[:2], Source("people:1", Decimal("0.34"), True, 1))
    p_b = np.column_stack([people, np.full((600, 2), np.nan)])
    case = Problem(x, ("a", "b"), sources, p_b, np.arange(600), votes=np.where(np.isnan(people), 0, 3))
    found = worth.estimate(case).value[400:, 2]
    assert found[x[400:, 0] > 0].mean() > 0.9 and found[x[400:, 0] == 0].mean() == pytest.approx(2 / 3, abs=0.06)
    assert case.people == 0 and case.people_sources == [0, 2]


@pytest.mark.slow
def test_exchanged_decisions_have_the_propensities_that_are_logged():
    rng = np.random.default_rng(0)
    usable = np.ones((60, 3), dtype=bool)
    usable[:20, 2] = False
    units = np.array([[Decimal(1), Decimal("0.01"), Decimal(f"0.0{digit}")] for digit in rng.integers(1, 9, 60)])
    case = Problem(np.zeros((60, 1)), ("a",), SOURCES, np.full((60, 3), 0.9), np.arange(60), None, usable, units)
    own = np.where(np.arange(60) < 15, 0, 1) + (np.arange(60) > 45)
    plan = accounting.allocation_of(case, own, "value", Decimal(100))
    runs = [control.explore(case, plan, 0.3, np.random.default_rng(seed)) for seed in range(1500)]
    kept_back = strategies.to_money(control.reserve(case, 0.3))
    assert kept_back > 0 and max(run.cost for run in runs) <= plan.cost + kept_back
    assert all((np.bincount(run.source) == np.bincount(own)).all() for run in runs[:50])
    for source in range(3):
        got = np.array([run.source == source for run in runs])
        logged = np.array([run.propensity for run in runs])
        where = got.any(axis=0)
        chance = np.array([logged[got[:, row], row][0] for row in np.flatnonzero(where)])
        assert np.abs(got.mean(axis=0)[where] - chance).max() < 0.05
    assert not any(run.source[:20].max() == 2 for run in runs)


def test_uncertainty_and_threshold_read_the_labelers_confidence():
    rng = np.random.default_rng(0)
    truth, sure = rng.integers(0, 2, 400), rng.random(400)
    right = rng.random(400) < 0.5 + sure / 2
    said = np.where(right, truth, 1 - truth) * sure + (1 - sure) / 2
    people = np.where(np.arange(400) < 200, truth.astype(float), np.nan)
    case = Problem(np.zeros((400, 1)), ("a",), SOURCES[:2], np.column_stack([people, said]), np.arange(400))
    plan = strategies.uncertainty(case, Decimal(104), control_share=0)
    assert (plan.source == 0).sum() == 101
    assert sure[plan.source == 0].max() <= sure[plan.source == 1].min()
    rich = strategies.threshold(case, Decimal(400), control_share=0)
    assert 0.3 < (rich.source == 0).mean() < 0.95, "what the labeler is sure of stays with it, whatever the money"
    assert sure[rich.source == 0].max() < sure[rich.source == 1].min()
    assert right[(rich.source == 1)].mean() > 0.8


def test_the_papers_strategies_need_its_model_and_follow_it():
    case, *_ = world(0, n=300, taught=100)
    tags = mixtures.Bins.fit(case.features, case.names).members(case.features)
    drawn = hyper.sample(tags, 60, seed=0)
    wanted = tags[:, 1].astype(float)
    paper = hyper.fit(tags, drawn, drawn @ wanted, kind="linear")
    plan = strategies.hyper_top_k(case, Decimal(60), paper=paper, tags=tags, control_share=0, source=2)
    assert (plan.source == 0).sum() == 52 and tags[plan.source == 0, 1].all()
    simulated = strategies.hyper_simulated(case, Decimal(60), paper=paper, control_share=0, source=2)
    assert (simulated.source == 0).sum() == 52 and tags[simulated.source == 0, 1].mean() > tags[:, 1].mean()
    for name in strategies.OF_THE_PAPER:
        with pytest.raises(ValueError, match="performance model"):
            strategies.STRATEGIES[name](case, Decimal(60))
        with pytest.raises(ValueError, match="counts"):
            strategies.STRATEGIES[name](case, Decimal(60), paper=paper, tags=tags[:, 1:])


@pytest.mark.slow
def test_ten_thousand_comparisons_are_planned_in_seconds_of_cpu():
    import time

    case, *_ = world(0, n=10_000)
    worth.estimate(replace(case, features=case.features + 0))  # imports are not the plan's
    started = time.process_time()
    strategies.value(case, Decimal(2500), caps={"small": 0.4})
    assert time.process_time() - started < 3
