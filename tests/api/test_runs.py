"""Runs of labelers by the interface: asked for within a price, listed with what they cost, cancelled."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils.timezone import now

from annotator import readings
from annotator.models import Job, Labeler, LabelerCall, Reservation
from annotator.pipeline import combine, ledger, versions, work
from labelers import endpoint
from tests.api.program import assert_problem, lead_program
from tests.builders import (
    make_comparison,
    make_disclosure,
    make_judgment,
    make_labeler,
    make_person,
    make_plan,
    make_project,
)

pytestmark = pytest.mark.django_db
# Nobody answers there, and nobody is asked: a request only estimates.
URL = "http://127.0.0.1:9/v1"


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)

    def looked_up(*_given, **_more):
        raise AssertionError("a name was looked up inside a transaction")

    monkeypatch.setattr(endpoint, "check", looked_up)


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(10))
    for question in ("How many triangles?", "What is rain?"):
        make_judgment(make_comparison(project, question), make_person(project), 1)
    make_comparison(project, "How many circles?")
    return project


@pytest.fixture
def judge(project):
    labeler = Labeler.objects.create(project=project, name="judge", kind="llm_judge", price_per_call=Decimal("0.01"))
    versions.new_version(labeler, versions.judge_parameters(project, base_url=URL, model="tiny", structured="choice"))
    return labeler


@pytest.fixture
def program(project, judge):
    make_disclosure(project, URL)
    return lead_program(project, "label", "read")


def runs_of(labeler):
    return f"/projects/{labeler.project_id}/labelers/{labeler.pk}/runs"


def test_a_run_is_asked_for_once_and_holds_what_it_can_cost(project, judge, program):
    asked = {"on": "people", "most": "5"}
    made = program.post(runs_of(judge), asked, key="night")
    assert made.status_code == 202, made.content
    assert program.post(runs_of(judge), asked, key="night").json() == made.json()
    assert program.post(runs_of(judge), asked).json()["id"] == made.json()["id"]
    job = Job.objects.get(kind="label")
    assert (job.parameters["scope"], Decimal(job.parameters["reserve"]) > 0) == ("people", True)
    found = program.get(f"/projects/{project.pk}/runs/{job.pk}").json()
    assert found == made.json()
    assert (found["labeler"], found["on"], found["state"], found["spent"]) == (judge.pk, "people", "waiting", "0")
    assert found["set_aside"] is None, "nothing is set aside before it begins"


@pytest.mark.slow
def test_asked_again_when_it_holds_all_the_money_a_run_is_the_answer_until_it_has_ended(project, judge, program):
    asked = {"on": "people", "most": "5"}
    made = program.post(runs_of(judge), asked).json()
    job = Job.objects.claim(Job.Kind.LABEL)
    held = Decimal(job.parameters["reserve"])
    ledger.set_cap(project, held)
    reservation = ledger.reserve(project, f"job:{job.pk}", held, source="judge")
    assert_problem(program.post(runs_of(judge), {**asked, "most": "0.01"}), 409)  # it may cost more than that
    again = program.post(runs_of(judge), asked)
    assert (again.status_code, again.json()["id"], again.json()["state"]) == (202, made["id"], "running")
    # Another is another.
    problem = assert_problem(program.post(runs_of(judge), {"on": "everything", "most": "5"}), 409)
    assert "0 are neither spent nor set aside" in problem["detail"]
    ledger.close(reservation)
    job.finish(Job.State.DONE)
    new = program.post(runs_of(judge), asked)
    assert (new.status_code, new.json()["id"] == made["id"]) == (202, False)


def test_a_run_is_on_what_the_filter_says(project, judge, program):
    asked = {"on": "filter", "filter": {"people": "yes", "domain": "reasoning"}, "most": "5"}
    assert program.post(runs_of(judge), asked).status_code == 202
    assert Job.objects.get(kind="label").parameters["filter"] == {"people": "yes", "domain": "reasoning"}
    made = program.post(runs_of(judge), {"on": "trial", "most": "5"}).json()
    assert len(Job.objects.get(pk=made["id"]).parameters["comparisons"]) == 3


@pytest.mark.parametrize(
    ("asked", "status", "field"),
    [
        ({"on": "people"}, 409, "most"),
        ({"on": "people", "most": "0.01"}, 409, "most"),
        ({"on": "people", "most": 5}, 422, "most"),
        ({"on": "somewhere", "most": "5"}, 422, "on"),
        ({"on": "filter", "most": "5"}, 422, "filter"),
        ({"on": "people", "filter": {}, "most": "5"}, 422, "filter"),
        ({"on": "filter", "filter": {"source": "nobody"}, "most": "5"}, 422, "filter.source"),
        ({"on": "filter", "filter": {"domain": "nothing"}, "most": "5"}, 422, "filter.domain"),
        ({"on": "filter", "filter": {"language": "english"}, "most": "5"}, 422, "filter.language"),
        ({"on": "filter", "filter": {"odd": 1}, "most": "5"}, 422, "filter.odd"),
        ({"on": "filter", "filter": {"q": "Nobody asked this"}, "most": "5"}, 409, None),
    ],
)
def test_what_cannot_be_run_is_refused_in_words(judge, program, asked, status, field):
    problem = assert_problem(program.post(runs_of(judge), asked), status)
    assert [fault["field"] for fault in problem["errors"]][:1] == ([field] if field else [])
    assert not Job.objects.filter(kind="label").exists()


def test_it_is_refused_without_a_leads_word_on_what_leaves_and_beyond_the_budget(project, judge):
    program = lead_program(project)
    asked = {"on": "people", "most": "5"}
    assert "Texts may not leave" in assert_problem(program.post(runs_of(judge), asked), 409)["detail"]
    make_disclosure(project, URL)
    ledger.set_cap(project, Decimal(0))
    assert "budget" in assert_problem(program.post(runs_of(judge), asked), 409)["detail"]
    judge.enabled = False
    judge.save()
    assert "disabled" in assert_problem(program.post(runs_of(judge), asked), 409)["detail"]


def test_labelers_that_nobody_runs_say_why(project, program):
    recorded, other = (make_labeler(project).labeler_version.labeler for _number in range(2))
    together = combine.add(project, "together", combine.setup(project, [recorded, other], combine.EQUAL, {}))
    for labeler, words in ((recorded, "nothing to run"), (together, "its members")):
        assert words in assert_problem(program.post(runs_of(labeler), {"on": "people"}), 409)["detail"]
    empty = Labeler.objects.create(project=project, name="empty", kind="llm_judge")
    assert "no version" in assert_problem(program.post(runs_of(empty), {"on": "people"}), 409)["detail"]


def paid(project, judge, money, cost, status="ok"):
    version = versions.in_use(judge)
    about = {"comparison": project.comparisons.first(), "reservation": money, "cost": Decimal(cost)}
    return LabelerCall.objects.create(labeler_version=version, status=status, **about)


def test_runs_are_listed_with_what_they_did_and_cost_in_as_many_queries_however_many(project, judge, program):
    plan = make_plan(project, {})
    told = {"run": {"judged": 2, "unparsed": 1, "failures": {"given_up": 1, "calls": {"busy": 3}}, "lost": 0}}
    asked = {"project": project, "kind": "label", "result": told}
    own = Job.objects.create(**asked, key="1", parameters={"labeler": judge.pk, "scope": "trial"})
    of_plan = Job.objects.create(**asked, key="2", parameters={"labeler": judge.pk, "plan": plan.pk}, state="done")
    Job.objects.create(project=project, kind="route")
    money = ledger.reserve(project, f"job:{own.pk}", Decimal(3), source=judge.name)
    of_all = Reservation.objects.create(
        account=money.account, key=ledger.plan_key(plan.pk, judge.name), plan=plan, source=judge.name, amount=2
    )
    ledger.commit(money, Decimal("0.5"), call=paid(project, judge, money, "0.5", "in_flight"))
    LabelerCall.objects.update(status="ok")
    paid(project, judge, money, "0.25", "in_flight")
    paid(project, judge, of_all, "0.125")

    def listed(**query):
        with CaptureQueriesContext(connection) as queries:
            answer = program.get(f"/projects/{project.pk}/runs", **query)
        assert answer.status_code == 200, answer.content
        return answer.json()["items"], len(queries)

    listed()  # the first request of a minute also writes down that the token was used
    (one, other), few = listed()
    assert (one["judged"], one["unparsed"], one["given_up"], one["failed_calls"]) == (2, 1, 1, 3)
    assert [Decimal(one[name]) for name in ("spent", "held", "set_aside")] == [
        Decimal("0.5"), Decimal("0.25"), Decimal(3),
    ]  # fmt: skip
    assert (other["on"], other["plan"], Decimal(other["spent"])) == ("plan", plan.number, Decimal("0.125"))
    for job, shown in ((own, one), (of_plan, other)):
        page = readings.runs.of_job(job)
        assert [page.spent, page.held, page.set_aside] == [Decimal(shown[n]) for n in ("spent", "held", "set_aside")]
    for number in range(5):
        Job.objects.create(**asked, key=f"k{number}", parameters={"labeler": judge.pk, "plan": plan.pk})
    assert listed()[1] == few
    assert [run["id"] for run in listed(state="done")[0]] == [of_plan.pk]
    assert listed(labeler=judge.pk + 1000)[0] == []


def test_what_runs_of_a_plan_cost_is_what_each_called_in_its_own_time(project, judge, program):
    plan, began = make_plan(project, {}), now() - timedelta(hours=9)
    account = ledger.account_of(project)
    money = Reservation.objects.create(
        account=account, key=ledger.plan_key(plan.pk, judge.name), plan=plan, source=judge.name, amount=2
    )

    def run(key, asked, started, ended, state):
        at = {"started_at": started, "ended_at": ended}
        hours = {name: hour if hour is None else began + timedelta(hours=hour) for name, hour in at.items()}
        about = {"project": project, "kind": "label", "parameters": {"labeler": judge.pk, "plan": plan.pk}}
        made = Job.objects.create(**about, **hours, key=key, state=state)
        Job.objects.filter(pk=made.pk).update(created_at=began + timedelta(hours=asked))

    # Asked for while the first went on: it began when that had ended.
    run("1", 0, 0, 4, "done")
    run("2", 2, 4, 6, "done")
    run("3", 5, None, 5.5, "cancelled")
    run("4", 5, 7, None, "running")
    run("5", 7.5, None, None, "waiting")
    for hour, cost in ((1, "0.1"), (3, "0.2"), (5.2, "0.4"), (8, "0.8")):
        call = paid(project, judge, money, cost)
        LabelerCall.objects.filter(pk=call.pk).update(created_at=began + timedelta(hours=hour))
    listed = program.get(f"/projects/{project.pk}/runs").json()["items"]
    assert [Decimal(run["spent"]) for run in listed] == [Decimal(cost) for cost in ("0.3", "0.4", "0", "0.8", "0")]


@pytest.mark.parametrize("scope", ["route", "ingest"])
def test_a_token_that_may_plan_may_not_ask_for_runs(project, judge, scope):
    """Those made before runs were asked for by name have it."""
    make_disclosure(project, URL)
    program = lead_program(project, scope)
    assert "label" in assert_problem(program.post(runs_of(judge), {"on": "people", "most": "5"}), 403)["detail"]
    run = Job.objects.create(project=project, kind="label", parameters={"labeler": judge.pk})
    for address in (f"/projects/{project.pk}/jobs/{run.pk}/cancel", f"/projects/{project.pk}/runs/{run.pk}/cancel"):
        stopped = program.post(address)
        # Plans begin runs too.
        assert stopped.status_code == 403 if scope == "ingest" else stopped.json()["id"] == run.pk
        Job.objects.filter(pk=run.pk).update(state="waiting")


def test_a_run_is_cancelled_and_then_has_ended(project, judge, program):
    made = program.post(runs_of(judge), {"on": "people", "most": "5"}).json()
    address = f"/projects/{project.pk}/runs/{made['id']}/cancel"
    assert program.post(address).json()["state"] == "cancelled"
    assert_problem(program.post(address), 409)
    plan = Job.objects.create(project=project, kind="route")
    assert_problem(program.post(f"/projects/{project.pk}/runs/{plan.pk}/cancel"), 404)
