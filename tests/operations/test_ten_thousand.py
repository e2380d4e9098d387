"""Ten thousand comparisons through a server that misbehaves and a Celery worker that is killed three times."""

import json
import os
import statistics
import time
from collections import Counter
from decimal import Decimal

import pytest
from django.db.models import Count, Sum
from django.utils.timezone import now, timedelta

from annotator.models import (
    Comparison,
    Job,
    Judgment,
    Labeler,
    LabelerCall,
    LedgerEntry,
    Project,
    Prompt,
    Response,
)
from annotator.pipeline import label, ledger, scope, versions
from tests.builders import make_disclosure, make_project
from tests.labelers import misbehaving_server
from tests.operations.workers import Workers
from tests.stack import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]

# All ten thousand take six minutes: `docs/benchmarks.md` has what came of them. Each run takes a share of them.
NUMBER = int(os.environ.get("TEN_THOUSAND", "2000"))
SHARES = {"429": 0.05, "429+": 0.05, "500": 0.05, "garbage": 0.01, "cut": 0.01, "hang": 0.01}
KILLED_AT = (0.1, 0.25, 0.4)
CONCURRENCY = 16
TIMEOUT = 1.0
PROMPTS = 100


@pytest.fixture
def workers(transactional_db):
    with open_folder() as folder:
        started = Workers(folder)
        yield started
        started.stop()


def filled(project: Project, number: int) -> None:
    """Comparisons whose texts name them, as the server counts them."""
    prompts = Prompt.objects.bulk_create(
        Prompt(project=project, external_id=f"p{n}", turns=[{"role": "user", "content": f"Why {n}?"}], text_hash=str(n))
        for n in range(PROMPTS)
    )
    responses = Response.objects.bulk_create(
        [
            Response(prompt=prompts[n % PROMPTS], external_id=f"c{n}-{side}", text=f"c{n}-{side}", text_hash="")
            for n in range(number)
            for side in "ab"
        ],
        batch_size=5000,
    )
    Comparison.objects.bulk_create(
        [
            Comparison(
                project=project,
                external_id=f"c{n}",
                prompt=prompts[n % PROMPTS],
                response_a=responses[2 * n],
                response_b=responses[2 * n + 1],
            )
            for n in range(number)
        ],
        batch_size=5000,
    )


def judge_at(url: str, project: Project) -> Labeler:
    labeler = Labeler.objects.create(
        project=project,
        name="judge",
        kind="llm_judge",
        price_per_call=Decimal("0.0001"),
        price_per_million_input=Decimal(1),
        price_per_million_output=Decimal(2),
    )
    chosen = {"base_url": url, "model": "m", "timeout": TIMEOUT, "concurrency": CONCURRENCY}
    versions.new_version(labeler, versions.judge_parameters(project, **chosen))
    make_disclosure(project, url)
    return labeler


def judged() -> int:
    return Judgment.objects.count()


def claim(job: Job) -> object:
    """What names the worker's hold on the job."""
    return Job.objects.values_list("claim", flat=True).get(pk=job.pk)


def ended(job: Job) -> bool:
    job.refresh_from_db()
    return job.state not in (Job.State.WAITING, Job.State.RUNNING)


def test_ten_thousand_comparisons_end_complete_and_no_stored_answer_is_bought_again(workers):
    project = make_project()
    ledger.set_cap(project, Decimal(1000))
    filled(project, NUMBER)
    with misbehaving_server.running(SHARES, seed=4, hang=2 * TIMEOUT) as server:
        labeler = judge_at(server.url, project)
        expected = scope.estimate(labeler, project.comparisons.all())
        began = time.monotonic()
        job = label.request_run(labeler, scope="everything", reserve=expected.most)
        in_flight, claimed = [], None
        for share in KILLED_AT:
            # A worker that has not claimed the job yet makes no calls: those in flight would be counted again.
            workers.wait_until(lambda share=share, last=claimed: judged() >= share * NUMBER and claim(job) != last, 600)
            workers.kill()
            claimed = claim(job)
            in_flight.append(LabelerCall.objects.filter(status="in_flight").count())
            Job.objects.filter(pk=job.pk).update(lease_until=now() - timedelta(seconds=1))  # a minute passes
            workers.replace()
        workers.wait_until(lambda: ended(job), 1200)
        told = job.result["run"]
        if told["failures"]["given_up"]:
            again = label.request_run(labeler, scope="everything", failed=True, reserve=expected.most / 10)
            workers.wait_until(lambda: ended(again), 120)
        seconds = time.monotonic() - began
        counts = server.counts()
    assert job.state == Job.State.DONE, job.message
    assert judged() == NUMBER
    report = figures(job, counts, in_flight, workers.resident[-1], seconds)
    print("\n" + json.dumps(report, indent=2))

    calls = LabelerCall.objects.filter(labeler_version__labeler=labeler)
    by_status = Counter(calls.values_list("status", flat=True))
    assert set(by_status) == {"ok", "failed", "lost"} and by_status["ok"] == 2 * NUMBER
    # What was in flight at a kill is what was lost, no more; each is in the ledger, at the most it can have cost.
    assert by_status["lost"] == sum(in_flight) <= len(KILLED_AT) * CONCURRENCY
    lost = calls.filter(status="lost")
    assert all(call.entry.amount == call.cost > 0 for call in lost.select_related("entry"))
    assert LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] == calls.aggregate(sum=Sum("cost"))["sum"]
    of = {
        f"{row['comparison__external_id']} {row['step']}": row
        for row in calls.values("comparison__external_id", "step").annotate(n=Count("id")).order_by()
    }
    lost_of = Counter(f"{call.comparison} {call.step}" for call in lost.select_related("comparison"))
    # The server's own count: no answer that was stored was asked for again, and no call was made without its row.
    assert set(counts) == set(of)
    for about, count in counts.items():
        assert 1 <= count["delivered"] <= 1 + lost_of[about], about
        assert of[about]["n"] - lost_of[about] <= count["asked"] <= of[about]["n"], about
    ends = dict(calls.filter(status="ok").values_list("comparison_id", "ended_at"))
    assert len(ends) == NUMBER
    assert report["resident_growth_mb"] < 20, report


def figures(job: Job, counts: dict, in_flight: list[int], resident: list[tuple[float, int]], seconds: float) -> dict:
    """What the run did, for people; the last worker's memory early and late in its life."""
    quarter = max(len(resident) // 4, 1)
    early, late = (
        statistics.median(size for _at, size in part) for part in (resident[quarter : 2 * quarter], resident[-quarter:])
    )
    return {
        "comparisons": NUMBER,
        "seconds": round(seconds),
        "asked": sum(count["asked"] for count in counts.values()),
        "delivered": sum(count["delivered"] for count in counts.values()),
        "failed_calls": job.result["run"]["failures"]["calls"],
        "in_flight_at_kills": in_flight,
        "resident_mb": round(late / 2**20),
        "resident_growth_mb": round((late - early) / 2**20, 1),
    }
