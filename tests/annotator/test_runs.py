"""A lead's runs: on a filter, with a price and a word on what leaves before; followed, paused, and asked again."""

import time
from decimal import Decimal

import pytest
from django.urls import reverse

from annotator import readings
from annotator.models import Disclosure, Job, Judgment, Labeler, LabelerCall
from annotator.pipeline import disclosures, domains, label, ledger, scope, verdicts, versions, work
from tests.builders import (
    make_comparison,
    make_disclosure,
    make_judgment,
    make_member,
    make_person,
    make_plan,
    make_project,
)
from tests.labelers.conftest import one_server, server  # noqa: F401

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(10))
    return project


@pytest.fixture
def lead(client, project):
    client.force_login(make_member(project, "lead"))
    return client


@pytest.fixture
def judge(project, server):  # noqa: F811
    labeler = Labeler.objects.create(project=project, name="judge", kind="llm_judge", price_per_call=Decimal("0.01"))
    chosen = {"base_url": server.url, "model": "tiny", "structured": "choice", "timeout": 10.0, "concurrency": 2}
    versions.new_version(labeler, versions.judge_parameters(project, **chosen))
    make_disclosure(project, server.url)
    return labeler


def page_of(job):
    return reverse("run", args=[job.project_id, job.pk])


def act(client, job, name):
    return client.post(reverse(f"run_{name}", args=[job.project_id, job.pk]))


def started(client, labeler, **asked):
    """The job that the lead's confirmation started."""
    address = reverse("labeler_run", args=[labeler.project_id, labeler.pk])
    most = client.get(address, asked).context["expected"].most
    assert client.post(address, {**asked, "most": most}).status_code == 302
    return Job.objects.latest("pk")


def work_off():
    work.work(Job.Kind.LABEL, label.label_job)


@pytest.mark.slow
def test_a_run_on_a_filter_is_counted_priced_and_judges_what_fits(lead, project, judge):
    wanted = make_comparison(project, "How many triangles?")
    make_judgment(wanted, make_person(project), 1)
    make_judgment(make_comparison(project, "What is rain?"), make_person(project), 1)
    make_comparison(project, "How many circles?")
    asked = {"on": "filter", "people": "yes", "domain": "reasoning"}
    page = lead.get(reverse("labeler_run", args=[project.pk, judge.pk]), asked)
    assert (page.context["expected"].number, page.context["expected"].calls) == (1, 2)
    assert b"127.0.0.1" in page.content and b"responses" in page.content, "it says what leaves, and where to"
    job = started(lead, judge, **asked)
    assert job.parameters["filter"] == {"people": "yes", "domain": "reasoning"}
    work_off()
    assert [judgment.comparison for judgment in Judgment.objects.filter(rater__kind="labeler")] == [wanted]


@pytest.mark.parametrize(
    ("asked", "fits"),
    [
        ({"people": "yes"}, ["seen"]),
        ({"people": "no"}, ["new"]),
        ({"q": "rain"}, ["new"]),
        ({"domain": "chat", "people": "yes"}, []),
        ({"language": "english"}, []),
        ({}, ["seen", "new"]),
    ],
)
def test_a_filter_means_the_same_to_the_page_and_to_the_run(project, asked, fits):
    seen = make_comparison(project, "How many triangles?", external_id="seen")
    make_comparison(project, "What is rain?", external_id="new")
    make_judgment(seen, make_person(project), 1)
    assert [found.external_id for found in scope.of_filter(project, asked)] == fits


def test_what_prompts_are_about_is_found_once_and_asked_of_the_database(project, django_assert_num_queries):
    for question in ("How many triangles?", "What is rain?"):
        make_comparison(project, question)
    project.prompts.update(domain="")
    assert not scope.of_filter(project, {"domain": "reasoning"}).exists()
    domains.find(project)
    found = scope.of_filter(project, {"domain": "reasoning"})
    with django_assert_num_queries(1):
        assert [each.prompt.turns[0]["content"] for each in found.select_related("prompt")] == ["How many triangles?"]
    with django_assert_num_queries(1):
        domains.find(project)


def test_comparisons_that_a_labeler_has_not_judged_can_be_listed(lead, project, judge):
    make_judgment(make_comparison(project, external_id="done"), judge.version.rater, p_b=0.3)
    make_comparison(project, external_id="left")
    page = lead.get(reverse("comparisons", args=[project.pk]), {"not_judged_by": judge.pk})
    assert [row["comparison"].external_id for row in page.context["rows"]] == ["left"]


def test_an_estimate_rests_on_what_was_paid_once_something_was(project, judge):
    make_judgment(make_comparison(project), judge.version.rater, p_b=0.3, cost=Decimal("0.015"))
    for _ in range(2):
        make_comparison(project)
    expected = scope.estimate(judge, project.comparisons.all())
    assert (expected.number, expected.measured, expected.likely, expected.most) == (
        2,
        1,
        Decimal("0.03"),
        Decimal("0.04"),
    )


def test_nothing_starts_before_a_lead_said_what_may_leave_and_stops_when_it_is_taken_back(lead, project, judge, server):  # noqa: F811
    make_comparison(project)
    Disclosure.objects.all().delete()
    address = reverse("labeler_run", args=[project.pk, judge.pk])
    page = lead.post(address, {"on": "everything", "most": 5})
    assert page.status_code == 422 and b"Nothing may leave" in page.content and not Job.objects.exists()
    make_disclosure(project, server.url)
    job = started(lead, judge, on="everything")
    disclosures.withdraw(project, page.context["missing"][0])
    work_off()
    job.refresh_from_db()
    assert job.state == "failed" and "Texts may not leave" in job.message
    assert server.requests == []


@pytest.mark.slow
def test_failures_are_shown_by_kind_and_only_they_are_asked_again(lead, project, judge, server):  # noqa: F811
    server.script.extend(["404", "ok", "ok"])
    for _ in range(2):
        make_comparison(project)
    job = started(lead, judge, on="everything")
    work_off()
    job.refresh_from_db()
    run = readings.runs.of_job(job)
    assert [(failed.calls, failed.example) for failed in run.failures] == [(1, "HTTP 404 Not Found (invalid_api_key)")]
    assert (run.judged, run.given_up, run.failed_calls) == (1, 1, 1)
    assert run.spent == LabelerCall.objects.filter(status="ok").count() * Decimal("0.01")
    page = lead.get(page_of(job)).content.decode()
    assert "refused (4xx)" in page and "Ask again what failed" in page
    make_comparison(project)
    asked_before = len(server.requests)
    priced = act(lead, job, "retry")
    assert "never cost more than" in priced.content.decode() and Job.objects.count() == 1, "nothing is spent unasked"
    answer = lead.post(reverse("run_retry", args=[project.pk, job.pk]), {"most": priced.context["most"]})
    again = Job.objects.latest("pk")
    assert answer.headers["Location"] == page_of(again) and again.parameters["failed"]
    work_off()
    again.refresh_from_db()
    assert again.result["run"]["judged"] == 1, "the new comparison is not its business"
    stored = LabelerCall.objects.filter(status="ok").values("comparison", "step")
    assert stored.count() == stored.distinct().count() == 4
    assert len(server.requests) - asked_before <= 2
    assert act(lead, again, "retry").headers["Location"] == page_of(again), "nothing is left that failed"
    assert Job.objects.count() == 2


def test_a_file_is_no_run_to_be_asked_again_and_checks_are_about_no_comparison(lead, project, judge):
    make_comparison(project)
    told = {"kind": Job.Kind.LABEL, "state": "done", "project": project}
    about_file = Job.objects.create(parameters={"labeler": judge.pk, "batch_file": 1}, key="1", **told)
    page = lead.post(
        reverse("run_retry", args=[project.pk, about_file.pk]), {"most": "9"}, follow=True
    ).content.decode()
    assert "asked with the next file" in page and Job.objects.count() == 1
    checks = Job(project=project, parameters={"scope": "checks"})
    assert not scope.of_job(checks, judge, judge.version) and not scope.of_job(about_file, judge, judge.version)


@pytest.mark.slow
def test_a_lead_pauses_and_resumes_and_the_page_says_so(lead, project, judge):
    make_comparison(project)
    job = started(lead, judge, on="everything")
    act(lead, job, "pause")
    page = lead.get(page_of(job)).content.decode()
    assert "is paused" in page and "Resume" in page and "hx-get" not in page
    work_off()
    assert not Judgment.objects.exists()
    act(lead, job, "resume")
    assert "hx-get" in lead.get(page_of(job)).content.decode()
    work_off()
    assert Judgment.objects.count() == 1
    assert "judged" in lead.get(page_of(job)).content.decode()


def test_a_run_that_goes_on_tells_its_rate_and_how_long_it_will_take(lead, project, judge):
    job = Job.objects.request(project, "label", labeler=judge.pk)
    job = Job.objects.claim("label")
    began = time.time() - 60
    told = {"judged": 40, "unparsed": 0, "lost": 0, "marks": [[began, 10], [began + 60, 40]]}
    told["failures"] = {"calls": {"busy": 7}, "examples": {"busy": "HTTP 429"}, "given_up": 0, "last": ""}
    job.beat(40, 100, "40 comparisons judged", {"run": told})
    job.refresh_from_db()
    run = readings.runs.of_job(job)
    assert (run.rate, run.left) == (pytest.approx(30), 2)
    page = lead.get(reverse("run_progress", args=[project.pk, job.pk])).content.decode()
    assert "30 a minute" in page and "About 2 minutes to go" in page and "too many requests" in page


@pytest.mark.slow
def test_a_run_of_a_plan_shows_what_all_its_runs_did_and_cost(lead, project, judge, server):  # noqa: F811
    chosen = [make_comparison(project) for _ in range(2)]
    plan = make_plan(project, dict.fromkeys(chosen, judge.version.rater))
    ledger.reserve(project, ledger.plan_key(plan.pk, judge.name), Decimal(5), source=judge.name, plan=plan)
    server.script.extend(["404", "ok", "ok"])
    first = label.request_run(judge, plan_id=plan.pk)
    work_off()
    second = label.request_run(judge, plan_id=plan.pk)
    work_off()
    first.refresh_from_db()
    second.refresh_from_db()
    runs = [readings.runs.of_job(job) for job in (first, second)]
    assert [run.judged for run in runs] == [1, 1] and runs[0].plan == runs[1].plan
    paid = LabelerCall.objects.filter(status="ok").count() * Decimal("0.01")
    assert (runs[1].plan.judged, runs[1].plan.spent) == (2, paid) and runs[1].spent < paid
    assert "2 comparisons judged for" in lead.get(page_of(second)).content.decode()


def test_the_books_of_a_run_do_not_grow_with_its_failures():
    failures = verdicts.Tally().failures
    for number in range(1000):
        failures.add("timeout", f"no answer {number} " * 100)
        failures.give_up(f"no answer {number} " * 100)
    assert (failures.calls, failures.given_up) == ({"timeout": 1000}, 1000)
    assert len(str(failures)) < 1000
