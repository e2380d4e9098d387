"""Label: AI labelers judge. Free ones everything; one with a price what a plan, or a lead's own order, gave it.

A job's parameters: {"labeler": id, "plan": id | None, "scope": "" | "trial" | "people" | "filter" | "everything",
"comparisons": [ids] for a trial, "filter": {…} (`scope.of_filter`), "failed": only those asked in vain before,
"reserve": the most the run may cost when no plan reserved for it}. Its result: {"run": `verdicts.Tally.stored()`}.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from itertools import chain
from typing import Any

from celery import shared_task
from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from annotator.models import (
    BatchFile,
    Comparison,
    Job,
    JobCancelled,
    Labeler,
    LabelerVersion,
    Project,
    Reservation,
    User,
)
from annotator.pipeline import (
    batch_results,
    batches,
    calls,
    check,
    combine,
    ledger,
    lost,
    models,
    probes,
    proxy,
    scope,
    verdicts,
    versions,
    work,
)
from labelers import base
from labelers.pointwise import Pointwise

BATCH = 200


@shared_task(name=work.TASKS[Job.Kind.LABEL])
def run_labels() -> int:
    done = work.work(Job.Kind.LABEL, label_job)
    batch_results.remove_taken()
    return done


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
    filter: Mapping[str, Any] | None = None,
    failed: bool = False,
    reserve: Decimal | None = None,
    by: User | None = None,
    version: LabelerVersion | None = None,
) -> Job:
    """One job of this labeler, plan and scope; while it waits asking again gives the same.

    `filter`: the fields of `scope.of_filter`, for the scope "filter". `failed`: of these only what was asked in vain.
    `version`: a candidate that is to judge instead of the version in use (`versions.edit`).

    To a person who asks (`by`) one that runs counts too; without one it may be about comparisons that are new since.
    """
    make = Job.objects.ask if by else Job.objects.request
    job = make(
        labeler.project,
        Job.Kind.LABEL,
        key=_key(labeler, plan_id or scope, filter, failed, version),
        by=by,
        queue=models.queue(labeler.kind),
        labeler=labeler.pk,
        plan=plan_id,
        scope=scope,
        comparisons=list(comparisons),
        filter=dict(filter or {}),
        failed=failed,
        reserve=str(reserve) if reserve is not None else None,
        version=version.pk if version else None,
    )
    nudge(job)
    return job


def under_way(labeler: Labeler, scope: str, filter: Mapping[str, Any]) -> Job | None:
    """The run that a person who asks for one of this scope and filter gets, if it has not ended."""
    key = _key(labeler, scope, filter, failed=False, version=None)
    return Job.objects.asked_already(labeler.project, Job.Kind.LABEL, key)


def _key(
    labeler: Labeler, what: object, asked: Mapping[str, Any] | None, failed: bool, version: LabelerVersion | None
) -> str:
    """What makes two runs the same."""
    digest = hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12] if asked else ""
    parts = [labeler.pk, what, digest, "failed" if failed else "", version.pk if version else ""]
    return ":".join(str(part) for part in parts).rstrip(":")


def retry_failed(job: Job, labeler: Labeler, *, by: User) -> Job:
    """A run of what `job` asked in vain and nobody judged since. Raises StepRefused as `left_of` does."""
    asked = job.parameters
    version = version_of(labeler, job)
    _number, most = left_of(job, labeler)
    return request_run(
        labeler,
        plan_id=asked.get("plan"),
        scope=asked.get("scope", ""),
        comparisons=asked.get("comparisons") or (),
        filter=asked.get("filter"),
        failed=True,
        reserve=None if labeler.is_free or asked.get("plan") else most,
        by=by,
        version=version if asked.get("version") else None,
    )


def left_of(job: Job, labeler: Labeler) -> tuple[int, Decimal]:
    """How much of a run failed and was not made good since, and the most that can cost.

    Raises StepRefused when there is nothing of that, or when the job was no run but about a file.
    """
    if job.parameters.get("batch_file"):
        raise work.StepRefused(_("What failed in a file is asked with the next file, or with a run."))
    version = version_of(labeler, job)
    number, most = _left(job, labeler, version)
    if not number:
        raise work.StepRefused(_("Nothing of this run is left that failed."))
    return number, most


def _left(job: Job, labeler: Labeler, version: LabelerVersion) -> tuple[int, Decimal]:
    if job.parameters.get("scope") == probes.SCOPE:
        return probes.estimate(version)
    again = Job(project=job.project, parameters={**job.parameters, "failed": True})
    expected = scope.estimate(labeler, scope.of_job(again, labeler, version), version)
    return expected.number, expected.most


def nudge(job: Job) -> None:
    """Tell a worker of the job once it is stored."""
    transaction.on_commit(lambda: work.nudge(work.task(job.kind, job.queue)))


def label_job(job: Job) -> work.Done:
    """Run one LABEL job; gives its closing message. A run that stops for money or a broken endpoint is refused."""
    labeler = job.project.labelers.judging().select_related("project").filter(pk=job.parameters["labeler"]).first()
    if labeler is None or not labeler.enabled:
        raise work.StepRefused(_("The labeler was removed or disabled before its run began."))
    if number := job.parameters.get("batch_file"):
        return _file_job(job, BatchFile.objects.select_related("labeler_version__labeler__project").get(pk=number))
    reservation = _reservation(job, labeler)
    version = version_of(labeler, job)
    tally = verdicts.Tally.of(job, version)
    try:
        _run(labeler, version, scope.of_job(job, labeler, version), tally, job=job, reservation=reservation)
    except JobCancelled:
        job.refresh_from_db()
        # A paused run keeps its money.
        if reservation and job.cancel_requested:
            _close_unless_plans(reservation)
        raise
    except work.StepRefused as refusal:
        if reservation:
            _close_unless_plans(reservation)
        result = {**refusal.result, "run": tally.stored()}
        raise work.StepRefused(f"{refusal} ({tally.words()})", **result) from None
    if reservation and not (reservation.plan_id and tally.failures.given_up):
        ledger.close(reservation)
    if job.parameters.get("version") or job.parameters.get("scope") in (probes.SCOPE, "people"):
        check.request(labeler)  # somebody waits to see how good it is
    for ensemble in combine.with_member(labeler):
        request_run(ensemble)
    words = probes.words(version) if job.parameters.get("scope") == probes.SCOPE else tally.words()
    return work.Done(words, {"run": tally.stored()})


def _file_job(job: Job, file: BatchFile) -> work.Done:
    """Write a batch file, or take in what came back of one. A file that will not be written holds no money."""
    if results := job.parameters.get("results"):
        return _results(job, file, results)
    try:
        return work.Done(batches.fill(file, job.beat))
    except JobCancelled:
        # Else it is for the worker that has taken the job over, or for when it goes on.
        if Job.objects.filter(pk=job.pk, cancel_requested=True).exists():
            batches.close(file)
        raise
    except Exception:
        batches.close(file)
        raise


def _results(job: Job, file: BatchFile, results: str) -> work.Done:
    """Take the stored results in; they are removed when the job has ended (`batch_results.remove_taken`)."""
    version, tally = file.labeler_version, verdicts.Tally()
    about = Comparison.objects.filter(calls__batch_file=file).distinct()
    progress = verdicts.Progress(None, tally, about, version)
    judge = versions.unconnected(version)
    for answered in batches.take_in(file, results, job.beat, tally.failures):
        progress.store(verdicts.said(judge, answered), file.reservation)
    return work.Done(tally.words(), {"run": tally.stored()})


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
    tally = verdicts.Tally()
    comparisons = Comparison.objects.filter(project=labeler.project, pk__in=list(comparison_ids))
    _run(labeler, version_of(labeler, job), comparisons, tally, job=job, reservation=reservation)
    return tally.judged


def version_of(labeler: Labeler, job: Job | None = None) -> LabelerVersion:
    """The version in use, or the one that the job names; what learns from people learns anew where that is due."""
    named = job.parameters.get("version") if job else None
    if labeler.kind == versions.PROXY:
        return proxy.current_version(labeler)
    if labeler.kind == versions.ENSEMBLE:
        return combine.version_of(labeler, named)
    return versions.asked_for(labeler, named)


def _run(
    labeler: Labeler,
    version: LabelerVersion,
    comparisons: QuerySet[Comparison],
    tally: verdicts.Tally,
    *,
    job: Job | None,
    reservation: Reservation | None,
) -> None:
    if labeler.kind == versions.RECORDED:
        return
    if not labeler.is_free and reservation is None:
        raise work.StepRefused(
            _("%(name)s costs money: it judges what an approved plan gives it.") % {"name": labeler.name}
        )
    if labeler.kind == versions.ENSEMBLE:
        comparisons = combine.ready(version, comparisons)
    is_check = bool(job and job.parameters.get("scope") == probes.SCOPE)
    progress = verdicts.Progress(job, tally, comparisons.none() if is_check else comparisons, version)
    judge = _judge(version, progress.beat)
    tally.lost += lost.count_lost(labeler)
    if is_check:
        try:
            probes.run(version, judge, reservation, progress.count, tally.failures)
        finally:
            _free(judge)
        return
    if isinstance(judge, base.Asking):
        asker = calls.Asker(judge, version, reservation, progress.beat, tally.failures)
        pending = chain.from_iterable(scope.batches(version, comparisons, calls.CHUNK))
        asker.ask(pending, lambda done: progress.store(verdicts.said(judge, done), reservation))
        return
    try:
        for batch in scope.batches(version, comparisons, models.SHARD if models.is_model(labeler.kind) else BATCH):
            progress.batch = len(batch)
            progress.store(zip(batch, judge.judge(batch), strict=True), reservation)
            progress.beat()
    finally:
        _free(judge)


def _free(judge: base.Labeler) -> None:
    """Models stay in memory between two batches, and no longer."""
    if isinstance(judge, Pointwise):
        judge.free()


def _judge(version: LabelerVersion, beat: Callable[[float], None]) -> base.Labeler | base.Asking:
    kind = version.labeler.kind
    if kind == versions.PROXY:
        return proxy.build(version)
    if kind == versions.ENSEMBLE:
        return combine.build(version)
    return models.build(version, beat) if models.is_model(kind) else versions.build(version)


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
