"""Jobs: whatever workers and people do at the same time, each piece of work is done, once, by one worker."""

import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import ProgrammingError, connections, transaction
from django.utils.timezone import now

from annotator import tick
from annotator.models import (
    Export,
    Job,
    JobCancelled,
    Labeler,
    LabelerCall,
    LabelerVersion,
    PerformanceModel,
    Plan,
    Reservation,
)
from annotator.models.jobs import MAX_ATTEMPTS
from annotator.pipeline import (
    aggregate,
    export,
    featurise,
    forecast,
    label,
    ledger,
    lost,
    retrain,
    route,
    storing,
    work,
)
from tests.builders import make_comparison, make_judgment, make_labeler, make_person, make_project, make_user

FEATURISE, LABEL = Job.Kind.FEATURISE, Job.Kind.LABEL


def elsewhere(function, *args):
    """`function` as another process would do it: in a thread with a connection of its own."""

    def done():
        try:
            return function(*args)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(done).result()


def abandon(job):
    """Its worker died longer than a lease ago."""
    Job.objects.filter(pk=job.pk).update(lease_until=now() - timedelta(seconds=1))


def state_of(job):
    return Job.objects.get(pk=job.pk).state


# The lease


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_step_that_computes_longer_than_its_lease_is_not_taken_over(monkeypatch):
    monkeypatch.setattr("annotator.models.jobs.LEASE", timedelta(seconds=0.4))
    job = Job.objects.request(make_project(), FEATURISE)
    taken = []

    def computing(job):
        deadline = time.monotonic() + 1.2
        while time.monotonic() < deadline:
            taken.append(elsewhere(Job.objects.claim, FEATURISE))
            time.sleep(0.05)
        return "computed"

    assert work.work(FEATURISE, computing) == 1
    job.refresh_from_db()
    assert (job.state, job.message, job.attempts) == (Job.State.DONE, "computed", 1)
    assert len(taken) > 5 and set(taken) == {None}


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_the_thread_that_keeps_a_lease_ends_with_its_step(monkeypatch):
    monkeypatch.setattr("annotator.models.jobs.LEASE", timedelta(seconds=0.2))
    Job.objects.request(make_project(), FEATURISE)
    before = threading.active_count()
    work.work(FEATURISE, lambda job: time.sleep(0.3) or "")
    assert threading.active_count() == before


@pytest.mark.django_db(transaction=True)
def test_a_job_that_was_taken_over_is_not_renewed_by_its_first_worker():
    Job.objects.request(make_project(), FEATURISE)
    first = Job.objects.claim(FEATURISE)
    abandon(first)
    second = Job.objects.claim(FEATURISE)
    assert second.pk == first.pk and second.attempts == 2
    assert not first.renew() and second.renew()


@pytest.mark.django_db
def test_a_job_whose_worker_died_every_time_is_given_up_in_words():
    job = Job.objects.request(make_project(), FEATURISE)
    for _attempt in range(MAX_ATTEMPTS):
        assert Job.objects.claim(FEATURISE).pk == job.pk
        abandon(job)
    assert Job.objects.claim(FEATURISE) is None
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and job.ended_at and job.lease_until is None
    assert "begun 5 times" in job.message and "ask for it again" in job.message


@pytest.mark.django_db
def test_what_nobody_foresaw_is_told_in_words_and_stands_in_the_log(caplog):
    job = Job.objects.request(make_project(), FEATURISE)

    def breaks(job):
        raise ProgrammingError("column l.restored_kind does not exist\nLINE 3: SELECT secret")

    work.work(FEATURISE, breaks)
    job.refresh_from_db()
    assert job.state == Job.State.FAILED and f"has it as job {job.pk}." in job.message
    assert "column" not in job.message and "ProgrammingError" not in job.message
    assert f"job {job.pk} failed" in caplog.text and "restored_kind" in caplog.text


# A result is stored only by the worker whose job it is


def taken_over_while(monkeypatch, module, name):
    """When the module's function `name` has run, another worker has the job."""
    honest = getattr(module, name)

    def slow(*args, **kwargs):
        result = honest(*args, **kwargs)
        for job in Job.objects.filter(state=Job.State.RUNNING, attempts=1):
            abandon(job)
            assert Job.objects.claim(job.kind)
        return result

    monkeypatch.setattr(module, name, slow)


@pytest.fixture
def featurised():
    project = make_project(price_per_judgment=Decimal("0.5"), votes=1)
    people = make_person(project)
    for number in range(4):
        comparison = make_comparison(project, f"What is {number}?", a=f"one {number}", b=f"two things {number}")
        make_judgment(comparison, people, level=1)
    aggregate.default_recipe(project)
    featurise.featurise(project)
    Job.objects.all().delete()
    return project


@pytest.mark.django_db
def test_a_plan_is_stored_once_when_another_worker_took_the_job_over(featurised, monkeypatch):
    Job.objects.request(featurised, Job.Kind.ROUTE, budget="2", strategy="all_people")
    taken_over_while(monkeypatch, forecast, "summary")
    job = Job.objects.claim(Job.Kind.ROUTE)
    work.run(job, route._job)
    assert not Plan.objects.exists()
    assert state_of(job) == Job.State.RUNNING, "the second worker's"


@pytest.mark.django_db
def test_a_plan_whose_job_was_cancelled_while_it_was_computed_is_not_stored(featurised, monkeypatch):
    job = Job.objects.request(featurised, Job.Kind.ROUTE, budget="2", strategy="all_people")
    honest = forecast.summary
    monkeypatch.setattr(forecast, "summary", lambda *args: job.cancel() or honest(*args))
    route.run_routes()
    assert not Plan.objects.exists() and state_of(job) == Job.State.CANCELLED


@pytest.mark.django_db
def test_a_performance_model_is_not_stored_by_a_worker_that_lost_its_job(featurised):
    Job.objects.request(featurised, Job.Kind.RETRAIN)
    first = Job.objects.claim(Job.Kind.RETRAIN)
    abandon(first)
    second = Job.objects.claim(Job.Kind.RETRAIN)
    known = retrain.signals.load(featurised)
    chosen = retrain.performance.Chosen(2)
    chosen.kind_ = "linear"
    with pytest.raises(JobCancelled):
        retrain._store(featurised, known, {"chosen": chosen}, {}, 0, first)
    assert not PerformanceModel.objects.exists()
    assert retrain._store(featurised, known, {"chosen": chosen}, {}, 0, second).version == 1


@pytest.mark.django_db
def test_an_export_is_not_completed_by_a_worker_that_lost_its_job(featurised, monkeypatch):
    recipe = aggregate.recipe(featurised, "people")
    made, _job = export.request_export(featurised, "judgments", "jsonl", recipe, {}, None)
    taken_over_while(monkeypatch, storing, "store")
    work.run(Job.objects.claim(Job.Kind.EXPORT), export._export_job)
    made.refresh_from_db()
    assert made.completed_at is None and made.files == []
    assert Job.objects.get().attempts == 2 and state_of(Job.objects.get()) == Job.State.RUNNING


# Cancelling


@pytest.mark.django_db
def test_a_job_whose_worker_is_dead_ends_when_it_is_cancelled():
    Job.objects.request(make_project(), FEATURISE)
    job = Job.objects.claim(FEATURISE)
    abandon(job)
    job.cancel()
    assert state_of(job) == Job.State.CANCELLED


@pytest.mark.django_db
def test_a_cancelled_job_whose_worker_dies_later_is_ended_by_the_tick(monkeypatch):
    monkeypatch.setattr(tick, "close_old_connections", lambda: None)
    Job.objects.request(make_project(), FEATURISE)
    job = Job.objects.claim(FEATURISE)
    job.cancel()
    tick.round_of(tick.Nudges(lambda task: None))
    assert state_of(job) == Job.State.RUNNING, "its worker may still be stopping"
    abandon(job)
    tick.round_of(tick.Nudges(lambda task: None))
    assert state_of(job) == Job.State.CANCELLED


# Asking


@pytest.mark.django_db
def test_what_is_asked_while_a_job_runs_is_done_after_it():
    project = make_project()
    Job.objects.request(project, FEATURISE)
    running = Job.objects.claim(FEATURISE)
    later = Job.objects.request(project, FEATURISE)
    assert later.pk != running.pk
    assert Job.objects.request(project, FEATURISE).pk == later.pk, "asking twice asks once"
    assert Job.objects.claim(FEATURISE) is None, "the same is not run twice at once"
    assert not Job.objects.due().exists(), "so nobody is nudged for it"
    running.finish(Job.State.DONE)
    assert Job.objects.claim(FEATURISE).pk == later.pk


@pytest.mark.django_db
def test_a_job_that_waits_for_its_like_does_not_hold_up_others():
    project = make_project()
    for _ in range(2):
        Job.objects.request(project, FEATURISE)
        Job.objects.claim(FEATURISE)
    other = Job.objects.request(make_project(), FEATURISE)
    assert Job.objects.claim(FEATURISE).pk == other.pk


@pytest.mark.django_db(transaction=True)
def test_no_worker_begins_before_what_was_stored_with_the_request_can_be_seen():
    project = make_project()
    waiting = Job.objects.request(project, FEATURISE)
    with transaction.atomic():
        make_comparison(project)
        assert Job.objects.request(project, FEATURISE).pk == waiting.pk
        assert elsewhere(Job.objects.claim, FEATURISE) is None
    assert elsewhere(Job.objects.claim, FEATURISE).pk == waiting.pk


@pytest.mark.django_db
def test_a_second_click_while_the_work_runs_gives_the_running_job_unless_it_is_being_cancelled():
    project = make_project()
    assert Job.objects.asked_already(project, Job.Kind.RETRAIN) is None
    running = Job.objects.ask(project, Job.Kind.RETRAIN)
    Job.objects.claim(Job.Kind.RETRAIN)
    assert Job.objects.ask(project, Job.Kind.RETRAIN).pk == running.pk
    assert Job.objects.asked_already(project, Job.Kind.RETRAIN) == running
    assert Job.objects.asked_already(project, Job.Kind.RETRAIN, "another") is None
    running.cancel()
    assert Job.objects.asked_already(project, Job.Kind.RETRAIN) is None
    assert Job.objects.ask(project, Job.Kind.RETRAIN).pk != running.pk


@pytest.mark.django_db
def test_an_export_that_runs_is_not_written_twice_for_a_double_click(featurised):
    recipe = aggregate.recipe(featurised, "people")
    asked = [export.request_export(featurised, "judgments", "jsonl", recipe, {}, None)]
    running = Job.objects.claim(Job.Kind.EXPORT)
    asked.append(export.request_export(featurised, "judgments", "jsonl", recipe, {}, None))
    assert {job.pk for _export, job in asked} == {running.pk} and Export.objects.count() == 1
    running.cancel()
    assert export.request_export(featurised, "judgments", "jsonl", recipe, {}, None)[1].pk != running.pk


@pytest.mark.django_db
def test_a_step_leaves_what_it_made_in_its_job():
    job = Job.objects.request(make_project(), FEATURISE)
    work.work(FEATURISE, lambda job: work.Done("Plan 7 is ready", {"plan": 7}))
    job.refresh_from_db()
    assert (job.message, job.result) == ("Plan 7 is ready", {"plan": 7})


@pytest.mark.django_db
def test_a_finished_plan_job_names_its_plan(featurised):
    job = Job.objects.request(featurised, Job.Kind.ROUTE, budget="2", strategy="all_people")
    route.run_routes()
    job.refresh_from_db()
    assert job.result == {"plan": Plan.objects.get().number}


# One run of a labeler at a time


@pytest.mark.django_db
def test_two_runs_of_one_labeler_follow_each_other_and_those_of_two_do_not():
    project = make_project()
    one, other = (make_labeler(project).labeler_version.labeler for _ in range(2))
    label.request_run(one, scope="trial", comparisons=[1])
    second = label.request_run(one, scope="everything")
    label.request_run(other, scope="everything")
    running = [Job.objects.claim(LABEL) for _ in range(3)]
    assert [job and job.parameters["labeler"] for job in running] == [one.pk, other.pk, None]
    running[0].finish(Job.State.DONE)
    assert Job.objects.claim(LABEL).pk == second.pk


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_workers_that_claim_at_once_get_one_run_of_a_labeler():
    labeler = make_labeler(make_project()).labeler_version.labeler
    for scope in ("trial", "people", "everything"):
        label.request_run(labeler, scope=scope)
    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            assert Job.objects.claim(LABEL)
            other = thread.submit(elsewhere, Job.objects.claim, LABEL)
            with pytest.raises(TimeoutError):
                other.result(timeout=0.3)  # it waits until this claim can be seen
        assert other.result() is None


@pytest.mark.django_db
def test_a_lead_who_clicks_twice_gets_the_run_that_is_under_way():
    project, lead = make_project(), make_user()
    labeler = make_labeler(project).labeler_version.labeler
    first = label.request_run(labeler, scope="trial", comparisons=[1, 2], by=lead)
    Job.objects.claim(LABEL)
    assert label.request_run(labeler, scope="trial", comparisons=[3, 4], by=lead).pk == first.pk
    assert label.request_run(labeler, scope="trial").pk != first.pk, "the pipeline asks because something is new"


# Calls that were in flight when a worker died


@pytest.fixture
def priced():
    project = make_project()
    ledger.set_cap(project, Decimal(10))
    return Labeler.objects.create(project=project, name="judge", kind="llm_judge", price_per_call=1)


def in_flight(labeler, key, digest):
    """A call of a new version of the labeler, whose highest price of 1 is held by a reservation of 3."""
    version = LabelerVersion.objects.create(labeler=labeler, digest=digest * 64)
    reservation = ledger.reserve(labeler.project, key, Decimal(3), source=labeler.name)
    call = LabelerCall(labeler_version=version, comparison=make_comparison(labeler.project), step="ab", cost=Decimal(1))
    return ledger.hold(reservation, [call])[0]


@pytest.mark.django_db
def test_calls_of_earlier_versions_that_were_in_flight_are_counted_as_paid_too(priced):
    flying = [in_flight(priced, "plan:1:judge", "a"), in_flight(priced, "plan:2:judge", "b")]
    assert lost.count_lost(priced) == 2
    assert lost.count_lost(priced) == 0
    for call in flying:
        call.refresh_from_db()
        assert call.status == "lost" and call.entry.amount == 1


@pytest.mark.django_db
def test_money_of_a_run_that_nobody_will_take_up_again_goes_back_less_what_its_calls_can_have_cost(priced):
    job = label.request_run(priced, scope="everything", reserve=Decimal(3))
    Job.objects.claim(LABEL)
    in_flight(priced, f"job:{job.pk}", "a")
    assert lost.return_money() == 0 and ledger.available(priced.project) == 7
    abandon(job)
    job.cancel()
    assert lost.return_money() == 1
    ledger.settle()
    assert not Reservation.objects.get().is_open
    assert ledger.available(priced.project) == 9 and ledger.account_of(priced.project).spent == 1
    assert lost.return_money() == 0


def test_a_half_written_file_of_the_broker_costs_only_the_nudge(monkeypatch, caplog):
    def half_written(task):
        json.loads('[["default", ')

    monkeypatch.setattr(work.current_app, "send_task", half_written)
    work.nudge("annotator.pipeline.export.run_exports")
    assert "the tick will ask again" in caplog.text


# Pausing


def job_in(state, **fields):
    job = Job.objects.request(make_project(), LABEL, labeler=1)
    if state == Job.State.RUNNING:
        return Job.objects.claim(LABEL)
    Job.objects.filter(pk=job.pk).update(state=state, **fields)
    job.refresh_from_db()
    return job


def stops_at_its_next_beat(job):
    """The step that does nothing but beat; True when it was stopped there."""
    work.run(job, lambda job: job.beat(1, 2, "half") or "all of it")
    return state_of(job) != Job.State.DONE


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("state", "then"),
    [
        ("waiting", "paused"),
        ("running", "running"),
        ("paused", "paused"),
        ("done", "done"),
        ("failed", "failed"),
        ("cancelled", "cancelled"),
    ],
)
def test_what_can_be_paused_is_what_waits_or_runs(state, then):
    job = job_in(state)
    assert job.pause() == (state in ("waiting", "running"))
    job.refresh_from_db()
    assert (job.state, job.pause_requested) == (then, state == "running")


@pytest.mark.django_db
def test_a_kind_that_would_begin_anew_is_not_paused():
    job = Job.objects.request(make_project(), Job.Kind.ROUTE)
    assert not job.pause() and state_of(job) == Job.State.WAITING


@pytest.mark.django_db
def test_a_running_job_pauses_at_its_beat_waits_when_resumed_and_begins_as_new():
    job = job_in("running")
    job.beat(0, 2, "none", {"judged": 3})
    job.pause()
    assert stops_at_its_next_beat(job)
    job.refresh_from_db()
    assert (job.state, job.pause_requested, job.lease_until, job.ended_at) == ("paused", False, None, None)
    assert (job.message, job.result) == ("none", {"judged": 3}), "what it had done is still to be seen"
    assert Job.objects.claim(LABEL) is None and not Job.objects.due().exists()
    assert job.resume()
    again = Job.objects.claim(LABEL)
    assert (again.pk, again.attempts) == (job.pk, 1), "being paused is not dying"
    assert not stops_at_its_next_beat(again)


@pytest.mark.django_db
def test_a_pause_that_meets_a_dying_worker_is_a_pause():
    job = job_in("running")
    job.pause()
    abandon(job)
    assert Job.objects.claim(LABEL) is None, "nobody takes it up"
    assert state_of(job) == Job.State.PAUSED
    # The worker was only slow. The job is not its any more, whatever it does.
    assert stops_at_its_next_beat(job) and state_of(job) == Job.State.PAUSED
    job.finish(Job.State.DONE, "late")
    assert state_of(job) == Job.State.PAUSED
    job.resume()
    assert Job.objects.claim(LABEL).pk == job.pk


@pytest.mark.django_db
def test_a_worker_that_died_before_the_pause_leaves_a_paused_job_at_once():
    job = job_in("running")
    abandon(job)
    assert job.pause() and state_of(job) == Job.State.PAUSED


@pytest.mark.django_db
def test_a_pause_that_is_taken_back_before_the_worker_heard_of_it_changes_nothing():
    job = job_in("running")
    job.pause()
    assert job.resume()
    assert not stops_at_its_next_beat(job)


@pytest.mark.django_db
def test_a_pause_that_is_taken_back_while_the_worker_stops_lets_another_go_on():
    job = job_in("running")
    twin = Job.objects.request(job.project, LABEL, labeler=1)
    job.pause()

    def stopping(job):
        try:
            job.beat(1, 2)
        finally:
            job.resume()

    work.run(job, stopping)
    assert (state_of(job), state_of(twin)) == (Job.State.WAITING, Job.State.CANCELLED)
    assert Job.objects.claim(LABEL).pk == job.pk


@pytest.mark.django_db
@pytest.mark.parametrize("pause_first", [True, False])
def test_cancelling_wins_over_pausing(pause_first):
    job = job_in("running")
    for act in (job.pause, job.cancel)[:: 1 if pause_first else -1]:
        act()
    assert stops_at_its_next_beat(job) and state_of(job) == Job.State.CANCELLED
    paused = job_in("paused")
    paused.cancel()
    assert state_of(paused) == Job.State.CANCELLED and not paused.resume()


@pytest.mark.django_db
def test_what_is_asked_for_while_its_like_is_paused_waits_and_is_done_with_it():
    job = job_in("paused")
    twin = Job.objects.request(job.project, LABEL, labeler=1)
    assert twin.pk != job.pk and Job.objects.claim(LABEL) is None, "a pause is not gone round"
    assert Job.objects.ask(job.project, LABEL).pk == job.pk, "a lead who clicks gets the paused one"
    job.resume()
    assert state_of(twin) == Job.State.CANCELLED
    assert Job.objects.claim(LABEL).pk == job.pk and Job.objects.claim(LABEL) is None


@pytest.mark.django_db
def test_money_of_a_paused_run_stays_set_aside(priced, monkeypatch):
    monkeypatch.setattr(tick, "close_old_connections", lambda: None)
    job = label.request_run(priced, scope="everything", reserve=Decimal(3))
    Job.objects.claim(LABEL)
    in_flight(priced, f"job:{job.pk}", "a")
    job.pause()
    abandon(job)
    tick.round_of(tick.Nudges(lambda task: None))
    assert state_of(job) == Job.State.PAUSED
    assert Reservation.objects.get().is_open and ledger.available(priced.project) == 7
    job.cancel()
    assert lost.return_money() == 1 and ledger.available(priced.project) == 9


# A step that hangs


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_step_that_hangs_is_let_go_and_the_log_tells_where(monkeypatch, caplog):
    monkeypatch.setattr("annotator.models.jobs.LEASE", timedelta(seconds=0.3))
    monkeypatch.setattr(work, "QUIET", timedelta(seconds=0.15))
    monkeypatch.setattr(work, "BUSY", 10.0)
    job = Job.objects.request(make_project(), FEATURISE)

    def waits_for_nobody(job):
        while not elsewhere(Job.objects.claim, FEATURISE):
            time.sleep(0.05)
        return ""

    work.run(Job.objects.claim(FEATURISE), waits_for_nobody)
    assert "hangs, another worker may have it" in caplog.text and "in waits_for_nobody" in caplog.text
    assert state_of(job) == Job.State.RUNNING, "the other worker's"


@pytest.mark.parametrize(
    ("beats", "computes", "hangs"), [(False, 0.0, True), (True, 0.0, False), (False, 0.5, False), (False, 0.001, True)]
)
def test_a_step_hangs_that_neither_beats_nor_computes_for_half_an_hour(monkeypatch, beats, computes, hangs):
    clock = {"monotonic": 100.0, "process_time": 5.0}
    monkeypatch.setattr(work.time, "monotonic", lambda: clock["monotonic"])
    monkeypatch.setattr(work.time, "process_time", lambda: clock["process_time"])
    job = Job(kind=FEATURISE)
    alive = work._Life(job)
    found = []
    for _quarter_of_a_lease in range(2 * 3600 // 15):
        clock["monotonic"] += 15
        clock["process_time"] += 15 * computes
        if beats:
            job.beaten_at = clock["monotonic"] - 1
        found.append(alive.hangs())
    assert any(found) == hangs
    assert not any(found[:120]), "not before half an hour"
