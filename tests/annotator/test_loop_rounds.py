"""One round of the loop: measured, and revised where something is new."""

from __future__ import annotations

from decimal import Decimal

import pytest
from django.utils.timezone import now

from annotator.models import FeatureSet, Job, Loop, PerformanceModel, Plan, Realised
from annotator.pipeline import basis, ledger, loop, realised, route
from tests.annotator.loop_samples import paid_project, with_features


@pytest.fixture
def project(db):
    return paid_project()


WORDS = "labelers cost %s%% of what the plan counted for them"


def measures(monkeypatch, *, paid: str, labelers: tuple[dict[str, object], ...] = ()) -> None:
    """Every measurement finds these from now on."""
    detail = {"labelers": list(labelers), "spending": {"planned": "1", "paid": paid}}
    detail["departs"] = [WORDS % f"{float(paid):.0%}".rstrip("%")]

    def measured(plan, **named):
        return Realised.objects.create(plan=plan, judgments=1, labels=1, spent=0, detail=detail)

    monkeypatch.setattr(realised, "measure", measured)


def rounds(plan, times=1):
    for _ in range(times):
        loop.request_measure(plan)
        route.run_routes()


@pytest.mark.slow
def test_a_round_revises_the_plan_as_the_lead_wants_it(project, monkeypatch):
    with_features(project)
    plan = route.approve(route.make_plan(project, Decimal("30.00"), strategy="random"), None)
    measures(monkeypatch, paid="1.5")
    Loop.objects.create(project=project, replan=Loop.Replan.APPROVE)
    Job.objects.all().delete()
    loop.request_measure(plan)
    route.run_routes()
    made = project.plans.latest("number")
    assert made.revises == plan and made.status == Plan.Status.APPROVED and made.occasion == WORDS % 150
    assert basis.spent(plan) + ledger.account_of(project).reserved <= plan.budget
    before = project.plans.count()
    measures(monkeypatch, paid="1.63")
    loop.request_measure(plan)
    route.run_routes()
    assert project.plans.count() == before, "not again for the same reason"


def at_work(project, **fields):
    return Plan.objects.create(project=project, number=1, strategy="value", budget=9, status="approved",
                               approved_at=now(), **fields)  # fmt: skip


def trained(project, version=1):
    stored = FeatureSet.objects.get_or_create(project=project, version=1, defaults={"names": [], "digest": "0" * 64})[0]
    return PerformanceModel.objects.create(project=project, version=version, kind="mean", feature_set=stored)


@pytest.mark.slow
def test_a_plan_is_revised_once_for_what_stays_as_it_is_however_its_figure_moves(project, monkeypatch):
    with_features(project, 10)
    plan = route.approve(route.make_plan(project, Decimal(5), strategy="random"), None)
    Loop.objects.create(project=project, replan=Loop.Replan.DRAFT)
    Job.objects.all().delete()
    for paid in ("1.2", "1.3", "1.4"):
        measures(monkeypatch, paid=paid)
        rounds(plan)
    (draft,) = plan.revisions.all()
    assert draft.summary["because"] == ["money"] and draft.occasion == WORDS % 120
    row = {"source": "judge", "value": 0.6, "high": 0.7, "promised": 0.9}
    measures(monkeypatch, paid="1.5", labelers=(row,))
    rounds(plan, 2)
    assert [each.summary["because"] for each in plan.revisions.order_by("pk")] == [["money"], ["labeler:judge"]]


@pytest.mark.parametrize("paid", ["0", "0.02", "0.49", "1", "1.1"])
def test_paying_less_than_the_highest_price_is_no_reason_to_revise(paid):
    assert loop.departures({"labelers": [], "spending": {"planned": "1", "paid": paid}}) == {}


def test_a_model_that_was_there_when_the_plan_was_made_is_no_news(project):
    detail = {"labelers": [], "spending": {"planned": "0", "paid": "0"}}
    trained(project)
    plan = at_work(project)  # made without a model: what there was could not be used
    assert loop.reasons_for(plan, Loop(project=project), detail) == {}
    trained(project, 2)
    assert loop.reasons_for(plan, Loop(project=project), detail) == {"model:2": "performance model 2 was trained"}
    Plan.objects.create(project=project, number=2, strategy="value", budget=9, revises=plan,
                        summary={"because": ["model:2"]})  # fmt: skip
    assert loop.reasons_for(plan, Loop(project=project), detail) == {}
