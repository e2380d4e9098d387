from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils.timezone import now

from annotator import tick
from annotator.models import Job, Judgment
from annotator.pipeline import ledger, places, work
from tests import builders

FEATURISE = work.TASKS[Job.Kind.FEATURISE]
EXPORT = work.TASKS[Job.Kind.EXPORT]


class Clock:
    def __init__(self):
        self.seconds = 100.0

    def __call__(self):
        return self.seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def no_connection(monkeypatch):
    """The duties are replaced; a test's connection is not the tick's to close."""
    monkeypatch.setattr(tick, "close_old_connections", lambda: None)


@pytest.fixture
def nudges(clock):
    return tick.Nudges(lambda task: None, clock)


def test_work_is_nudged_once_while_its_message_probably_waits(nudges, clock):
    assert nudges.heads({FEATURISE: 7}) == [FEATURISE]
    clock.seconds += tick.EVERY
    assert nudges.heads({FEATURISE: 7}) == []


def test_a_lost_message_is_repeated_with_growing_patience(nudges, clock):
    sent = []
    for _second in range(150):
        clock.seconds += 1
        sent += [clock.seconds] if nudges.heads({FEATURISE: 7}) else []
    pauses = [later - earlier for earlier, later in zip(sent, sent[1:], strict=False)]
    assert pauses == [5, 10, 20, 40, 60]


def test_the_next_in_line_is_nudged_at_once_when_the_first_was_taken(nudges, clock):
    nudges.heads({FEATURISE: 7})
    clock.seconds += tick.EVERY
    assert nudges.heads({FEATURISE: 9, EXPORT: 8}) == [FEATURISE, EXPORT]


def test_work_that_comes_back_after_a_pause_is_nudged_at_once(nudges):
    nudges.heads({FEATURISE: 7})
    nudges.heads({})
    assert nudges.heads({FEATURISE: 7}) == [FEATURISE]


@pytest.mark.django_db
def test_waiting_jobs_and_those_whose_worker_stopped_beating_are_due():
    project = builders.make_project()
    assert tick.due() == {}
    waiting = Job.objects.request(project, Job.Kind.FEATURISE)
    Job.objects.request(project, Job.Kind.FEATURISE, key="a later one")
    beating = Job.objects.request(project, Job.Kind.ROUTE)
    Job.objects.filter(pk=beating.pk).update(state=Job.State.RUNNING, lease_until=now() + timedelta(seconds=30))
    abandoned = Job.objects.request(project, Job.Kind.EXPORT)
    Job.objects.filter(pk=abandoned.pk).update(state=Job.State.RUNNING, lease_until=now() - timedelta(seconds=1))
    assert tick.due() == {FEATURISE: waiting.pk, EXPORT: abandoned.pk}


@pytest.mark.django_db
def test_judgments_that_no_label_has_seen_are_due_once_their_undo_window_is_over():
    project = builders.make_project()
    comparison = builders.make_comparison(project)
    judgment = builders.make_judgment(comparison, builders.make_person(project), level=1)
    Judgment.objects.filter(pk=judgment.pk).update(aggregated=False, effective_at=now() + timedelta(seconds=10))
    assert tick.due() == {}
    Judgment.objects.filter(pk=judgment.pk).update(effective_at=now())
    assert tick.due() == {tick.AGGREGATE: judgment.pk}
    Judgment.objects.filter(pk=judgment.pk).update(aggregated=True)
    assert tick.due() == {}


@pytest.mark.django_db
def test_a_round_costs_the_same_few_queries_whatever_is_due(django_assert_max_num_queries):
    project = builders.make_project()
    for number in range(20):
        Job.objects.request(project, Job.Kind.LABEL, key=str(number))
    with django_assert_max_num_queries(4):
        tick.due()


def test_a_broken_duty_does_not_stop_the_others(no_connection, monkeypatch, nudges):
    settled = []

    def broken():
        raise ValueError("broken")

    monkeypatch.setattr(tick, "due", dict)
    monkeypatch.setattr(places, "expire_leases", broken)
    monkeypatch.setattr(ledger, "settle", lambda: settled.append(True))
    tick.round_of(nudges)
    assert settled


def test_a_database_that_is_away_ends_the_round_and_not_the_tick(no_connection, monkeypatch, nudges):
    def away():
        raise OperationalError("the database system is starting up")

    monkeypatch.setattr(tick, "due", away)
    monkeypatch.setattr(ledger, "settle", lambda: pytest.fail("asked a database that is away"))
    tick.round_of(nudges)


def test_every_kind_of_job_has_a_step_that_workers_import(settings):
    """A task that no worker knows would be refused, and its jobs would wait forever."""
    from importlib import import_module

    from annotator.celery import app

    for module in settings.CELERY_IMPORTS:
        import_module(module)
    assert {*work.TASKS.values(), tick.AGGREGATE} <= set(app.tasks)
    assert set(work.TASKS) == set(Job.Kind)
