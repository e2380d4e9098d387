"""An export is written part by part; what is finished waits aside, so that a run that died is gone on with.

Aside is `exporting/<id of the export>/` under VAR_DIR: `set/` with the data files, and `checkpoint.json` that says
where the next part begins. Parts end after fixed numbers of rows, so the bytes are the same however often a run died.
Another machine, which has no such folder, begins again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from annotator.formats.source import Row, Writer, read_filters
from annotator.formats.tables import Damaged, Tables, Written
from annotator.models import Export, Job, JobCancelled
from annotator.pipeline import domains, heap, work
from annotator.readings.lossless import WholeSnapshot
from annotator.readings.manifest import software_version
from annotator.readings.under_way import StillWriting

logger = logging.getLogger(__name__)

# Comparisons a part, and rows of each table of the lossless store. Another number gives other Parquet files.
PART_ROWS = 50_000
# Seconds between two signs of life; far less than a lease.
BEAT_SECONDS = 1.0
# Pauses before a part is tried again when the database went away, in seconds.
PAUSES = (1, 5, 15, 30)
# How long another process of this machine is waited for that still writes the same export.
OTHERS_SECONDS = 90
# What an export that failed has left aside is kept so long for the next run.
KEPT = timedelta(days=3)


@contextlib.contextmanager
def aside(export: Export, job: Job | None) -> Iterator[Path]:
    """The export's folder aside, for one process at a time.

    It goes when the export is done, refused or cancelled; after any other end it waits for the next run.
    """
    folder = _root() / str(export.pk)
    _sweep()
    with _locked(folder, job):
        try:
            yield folder
        except work.StepRefused:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        except JobCancelled:
            # Or taken over by another worker, who goes on with what is there.
            if job and Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise
        shutil.rmtree(folder, ignore_errors=True)


def _root() -> Path:
    return Path(settings.VAR_DIR) / "exporting"


@contextlib.contextmanager
def _locked(folder: Path, job: Job | None) -> Iterator[None]:
    """Hold the folder's lock, which the system lets go when the process dies."""
    until = time.monotonic() + OTHERS_SECONDS
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with (folder / "lock").open("a") as lock:
            if _try(lock, folder):
                yield
                return
        if time.monotonic() > until:
            raise work.StepRefused(
                "Another process of this machine has not let go of this export. Ask again; restart the workers if "
                "that does not help."
            )
        if job:
            job.beat(0, 0, "waiting for another process that writes this export")
        time.sleep(BEAT_SECONDS)


def _try(lock: IO[str], folder: Path) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # Whoever had it may have removed the folder since.
        return os.fstat(lock.fileno()).st_ino == (folder / "lock").stat().st_ino
    except (BlockingIOError, FileNotFoundError):
        return False


def _sweep() -> None:
    """Remove what failed exports have left and nobody has gone on with."""
    oldest = time.time() - KEPT.total_seconds()
    for folder in _root().glob("*"):
        checkpoint = folder / "checkpoint.json"
        if (checkpoint if checkpoint.exists() else folder).stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


@dataclass
class Parts:
    """An export that is being written. `make` gives a writer, a new one for each part."""

    export: Export
    folder: Path
    make: Callable[[], Writer]
    snapshot: WholeSnapshot
    tables: Tables
    left_out: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    rows: int = 0
    is_over: bool = False
    # Of this run: what `snapshot.passed` will reach, when it began and what was written before.
    _total: int = 0
    _began: float = field(default_factory=time.monotonic)
    _rows_before: int = 0

    @classmethod
    def begin(cls, export: Export, folder: Path, make: Callable[[], Writer], job: Job | None = None) -> Parts:
        """Where a run that died has stopped, or at the beginning if none did or its files are not whole.

        Raises StepRefused when something is being written for too long, and JobCancelled.
        """
        kept = _checkpoint(folder, export)
        if kept:
            try:
                return cls._again(export, folder, make, kept)
            except Damaged as file:
                logger.warning("%s: %s is not as it was left, beginning again", export, file)
        shutil.rmtree(folder / "set", ignore_errors=True)
        (folder / "set").mkdir()
        return cls._of(export, folder, make, _taken(export, job))

    @classmethod
    def _of(cls, export: Export, folder: Path, make: Callable[[], Writer], snapshot: WholeSnapshot) -> Parts:
        writer = make()
        snapshot.by_prompt = writer.is_whole
        snapshot.part_rows = sys.maxsize if snapshot.by_prompt else PART_ROWS
        tables = Tables(folder / "set", export.container, writer.configs, writer.path)
        return cls(export, folder, make, snapshot, tables)

    @classmethod
    def _again(cls, export: Export, folder: Path, make: Callable[[], Writer], kept: dict[str, Any]) -> Parts:
        assert export.recipe is not None
        filters = read_filters(export.filters)
        parts = cls._of(
            export, folder, make, WholeSnapshot.again(export.project, export.recipe, filters, kept["snapshot"])
        )
        parts.tables.go_on(Written(**file) for file in kept["written"])
        parts.left_out.update(kept["left_out"])
        parts.finished, parts.rows, parts.is_over = kept["finished"], kept["rows"], kept["is_over"]
        parts._rows_before = parts.rows
        return parts

    def write(self, job: Job | None) -> list[Written]:
        """Write what is missing and give the set's data files. Raises JobCancelled."""
        with heap.spared():
            while not self.is_over:
                self._write_patiently(job)
        return self.tables.written

    def _write_patiently(self, job: Job | None) -> None:
        """The next part; again, after a pause, when the database goes away meanwhile."""
        for pause in (*PAUSES, None):
            try:
                return self._write_part(job)
            except (OperationalError, InterfaceError) as error:
                if pause is None or connection.in_atomic_block:
                    raise
                logger.warning("%s: part %s again in %s s: %s", self.export, self.finished, pause, error)
                connection.close()
                time.sleep(pause)

    def _write_part(self, job: Job | None) -> None:
        writer = self.make()
        self.rows += self.tables.write_part(self.finished, self._beating(writer.rows(self.snapshot), writer, job))
        self.left_out.update(writer.left_out)
        self.finished += 1
        self.is_over = not self.snapshot.next_part()
        if self.is_over:
            self.tables.finish()
        self._keep()

    def _beating(self, rows: Iterator[Row], writer: Writer, job: Job | None) -> Iterator[Row]:
        """`rows`, with a sign of life every second that tells how many there are and how fast they come.

        Pages of which the writer or the filters leave out everything are signs of life too.
        """
        if job is None:
            yield from rows
            return
        if not self._total:
            self._total = self.snapshot.size(writer.is_lossless)
        rows_before, number, beaten = self.rows, 0, 0.0

        def beat() -> None:
            nonlocal beaten
            if (clock := time.monotonic()) - beaten > BEAT_SECONDS:
                beaten = clock
                job.beat(min(self.snapshot.passed, self._total), self._total, self._said(rows_before + number, clock))

        self.snapshot.turned = beat
        beat()
        for row in rows:
            beat()
            yield row
            number += 1

    def _said(self, rows: int, clock: float) -> str:
        fresh, seconds = rows - self._rows_before, clock - self._began
        return f"{rows:,} rows, {fresh / seconds:,.0f} a second" if fresh else f"{rows:,} rows"

    def _keep(self) -> None:
        """Write down where the next part begins, all of it or nothing."""
        kept = {
            **_made_by(self.export),
            "snapshot": self.snapshot.kept(),
            "left_out": dict(self.left_out),
            "finished": self.finished,
            "rows": self.rows,
            "is_over": self.is_over,
            "written": [asdict(file) for file in self.tables.written],
        }
        beside = self.folder / "checkpoint.new"
        beside.write_text(json.dumps(kept))
        beside.replace(self.folder / "checkpoint.json")


def _taken(export: Export, job: Job | None) -> WholeSnapshot:
    """The data as it is now."""

    def beat(words: str, done: int = 0, total: int = 0) -> None:
        if job:
            job.beat(done, total, words)

    assert export.recipe is not None
    filters = read_filters(export.filters)
    waiting = partial(beat, "waiting for an import that is being stored")
    try:
        snapshot = WholeSnapshot.take(export.project, export.recipe, filters, waiting)
    except StillWriting:
        raise work.StepRefused(
            "Something has been written into this project for a long time and is not finished, so the data has no "
            "state to export. Wait for imports that are running, then ask again; an administrator can end a "
            "transaction of the database that hangs."
        ) from None
    if "domain" in filters.metadata:
        # Only filters ask for it, rows say what was imported. Of every prompt in it, though: one whose domain was
        # found between two parts would be in the later alone.
        domains.find(export.project, partial(beat, "finding what prompts are about"))
    return snapshot


def _made_by(export: Export) -> dict[str, Any]:
    """What must be the same for a part to be gone on with: another version may write other bytes."""
    return {
        "export": [export.pk, export.created_at.isoformat()],
        "versions": [software_version(), pa.__version__],
        "part_rows": PART_ROWS,
    }


def _checkpoint(folder: Path, export: Export) -> dict[str, Any] | None:
    try:
        kept: dict[str, Any] = json.loads((folder / "checkpoint.json").read_text())
    except (FileNotFoundError, ValueError):
        return None
    same = _made_by(export)
    return kept if {name: kept.get(name) for name in same} == same else None
