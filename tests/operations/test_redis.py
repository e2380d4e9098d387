"""Celery with a real Redis: work gets done, and a Redis that is killed takes nothing with it."""

import pytest

from annotator.models import Job, Judgment, Labeler
from annotator.pipeline import label
from tests.builders import make_comparison, make_project
from tests.operations import redis_server
from tests.operations.workers import Workers
from tests.stack import open_folder

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("stack")]


@pytest.fixture(scope="module")
def redis():
    path = redis_server.get()
    if path is None and redis_server.can_install():
        pytest.fail(redis_server.WHY_NOT)
    if path is None:
        pytest.skip(redis_server.WHY_NOT)
    started = redis_server.Redis(path)
    started.start()
    yield started
    started.kill()


@pytest.fixture
def workers(redis, transactional_db):
    with open_folder() as folder:
        started = Workers(folder, CELERY_BROKER_URL=redis.url)
        yield started
        started.stop()


def state_of(job):
    job.refresh_from_db()
    return job.state


def test_jobs_run_by_redis_and_one_that_is_killed_loses_none(workers, redis):
    project = make_project()
    labelers = [
        Labeler.objects.create(project=project, name=kind, kind=kind) for kind in ("null_longest", "null_random")
    ]
    make_comparison(project)
    before = label.request_run(labelers[0])
    workers.wait_until(lambda: state_of(before) == Job.State.DONE, 300)
    redis.kill()
    while_away = label.request_run(labelers[1])
    make_comparison(project)
    workers.wait_until(lambda: "broker away" in workers.output.read_text(), 300)
    assert state_of(while_away) == Job.State.WAITING, "nobody could have been told"
    redis.start()
    workers.wait_until(lambda: state_of(while_away) == Job.State.DONE, 300)
    after = label.request_run(labelers[0])
    workers.wait_until(lambda: state_of(after) == Job.State.DONE, 300)
    assert Judgment.objects.count() == 4


def test_a_worker_that_dies_with_a_message_in_its_hand_loses_no_job(workers, redis):
    project = make_project()
    labeler = Labeler.objects.create(project=project, name="longest", kind="null_longest")
    make_comparison(project)
    workers.kill()
    job = label.request_run(labeler)
    workers.replace()
    workers.wait_until(lambda: state_of(job) == Job.State.DONE, 300)
    assert Judgment.objects.count() == 1
