"""How steps get done in workers: nudges that may be lost, jobs that are claimed from the database."""

from __future__ import annotations

import contextlib
import errno
import logging
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from celery import current_app
from django.db import DatabaseError, connection
from django.utils.translation import gettext as _
from kombu.exceptions import OperationalError

from annotator.models import Job, JobCancelled, JobPaused, jobs

logger = logging.getLogger(__name__)

# A step that for so long neither beats nor computes hangs, e.g. on a connection that nobody answers.
QUIET = timedelta(minutes=30)
# The share of a core that is computing; renewing a lease takes a hundredth of it.
BUSY = 0.01

# The Celery task that asks the database for jobs of a kind.
TASKS = {
    Job.Kind.INGEST: "annotator.pipeline.ingest.run_ingests",
    Job.Kind.FEATURISE: "annotator.pipeline.featurise.run_featurises",
    Job.Kind.LABEL: "annotator.pipeline.label.run_labels",
    Job.Kind.RETRAIN: "annotator.pipeline.retrain.run_retrains",
    Job.Kind.ROUTE: "annotator.pipeline.route.run_routes",
    Job.Kind.EXPORT: "annotator.pipeline.export.run_exports",
    Job.Kind.GENERATE: "annotator.pipeline.generate.run_generates",
    Job.Kind.CHECK: "annotator.pipeline.check.run_checks",
    Job.Kind.PAIRS: "annotator.pipeline.pairs.run_pairs",
    Job.Kind.TAG: "annotator.pipeline.tag.run_tags",
    Job.Kind.MEASURE: "annotator.pipeline.measure.run_measures",
    Job.Kind.BACKTEST: "annotator.pipeline.backtest.run_backtests",
    Job.Kind.FETCH: "annotator.pipeline.fetch.run_fetches",
    Job.Kind.PUSH: "annotator.pipeline.push.run_pushes",
    Job.Kind.CHANGES: "annotator.pipeline.changes.run_changes",
}
# The queue of workers that may hold a model, and the tasks by which they ask for jobs that are meant for them.
GPU = "gpu"
GPU_TASKS = {
    Job.Kind.LABEL: "annotator.pipeline.label.run_model_labels",
    Job.Kind.PAIRS: "annotator.pipeline.pairs.run_model_pairs",
    Job.Kind.FEATURISE: "annotator.pipeline.featurise.run_model_featurises",
    Job.Kind.MEASURE: "annotator.pipeline.measure.run_model_measures",
}


def task(kind: str, queue: str = "") -> str:
    return (GPU_TASKS if queue == GPU else TASKS)[Job.Kind(kind)]


class StepRefused(Exception):
    """The step cannot be done as asked. The message tells the person who asked what to do; nothing was changed."""

    def __init__(self, reason: str, **result: object) -> None:
        super().__init__(reason)
        self.result = result


@dataclass(frozen=True)
class Done:
    """How a step ended: the closing message, and what it made, for the pages that show it."""

    message: str
    result: dict[str, Any] = field(default_factory=dict)


# What a step gives: its closing message, with or without a result.
Step = Callable[[Job], str | Done]


def nudge(task: str) -> None:
    """Say "there is work of this kind". A broker that is away costs seconds: the tick asks again."""
    try:
        current_app.send_task(task)
    except (OperationalError, OSError, ValueError) as error:
        # ValueError: kombu's file system transport keeps its exchanges in JSON files that it writes in place, so one
        # may be read half-written, or stay so after a kill.
        logger.warning("broker away, the tick will ask again: %s", error)


def work(kind: str, step: Step, queue: str = "") -> int:
    """Claim and run jobs of `kind` and `queue` until none is due; gives the number run."""
    done = 0
    while job := Job.objects.claim(kind, queue):
        run(job, step)
        done += 1
    return done


def run(job: Job, step: Step) -> None:
    """Run one claimed job and store how it ended."""
    try:
        with keeping(job):
            said = step(job)
    except JobPaused:
        job.put_aside()
    except JobCancelled:
        job.finish(Job.State.CANCELLED)
    except StepRefused as refusal:
        job.finish(Job.State.FAILED, str(refusal), **refusal.result)
    except Exception as error:  # whatever it is, the person who waits for the job must be told
        logger.exception("job %s failed", job.pk)
        job.finish(Job.State.FAILED, _told(error, job))
    else:
        done = said if isinstance(said, Done) else Done(said)
        job.finish(Job.State.DONE, done.message, **done.result)


def _told(error: Exception, job: Job) -> str:
    """What nobody foresaw, in words. What the error says is for who runs the site, and may quote other projects."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return _("The disk of this site is full. Tell who runs it, then ask again.")
    if isinstance(error, MemoryError):
        return _("The worker has too little memory for this. Ask for less at a time, or tell who runs this site.")
    words = _(
        "Something went wrong that this page cannot explain. Ask again; if it happens again, tell who runs this site:"
        " the log of the worker has it as job %(number)s."
    )
    return words % {"number": job.pk}


@contextlib.contextmanager
def keeping(job: Job) -> Iterator[None]:
    """Renew the job's lease from a thread, four times a lease: a step may compute for an hour between two beats.

    One that hangs is let go: another worker takes the job over, and the log tells where the step stands.
    """
    over = threading.Event()
    alive = _Life(job)
    thread = threading.Thread(target=_renew, args=(job, over, alive), name=f"lease of job {job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


class _Life:
    """Signs of life of the step that this thread runs: it beats, or its process computes."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.thread = threading.get_ident()
        self.looked_at = self.seen_at = time.monotonic()
        self.computed = time.process_time()

    def hangs(self) -> bool:
        """Whether it has shown none for QUIET; to be asked again and again."""
        clock, computed = time.monotonic(), time.process_time()
        busy = computed - self.computed > BUSY * (clock - self.looked_at)
        if busy or self.job.beaten_at > self.looked_at:
            self.seen_at = clock
        self.looked_at, self.computed = clock, computed
        return clock - self.seen_at > QUIET.total_seconds()

    def stands(self) -> str:
        return "".join(traceback.format_stack(sys._current_frames().get(self.thread)))


def _renew(job: Job, over: threading.Event, alive: _Life) -> None:
    mine = True
    while mine and not over.wait(jobs.LEASE.total_seconds() / 4):
        if alive.hangs():
            logger.error(
                "job %s hangs, another worker may have it; restart this one. It stands at:\n%s", job.pk, alive.stands()
            )
            return
        try:
            mine = job.renew()
        except DatabaseError as error:
            logger.warning("the lease of job %s was not renewed, trying again: %s", job.pk, error)
        finally:
            connection.close()  # a thread has a connection of its own
