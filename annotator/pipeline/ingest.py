"""Ingest: a file of comparisons becomes prompts, responses, comparisons and recorded judgments, all or nothing.

Rows are checked and copied into temporary tables while the file streams by (flat memory, nothing visible yet);
then one transaction compares them with what is stored and inserts what is new. Repeating a file changes nothing.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

from celery import shared_task
from django.core.files.storage import default_storage
from django.db import DataError, connection, transaction
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator import formats, protocols
from annotator.formats import native, recorded
from annotator.formats.files import BudgetSpent, FileInvalid, RowFile
from annotator.formats.rows import Entry, RowInvalid, judged_texts
from annotator.models import Job, JobCancelled, Project
from annotator.pipeline import featurise, ingest_tables, work
from annotator.protocols import Definition

ERRORS_SHOWN = 100
# Rows and characters between two progress beats; each batch is one COPY a table.
BATCH = 1000
BATCH_SIZE = 16 * 2**20
# Bytes of text that a preview reads: somebody waits for the page, and a small gzip file may hold gigabytes.
PREVIEW_SIZE = 64 * 2**20
# Folder of uploads in storage, one folder a project.
UPLOADS = "uploads"
UPLOAD_KEPT = timedelta(days=1)


@dataclass
class Errors:
    """The first hundred things that are wrong, and how many more there are."""

    shown: list[dict[str, Any]] = field(default_factory=list)
    more: int = 0

    def add(self, line: int, field_name: str, reason: str) -> None:
        if len(self.shown) < ERRORS_SHOWN:
            self.shown.append({"line": line, "field": field_name, "reason": reason})
        else:
            self.more += 1

    def refuse(self) -> None:
        """Raise StepRefused when anything was wrong."""
        if self.shown:
            words = ngettext(
                "Nothing was imported: there is a problem on line %(line)s (%(field)s: %(reason)s)."
                " Correct the file and import it again.",
                "Nothing was imported: there are %(count)s problems, the first on line %(line)s"
                " (%(field)s: %(reason)s). Correct the file and import it again.",
                len(self.shown) + self.more,
            )
            first = self.shown[0]
            raise work.StepRefused(
                words % {**first, "field": first["field"] or _("row"), "count": len(self.shown) + self.more},
                errors=self.shown,
                more=self.more,
            )


@dataclass(frozen=True)
class IngestReport:
    """How much was new, and how many comparisons of the file existed already."""

    prompts: int
    responses: int
    comparisons: int
    candidates: int
    golds: int
    judgments: int
    skipped_existing: int
    # Rows that held a prompt and no comparison.
    alone: int

    def __str__(self) -> str:
        words = _("%(comparisons)s comparisons of %(prompts)s new prompts and %(judgments)s judgments imported")
        if self.alone:
            words += "; " + _("%(alone)s rows hold a prompt without responses")
        if self.skipped_existing:
            words += "; " + _("%(skipped_existing)s comparisons existed already")
        return words % asdict(self)


@dataclass
class Preview:
    """What a look at the start of a file found."""

    container: str = ""
    entries: list[Entry] = field(default_factory=list)
    rows_checked: int = 0
    errors: Errors = field(default_factory=Errors)
    problem: str = ""
    # How many of the rows hold a prompt and no comparison.
    alone: int = 0
    # The rest was not looked at, because it is long, not because enough rows were.
    cut_short: bool = False


@shared_task(name=work.TASKS[Job.Kind.INGEST])
def run_ingests() -> int:
    return work.work(Job.Kind.INGEST, ingest_upload)


def ingest_upload(job: Job) -> str:
    """Import the uploaded file of a job and remove it, whatever came of it: a refused file's errors are in the job.

    Only a job that another worker took over leaves the file, for that worker.
    """
    name = job.parameters["upload"]
    if not default_storage.exists(name):
        raise work.StepRefused(_("The uploaded file is gone from storage. Upload it again."))
    try:
        with local_upload(name) as path:
            report = ingest_file(job.project, path, source=job.parameters.get("source", ""), job=job)
    except JobCancelled:
        if Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
            default_storage.delete(name)
        raise
    except Exception:
        default_storage.delete(name)
        raise
    default_storage.delete(name)
    return str(report)


@contextlib.contextmanager
def local_upload(name: str) -> Iterator[Path]:
    """The stored file as a local one: where it lies, or a temporary copy from object storage."""
    try:
        path = Path(default_storage.path(name))
    except NotImplementedError:
        with tempfile.NamedTemporaryFile(suffix=Path(name).suffix) as copy, default_storage.open(name) as stored:
            for chunk in stored.chunks():
                copy.write(chunk)
            copy.flush()
            yield Path(copy.name)
        return
    yield path


def sweep_uploads(project: Project) -> int:
    """Remove uploads older than a day that no unfinished job needs: previews never confirmed, cancelled imports."""
    folder = f"{UPLOADS}/{project.pk}"
    wanted = set(
        Job.objects.unfinished()
        .filter(project=project, kind=Job.Kind.INGEST)
        .values_list("parameters__upload", flat=True)
    )
    try:
        names = [f"{folder}/{name}" for name in default_storage.listdir(folder)[1]]
    except FileNotFoundError:
        return 0
    old = [name for name in names if default_storage.get_modified_time(name) < now() - UPLOAD_KEPT]
    for name in set(old) - wanted:
        default_storage.delete(name)
    return len(set(old) - wanted)


def ingest_file(project: Project, path: Path, *, source: str = "", job: Job | None = None) -> IngestReport:
    """Import the file at `path`: all of it, or nothing.

    `source` names where judgments come from when the rows do not. Raises StepRefused with
    result {"errors": [{"line", "field", "reason"}], "more": n}; JobCancelled when `job` was cancelled.
    """
    errors = Errors()
    staging = ingest_tables.Staging(connection)
    try:
        _stage(project, path, staging, errors, source, job)
        errors.refuse()
        return _store(project, staging, errors, job)
    except FileInvalid as invalid:
        reason = _("Nothing was imported: %(reason)s.") % {"reason": invalid}
        raise work.StepRefused(reason, errors=errors.shown, more=errors.more) from invalid
    except DataError as error:
        reason = _("Nothing was imported: the database refused a value: %(reason)s")
        raise work.StepRefused(reason % {"reason": error}) from error
    finally:
        staging.drop()


def ingest_entries(project: Project, made: Iterable[Entry], *, job: Job | None = None) -> IngestReport:
    """Store what this site made itself (comparisons of responses it has) as if a file brought it: all or nothing."""
    errors = Errors()
    staging = ingest_tables.Staging(connection)
    staging.begin(project.protocol.pk, "")
    try:
        for line, entry in enumerate(made, 1):
            staging.add(line, entry, [])
            if line % BATCH == 0 or staging.pending_size > BATCH_SIZE:
                staging.flush(keep=True)
        staging.flush(keep=True)
        return _store(project, staging, errors, job)
    finally:
        staging.drop()


def _store(project: Project, staging: ingest_tables.Staging, errors: Errors, job: Job | None) -> IngestReport:
    with transaction.atomic(), ingest_tables.Heart(job) as heart:
        counts = staging.store(project, errors, heart.beat)
        errors.refuse()
        featurise.request(project)
    return IngestReport(**counts)


def _stage(
    project: Project, path: Path, staging: ingest_tables.Staging, errors: Errors, source: str, job: Job | None
) -> None:
    taken = 0

    def beat(_line: int = 0) -> None:
        if job:
            job.beat(int(70 * file.share_read()), 100, _("%(count)s rows read") % {"count": taken})

    file = RowFile(path, on_line=beat)
    definition = recorded.lenient(protocols.read(project.protocol.definition))
    staging.begin(project.protocol.pk, source)
    for taken, (line, entry) in enumerate(entries(file, errors), 1):
        try:
            answers = [recorded.answer(definition, vote, judged_texts(entry, vote)) for vote in entry.votes]
            staging.add(line, entry, answers)
        except RowInvalid as invalid:
            errors.add(line, invalid.field, invalid.reason)
        if taken % BATCH == 0 or staging.pending_size > BATCH_SIZE:
            staging.flush(keep=not errors.shown)
            beat()
    staging.flush(keep=not errors.shown)
    if not taken and not errors.shown:
        raise FileInvalid("the file holds no rows")


def entries(file: RowFile, errors: Errors) -> Iterator[tuple[int, Entry]]:
    """(line, entry) of every row that fits; the others go to `errors`."""
    known = False
    for line, row in file:
        try:
            entry = read_row(row, known)
        except RowInvalid as invalid:
            errors.add(line, invalid.field, invalid.reason)
        else:
            known = True
            yield line, entry


def read_row(row: dict[str, Any] | RowInvalid, known: bool) -> Entry:
    """The row by the reader that knows its shape.

    Raises RowInvalid; FileInvalid when no reader knows it and no row before it was `known` either.
    """
    if isinstance(row, RowInvalid):
        raise row
    for dotted in formats.READERS.values():
        reader = import_module(dotted)
        if reader.claims(row):
            entry: Entry = reader.read(row)
            return entry
    found = ", ".join(sorted(str(name) for name in row)[:12])
    reason = f"in no known shape: it needs an id, a prompt, and responses or response_a and response_b (found: {found})"
    if not row.keys().isdisjoint(native.PROMPT):
        more = ", ".join(sorted(str(name) for name in row.keys() - native.PROMPT_ALONE)[:12])
        reason += f"; a prompt without responses may have nothing beside it but metadata, put into metadata: {more}"
    raise RowInvalid("", reason) if known else FileInvalid(f"the rows are {reason}")


def preview(project: Project, path: Path, *, rows: int = 1000, shown: int = 10) -> Preview:
    """Check the first `rows` rows without storing anything, and keep the first `shown` entries to look at.

    Reads PREVIEW_SIZE at most.
    """
    seen = Preview()
    definition = recorded.lenient(protocols.read(project.protocol.definition))
    try:
        file = RowFile(path, budget=PREVIEW_SIZE)
        seen.container = file.container
        for line, row in file:
            if seen.rows_checked == rows:
                break
            seen.rows_checked += 1
            _look(seen, definition, line, row, shown)
    except FileInvalid as invalid:
        seen.problem = str(invalid)
    except BudgetSpent:
        seen.cut_short = True
    if seen.cut_short and not seen.rows_checked:
        seen.problem = _("there is no row in the first %(size)s MB of the file") % {"size": PREVIEW_SIZE // 2**20}
    if not seen.rows_checked and not seen.problem:
        seen.problem = "the file holds no rows"
    return seen


def _look(seen: Preview, definition: Definition, line: int, row: dict[str, Any] | RowInvalid, shown: int) -> None:
    try:
        entry = read_row(row, bool(seen.entries))
        for vote in entry.votes:
            recorded.answer(definition, vote, judged_texts(entry, vote))
        seen.alone += not entry.comparisons
        if len(seen.entries) < shown:
            seen.entries.append(entry)
    except RowInvalid as invalid:
        seen.errors.add(line, invalid.field, invalid.reason)
