"""How steps get done in workers: nudges that may be lost, jobs that are claimed from the database."""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from celery import current_app
from django.db import DatabaseError, connection
from kombu.exceptions import OperationalError

from annotator.models import Job, JobCancelled, jobs

logger = logging.getLogger(__name__)

# The Celery task that asks the database for jobs of a kind.
TASKS = {
    Job.Kind.INGEST: "annotator.pipeline.ingest.run_ingests",
    Job.Kind.FEATURISE: "annotator.pipeline.featurise.run_featurises",
    Job.Kind.LABEL: "annotator.pipeline.label.run_labels",
    Job.Kind.RETRAIN: "annotator.pipeline.retrain.run_retrains",
    Job.Kind.ROUTE: "annotator.pipeline.route.run_routes",
    Job.Kind.EXPORT: "annotator.pipeline.export.run_exports",
}
# The queue of workers that may hold a model, and the tasks by which they ask for jobs that are meant for them.
GPU = "gpu"
GPU_TASKS = {
    Job.Kind.LABEL: "annotator.pipeline.label.run_model_labels",
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
    except JobCancelled:
        job.finish(Job.State.CANCELLED)
    except StepRefused as refusal:
        job.finish(Job.State.FAILED, str(refusal), **refusal.result)
    except Exception as error:  # whatever it is, the person who waits for the job must be told
        logger.exception("job %s failed", job.pk)
        job.finish(Job.State.FAILED, f"{type(error).__name__}: {error}")
    else:
        done = said if isinstance(said, Done) else Done(said)
        job.finish(Job.State.DONE, done.message, **done.result)


@contextlib.contextmanager
def keeping(job: Job) -> Iterator[None]:
    """Renew the job's lease from a thread, four times a lease: a step may compute for an hour between two beats."""
    over = threading.Event()
    thread = threading.Thread(target=_renew, args=(job, over), name=f"lease of job {job.pk}", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _renew(job: Job, over: threading.Event) -> None:
    mine = True
    while mine and not over.wait(jobs.LEASE.total_seconds() / 4):
        try:
            mine = job.renew()
        except DatabaseError as error:
            logger.warning("the lease of job %s was not renewed, trying again: %s", job.pk, error)
        finally:
            connection.close()  # a thread has a connection of its own
