"""What the tick asks for by itself: refits and measurements, each once."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.utils.timezone import now

from annotator.models import FeatureSet, Job, Judgment, Loop, PerformanceModel
from annotator.pipeline import grounds, loop, route
from tests.annotator.loop_samples import paid_project, with_features
from tests.builders import make_comparison, make_judgment, make_person


@pytest.fixture
def project(db):
    return paid_project()


def judged_now(project, count):
    person = make_person(project)
    for number in range(count):
        make_judgment(make_comparison(project, f"new {number}"), person, level=1)


def test_the_tick_knows_what_a_model_needs():
    assert loop.ENOUGH_JUDGED == grounds.ENOUGH_JUDGED


def test_a_refit_is_asked_for_once_after_enough_new_judgments(project, monkeypatch):
    monkeypatch.setattr(loop, "ENOUGH_JUDGED", 3)
    Loop.objects.create(project=project, refit_after_judgments=5)
    judged_now(project, 4)
    assert loop.request_due() == 0
    judged_now(project, 1)
    assert loop.request_due() == 1
    assert loop.request_due() == 0, "one waits"
    training = Job.objects.get(kind=Job.Kind.RETRAIN)
    Job.objects.filter(pk=training.pk).update(state="running", started_at=now(), lease_until=now() + timedelta(hours=1))
    assert loop.request_due() == 0, "one runs"
    Job.objects.filter(pk=training.pk).update(state="failed", ended_at=now())
    assert loop.request_due() == 0, "nothing is new since it began"
    judged_now(project, 5)
    assert loop.request_due() == 1


def test_a_refit_by_the_clock_needs_something_new(project, monkeypatch):
    monkeypatch.setattr(loop, "ENOUGH_JUDGED", 1)
    Loop.objects.create(project=project, refit_every_hours=2)
    judged_now(project, 1)
    Job.objects.create(project=project, kind="retrain", state="done", started_at=now(), ended_at=now())
    Judgment.objects.update(created_at=now() - timedelta(hours=3))
    Job.objects.update(started_at=now() - timedelta(hours=2, minutes=1))
    assert loop.request_due() == 0, "all is older than the last training"
    judged_now(project, 1)
    assert loop.request_due() == 1


def test_without_a_schedule_nothing_happens_by_itself(project):
    Loop.objects.create(project=project)
    judged_now(project, 3)
    assert loop.request_due() == 0 and not Job.objects.exists()


@pytest.mark.slow
def test_a_plan_at_work_is_measured_once_after_a_training(project):
    made = with_features(project, 10)
    plan = route.approve(route.make_plan(project, Decimal(5), strategy="all_ai"), None)
    Job.objects.all().delete()
    assert loop.request_due() == 0
    features_ = FeatureSet.objects.get(project=project)
    PerformanceModel.objects.create(project=project, version=1, kind="mean", feature_set=features_)
    assert loop.request_due() == 1 and loop.request_due() == 0
    assert Job.objects.get(kind="route").parameters == {"measure": plan.pk, "only": False}
    assert len(made) == 10
