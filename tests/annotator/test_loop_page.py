"""The loop's page: its next step, its policy, its measurements."""

from __future__ import annotations

import re
from decimal import Decimal

import pytest
from django.urls import reverse

from annotator.models import Loop, Plan, Realised
from annotator.pipeline import route
from annotator.readings import loop as readings
from tests.annotator.loop_samples import paid_project
from tests.builders import make_comparison, make_labeler, make_member


@pytest.fixture
def project(db):
    return paid_project()


def test_stopping_is_suggested_by_the_stored_curve():
    curve = [
        {"budget": "10", "predicted": 0.60, "low": 0.5, "high": 0.7},
        {"budget": "20", "predicted": 0.70, "low": 0.6, "high": 0.8},
        {"budget": "30", "predicted": 0.71, "step": {"value": 0.01, "low": -0.02, "high": 0.04}},
        {"budget": "40", "predicted": 0.69, "step": {"value": -0.02, "low": -0.05, "high": 0.01}},
    ]
    plan, price = Plan(summary={"curve": curve}, budget=Decimal(40)), Decimal(5)
    early = readings.worth(plan, Decimal(12), Loop(point_price=price))
    assert early.gain == pytest.approx(0.1) and early.point_cost == pytest.approx(Decimal(1)) and not early.should_stop
    assert early.low is None, "an older plan does not tell"
    late = readings.worth(plan, Decimal(20), Loop(point_price=price))
    assert (late.gain, late.low, late.high) == (0.01, -0.02, 0.04)
    assert late.point_cost == pytest.approx(Decimal(10)) and late.should_stop
    last = readings.worth(plan, Decimal(35), Loop(point_price=price))
    assert last.point_cost is None and last.should_stop and last.left == 5
    assert readings.worth(plan, Decimal(40), Loop(point_price=price)) is None
    assert readings.worth(plan, Decimal(20), Loop()) is None


@pytest.mark.slow
def test_the_page_tells_the_next_step_and_takes_a_policy(project, client):
    client.force_login(make_member(project, "lead"))
    for number in range(5):
        make_comparison(project, f"{number}")
    page = reverse("loop", args=[project.pk])
    assert b"Begin with a seed set" in client.get(page).content
    client.post(reverse("seed_set", args=[project.pk]), {"size": 3, "seed": 0})
    route.run_routes()
    assert b"<b>3</b> comparisons is drawn" in client.get(page).content
    sent = {"seed_percent": "20", "seed_at_least": 50, "refit_after_judgments": "", "replan": "draft"}
    sent |= {"votes_offered": "1, 2", "point_price": "4.5", "cap_0": "40"}
    assert client.post(reverse("loop_settings", args=[project.pk]), sent).status_code == 302
    stored = Loop.objects.get(project=project)
    assert (stored.votes, stored.caps, stored.replan) == ([1, 2], {"people": 0.4}, "draft")
    refused = client.post(reverse("loop_settings", args=[project.pk]), sent | {"votes_offered": "3"})
    assert refused.status_code == 422 and b"whole numbers from 1 to 2" in refused.content


def test_measurements_leave_as_a_table(project, client):
    client.force_login(make_member(project, "viewer"))
    plan = Plan.objects.create(project=project, number=1, strategy="value", budget=9, predicted=0.7, low=0.6, high=0.8)
    Realised.objects.create(plan=plan, judgments=9, labels=5, spent=2, accuracy=0.71, low=0.6, high=0.8)
    content = client.get(reverse("loop_sheet", args=[project.pk])).content.decode()
    assert content.splitlines()[1].startswith("1,") and ",0.7,0.6,0.8,0.71,0.6,0.8,9,5,2" in content
    assert b"0.71 [0.60, 0.80]" in client.get(reverse("loop", args=[project.pk])).content


def test_what_can_be_capped_is_what_a_plan_can_use(project, client):
    client.force_login(make_member(project, "lead"))
    make_labeler(project, "judge")
    make_labeler(project, "off")
    project.labelers.filter(name="off").update(enabled=False)
    make_labeler(project, "own", kind="proxy")
    Loop.objects.create(project=project, votes=[1, 2], caps={"gone": 0.2})
    page = client.get(reverse("loop", args=[project.pk])).content.decode()
    capped = re.findall(r'<label for="id_cap_\d+">(.*?): at most', page)
    assert capped == ["people", "people, 1 vote", "judge", "gone"]
