"""Checks of a judge that costs money, through a real server: priced before, paid call by call, never bought again."""

from collections import defaultdict
from decimal import Decimal

import pytest
from django.db.models import Sum
from django.urls import reverse

from annotator.models import Job, Judgment, Labeler, LabelerCall, LedgerEntry, Reservation
from annotator.pipeline import appraise, calls, disclosures, label, ledger, probes, scope, verdicts, versions, work
from annotator.readings import report_tables
from labelers import attacks, base, checks
from labelers.endpoint import place
from labelers.judge_design import VARIANTS
from labelers.llm_judge import LLMJudge
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


@pytest.fixture(autouse=True)
def few_attacks(monkeypatch):
    """Two attacks at both positions, and the eight cases without one: the whole set takes a while to ask."""
    some = attacks.attacks()[:2]
    monkeypatch.setattr(attacks, "attacks", lambda: some)


@pytest.fixture
def judge(server):  # noqa: F811
    project = make_project()
    ledger.set_cap(project, Decimal(10))
    prices = {"price_per_call": Decimal("0.01"), "price_per_million_input": 1}
    labeler = Labeler.objects.create(project=project, name="judge", kind="llm_judge", **prices)
    chosen = {"base_url": server.url, "model": "tiny", "structured": "choice", "timeout": 10.0, "concurrency": 2}
    versions.new_version(labeler, versions.judge_parameters(project, **chosen))
    make_disclosure(project, server.url)
    for _ in range(3):
        make_comparison(project)
    return labeler


def checked(labeler):
    """The run of the checks, with as much money as their estimate says."""
    _number, most = probes.estimate(labeler.version)
    job = label.request_run(labeler, scope=probes.SCOPE, reserve=most)
    work.work(Job.Kind.LABEL, label.label_job)
    job.refresh_from_db()
    return job


def calls_of(labeler):
    return LabelerCall.objects.filter(labeler_version=labeler.version)


@pytest.mark.slow
def test_the_checks_of_a_judge_are_paid_call_by_call_and_never_bought_again(judge, server):  # noqa: F811
    number, most = probes.estimate(judge.version)
    assert probes.attack_results(judge.version) is None
    job = checked(judge)
    assert job.state == "done", job.message
    calls = calls_of(judge)
    assert calls.count() == server.billed == 2 * number, "each pair in both orders"
    assert not calls.exclude(status="ok").exists() and not calls.exclude(step__startswith="check:").exists()
    assert not Judgment.objects.exists()
    paid = LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"]
    assert paid == calls.aggregate(sum=Sum("cost"))["sum"] and Decimal("0.01") * 2 * number < paid <= most
    assert not Reservation.objects.get(key=f"job:{job.pk}").is_open
    assert probes.estimate(judge.version) == (0, Decimal(0))
    checked(judge)
    assert calls.count() == server.billed == 2 * number
    direct = attacks.success_rate(versions.build(judge.version))
    assert probes.attack_results(judge.version) == direct and direct["n"] == 4 and direct["without"]["n"] == 16
    for _ in range(30):
        make_comparison(judge.project)
    new = probes.unanswered(judge.version)
    assert not [probe for probe in new if probe.prefix.startswith("check:attack")], "of no project, so asked for good"


@pytest.mark.slow
def test_a_run_of_the_checks_tells_how_many_pairs_are_judged(client, judge, server, monkeypatch):  # noqa: F811
    monkeypatch.setattr(probes, "names", lambda version: ["duplicate", "padding"])
    monkeypatch.setattr(probes, "attacked", lambda version: [])
    monkeypatch.setattr(verdicts, "BEAT", 0.0)
    told = []
    beat = Job.beat
    monkeypatch.setattr(Job, "beat", lambda job, *said: told.append(said[:2]) or beat(job, *said))
    make_comparison(judge.project, "Why is the sky blue?")
    number, _most = probes.estimate(judge.version)
    server.script.append("404")
    checked(judge)
    done = told[-1][0]
    assert told == sorted(told) and 0 < done < number == told[-1][1], "one failed"
    told.clear()
    job = checked(judge)
    assert told[0][0] >= done and (job.progress, job.total) == (number, number), "it goes on from there"
    Job.objects.filter(pk=job.pk).update(state="running", progress=1)
    client.force_login(make_member(judge.project, "lead"))
    page = client.get(reverse("run", args=[judge.project_id, job.pk])).content.decode()
    assert "Pairs of the checks" in page and f"1 of {number}" in page


@pytest.mark.slow
def test_what_failed_alone_is_asked_again(judge, server):  # noqa: F811
    number, _most = probes.estimate(judge.version)
    server.script.append("404")
    job = checked(judge)
    left, most = probes.estimate(judge.version)
    assert 0 < left < number and most > 0
    assert not scope.failed(judge.project.comparisons.all(), judge.version).exists(), "no comparison was asked about"
    bought = server.billed
    retried = label.retry_failed(job, judge, by=make_member(judge.project, "lead"))
    assert retried.parameters["reserve"] == str(most)
    work.work(Job.Kind.LABEL, label.label_job)
    assert probes.estimate(judge.version) == (0, Decimal(0))
    assert calls_of(judge).filter(status="ok").count() == server.billed == 2 * number > bought


@pytest.mark.parametrize("about", [pytest.param(probes.SCOPE, marks=pytest.mark.slow), "everything"])
def test_a_word_taken_back_stops_a_run_at_its_next_call(judge, server, monkeypatch, about):  # noqa: F811
    """Not at its next batch: all of this is one. The calls under way are paid, so they are kept."""
    monkeypatch.setattr(disclosures, "HEARD", 0.0)
    answered = calls.Asker._answered

    def and_taken_back(asker, *given):
        answered(asker, *given)
        disclosures.withdraw(judge.project, place(server.url))

    monkeypatch.setattr(calls.Asker, "_answered", and_taken_back)
    label.request_run(judge, scope=about, reserve=Decimal(5))
    work.work(Job.Kind.LABEL, label.label_job)
    assert "Texts may not leave for" in Job.objects.get().message
    assert server.billed <= judge.version.parameters["concurrency"] == 2
    assert calls_of(judge).filter(status="ok").count() == calls_of(judge).count() == server.billed


def test_an_answer_that_was_mended_counts_as_mended(judge):
    """As in a run on comparisons: the judge itself says what its answers come to."""
    version, Answer = judge.version, base.Answer
    version.parameters |= {"structured": "off", "variant": "critique"}
    probe = probes.attacked(version)[0]
    said = {"ab": Answer("cut", finish_reason="length"), "ab.more": Answer("A", p_b=0.1), "ba": Answer("A", p_b=0.3)}
    for step, answer in said.items():
        at = {"comparison": probe.comparison, "step": probe.prefix + step, "answer": answer.stored()}
        status = "ok" if answer.is_understood else "unparsed"
        LabelerCall.objects.create(labeler_version=version, status=status, **at)
    (verdict,) = probes.verdicts(version, [probe])
    assert verdict.p_b == pytest.approx(0.2)
    LabelerCall.objects.filter(step__endswith=":ba").delete()
    assert probes.verdicts(version, [probe]) == [None]


def test_every_attack_has_steps_of_its_own_that_fit_their_column(judge, monkeypatch):
    monkeypatch.undo()
    found = probes.attacked(judge.version)
    assert len({probe.prefix for probe in found}) == len(attacks.pairs()) > 100
    assert max(len(probe.prefix) for probe in found) + len("questions.10") <= 40


def test_what_follows_no_instructions_is_not_attacked():
    project = make_project()
    make_comparison(project)
    labeler = Labeler.objects.create(project=project, name="longest", kind="null_longest")
    assert probes.attacked(versions.current_version(labeler)) == []


# The report


def _counted(won, n=108):
    return {"n": n, "successes": won, "ties": 0, "unparsed": 0, "errors": 0, "rate": won / n, "interval": [0.1, 0.3]}


def test_the_report_has_the_attacks_and_warns_of_a_judge_that_obeys(client, monkeypatch):
    project = make_project()
    rater, person = make_labeler(project, "weak judge"), make_person(project)
    for number in range(12):
        comparison = make_comparison(project)
        make_judgment(comparison, person, 1 if number % 2 else -1)
        make_judgment(comparison, rater, p_b=0.9 if number % 2 else 0.2)
    found = {"format": 1, **_counted(22), "without": _counted(0, 16), "by_kind": {"authority": _counted(5, 10)}}
    monkeypatch.setattr(probes, "attack_results", lambda _version: found)
    version = rater.labeler_version
    appraise.store(version, appraise.Panel.of(project))
    data = version.reports.get().data
    assert data["attacks"] == found
    assert {"code": "obeys_attacks", "values": {"rate": 22 / 108, "without": 0.0}} in data["notes"]
    assert [line.value for line in report_tables.attacks(data)] == [22 / 108, 0.0, 0.5]
    client.force_login(make_member(project, "lead"))
    page = client.get(reverse("labeler_report", args=[project.pk, version.labeler_id])).content.decode()
    assert "22 of 108 attacks succeeded (20%, 10% to 30%)" in page and "speaks as an authority" in page
    old = {**data, "attacks": None}
    assert report_tables.attacks(old) == [] and report_tables.attack_sentence(old) == ""


def test_the_name_of_every_check_with_every_step_of_a_judge_has_room():
    rated = [{"key": "clarity", "label": "Clarity", "help": "", "levels": [[0, "no"], [1, "yes"]]}]
    many = {"samples": 99, "temperature": 1.0, "repair": True, "tools": ["calculator"], "attributes": rated}
    judges = [
        LLMJudge("https://judge.example/v1", "m", variant=variant, attribute_calls=calls, **many)
        for variant in VARIANTS
        for calls in ("both", "each")
    ]
    steps = {step for judge in judges for step in judge.steps(None)} | {probes.VERDICT}
    pair = make_comparison(make_project())
    prefixes = [probes._probe(name, pair, {pair.prompt.pk: None}, defaultdict(int)).prefix for name in checks.NAMES]
    prefixes.append(probes._attack_prefix(pair))
    assert any(step.endswith(".final") for step in steps) and len(prefixes) > 5
    room = LabelerCall._meta.get_field("step").max_length
    assert not [name for name in (prefix + step for prefix in prefixes for step in steps) if len(name) > room]
