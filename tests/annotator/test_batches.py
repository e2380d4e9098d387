"""Batch files: what goes out is reserved and asked once, what comes back is checked line by line and paid at cost."""

import contextlib
import json
from collections import Counter
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db.models import Sum
from django.urls import reverse

from annotator.models import BatchFile, Job, JobCancelled, Judgment, Labeler, LabelerCall, LedgerEntry
from annotator.pipeline import batch_results, batches, label, ledger, lost, operations, scope, versions, work
from annotator.pipeline.work import StepRefused
from tests.builders import make_comparison, make_disclosure, make_member, make_project

pytestmark = pytest.mark.django_db

PLACE = "https://judge.example/v1"


@pytest.fixture(autouse=True)
def storage(settings, tmp_path):
    settings.MEDIA_ROOT = tmp_path


@pytest.fixture
def project():
    project = make_project()
    ledger.set_cap(project, Decimal(100))
    for number in range(3):
        make_comparison(project, a=f"Water {number}", b=f"Drops {number}")
    return project


@pytest.fixture
def judge(project):
    labeler = Labeler.objects.create(project=project, name="judge", kind="llm_judge", price_per_call=Decimal("0.1"))
    versions.new_version(labeler, versions.judge_parameters(project, base_url=PLACE, model="m", logprobs=False))
    make_disclosure(project, PLACE)
    return labeler


def run():
    work.work(Job.Kind.LABEL, label.label_job)
    return Job.objects.latest("id")


def file_of(labeler, number=10, most="10", on="everything"):
    file, _job = batches.request_file(labeler, on=on, number=number, factor=Decimal("0.5"), most=Decimal(most), by=None)
    job = run()
    file.refresh_from_db()
    return file, job


def requests(file):
    return [json.loads(line) for line in batches.lines(file)]


def result(request, said="A", **changes):
    body = {
        "id": "c",
        "object": "chat.completion",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": said}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 100, "completion_tokens": 1, "total_tokens": 101},
    }
    line = {"custom_id": request["custom_id"], "response": {"status_code": 200, "body": body}, "error": None}
    return {**line, **changes}


def uploaded(*rows):
    content = b"".join((row if isinstance(row, bytes) else json.dumps(row).encode()) + b"\n" for row in rows)
    return default_storage.save("results.jsonl", ContentFile(content))


def take_in(file, *rows):
    batches.request_results(file, uploaded(*rows), by=None)
    job = run()
    file.refresh_from_db()
    return job


def paid():
    return LedgerEntry.objects.aggregate(sum=Sum("amount"))["sum"] or Decimal(0)


def statuses():
    return Counter(LabelerCall.objects.values_list("status", flat=True))


@pytest.mark.slow
def test_a_file_holds_every_call_in_openais_format_at_half_the_highest_price(judge, project):
    file, job = file_of(judge)
    assert job.state == Job.State.DONE and file.state == "out"
    written = requests(file)
    assert {(line["method"], line["url"]) for line in written} == {("POST", "/v1/chat/completions")}
    assert len({line["custom_id"] for line in written}) == len(written) == 6
    assert {line["body"]["model"] for line in written} == {"m"} and written[0]["body"]["max_tokens"] == 8
    shown = [line["body"]["messages"][-1]["content"] for line in written]
    assert "Water 0" in shown[0] and shown[0] != shown[1], "both orders"
    account = ledger.account_of(project)
    assert account.reserved == Decimal("0.05") * 6, "what no call holds went back"
    assert Decimal(10) > account.reserved > 0


@pytest.mark.slow
def test_what_is_out_is_not_asked_online_and_no_run_takes_it_for_lost(judge, project):
    file_of(judge, number=2)
    version = versions.in_use(judge)
    assert scope.unjudged(version, project.comparisons.all()).count() == 1
    assert lost.count_lost(judge) == 0
    file, job = file_of(judge)
    assert file.calls.count() == 2, "a second file holds only what is left"
    assert statuses() == {"in_flight": 6}


def test_results_become_judgments_and_cost_half_and_a_second_time_changes_nothing(judge, project):
    file, _job = file_of(judge)
    written = requests(file)
    said = [result(line, "A" if number % 2 == 0 else "B") for number, line in enumerate(written)]
    job = take_in(file, *said)
    assert job.state == Job.State.DONE, job.message
    assert file.state == "closed" and statuses() == {"ok": 6}
    assert [judgment.p_b for judgment in Judgment.objects.all()] == [0.0] * 3, "A first and then B second: A"
    assert {judgment.cost for judgment in Judgment.objects.all()} == {Decimal("0.1")}
    assert paid() == Decimal("0.05") * 6
    ledger.settle()
    account = ledger.account_of(project)
    assert (account.spent, account.reserved) == (Decimal("0.3"), 0)
    again = take_in(file, *said)
    assert again.state == Job.State.DONE
    assert paid() == Decimal("0.3") and Judgment.objects.count() == 3


@pytest.mark.slow
def test_a_file_cut_in_two_is_taken_in_in_two(judge):
    file, _job = file_of(judge)
    written = requests(file)
    take_in(file, *[result(line) for line in written[:3]])
    assert file.state == "out" and Judgment.objects.count() == 1
    assert len(requests(file)) == 3, "the download holds what is still out"
    take_in(file, *[result(line) for line in written[3:]])
    assert file.state == "closed" and Judgment.objects.count() == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("broken", "line", "name", "reason"),
    [
        (lambda rows: [b"{not json", *rows[1:]], 1, "", "not a JSON object"),
        (lambda rows: [rows[0], {**rows[1], "custom_id": "call-999999"}], 2, "custom_id", "no call of this file"),
        (lambda rows: [rows[0], {**rows[1], "custom_id": None}], 2, "custom_id", "no call of this file"),
        (lambda rows: [rows[0], rows[1], rows[0]], 3, "custom_id", "also on line 1"),
        (lambda rows: [{**rows[0], "response": None}], 1, "response", "missing"),
        (lambda rows: [{**rows[0], "response": {"status_code": "200"}}], 1, "response.status_code", "no number"),
        (
            lambda rows: [{**rows[0], "response": {"status_code": 200, "body": {"choices": []}}}],
            1,
            "response.body.choices",
            "no message",
        ),
        (lambda rows: [{**rows[0], "error": "late"}], 1, "error", "neither null nor"),
    ],
)
def test_a_file_with_a_fault_is_refused_whole_with_line_and_field(judge, broken, line, name, reason):
    file, _job = file_of(judge)
    job = take_in(file, *broken([result(request) for request in requests(file)]))
    assert job.state == Job.State.FAILED
    told = job.result["errors"][0]
    assert (told["line"], told["field"]) == (line, name) and reason in told["reason"]
    assert statuses() == {"in_flight": 6} and paid() == 0


def test_a_result_of_another_judges_file_is_unknown(judge, project):
    other = Labeler.objects.create(project=project, name="other", kind="llm_judge")
    versions.new_version(other, versions.judge_parameters(project, base_url=PLACE, model="m"))
    theirs, _job = file_of(other)
    file, _job = file_of(judge)
    job = take_in(file, result(requests(theirs)[0]))
    assert job.result["errors"][0]["field"] == "custom_id"


@pytest.mark.slow
def test_requests_that_failed_cost_nothing_and_can_be_asked_again(judge):
    file, _job = file_of(judge)
    written = requests(file)
    expired = result(written[0], response=None, error={"code": "batch_expired", "message": "sk-secret said so"})
    refused = result(written[1], response={"status_code": 400, "body": {"error": {"message": "sk-secret"}}})
    garbled = result(written[2], "no verdict at all")
    take_in(file, expired, refused, garbled, *[result(line) for line in written[3:]])
    assert statuses() == {"failed": 2, "unparsed": 1, "ok": 3}
    errors = set(LabelerCall.objects.filter(status="failed").values_list("error", flat=True))
    assert errors == {"batch: batch_expired", "batch: HTTP 400 (failed)"}, "their words, never their text"
    assert paid() == Decimal("0.05") * 4
    again, _job = file_of(judge)
    assert again.calls.count() == 2


@pytest.mark.slow
def test_giving_up_gives_the_money_back_and_late_results_are_not_taken(judge, project):
    file, _job = file_of(judge)
    written = requests(file)
    take_in(file, result(written[0]))
    assert batches.close(file) == 5
    ledger.settle()
    account = ledger.account_of(project)
    assert (account.spent, account.reserved) == (Decimal("0.05"), 0)
    take_in(file, *[result(line) for line in written])
    assert paid() == Decimal("0.05") and Judgment.objects.count() == 0
    file.refresh_from_db()
    assert file.state == "closed"


def test_the_money_bounds_the_file(judge, project):
    file, _job = file_of(judge, most="0.12")
    assert file.calls.count() == 2
    assert ledger.account_of(project).reserved == Decimal("0.1")
    ledger.set_cap(project, Decimal("0.1"))
    file, job = file_of(judge, most="5")
    assert (job.state, file.state) == (Job.State.FAILED, "closed") and "Raise the budget" in job.message


def test_without_a_leads_word_nothing_is_written(judge, project):
    project.disclosures.update(withdrawn_at="2026-01-01T00:00Z")
    file, job = file_of(judge)
    assert job.state == Job.State.FAILED and "Texts may not leave" in job.message
    assert not LabelerCall.objects.exists() and file.state == "closed"


def test_a_worker_that_died_while_it_wrote_goes_on_where_it_was(judge):
    file, _job = file_of(judge, number=2)
    BatchFile.objects.update(state="preparing", asked_for=3)
    file.refresh_from_db()
    batches.fill(file, lambda done, total: None)
    assert statuses() == {"in_flight": 4}, "nothing twice; the money had gone back, so nothing more"


def test_a_judge_with_programs_cannot_go_by_file(judge):
    versions.new_version(judge, {**judge.version.parameters, "tools": ["calculator"]})
    judge.versions.exclude(parameters__has_key="tools").update(accepted_at="2020-01-01T00:00Z")
    with pytest.raises(StepRefused, match="cannot go by file"):
        batches.request_file(judge, on="everything", number=1, factor=Decimal(1), most=Decimal(1), by=None)


def test_a_lead_does_it_all_in_the_browser(client, judge, project):
    client.force_login(make_member(project, "lead"))
    page = reverse("labeler_batches", args=[project.pk, judge.pk])
    answer = client.post(page, {"on": "everything", "number": "10", "factor": "0.5", "most": "2"})
    assert answer.status_code == 302
    run()
    file = BatchFile.objects.get()
    assert b"6 calls: 6 out" in client.get(page).content
    download = client.get(reverse("batch_download", args=[project.pk, judge.pk, file.pk]))
    written = [json.loads(line) for line in b"".join(download.streaming_content).splitlines()]
    content = "\n".join(json.dumps(result(line)) for line in written)
    results = ContentFile(content.encode(), name="results.jsonl")
    client.post(reverse("batch_results", args=[project.pk, judge.pk, file.pk]), {"file": results})
    assert run().state == Job.State.DONE
    assert Judgment.objects.count() == 3
    assert b"Closed" in client.get(page).content
    assert client.post(page, {"on": "everything", "number": "0"}).status_code == 422


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_results_are_removed_when_their_job_has_ended_and_not_before(judge, tmp_path):
    """A worker that dies after it stored the last verdict leaves its job to another, which has to find the upload."""
    file, _job = file_of(judge)
    for rows, ended in (([b"no json"], Job.State.FAILED), ([result(each) for each in requests(file)], Job.State.DONE)):
        batches.request_results(file, uploaded(*rows), by=None)
        job = Job.objects.claim(Job.Kind.LABEL)
        with contextlib.suppress(StepRefused):
            label.label_job(job)
        batch_results.remove_taken()
        assert list(tmp_path.rglob("*.jsonl")), "its worker died here"
        Job.objects.filter(pk=job.pk).update(lease_until="2020-01-01T00:00Z")
        label.run_labels()
        job.refresh_from_db()
        assert (job.state, list(tmp_path.rglob("*.jsonl"))) == (ended, [])


def test_results_that_no_job_took_in_are_removed_when_the_file_is_given_up(
    judge, tmp_path, django_capture_on_commit_callbacks
):
    file, _job = file_of(judge)
    job = batches.request_results(file, uploaded(b"{}"), by=None)
    job.cancel()
    with django_capture_on_commit_callbacks(execute=True):
        batches.close(file)
    assert not list(tmp_path.rglob("*.jsonl"))


def asked_for(judge, **more):
    given = {"on": "everything", "number": 10, "factor": Decimal("0.5"), "most": Decimal(10), "by": None}
    return batches.request_file(judge, **{**given, **more})


def reserved(judge):
    return ledger.account_of(judge.project).reserved


def test_a_file_whose_writing_is_cancelled_is_closed_and_its_money_free(judge, monkeypatch):
    file, job = asked_for(judge)
    beat = Job.beat

    def cancelled(self, *told):
        assert LabelerCall.objects.filter(status="in_flight").exists()
        self.cancel()
        beat(self, *told)

    monkeypatch.setattr(Job, "beat", cancelled)
    assert run().state == Job.State.CANCELLED
    file.refresh_from_db()
    assert (file.state, reserved(judge)) == ("closed", 0)
    assert statuses() == {"failed": 6}


def test_a_file_whose_worker_is_taken_over_stays_for_the_one_that_goes_on(judge, monkeypatch):
    file, _job = asked_for(judge)

    def taken_over(self, *told):
        raise JobCancelled(str(self))

    monkeypatch.setattr(Job, "beat", taken_over)
    run()
    file.refresh_from_db()
    assert file.state == "preparing" and statuses() == {"in_flight": 6}


@pytest.mark.slow
def test_the_tick_closes_files_that_no_job_writes_any_more_and_no_others(judge, client, project):
    waits, _job = asked_for(judge)
    assert batches.close_abandoned() == 0
    assert run().state == Job.State.DONE
    assert batches.close_abandoned() == 0, "it is out"
    dead, _job = asked_for(judge)
    batches._hold(dead, batches._desk(dead, batches._set_aside(dead)), [])
    held = reserved(judge)
    client.force_login(make_member(project, "lead"))
    page = client.get(reverse("labeler_batches", args=[project.pk, judge.pk])).content.decode()
    assert page.count("Give it up") == page.count("Give up what is out") == 1
    operations.set_enabled(judge, False)
    assert batches.close_abandoned() == 1
    dead.refresh_from_db()
    waits.refresh_from_db()
    assert (dead.state, waits.state) == ("closed", "out") and reserved(judge) == held - Decimal(10)


def test_a_file_that_is_given_up_while_it_is_written_takes_no_more_calls(judge, monkeypatch):
    Labeler.objects.filter(pk=judge.pk).update(price_per_call=0)
    file, _job = asked_for(judge, factor=Decimal(1), most=Decimal(0))
    look = batches._Desk.look

    def given_up(self, comparisons):
        batches.close(BatchFile.objects.get(pk=file.pk))
        return look(self, comparisons)

    monkeypatch.setattr(batches._Desk, "look", given_up)
    job = run()
    assert job.state == Job.State.FAILED and "given up" in job.message
    assert not LabelerCall.objects.filter(status="in_flight").exists()


def test_a_file_that_is_being_written_cannot_be_downloaded(judge, client, project):
    file, _job = asked_for(judge)
    client.force_login(make_member(project, "lead"))
    answer = client.get(reverse("batch_download", args=[project.pk, judge.pk, file.pk]))
    assert answer.status_code == 302


def test_a_file_costs_what_was_confirmed_whatever_becomes_of_the_prices(judge):
    file, _job = file_of(judge, most="0.3")
    Labeler.objects.filter(pk=judge.pk).update(price_per_call=Decimal(40), price_per_million_output=Decimal(10))
    assert take_in(file, *[result(line) for line in requests(file)]).state == Job.State.DONE
    assert paid() == Decimal("0.3") and statuses() == {"ok": 6}


def test_a_file_never_costs_more_than_was_confirmed_whatever_the_endpoint_counts(judge):
    Labeler.objects.filter(pk=judge.pk).update(price_per_million_output=Decimal(1000))
    file, _job = file_of(Labeler.objects.get(pk=judge.pk), most="1")
    held = reserved(judge)
    said = [result(line) for line in requests(file)]
    for row in said:
        row["response"]["body"]["usage"]["completion_tokens"] = 100_000
    assert take_in(file, *said).state == Job.State.DONE
    assert paid() == held <= 1 and Judgment.objects.count() == 3
    assert all("more than could be foreseen" in call.error for call in LabelerCall.objects.all())
