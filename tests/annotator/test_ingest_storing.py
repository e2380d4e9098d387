"""Batches are stored while the file is still being read, and an import is all or nothing whatever ends it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import pytest
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import OperationalError, connection, connections, transaction
from django.test.utils import CaptureQueriesContext

from annotator.formats import rows as checked_rows
from annotator.models import Comparison, Gold, Job, JobCancelled, Judgment, Prompt, Rater, Response
from annotator.pipeline import ingest, ingest_batch, ingest_known, ingest_reading, ingest_tables, work
from annotator.readings import under_way
from tests.annotator.test_ingest import counts, refusal, write
from tests.builders import make_project

pytestmark = pytest.mark.django_db

VOTES = [{"rater": "ann", "kind": "person", "level": 1}, {"rater": "judge", "kind": "ai", "p_b": 0.25}]


def row(n):
    sides = {"response_a": f"So {n}.", "response_b": f"Because {n}."}
    return {"id": f"q{n}", "prompt": f"Why {n}?", **sides, "judgments": VOTES}


def rows(count, start=0):
    return [row(n) for n in range(start, start + count)]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(ingest_reading, "BATCH", 2)
    monkeypatch.setattr(ingest_tables, "PULSE", 0)


def reasons(refused):
    return [(error["line"], error["field"], error["reason"]) for error in refused["errors"]]


def test_a_file_of_many_batches_comes_in_in_its_order(tmp_path):
    project = make_project()
    report = ingest.ingest_file(project, write(tmp_path, rows(7)))
    assert (report.prompts, report.responses, report.comparisons, report.judgments) == (7, 14, 7, 14)
    names = [f"q{n}" for n in range(7)]
    assert list(project.comparisons.order_by("pk").values_list("external_id", flat=True)) == names
    assert list(project.comparisons.order_by("queue_order").values_list("queue_order", flat=True)) == list(range(1, 8))


def test_an_error_on_the_last_line_leaves_nothing(tmp_path):
    project = make_project()
    before = counts()
    refused = refusal(project, write(tmp_path, [*rows(6), {"id": "bad"}]))
    assert [error["line"] for error in refused["errors"]] == [7] and counts() == before


def test_what_repeats_in_a_later_batch_is_refused_with_both_lines(tmp_path):
    again = [{**row(0), "response_b": "Other."}]
    refused = refusal(make_project(), write(tmp_path, [*rows(5), *again]))
    assert reasons(refused) == [(6, "id", "the id q0 is already on line 1")]
    assert not Comparison.objects.exists()


def test_a_comparison_of_the_project_twice_in_a_file_is_refused(tmp_path):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, rows(5)))
    refused = refusal(project, write(tmp_path, [*rows(5), row(0)]))
    assert reasons(refused) == [(6, "id", "the id q0 is already on line 1")]


@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        ({"prompt": "Else?"}, "prompt", "the prompt id p has another text on line 1"),
        ({"x": "Uno"}, "responses[0].text", "the response id x has another text or model on line 1"),
    ],
)
def test_an_id_with_another_text_in_a_later_batch_is_refused_with_both_lines(tmp_path, change, field, reason):
    def shared(name, prompt="Count.", x="One"):
        return {"id": name, "prompt_id": "p", "prompt": prompt,
                "responses": [{"id": "x", "text": x}, {"id": "y", "text": "Two"}]}  # fmt: skip

    refused = refusal(make_project(), write(tmp_path, [shared("a"), *rows(3), shared("b"), shared("c", **change)]))
    assert reasons(refused) == [(6, field, reason)]
    assert not Prompt.objects.exists()


def says(name, prompt, x):
    responses = [{"id": "x", "text": x}, {"id": "y", "text": "2"}]
    return {"id": name, "prompt_id": "new", "prompt": prompt, "responses": responses}


SAYS = says("c1", "One?", "1")


@pytest.mark.parametrize("between", [0, 5])
@pytest.mark.parametrize("stored", [["c1"], ["c1", "c2"]])
@pytest.mark.parametrize(
    ("change", "field", "reason"),
    [
        (("Else?", "1"), "prompt", "the prompt id new has another text on line 1"),
        (("One?", "Uno"), "responses[0].text", "the response id x has another text or model on line 1"),
    ],
)
def test_an_id_with_two_texts_is_refused_where_its_first_comparison_is_there_under_other_ids(
    tmp_path, stored, between, change, field, reason
):
    project = make_project()
    second = says("c2", *change)
    there = [{**given, "prompt_id": f"old {given['id']}"} for given in (SAYS, second) if given["id"] in stored]
    ingest.ingest_file(project, write(tmp_path, there))
    # The same ids with the same texts are no contradiction, and bring nothing.
    assert ingest.ingest_file(project, write(tmp_path, [SAYS])).prompts == 0
    refused = refusal(project, write(tmp_path, [SAYS, *rows(between), second]))
    assert {(2 + between, field, reason)} <= {
        (each["line"], each["field"], each["reason"]) for each in refused["errors"]
    }
    assert project.prompts.count() == len(stored)


def test_ids_that_nothing_gets_are_noted_for_files_alone_that_have_such(tmp_path):
    project = make_project()
    noted = statements(lambda: ingest.ingest_file(project, write(tmp_path, [SAYS, *rows(5)])), "ingest_unstored")
    assert noted == []
    others = [{**SAYS, "prompt_id": "other"}, {**SAYS, "id": "c3", "prompt_id": "other"}]
    noted = statements(lambda: ingest.ingest_file(project, write(tmp_path, [*others, *rows(5)])), "ingest_unstored")
    assert len(noted) > 2
    assert project.prompts.filter(external_id="other").count() == 1


def test_of_what_the_project_has_half_only_the_other_half_is_new(tmp_path):
    project = make_project()
    ingest.ingest_file(project, write(tmp_path, [{**each, "judgments": VOTES[:1]} for each in rows(4)]))
    report = ingest.ingest_file(project, write(tmp_path, rows(4, start=2)))
    assert (report.prompts, report.responses, report.comparisons, report.skipped_existing) == (2, 4, 2, 2)
    # AI's two that the first file lacked, and two each of what is new.
    assert report.judgments == 6 and Judgment.objects.count() == 10 and Response.objects.count() == 12


def test_fields_keep_what_copy_and_arrays_would_read_as_their_own_signs(tmp_path):
    odd = ['a "b" \\ c', "{},NULL", "tab\tline\n\\."]
    vote = {"rater": 'o"\\', "kind": "ai", "p_b": 0.5, "flags": odd, "justification": odd[2], "note": odd}
    judged = {**row(0), "id": odd[2], "criterion": odd[0], "judgments": [vote]}
    for _again in range(2):
        ingest.ingest_file(make_project(), write(tmp_path, [judged]))
        stored = Judgment.objects.order_by("pk").last()
        assert (stored.flags, stored.justification, stored.provenance) == (odd, odd[2], {"note": odd})
        assert (stored.comparison.external_id, stored.comparison.criterion) == (odd[2], odd[0])
        assert stored.rater.labeler_version.labeler.name == 'o"\\'


def test_the_transaction_around_an_import_goes_on_as_before(tmp_path):
    ingest.ingest_file(make_project(), write(tmp_path, rows(3)))
    with connection.cursor() as cursor:
        cursor.execute("SHOW enable_seqscan")
        assert cursor.fetchone() == ("on",)
        cursor.execute("SELECT to_regclass('pg_temp.ingest_met')")
        assert cursor.fetchone() == (None,)
        # Keys are looked at in the end again: a response may be of no prompt for a moment.
        cursor.execute("UPDATE annotator_response SET prompt_id = -prompt_id")
        cursor.execute("UPDATE annotator_response SET prompt_id = -prompt_id")


@pytest.mark.slow
def test_what_is_there_is_found_by_its_index_in_a_project_that_no_statistics_know(tmp_path):
    """Else a batch reads the whole project; a project that comes in now is in no statistics."""
    ingest.ingest_file(make_project(), write(tmp_path, rows(300)))
    given = {"project": 0, "first": 0, "keys": ["q1", "q2"], "ids": [0, 0], "prompts": ["p", "q"]}
    queries = {
        "prompt_external_id_once": ingest_known.PROMPTS,
        "response_external_id_once": ingest_known.RESPONSES,
        "comparison_external_id_once": ingest_known.COMPARISONS,
    }
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE annotator_prompt, annotator_response, annotator_comparison")
        cursor.execute(ingest_batch.BEGIN)
        cursor.execute(ingest_batch.SETTINGS)
        for index, query in queries.items():
            cursor.execute(f"EXPLAIN {query}", given)
            plan = "\n".join(line for (line,) in cursor.fetchall())
            assert f"Index Scan using {index}" in plan and "Sort" not in plan and "Seq Scan" not in plan, plan


@pytest.mark.django_db(transaction=True)
def test_an_import_cancelled_in_the_middle_leaves_nothing(tmp_path, monkeypatch):
    project = make_project()
    Job.objects.request(project, Job.Kind.INGEST)
    job, beat, stored = Job.objects.claim(Job.Kind.INGEST), Job.beat, []
    take = ingest_batch.Storing.take
    monkeypatch.setattr(ingest_batch.Storing, "take", lambda self, batch: stored.append(batch) or take(self, batch))

    def cancelled_after_a_batch(self, *progress):
        if len(stored) > 1:
            Job.objects.get(pk=self.pk).cancel()
        beat(self, *progress)

    monkeypatch.setattr(Job, "beat", cancelled_after_a_batch)
    with pytest.raises(JobCancelled):
        ingest.ingest_file(project, write(tmp_path, rows(20)), job=job)
    assert 1 < len(stored) < 10 and not Prompt.objects.exists() and not Judgment.objects.exists()


def test_an_import_cancelled_after_its_last_row_leaves_nothing(tmp_path, monkeypatch):
    """What is left to do then, with the last batch and the hash of gigabytes, takes its time too."""
    project = make_project()
    Job.objects.request(project, Job.Kind.INGEST)
    job, record = Job.objects.claim(Job.Kind.INGEST), ingest.Staged.record

    def cancelled_meanwhile(self, *given):
        Job.objects.get(pk=job.pk).cancel()
        record(self, *given)

    monkeypatch.setattr(ingest.Staged, "record", cancelled_meanwhile)
    with pytest.raises(JobCancelled):
        ingest.ingest_file(project, write(tmp_path, rows(3)), job=job)
    assert not Prompt.objects.exists() and not project.imports.exists()


@pytest.mark.django_db(transaction=True)
def test_two_imports_into_one_project_at_once_store_each_row_once(tmp_path):
    project, path, reports = make_project(), write(tmp_path, rows(9)), []

    def bring():
        try:
            reports.append(ingest.ingest_file(project, path))
        finally:
            connections.close_all()

    threads = [threading.Thread(target=bring) for _number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(report.comparisons for report in reports) == [0, 9]
    assert sorted(report.skipped_existing for report in reports) == [0, 9]
    assert (Comparison.objects.count(), Judgment.objects.count()) == (9, 18)


@pytest.mark.django_db(transaction=True)
def test_of_an_import_whose_worker_died_nothing_is_left_and_it_can_be_asked_for_again(tmp_path, monkeypatch):
    project, path, take, stored = make_project(), write(tmp_path, rows(9)), ingest_batch.Storing.take, []

    def dies(self, batch):
        stored.append(take(self, batch))
        if len(stored) == 3:
            self.cursor.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return stored[-1]

    with monkeypatch.context() as dying:
        dying.setattr(ingest_batch.Storing, "take", dies)
        with pytest.raises(OperationalError):
            ingest.ingest_file(project, path)
    connection.close()
    assert not Prompt.objects.exists()
    assert ingest.ingest_file(project, path).comparisons == 9


@pytest.mark.django_db(transaction=True)
def test_a_cancelled_import_does_not_wait_for_another_one(tmp_path):
    project = make_project()
    Job.objects.request(project, Job.Kind.INGEST)
    job = Job.objects.claim(Job.Kind.INGEST)
    job.cancel()
    held, over = threading.Event(), threading.Event()

    def hold():
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [project.pk])
            held.set()
            over.wait(60)
        connections.close_all()

    other = threading.Thread(target=hold)
    other.start()
    held.wait(60)
    try:
        with pytest.raises(JobCancelled):
            ingest.ingest_file(project, write(tmp_path, rows(1)), job=job)
    finally:
        over.set()
        other.join()


def test_a_labeler_that_judges_by_itself_is_refused_in_whatever_batch_it_comes(tmp_path):
    project = make_project()
    project.labelers.create(name="longest", kind="longest")
    own = {"rater": "longest", "kind": "ai", "p_b": 0.5}
    with pytest.raises(work.StepRefused) as raised:
        ingest.ingest_file(project, write(tmp_path, [*rows(4), {**row(4), "judgments": [own]}]))
    assert [(error["line"], error["field"]) for error in raised.value.result["errors"]] == [(5, "judgments[0]")]


def statements(run, part):
    """What `run` executes that holds `part`, not counting COPY."""
    with CaptureQueriesContext(connection) as captured:
        run()
    return [query["sql"] for query in captured if part in query["sql"]]


@pytest.mark.django_db(transaction=True)
def test_what_the_database_refuses_while_rows_are_copied_is_said_and_the_upload_goes(tmp_path, monkeypatch):
    monkeypatch.setattr(checked_rows, "MOST_MONEY", Decimal(10**9))
    project, dear = make_project(), {**row(9), "judgments": [{**VOTES[0], "cost": 10**7}]}
    content = ContentFile(write(tmp_path, [*rows(5), dear]).read_bytes())
    name = default_storage.save(f"uploads/{project.pk}/dear.jsonl", content)
    Job.objects.request(project, Job.Kind.INGEST, upload=name, filename="dear.jsonl")
    with pytest.raises(work.StepRefused, match="the database refused a value: numeric field overflow"):
        ingest.ingest_upload(Job.objects.claim(Job.Kind.INGEST))
    assert not default_storage.exists(name) and not Prompt.objects.exists()


def test_lines_of_contradictions_are_looked_up_by_an_index_and_only_as_long_as_they_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(ingest_batch, "ERRORS_SHOWN", 3)
    wrong = [{**each, "id": f"again-{each['id']}", "prompt_id": each["id"], "prompt": "Else?"} for each in rows(9)]
    first = [{**each, "prompt_id": each["id"]} for each in rows(9)]
    path, found = write(tmp_path, [*first, *wrong]), []
    asked = statements(lambda: found.append(refusal(make_project(), path)), "ingest_first f")
    assert len(asked) == 3 and len(found[0]["errors"]) == 9
    assert [each["reason"][-6:] for each in found[0]["errors"][:3]] == ["line 1", "line 2", "line 3"]
    with connection.cursor() as cursor:
        cursor.execute(ingest_batch.BEGIN)
        cursor.execute(
            "INSERT INTO ingest_first SELECT 'Prompt', n, ARRAY[n], ARRAY[n] FROM generate_series(1, 5000) n"
        )
        cursor.execute("ANALYZE ingest_first")
        cursor.execute(f"EXPLAIN {ingest_batch.FIRST}", {"model": "Prompt", "id": 7})
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert "Index Scan Backward" in plan and "Sort" not in plan, plan


@pytest.mark.parametrize("wrong", [[], [{**row(0), "id": "again", "prompt_id": "q0", "prompt": "Else?"}]])
def test_a_dry_run_and_what_is_refused_write_no_texts_and_no_judgments(tmp_path, monkeypatch, wrong):
    end, seen = ingest_batch.Storing.end, []

    def look(self):
        last = Comparison.objects.get(external_id="q9")
        seen.append((last.response_b.text, last.judgments.count()))
        return end(self)

    monkeypatch.setattr(ingest_batch.Storing, "end", look)
    first = {**row(0), "prompt_id": "q0"}
    path, project = write(tmp_path, [first, *rows(2, start=1), *wrong, *rows(7, start=3)]), make_project()
    found = ingest.check_file(project, ingest.Coming(path))
    assert seen == [("", 0)] and not Prompt.objects.exists()
    if wrong:
        assert found.report is None and found.errors.shown == refusal(project, path)["errors"]
        assert seen == [("", 0), ("", 0)]
    else:
        assert found.report == ingest.ingest_file(project, path)
        assert seen[1] == ("Because 9.", 2)


@pytest.mark.django_db(transaction=True)
def test_nobody_waits_for_what_a_dry_run_writes(tmp_path, monkeypatch):
    project, end, over = make_project(), ingest_batch.Storing.end, []

    def elsewhere():
        try:
            return under_way.is_over(project.pk, under_way.TABLES, 0)
        finally:
            connections.close_all()

    def look(self):
        with ThreadPoolExecutor(1) as other:
            over.append(other.submit(elsewhere).result())
        return end(self)

    monkeypatch.setattr(ingest_batch.Storing, "end", look)
    path = write(tmp_path, rows(5))
    ingest.check_file(project, ingest.Coming(path))
    ingest.ingest_file(project, path)
    assert over == [True, False]


def test_golds_of_comparisons_that_are_there_are_copied_too(tmp_path):
    project, known = make_project(), {"gold": {"use": "hidden", "better": ["b"]}}
    ingest.ingest_file(project, write(tmp_path, rows(6)))
    path = write(tmp_path, [{**each, **known} for each in rows(6)])
    assert not statements(lambda: ingest.ingest_file(project, path), 'INTO "annotator_gold"')
    assert Gold.objects.filter(use="hidden", better=["b"]).count() == 6
    assert ingest.ingest_file(project, path).golds == 0


def test_people_and_labelers_are_made_a_batch_at_a_time(tmp_path):
    votes = [{"rater": f"p{n}", "kind": "person", "level": 1} for n in range(40)]
    votes += [{"rater": f"ai{n}", "kind": "ai", "p_b": 0.5} for n in range(40)]
    project, first = make_project(), write(tmp_path, [{**row(0), "judgments": votes[20:60]}])
    ingest.ingest_file(project, first)
    path = write(tmp_path, [{**row(1), "judgments": votes}])
    asked = statements(lambda: ingest.ingest_file(project, path), "annotator_rater")
    assert len(asked) < 8 and project.raters.count() == 80 and Judgment.objects.count() == 120
    assert Rater.objects.people().exclude(pseudonym="").count() == 40


def test_a_line_is_found_also_where_somebody_else_drew_ids_in_between(tmp_path, monkeypatch):
    draw = ingest_batch.Storing._draw

    def between(self, model, count):
        return [pk for _row in range(count) for pk in draw(self, model, 2)[1:]]

    first = [{**each, "prompt_id": each["id"]} for each in rows(9)]
    wrong = [{**row(n), "id": f"again{n}", "prompt_id": f"q{n}", "prompt": "Else?"} for n in (1, 2, 8)]
    path, project = write(tmp_path, [*first, *wrong]), make_project()
    usual = refusal(project, path)
    assert [error["reason"][-6:] for error in usual["errors"] if error["field"] == "prompt"] == [
        "line 2",
        "line 3",
        "line 9",
    ]
    monkeypatch.setattr(ingest_batch.Storing, "_draw", between)
    assert refusal(project, path) == usual


@pytest.mark.django_db(transaction=True)
def test_the_planner_knows_of_many_new_comparisons_at_once(tmp_path, monkeypatch):
    """Not a minute later: labels that are made in between would read more of the tables from batch to batch."""

    def known():
        with connection.cursor() as cursor:
            cursor.execute("SELECT coalesce(max(reltuples), 0) FROM pg_class WHERE relname = 'annotator_comparison'")
            return int(cursor.fetchone()[0])

    with connection.cursor() as cursor:
        cursor.execute("ANALYZE annotator_comparison")
    monkeypatch.setattr(ingest_tables, "MANY", 10)
    ingest.ingest_file(make_project(), write(tmp_path, rows(9)))
    before = known()
    ingest.ingest_file(make_project(), write(tmp_path, rows(10)))
    assert (before, known()) == (0, 19)
    monkeypatch.setattr(ingest_tables, "MUCH", 1)
    ingest.ingest_file(make_project(), write(tmp_path, rows(15)))
    assert known() == 19
