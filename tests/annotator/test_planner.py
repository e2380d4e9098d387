"""The budget planner: what the stored curve says at each budget, with and without a script; a plan under review."""

from __future__ import annotations

import csv
import re
from decimal import Decimal
from typing import Any

import pytest
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import Plan, Realised, Route
from annotator.readings import composition, plan_review, planner
from annotator.views.sheets import sheet
from tests.builders import make_comparison, make_labeler, make_member, make_plan, make_project
from tests.plan_samples import SUMMARY

FORECAST: dict[str, Any] = {"predicted": 0.72, "low": 0.70, "high": 0.74}


@pytest.fixture
def project(db):
    return make_project(price_per_judgment=Decimal("0.5"))


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


def planned(project, budget="20", **changes: Any) -> Plan:
    plan = make_plan(project, {make_comparison(project): None}, status="draft")
    Plan.objects.filter(pk=plan.pk).update(
        **{"summary": {**SUMMARY, **changes}, "budget": budget, "cost": "13.34", **FORECAST}
    )
    plan.refresh_from_db()
    return plan


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("&nbsp;", " ").split())


def shown(response) -> str:
    """The headline of the page as a browser without a script shows it."""
    heading = re.search(r"<h1.*?</h1>", response.content.decode(), re.DOTALL).group()
    return " ".join(re.sub(r"<[^>]*>", " ", re.sub(r"<span [^>]*hidden.*?\.</span>", "", heading, flags=re.S)).split())


# What the curve says


def test_the_plans_own_budget_is_among_what_can_be_chosen():
    plan = Plan(summary=SUMMARY, budget=Decimal(20), **FORECAST)
    found = planner.stops(plan)
    assert [float(stop.budget) for stop in found] == [5, 15, 20, 50]
    assert [stop.is_plan for stop in found] == [False, False, True, False]
    assert planner.chosen(found, None) == 2


@pytest.mark.parametrize(("budget", "index"), [("0", 0), ("5", 0), ("14.99", 0), ("15", 1), ("49", 2), ("9999", 3)])
def test_a_budget_shows_what_it_pays_for_and_never_more(budget, index):
    found = planner.stops(Plan(summary=SUMMARY, budget=Decimal(20), **FORECAST))
    assert planner.chosen(found, Decimal(budget)) == index


def test_a_curve_of_an_earlier_release_has_no_composition_and_is_told_without():
    old = [{key: row[key] for key in ("budget", "people_share", "predicted", "low", "high", "random")}
           for row in SUMMARY["curve"]]  # fmt: skip
    found = planner.stops(Plan(summary={"curve": old, "skill": True}, budget=Decimal(15)))
    assert [stop.portions for stop in found] == [[], [], []]
    assert [stop.people_share for stop in found] == [0.05, 0.22, 1.0]
    assert found[1].gain.value == pytest.approx(0.03) and found[1].gain.low is None


def test_enough_is_where_more_money_adds_nothing():
    found = planner.stops(Plan(summary=SUMMARY, budget=Decimal(15), predicted=0.71, low=0.69, high=0.73))
    assert float(planner.enough(found).budget) == 15
    rising = [{**row, "predicted": 0.6 + 0.01 * i} for i, row in enumerate(SUMMARY["curve"])]
    assert planner.enough(planner.stops(Plan(summary={"curve": rising}, budget=Decimal(15)))) is None


def test_areas_fill_the_whole_height_and_mark_one_budget():
    layers = [composition.Layer("people", "people", [0.25, 1.0]), composition.Layer("judge", "<judge>", [0.75, 0.0])]
    drawn = composition.areas([10, 20], layers, shown=1, title="Who judges")
    tops = [re.findall(r"[\d.]+ ([\d.]+)", path) for path in re.findall(r'd="M([^"]+)Z"', drawn)]
    assert min(float(y) for y in tops[1]) == composition.TOP
    assert 'data-stop="0" hidden' in drawn and 'data-stop="1" x1' in drawn
    assert "<judge>" not in drawn and "style" not in drawn
    assert ">people</text>" in drawn
    assert composition.areas([10], layers, shown=0, title="") == ""


def test_words_stand_only_where_their_area_has_room():
    layers = [
        composition.Layer("judge", "judge-small", [1.0, 0.0, 0.0]),
        composition.Layer("people", "people", [0, 1, 1]),
    ]
    drawn = composition.areas([1, 3, 100], layers, shown=0, title="")
    assert "judge-small" not in drawn and ">people</text>" in drawn


# The page


def test_without_a_script_a_budget_is_chosen_by_its_address(project, lead, client):
    planned(project)
    address = reverse("plans", args=[project.pk])
    assert shown(client.get(address)).startswith("20.00 USD: 22% people, 78% judge-large; predicted accuracy 0.72")
    cheap = client.get(address, {"budget": "5.00"})
    assert shown(cheap).startswith("5.00 USD: 3% people, 2% people, 1 vote, 95% judge-large")
    assert b'<option value="5.00" selected>' in cheap.content
    assert b'name="budget" value="5.00"' in cheap.content


@pytest.mark.parametrize("asked", ["", "much", "-5", "NaN", "1e99999", "9" * 400])
def test_a_budget_that_is_none_shows_the_plans_own(project, lead, client, asked):
    planned(project)
    response = client.get(reverse("plans", args=[project.pk]), {"budget": asked})
    assert response.status_code == 200 and shown(response).startswith("20.00 USD:")


def test_every_choice_says_in_words_what_the_slider_reads_out(project, lead, client):
    planned(project)
    response = client.get(reverse("plans", args=[project.pk]))
    options = re.findall(r"<option value=\"[\d.]+\"[^>]*>(.*?)</option>", response.content.decode(), re.DOTALL)
    assert len(options) == 4
    assert "15.00 USD: 22% people, 78% judge-large; predicted 0.71 ±\u00a00.02" in [
        " ".join(each.split()).replace("± ", "±\u00a0") for each in options
    ]
    assert response.content.count(b"data-slider hidden") == 1


def test_the_page_has_few_fields_and_no_inline_script_or_style(project, lead, client):
    planned(project)
    page = client.get(reverse("plans", args=[project.pk])).content.decode()
    plan_form = re.search(r"<form[^>]*data-make-plan.*?</form>", page, re.DOTALL).group()
    assert len(re.findall(r"<(?:select|input)(?![^>]*hidden)", plan_form)) == 5
    assert " style=" not in page and not re.search(r"<script(?![^>]*src=)", page) and " onclick" not in page


def test_a_gain_that_may_be_nothing_is_not_called_a_gain(project, lead, client):
    planned(project, gain={"value": 0.01, "low": -0.01, "high": 0.03})
    said = text(client.get(reverse("plans", args=[project.pk])))
    assert "Not clearly apart from a random mixture at the same budget: +0.01 [−0.01, +0.03]." in said


def test_without_skill_the_first_line_says_so(project, lead, client):
    planned(project, skill=False, skill_text="Ranks unseen mixtures at 0.04.", curve=[], gain=None)
    page = client.get(reverse("plans", args=[project.pk]))
    main = text(page).split("Planner", 1)[-1]
    assert main.index("has no skill here. Ranks unseen mixtures at 0.04.") < main.index("waits for approval")
    assert b"what-if.js" not in page.content


def test_the_planner_asks_the_database_as_often_for_one_plan_as_for_many(project, lead, client):
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    counts = []
    client.get(reverse("plans", args=[project.pk]))  # opens the account
    for _ in range(2):
        planned(project)
        with CaptureQueriesContext(connection) as queries:
            client.get(reverse("plans", args=[project.pk]))
        counts.append(len(queries))
    assert counts[0] == counts[1]


# Review


def test_a_reason_shows_examples_that_can_be_opened(project, lead, client):
    comparison = make_comparison(project)
    plan = planned(project, samples={"responses 40% alike": [comparison.pk, 10**9]})
    page = client.get(reverse("plan", args=[project.pk, plan.number])).content.decode()
    assert f'href="{reverse("comparison", args=[project.pk, comparison.pk])}#why"' in page


def two_plans(project) -> tuple[Plan, Plan]:
    """The second moves one comparison from people to the judge, keeps one, drops one and adds one."""
    judge = make_labeler(project, "judge-large")
    moved, kept, dropped, added = (make_comparison(project) for _ in range(4))
    before = make_plan(project, {moved: None, kept: judge, dropped: None}, status="superseded")
    Plan.objects.filter(pk=before.pk).update(approved_at=now())
    return before, make_plan(project, {moved: judge, kept: judge, added: None}, status="draft")


def test_what_moved_since_the_plan_before_is_counted(project):
    before, after = two_plans(project)
    assert plan_review.former(after) == before
    found = {(row.before, row.after): row.count for row in plan_review.moved(before, after)}
    assert found == {
        ("people", "judge-large"): 1,
        ("judge-large", "judge-large"): 1,
        ("people", ""): 1,
        ("", "people"): 1,
    }


def test_a_revision_is_held_against_what_it_revises(project):
    first, second = two_plans(project)
    third = make_plan(project, {}, status="draft")
    assert plan_review.former(third) == first
    third.revises = second
    assert plan_review.former(third) == second
    assert plan_review.former(first) is None


def test_two_plans_stand_side_by_side_with_what_was_reached(project, lead, client):
    before, after = two_plans(project)
    Plan.objects.filter(pk=before.pk).update(summary=SUMMARY, **FORECAST)
    Realised.objects.create(plan=before, judgments=40, labels=40, spent=8, accuracy=0.69, low=0.66, high=0.72)
    address = reverse("plans_compare", args=[project.pk])
    said = text(client.get(address, {"before": before.number, "after": after.number}))
    assert "Reached so far 0.69 [0.66, 0.72] (40 judgments) –" in said
    assert "people 22 · 22% · 11.00 –" in said and "people judge-large 1" in said
    assert said == text(client.get(address))  # the newest and what it is held against
    assert client.get(address, {"before": "no", "after": "77"}).status_code == 200


def test_no_plan_of_another_project_can_be_compared(project, lead, client):
    before, _after = two_plans(project)
    foreign = make_plan(make_project(name="Foreign"), {}, status="draft")
    said = text(client.get(reverse("plans_compare", args=[project.pk]),
                           {"before": before.number, "after": foreign.number}))  # fmt: skip
    assert "Promised and reached" not in said


@pytest.mark.parametrize("name", plan_review.SHEETS)
def test_every_table_is_a_file(project, lead, client, name):
    _before, after = two_plans(project)
    Plan.objects.filter(pk=after.pk).update(summary=SUMMARY, **FORECAST)
    response = client.get(reverse("plan_sheet", args=[project.pk, after.number, name]))
    rows = list(csv.reader(response.content.decode().splitlines()))
    assert response["Content-Type"].startswith("text/csv")
    assert f'filename="plan-{after.number}-{name}.csv"' in response["Content-Disposition"]
    assert len({len(row) for row in rows}) == 1
    assert len(rows) > 1 or name == "control"


def test_the_file_of_the_curve_has_the_numbers_in_full(project, lead, client):
    plan = planned(project)
    lines = client.get(reverse("plan_sheet", args=[project.pk, plan.number, "curve"])).content.decode().splitlines()
    assert lines[0].endswith("share of judge-large,share of people,share of people:1,"
                             "cost of judge-large,cost of people,cost of people:1")  # fmt: skip
    assert lines[2].startswith("15.0,0.71,0.69,0.73,0.68,0.03,0.01,0.05,0.65,0.66,0.22,0.78,0.22,")
    assert client.get(reverse("plan_sheet", args=[project.pk, plan.number, "secrets"])).status_code == 404


def test_a_name_that_a_spreadsheet_would_run_is_a_text():
    found = sheet("names", ["name", "value"], [["=HYPERLINK(1)", -1.5], ["@x", None], ["-a, b", "+1"]])
    assert found.content.decode().splitlines() == ["name,value", "'=HYPERLINK(1),-1.5", "'@x,", "\"'-a, b\",'+1"]


def test_the_plans_own_row_is_marked_among_the_budgets(project, lead, client):
    plan = planned(project)
    page = client.get(reverse("plan", args=[project.pk, plan.number])).content.decode()
    assert "random mixture, the same money 0.68 [0.66, 0.70] ≤ 13.34" in " ".join(re.sub(r"<[^>]*>", " ", page).split())
    assert re.search(r'<tr class="here"><td class="n">20.00</td><td class="n">22%</td><td class="n">0.72</td>', page)


# Why a comparison went where it went


def test_the_comparison_says_what_every_source_was_worth(project, lead, client):
    comparison = make_comparison(project)
    plan = make_plan(project, {comparison: None})
    values = {
        "judge-large": {"right": 0.61, "error": 0.05, "price": "0.02"},
        "people": {"right": 0.93, "error": None, "price": "1.50"},
    }
    Route.objects.filter(plan=plan).update(values=values, propensity=0.97, is_control=True)
    said = text(client.get(reverse("comparison", args=[project.pk, comparison.pk])))
    assert "people chosen 93% 1.5000 judge-large 61% ± 5% 0.0200" in said
    assert "random control" in said and "0.97" in said
