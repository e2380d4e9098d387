"""Backtests of a project: what they read, that no seed is computed twice, the page, and who may see it."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from decimal import Decimal
from typing import Any, ClassVar

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse
from django.utils.timezone import now

from annotator.models import Backtest, BacktestSeed, Features, FeatureSet, Job, Judgment, Project
from annotator.pipeline import backtest as backtests
from annotator.pipeline import recorded, work
from annotator.readings import backtests as reading
from routing import backtest as science
from routing import features
from routing.backtest import Parameters
from tests.annotator.backtest_outcomes import finished, outcome
from tests.builders import make_comparison, make_judgment, make_labeler, make_member, make_person, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture
def project():
    return make_project(price_per_judgment=Decimal("0.5"), votes=2)


@pytest.fixture
def lead(project, client):
    user = make_member(project, "lead")
    client.force_login(user)
    return user


@pytest.fixture
def judged(project, monkeypatch):
    """160 comparisons that two people and a labeler have judged, with features."""
    monkeypatch.setattr(backtests, "ENOUGH", 12)
    fill(project, 16)
    return project


def fill(project, count):
    people = [make_person(project), make_person(project)]
    judge = make_labeler(project, "judge", price_per_call=Decimal("0.02"))
    judge.labeler_version.accepted_at = now()
    judge.labeler_version.save()
    known = FeatureSet.objects.create(
        project=project, version=1, state="ready", names=list(features.NAMES), digest="0" * 64
    )
    for number in range(count):
        made = make_comparison(project, f"Prompt {number}?")
        Features.objects.create(
            feature_set=known, comparison=made, values=[float(number)] * len(features.NAMES), embedding=b""
        )
        for person in people:
            make_judgment(made, person, 1 if number % 3 else -1)
        make_judgment(made, judge, p_b=0.25 + 0.5 * (number % 2))


def text(response) -> str:
    return " ".join(re.sub(r"<[^>]*>", " ", response.content.decode()).replace("&nbsp;", " ").split())


# What it reads


def test_a_projects_judgments_become_a_table_up_to_where_it_was_asked(judged):
    last = Judgment.objects.order_by("-id").values_list("id", flat=True)[0]
    late = make_person(judged)
    for comparison in judged.comparisons.all():
        make_judgment(comparison, late, -1)
    data = recorded.table_of(judged, last)
    assert len(data) == 16 and data.judges == ("judge",) and set(data.votes) == {2}
    assert data.people.tolist()[:4] == [0, 1, 1, 0] and data.p_b[:2, 0].tolist() == [0.25, 0.75]
    assert data.ballots[0] == (0.0, 0.0) and data.names == features.NAMES
    assert data.texts[0][0] == "Prompt 0?" and data.models[0] == ("model-a", "model-b")
    assert recorded.prices_of(judged, data) == {"people": Decimal("1.0"), "judge": Decimal("0.02")}


def test_without_both_kinds_of_labels_it_is_refused_with_numbers(judged):
    last = Judgment.objects.order_by("-id").values_list("id", flat=True)[0]
    Judgment.objects.filter(rater__kind="labeler", comparison__external_id__endswith="1").delete()
    Judgment.objects.filter(rater__kind="labeler").first().delete()
    Judgment.objects.filter(rater__kind="labeler").first().delete()
    with pytest.raises(work.StepRefused, match=r"People have judged 16 comparisons.*90%.*judge \d+%"):
        recorded.table_of(judged, last)


def test_too_little_is_refused_with_numbers(judged, monkeypatch):
    monkeypatch.setattr(backtests, "ENOUGH", 150)
    job = begun(judged)
    work.run(job, backtests._job)
    job.refresh_from_db()
    assert job.state == "failed" and "16 comparisons of 16 prompts" in job.message and "150" in job.message


@pytest.mark.slow
def test_more_than_the_memory_holds_is_refused_before_anything_starts(judged, monkeypatch):
    monkeypatch.setattr(backtests.estimates, "memory_left", lambda: 10**6)
    job = begun(judged)
    work.run(job, backtests._job)
    job.refresh_from_db()
    assert job.state == "failed" and "GB" in job.message and not BacktestSeed.objects.exists()


# Seeds


def begun(project, **asked) -> Job:
    parameters = Parameters(**{"seeds": 4, "budgets": (0.25, 0.5), **asked})
    backtests.request(project, parameters, None)
    return Job.objects.claim("backtest")


@pytest.fixture
def computed(monkeypatch):
    """Seeds that were computed; the seed numbered in `computed.dies` ends its worker."""

    class Computed(list):
        dies: int | None = None
        prices: ClassVar[set[Decimal]] = set()

    seen = Computed()
    seen.prices.clear()

    def run_seed(table, parameters, seed, step):
        step()
        if seed == seen.dies:
            raise SystemExit("killed")
        seen.append(seed)
        seen.prices.update({parameters.prices["people"]} if "people" in parameters.prices else ())
        return outcome(seed)

    monkeypatch.setattr(science, "run_seed", run_seed)
    return seen


def test_a_worker_that_dies_in_the_middle_costs_no_seed(judged, computed):
    job = begun(judged)
    computed.dies = 2
    with pytest.raises(SystemExit):
        work.run(job, backtests._job)
    assert computed == [0, 1] and Backtest.objects.get().report == {}
    Job.objects.update(lease_until=now() - backtests_lease())
    Project.objects.update(price_per_judgment=9)
    again = Job.objects.claim("backtest")
    assert again.pk == job.pk and again.attempts == 2
    computed.dies = None
    work.run(again, backtests._job)
    again.refresh_from_db()
    assert computed == [0, 1, 2, 3], "no seed is computed twice"
    assert again.state == "done" and again.result == {"backtest": 1}
    found = Backtest.objects.get()
    assert found.finished_at and found.report["seeds"] == 4
    json.dumps(found.report, allow_nan=False)
    assert computed.prices == {Decimal("1.0")}, "a price that changes meanwhile changes no seed"


def backtests_lease():
    from annotator.models import jobs

    return 2 * jobs.LEASE


@pytest.mark.slow
def test_a_pause_keeps_the_seeds_and_going_on_computes_the_rest(judged, computed, client, lead):
    job = begun(judged)
    address = reverse("backtest_pause", args=[judged.pk, 1])
    computed_before = science.run_seed

    def pausing(table, parameters, seed, step):
        if seed == 1:
            client.post(address)
        return computed_before(table, parameters, seed, step)

    science.run_seed = pausing
    try:
        work.run(job, backtests._job)
    finally:
        science.run_seed = computed_before
    job.refresh_from_db()
    assert job.state == "paused" and computed == [0]
    assert "Go on with it" in text(client.get(reverse("backtest", args=[judged.pk, 1])))
    client.post(reverse("backtest_go_on", args=[judged.pk, 1]))
    work.run(Job.objects.claim("backtest"), backtests._job)
    assert computed == [0, 1, 2, 3] and Backtest.objects.get().finished_at


@pytest.mark.slow
def test_a_cancelled_one_can_be_asked_for_again_and_goes_on(judged, computed, client, lead):
    job = begun(judged)
    computed.dies = 1
    with pytest.raises(SystemExit):
        work.run(job, backtests._job)
    job.cancel()
    Job.objects.update(lease_until=now() - backtests_lease())
    assert Job.objects.claim("backtest") is None
    computed.dies = None
    client.post(reverse("backtest_go_on", args=[judged.pk, 1]))
    work.run(Job.objects.claim("backtest"), backtests._job)
    assert computed == [0, 1, 2, 3]


@pytest.mark.slow
def test_seeds_that_read_something_else_are_not_mixed_with_these(judged, computed):
    job = begun(judged)
    computed.dies = 2
    with pytest.raises(SystemExit):
        work.run(job, backtests._job)
    Judgment.objects.filter(rater__kind="person").first().delete()
    Job.objects.update(lease_until=now() - backtests_lease())
    computed.dies = None
    work.run(Job.objects.claim("backtest"), backtests._job)
    assert computed == [0, 1, 0, 1, 2, 3]


def test_a_worker_whose_job_was_taken_over_stores_nothing(judged, computed):
    job = begun(judged)
    found = Backtest.objects.get()
    Job.objects.update(claim=None)
    with pytest.raises(Exception, match="running"):
        backtests._store(found, 0, outcome(0), job)
    assert not BacktestSeed.objects.exists()


@pytest.mark.slow
def test_a_whole_backtest_of_a_project_ends_in_a_report(project, monkeypatch):
    for name, value in (("MIXTURES", 24), ("NOISE_MIXTURES", 4), ("NOISE_SEEDS", 2)):
        monkeypatch.setattr(science, name, value)
    fill(project, 160)
    job = begun(project, seeds=2, strategies=("disagreement", "auto"), kinds=("mean", "ridge"))
    work.run(job, backtests._job)
    job.refresh_from_db()
    assert job.state == "done", job.message
    told = reading.read(Backtest.objects.get())
    assert {row.strategy for row in told.rows} >= {"random", "auto", "disagreement", "all_people", "all_ai judge"}
    json.dumps(Backtest.objects.get().report, allow_nan=False)


# Files


def rows(count: int = 20) -> bytes:
    made = [
        {
            "prompt": f"Question {number}?",
            "response_a": "Yes.",
            "response_b": "No, " + "never " * number,
            "human_labels": [{"preference": -1 if number % 2 else 1}],
            "ai_labels": [{"judge": "j", "preference": 1}],
        }
        for number in range(count)
    ]
    return "\n".join(json.dumps(row) for row in made).encode()


def sent(**changes: Any) -> dict[str, Any]:
    return {"budgets": "25 50", "seeds": "4", "seed": "0", "by": "auto", "votes": "", "prices": "", **changes}


@pytest.mark.slow
def test_an_uploaded_file_is_read_and_gone_when_its_backtest_is_done(project, lead, client, computed, monkeypatch):
    monkeypatch.setattr(backtests, "ENOUGH", 12)
    file = SimpleUploadedFile("mine.jsonl", rows())
    answer = client.post(reverse("backtests", args=[project.pk]), sent(file=file, prices="people = 2\nj = 0.1"))
    assert answer.status_code == 302 and answer.url == reverse("backtest", args=[project.pk, 1])
    found = Backtest.objects.get()
    assert found.parameters["filename"] == "mine.jsonl" and found.parameters["prices"] == {"people": "2", "j": "0.1"}
    assert backtests.default_storage.exists(found.parameters["upload"])
    work.run(Job.objects.claim("backtest"), backtests._job)
    assert computed == [0, 1, 2, 3] and not backtests.default_storage.exists(found.parameters["upload"])


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"{bad\n", "line 1: not JSON"), (b'{"prompt": 3}\n', "Row 1"), (b"\x1f\x8b rubbish", "cannot be used")],
)
def test_a_file_that_cannot_be_read_is_refused_in_words(project, lead, client, content, words):
    name = "rows.jsonl.gz" if content.startswith(b"\x1f") else "rows.jsonl"
    client.post(reverse("backtests", args=[project.pk]), sent(file=SimpleUploadedFile(name, content)))
    job = Job.objects.claim("backtest")
    work.run(job, backtests._job)
    job.refresh_from_db()
    assert job.state == "failed" and words in job.message


def test_a_file_larger_than_memory_is_refused_while_it_is_read(project, lead, client, monkeypatch):
    monkeypatch.setattr(backtests, "LOOKED_AFTER", 2)
    monkeypatch.setattr(backtests.estimates, "memory_left", lambda: 10**6)
    monkeypatch.setattr(features, "extract", lambda pairs: pytest.fail("computed before it was refused"))
    client.post(reverse("backtests", args=[project.pk]), sent(file=SimpleUploadedFile("mine.jsonl", rows())))
    job = Job.objects.claim("backtest")
    work.run(job, backtests._job)
    job.refresh_from_db()
    assert job.state == "failed" and job.message.startswith("2 comparisons need about")


def test_a_long_text_needs_more_memory_than_a_short_one():
    assert backtests.estimates.memory_of_file(10, 10**8) > 3 * backtests.estimates.memory_of_file(10, 1000)


@pytest.mark.parametrize(("state", "days", "stays"), [
    ("failed", 29, True), ("failed", 31, False), ("cancelled", 31, False), ("paused", 31, True), ("waiting", 31, True),
])  # fmt: skip
def test_the_file_of_a_run_that_nobody_let_go_on_is_forgotten(project, lead, client, state, days, stays):
    client.post(reverse("backtests", args=[project.pk]), sent(file=SimpleUploadedFile("mine.jsonl", rows())))
    upload = Backtest.objects.get().parameters["upload"]
    Job.objects.update(state=state, ended_at=now() - timedelta(days=days))
    assert backtests.forget_uploads() == (not stays)
    assert backtests.default_storage.exists(upload) == stays
    assert backtests.forget_uploads() == 0 or stays


def test_a_price_of_nobody_is_refused_by_name(judged):
    job = begun(judged, prices={"oracle": Decimal(1)})
    work.run(job, backtests._job)
    job.refresh_from_db()
    assert job.state == "failed" and "oracle" in job.message and "judge" in job.message


# The pages


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"budgets": "0 50"}, "over 0 and up to 100"),
        ({"budgets": "many"}, "over 0 and up to 100"),
        ({"budgets": "50 50"}, "each once"),
        ({"seeds": "0"}, "greater than or equal to 1"),
        ({"votes": "two"}, "whole numbers of votes"),
        ({"prices": "people"}, "is no price"),
        ({"prices": "people = NaN"}, "is no price"),
        ({"prices": "people = 0.123456789"}, "is no price"),
        ({"strategies": ["luck"]}, "luck is not one of the available choices"),
    ],
)
def test_nonsense_is_refused_beside_its_field(project, lead, client, changes, words):
    answer = client.post(reverse("backtests", args=[project.pk]), sent(**changes))
    assert answer.status_code == 422 and words in text(answer) and not Backtest.objects.exists()


def test_the_report_names_the_winner_and_draws_what_was_asked_for(project, lead, client):
    finished(project)
    page = client.get(reverse("backtest", args=[project.pk, 1]) + "?line=value&line=random&line=nothing")
    said = text(page)
    assert "“worth for its money” wins: +2.2 points against random" in said
    assert "People for everything are worth +7.0 points over the best labeler alone" in said
    assert page.content.count(b'<g class="line-') == 2 and b"style=" not in page.content
    paired = client.get(reverse("backtest", args=[project.pk, 1]) + "?show=difference&line=value")
    assert b"+0.02" in paired.content and paired.content.count(b'<g class="line-') == 1
    assert "Backtest 1 : “worth for its money” wins" in text(client.get(reverse("backtests", args=[project.pk])))


def test_a_difference_within_noise_is_called_that(project, lead, client):
    finished(project, gain=-0.002)
    said = text(client.get(reverse("backtest", args=[project.pk, 1])))
    assert "No strategy beats random beyond noise" in said and "wins" not in said


def test_one_seed_claims_nothing(project, lead, client):
    finished(project, seeds=1)
    assert "One seed says nothing about noise" in text(client.get(reverse("backtest", args=[project.pk, 1])))


def test_the_csv_holds_the_numbers_of_the_table(project, lead, client):
    finished(project)
    lines = client.get(reverse("backtest_sheet", args=[project.pk, 1])).content.decode().splitlines()
    assert lines[0] == ",".join(reading.CSV) and len(lines) == 1 + 9
    value = dict(
        zip(reading.CSV, next(line for line in lines if line.startswith("value,0.25")).split(","), strict=True)
    )
    assert float(value["over_random"]) == pytest.approx(0.0215) and float(value["money_with_seed_set"]) == 55.6


def test_more_lines_than_can_be_told_apart_replace_the_last(project):
    told = reading.read(finished(project))
    assert reading.drawn(told, ["auto", "auto", "value"]) == ["auto", "value"]
    offered = {choice.words: choice.query for choice in reading.choices(told, ["auto", "value"], "difference")}
    assert offered["random mixture"] == "line=auto&line=value&line=random&show=difference"
    assert offered["chosen on the seed set"] == "line=value&show=difference"


@pytest.mark.slow
def test_a_page_costs_the_same_queries_however_many_backtests(project, lead, client, django_assert_max_num_queries):
    for number in range(2, 12):
        made = finished(project)
        Backtest.objects.filter(pk=made.pk).update(number=number)
    with django_assert_max_num_queries(16):
        client.get(reverse("backtests", args=[project.pk]))


def test_only_leads_ask_pause_and_go_on(project, client):
    finished(project)
    client.force_login(make_member(project, "viewer"))
    assert "Start the backtest" not in text(client.get(reverse("backtests", args=[project.pk])))
    assert client.post(reverse("backtests", args=[project.pk]), sent()).status_code == 404
    for name in ("backtest_pause", "backtest_go_on"):
        assert client.post(reverse(name, args=[project.pk, 1])).status_code == 404
