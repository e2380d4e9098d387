"""Tag: a model says what each prompt is like, called and paid as judges are (`calls`).

One row a prompt and version of the tagger; what was answered is never asked for again. A job's parameters:
{"labeler": id, "reserve": the most the run may cost}. Tags become columns of the feature set at once.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import Comparison, Job, Labeler, LabelerVersion, Project, Prompt, PromptTags, Reservation, User
from annotator.pipeline import call_books, calls, feature_sets, featurise, lost, operations, taggers, work
from labelers.base import Answer
from labelers.tagger import STEP
from routing import tags

# Seconds between two beats of a run.
BEAT = 1.0
BATCH = 500
# An estimate reads at most this many prompts and scales.
SAMPLE = 300


@dataclass
class Tally:
    """What a run has done so far."""

    tagged: int = 0
    unread: int = 0
    failures: call_books.Failures = field(default_factory=call_books.Failures)
    lost: int = 0

    def words(self) -> str:
        parts = [ngettext("%(n)s prompt tagged", "%(n)s prompts tagged", self.tagged) % {"n": self.tagged}]
        if self.unread:
            parts.append(_("of %(n)s the answer could not be read") % {"n": self.unread})
        return "; ".join([*parts, *self.failures.told(self.lost)])


@dataclass(frozen=True)
class Estimate:
    """What a run would do: prompts to tag, one call each, and the most that these can cost."""

    calls: int
    most: Decimal


@shared_task(name=work.TASKS[Job.Kind.TAG])
def run_tags() -> int:
    return work.work(Job.Kind.TAG, tag_job)


def waiting(project: Project, version: LabelerVersion) -> QuerySet[Prompt]:
    """Prompts of comparisons that this version has not tagged."""
    compared = Comparison.objects.filter(prompt=OuterRef("pk"))
    tagged = PromptTags.objects.filter(prompt=OuterRef("pk"), tagger=version.digest)
    return project.prompts.filter(Exists(compared), ~Exists(tagged))


def estimate(labeler: Labeler) -> Estimate:
    """What tagging the rest would take, retries aside: exact up to 300 prompts, scaled up from the first 300 beyond."""
    version = taggers.current_version(labeler)
    left = waiting(labeler.project, version)
    whole = left.count()
    if labeler.is_free or not whole:
        return Estimate(whole, Decimal(0))
    tagger, sample = taggers.unconnected(version), list(_texts(left)[:SAMPLE])
    price = sum((tagger.highest_price(prompt, STEP) for prompt in sample), Decimal(0))
    return Estimate(whole, (price * whole / len(sample)).quantize(Decimal("0.000001")))


def request(labeler: Labeler, *, reserve: Decimal | None, by: User | None) -> Job:
    """One job a tagger: while one waits, runs or is paused, asking again gives it."""
    job = Job.objects.ask(
        labeler.project,
        Job.Kind.TAG,
        key=str(labeler.pk),
        by=by,
        labeler=labeler.pk,
        reserve=None if reserve is None else str(reserve),
    )
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.TAG]))
    return job


def tag_job(job: Job) -> str:
    """Run one TAG job; gives its closing message. The features are brought up to date when it ends."""
    found = job.project.labelers.select_related("project").filter(pk=job.parameters["labeler"], kind=Labeler.TAGGER)
    labeler = found.first()
    if labeler is None or not labeler.enabled:
        raise work.StepRefused(_("The tagger was removed or switched off before its run began."))
    tally = Tally()
    with operations.paid(job, labeler, tally.words) as reservation:
        _run(labeler, job, reservation, tally)
    if job.project.comparisons.exists():
        featurise.request(job.project, job.requested_by)
    return tally.words()


def _run(labeler: Labeler, job: Job, reservation: Reservation | None, tally: Tally) -> None:
    version = taggers.current_version(labeler)
    tagger = taggers.build(version)
    tally.lost = lost.count_lost(labeler)
    left = waiting(labeler.project, version)
    total, after, last = left.count(), 0, 0.0

    def beat() -> None:
        nonlocal last
        if time.monotonic() - last >= BEAT:
            last = time.monotonic()
            job.beat(tally.tagged + tally.unread, total, tally.words())

    def take(answered: Sequence[tuple[Any, dict[str, Answer]]]) -> None:
        _store(version, [(prompt, answers[STEP]) for prompt, answers in answered if STEP in answers], tally)

    asker = calls.Asker(tagger, version, reservation, beat, tally.failures)
    while prompts := list(_texts(left.filter(pk__gt=after))[:BATCH]):
        after = prompts[-1].pk
        asker.ask(prompts, take)
        beat()


def _store(version: LabelerVersion, answered: Sequence[tuple[Prompt, Answer]], tally: Tally) -> None:
    """Keep what was said of each prompt, nulls where it could not be read, and write it into rows that are there.

    Repeating it changes nothing.
    """
    read = {prompt: tags.parse(answer.text) for prompt, answer in answered}
    rows = [PromptTags(prompt=prompt, tagger=version.digest, tags=said or {}) for prompt, said in read.items()]
    feature_set = version.labeler.project.feature_sets.order_by("-version").first()
    with transaction.atomic():
        PromptTags.objects.bulk_create(rows, ignore_conflicts=True)
        if feature_set and feature_set.made_with.get("tagger") == version.digest:
            feature_sets.put_tags(feature_set, list(read))
    tally.tagged += sum(said is not None for said in read.values())
    tally.unread += sum(said is None for said in read.values())


def _texts(prompts: QuerySet[Prompt]) -> QuerySet[Prompt]:
    return prompts.defer("html").order_by("pk")
