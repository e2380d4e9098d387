"""What is not put to work: a second revision of one plan, and what could be spent twice."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import Job, Labeler, LabelerVersion, Plan
from annotator.pipeline import ledger, loop, route, work
from tests.annotator.loop_samples import paid_project
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_plan


@pytest.fixture
def project(db):
    return paid_project()


def draft(project, count=2, **fields):
    """A draft that sends `count` comparisons to people."""
    plan = make_plan(project, {make_comparison(project): None for _each in range(count)}, status="draft")
    Plan.objects.filter(pk=plan.pk).update(**fields)
    return plan


def test_of_two_revisions_of_a_plan_only_one_is_put_to_work(project):
    first = route.approve(draft(project), None)
    second, third = draft(project, revises=first), draft(project, revises=first)
    route.approve(second, None)
    with pytest.raises(work.StepRefused, match="Make it again"):
        route.approve(third, None)
    assert set(project.plans.filter(status="approved")) == {second}


def test_a_plan_from_a_seed_set_is_put_to_work_whatever_was_at_work_before(project):
    seed = draft(project, is_seed_set=True, status="superseded")
    route.approve(draft(project), None)
    assert route.approve(draft(project, revises=seed), None).status == Plan.Status.APPROVED


def test_of_two_plans_from_one_seed_set_only_one_is_put_to_work(project):
    seed = draft(project, is_seed_set=True, status="superseded")
    first, second = draft(project, revises=seed), draft(project, revises=seed)
    route.approve(first, None)
    with pytest.raises(work.StepRefused, match="Make it again"):
        route.approve(second, None)


def test_only_the_plan_at_work_is_revised(project, client):
    client.force_login(make_member(project, "lead"))
    first = route.approve(draft(project), None)
    other = draft(project)
    revisions = Job.objects.filter(project=project, key__startswith="revise:")
    page = client.post(reverse("plan_revise", args=[project.pk, other.number]), follow=True)
    assert b"is not at work" in page.content and not revisions.exists()
    client.post(reverse("plan_revise", args=[project.pk, first.number]))
    assert revisions.count() == 1


def test_a_seed_set_is_not_restored(project):
    seed = draft(project, is_seed_set=True, status="superseded")
    seed.refresh_from_db()
    with pytest.raises(work.StepRefused, match="is a seed set"):
        loop.restore(seed)
    assert project.plans.count() == 1


def test_a_restored_plan_keeps_what_is_judged_and_no_more(project):
    first = draft(project, count=3, status="superseded")
    first.routes.update(is_kept=True)
    judged = first.routes.first()
    make_judgment(judged.comparison, make_person(project), 1, plan=first)
    again = loop.restore(first)
    assert list(again.routes.filter(is_kept=True).values_list("comparison", flat=True)) == [judged.comparison_id]
    assert again.routes.count() == 3


def test_a_plan_with_a_labeler_that_is_switched_off_waits_until_nothing_is_left_to_ask_it(project):
    judge = make_labeler(project, "judge", kind="llm_judge")
    plan = make_plan(project, {make_comparison(project): judge}, status="draft")
    plan.routes.update(price=1)
    LabelerVersion.objects.update(accepted_at=now())
    Labeler.objects.filter(name="judge").update(enabled=False)
    with pytest.raises(work.StepRefused, match="switched off: judge"):
        route.approve(plan, None)
    assert not ledger.account_of(project).reserved
    make_judgment(plan.routes.get().comparison, judge, p_b=0.8)
    assert route.approve(plan, None).status == Plan.Status.APPROVED
