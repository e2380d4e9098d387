"""Idempotency keys: the same request with the same key is done once, whatever happens between."""

import threading
import time
from datetime import timedelta

import pytest
from django.db import connection, connections
from django.utils.timezone import now

from annotator.api import exports, once
from annotator.models import Export, KeptAnswer, Membership, Token
from annotator.pipeline import export, tokens, work
from tests.api.program import Program, assert_problem, lead_program, row
from tests.builders import make_project


@pytest.fixture(autouse=True)
def quiet_broker(monkeypatch):
    monkeypatch.setattr(work, "nudge", lambda task: None)


@pytest.fixture
def project(db):
    return make_project()


@pytest.fixture
def program(project):
    return lead_program(project)


@pytest.fixture
def address(project):
    return f"/projects/{project.pk}/exports"


ASKED = {"format": "judgments", "container": "jsonl"}


def test_the_same_request_gets_the_stored_answer(program, address):
    first = program.post(address, ASKED, key="night-1")
    Export.objects.update(format="trl_reward")  # what is there now is not looked at
    again = program.post(address, ASKED, key="night-1")
    assert (again.status_code, again.json()) == (first.status_code, first.json()) == (202, first.json())
    assert again.headers["Idempotent-Replay"] == "true" and "Idempotent-Replay" not in first.headers
    assert Export.objects.count() == 1


def test_another_request_with_the_key_is_refused(program, address):
    program.post(address, ASKED, key="night-1")
    assert_problem(program.post(address, {**ASKED, "source": "people"}, key="night-1"), 409)
    assert_problem(program.post(f"{address}?x=1", ASKED, key="night-1"), 409)
    assert program.post(address, {**ASKED, "source": "people"}, key="night-2").status_code == 202


def test_keys_are_a_tokens_own(project, program, address):
    program.post(address, ASKED, key="night-1")
    other = Program(program.token.user)
    assert "Idempotent-Replay" not in other.post(address, ASKED, key="night-1").headers


def test_a_refusal_is_not_kept(project, program):
    into = f"/projects/{project.pk}/judgments"
    judged = [{"comparison": "q1", "kind": "person", "level": 1}]
    assert_problem(program.post(into, judged, key="k"), 422)
    program.post(f"/projects/{project.pk}/comparisons", [row(1)])
    assert program.post(into, judged, key="k").json() == {"judgments": 1}


def test_a_crash_between_doing_and_storing_leaves_nothing_done(program, address, monkeypatch):
    def dies(*_args: object, **_values: object) -> None:
        raise MemoryError("the process is gone")

    with monkeypatch.context() as patched:
        patched.setattr(KeptAnswer.objects, "create", dies)
        assert_problem(program.post(address, ASKED, key="k"), 500)
    assert not Export.objects.exists()
    assert program.post(address, ASKED, key="k").status_code == 202
    assert Export.objects.count() == 1


def test_who_lost_the_role_gets_no_stored_answer(project, program, address):
    assert program.post(address, ASKED, key="k").status_code == 202
    mine = Membership.objects.get(user=program.token.user)
    mine.role = "viewer"
    mine.save()
    assert_problem(program.post(address, ASKED, key="k"), 403)
    mine.delete()
    assert_problem(program.post(address, ASKED, key="k"), 404)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("setting", once.LIMITS)
@pytest.mark.slow
def test_a_request_that_holds_its_transaction_too_long_is_ended(monkeypatch, setting):
    """By the time of a statement, by waiting for something else than the database, and by all of it together."""
    if setting == "transaction_timeout" and connection.pg_version < 170_000:
        pytest.skip("PostgreSQL 16 and older do not limit whole transactions")
    monkeypatch.setattr(once, "LIMITS", (setting,) if setting != "transaction_timeout" else once.LIMITS[2:] * 3)
    monkeypatch.setattr(once, "WORK_TIME", 1)
    project = make_project()

    def slow(*_args, **_values):
        for _ in range(8):
            time.sleep(0 if setting == "statement_timeout" else 0.3 if setting == "transaction_timeout" else 1.5)
            with connection.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(%s)", [1.5 if setting == "statement_timeout" else 0])

    monkeypatch.setattr(exports.export, "request_export", slow)
    program = lead_program(project)
    problem = assert_problem(program.post(f"/projects/{project.pk}/exports", ASKED), 503)
    assert "nothing was changed" in problem["detail"]
    assert program.get("/projects").status_code == 200  # the connection that was ended is not used again


@pytest.mark.parametrize("key", ["x" * 201, "a\tb", "ключ"])
def test_odd_keys_are_refused(program, address, key):
    assert_problem(program.post(address, ASKED, key=key), 422)


def test_old_answers_are_forgotten(program, address):
    program.post(address, ASKED, key="old")
    program.post(address, ASKED, key="new")
    KeptAnswer.objects.filter(key="old").update(created_at=now() - tokens.ANSWERS_KEPT - timedelta(minutes=1))
    tokens.forget_answers()
    assert list(KeptAnswer.objects.values_list("key", flat=True)) == ["new"]


@pytest.mark.django_db(transaction=True)
def test_two_at_once_do_it_once(monkeypatch):
    """The second is told to come again while the first is at work, and then gets its answer."""
    project = make_project()
    program = lead_program(project)
    address = f"/projects/{project.pk}/exports"
    begun, go_on = threading.Event(), threading.Event()
    real = export.request_export

    def slow(*args, **values):
        begun.set()
        go_on.wait(10)
        return real(*args, **values)

    monkeypatch.setattr(exports.export, "request_export", slow)
    answers = []

    def first():
        answers.append(Program.post(program, address, ASKED, key="k"))
        connections.close_all()

    thread = threading.Thread(target=first)
    thread.start()
    assert begun.wait(10)
    refused = program.post(address, ASKED, key="k")
    go_on.set()
    thread.join(10)
    assert_problem(refused, 409)
    assert refused.headers["Retry-After"] == "1"
    again = program.post(address, ASKED, key="k")
    assert answers[0].status_code == again.status_code == 202
    assert answers[0].json() == again.json() and Export.objects.count() == 1
    assert Token.objects.get().answers.count() == 1
