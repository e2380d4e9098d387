"""Staging: rows on their way in are gathered into batches and stored from a thread, while the next are being read."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Self

from django.db import connections
from django.utils.timezone import now
from django.utils.translation import gettext as _

from annotator.formats.rows import Entry, RowInvalid, Vote
from annotator.models import Job, Project
from annotator.pipeline import work
from annotator.pipeline.ingest_batch import Batch, Problem, Storing
from annotator.pipeline.ingest_copy import said
from annotator.pipeline.ingest_known import Judged, Row
from annotator.pipeline.ingest_raters import Met, RaterKey
from annotator.pipeline.ingest_report import Errors

Beat = Callable[[int, int, str], None]
# Seconds between two looks whether another import into the project is over.
LOOK = 0.2
# Seconds between two beats that only say how far it is.
PULSE = 0.5
# Seconds that who waits for an answer waits for another import, and after which to ask again when it is not over then.
PATIENCE, RETRY_AFTER = 2.0, 10


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


class Staging:
    """Rows on their way into a project, in the caller's transaction: nobody else sees them before it commits.

    With `apart` batches are stored from a thread, on this thread's connection, which nobody else may use until `flush`
    or `finish` has been waited for: reading a file computes here while PostgreSQL computes there.
    """

    def __init__(
        self, project: Project, source: str, errors: Errors, *, apart: bool = True, dry_run: bool = False
    ) -> None:
        self.project, self.source, self.errors, self.dry_run = project, source, errors, dry_run
        self.pending: list[Row] = []
        self.pending_size = 0
        self._raters: dict[RaterKey, int] = {}
        self._experts: set[RaterKey] = set()
        # Since the batch before.
        self._met: list[Met] = []
        self._new_experts: list[RaterKey] = []
        self._given_time = now().isoformat()
        self._connection = connections["default"]
        self._is_shared = False
        self._thread = ThreadPoolExecutor(1, "storing", self._share) if apart else None
        self._under_way: Future[list[Problem]] | None = None

    def _share(self) -> None:
        connections["default"] = self._connection

    def begin(self, heart: Heart, patience: float | None = None) -> None:
        """Wait for other imports into the project, then begin. Raises JobCancelled.

        With `patience` raises StepRefused after so many seconds, its `retry_after` in seconds.
        """
        cursor, began = self._connection.cursor(), time.monotonic()
        while not self._is_next(cursor):
            if patience is not None and time.monotonic() - began > patience:
                words = _(
                    "Another import into this project is running. Nothing was imported: ask again when it is over."
                )
                raise work.StepRefused(words, retry_after=RETRY_AFTER)
            heart.pulse(0, 100, _("waiting for another import into this project"))
            time.sleep(LOOK)
        self._storing = Storing(cursor, self.project, self.project.protocol.pk, dry_run=self.dry_run)
        self._connection.inc_thread_sharing()
        self._is_shared = True

    def _is_next(self, cursor: Any) -> bool:
        """One after the other: what is compared stays true until it is inserted."""
        cursor.execute("SELECT pg_try_advisory_xact_lock(hashtext('switchyard ingest'), %s)", [self.project.pk])
        return bool(cursor.fetchone()[0])

    def add(self, line: int, entry: Entry, answers: list[Any]) -> None:
        """Take one checked row. Raises RowInvalid when two of its judgments claim the same place."""
        judged = self._judged(line, entry, answers) if entry.votes else []
        prompt, responses = entry.prompt, entry.responses
        self.pending_size += len(prompt.turns) + len(prompt.context) + sum([len(one.text) for one in responses])
        self.pending.append(Row(line, prompt, responses, entry.comparisons, judged))

    def _judged(self, line: int, entry: Entry, answers: list[Any]) -> list[Judged]:
        """Judgments of a row; a person's second vote on a comparison is round 2."""
        taken: dict[tuple[int, int], set[int]] = {}
        judged = []
        for vote, answer in zip(entry.votes, answers, strict=True):
            rater = self._rater(line, vote)
            rounds = taken.setdefault((vote.comparison, rater), set())
            own_round = vote.round or max(rounds, default=0) + 1
            if own_round in rounds:
                raise RowInvalid(f"{vote.field}.round", f"{vote.rater or 'the rater'} has round {own_round} twice")
            rounds.add(own_round)
            judged.append(Judged(vote.comparison, rater, own_round, said(vote, answer, self._given_time), vote.field))
        return judged

    def _rater(self, line: int, vote: Vote) -> int:
        source = "" if vote.is_ai else self.source or vote.source or "import"
        if vote.is_expert and not vote.rater:
            # Anonymous experts are not the anonymous people beside them.
            source = f"{source[:90]} experts"
        key = (vote.is_ai, source, vote.rater)
        if vote.is_expert and key not in self._experts:
            self._experts.add(key)
            self._new_experts.append(key)
        place = self._raters.get(key)
        if place is None:
            place = self._raters[key] = len(self._raters)
            self._met.append(Met(key, line, vote.field))
        return place

    def flush(self, *, keep: bool) -> None:
        """Store what is pending, or forget it when the import has failed anyway. Waits for the batch before."""
        rows, self.pending, self.pending_size = self.pending, [], 0
        self._wait()
        if not rows or not keep:
            return
        batch = Batch(rows, self._met, self._new_experts)
        self._met, self._new_experts = [], []
        if self._thread:
            self._under_way = self._thread.submit(self._storing.take, batch)
        else:
            self._note(self._storing.take(batch))

    def _wait(self) -> None:
        under_way, self._under_way = self._under_way, None
        if under_way:
            self._note(under_way.result())

    def _note(self, problems: list[Problem]) -> None:
        for problem in problems:
            self.errors.add(*problem)

    def finish(self) -> dict[str, int]:
        """How much was new, once everything is stored."""
        self._wait()
        return self._storing.end()

    def close(self) -> None:
        """Give the connection back: nothing is being stored any more."""
        if self._thread:
            self._thread.shutdown()
        if self._is_shared:
            self._connection.dec_thread_sharing()
