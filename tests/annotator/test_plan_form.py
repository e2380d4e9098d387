"""Which strategies a lead can ask for, and what a plan takes over from the one at work."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from annotator.forms.plans import PlanForm
from annotator.models import FeatureSet, Job, Loop, PerformanceModel, Plan
from tests.builders import make_comparison, make_member, make_plan, make_project

PAPER = {"hyper_simulated", "hyper_top_k"}


@pytest.fixture
def project(db):
    return make_project(price_per_judgment=Decimal("0.5"))


def offered(project, **initial: Any) -> dict[str, str]:
    return dict(PlanForm(None, project, None, initial).fields["strategy"].choices)


def trained(project, version, **metrics):
    stored = FeatureSet.objects.get_or_create(project=project, version=1, defaults={"names": [], "digest": "0" * 64})[0]
    fields = {"kind": "mean", "feature_set": stored, "metrics": metrics}
    return PerformanceModel.objects.create(project=project, version=version, **fields)


def test_the_papers_strategies_are_offered_where_the_model_in_use_has_the_papers(project):
    assert not PAPER & set(offered(project))
    without = trained(project, 1)
    assert not PAPER & set(offered(project))
    trained(project, 2, paper={"mixtures": 9})
    assert set(offered(project)) >= PAPER
    Loop.objects.create(project=project, performance_model=without)
    assert not PAPER & set(offered(project)), "the lead restored a version without it"
    form = PlanForm(None, project, None, {"strategy": "hyper_top_k"})
    assert form.initial["strategy"] == "auto", "a plan of the paper's is made again by what there is"


def test_every_strategy_has_words_and_the_cautious_one_is_there(project):
    trained(project, 1, paper={"mixtures": 9})
    named = offered(project)
    assert "surely" in named["value_lower"]
    assert all(words != name.replace("_", " ") for name, words in named.items())


def test_a_plan_is_made_from_what_the_one_at_work_had_judged(project, client):
    client.force_login(make_member(project, "lead"))
    sent = {"budget": "15.00", "cap": "20.00", "strategy": "auto", "control": "5", "seed": "3"}
    before = make_plan(project, {make_comparison(project): None})
    client.post(reverse("plans", args=[project.pk]), sent)
    job = Job.objects.get(project=project, kind="route")
    assert job.parameters == {"budget": "15.00", "strategy": "auto", "seed": 3, "revises": before.number}
    assert b"what the plan at work has spent is part of it" in client.get(reverse("plans", args=[project.pk])).content


def test_a_seed_set_at_work_is_no_plan_to_revise(project, client):
    client.force_login(make_member(project, "lead"))
    Plan.objects.filter(pk=make_plan(project, {make_comparison(project): None}).pk).update(is_seed_set=True)
    client.post(
        reverse("plans", args=[project.pk]),
        {"budget": "15.00", "cap": "20.00", "strategy": "auto", "control": "5", "seed": "3"},
    )
    assert "revises" not in Job.objects.get(project=project, kind="route").parameters


def test_a_plan_that_costs_less_than_its_budget_says_so(project, client):
    client.force_login(make_member(project, "lead"))
    plan = make_plan(project, {make_comparison(project): None}, status="draft")
    for cost, is_said in (("3.00", True), ("20.00", False)):
        Plan.objects.filter(pk=plan.pk).update(budget=20, cost=cost)
        page = client.get(reverse("plan", args=[project.pk, plan.number])).content.decode()
        assert ("the rest of the budget stays free" in page) == is_said
