"""What a plan keeps of an earlier one counts in full: whatever the strategy, no plan costs more than its budget."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from annotator.models import Loop, Project, Route
from annotator.pipeline import basis, budget_curve, forecast, route
from annotator.pipeline.allocations import allocate
from routing import features, mixtures, strategies

UNPAPERED = [name for name in strategies.STRATEGIES if name not in strategies.OF_THE_PAPER]


def made_from(n: int, kept: int, seed: int, *, labelers: int = 1, caps: dict[str, float] | None = None) -> basis.Basis:
    """`n` comparisons, of which `kept`, drawn at random, keep a source drawn at random at a price of their own."""
    rng = np.random.default_rng(seed)
    sources = (
        strategies.Source("people", Decimal("1.5"), is_people=True, votes=3),
        *(strategies.Source(f"judge{number}", Decimal("0.01")) for number in range(labelers)),
        strategies.Source("people:1", Decimal("0.5"), is_people=True, votes=1),
    )
    people = rng.integers(0, 2, n).astype(float)
    answers = [np.where(rng.random(n) < 0.8, people, 1 - people) for _ in range(labelers)]
    problem = strategies.Problem(
        features=rng.normal(size=(n, len(features.NAMES))),
        names=features.NAMES,
        sources=sources,
        p_b=np.column_stack([people, *answers, people]),
        groups=np.arange(n),
    )
    rows = np.sort(rng.choice(n, kept, replace=False))
    columns = rng.integers(0, len(sources), kept)
    routes = tuple(_route(sources[column], rng) for column in columns.tolist())
    held = basis.Kept(rows, columns, routes)
    pinned = basis._pinned(problem, held)
    bins = mixtures.Bins.fit(problem.described, list(problem.names))
    project, loop = Project(control_share=0.1), Loop(caps=caps or {})
    return basis.Basis(project, None, pinned, [], None, None, None, bins, loop, None, held)  # type: ignore[arg-type]


def _route(source: strategies.Source, rng: np.random.Generator) -> Route:
    votes = source.votes if source.is_people else 1
    paid = (source.price * int(rng.integers(1, 5)) / 4).quantize(Decimal("1e-8"))
    name = "people" if source.is_people else source.name
    return Route(source=name, labeler_id=None if source.is_people else 1, votes=votes, price=paid, propensity=0.5)


@pytest.mark.slow
@settings(deadline=None, max_examples=30)
@given(
    strategy=some.sampled_from(["auto", *UNPAPERED]),
    n=some.integers(5, 40),
    share=some.floats(0, 1),
    cents=some.integers(0, 7000),
    labelers=some.integers(0, 2),
    seed=some.integers(0, 99),
    cap=some.sampled_from([None, 0.2, 0.6]),
)
def test_a_plan_with_kept_routes_never_costs_more_than_its_budget(strategy, n, share, cents, labelers, seed, cap):
    budget = Decimal(cents) / 100
    caps = {} if cap is None else {"people": cap}
    source = made_from(n, int(share * n), seed, labelers=labelers, caps=caps)
    try:
        made = route._choose(source, budget, strategy, seed).best.allocation
    except (strategies.BudgetTooSmall, ValueError):
        return
    assert made.cost == strategies.to_money(strategies.cost_of(source.problem, made.source)) <= budget
    assert (made.source[source.kept.rows] == source.kept.source).all(), "what is kept stays as it is"


@pytest.mark.parametrize("strategy", ["all_people", "auto"])
def test_people_for_everything_pays_for_what_is_kept_first(strategy):
    source = made_from(40, 20, 1, labelers=0)
    held = sum(each.price for each in source.kept.routes)
    made = route._choose(source, held + Decimal(3), strategy, 0).best.allocation
    assert made.cost == held + Decimal(3) and (made.source >= 0).sum() == 22
    with pytest.raises(strategies.BudgetTooSmall):
        allocate(source, "all_people", held - Decimal("0.01"), 0)


@pytest.mark.parametrize("strategy", ["auto", *UNPAPERED])
def test_a_cap_below_what_is_kept_leaves_the_rest_to_others(strategy):
    source = made_from(40, 30, 1, caps={"people": 0.1, "judge0": 1.0})
    held = np.bincount(source.kept.source, minlength=3)
    assert held[0] > 4 and source.caps == {"people": held[0] / 40, "judge0": 1.0}
    made = route._choose(source, Decimal(90), strategy, 0).best.allocation
    assert (made.source == 0).sum() == held[0]


def test_a_share_of_people_below_what_they_have_judged_is_no_obstacle():
    source = made_from(40, 30, 1)
    held = np.isin(source.kept.source, [0, 2]).sum()
    made = strategies.value(source.problem, Decimal(90), people_share=0.05, control_share=0)
    assert np.isin(made.source, [0, 2]).sum() == held > 2


def test_a_baseline_that_the_caps_do_not_allow_is_left_out():
    source = made_from(40, 0, 1, caps={"people": 0.2, "people:1": 0.2, "judge0": 0.2})
    assert [row["strategy"] for row in forecast._baselines(source, 0)] == ["all_people"]


class Flat:
    """A performance model that says the same of every mixture."""

    def predict(self, described):
        return np.full(len(described), 0.7)

    def predict_interval(self, described, coverage):
        return np.full(len(described), 0.6), np.full(len(described), 0.8)


def with_model(n=30, kept=5):
    source = made_from(n, kept, 3)
    source.model = Flat()
    return source


@pytest.mark.slow
def test_a_job_beats_at_every_budget_of_the_curve_and_can_be_stopped_there():
    beats: list[tuple[int, int]] = []
    rows = budget_curve.curve(with_model(), "value", 0, lambda done, of: beats.append((done, of)))
    assert beats == [(number, len(beats)) for number in range(len(beats))] and len(rows) == len(beats) > 10
    assert {row["predicted"] for row in rows} == {0.7}

    def stopped(done: int, of: int) -> None:
        if done == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        budget_curve.curve(with_model(), "value", 0, stopped)


@pytest.mark.slow
def test_the_papers_search_is_tried_at_few_budgets_with_the_tags_of_its_model(monkeypatch):
    asked: list[dict[str, object]] = []

    def search(problem, budget, **named):
        asked.append(named)
        return strategies.value(problem, budget, **named)

    monkeypatch.setitem(strategies.STRATEGIES, "hyper_simulated", search)
    source = with_model()
    rows = budget_curve.curve(source, "hyper_simulated", 0, lambda done, of: None)
    assert len(rows) == len(asked) == budget_curve.POINTS_OF_SEARCH
    assert all(named["tags"] is source.tags for named in asked), "not bins fitted anew"
