"""How steps get done in workers: nudges that may be lost, jobs that are claimed from the database."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery import current_app
from kombu.exceptions import OperationalError

from annotator.models import Job, JobCancelled

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


class StepRefused(Exception):
    """The step cannot be done as asked. The message tells the person who asked what to do; nothing was changed."""

    def __init__(self, reason: str, **result: object) -> None:
        super().__init__(reason)
        self.result = result


def nudge(task: str) -> None:
    """Say "there is work of this kind". A broker that is away costs seconds: the tick asks again."""
    try:
        current_app.send_task(task)
    except (OperationalError, OSError) as error:
        logger.warning("broker away, the tick will ask again: %s", error)


def work(kind: str, step: Callable[[Job], str]) -> int:
    """Claim and run jobs of `kind` until none is due. `step` returns the closing message. Gives the number run."""
    done = 0
    while job := Job.objects.claim(kind):
        run(job, step)
        done += 1
    return done


def run(job: Job, step: Callable[[Job], str]) -> None:
    """Run one claimed job and store how it ended."""
    try:
        message = step(job)
    except JobCancelled:
        job.finish(Job.State.CANCELLED)
    except StepRefused as refusal:
        job.finish(Job.State.FAILED, str(refusal), **refusal.result)
    except Exception as error:  # whatever it is, the person who waits for the job must be told
        logger.exception("job %s failed", job.pk)
        job.finish(Job.State.FAILED, f"{type(error).__name__}: {error}")
    else:
        job.finish(Job.State.DONE, message)
