"""Strategies: exact money, exactly one route a comparison, and people where labelers err."""

from decimal import Decimal

import numpy as np
import pytest

from routing import mixtures, performance, planning, strategies
from routing.strategies import BudgetTooSmall, Problem, Source, doubt
from routing.strategies.problem import patterns


def problem(n=40, each=("1", "0.01"), seed=0, known=0.3, slices=False, **options):
    """The first source is people. With `slices` the labelers err on comparisons whose first feature is high."""
    rng = np.random.default_rng(seed)
    features = rng.standard_normal((n, 4))
    truth = rng.integers(0, 2, n)
    error = np.where(features[:, 0] > 0.5, 0.45, 0.05) if slices else np.full(n, 0.2)
    said = [np.where(rng.random(n) < error, 1 - truth, truth) * 0.6 + 0.2 for _ in each[1:]]
    people = np.where(rng.random(n) < known, truth.astype(float), np.nan)
    names = ("people", *(f"judge{number}" for number in range(1, len(each))))
    sources = tuple(Source(name, Decimal(price), name == "people") for name, price in zip(names, each, strict=True))
    made = Problem(features, tuple("abcd"), sources, np.column_stack([people, *said]), np.arange(n) // 2, **options)
    return made, truth


def test_the_smallest_feasible_budget_is_named_and_feasible():
    case, _ = problem(each=("1", "0.013", "0.02"))
    with pytest.raises(BudgetTooSmall) as refusal:
        strategies.random_share(case, Decimal("0.5"))
    assert refusal.value.smallest == Decimal("0.52")
    assert strategies.random_share(case, refusal.value.smallest).cost == Decimal("0.52")
    with pytest.raises(BudgetTooSmall, match="judge2 for all"):
        strategies.all_ai(case, Decimal("0.52"), source=2)


def test_money_that_cannot_be_counted_is_refused():
    for amount in ("0.000000001", "-1", "NaN", "Infinity"):
        with pytest.raises(ValueError, match="no amount of money"):
            strategies.to_units(Decimal(amount))
    assert strategies.to_money(strategies.to_units(Decimal("12.34567891"))) == Decimal("12.34567891")


def test_people_for_everything_leaves_out_what_the_money_does_not_reach():
    case, _ = problem()
    found = strategies.all_people(case, Decimal("10.5"), seed=3)
    assert (found.source == 0).sum() == 10 and (found.source == -1).sum() == 30
    assert found.notes == ("The budget leaves 30 comparisons without a judgment.",)


def test_the_labeler_that_agrees_best_with_people_judges_the_rest():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, 200)
    weak = np.where(rng.random(200) < 0.4, 1 - truth, truth) * 1.0
    p_b = np.column_stack([truth * 1.0, weak, np.where(rng.random(200) < 0.1, 1 - truth, truth)])
    sources = (Source("people", Decimal(1), True), Source("weak", Decimal("0.01")), Source("good", Decimal("0.02")))
    case = Problem(np.zeros((200, 1)), ("a",), sources, p_b, np.arange(200))
    assert set(strategies.all_ai(case, Decimal(5)).source.tolist()) == {2}
    assert set(strategies.all_ai(case, Decimal(3)).source.tolist()) == {1}, "the better one is too dear for all"


@pytest.mark.slow
def test_disagreement_beats_random_where_labelers_err_by_slice():
    """Planted: 45% errors where the first feature is high (31% of 3,000), 5% elsewhere; seed set 15%."""
    gains = []
    for seed in range(5):
        case, truth = problem(3000, seed=seed, known=0.15, slices=True)
        correct = {}
        for name in ("random", "disagreement"):
            chosen = strategies.STRATEGIES[name](case, Decimal(780), seed=seed).source
            label = np.where(chosen == 0, truth, case.p_b[:, 1] > 0.5)
            correct[name] = (label == truth).mean()
        gains.append(correct["disagreement"] - correct["random"])
    assert min(gains) > 0.02
    # An oracle of the slices gains 0.25 × (0.45 − 0.17) over random: most of it must be reached.
    assert np.mean(gains) > 0.8 * 0.25 * (0.45 - 0.173)


@pytest.mark.slow
def test_nothing_planted_nothing_gained():
    gains = []
    for seed in range(8):
        case, truth = problem(2000, seed=seed, known=0.15)
        correct = []
        for name in ("random", "disagreement"):
            chosen = strategies.STRATEGIES[name](case, Decimal(500), seed=seed).source
            correct.append((np.where(chosen == 0, truth, case.p_b[:, 1] > 0.5) == truth).mean())
        gains.append(correct[1] - correct[0])
    assert abs(np.mean(gains)) < 3 * np.std(gains, ddof=1) / np.sqrt(8) + 1e-9


def test_what_was_judged_earlier_teaches_without_being_planned():
    past, _ = problem(1500, seed=1, known=1.0, slices=True)
    fresh, truth = problem(1500, seed=2, known=0.0, slices=True, history=past)
    found = strategies.disagreement(fresh, Decimal(400), seed=0)
    assert len(found.source) == 1500 and not found.notes
    to_people = found.source == 0
    assert (fresh.features[to_people, 0] > 0.5).mean() > 0.8
    assert np.isfinite(found.gain).all() and 0.3 < found.gain[fresh.features[:, 0] > 0.5].mean() < 0.6


def test_without_lessons_the_gain_is_not_invented():
    case, _ = problem(known=0.0)
    for name in ("disagreement", "value"):
        found = strategies.STRATEGIES[name](case, Decimal(10))
        assert np.isnan(found.gain).all() and "Fewer than 30" in found.notes[0] and found.strategy == name


def test_control_is_five_percent_costs_nothing_and_its_propensities_are_true(monkeypatch):
    case, _ = problem(200, slices=True, known=0.5)
    learnt = strategies.chance_wrong(case, np.ones(200, dtype=int))
    budget = Decimal(60)
    monkeypatch.setattr(doubt, "chance_wrong", lambda problem, base, seed: learnt)
    runs = [strategies.disagreement(case, budget, seed=seed) for seed in range(400)]
    plain = strategies.disagreement(case, budget, seed=0, control_share=0)
    assert all(run.is_control.sum() == 10 and run.cost == plain.cost for run in runs)
    people = np.mean([run.source == 0 for run in runs], axis=0)
    logged = np.mean([np.where(run.source == 0, run.propensity, 1 - run.propensity) for run in runs], axis=0)
    assert np.abs(people - logged).max() < 0.06
    weights = [((run.source == 0) / run.propensity).mean() for run in runs]
    assert np.mean(weights) == pytest.approx(1, abs=0.15), "inverse propensities estimate a mean over all"


@pytest.mark.slow
def test_a_plan_needs_skill_to_prefer_anything():
    case, _ = problem(300, slices=True, known=0.5)
    bins = mixtures.Bins.fit(case.features, case.names)
    drawn = mixtures.sample(case.features, 2, 80, seed=0)
    described = planning.describe(case, bins, drawn)
    noise = np.random.default_rng(0).standard_normal(80) * 0.01
    quick = ("mean", "budget", "ridge")

    nothing = performance.choose(described, 0.7 + noise, budget_column=2, kinds=quick)
    choice = planning.choose_plan(case, Decimal(100), nothing, bins)
    assert not choice.skill and "No skill" in choice.text and choice.best.allocation.strategy == "all_ai"

    more = performance.choose(described, 0.6 + 0.05 * described[:, 2] + noise, budget_column=2, kinds=quick)
    choice = planning.choose_plan(case, Decimal(100), more, bins)
    assert choice.skill and choice.best.allocation.strategy == "random" and choice.best.people_share > 0.25

    column = 3 + [label[:2] for label in bins.labels].index(("a", 2))
    where = performance.choose(described, 0.6 + 0.5 * described[:, column] + noise, budget_column=2, kinds=quick)
    choice = planning.choose_plan(case, Decimal(100), where, bins)
    assert choice.skill and choice.best.allocation.strategy == "value"
    assert choice.best.low <= choice.best.predicted <= choice.best.high
    assert all(candidate.allocation.cost <= 100 for candidate in choice.candidates)
    leader = planning.choose_plan(case, Decimal(100), where, bins, by="lower").best
    assert max(candidate.low for candidate in choice.candidates) == leader.low
    assert choice.best.allocation.cost <= leader.allocation.cost and choice.best.predicted > leader.predicted - 0.01

    # Money that buys nothing the model could tell: the plans that cost more are not taken.
    flat = performance.choose(described, 0.6 + noise, budget_column=2, kinds=("ridge",))
    thrifty = planning.choose_plan(case, Decimal(200), flat, bins).best
    lavish = planning.choose_plan(case, Decimal(200), flat, bins, by="lower").best
    assert thrifty.allocation.cost < lavish.allocation.cost

    bold = planning.choose_plan(case, Decimal(100), where, bins, by="improvement", caps={"people": 0.2})
    assert "expected improvement" in bold.text and (bold.best.allocation.source == 0).sum() <= 60
    with pytest.raises(ValueError, match="cheapest, lower, improvement"):
        planning.choose_plan(case, Decimal(100), where, bins, by="hope")


def test_without_a_performance_model_or_labelers_the_plan_says_so():
    case, _ = problem()
    bins = mixtures.Bins.fit(case.features, case.names)
    choice = planning.choose_plan(case, Decimal(10), None, bins)
    assert "no performance model yet" in choice.text and np.isnan(choice.best.predicted)
    alone = Problem(case.features, case.names, case.sources[:1], case.p_b[:, :1], case.groups)
    assert planning.choose_plan(alone, Decimal(10), None, bins).best.allocation.strategy == "all_people"


def test_a_threshold_that_cannot_be_learnt_is_no_labeler_that_is_never_right():
    few, _ = problem(known=0.3)
    (note,) = strategies.threshold(few, Decimal(20)).notes
    assert "and a threshold needs 30" in note and "does not agree" not in note
    case, truth = problem(n=200, known=1.0)
    case.p_b[:, 1] = np.where(np.arange(200) % 2, truth, 1 - truth)
    (note,) = strategies.threshold(case, Decimal(100)).notes
    assert note.startswith("However sure the labeler is")


def test_any_number_of_sources_has_patterns_of_its_own():
    rng = np.random.default_rng(0)
    narrow = rng.random((60, 5)) < 0.5
    known, of_row = patterns(narrow)
    keys = narrow @ (1 << np.arange(5))
    np.testing.assert_array_equal(known @ (1 << np.arange(5)), np.unique(keys))
    np.testing.assert_array_equal(known[of_row], narrow)
    wide = np.zeros((3, 70), dtype=bool)
    wide[1, 69], wide[2, 5] = True, True  # 1 << 69 is 1 << 5 in 64 bits
    assert patterns(wide)[1].tolist() == [0, 2, 1]


def test_a_plan_over_seventy_labelers_keeps_its_budget():
    case, _ = problem(n=60, each=("1", *["0.01"] * 70))
    found = strategies.STRATEGIES["value"](case, Decimal(10), control_share=0.2)
    assert found.cost <= 10 and (found.source >= 0).all()
