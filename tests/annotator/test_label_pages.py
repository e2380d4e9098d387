"""The lead's pages about AI labelers: adding a judge, what a run would cost and send, running it, prices, accuracy."""

from decimal import Decimal

import pytest
from django.urls import reverse

from annotator import readings
from annotator.models import Job, Judgment, Labeler, LabelerCall
from annotator.pipeline import label, ledger, work
from tests.builders import (
    make_comparison,
    make_disclosure,
    make_judgment,
    make_labeler,
    make_member,
    make_person,
    make_project,
)
from tests.labelers.conftest import one_server, server  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make_project(guidelines="Prefer the truth.")
    ledger.set_cap(project, Decimal(10))
    return project


@pytest.fixture
def lead(client, project):
    client.force_login(make_member(project, "lead"))
    return client


def address(name, project, *args):
    return reverse(name, args=[project.pk, *args])


def form_for(server, **changes):  # noqa: F811
    return {
        "name": "tiny judge",
        "base_url": server.url,
        "model": "tiny",
        "api_key_env": "",
        "price_per_million_input": "2",
        "price_per_million_output": "4",
        "price_per_call": "0",
        "max_tokens": "8",
        "temperature": "0",
        "concurrency": "2",
        "logprobs": "on",
        "variant": "plain",
        "samples": "1",
        "structured": "choice",
        "attribute_calls": "both",
        "disagreement": "mean",
        "exemplar_pool": "0",
        "exemplar_count": "2",
        "timeout": "30",
        **changes,
    }


@pytest.mark.slow
def test_a_lead_adds_a_judge_sees_the_price_tries_it_and_sees_what_it_did(lead, project, server):  # noqa: F811
    for _ in range(7):
        make_judgment(make_comparison(project), make_person(project), 1)
    answer = lead.post(address("labeler_new", project, "llm_judge"), form_for(server))
    judge = Labeler.objects.get(name="tiny judge")
    assert answer.headers["Location"] == address("labeler_disclosure", project, judge.pk)
    make_disclosure(project, server.url)
    parameters = judge.version.parameters
    assert (parameters["guidelines"], parameters["question"]) == ("Prefer the truth.", "Which response is better?")

    page = lead.get(address("labeler_run", project, judge.pk) + "?on=trial")
    assert b"<b>7 comparisons</b>" in page.content
    assert b"127.0.0.1" in page.content, "it says where the texts go"
    assert server.requests == [] and not Job.objects.exists()
    most = page.context["expected"].most
    answer = lead.post(address("labeler_run", project, judge.pk), {"on": "trial", "most": most})
    job = Job.objects.get()
    assert answer.headers["Location"] == address("run", project, job.pk)
    work.work(Job.Kind.LABEL, label.label_job)
    assert Judgment.objects.filter(rater__labeler_version__labeler=judge).count() == 7
    page = lead.get(address("labeler", project, judge.pk))
    assert page.context["accuracy"].comparisons == 7
    assert b"Prefer the truth" in server.requests[0]["messages"][0]["content"].encode()
    rows = {row.labeler.name: row for row in lead.get(address("labelers", project)).context["rows"]}
    assert 0 < rows["tiny judge"].cost < most


@pytest.mark.slow
def test_a_run_that_costs_more_than_was_confirmed_or_than_there_is_does_not_start(lead, project, server):  # noqa: F811
    make_comparison(project)
    lead.post(address("labeler_new", project, "llm_judge"), form_for(server, price_per_call="3"))
    judge = Labeler.objects.get(name="tiny judge")
    make_disclosure(project, server.url)
    answer = lead.post(address("labeler_run", project, judge.pk), {"on": "trial", "most": "1"})
    assert answer.status_code == 422 and b"more than you confirmed" in answer.content
    ledger.set_cap(project, Decimal(5))
    answer = lead.post(address("labeler_run", project, judge.pk), {"on": "trial", "most": "7"})
    assert answer.status_code == 422 and b"does not cover it" in answer.content
    assert not Job.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"base_url": "http://169.254.169.254/v1"}, "never called"),
        ({"base_url": "ftp://example.org"}, "Enter a valid URL|begins with https"),
        ({"name": "People"}, "choose another"),
        ({"name": "taken"}, "already has a labeler"),
        ({"api_key_env": "SECRET_KEY"}, "Select a valid choice"),
        ({"price_per_call": "-1"}, "greater than or equal to 0"),
        ({"max_tokens": "0"}, "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_a_judge_is_refused_with_a_reason_and_changes_nothing(lead, project, server, changes, words):  # noqa: F811
    make_labeler(project, "taken")
    answer = lead.post(address("labeler_new", project, "llm_judge"), form_for(server, **changes))
    assert answer.status_code == 422
    assert any(word in answer.content.decode() for word in words.split("|"))
    assert Labeler.objects.count() == 1


def test_accuracy_counts_majorities_ties_half_and_shows_the_nulls_last(project):
    longest, judge = make_labeler(project, "longest", kind="null_longest"), make_labeler(project, "judge")
    people = [make_person(project) for _ in range(3)]
    for votes, judged, null in (
        ((1, 1, -1), 0.9, 0.0),
        ((-1, -1, 0), 0.2, 1.0),
        ((1, 0, 1), 0.5, 1.0),
        ((1, -1, 0), 0.9, 1.0),
    ):
        comparison = make_comparison(project)
        for person, vote in zip(people, votes, strict=True):
            make_judgment(comparison, person, vote)
        make_judgment(comparison, judge, p_b=judged)
        make_judgment(comparison, longest, p_b=null)
    rows = readings.labelers.rows(project)
    assert [(row.labeler.name, row.judged) for row in rows] == [("judge", 4), ("longest", 4)]
    assert rows[0].accuracy.comparisons == 3, "people tie on the fourth"
    assert rows[0].accuracy.mean == pytest.approx(2.5 / 3)
    assert rows[1].accuracy.mean == pytest.approx(1 / 3)


def test_the_interval_is_wilsons():
    found = readings.labelers.wilson(8, 10)
    assert (found.low, found.high) == (pytest.approx(0.4902, abs=1e-3), pytest.approx(0.9433, abs=1e-3))
    assert readings.labelers.wilson(10, 10).high == pytest.approx(1.0)


def test_the_list_needs_the_same_queries_however_many_labelers_there_are(lead, project, django_assert_max_num_queries):
    for _ in range(12):
        make_judgment(make_comparison(project), make_labeler(project), p_b=0.5)
    with django_assert_max_num_queries(16):
        lead.get(address("labelers", project))


def test_prices_of_recorded_judges_can_be_set_and_never_fall_under_zero(lead, project):
    judge = make_labeler(project, "recorded judge").labeler_version.labeler
    lead.post(address("labeler_prices", project, judge.pk), {"price_per_call": "0.02"})
    judge.refresh_from_db()
    assert judge.price_per_call == Decimal("0.02")
    answer = lead.post(address("labeler_prices", project, judge.pk), {"price_per_call": "-1"})
    assert answer.status_code == 422
    judge.refresh_from_db()
    assert judge.price_per_call == Decimal("0.02")


def test_switching_a_labeler_off_cancels_its_runs_and_keeps_its_judgments(lead, project, server):  # noqa: F811
    lead.post(address("labeler_new", project, "llm_judge"), form_for(server))
    judge = Labeler.objects.get(name="tiny judge")
    make_comparison(project)
    job = label.request_run(judge, scope="everything", reserve=Decimal(1))
    lead.post(address("labeler_toggle", project, judge.pk))
    job.refresh_from_db()
    judge.refresh_from_db()
    assert (job.state, judge.enabled) == (Job.State.CANCELLED, False)
    lead.post(address("labeler_toggle", project, judge.pk))
    judge.refresh_from_db()
    assert judge.enabled


def test_changed_guidelines_are_said_and_a_new_version_is_one_click(lead, project, server):  # noqa: F811
    lead.post(address("labeler_new", project, "llm_judge"), form_for(server))
    judge = Labeler.objects.get(name="tiny judge")
    assert b"still judges by the old ones" not in lead.get(address("labeler", project, judge.pk)).content
    project.guidelines, project.guidelines_version = "Be strict.", 2
    project.save()
    assert b"still judges by the old ones" in lead.get(address("labeler", project, judge.pk)).content
    lead.post(address("labeler_renew", project, judge.pk))
    assert judge.version.parameters["guidelines"] == "Be strict."
    assert b"still judges by the old ones" not in lead.get(address("labeler", project, judge.pk)).content


def test_what_a_model_answered_is_shown_as_text_and_endpoints_only_to_leads(client, lead, project, server):  # noqa: F811
    lead.post(address("labeler_new", project, "llm_judge"), form_for(server))
    judge = Labeler.objects.get(name="tiny judge")
    LabelerCall.objects.create(
        labeler_version=judge.version,
        comparison=make_comparison(project),
        status="unparsed",
        answer={"text": "<script>alert(1)</script>"},
    )
    for status, error in (("failed", "HTTP 500"), ("in_flight", "")):
        LabelerCall.objects.create(
            labeler_version=judge.version, comparison=make_comparison(project), status=status, error=error
        )
    page = lead.get(address("labeler", project, judge.pk)).content
    assert b"<script>alert" not in page and b"&lt;script&gt;alert" in page
    assert server.url.encode() in page and b"HTTP 500" in page
    client.force_login(make_member(project, "viewer"))
    assert server.url.encode() not in client.get(address("labeler", project, judge.pk)).content


def test_the_proxy_is_offered_once_people_have_judged_enough(lead, project):
    assert b"It needs 50 comparisons" in lead.get(address("labelers", project)).content
    lead.post(address("labeler_add_proxy", project))
    assert not project.labelers.filter(kind="proxy").exists()
