"""What a plan has realised, and what left it."""

from __future__ import annotations

from decimal import Decimal

import pytest

from annotator.models import Judgment, Plan, Route
from annotator.pipeline import aggregate, realised, route
from tests.annotator.loop_samples import paid_project, with_features
from tests.builders import make_judgment, make_person


@pytest.fixture
def project(db):
    return paid_project()


@pytest.mark.slow
def test_what_is_realised_is_measured_on_what_chance_sent_to_people(project):
    made = with_features(project, 120, 40, judge_right=1.0)
    person = make_person(project)
    for comparison, level in made[:60]:
        make_judgment(comparison, person, level)
    aggregate.aggregate()
    plan = route.approve(route.make_plan(project, Decimal("60.00"), strategy="all_ai"), None)
    route.run_routes()
    found = realised.measure(plan)
    assert found.detail["tested"] == 60 and found.detail["prompts"] == 40
    assert found.accuracy > 0.75 and found.low < found.accuracy < found.high
    assert found.labels >= 110 and found.judgments == 60
    Route.objects.filter(plan=plan, comparison=made[0][0]).update(source="people", labeler=None, is_control=False)
    Plan.objects.filter(pk=plan.pk).update(strategy="value")
    Judgment.objects.filter(comparison=made[0][0], rater=person).update(plan=plan)
    assert realised.measure(plan).detail["tested"] == 59, "a ranking sent that one to people"


@pytest.mark.slow
def test_a_labeler_that_is_worse_than_promised_leaves_the_plan(project):
    made = with_features(project, 120, 60, judge_right=0.55)
    plan = route.make_plan(project, Decimal("80.00"), strategy="random")
    plan.summary["promised"] = [{"source": "judge", "accuracy": 0.9, "comparisons": 100}]
    plan.save()
    route.approve(plan, None)
    person, level = make_person(project), {comparison.pk: level for comparison, level in made}
    for sent in plan.routes.filter(source="people"):
        make_judgment(sent.comparison, person, level[sent.comparison_id], plan=plan)
    found = realised.measure(plan)
    (row,) = found.detail["labelers"]
    assert 0.4 < row["value"] < 0.7 and row["high"] < 0.9
    assert found.detail["departs"] == [f"judge is right in {row['value']:.0%} of cases, not in 90%"]


@pytest.mark.slow
def test_too_few_labels_give_no_figure_and_say_why(project):
    with_features(project, 20)
    plan = route.approve(route.make_plan(project, Decimal("30.00"), strategy="all_ai"), None)
    route.run_routes()
    found = realised.measure(plan)
    assert found.accuracy is None and "it takes 50" in found.detail["text"]
