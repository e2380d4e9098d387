"""Answers that no row can hold: each fails by itself or is kept without what cannot be, and the run goes on."""

import functools
from decimal import Decimal

import pytest
from django.db.models import Sum

from annotator.models import Job, Judgment, Labeler, LabelerCall, LedgerEntry
from annotator.pipeline import call_books, calls, label, ledger, verdicts, versions, work
from labelers import llm_judge
from labelers.base import verdict_of
from labelers.chat import Retries
from labelers.parsing import critique
from tests.builders import make_comparison, make_disclosure, make_project
from tests.labelers import misbehaving_server

pytestmark = pytest.mark.django_db
NUMBER = 12
ODD = {"drip": 0.05, "nul": 0.15, "surrogate": 0.15, "negative": 0.1, "overflow": 0.1}


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(llm_judge, "Retries", functools.partial(Retries, first=0.01, longest=0.02))


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(100))
    for number in range(NUMBER):
        make_comparison(project, a=f"c{number}-a", b=f"c{number}-b")
    return project


@pytest.fixture(params=[Decimal("0.01"), pytest.param(Decimal(0), marks=pytest.mark.slow)], ids=["paid", "free"])
def judge(request, project):
    return Labeler.objects.create(project=project, name="judge", kind="llm_judge", price_per_call=request.param)


def run(judge, url):
    chosen = {"base_url": url, "model": "m", "timeout": 1.0, "concurrency": 4}
    versions.new_version(judge, versions.judge_parameters(judge.project, **chosen))
    make_disclosure(judge.project, url)
    job = label.request_run(judge, scope="everything", reserve=None if judge.is_free else Decimal(10))
    work.work(Job.Kind.LABEL, label.label_job)
    job.refresh_from_db()
    assert job.state == Job.State.DONE, job.message
    return job


@pytest.mark.slow
def test_runs_end_complete_whatever_the_answers_hold_and_buy_none_twice(judge):
    with misbehaving_server.running(ODD, seed=1, hang=1.0) as server:
        jobs = [run(judge, server.url)]
        while Judgment.objects.count() < NUMBER and len(jobs) < 4:
            jobs.append(run(judge, server.url))  # what was given up
        counts = server.counts()
    assert Judgment.objects.count() == NUMBER
    kept = LabelerCall.objects.filter(status="ok")
    assert kept.count() == 2 * NUMBER and not LabelerCall.objects.filter(status="in_flight").exists()
    # As they came, but for what no row can hold.
    assert {(call.answer["text"], call.answer["finish_reason"]) for call in kept} == {("A", "stop"), ("A?", "stop")}
    # What came back and could be kept was asked for once.
    assert {count["delivered"] for count in counts.values()} == {1}
    told = [job.result["run"]["failures"]["calls"] for job in jobs]
    for kind, words in {
        "garbage": "the answer was not a chat completion (ValueError)",
        "timeout": "no answer in",
    }.items():
        failed = LabelerCall.objects.filter(status="failed", error__startswith=words).count()
        assert failed == sum(each.get(kind, 0) for each in told) > 0, kind
    paid = LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] or 0
    assert paid == LabelerCall.objects.aggregate(sum=Sum("cost"))["sum"]


def test_a_row_that_cannot_be_written_is_a_failed_call_and_takes_no_other_with_it(judge, monkeypatch):
    """The second line: answers reach the books as they came."""
    monkeypatch.setattr(call_books, "storable", lambda value: value)
    monkeypatch.setattr(calls, "kept", lambda answer: answer)
    with misbehaving_server.running({"nul": 0.3}, seed=1) as server:
        job = run(judge, server.url)
    failed = LabelerCall.objects.filter(status="failed")
    assert {call.error for call in failed} == {"its answer cannot be stored (DataError)"}
    assert {call.cost for call in LabelerCall.objects.all()} == {judge.price_per_call}
    assert LabelerCall.objects.filter(status="ok").count() == 2 * NUMBER - failed.count()
    assert job.result["run"]["failures"]["calls"] == {"garbage": failed.count()}


def test_what_json_names_is_kept_out_of_judgments_too(judge):
    """A critique that is a string of JSON may name characters which the answer itself does not hold."""
    version = versions.new_version(
        judge, versions.judge_parameters(judge.project, base_url="http://127.0.0.1:9/v1", model="m")
    )
    rationale = critique(r'{"critique": "a\u0000b\ud800", "verdict": "A"}')
    verdict = verdict_of(0.25, rationale=rationale, provenance={"steps": {"ab": {"text": rationale}}})
    progress = verdicts.Progress(None, verdicts.Tally(), judge.project.comparisons.none(), version)
    progress.store([(judge.project.comparisons.first(), verdict)], None)
    assert Judgment.objects.get().justification == "ab?"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["steps", "verdict"])
def test_a_comparison_that_the_judges_own_code_cannot_bear_fails_alone(judge, monkeypatch, where):
    """A fault there costs one verdict and not the run; once it is mended, what was answered is not asked again."""
    first, works = judge.project.comparisons.first(), getattr(llm_judge.LLMJudge, where)
    seen = []

    def faulty(self, about):
        seen.append(about)
        if about == first if where == "steps" else len(seen) == 1:
            raise ZeroDivisionError("the words of a response")
        return works(self, about)

    monkeypatch.setattr(llm_judge.LLMJudge, where, faulty)
    with misbehaving_server.running({}, seed=1) as server:
        failures = run(judge, server.url).result["run"]["failures"]
        assert Judgment.objects.count() == NUMBER - 1
        assert failures["given_up"] == 1 and "ZeroDivisionError" in failures["last"]
        assert "words of a response" not in failures["last"]
        monkeypatch.setattr(llm_judge.LLMJudge, where, works)
        run(judge, server.url)
        assert Judgment.objects.count() == NUMBER
        assert {count["delivered"] for count in server.counts().values()} == {1}
