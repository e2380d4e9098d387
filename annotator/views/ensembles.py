"""Several labelers as one: choosing them, and having them judge what the others have."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotator import access
from annotator.forms.ensembles import EnsembleForm, FillForm
from annotator.models import Labeler, LabelerVersion, Project
from annotator.pipeline import combine, label, ledger, versions
from annotator.pipeline.work import StepRefused
from annotator.views import spending


def _ensemble_or_404(project: Project, labeler_id: int) -> Labeler:
    return get_object_or_404(project.labelers.filter(kind=versions.ENSEMBLE).select_related("project"), pk=labeler_id)


@login_required
@require_http_methods(["GET", "POST"])
def ensemble_add(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = EnsembleForm(request.POST or None, project=project)
    if request.method == "POST" and form.is_valid():
        try:
            labeler = combine.add(project, form.cleaned_data["name"], form.chosen)
        except StepRefused as refusal:
            form.add_error("name", str(refusal))
        else:
            messages.success(request, _("Added. It judges what its members have judged; here you see what is missing."))
            return redirect("ensemble_fill", project.pk, labeler.pk)
    return _form(request, project, form, None)


@login_required
@require_http_methods(["GET", "POST"])
def ensemble_edit(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """Other members or another method: a candidate, when it has judged."""
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = _ensemble_or_404(project, labeler_id)
    form = EnsembleForm(request.POST or None, project=project, labeler=labeler, initial=_initial(labeler))
    if request.method == "POST" and form.is_valid():
        version = versions.edit(labeler, form.chosen)
        if version.accepted_at is None:
            label.request_run(labeler, scope="people", version=version, by=request.user)  # type: ignore[arg-type]
            messages.success(
                request, _("A candidate: it judges what people have judged, and you decide on the report.")
            )
        return redirect("labeler_report", project.pk, labeler.pk)
    return _form(request, project, form, labeler)


def _initial(labeler: Labeler) -> dict[str, Any]:
    version = versions.candidate(labeler) or versions.in_use(labeler)
    chosen: dict[str, Any] = version.parameters if version else combine.NOTHING
    return {"members": chosen["members"], "method": chosen["method"], **chosen["domains"]}


def _form(request: HttpRequest, project: Project, form: EnsembleForm, labeler: Labeler | None) -> HttpResponse:
    context = {"project": project, "tab": "labelers", "form": form, "labeler": labeler}
    status = 422 if request.method == "POST" else 200
    return render(request, "labelers/ensemble.html", context, status=status)


@login_required
@require_http_methods(["GET", "POST"])
def ensemble_fill(request: HttpRequest, project_id: int, labeler_id: int) -> HttpResponse:
    """What its members have not judged and what that can cost; confirmed, their runs. Its own follows by itself."""
    project = access.project_or_404(request, project_id, access.LEADS)
    labeler = _ensemble_or_404(project, labeler_id)
    version = versions.in_use(labeler)
    form = FillForm(request.POST if request.method == "POST" else {"on": request.GET.get("on", "people")})
    if version is None or not form.is_valid():
        messages.error(request, _("Choose what its members should judge."))
        return redirect("labeler_report", project.pk, labeler.pk)
    on = form.cleaned_data["on"]
    lacking = combine.lacking(version, on)
    most = sum((each.most for each in lacking), Decimal(0))
    if request.method == "POST" and spending.may_cost(form, most, project):
        return _start(request, project, labeler, version, lacking, on)
    context = {
        "project": project,
        "tab": "labelers",
        "labeler": labeler,
        "lacking": lacking,
        "on": on,
        "most": most,
        "free": ledger.available(project),
        "form": form if request.method == "POST" else None,
    }
    return render(request, "labelers/fill.html", context, status=422 if request.method == "POST" else 200)


def _start(
    request: HttpRequest,
    project: Project,
    labeler: Labeler,
    version: LabelerVersion,
    lacking: list[combine.Lacking],
    on: str,
) -> HttpResponse:
    """One run for each member, and domain, that lacks something; without any, the ensemble's own."""
    runs = [
        label.request_run(
            each.member,
            scope="filter",
            filter={**each.asked, "people": "yes" if on == "people" else ""},
            reserve=None if each.member.is_free else each.most,
            by=request.user,  # type: ignore[arg-type]
        )
        for each in lacking
        if each.number and not each.hindrance
    ]
    runs = runs or [label.request_run(labeler, by=request.user)]  # type: ignore[arg-type]
    return redirect("job", project.pk, runs[0].pk)
