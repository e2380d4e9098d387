"""Ingest: a file of comparisons becomes prompts, responses, comparisons and recorded judgments, all or nothing.

Rows are checked while the file streams by (`ingest_reading`), and stored batch by batch beside that (flat memory, both
cores at work), in one transaction: nothing is visible before the last row is in. Repeating a file changes nothing.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from celery import shared_task
from django.core.files.storage import default_storage
from django.db import DatabaseError, DataError, IntegrityError, OperationalError, transaction
from django.utils.timezone import now
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from psycopg import errors as postgresql

from annotator import stored
from annotator.formats import folders
from annotator.formats.entries import Way
from annotator.formats.files import FileInvalid
from annotator.formats.rows import Entry
from annotator.models import Import, Job, JobCancelled, Project, User, Webhook
from annotator.models.jobs import storable
from annotator.pipeline import featurise, ingest_reading, ingest_tables, restore, webhooks, work
from annotator.pipeline.ingest_reading import Part, Reading
from annotator.pipeline.ingest_report import Check, Errors, IngestReport
from annotator.pipeline.ingest_rows import Gathering
from annotator.readings import under_way
from annotator.uploads import ARRIVING, arriving_folder

# Folder of uploads in storage, one folder a project.
UPLOADS = "uploads"
UPLOAD_KEPT = timedelta(days=1)
Found = TypeVar("Found")
# How often an import that something else disturbed is tried altogether, where somebody can wait for that.
ATTEMPTS = 3
# What PostgreSQL raises when something else was stored or removed meanwhile, or waited for us while we waited for it.
DISTURBANCES = (
    *(postgresql.UniqueViolation, postgresql.ForeignKeyViolation),
    *(postgresql.DeadlockDetected, postgresql.SerializationFailure),
)


class Disturbed(work.StepRefused):
    """What somebody stored at the same time ended the import, whose file may be right: once more, and it sees that."""


@shared_task(name=work.TASKS[Job.Kind.INGEST])
def run_ingests() -> int:
    return work.work(Job.Kind.INGEST, ingest_upload)


def ingest_upload(job: Job) -> work.Done:
    """Import the uploaded file of a job and remove it, also when it is refused: its errors are in the job.

    The file stays after what is no fault of its own (a database that is away), so that it can be asked for again, when
    another worker took the job over, and after a dry run, for the import.
    """
    name = job.parameters["upload"]
    if not default_storage.exists(name):
        raise work.StepRefused(_("The uploaded file is gone from storage. Upload it again."))
    if job.parameters.get("dry_run"):
        return _ingest_stored(job, name)
    try:
        done = _ingest_stored(job, name)
    except JobCancelled:
        if Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
            default_storage.delete(name)
        raise
    except Disturbed:
        raise
    except work.StepRefused:
        default_storage.delete(name)
        raise
    default_storage.delete(name)
    return done


def _ingest_stored(job: Job, name: str) -> work.Done:
    asked = job.parameters
    way = Way(asked.get("format", ""), asked.get("mapping") or {}, asked.get("table", ""))
    with stored.local(name) as path:
        coming = Coming(path, asked.get("filename", ""), way, asked.get("source", ""), by=job.requested_by)
        if asked.get("dry_run"):
            found = check_file(job.project, coming, job=job)
            return work.Done(str(found), found.as_json())
        report = take_in(job.project, coming, job=job)
    return work.Done(str(report), asdict(report))


def sweep_uploads(project: Project) -> int:
    """Remove uploads older than a day that no unfinished job needs: previews never confirmed, cancelled
    imports, uploads that broke off."""
    folder = f"{UPLOADS}/{project.pk}"
    wanted = set(
        Job.objects.unfinished()
        .filter(project=project, kind=Job.Kind.INGEST)
        .values_list("parameters__upload", flat=True)
    )
    old = [*_old_files(folder), *_old_files(ARRIVING)]
    for name in set(old) - wanted:
        default_storage.delete(name)
    _sweep_unpacked()
    return len(set(old) - wanted)


def _sweep_unpacked() -> None:
    """Remove what processes that were killed had unpacked."""
    for folder in Path(arriving_folder() or tempfile.gettempdir()).glob(f"{folders.UNPACKED}*"):
        if folder.stat().st_mtime < (now() - UPLOAD_KEPT).timestamp():
            shutil.rmtree(folder, ignore_errors=True)


def _old_files(folder: str) -> list[str]:
    try:
        names = [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]]
    except FileNotFoundError:
        return []
    return [name for name in names if default_storage.get_modified_time(name) < now() - UPLOAD_KEPT]


def ingest_file(
    project: Project,
    path: Path,
    *,
    source: str = "",
    job: Job | None = None,
    way: Way | None = None,
    origin: dict[str, Any] | None = None,
) -> IngestReport:
    """Import the file at `path`: all of it, or nothing; `take_in` says more."""
    return take_in(project, Coming(path, path.name, way or Way(), source, origin or {}), job=job)


@dataclass(frozen=True)
class Coming:
    """A file on its way in. `source` names where judgments come from when the rows do not.

    `origin`: of a public set {"name", "config", "split", "revision"}.
    """

    path: Path
    filename: str = ""
    way: Way = Way()  # noqa: RUF009 - it is frozen
    source: str = ""
    origin: dict[str, Any] = field(default_factory=dict)
    by: User | None = None


def take_in(project: Project, coming: Coming, *, job: Job | None = None, patience: float | None = None) -> IngestReport:
    """Import a file: all of it, or nothing.

    Raises StepRefused with result {"errors": [{"line", "field", "reason"}], "more": n}, or {"retry_after": seconds}
    when another import into the project takes longer than `patience`; JobCancelled when `job` was cancelled.
    Disturbed by what is stored at the same time, it starts over, unless there is a `patience`: then it raises that.
    """
    if restore.is_store(coming.path):
        return _restored(project, coming, job)

    def attempt(heart: ingest_tables.Heart) -> IngestReport:
        errors = Errors()
        with _staged(project, coming, errors, heart, patience=patience) as staged:
            errors.refuse()
            report = _finish(project, staged, job)
            if patience is None:
                ingest_tables.learn(report)
            ingest_tables.end(job, report)
            return report

    return _attempted(attempt, job, ATTEMPTS if patience is None else 1)


def _attempted(attempt: Callable[[ingest_tables.Heart], Found], job: Job | None, times: int) -> Found:
    """What `attempt` gives, begun anew when it is disturbed: it was rolled back, and sees now what disturbed it."""
    note = ""
    for _further in range(times - 1):
        try:
            return attempt(ingest_tables.Heart(job, note))
        except Disturbed:
            note = _("started over, because something else was stored in the project at the same time")
    return attempt(ingest_tables.Heart(job, note))


def _restored(project: Project, coming: Coming, job: Job | None, *, dry_run: bool = False) -> IngestReport:
    """A lossless store is no file of comparisons but a whole project (`pipeline.restore`)."""
    with transaction.atomic():
        if dry_run:
            under_way.pass_over()
        done = restore.restore(project, coming.path, filename=coming.filename, by=coming.by, job=job, dry_run=dry_run)
        new = {name: done.tables.get(name, 0) for name in ("prompts", "responses", "comparisons", "judgments")}
        rows = sum(done.tables.values())
        report = IngestReport(
            **new, candidates=0, golds=0, skipped_existing=0, alone=0, rows=rows, left={}, words=str(done)
        )
        if report.anything_new and not dry_run:
            ingest_tables.learn(report)
            featurise.request(project)
            if job:
                _announce(project, report, job)
        if not dry_run:
            ingest_tables.end(job, report)
        transaction.set_rollback(dry_run)
    return report


def check_file(project: Project, coming: Coming, *, job: Job | None = None) -> Check:
    """What the import of the file would do, to the last row, with nothing stored. Raises StepRefused, JobCancelled."""
    if restore.is_store(coming.path):
        found = _restored(project, coming, job, dry_run=True)
        return Check(found.rows, Errors(), found.left, found)

    def attempt(heart: ingest_tables.Heart) -> Check:
        errors = Errors()
        with _staged(project, coming, errors, heart, dry_run=True) as staged:
            transaction.set_rollback(True)
            return Check(staged.rows, errors, dict(staged.left), None if errors.shown else staged.report())

    return _attempted(attempt, job, ATTEMPTS)


@dataclass
class Staged:
    """What there is to say of a file whose rows are stored."""

    coming: Coming
    errors: Errors
    rows: int = 0
    format: str = ""
    left: Counter[str] = field(default_factory=Counter)
    # How much was new, when all of it is stored.
    counts: dict[str, Any] = field(default_factory=dict)
    # Of a folder, which files the lines are in.
    began: list[tuple[int, str]] = field(default_factory=list)

    def take(self, part: Part) -> None:
        self.began += part.began
        if self.began:
            self.errors.where = partial(folders.where, self.began)
        for problem in part.problems:
            self.errors.add(*problem)
        self.rows, self.format = part.taken, part.format
        self.left += part.left

    def report(self) -> IngestReport:
        return IngestReport(**self.counts, rows=self.rows, left=dict(self.left))

    def record(self, project: Project, report: IngestReport) -> None:
        """Note the import, once for a file that came again and brought nothing. In the import's transaction."""
        coming = self.coming
        sha256, size = folders.digest(coming.path)
        row = Import(
            project=project,
            filename=storable(coming.filename)[-200:],
            origin=storable(coming.origin),
            format=self.format,
            mapping=storable(dict(coming.way.mapping)),
            source=storable(coming.source)[:100],
            sha256=sha256,
            bytes=size,
            rows=self.rows,
            report=storable({**asdict(report), "table": coming.way.table}),
            created_by=coming.by,
        )
        same = Import.objects.filter(
            project=project, sha256=sha256, format=self.format, mapping=row.mapping, source=row.source
        )
        if report.anything_new or not same.exists():
            row.save()


@contextlib.contextmanager
def _staged(
    project: Project,
    coming: Coming,
    errors: Errors,
    heart: ingest_tables.Heart,
    *,
    dry_run: bool = False,
    patience: float | None = None,
) -> Iterator[Staged]:
    """The file's rows, checked and stored in a transaction that ends with the block.

    What the file as a whole lacks raises StepRefused.
    """
    with _words(errors, FILE_DISTURBED), transaction.atomic(), heart:
        if dry_run:
            under_way.pass_over()
        staging = ingest_tables.Staging(project, errors, dry_run=dry_run)
        staging.begin(heart, patience)
        staged = Staged(coming, errors)
        # Who waits for an answer waits in a web process, which holds requests of others.
        _stage(project, staging, staged, heart, apart=patience is None)
        yield staged


# Of a file, and of what this site makes of its own.
FILE_DISTURBED = gettext_lazy(
    "Nothing was imported: something else was stored in or removed from this project at the same time"
    " (%(reason)s). Import the file again."
)
MADE_DISTURBED = gettext_lazy(
    "No comparison was made: something else was stored in or removed from this project at the same time"
    " (%(reason)s). Ask for them again."
)


@contextlib.contextmanager
def _words(errors: Errors, disturbed: Any) -> Iterator[None]:
    """What cannot be read and what the database refuses, as StepRefused; Disturbed where it may not the next time."""
    try:
        yield
    except FileInvalid as invalid:
        reason = _("Nothing was imported: %(reason)s.") % {"reason": invalid}
        raise work.StepRefused(reason, errors=errors.shown, more=errors.more) from invalid
    except (DataError, IntegrityError, OperationalError) as error:
        if isinstance(error.__cause__, DISTURBANCES):
            raise Disturbed(disturbed % {"reason": _said(error)}, retry_after=ingest_tables.RETRY_AFTER) from error
        if isinstance(error, OperationalError):
            raise
        words = _("Nothing was imported: the database refused a value: %(reason)s")
        raise work.StepRefused(words % {"reason": _said(error)}) from error


def _said(error: DatabaseError) -> str:
    """What PostgreSQL says, in one line."""
    return " ".join(str(error).split())


def ingest_entries(
    project: Project, made: Callable[[ingest_tables.Beat], Iterable[Entry]], *, job: Job | None = None
) -> IngestReport:
    """Store what this site made itself (comparisons of responses it has) as if a file brought it: all or nothing.

    `made` is given what to beat with: the rows are stored while they are made, in one transaction. Disturbed by what
    is stored at the same time, it asks `made` anew, and raises that after the last of its `ATTEMPTS`.
    """
    return _attempted(lambda heart: _ingest_made(project, made, heart), job, ATTEMPTS)


def _ingest_made(
    project: Project, made: Callable[[ingest_tables.Beat], Iterable[Entry]], heart: ingest_tables.Heart
) -> IngestReport:
    errors = Errors()
    with _words(errors, MADE_DISTURBED), transaction.atomic(), heart:
        staging, gathering = ingest_tables.Staging(project, errors), Gathering("")
        staging.begin(heart)
        for line, entry in enumerate(made(heart.beat), 1):
            gathering.add(line, entry, [])
            if line % ingest_reading.BATCH == 0 or gathering.batch.size > ingest_reading.BATCH_SIZE:
                staging.take(gathering.done())
        staging.take(gathering.done())
        counts: dict[str, Any] = dict(staging.finish())
        errors.refuse()
        report = IngestReport(**counts)
        ingest_tables.learn(report)
        featurise.request(project)
        heart.still_mine()
        return report


def _finish(project: Project, staged: Staged, job: Job | None) -> IngestReport:
    report = staged.report()
    staged.record(project, report)
    featurise.request(project)
    if job:
        _announce(project, report, job)
    return report


def _announce(project: Project, report: IngestReport, job: Job) -> None:
    """Who sent rows and waited has an answer already; what a job brought is told."""
    counts = {**asdict(report), "left": sum(report.left.values())}
    url = f"/api/v1/projects/{project.pk}/jobs/{job.pk}"
    webhooks.announce(project, Webhook.Event.IMPORTED, {"job": job.pk, **counts, "url": url})


def _stage(
    project: Project, staging: ingest_tables.Staging, staged: Staged, heart: ingest_tables.Heart, *, apart: bool
) -> None:
    def alive(taken: int, share: float) -> None:
        heart.pulse(int(95 * share), 100, _("%(count)s rows read") % {"count": taken})

    coming, definition = staged.coming, project.protocol.definition
    folder, language = arriving_folder(), get_language()
    reading = Reading(coming.path.absolute(), coming.way, coming.source, definition, folder, language)
    with ingest_reading.parts(reading, alive, apart=apart) as parts:
        for part in parts:
            staged.take(part)
            staging.take(part.batch)
            alive(part.taken, part.share)
    if not staged.rows:
        raise FileInvalid("the file holds no rows")
    heart.beat(95, 100, _("%(count)s rows read") % {"count": staged.rows})
    staged.counts = dict(staging.finish())
