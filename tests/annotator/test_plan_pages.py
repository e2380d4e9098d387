"""Budget in, plan out: what the lead asks for, reads and approves."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse

from annotator import readings
from annotator.models import Account, FeatureSet, Job, PerformanceModel, Plan
from annotator.pipeline import ledger, moved
from tests.builders import make_comparison, make_labeler, make_member, make_plan, make_project
from tests.plan_samples import METRICS, SUMMARY


@pytest.fixture
def project(db):
    return make_project(price_per_judgment=Decimal("0.5"))


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


def drafted(project, **changes: Any) -> Plan:
    """A plan as the planner leaves it; `changes` go into its summary."""
    judge = make_labeler(project, "judge-large")
    plan = make_plan(project, {make_comparison(project): None, make_comparison(project): judge}, status="draft")
    Plan.objects.filter(pk=plan.pk).update(
        summary={**SUMMARY, **changes}, budget=15, cost="13.34", cost_to_pay="9", predicted=0.71, low=0.69, high=0.73
    )
    plan.refresh_from_db()
    return plan


def two(project) -> tuple[Plan, Plan]:
    """Two drafts over the same comparisons: the later one sends both to people."""
    first = drafted(project)
    second = make_plan(project, {route.comparison: None for route in first.routes.order_by("pk")}, status="draft")
    Plan.objects.filter(pk=second.pk).update(summary=SUMMARY, predicted=0.71, low=0.69, high=0.73)
    second.refresh_from_db()
    return first, second


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("&nbsp;", " ").split())


def sent(**changes: Any) -> dict[str, Any]:
    return {"budget": "15.00", "cap": "20.00", "strategy": "auto", "control": "5", "seed": "3", **changes}


def test_a_budget_asks_for_one_plan_however_often_it_is_sent(project, lead, client):
    for _ in range(2):
        response = client.post(reverse("plans", args=[project.pk]), sent(control="10"))
    job = Job.objects.get(project=project, kind="route")
    assert response.headers["Location"] == reverse("job", args=[project.pk, job.pk])
    assert job.parameters == {"budget": "15.00", "strategy": "auto", "seed": 3}
    assert job.requested_by == lead
    project.refresh_from_db()
    assert project.control_share == 0.1
    assert Account.objects.get(project=project).cap == 20


@pytest.mark.parametrize(
    "changes", [{"budget": "-1"}, {"budget": "much"}, {"strategy": "magic"}, {"control": "80"}, {"cap": "5"}]
)
def test_a_budget_that_makes_no_sense_asks_for_nothing(project, lead, client, changes):
    ledger.set_cap(project, Decimal(30))
    ledger.reserve(project, "a test", Decimal(10), source="people")
    response = client.post(reverse("plans", args=[project.pk]), sent(**changes))
    assert response.status_code == 422
    assert not Job.objects.exists()
    assert Account.objects.get(project=project).cap == 30


def test_the_plan_says_in_one_sentence_who_judges_and_what_it_is_worth(project, lead, client):
    said = text(client.get(reverse("plan", args=[project.pk, drafted(project).number])))
    assert "15.00 USD: 22% people , 78% judge-large ; predicted accuracy 0.71 ± 0.02" in said
    assert "all AI 0.66 for 3.00 USD, all people 0.70 for 50.00 USD" in said
    assert "responses 40% alike 14" in said
    assert "Approving sets 9.00 USD aside" in said
    assert "has no skill" not in said


def test_every_number_of_the_chart_is_in_the_table_beside_it(project, lead, client):
    response = client.get(reverse("plan", args=[project.pk, drafted(project).number]))
    said = text(response)
    for row in SUMMARY["curve"]:
        assert f"{row['budget']}.00 {row['people_share']:.0%} {row['predicted']:.2f}" in said
    assert b'<svg class="chart big"' in response.content and b"style=" not in response.content


def test_without_skill_the_page_says_so_first_and_offers_what_is_known_to_work(project, lead, client):
    plan = drafted(project, skill=False, skill_text="Unseen mixtures are ranked at 0.04 [-0.11, 0.19].")
    response = client.get(reverse("plan", args=[project.pk, plan.number]))
    main = text(response).split("Settings", 1)[-1]
    assert main.index("The performance model has no skill here.") < main.index("15.00 USD:")
    assert "0.04 [-0.11, 0.19]" in main
    assert "Use AI for everything" in main


def test_a_plan_without_a_prediction_promises_nothing(project, lead, client):
    plan = drafted(project, skill=False, curve=[], baselines=[])
    Plan.objects.filter(pk=plan.pk).update(predicted=None, low=None, high=None)
    response = client.get(reverse("plan", args=[project.pk, plan.number]))
    assert "no prediction" in text(response) and b"chart big" not in response.content


def test_what_the_step_refuses_is_told_and_the_plan_stays_a_draft(project, lead, client):
    ledger.set_cap(project, Decimal("0.01"))
    plan = drafted(project)
    response = client.post(reverse("plan_approve", args=[project.pk, plan.number]), follow=True)
    plan.refresh_from_db()
    assert plan.status == "draft"
    assert 'class="message error"' in response.content.decode()


def test_only_a_lead_is_offered_to_approve(project, client):
    client.force_login(make_member(project, "viewer"))
    response = client.get(reverse("plan", args=[project.pk, drafted(project).number]))
    assert response.status_code == 200
    assert b"Approve plan" not in response.content and b"Make a plan" not in response.content


def test_training_is_asked_for_once_and_its_refusal_is_shown(project, lead, client):
    for _ in range(2):
        client.post(reverse("train", args=[project.pk]))
    job = Job.objects.get(kind="retrain")
    Job.objects.filter(pk=job.pk).update(
        state="failed", message="Only 12 comparisons were judged by both: 50 are needed."
    )
    assert "Only 12 comparisons were judged by both" in text(client.get(reverse("plans", args=[project.pk])))


def test_the_plans_are_compared_and_the_model_named(project, lead, client):
    features = FeatureSet.objects.create(project=project, version=1, state="ready", names=["x"], digest="x")
    PerformanceModel.objects.create(
        project=project, version=3, kind="ridge", metrics=METRICS, feature_set=features, artifact="x"
    )
    plan = drafted(project)
    said = text(client.get(reverse("plans", args=[project.pk])))
    assert f"Plan {plan.number} Draft random mixture 15.00 13.34 0.71 [0.69, 0.73] 22% people, 78% judge-large" in said
    assert "Version 3 (linear (ridge))" in said
    assert "It has skill" in said
    assert "200 mixtures of 500 comparisons (90 prompts) that people judged; sources: people, judge-large." in said
    assert "Rank correlation on unseen mixtures: 0.51 [0.40, 0.60]. Noise between seeds allows 0.80 at most." in said
    assert "linear (ridge) chosen 0.0100 ± 0.0010 0.58" in said


@pytest.mark.slow
def test_how_a_plan_chose_is_told_in_words_everywhere(project, lead, client):
    one, other = two(project)
    Plan.objects.update(strategy="hyper_top_k")
    compare = f"{reverse('plans_compare', args=[project.pk])}?before={one.number}&after={other.number}"
    routed = one.routes.first().comparison_id
    for page in (
        reverse("plan", args=[project.pk, one.number]),
        reverse("plans", args=[project.pk]),
        compare,
        reverse("comparison", args=[project.pk, routed]),
    ):
        said = client.get(page).content.decode()
        shown = re.sub(r"<[^>]*>", "", re.sub(r"<option.*?</option>", "", said))
        assert "the paper&#x27;s gain of each comparison" in shown and "hyper_top_k" not in shown


def test_two_plans_as_a_file_say_what_the_page_says(project, lead, client):
    one, other = two(project)
    page = reverse("plans_compare_sheet", args=[project.pk])
    lines = client.get(page, {"before": one.number, "after": other.number}).content.decode().splitlines()
    assert lines[0] == "about,source,measure,before,after"
    assert "plan,,predicted,0.71,0.71" in lines and "share,people,count,22,22" in lines
    assert "moved,judge-large → people,comparisons,,1" in lines
    assert client.get(page, {"before": 98, "after": 99}).content.decode().splitlines() == lines[:1]


def test_what_moved_is_counted_once_and_read_afterwards(project, lead, client, django_assert_num_queries):
    one, other = two(project)
    counted = readings.plan_review.moved(one, other)
    moved.keep(other)
    other.refresh_from_db()
    with django_assert_num_queries(0):
        assert readings.plan_review.moved(one, other) == counted and counted
    third = make_plan(project, {make_comparison(project): None})
    assert readings.plan_review.moved(third, other) != counted  # nothing was kept of these two


# Charts and the reading of a plan, without a database


def test_an_uneven_interval_is_told_by_its_ends():
    assert readings.plan.interval(0.71, 0.69, 0.73) == "±\u00a00.02"
    assert readings.plan.interval(0.71, 0.60, 0.73) == "[0.60, 0.73]"


def test_the_row_of_the_curve_at_the_budget_is_marked():
    plan = Plan(summary=SUMMARY, budget=Decimal(20))
    assert [row.is_here for row in readings.plan.read(plan).curve] == [False, True, False]


def test_a_plan_is_held_against_the_best_labeler_and_against_people():
    rows = [{"name": "all random", "predicted": 0.5, "cost": 0}, *SUMMARY["baselines"]]
    told = readings.plan.read(Plan(summary={"baselines": rows}, budget=Decimal(1)))
    assert [row.name for row in told.headline] == ["all AI", "all people"]
    assert readings.plan.read(Plan(summary={}, budget=Decimal(1))).headline == []


def test_people_come_first_and_shares_add_up_to_one():
    shares = readings.plan.read(Plan(summary=SUMMARY, budget=Decimal(15))).shares
    assert [share.source for share in shares] == ["people", "judge-large"]
    assert sum(share.of_count for share in shares) == pytest.approx(1)
    assert sum(share.of_cost for share in shares) == pytest.approx(1)


def test_a_higher_value_is_drawn_higher_and_a_larger_budget_further_right():
    points = [readings.charts.CurvePoint(1, 0.6, 0.5, 0.7), readings.charts.CurvePoint(3, 0.8, 0.7, 0.9)]
    drawn = readings.charts.curve(points, here=points[0], references=[("all AI", 0.65)], title="A title")
    path = re.search(r'class="curve" d="M([\d.]+) ([\d.]+) L([\d.]+) ([\d.]+)"', drawn)
    left, low, right, high = map(float, path.groups())
    assert left < right and high < low
    assert 'aria-label="A title"' in drawn and "all AI" in drawn and "style" not in drawn


def test_names_in_a_chart_are_escaped():
    part = readings.charts.Part("people", 1.0, "<script>alert(1)</script>")
    assert "<script>" not in readings.charts.stacked_bar([part], height=30)


@pytest.mark.parametrize("values", [(0.5, 0.5, 0.5), (0.0, 1.0, 0.3), (0.701, 0.702, 0.703)])
def test_any_range_of_values_can_be_drawn(values):
    points = [readings.charts.CurvePoint(i, value, value, value) for i, value in enumerate(values)]
    assert "nan" not in readings.charts.curve(points, here=None, references=[], title="")
