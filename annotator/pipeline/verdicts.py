"""What a run has done: its tally, its verdicts as judgments of the version's rater, and what is told of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import ngettext

from annotator.models import Comparison, Job, Judgment, LabelerVersion, Outcome, Reservation
from annotator.models.jobs import storable
from annotator.pipeline import call_books, heat_maps, scope
from labelers import base

logger = logging.getLogger(__name__)

# Seconds between two beats of a run.
BEAT = 1.0
# The rate of a run is that of its last minutes: so many marks, so many seconds apart.
MARKS, BETWEEN_MARKS = 13, 10.0


@dataclass
class Tally:
    """What a run has done so far, in numbers that do not grow with it."""

    judged: int = 0
    unparsed: int = 0
    failures: call_books.Failures = field(default_factory=call_books.Failures)
    lost: int = 0
    # (Unix time, comparisons done) of the last minutes.
    marks: list[tuple[float, int]] = field(default_factory=list)

    @classmethod
    def of(cls, job: Job | None, version: LabelerVersion) -> Tally:
        """What earlier attempts of the job had done: counted where it is stored, else as they told it last."""
        told = job.result.get("run") if job else None
        if job is None or told is None:
            return cls()
        since = Judgment.objects.filter(rater__labeler_version=version, created_at__gte=job.created_at)
        return cls(since.count(), told["unparsed"], call_books.Failures(**told["failures"]), told["lost"])

    def stored(self) -> dict[str, Any]:
        return asdict(self)

    def mark(self, done: int) -> None:
        clock = time.time()
        if not self.marks or clock - self.marks[-1][0] >= BETWEEN_MARKS:
            self.marks = [*self.marks, (clock, done)][-MARKS:]

    def words(self) -> str:
        parts = [ngettext("%(n)s comparison judged", "%(n)s comparisons judged", self.judged) % {"n": self.judged}]
        if self.unparsed:
            words = ngettext("%(n)s answer not understood", "%(n)s answers not understood", self.unparsed)
            parts.append(words % {"n": self.unparsed})
        return "; ".join([*parts, *self.failures.told(self.lost)])


def said(
    judge: base.Asking, answered: Iterable[tuple[Comparison, dict[str, base.Answer]]]
) -> Iterator[tuple[Comparison, base.Verdict]]:
    """Verdicts of answers. One that the judge's own code cannot make is an error and not the end of the run."""
    for comparison, answers in answered:
        try:
            verdict = judge.verdict(answers)
        except Exception as error:
            logger.error("No verdict of %s on comparison %s, by a fault", judge, comparison.pk, exc_info=error)
            verdict = base.Verdict(base.Outcome.ERROR, provenance={"error": str(call_books.fault(error))})
        yield comparison, verdict


class Progress:
    """A run's books: verdicts into judgments, and what is told of it every second."""

    def __init__(
        self, job: Job | None, tally: Tally, comparisons: QuerySet[Comparison], version: LabelerVersion
    ) -> None:
        self.job = job
        self.tally = tally
        self.version = version
        self.batch = 0
        self.total = comparisons.count() if job else 0
        self.done = self.total - scope.unjudged(version, comparisons).count() if job else 0
        self._last = float("-inf")

    def beat(self, share: float = 0.0) -> None:
        """`share`: how much of the present batch is done. Raises JobCancelled, or JobPaused."""
        clock = time.monotonic()
        if self.job is None or clock - self._last < BEAT:
            return
        self._last = clock
        done = min(self.done + int(share * self.batch), self.total)
        self.tally.mark(done)
        self.job.beat(done, self.total, self.tally.words(), {"run": self.tally.stored()})

    def count(self, done: int, total: int) -> None:
        """The beat of a run that is not about comparisons but about the pairs of the checks."""
        self.done, self.total = done, total
        self.beat()

    def store(self, verdicts: Iterable[tuple[Comparison, base.Verdict]], reservation: Reservation | None) -> None:
        """Verdicts become judgments of the version's rater; one that is there already stays as it is."""
        rows, mapped = [], {}
        for comparison, verdict in verdicts:
            self.done += 1
            if verdict.is_judgment:
                rows.append(judgment(self.version, comparison, verdict, reservation))
                if verdict.per_token is not None:
                    mapped[comparison.pk] = verdict.per_token
            elif verdict.outcome == base.Outcome.UNPARSED:
                self.tally.unparsed += 1
            else:
                words = str(verdict.provenance.get("error", ""))
                self.tally.failures.add(base.Failure.OTHER, words)
                self.tally.failures.give_up(words)
        with transaction.atomic():
            Judgment.objects.bulk_create(rows, ignore_conflicts=True)
            heat_maps.store(self.version, mapped)
        self.tally.judged += len(rows)


def judgment(
    version: LabelerVersion, comparison: Comparison, verdict: base.Verdict, reservation: Reservation | None
) -> Judgment:
    said = verdict.outcome != base.Outcome.ABSTAIN
    # The margin of what scores is the difference, which a probability of 0 or 1 no longer tells (`evidence`).
    scores = {"scores": list(verdict.scores)} if verdict.scores else {}
    return Judgment(
        project_id=comparison.project_id,
        comparison=comparison,
        rater=version.rater,
        plan_id=reservation.plan_id if reservation else None,
        outcome=Outcome.LEVEL if said else Outcome.ABSTAIN,
        p_b=verdict.p_b,
        p_tie=verdict.p_tie,
        confidence=verdict.confidence,
        attributes=storable(verdict.attributes),
        # Taken out of JSON it may hold characters that the answer only named.
        justification=storable(verdict.rationale),
        cost=verdict.cost,
        provenance=storable({**verdict.provenance, **scores, "version": version.digest}),
    )
