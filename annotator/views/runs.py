"""Runs of a labeler: what one would cost and send, starting it, following it, pausing it, asking again what failed."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, readings
from annotator.forms.runs import RunFilter
from annotator.models import Job, Labeler, Project
from annotator.pipeline import disclosures, keys, label, ledger, scope, versions
from annotator.pipeline.work import StepRefused
from annotator.views import spending
from annotator.views.projects import sources_of


@login_required
@require_http_methods(["GET", "POST"])
def labeler_run(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """First on what, what would be sent where and what it can cost; then, confirmed, the run."""
    project = access.project_or_404(request, project_id, access.LEADS)
    chosen = get_object_or_404(project.labelers.judging().select_related("project"), pk=labeler_id)  # type: ignore[attr-defined]
    if chosen.kind in (versions.RECORDED, versions.PROXY):
        messages.error(request, _("There is nothing to run here: its verdicts come with the data or from votes."))
        return redirect("labeler", project.pk, chosen.pk)
    if chosen.kind == versions.ENSEMBLE:  # it judges what its members have: what is to be run is theirs
        on = "everything" if request.GET.get("on") == "everything" else "people"
        return redirect(reverse("ensemble_fill", args=[project.pk, chosen.pk], query={"on": on}))
    form = _form(request, project)
    if not form.is_valid():
        return _page(request, project, chosen, form)
    try:
        ids, comparisons = scope.asked(chosen, form.cleaned_data["on"], form.filter())
        expected = scope.estimate(chosen, comparisons)
        missing = disclosures.missing(chosen)
    except StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("labeler", project.pk, chosen.pk)
    wanted = request.method == "POST" and expected.number and not missing
    if wanted and spending.may_cost(form, expected.most, project):
        started = label.request_run(
            chosen,
            scope=form.cleaned_data["on"],
            comparisons=ids,
            filter=form.filter(),
            reserve=None if chosen.is_free else expected.most,
            by=request.user,  # type: ignore[arg-type]
        )
        return redirect("run", project.pk, started.pk)
    return _page(request, project, chosen, form, expected=expected, missing=missing)


def _form(request: HttpRequest, project: Project) -> RunFilter:
    given = QueryDict(mutable=True)
    given.update(request.POST if request.method == "POST" else request.GET)
    given.setdefault("on", "trial")
    return RunFilter(
        given,
        sources_of(project),
        readings.labelers.names(project),
        has_languages=readings.filters.has_languages(project),
    )


def _page(request: HttpRequest, project: Project, chosen: Labeler, form: RunFilter, **more: Any) -> HttpResponse:
    version = versions.in_use(chosen)
    context = {
        "project": project,
        "tab": "labelers",
        "labeler": chosen,
        "form": form,
        "asked": _asked(form.data),
        "parts": [disclosures.PARTS[part] for part in disclosures.parts_of(version)] if version else [],
        "places": keys.places(version) if version else [],
        "free": ledger.available(project),
        **more,
    }
    status = 422 if request.method == "POST" else 200
    return render(request, "labelers/run_start.html", context, status=status)


def _asked(data: Any) -> dict[str, list[str]]:
    """What the form was asked with, to be sent again with the confirmation."""
    return {name: values for name, values in data.lists() if name not in ("csrfmiddlewaretoken", "most")}


def _covers(confirmed: str, most: Decimal) -> bool:
    """Whether a lead has said that it may cost as much as it now can."""
    try:
        return Decimal(confirmed) >= most
    except InvalidOperation:
        return False


def _run_or_404(project: Project, job_id: int) -> Job:
    return get_object_or_404(project.jobs.select_related("project"), pk=job_id, kind=Job.Kind.LABEL)


@login_required
@require_safe
def run(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = _run_or_404(project, job_id)
    context = {"project": project, "tab": "labelers", "job": found, "run": readings.runs.of_job(found)}
    return render(request, "labelers/run.html", context)


@login_required
@require_safe
def run_progress(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    """The fragment that asks for itself again while the run waits or goes on."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = _run_or_404(project, job_id)
    context = {"project": project, "job": found, "run": readings.runs.of_job(found)}
    return render(request, "labelers/_run.html", context)


@login_required
@require_POST
def run_pause(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = _run_or_404(project, job_id)
    if found.pause():
        messages.success(request, _("Paused. Calls under way are still waited for; its money stays set aside."))
    else:
        messages.info(request, _("It had already ended, so there was nothing to pause."))
    return redirect("run", project.pk, found.pk)


@login_required
@require_POST
def run_resume(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = _run_or_404(project, job_id)
    if found.resume():
        label.nudge(found)
        messages.success(request, _("It goes on from where it stopped."))
    else:
        messages.info(request, _("It was not paused."))
    return redirect("run", project.pk, found.pk)


@login_required
@require_POST
def run_retry(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    """Ask again only what failed in this run; what was answered is not asked again, whatever it was.

    First what it can cost at most; then, confirmed, the run.
    """
    project = access.project_or_404(request, project_id, access.LEADS)
    found = _run_or_404(project, job_id)
    labeler = get_object_or_404(project.labelers, pk=found.parameters["labeler"])
    if found.state in (Job.State.WAITING, Job.State.RUNNING, Job.State.PAUSED):
        messages.info(request, _("It still runs; what fails is tried again by itself a few times."))
        return redirect("run", project.pk, found.pk)
    try:
        number, most = label.left_of(found, labeler)
        if not labeler.is_free and not _covers(request.POST.get("most", ""), most):
            context = {"project": project, "tab": "labelers", "job": found, "labeler": labeler}
            more = {"number": number, "most": most, "free": ledger.available(project)}
            return render(request, "labelers/run_retry.html", {**context, **more})
        again = label.retry_failed(found, labeler, by=request.user)  # type: ignore[arg-type]
    except StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("run", project.pk, found.pk)
    return redirect("run", project.pk, again.pk)
