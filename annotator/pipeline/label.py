"""Label: AI labelers judge. Free ones everything; one with a price what a plan, or a lead's own order, gave it.

A job's parameters: {"labeler": id, "plan": id | None, "scope": "" | "trial" | "people" | "everything",
"comparisons": [ids] for a trial, "reserve": the most the run may cost when no plan reserved for it}.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import islice

from celery import shared_task
from django.db import transaction
from django.db.models import Exists, OuterRef, QuerySet
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from annotator.models import (
    Comparison,
    Job,
    JobCancelled,
    Judgment,
    Labeler,
    LabelerVersion,
    Outcome,
    Project,
    Rater,
    Reservation,
    User,
)
from annotator.pipeline import calls, heat_maps, ledger, models, proxy, versions, work
from labelers import base
from labelers.pointwise import Pointwise

BATCH = 200
# Seconds between two beats of a run.
BEAT = 1.0
TRIAL = 5
# An estimate reads at most this many comparisons and scales.
SAMPLE = 300


@dataclass
class Tally:
    """What a run has done so far."""

    judged: int = 0
    unparsed: int = 0
    failures: list[str] = field(default_factory=list)
    lost: int = 0

    def words(self) -> str:
        parts = [ngettext("%(n)s comparison judged", "%(n)s comparisons judged", self.judged) % {"n": self.judged}]
        if self.unparsed:
            parts.append(_("%(n)s answers not understood") % {"n": self.unparsed})
        if self.failures:
            parts.append(
                _("%(n)s calls failed, the last with: %(why)s") % {"n": len(self.failures), "why": self.failures[-1]}
            )
        if self.lost:
            parts.append(_("%(n)s calls of an earlier run were lost and are counted as paid") % {"n": self.lost})
        return "; ".join(parts)


@shared_task(name=work.TASKS[Job.Kind.LABEL])
def run_labels() -> int:
    return work.work(Job.Kind.LABEL, label_job)


@shared_task(name=work.GPU_TASKS[Job.Kind.LABEL])
def run_model_labels() -> int:
    """The same for labelers that load models, in workers that may."""
    return work.work(Job.Kind.LABEL, label_job, work.GPU)


def request_free(project: Project) -> list[Job]:
    """Ask every labeler that costs nothing and sends nothing anywhere to judge what it has not judged yet."""
    jobs = [
        request_run(labeler)
        for labeler in project.labelers.filter(enabled=True, kind__in=versions.OWN).order_by("id")
        if labeler.kind != versions.PROXY or proxy.can_learn(project)
    ]
    return jobs


def request_run(
    labeler: Labeler,
    *,
    plan_id: int | None = None,
    scope: str = "",
    comparisons: Sequence[int] = (),
    reserve: Decimal | None = None,
    by: User | None = None,
    version: LabelerVersion | None = None,
) -> Job:
    """One job of this labeler, plan and scope; while it waits asking again gives the same.

    `version`: a candidate that is to judge instead of the version in use (`versions.edit`).

    To a person who asks (`by`) one that runs counts too; without one it may be about comparisons that are new since.
    """
    make = Job.objects.ask if by else Job.objects.request
    job = make(
        labeler.project,
        Job.Kind.LABEL,
        key=f"{labeler.pk}:{plan_id or scope}" + (f":{version.pk}" if version else ""),
        by=by,
        queue=models.queue(labeler.kind),
        labeler=labeler.pk,
        plan=plan_id,
        scope=scope,
        comparisons=list(comparisons),
        reserve=str(reserve) if reserve is not None else None,
        version=version.pk if version else None,
    )
    transaction.on_commit(lambda: work.nudge(work.task(Job.Kind.LABEL, job.queue)))
    return job


def set_enabled(labeler: Labeler, enabled: bool) -> None:
    """Switch a labeler on or off; switching it off also cancels its unfinished runs. What it has judged stays."""
    Labeler.objects.filter(pk=labeler.pk).update(enabled=enabled)
    if not enabled:
        for job in Job.objects.unfinished().filter(kind=Job.Kind.LABEL, parameters__labeler=labeler.pk):
            job.cancel()


def label_job(job: Job) -> str:
    """Run one LABEL job; gives its closing message. A run that stops for money or a broken endpoint is refused."""
    labeler = job.project.labelers.select_related("project").filter(pk=job.parameters["labeler"]).first()
    if labeler is None or not labeler.enabled:
        raise work.StepRefused(_("The labeler was removed or disabled before its run began."))
    reservation = _reservation(job, labeler)
    comparison_ids = list(_scope(job, labeler))
    tally = Tally()
    try:
        _run(labeler, comparison_ids, tally, job=job, reservation=reservation)
    except JobCancelled:
        job.refresh_from_db()
        if reservation and job.cancel_requested:
            _close_unless_plans(reservation)
        raise
    except work.StepRefused as refusal:
        if reservation:
            _close_unless_plans(reservation)
        raise work.StepRefused(f"{refusal} ({tally.words()})", **refusal.result) from None
    if reservation and not (reservation.plan_id and tally.failures):
        ledger.close(reservation)
    return tally.words()


def run_labeler(
    labeler: Labeler,
    comparison_ids: Iterable[int],
    *,
    job: Job | None = None,
    reservation: Reservation | None = None,
) -> int:
    """Judge those of `comparison_ids` that the labeler's current version has not judged; gives how many it did.

    A labeler with a price needs `reservation`: before each call its highest price is held in it. What was already
    answered and paid is not asked again. Raises StepRefused when the money is used up or the endpoint is of no use.
    """
    tally = Tally()
    _run(labeler, comparison_ids, tally, job=job, reservation=reservation)
    return tally.judged


def _run(
    labeler: Labeler, comparison_ids: Iterable[int], tally: Tally, *, job: Job | None, reservation: Reservation | None
) -> None:
    if not labeler.is_free and reservation is None and labeler.kind != versions.RECORDED:
        raise work.StepRefused(
            _("%(name)s costs money: it judges what an approved plan gives it.") % {"name": labeler.name}
        )
    if labeler.kind == versions.RECORDED:
        return
    ids = list(comparison_ids)
    done, last = 0, 0.0
    batch: list[int] = []

    def beat(share: float = 0.0) -> None:
        """`share`: how much of the present batch is done."""
        nonlocal last
        if job and time.monotonic() - last >= BEAT:
            last = time.monotonic()
            job.beat(min(done + int(share * len(batch)), len(ids)), len(ids), tally.words())

    version, judge = _judge(labeler, beat, job.parameters.get("version") if job else None)
    tally.lost = calls.count_lost(labeler)
    asker = calls.Asker(judge, version, reservation, beat) if isinstance(judge, base.Asking) else None
    try:
        for batch in _batches(ids, models.SHARD if models.is_model(labeler.kind) else BATCH):
            pending = _pending(version, batch)
            if asker:
                _take_in(asker.ask(pending), version, pending, tally, reservation)
            else:
                _store(version, zip(pending, judge.judge(pending), strict=True), tally, reservation)
            done += len(batch)
            beat()
    finally:
        if isinstance(judge, Pointwise):
            judge.free()


def _judge(
    labeler: Labeler, beat: Callable[[float], None], version_id: int | None
) -> tuple[LabelerVersion, base.Labeler | base.Asking]:
    """The version in use, or the one that was asked for, and what judges by it."""
    if labeler.kind == versions.PROXY:
        version = proxy.current_version(labeler)
        return version, proxy.build(version)
    version = versions.asked_for(labeler, version_id)
    if models.is_model(labeler.kind):
        return version, models.build(version, beat)
    return version, versions.build(version)


def _take_in(
    asked: calls.Asked,
    version: LabelerVersion,
    pending: Sequence[Comparison],
    tally: Tally,
    reservation: Reservation | None,
) -> None:
    answered = [(each, asked.verdicts[each.pk]) for each in pending if each.pk in asked.verdicts]
    _store(version, answered, tally, reservation)
    tally.failures += asked.failures
    if asked.stopped:
        raise asked.stopped


def _store(
    version: LabelerVersion,
    verdicts: Iterable[tuple[Comparison, base.Verdict]],
    tally: Tally,
    reservation: Reservation | None,
) -> None:
    """Verdicts become judgments of the version's rater; one that is there already stays as it is."""
    rows, mapped = [], {}
    for comparison, verdict in verdicts:
        if verdict.is_judgment:
            rows.append(_judgment(version, comparison, verdict, reservation))
            if verdict.per_token is not None:
                mapped[comparison.pk] = verdict.per_token
        elif verdict.outcome == base.Outcome.UNPARSED:
            tally.unparsed += 1
        else:
            tally.failures.append(str(verdict.provenance.get("error", "")))
    with transaction.atomic():
        Judgment.objects.bulk_create(rows, ignore_conflicts=True)
        heat_maps.store(version, mapped)
    tally.judged += len(rows)


def _judgment(
    version: LabelerVersion, comparison: Comparison, verdict: base.Verdict, reservation: Reservation | None
) -> Judgment:
    said = verdict.outcome != base.Outcome.ABSTAIN
    return Judgment(
        project_id=comparison.project_id,
        comparison=comparison,
        rater=version.rater,
        plan_id=reservation.plan_id if reservation else None,
        outcome=Outcome.LEVEL if said else Outcome.ABSTAIN,
        p_b=verdict.p_b,
        p_tie=verdict.p_tie,
        confidence=verdict.confidence,
        attributes=verdict.attributes,
        justification=verdict.rationale,
        cost=verdict.cost,
        provenance={**verdict.provenance, "version": version.digest},
    )


def _reservation(job: Job, labeler: Labeler) -> Reservation | None:
    """The money of this run: the plan's, or its own, set aside now under the job's key."""
    if labeler.is_free or labeler.kind == versions.RECORDED:
        return None
    plan_id, most = job.parameters.get("plan"), job.parameters.get("reserve")
    if plan_id:
        key = ledger.plan_key(plan_id, labeler.name)
        found = Reservation.objects.filter(account__project=job.project, key=key).first()
        if found is None or not found.is_open:
            raise work.StepRefused(
                _("No money is set aside for %(name)s by this plan any more; make a new plan.") % {"name": labeler.name}
            )
        return found
    if most is None:
        return None
    return ledger.reserve(job.project, f"job:{job.pk}", Decimal(most), source=labeler.name)


def _close_unless_plans(reservation: Reservation) -> None:
    """A plan's money stays reserved for another run of the same plan; a run's own goes back."""
    if reservation.plan_id is None:
        ledger.close(reservation)


def _scope(job: Job, labeler: Labeler) -> Iterator[int]:
    """Ids of the comparisons the job is about."""
    plan_id, scope = job.parameters.get("plan"), job.parameters.get("scope", "")
    comparisons = Comparison.objects.filter(project=job.project)
    if plan_id:
        comparisons = comparisons.filter(routes__plan=plan_id, routes__labeler=labeler)
    elif job.parameters.get("comparisons"):
        comparisons = comparisons.filter(pk__in=job.parameters["comparisons"])
    elif scope == "people":
        comparisons = judged_by_people(job.project)
    yield from comparisons.order_by("pk").values_list("pk", flat=True).iterator(chunk_size=5000)


def judged_by_people(project: Project) -> QuerySet[Comparison]:
    """Where people's and AI judgments can be compared: the seed set above all."""
    people = Judgment.objects.effective().filter(comparison=OuterRef("pk"), rater__kind=Rater.Kind.PERSON)
    return Comparison.objects.filter(Exists(people), project=project)


def trial_comparisons(labeler: Labeler, number: int = TRIAL) -> list[int]:
    """A few comparisons it has not judged, such as people have judged first."""
    version = versions.current_version(labeler)
    chosen: list[int] = []
    for group in (judged_by_people(labeler.project), Comparison.objects.filter(project=labeler.project)):
        left = _unjudged(version, group).exclude(pk__in=chosen).order_by("pk")
        chosen += left.values_list("pk", flat=True)[: number - len(chosen)]
    return chosen


def estimate(
    labeler: Labeler, comparisons: QuerySet[Comparison], version: LabelerVersion | None = None
) -> tuple[int, Decimal]:
    """How many of `comparisons` it (or the candidate `version`) would judge and the most that can cost, retries aside.

    Exact up to 300 comparisons, scaled up from 300 beyond. Raises StepRefused as `versions.build` does.
    """
    version = versions.asked_for(labeler, version.pk if version else None)
    left = _unjudged(version, comparisons)
    number = left.count()
    if models.is_model(labeler.kind):  # its weights are no business of the process that asks
        models.refuse_without_models()
        return number, Decimal(0)
    judge = versions.build(version)
    if labeler.is_free or not number or not isinstance(judge, base.Asking):
        return number, Decimal(0)
    sample = list(_texts(left.order_by("pk"))[:SAMPLE])
    price = versions.highest_price(judge, sample) * number / len(sample)
    return number, price.quantize(Decimal("0.000001"))


def _pending(version: LabelerVersion, ids: Sequence[int]) -> list[Comparison]:
    return list(_texts(_unjudged(version, Comparison.objects.filter(pk__in=ids))).order_by("pk"))


def _unjudged(version: LabelerVersion, comparisons: QuerySet[Comparison]) -> QuerySet[Comparison]:
    own = Judgment.objects.filter(comparison=OuterRef("pk"), rater__labeler_version=version)
    return comparisons.filter(~Exists(own))


def _texts(comparisons: QuerySet[Comparison]) -> QuerySet[Comparison]:
    whole = comparisons.select_related("prompt", "response_a", "response_b")
    return whole.defer("prompt__html", "response_a__html", "response_b__html")


def _batches(ids: Sequence[int], size: int = BATCH) -> Iterator[list[int]]:
    numbers = iter(ids)
    while batch := list(islice(numbers, size)):
        yield batch
