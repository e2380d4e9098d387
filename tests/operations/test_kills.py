"""Whatever is killed with -9, the stack works again and what was acknowledged is there."""

import contextlib
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from tests.stack import ROOT, TESTS_OWN, Stack, Visitor

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


def stored(stack, client_id):
    with psycopg.connect(stack.database) as connection:
        query = "SELECT count(*) FROM annotator_judgment WHERE client_id = %s"
        return connection.execute(query, [client_id]).fetchone()[0]


def unfinished(stack):
    """Jobs that wait or run, as rows to read."""
    with psycopg.connect(stack.database) as connection:
        query = "SELECT id, project_id, kind, key, state, attempts, lease_until, message FROM annotator_job"
        return connection.execute(f"{query} WHERE state IN ('waiting', 'running') ORDER BY id").fetchall()


def told(stack):
    """What a reader needs where a job has not ended well."""
    columns = "unfinished jobs (id, project, kind, key, state, attempts, lease, message):"
    return "\n".join([columns, *map(str, unfinished(stack)), stack.logs("worker*")])


def is_done(stack, job):
    """Whether the job is done. One that ended otherwise never will be: that is said at once."""
    with psycopg.connect(stack.database) as connection:
        query = "SELECT state, message FROM annotator_job WHERE id = %s"
        state, message = connection.execute(query, [job]).fetchone()
    assert state in ("waiting", "running", "done"), f"job {job} is {state}: {message}\n{told(stack)}"
    return state == "done"


def jobs_end(stack, annotator):
    """The worker works: a job that is put into the database is done, by a nudge of the tick.

    First the stack's own jobs end. The demo's are still at work when a stack is new, and two jobs of features of one
    project, which the site never has at once, would both make its first set of features: one of them fails. The wait
    holds a whole lease, for a job of theirs may have lost its worker to a test.
    """
    stack.wait_until(lambda: not unfinished(stack), 300, lambda: told(stack))
    with psycopg.connect(stack.database) as connection:
        [job] = connection.execute(
            "INSERT INTO annotator_job (project_id, kind, key, parameters, state, progress, total, message, result,"
            " cancel_requested, pause_requested, queue, attempts, created_at)"
            " SELECT min(id), 'featurise', %s, '{}', 'waiting', 0, 0, '', '{}', false, false, '', 0, now()"
            " FROM annotator_project RETURNING id",
            [f"test {time.time_ns()}"],
        ).fetchone()
    stack.wait_until(lambda: is_done(stack, job), 60, lambda: told(stack))


def main_process(stack, *words):
    """The oldest process of a role: gunicorn's master, Celery's main process."""
    return min(stack.pids(*words))


@pytest.mark.parametrize("role", [("gunicorn",), ("celery", "worker"), ("manage.py", "tick"), ("postgres", "-D")])
def test_the_supervisor_restarts_what_is_killed_and_nothing_is_lost(stack, role):
    annotator = Visitor(stack).login("annotator")
    acknowledged = annotator.judge()
    killed = main_process(stack, *role)
    os.kill(killed, signal.SIGKILL)
    stack.wait_until(lambda: any(pid != killed for pid in stack.pids(*role)) and killed not in stack.pids())
    stack.wait_until(stack.answers)
    assert stored(stack, acknowledged) == 1
    assert stored(stack, annotator.judge()) == 1  # the same session goes on
    jobs_end(stack, annotator)


def children_of(pid):
    """None of one that has just ended."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return []


def at_work(pids):
    """Those that have no process of their own among them: the ones that take messages."""
    children = {pid: children_of(pid) for pid in pids}
    return [pid for pid in pids if not set(children[pid]) & set(map(str, pids))]


def test_all_processes_of_a_worker_that_are_killed_at_once_come_back_and_work(stack):
    """One of them waits for a message at that moment, and what it holds then must not die with it."""
    annotator = Visitor(stack).login("annotator")
    jobs_end(stack, annotator)
    # One that an earlier test killed is started again after a while, and the other does the job above meanwhile.
    stack.wait_until(lambda: len(at_work(stack.pids("celery", "-Q default"))) == 2)
    victims = at_work(stack.pids("celery", "-Q default"))
    for victim in victims:
        os.kill(victim, signal.SIGKILL)
    stack.wait_until(lambda: len(set(at_work(stack.pids("celery", "-Q default"))) - set(victims)) == 2)
    jobs_end(stack, annotator)


def test_a_job_whose_worker_is_killed_is_taken_over_within_two_leases(stack):
    annotator = Visitor(stack).login("annotator")
    jobs_end(stack, annotator)
    with psycopg.connect(stack.database) as connection:
        [job] = connection.execute(
            "UPDATE annotator_job SET state = 'running', ended_at = NULL, attempts = 1,"
            " lease_until = now() + interval '20 seconds' WHERE key LIKE 'test %' AND id ="
            " (SELECT max(id) FROM annotator_job WHERE key LIKE 'test %') RETURNING id"
        ).fetchone()
    for victim in at_work(stack.pids("celery", "-Q default")):
        os.kill(victim, signal.SIGKILL)
    stack.wait_until(lambda: is_done(stack, job), 120, lambda: told(stack))


def test_a_child_of_the_web_role_that_is_killed_comes_back(stack):
    victim = max(stack.pids("gunicorn"))
    os.kill(victim, signal.SIGKILL)
    stack.wait_until(lambda: victim not in stack.pids() and len(stack.pids("gunicorn")) >= 3)
    assert stack.answers()


def test_a_command_typed_by_hand_talks_to_the_running_stack(stack):
    file = stack.var / "stack.json"
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    inherited = {name: value for name, value in os.environ.items() if name not in TESTS_OWN}
    code = "from annotator.models import Project; print('found:', *Project.objects.values_list('name', flat=True))"
    done = subprocess.run(
        [sys.executable, "manage.py", "shell", "-c", code], cwd=ROOT, capture_output=True, text=True,
        env=inherited | {"SWITCHYARD_VAR": str(stack.var)},
    )  # fmt: skip
    assert "found: Generated: routing practice" in done.stdout, done.stderr


def test_a_second_supervisor_says_that_one_runs_already(stack):
    second = Stack(stack.var.parent)
    second.output = stack.var.parent / "second"
    with pytest.raises(AssertionError, match="it runs already; stop it where it was started"):
        second.start()
    assert stack.answers()


def outlived(stack):
    ps = ["ps", "-o", "pid,etime,args", "-p", ",".join(map(str, stack.pids())) or "0"]
    return "something outlived the supervisor:\n" + subprocess.run(ps, capture_output=True, text=True).stdout


def test_a_killed_supervisor_takes_all_with_it_and_the_next_start_works(stack):
    annotator = Visitor(stack).login("annotator")
    acknowledged = annotator.judge()
    children, first = stack.pids(), stack.starts[0]
    stack.process.kill()
    stack.process.wait()
    # All at once, but for PostgreSQL, which first writes down what it holds and takes as long as the disk does.
    assert stack.holds_within(15, lambda: not set(stack.pids()) - set(stack.pids("postgres"))), outlived(stack)
    assert stack.holds_within(60, lambda: not stack.pids()), outlived(stack)
    stack.start()
    again = stack.starts[-1]
    assert again.prepared < first.prepared / 2, "something was made anew"
    # What else has come to the machine since the first start is no fault of this one.
    assert again.seconds - again.crowded < first.seconds, f"something was waited for: {stack.starts}"
    assert not set(children) & set(stack.pids())
    assert stored(stack, acknowledged) == 1
    assert stored(stack, annotator.judge()) == 1  # the secret key was kept, so the session goes on
    jobs_end(stack, annotator)


def test_ctrl_c_leaves_no_process(stack):
    assert stack.pids()
    assert stack.stop(signal.SIGINT) == 0
    assert stack.pids() == []
    assert not (stack.var / "stack.json").exists()
    assert not list(stack.var.glob("postgres/data/postmaster.pid")), "PostgreSQL was not shut down cleanly"
    stack.start()
    assert stack.answers()
