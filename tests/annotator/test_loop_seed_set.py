"""A seed set: whole prompts at random, judged in full, and what its size can tell."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pytest

from annotator.models import Comparison, Job, JobCancelled, Labeler, Plan, Project
from annotator.pipeline import ledger, route, seed_set, versions, work
from annotator.readings import power
from tests.annotator.loop_samples import paid_project
from tests.builders import make_comparison, make_labeler


@pytest.fixture
def project(db):
    return paid_project()


@pytest.mark.slow
def test_a_seed_set_is_whole_prompts_at_random_that_people_judge_in_full(project):
    for number in range(200):
        made = make_comparison(project, f"Prompt {number // 2}")
        made.prompt.text_hash = f"{number // 2:064d}"
        made.prompt.save()
    plan = seed_set.draw(project, 61, seed=1)
    told = plan.summary["seed_set"]
    assert plan.is_seed_set and plan.routes.count() == told["comparisons"] == 60 and told["whole_prompts"]
    assert set(plan.routes.values_list("source", "votes", "price", "propensity")) == {("people", 2, 1, 0.3)}
    texts = plan.routes.values_list("comparison__prompt__text_hash", flat=True)
    inside = Comparison.objects.filter(project=project, prompt__text_hash__in=texts)
    assert inside.count() == 60, "no text lies half inside"
    assert plan.cost == plan.budget == plan.cost_to_pay == 60
    other = seed_set.draw(project, 61, seed=2)
    assert set(other.routes.values_list("comparison", flat=True)) != set(
        plan.routes.values_list("comparison", flat=True)
    )


@pytest.mark.slow
def test_few_large_prompts_are_drawn_comparison_by_comparison(project):
    for number in range(100):
        made = make_comparison(project, "x")
        made.prompt.text_hash = f"{number % 4:064d}"
        made.prompt.save()
    plan = seed_set.draw(project, 20)
    assert plan.routes.count() == 20 and not plan.summary["seed_set"]["whole_prompts"]


def test_approving_a_seed_set_sets_its_money_aside_and_asks_its_labelers(project):
    for number in range(40):
        make_comparison(project, f"{number}")
    plan = seed_set.draw(project, 10)
    judge = make_labeler(project, "asked", kind="llm_judge", price_per_call=Decimal("0.02")).labeler_version.labeler
    plan.summary["seed_set"]["labelers"] = [
        {"labeler": judge.pk, "name": "asked", "most": "0.5", "hindrance": ""},
    ]
    plan.save()
    route.approve(plan, None)
    route.run_routes()
    assert ledger.account_of(project).reserved == plan.cost == 10
    assert Comparison.objects.filter(project=project, places_open=2).count() == 10
    run = Job.objects.get(project=project, kind=Job.Kind.LABEL)
    assert run.parameters["reserve"] == "0.5" and run.parameters["filter"] == {"plan": plan.number, "source": "people"}


def test_a_seed_set_beyond_the_hard_budget_stays_a_draft(project):
    for number in range(40):
        make_comparison(project, f"{number}")
    ledger.set_cap(project, Decimal(5))
    plan = seed_set.draw(project, 10)
    with pytest.raises(ledger.OverBudget):
        route.approve(plan, None)
    plan.refresh_from_db()
    assert plan.status == Plan.Status.DRAFT and not ledger.account_of(project).reserved


def test_a_labeler_whose_texts_nobody_let_go_is_named_and_not_asked(project):
    for number in range(5):
        make_comparison(project, f"{number}")
    judge = Labeler.objects.create(project=project, name="far", kind="llm_judge", price_per_call=Decimal("0.02"))
    versions.new_version(judge, {"base_url": "http://127.0.0.1:9/v1", "model": "m"})
    plan = seed_set.draw(project, 5)
    (told,) = plan.summary["seed_set"]["labelers"]
    assert "confirmed" in told["hindrance"]
    assert seed_set.ask_labelers(plan, None) == []


def test_a_draw_that_ends_midway_leaves_no_plan(project, monkeypatch):
    for number in range(5):
        make_comparison(project, f"{number}")
    monkeypatch.setattr(seed_set, "_labelers", lambda plan: [][0])
    with pytest.raises(IndexError):
        seed_set.draw(project, 5)
    assert not project.plans.exists()
    job = Job.objects.ask(project, Job.Kind.ROUTE)  # of which no worker has hold
    monkeypatch.setattr(seed_set, "_labelers", lambda plan: [])
    with pytest.raises(JobCancelled):
        seed_set.draw(project, 5, job=job)
    assert not project.plans.exists()


def test_a_seed_set_whose_labelers_nobody_listed_is_put_to_work(project):
    make_comparison(project)
    plan = seed_set.draw(project, 1)
    del plan.summary["seed_set"]
    plan.save()
    assert route.approve(plan, None).status == Plan.Status.APPROVED


@pytest.mark.parametrize(("price", "votes"), [(99_999, 9), (99_999, 50)])
def test_a_seed_set_that_costs_more_than_can_be_stored_is_refused_in_words(project, price, votes):
    Project.objects.filter(pk=project.pk).update(price_per_judgment=price, votes=votes)
    project.refresh_from_db()
    for number in range(115):
        make_comparison(project, f"{number}")
    with pytest.raises(work.StepRefused, match="more than can be stored"):
        seed_set.draw(project, 115)
    assert not project.plans.exists()


@pytest.mark.parametrize(("n", "gain"), [(300, 0.0723), (1000, 0.0396)])
def test_the_power_is_that_of_a_paired_comparison(n, gain):
    """By simulation: a true gain of that size is found in about four of five."""
    assert power.detectable(n) == pytest.approx(gain, abs=1e-3)
    assert power.needed(power.detectable(n)) in (n, n + 1)
    rng = np.random.default_rng(0)
    up = (power.DIFFERING + gain) / 2
    draws = rng.multinomial(n, [up, power.DIFFERING - up, 1 - power.DIFFERING], size=4000)
    z = (draws[:, 0] - draws[:, 1]) / np.sqrt(np.maximum(1, draws[:, 0] + draws[:, 1]))
    assert (np.abs(z) > 1.96).mean() == pytest.approx(power.POWER, abs=0.05)
