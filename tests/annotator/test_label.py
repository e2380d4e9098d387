"""Labelers judge a project's comparisons: free ones everything, paid ones what was reserved, nothing bought twice."""

import functools
import os
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.conf import settings as site
from django.core.management import call_command
from django.db import connection
from django.db.models import Sum

from annotator.models import Job, Judgment, Labeler, LabelerCall, LedgerEntry, Plan, Reservation
from annotator.pipeline import label, ledger, scope, verdicts, versions, work
from annotator.pipeline.work import StepRefused
from labelers import llm_judge
from labelers.chat import Retries
from tests.builders import make_comparison, make_disclosure, make_judgment, make_person, make_plan, make_project
from tests.labelers.conftest import one_server, server  # noqa: F401

PRICES = {"price_per_call": Decimal("0.01"), "price_per_million_input": 1, "price_per_million_output": 2}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(llm_judge, "Retries", functools.partial(Retries, first=0.01, longest=0.02))


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(100))
    return project


def judge_of(project, server, prices=PRICES, **parameters):  # noqa: F811
    labeler = Labeler.objects.create(
        project=project, name=f"judge {Labeler.objects.count()}", kind="llm_judge", **prices
    )
    chosen = {"base_url": server.url, "model": "tiny", "constrain": True, "timeout": 10.0, "concurrency": 2}
    versions.new_version(labeler, versions.judge_parameters(project, **{**chosen, **parameters}))
    make_disclosure(project, server.url)
    return labeler


def planned(labeler, comparisons, money):
    """An approved plan that gives `comparisons` to the labeler and has set `money` aside for it; the job to run it."""
    labeler.project.plans.update(status=Plan.Status.SUPERSEDED)
    rater = labeler.version.rater
    plan = make_plan(labeler.project, dict.fromkeys(comparisons, rater))
    plan.budget = money
    plan.save()
    ledger.reserve(
        labeler.project, ledger.plan_key(plan.pk, labeler.name), Decimal(money), source=labeler.name, plan=plan
    )
    return label.request_run(labeler, plan_id=plan.pk)


def run(job):
    work.work(Job.Kind.LABEL, label.label_job)
    job.refresh_from_db()
    return job


def statuses(labeler):
    return Counter(LabelerCall.objects.filter(labeler_version__labeler=labeler).values_list("status", flat=True))


def paid():
    return LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] or Decimal(0)


@pytest.mark.slow
@pytest.mark.django_db
def test_free_labelers_judge_everything_and_then_only_what_is_new(project):
    for kind in ("null_longest", "null_random"):
        Labeler.objects.create(project=project, name=kind, kind=kind)
    for number in range(3):
        make_comparison(project, a="short", b=f"much longer {number}")
    jobs = label.request_free(project)
    assert [run(job).message for job in jobs] == ["3 comparisons judged"] * 2
    longest = Judgment.objects.filter(rater__labeler_version__labeler__name="null_longest")
    assert set(longest.values_list("p_b", "outcome", "level", "aggregated")) == {(1.0, "level", None, False)}
    make_comparison(project)
    assert run(label.request_free(project)[0]).message == "1 comparison judged"
    assert Judgment.objects.count() == 8


@pytest.mark.django_db
def test_a_labeler_with_a_price_does_not_run_without_money_set_aside(project, server):  # noqa: F811
    labeler = judge_of(project, server)
    make_comparison(project)
    assert label.request_free(project) == []
    job = run(label.request_run(labeler, scope="everything"))
    assert (job.state, server.requests) == (Job.State.FAILED, [])
    assert "judges what an approved plan gives it" in job.message


@pytest.mark.django_db
def test_a_plans_share_is_judged_paid_call_by_call_and_the_rest_refunded(project, server):  # noqa: F811
    labeler = judge_of(project, server)
    comparisons = [make_comparison(project) for _ in range(3)]
    make_comparison(project)
    job = run(planned(labeler, comparisons, 10))
    assert (job.state, job.message) == (Job.State.DONE, "3 comparisons judged")
    judgments = Judgment.objects.all()
    assert {judgment.comparison for judgment in judgments} == set(comparisons)
    calls = LabelerCall.objects.all()
    assert statuses(labeler) == {"ok": 6}
    assert {call.step for call in calls} == {"ab", "ba"}
    expected = sum(Decimal("0.01") + Decimal(call.input_tokens + 2 * call.output_tokens) / 1_000_000 for call in calls)
    assert paid() == expected == sum(judgment.cost for judgment in judgments)
    assert judgments[0].plan_id == job.parameters["plan"]
    assert judgments[0].provenance["version"] == labeler.version.digest
    ledger.settle()
    account = ledger.account_of(project)
    assert (account.spent, account.reserved) == (expected, 0)
    assert label.run_labeler(labeler, [c.pk for c in comparisons], reservation=Reservation.objects.get()) == 0
    assert len(server.requests) == 6


@pytest.mark.slow
@pytest.mark.django_db
def test_a_bad_day_of_the_server_is_survived_and_every_call_can_be_seen(project, server):  # noqa: F811
    labeler = judge_of(project, server, timeout=2.5)
    server.script.extend(["429", "500", "garbage", "ok", "hang", "429"])
    comparisons = [make_comparison(project) for _ in range(3)]
    job = run(planned(labeler, comparisons, 10))
    assert job.message == "3 comparisons judged"
    assert statuses(labeler) == {"ok": 6, "failed": 5}
    assert len(server.requests) == 11
    failed = LabelerCall.objects.filter(status="failed")
    unsure = failed.filter(error__contains="counted as paid")
    assert unsure.count() == 2, "garbage and the hang may have cost something"
    assert all(call.cost > Decimal("0.01") for call in unsure)
    assert {call.cost for call in failed.exclude(pk__in=unsure)} == {0}
    assert LedgerEntry.objects.count() == 11


@pytest.mark.slow
@pytest.mark.django_db
def test_the_budget_stops_the_run_and_a_later_one_buys_nothing_again(project, server):  # noqa: F811
    labeler = judge_of(project, server, {"price_per_call": Decimal(1)}, concurrency=3)
    comparisons = [make_comparison(project) for _ in range(4)]
    job = run(planned(labeler, comparisons, 5))
    assert job.state == Job.State.FAILED
    assert "set aside for judge 0 is used up" in job.message
    assert "2 comparisons judged" in job.message
    assert (paid(), server.billed) == (5, 5)
    again = run(planned(labeler, comparisons, 3))
    assert again.message == "2 comparisons judged"
    assert (paid(), server.billed) == (8, 8), "the fifth call's answer was used"
    assert Judgment.objects.count() == 4


@pytest.mark.slow
@pytest.mark.django_db
def test_the_last_calls_of_a_plan_may_hold_what_its_budget_has_left(project, server):  # noqa: F811
    labeler = judge_of(project, server)
    job = planned(labeler, [make_comparison(project)], Decimal("0.0211"))
    job.project.plans.update(budget=1)
    assert run(job).message == "1 comparison judged"
    assert Decimal("0.02") < paid() < Decimal("0.0245")


@pytest.mark.django_db
def test_an_answer_that_is_not_understood_is_no_judgment_and_is_not_bought_again(project, server):  # noqa: F811
    labeler = judge_of(project, server, constrain=False)
    server.script.extend(["text:[[A]] [[B]]", "text:B"])
    comparison = make_comparison(project)
    job = run(planned(labeler, [comparison], 1))
    assert job.message == "0 comparisons judged; 1 answer not understood"
    assert statuses(labeler) == {"unparsed": 1, "ok": 1}
    run(planned(labeler, [comparison], 1))
    assert len(server.requests) == 2
    assert not Judgment.objects.exists()


@pytest.mark.slow
@pytest.mark.django_db
def test_a_wrong_key_stops_the_run_instead_of_failing_ten_thousand_times(project, server):  # noqa: F811
    labeler = judge_of(project, server, concurrency=1)
    server.always = "401"
    job = run(planned(labeler, [make_comparison(project) for _ in range(20)], 10))
    assert job.state == Job.State.FAILED
    assert "5 calls in a row failed for good, the last with: HTTP 401" in job.message
    assert (len(server.requests), paid()) == (5, 0)


@pytest.mark.django_db
def test_one_comparison_that_fails_does_not_stop_the_others(project, server):  # noqa: F811
    labeler = judge_of(project, server, concurrency=1)
    server.script.extend(["404"])
    job = run(planned(labeler, [make_comparison(project) for _ in range(2)], 10))
    assert job.message.startswith("1 comparison judged; 1 call failed, with: HTTP 404")
    reservation = Reservation.objects.get()
    assert reservation.is_open, "the plan's money waits for another run"
    assert run(label.request_run(labeler, plan_id=reservation.plan_id)).message == "1 comparison judged"
    assert len(server.requests) == 5


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.parametrize(("faults", "state", "judged"), [(1, Job.State.DONE, 2), (99, Job.State.FAILED, 0)])
def test_a_fault_fails_its_own_call_and_stops_the_run_only_when_nothing_else_comes(
    project,
    server,  # noqa: F811
    monkeypatch,
    faults,
    state,
    judged,  # noqa: F811
):
    labeler = judge_of(project, server, concurrency=1)
    real, begun = llm_judge.LLMJudge.ask, []

    def ask(self, pair, step, earlier):
        begun.append(step)
        if len(begun) <= faults:
            raise ZeroDivisionError("sk-secret")
        return real(self, pair, step, earlier)

    monkeypatch.setattr(llm_judge.LLMJudge, "ask", ask)
    job = run(planned(labeler, [make_comparison(project) for _ in range(3 if faults == 1 else 20)], 10))
    assert (job.state, job.message.startswith(f"{judged} comparisons judged")) == (state, judged > 0)
    assert "a fault of this program (ZeroDivisionError)" in job.message and "sk-secret" not in job.message
    failed = LabelerCall.objects.filter(status=LabelerCall.Status.FAILED)
    assert failed.count() == (1 if faults == 1 else 5)
    assert all(call.cost > 0 and call.error.endswith("(counted as paid)") for call in failed)


@pytest.mark.slow
@pytest.mark.django_db
def test_a_cancelled_run_records_what_was_in_flight_and_gives_its_money_back(project, server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(verdicts, "BEAT", 0)
    labeler = judge_of(project, server)
    for _ in range(5):
        make_comparison(project)
    job = label.request_run(labeler, scope="everything", reserve=Decimal(5))
    beats = iter(range(100))
    honest = Job.beat

    def beat_and_cancel(self, *args):
        if next(beats) == 2:
            self.cancel()
        honest(self, *args)

    monkeypatch.setattr(Job, "beat", beat_and_cancel)
    assert run(job).state == Job.State.CANCELLED
    done = statuses(labeler)
    assert set(done) == {"ok"} and 0 < done["ok"] < 10
    assert len(server.requests) == done["ok"]
    ledger.settle()
    assert ledger.account_of(project).reserved == 0


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_killed_worker_costs_only_what_was_in_flight(project, server):  # noqa: F811
    labeler = judge_of(project, server, {"price_per_call": Decimal(1)}, concurrency=1, timeout=20.0)
    comparisons = [make_comparison(project) for _ in range(3)]
    job = planned(labeler, comparisons, 8)
    server.script.extend(["ok", "ok", "ok", "hang"])
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path="/" + connection.settings_dict["NAME"]).geturl()
    number = str(project.plans.get().number)
    worker = subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "label",
            str(project.pk),
            labeler.name,
            "--plan",
            number,
        ],
        cwd=Path(site.BASE_DIR),
        env={**os.environ, "DATABASE_URL": url, "LABELER_PRIVATE_ENDPOINTS": "yes"},
    )
    deadline = time.monotonic() + 30
    while len(server.requests) < 4 and time.monotonic() < deadline:
        time.sleep(0.02)
    worker.send_signal(signal.SIGKILL)
    worker.wait()
    assert statuses(labeler) == {"ok": 3, "in_flight": 1}
    assert Judgment.objects.count() <= 1, "verdicts follow within a second; the answers they are made of are stored"
    Job.objects.update(lease_until=None, state=Job.State.WAITING)
    assert run(job).message == "3 comparisons judged; 1 call of an earlier run was lost and is counted as paid"
    assert statuses(labeler) == {"ok": 6, "lost": 1}
    assert len(server.requests) == 7, "no stored answer was asked for again"
    assert paid() == 7


@pytest.mark.django_db
def test_a_judge_that_costs_nothing_needs_no_money_and_still_shows_its_calls(project, server):  # noqa: F811
    labeler = judge_of(project, server, {})
    make_comparison(project)
    assert run(label.request_run(labeler, scope="everything")).message == "1 comparison judged"
    assert statuses(labeler) == {"ok": 2}
    assert not LedgerEntry.objects.exists()


@pytest.mark.slow
@pytest.mark.django_db
def test_a_trial_prefers_comparisons_people_have_judged_and_its_estimate_is_enough(project, server):  # noqa: F811
    labeler = judge_of(project, server)
    comparisons = [make_comparison(project) for _ in range(8)]
    make_judgment(comparisons[7], make_person(project), 1)
    chosen = scope.trial_comparisons(labeler, 5)
    assert chosen == [comparisons[7].pk, *(c.pk for c in comparisons[:4])]
    expected = scope.estimate(labeler, project.comparisons.filter(pk__in=chosen))
    assert (expected.number, expected.calls, expected.measured) == (5, 10, 0)
    most = expected.most
    job = run(label.request_run(labeler, scope="trial", comparisons=chosen, reserve=most))
    assert job.message == "5 comparisons judged"
    assert 0 < paid() < most
    assert ledger.available(project) == 100 - paid()


@pytest.mark.django_db
def test_a_run_that_the_budget_does_not_cover_is_refused_before_the_first_call(project, server):  # noqa: F811
    labeler = judge_of(project, server)
    make_comparison(project)
    job = run(label.request_run(labeler, scope="everything", reserve=Decimal(101)))
    assert job.state == Job.State.FAILED
    assert "1.00 is missing" in job.message
    assert server.requests == []


@pytest.mark.slow
@pytest.mark.django_db
def test_a_key_goes_only_to_the_host_the_operator_named_with_it(project, server, settings, monkeypatch):  # noqa: F811
    monkeypatch.setenv("JUDGE_KEY", "sk-1")
    labeler = judge_of(project, server, {}, api_key_env="JUDGE_KEY")
    make_comparison(project)
    host = urlsplit(server.url).netloc
    for allowed in ({}, {"JUDGE_KEY": "api.example"}, {"JUDGE_KEY": "127.0.0.1"}, {"JUDGE_KEY": "127.0.0.1:1"}):
        settings.LABELER_KEYS = allowed
        job = run(label.request_run(labeler, scope="everything"))
        assert f"LABELER_KEYS=JUDGE_KEY@{host}" in job.message
    assert server.requests == []
    settings.LABELER_KEYS = {"JUDGE_KEY": host}
    assert run(label.request_run(labeler, scope="everything")).state == Job.State.DONE
    assert server.headers[0]["authorization"] == "Bearer sk-1"
    stored = str(list(LabelerCall.objects.values())) + str(labeler.version.parameters)
    assert "sk-1" not in stored


@pytest.mark.parametrize(
    ("allowed", "url", "refusal"),
    [
        ("judge.example", "https://judge.example/v1", None),
        ("judge.example", "https://judge.example:443/v1", None),
        ("judge.example:443", "https://Judge.example/v1", None),
        ("[::1]:8000", "http://[::1]:8000/v1", None),
        ("localhost:8000", "http://localhost:8000/v1", None),
        ("judge.example", "https://judge.example:8443/v1", "JUDGE_KEY@judge.example:8443"),
        ("judge.example:8443", "https://judge.example/v1", "JUDGE_KEY@judge.example"),
        ("judge.example", "http://judge.example/v1", "without encryption"),
        ("10.0.0.1", "http://10.0.0.1/v1", "without encryption"),
        ("127.0.0.1.example", "http://127.0.0.1.example/v1", "without encryption"),
    ],
)
def test_a_key_travels_encrypted_and_to_the_port_the_operator_named(allowed, url, refusal, settings, monkeypatch):
    monkeypatch.setenv("JUDGE_KEY", "sk-1")
    settings.LABELER_KEYS = {"JUDGE_KEY": allowed}
    if refusal is None:
        assert versions.api_key("JUDGE_KEY", url) == "sk-1"
    else:
        with pytest.raises(StepRefused, match=re.escape(refusal)):
            versions.api_key("JUDGE_KEY", url)


def test_a_line_end_behind_a_key_is_left_out_and_what_is_no_key_is_refused_unseen(settings, monkeypatch):
    settings.LABELER_KEYS = {"JUDGE_KEY": "judge.example"}
    monkeypatch.setenv("JUDGE_KEY", "sk-1\n")
    assert versions.api_key("JUDGE_KEY", "https://judge.example/v1") == "sk-1"
    monkeypatch.setenv("JUDGE_KEY", "sk-1\nsk-2")
    with pytest.raises(StepRefused, match="JUDGE_KEY holds no key") as refusal:
        versions.api_key("JUDGE_KEY", "https://judge.example/v1")
    assert "sk-" not in str(refusal.value)


@pytest.mark.django_db
def test_an_endpoint_inside_the_network_needs_the_operators_word(project, server, settings):  # noqa: F811
    settings.LABELER_PRIVATE_ENDPOINTS = False
    labeler = judge_of(project, server, {})
    make_comparison(project)
    assert "LABELER_PRIVATE_ENDPOINTS=yes" in run(label.request_run(labeler, scope="everything")).message
    assert server.requests == []


@pytest.mark.slow
@pytest.mark.django_db
def test_a_prompt_or_code_change_makes_a_new_version_that_judges_anew(project, server, monkeypatch):  # noqa: F811
    labeler = judge_of(project, server, {})
    make_comparison(project)
    run(label.request_run(labeler, scope="everything"))
    monkeypatch.setattr(llm_judge.LLMJudge, "CODE_VERSION", 99)
    run(label.request_run(labeler, scope="everything"))
    assert labeler.versions.count() == 2
    assert Judgment.objects.values("rater").distinct().count() == 2


@pytest.mark.django_db
def test_changed_guidelines_are_noticed(project, server):  # noqa: F811
    labeler = judge_of(project, server)
    assert not versions.is_outdated(labeler.version)
    project.guidelines, project.guidelines_version = "Be strict.", 2
    project.save()
    assert versions.is_outdated(Labeler.objects.get(pk=labeler.pk).version)


@pytest.mark.django_db
def test_the_command_runs_free_labelers_and_says_what_it_did(project, capsys):
    Labeler.objects.create(project=project, name="longest", kind="null_longest")
    make_comparison(project)
    call_command("label", project.pk)
    assert "1 comparison judged" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.django_db
def test_answers_that_cannot_be_paid_for_are_bought_twice_and_no_more(project, server):  # noqa: F811
    labeler = judge_of(project, server, concurrency=1)
    make_comparison(project)
    server.script.extend(["garbage"] * 20)
    job = run(label.request_run(labeler, scope="everything", reserve=Decimal(1)))
    by_step = Counter(LabelerCall.objects.values_list("step", flat=True))
    assert sorted(by_step.values()) == [1, 2], "the other order was asked while the first waited, and no more"
    assert job.result["run"]["failures"]["calls"] == {"garbage": 3}
    assert job.result["run"]["failures"]["given_up"] == 1
