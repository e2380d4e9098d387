"""What is stored by somebody else while a file comes in: the import starts over and keeps what it finds."""

import threading

import pytest
from django.db import connection, connections, transaction

from annotator.formats import rows as checked_rows
from annotator.models import Comparison, Job, Labeler, Prompt, Response
from annotator.pipeline import compare, ingest, ingest_batch, ingest_known, ingest_reading, ingest_tables, pairs
from tests.annotator.test_ingest import write
from tests.annotator.test_ingest_storing import row, rows
from tests.builders import make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(ingest_reading, "BATCH", 2)
    monkeypatch.setattr(ingest_tables, "PULSE", 0)


def blind(monkeypatch, times):
    """The first `times` imports see nothing of what the project holds, as if it was stored a moment later."""
    known, begun, begin = ingest_known.Lookup.known, [], ingest_tables.Staging.begin
    monkeypatch.setattr(ingest_tables.Staging, "begin", lambda *given: (begun.append(1), begin(*given)))
    hidden = lambda *asked: ingest_known.Known() if len(begun) <= times else known(*asked)  # noqa: E731
    monkeypatch.setattr(ingest_known.Lookup, "known", hidden)
    return begun


def test_an_import_that_something_disturbed_starts_over_and_keeps_what_it_finds(tmp_path, monkeypatch):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, rows(1, start=3)))
    begun = blind(monkeypatch, times=2)
    assert ingest.check_file(project, ingest.Coming(write(tmp_path, rows(5)))).report.comparisons == 4
    assert len(begun) == 3 and Comparison.objects.count() == 1
    begun.clear()
    report = ingest.ingest_file(project, write(tmp_path, rows(5)))
    assert (len(begun), report.comparisons, report.skipped_existing, report.rows) == (3, 4, 1, 5)


@pytest.mark.django_db(transaction=True)
def test_the_progress_says_that_an_import_started_over(tmp_path, monkeypatch):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, rows(1, start=3)))
    blind(monkeypatch, times=1)
    Job.objects.request(project, Job.Kind.INGEST)
    job = Job.objects.claim(Job.Kind.INGEST)
    beat, said = Job.beat, []
    monkeypatch.setattr(Job, "beat", lambda self, *given: (said.append(given[2]), beat(self, *given)))
    assert ingest.ingest_file(project, write(tmp_path, rows(5)), job=job).comparisons == 4
    assert said[-1].startswith("5 rows read; started over") and not said[0].startswith("5 rows read; started over")


@pytest.mark.parametrize("patience", [None, 1.0])
def test_what_is_disturbed_again_and_again_is_said_and_nothing_is_left(tmp_path, monkeypatch, patience):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, rows(1, start=3)))
    begun = blind(monkeypatch, times=9)
    with pytest.raises(ingest.Disturbed, match="at the same time .*Import the file again") as raised:
        ingest.take_in(project, ingest.Coming(write(tmp_path, rows(5))), patience=patience)
    assert (len(begun), raised.value.result) == (1 if patience else 3, {"retry_after": 10})
    assert Comparison.objects.count() == 1


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_an_import_that_waits_for_who_waits_for_it_starts_over(tmp_path, monkeypatch):
    """A generator stores responses of the import's prompts in the other order: PostgreSQL ends one of the two."""
    project, take, stored = make_project(), ingest_batch.Storing.take, []
    ingest.ingest_file(project, write(tmp_path, rows(4)))
    prompts = list(project.prompts.order_by("pk"))
    again = [{**row(n), "id": f"again{n}", "response_b": f"New {n}."} for n in range(4)]

    def made(n):
        given = checked_rows.response_row({"text": f"New {n}."}, "", "")
        return Response(
            prompt=prompts[n], external_id=given.external_id, text=given.text, model="", text_hash=given.text_hash
        )

    def generate():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET LOCAL deadlock_timeout = '1min'")  # so that it is not the one that is ended
            made(3).save()
            written.set()
            waited.wait(60)
            stored.extend(Response.objects.bulk_create([made(0)], ignore_conflicts=True))
        connections.close_all()

    def slow(self, batch):
        problems = take(self, batch)
        if not written.is_set():
            other.start()
            written.wait(60)
            waited.set()
        return problems

    written, waited, other = threading.Event(), threading.Event(), threading.Thread(target=generate)
    monkeypatch.setattr(ingest_batch.Storing, "take", slow)
    report = ingest.ingest_file(project, write(tmp_path, again))
    other.join()
    assert stored and (report.comparisons, report.responses) == (4, 2)


def two_compared(project):
    """A project's prompt with two responses, and the entries that compare them, made anew each time it is asked."""
    prompt = Prompt.objects.create(project=project, external_id="p", turns=[], text_hash="p")
    for name in ("a", "b"):
        Response.objects.create(prompt=prompt, external_id=name, text=name, text_hash=name)
    asked = []

    def made(_beat):
        asked.append(1)
        responses = prompt.responses.order_by("pk")
        yield compare.entry(prompt, [tuple(responses)], {"pair_rule": "first"})

    return made, asked


def test_comparisons_that_the_site_makes_start_over_too(monkeypatch):
    project = make_project()
    made, asked = two_compared(project)
    blind(monkeypatch, times=2)
    report = ingest.ingest_entries(project, made)
    assert (len(asked), report.comparisons, report.prompts) == (3, 1, 0)
    blind(monkeypatch, times=9)
    with pytest.raises(ingest.Disturbed, match="No comparison was made: .* Ask for them again"):
        ingest.ingest_entries(project, made)
    assert (len(asked), Comparison.objects.count()) == (6, 1)


@pytest.mark.django_db(transaction=True)
def test_pairs_that_were_scored_are_not_lost_when_storing_them_starts_over(monkeypatch):
    project = make_project()
    two_compared(project)
    Response.objects.filter(external_id="a").update(text="longer", text_hash="longer")
    labeler = Labeler.objects.create(project=project, name="longest", kind="null_longest")
    job = pairs.request(labeler, "best_worst", 0, by=None)
    begun = blind(monkeypatch, times=1)
    assert pairs.run_pairs() == 1
    job.refresh_from_db()
    assert (len(begun), job.state, job.result) == (2, Job.State.DONE, {"comparisons": 1})
