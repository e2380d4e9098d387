"""Rows in: the checks of a file, all or nothing, with row and field; limits of size, depth and text."""

import json
import os
from types import SimpleNamespace

import psycopg
import pytest
from django.core.files.storage import default_storage
from django.db import connection

from annotator.api import bodies, comparisons, imports, once
from annotator.models import Comparison, Import, Job, Judgment
from annotator.pipeline import ingest, ingest_known, record, work
from tests.api.program import NDJSON, Program, assert_problem, lead_program, row
from tests.builders import make_member, make_project

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project():
    return make_project()


@pytest.fixture
def program(project):
    return lead_program(project)


@pytest.fixture
def address(project):
    return f"/projects/{project.pk}/comparisons"


def test_rows_come_in_as_a_list_and_as_lines(project, program, address):
    made = program.post(address, [row(1), row(2, judgments=[{"kind": "person", "level": 1}])])
    assert made.status_code == 201
    assert (made.json()["comparisons"], made.json()["judgments"], made.json()["skipped_existing"]) == (2, 1, 0)
    lines = "\n".join(json.dumps(row(number)) for number in (2, 3)).encode()
    assert program.post(address, lines, media_type=NDJSON).json()["comparisons"] == 1
    broken = assert_problem(program.post(address, lines + b"\n{", media_type=NDJSON), 422)
    assert broken["errors"][0]["reason"].endswith(" at character 2")
    assert sorted(project.comparisons.values_list("external_id", flat=True)) == ["q1", "q2", "q3"]
    assert Import.objects.filter(project=project, created_by=program.token.user).count() == 2


def test_one_wrong_row_keeps_all_out_and_is_named(project, program, address):
    problem = assert_problem(program.post(address, [row(1), row(2, response_a=5), row(3, response_b="")]), 422)
    assert [(fault["row"], fault["field"]) for fault in problem["errors"]] == [(2, "response_a"), (3, "response_b")]
    assert not project.comparisons.exists()


def test_a_known_id_with_another_text_is_refused(program, address):
    program.post(address, [row(1)])
    problem = assert_problem(program.post(address, [row(1, response_a="Something else.")]), 422)
    assert problem["errors"][0]["row"] == 1 and "another text" in problem["errors"][0]["reason"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 422),
        (b"[]", 422),
        (b"{}", 422),
        (b"7", 422),
        (b"[7]", 422),
        (b"[{", 400),
        (b"\xff\xfe", 400),
        (b'[{"id": NaN}]', 400),
        (b"[" * 100_000, 400),
        (b'[{"a":' + b'{"a":' * 60 + b"1" + b"}" * 61 + b"]", 422),
        (json.dumps([{**row(1), "prompt": "a\0b"}]).encode(), 422),
        (json.dumps([{**row(1), "prompt": "\ud800"}]).encode(), 422),
        (json.dumps([{**row(1), "metadata": {"\0": 1}}]).encode(), 422),
        (json.dumps([row(number) for number in range(1001)]).encode(), 422),
    ],
)
def test_what_cannot_be_rows_is_refused_in_words(program, address, body, status):
    assert_problem(program.post(address, body), status)
    assert not Comparison.objects.exists()


def test_a_body_that_is_too_large_is_not_read(program, address):
    assert_problem(program.post(address, b" " * (bodies.ROWS_SIZE + 1)), 413)
    assert_problem(program.post(address.replace("comparisons", "exports"), b" " * (6 * 2**20)), 413)


def test_judgments_of_comparisons_that_are_there(project, program, address):
    program.post(address, [row(1), row(2)])
    judged = [
        {"comparison": "q2", "kind": "person", "rater": "ann", "level": 1},
        {"comparison": "q1", "kind": "ai", "rater": "judge-1", "p_b": 0.25},
        {"comparison": "q2", "kind": "person", "rater": "bob", "level": -1},
    ]
    into = f"/projects/{project.pk}/judgments"
    made = program.post(into, judged)
    assert made.status_code == 201 and made.json() == {"judgments": 3}
    assert program.post(into, judged).json() == {"judgments": 0}
    levels = Judgment.objects.filter(comparison__external_id="q2").values_list("rater__external_id", "level")
    assert sorted(levels) == [("ann", 1), ("bob", -1)]


def test_a_wrong_judgment_is_named_by_its_row(project, program, address):
    program.post(address, [row(1), row(2)])
    into = f"/projects/{project.pk}/judgments"
    judged = [
        {"comparison": "q2", "kind": "person", "rater": "ann", "level": 1},
        {"comparison": "q1", "kind": "person", "rater": "ann", "level": 1},
        {"comparison": "q2", "kind": "person", "rater": "bob", "level": 77},
    ]
    problem = assert_problem(program.post(into, judged), 422)
    assert [(fault["row"], fault["field"]) for fault in problem["errors"]] == [(3, "level")]
    problem = assert_problem(program.post(into, [judged[0], {"kind": "person"}]), 422)
    assert [(fault["row"], fault["field"]) for fault in problem["errors"]] == [(2, "comparison")]
    problem = assert_problem(program.post(into, [judged[0], {"comparison": "q9", "kind": "person"}]), 422)
    assert [(fault["row"], fault["field"]) for fault in problem["errors"]] == [(2, "comparison")]
    assert not Judgment.objects.exists()


def test_a_request_does_not_wait_for_a_long_import(project, program, address, monkeypatch):
    monkeypatch.setattr(comparisons, "PATIENCE", 0)
    monkeypatch.setattr(record, "PATIENCE", 0)
    assert program.post(address, [row(1)]).status_code == 201
    judged = [{"comparison": "q1", "kind": "person", "level": 1}]
    # The test's own transaction has the project's lock by now, which another import takes in another session.
    other_project = make_project()
    lead = lead_program(other_project)
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("SELECT pg_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [other_project.pk])
        refused = lead.post(f"/projects/{other_project.pk}/comparisons", [row(1)])
        assert "Another import" in assert_problem(refused, 409)["detail"] and refused.headers["Retry-After"] == "10"
    assert program.post(f"/projects/{project.pk}/judgments", judged).status_code == 201


def test_a_request_that_something_disturbed_is_to_be_sent_again(program, address, monkeypatch):
    assert program.post(address, [row(1)]).status_code == 201
    monkeypatch.setattr(ingest_known.Lookup, "known", lambda *asked: ingest_known.Known())
    refused = program.post(address, [row(1)])
    assert "at the same time" in assert_problem(refused, 409)["detail"] and refused.headers["Retry-After"] == "10"


@pytest.mark.slow
def test_rows_that_wait_too_long_for_a_table_are_to_be_sent_again(program, address, monkeypatch):
    """Nothing before COPY needs the lock."""
    monkeypatch.setattr(once, "WORK_TIME", 0.3)
    with psycopg.connect(**connection.get_connection_params()) as other:
        other.execute("LOCK TABLE annotator_prompt IN SHARE MODE")
        refused = program.post(address, [row(1)])
        assert "too long" in assert_problem(refused, 503)["detail"] and refused.headers["Retry-After"] == "30"
    monkeypatch.setattr(once, "WORK_TIME", 50)
    assert program.post(address, [row(1)]).status_code == 201


@pytest.mark.django_db(transaction=True)
def test_a_file_becomes_a_job(project, program):
    content = "\n".join(json.dumps(row(number)) for number in range(3)).encode()
    into = f"/projects/{project.pk}/imports?source=elsewhere&filename=three.jsonl"
    made = program.post(into, content, media_type="application/octet-stream")
    assert made.status_code == 202, made.content
    job = f"/projects/{project.pk}/jobs/{made.json()['id']}"
    assert program.get(job).json()["state"] == "waiting"
    ingest.run_ingests()
    assert program.get(job).json()["state"] == "done"
    assert program.get(f"/projects/{project.pk}/imports").json()["items"][0]["filename"] == "three.jsonl"
    assert project.comparisons.count() == 3
    assert_problem(program.post(f"{job}/cancel"), 409)


@pytest.fixture
def unread(monkeypatch):
    """Nothing of a body may be read."""

    def fails(*_args, **_values):
        raise AssertionError("the body was read")

    monkeypatch.setattr(bodies.uploads, "ArrivingFile", fails)


def test_nothing_is_read_of_who_may_not_import(project, unread):
    into = f"/projects/{project.pk}/imports"
    for role, status in (("annotator", 403), ("viewer", 403)):
        assert_problem(Program(make_member(project, role), "ingest").post(into, b"{}"), status)
    assert_problem(lead_program(project).post("/projects/999999/imports", b"{}"), 404)
    assert_problem(lead_program(project).post(f"{into}?format=odd", b"{}"), 422)
    assert_problem(Program(make_member(project, "annotator")).post(f"/projects/{project.pk}/comparisons", b"[]"), 403)


@pytest.mark.parametrize("media_type", ["application/octet-stream", "multipart/form-data; boundary=x"])
def test_the_sites_limit_holds_for_programs_too(project, program, settings, media_type, unread):
    settings.UPLOAD_LIMIT = 10**6
    into = f"/projects/{project.pk}/imports"
    problem = assert_problem(program.post(into, b" " * (10**6 + 1), media_type=media_type), 413)
    assert "1 MB" in problem["detail"]


def test_a_nearly_full_disk_takes_no_file(project, program, monkeypatch):
    monkeypatch.setattr(bodies, "LEAST_FREE", 2**60)
    assert_problem(program.post(f"/projects/{project.pk}/imports", b"{}"), 507)
    assert not Job.objects.exists()


def test_a_disk_that_fills_while_a_file_comes_takes_no_more(project, program, monkeypatch):
    free = iter([2**40, 2**40, 0])
    monkeypatch.setattr(bodies.shutil, "disk_usage", lambda folder: SimpleNamespace(free=next(free)))
    monkeypatch.setattr(bodies, "LOOK", bodies.CHUNK)
    assert_problem(program.post(f"/projects/{project.pk}/imports", b" " * 6 * bodies.CHUNK), 507)
    assert not os.listdir(bodies.uploads.arriving_folder())


@pytest.mark.django_db(transaction=True)
def test_a_file_goes_to_storage_before_the_transaction(project, program, monkeypatch):
    """And by no copy: it was written where it stays. Sent again with its key, it leaves nothing behind."""
    real, seen = default_storage.save, []

    def save(name, content):
        seen.append((connection.in_atomic_block, content.temporary_file_path()))
        return real(name, content)

    monkeypatch.setattr(imports, "default_storage", SimpleNamespace(save=save))
    into = f"/projects/{project.pk}/imports"
    assert program.post(into, b'{"a": 1}', key="k").status_code == 202
    [(in_transaction, path)] = seen
    assert not in_transaction and os.path.dirname(path) == bodies.uploads.arriving_folder()
    assert not os.path.exists(path)
    again = program.post(into, b'{"a": 1}', key="k")
    assert again.headers["Idempotent-Replay"] == "true" and len(seen) == 1
    assert_problem(program.post(into, b'{"a": 2}', key="k"), 409)
    assert default_storage.listdir(f"{ingest.UPLOADS}/{project.pk}")[1] == [os.path.basename(_upload())]


def test_a_file_of_a_refused_request_is_removed(project, program, monkeypatch):
    def refuses(*_args, **_values):
        raise bodies.Refused(409, "Not now.")

    monkeypatch.setattr(imports, "_request", refuses)
    assert_problem(program.post(f"/projects/{project.pk}/imports", b'{"a": 1}'), 409)
    assert default_storage.listdir(f"{ingest.UPLOADS}/{project.pk}")[1] == []


def _upload():
    return Job.objects.get().parameters["upload"]


def test_a_file_may_come_as_a_form(project, program):
    content = json.dumps(row(1)).encode()
    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="f.jsonl"\r\n\r\n'
    form = head + content + b"\r\n--x--\r\n"
    into = f"/projects/{project.pk}/imports"
    assert program.post(into, form, media_type="multipart/form-data; boundary=x").status_code == 202
    asked = Job.objects.get().parameters
    assert asked["filename"] == "f.jsonl"
    with default_storage.open(asked["upload"]) as stored:
        assert stored.read() == content
    problem = assert_problem(program.post(into, b"--x--\r\n", media_type="multipart/form-data; boundary=x"), 422)
    assert problem["errors"][0]["field"] == "file"


@pytest.mark.parametrize("media_type", ["multipart/form-data", "multipart/form-data; boundary=\u00e9"])
def test_a_form_without_a_boundary_cannot_be_read(project, program, media_type):
    refused = program.post(f"/projects/{project.pk}/imports", b"\0", media_type=media_type)
    assert "boundary" in assert_problem(refused, 400)["detail"]


@pytest.mark.django_db(transaction=True)
def test_a_refused_file_says_why_in_its_job(project, program):
    made = program.post(f"/projects/{project.pk}/imports", b'{"id": 1, "prompt": 5, "responses": ["a", "b"]}')
    ingest.run_ingests()
    job = program.get(f"/projects/{project.pk}/jobs/{made.json()['id']}").json()
    assert job["state"] == "failed" and job["result"]["errors"][0]["field"] == "prompt"


def test_a_job_of_another_kind_is_not_cancelled_with_the_scope(project):
    job = Job.objects.create(project=project, kind="export")
    assert_problem(lead_program(project, "ingest").post(f"/projects/{project.pk}/jobs/{job.pk}/cancel"), 403)
    cancelled = lead_program(project, "export").post(f"/projects/{project.pk}/jobs/{job.pk}/cancel")
    assert cancelled.json()["state"] == "cancelled"
