"""Long work, followed by the person who asked for it: progress, what went wrong, cancel."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import NoReverseMatch, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe
from django_htmx.http import HttpResponseClientRedirect

from annotator import access, readings
from annotator.models import Export, Job, Project
from annotator.pipeline import probes, work
from annotator.pipeline.ingest_report import NEW
from annotator.views import fetch

# Where the result of a job is to be seen.
RESULTS = {
    Job.Kind.INGEST: "comparisons",
    Job.Kind.FEATURISE: "comparisons",
    Job.Kind.TAG: "features",
    Job.Kind.LABEL: "comparisons",
    Job.Kind.RETRAIN: "plans",
    Job.Kind.ROUTE: "plans",
    Job.Kind.EXPORT: "exports",
    Job.Kind.PAIRS: "comparisons",
    Job.Kind.GENERATE: "responses",
    Job.Kind.CHECK: "labelers",
    Job.Kind.BACKTEST: "backtests",
    Job.Kind.MEASURE: "mixtures",
    Job.Kind.FETCH: "comparisons",
    Job.Kind.PUSH: "exports",
}

# Jobs that bring data in, whole or not at all.
BRING_IN = (Job.Kind.INGEST, Job.Kind.FETCH)


def ask_for(project: Project, kind: str, by: Any, *, key: str = "", **parameters: Any) -> Job:
    """Request a job for the user, unless the same waits or runs already, and tell a worker once it is stored."""
    job = Job.objects.ask(project, kind, key=key, by=by, **parameters)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind(kind)]))
    return job


def is_over(job: Job) -> bool:
    return job.state not in (Job.State.WAITING, Job.State.RUNNING, Job.State.PAUSED)


def result_url(job: Job) -> str:
    """The page that shows what the job made; "" when it made nothing."""
    if job.state != Job.State.DONE:
        return ""
    if job.parameters.get("dry_run"):
        return str(job.parameters.get("page", ""))
    if job.result.get("realised"):
        return reverse("loop", args=[job.project_id])
    if number := job.result.get("plan"):
        return reverse("plan", args=[job.project_id, number])
    if job.kind == Job.Kind.CHANGES:
        return _changes(job)
    if kept := _kept(job):
        return reverse("dataset", args=[job.project_id, kept])
    if number := job.result.get("backtest"):
        return reverse("backtest", args=[job.project_id, number])
    if number := _reported(job):
        return reverse("labeler_report", args=[job.project_id, number])
    try:
        # Pairs made by a rule are comparisons, whichever job made them.
        name = "comparisons" if "rule" in job.parameters else RESULTS[Job.Kind(job.kind)]
        return reverse(name, args=[job.project_id])
    except NoReverseMatch:
        return ""


def _changes(job: Job) -> str:
    """The page of the two versions that were compared; "" when one is gone."""
    pair = [Export.objects.filter(pk=job.parameters[name]).first() for name in ("before", "after")]
    if None in pair:
        return ""
    before, after = (export for export in pair if export)
    address = reverse("dataset_changes", args=[job.project_id, before.dataset_id])
    return f"{address}?{urlencode({'before': before.version, 'after': after.version})}"


def _kept(job: Job) -> int | None:
    """The data set that an export is a version of; None for one of its own."""
    if job.kind != Job.Kind.EXPORT:
        return None
    return Export.objects.filter(pk=job.parameters["export"]).values_list("dataset", flat=True).first()


def _reported(job: Job) -> int | None:
    """The labeler whose report shows what the job found: of its own report, or of a run of its checks."""
    is_check = job.kind == Job.Kind.CHECK or job.parameters.get("scope") == probes.SCOPE
    return job.parameters.get("labeler") if is_check else None


@login_required
@require_safe
def job(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.jobs, pk=job_id)
    if found.kind == Job.Kind.LABEL:
        return redirect("run", project.pk, found.pk)
    context = {"project": project, "tab": "board", "job": found, "result_url": result_url(found)}
    context["failures"] = readings.runs.failed(found)
    if found.kind in BRING_IN:
        context |= _brought_in(found)
    return render(request, "jobs/job.html", context)


def _brought_in(job: Job) -> dict[str, Any]:
    """What the page of a job that brings data in says beside the others: of what, and how to go on."""
    said = job.parameters
    is_checked = bool(said.get("dry_run"))
    return {
        "brings_in": True,
        "of_what": said.get("filename") or said.get("name", ""),
        "fetch_again": urlencode({name: said[name] for name in fetch.ASKED if said.get(name)}),
        "nothing_new": nothing_new(job),
        "may_go_on_with_another": is_over(job)
        and (job.state != Job.State.DONE or is_checked or bool(nothing_new(job))),
    }


def nothing_new(job: Job) -> str:
    """Why a finished import, or a check of one, brought nothing; "" when it brought something, or is no such job.

    "here": all of it is there already. "rest here": so is what of it was not left out. "left out": all of it was.
    """
    said = job.result
    if job.kind not in BRING_IN or job.state != Job.State.DONE or said.get("comparisons") is None:
        return ""
    if said.get("words") or said.get("errors") or any(said.get(name) for name in NEW):
        return ""
    # Rows of a prompt alone count whether the prompt is new or not; here it is not.
    if not (said.get("skipped_existing") or said.get("alone")):
        return "left out"
    return "rest here" if said.get("left") else "here"


def _is_to_read(job: Job) -> bool:
    """Whether the job's own page has to say something before its result is shown: what was left out of an import,
    found by a dry run, restored, or that nothing was stored or written because nothing had changed."""
    said = job.result
    is_restored = job.kind in BRING_IN and bool(said.get("words"))
    is_found = bool(said.get("left") or job.parameters.get("dry_run"))
    return is_restored or is_found or "unchanged_since" in said or bool(nothing_new(job))


@login_required
@require_safe
def job_progress(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    """The fragment that asks for itself again while the job runs. With `?follow=1` it goes to the result when done."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.jobs, pk=job_id)
    follow = request.GET.get("follow") == "1"
    address = result_url(found)
    if follow and is_over(found):
        here = reverse("job", args=[project.pk, found.pk])
        return HttpResponseClientRedirect(here if _is_to_read(found) else address or here)
    context = {"project": project, "job": found, "result_url": address, "follow": follow}
    return render(request, "jobs/_job.html", context)


@login_required
@require_POST
def job_cancel(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = get_object_or_404(project.jobs, pk=job_id)
    if is_over(found):
        messages.info(request, _("It had already ended, so there was nothing to cancel."))
    else:
        found.cancel()
        messages.success(request, _cancelled(found))
    return redirect("job", project.pk, found.pk)


def _cancelled(job: Job) -> str:
    if job.kind in BRING_IN and job.parameters.get("dry_run"):
        return _("Cancelled. The file is still here: the preview can check it again.")
    if job.kind == Job.Kind.INGEST:
        return _("Cancelled. Nothing of the file is imported; to import it, upload it again.")
    if job.kind == Job.Kind.FETCH:
        return _("Cancelled. Nothing of the set is imported; asking again fetches it anew.")
    return _("Cancelled. What it had stored stays; asking again goes on from there.")
