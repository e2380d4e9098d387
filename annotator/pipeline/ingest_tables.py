"""Staging: rows on their way into a project, and the heart that beats for the job meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from functools import partial
from typing import Any, Self

from django.db import connection, connections, transaction
from django.utils.translation import gettext as _

from annotator.models import Comparison, Job, Judgment, Project
from annotator.pipeline import work
from annotator.pipeline.ingest_batch import Storing
from annotator.pipeline.ingest_report import Errors, IngestReport
from annotator.pipeline.ingest_rows import Batch

Beat = Callable[[int, int, str], None]
# Seconds between two looks whether another import into the project is over.
LOOK = 0.2
# Seconds between two beats that only say how far it is.
PULSE = 0.5
# Seconds that who waits for an answer waits for another import, and after which to ask again when it is not over then.
PATIENCE, RETRY_AFTER = 2.0, 10
# New comparisons or judgments of which the planner is told at once, where they are so much of all that it knows of.
MANY, MUCH = 5000, 0.1


class Heart:
    """Beats for a job from a connection of its own, so that a long transaction shows progress and can be cancelled.

    `note` stands behind what every beat says.
    """

    def __init__(self, job: Job | None, note: str = "") -> None:
        self._job = job
        self._note = note
        self._beaten_at = 0.0

    def __enter__(self) -> Self:
        self._thread = ThreadPoolExecutor(1) if self._job else None
        return self

    def __exit__(self, *_error: object) -> None:
        if self._thread:
            self._thread.submit(connections.close_all).result()
            self._thread.shutdown()

    def beat(self, progress: int, total: int, message: str) -> None:
        """Raises JobCancelled, which rolls the import back."""
        if self._thread and self._job:
            words = f"{message}; {self._note}" if self._note else message
            self._thread.submit(self._job.beat, progress, total, words).result()
            self._beaten_at = time.monotonic()

    def pulse(self, progress: int, total: int, message: str) -> None:
        """A beat, unless there was one a moment ago."""
        if time.monotonic() - self._beaten_at > PULSE:
            self.beat(progress, total, message)

    def still_mine(self) -> None:
        """Last in the transaction that stores what was asked for: raises JobCancelled when nobody wants it any more."""
        if self._job:
            self._job.still_mine()


def end(job: Job | None, report: IngestReport) -> None:
    """End the job of an import, last in the transaction that stores it: whoever dies later cannot make it fail."""
    if job:
        job.still_mine()
        job.finish(Job.State.DONE, str(report), **asdict(report))


def learn(report: IngestReport) -> None:
    """Tell the planner of many new rows as soon as they are there; autovacuum looks once a minute.

    Until then it takes ways through the tables that are right for empty ones: the first labels of 100,000 comparisons
    took longer from batch to batch. Texts are always found by their ids.
    """
    for model, new in ((Comparison, report.comparisons), (Judgment, report.judgments)):
        if new >= MANY:
            transaction.on_commit(partial(_analyze, model._meta.db_table, new), robust=True)


def _analyze(table: str, new: int) -> None:
    """Nobody who has locked the table for a purpose like ours is waited for: it will be looked at soon enough."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reltuples FROM pg_class WHERE oid = %s::regclass", [table])
        if new > cursor.fetchone()[0] * MUCH:
            cursor.execute(f"ANALYZE (SKIP_LOCKED) {table}")


class Staging:
    """Rows on their way into a project, in the caller's transaction: nobody else sees them before it commits."""

    def __init__(self, project: Project, errors: Errors, *, dry_run: bool = False) -> None:
        self.project, self.errors, self.dry_run = project, errors, dry_run

    def begin(self, heart: Heart, patience: float | None = None) -> None:
        """Wait for other imports into the project, then begin. Raises JobCancelled.

        With `patience` raises StepRefused after so many seconds, its `retry_after` in seconds.
        """
        cursor, began = connection.cursor(), time.monotonic()
        while not self._is_next(cursor):
            if patience is not None and time.monotonic() - began > patience:
                words = _(
                    "Another import into this project is running. Nothing was imported: ask again when it is over."
                )
                raise work.StepRefused(words, retry_after=RETRY_AFTER)
            heart.pulse(0, 100, _("waiting for another import into this project"))
            time.sleep(LOOK)
        self._storing = Storing(cursor, self.project, self.project.protocol.pk, dry_run=self.dry_run)

    def _is_next(self, cursor: Any) -> bool:
        """One after the other: what is compared stays true until it is inserted."""
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [self.project.pk])
        return bool(cursor.fetchone()[0])

    def take(self, batch: Batch) -> None:
        if batch.rows:
            for problem in self._storing.take(batch):
                self.errors.add(*problem)

    def finish(self) -> dict[str, int]:
        """How much was new."""
        return self._storing.end()
