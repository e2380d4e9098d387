"""Performance models: their history, the report of one, and which one plans use."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access, readings
from annotator.models import Job, Loop
from annotator.readings import performance_diagrams as diagrams
from annotator.readings.performance import Skill
from annotator.views import jobs
from annotator.views.sheets import sheet

Rows = list[list[Any]]


@login_required
@require_safe
def performance_models(request: HttpRequest, project_id: int) -> HttpResponse:
    """Every version so far, comparable; nothing is computed here."""
    project = access.project_or_404(request, project_id, access.READERS)
    job = project.jobs.filter(kind=Job.Kind.RETRAIN).order_by("-id").first()
    context = {
        "project": project,
        "tab": "plan",
        "versions": readings.performance.history(project),
        "pinned": readings.performance.pinned(project),
        "job": job if job and job.state not in (Job.State.DONE, Job.State.CANCELLED) else None,
        "result_url": jobs.result_url(job) if job else "",
    }
    return render(request, "performance/models.html", context)


@login_required
@require_safe
def performance_model(request: HttpRequest, project_id: int, version: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.performance_models.select_related("feature_set"), version=version)
    skill = readings.performance.skill(found)
    newest = project.performance_models.order_by("-version").values_list("version", flat=True).first()
    used = readings.performance.pinned(project)
    context = {
        "project": project,
        "tab": "plan",
        "model": found,
        "skill": skill,
        "is_newest": found.version == newest,
        "is_used": found == used or (used is None and found.version == newest),
        "pinned": used,
        "plans": found.plans.order_by("-number")[:20],
        "scatter": diagrams.scatter(
            skill.observed,
            title=_("Measured against predicted performance of each mixture; the table has the same numbers."),
            x_words=_("predicted"),
            y_words=_("measured"),
        ),
        "forest": diagrams.effects(
            skill.effects, title=_("What moving people's judgments is worth; the table has the same numbers.")
        ),
    }
    return render(request, "performance/model.html", context)


@login_required
@require_safe
def performance_sheet(request: HttpRequest, project_id: int, version: int, name: str) -> HttpResponse:
    """One table of the report as CSV."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.performance_models, version=version)
    tables = _tables(readings.performance.skill(found))
    if name not in tables:
        raise Http404(f"The report has no table “{name}”.")
    header, rows = tables[name]
    return sheet(f"performance-model-{version}-{name}", header, rows)


def _tables(skill: Skill) -> dict[str, tuple[list[str], Rows]]:
    return {
        "observed": (
            ["predicted", "observed", "low", "high"],
            [[row.predicted, row.observed, row.low, row.high] for row in skill.observed],
        ),
        "effects": (
            ["feature", "bin", "bins", "points", "low", "high", "words", "part"],
            [
                [row.name, row.bin, row.bins, row.effect, row.low, row.high, row.words, row.where]
                for row in skill.effects
            ],
        ),
        "kinds": (
            ["kind", "rmse", "rmse_error", "spearman", "spearman_low", "spearman_high"],
            [
                [kind, row.rmse, row.rmse_error, row.spearman, row.spearman_low, row.spearman_high]
                for kind, row in skill.scores.items()
            ],
        ),
        "fidelities": (
            ["fidelity", "mixtures", "spearman", "low", "high", "deviation"],
            [[row.name, row.mixtures, row.spearman, row.low, row.high, row.deviation] for row in skill.fidelities],
        ),
    }


@login_required
@require_POST
def performance_model_restore(request: HttpRequest, project_id: int, version: int) -> HttpResponse:
    """From now on plans use this version; the newest one means that they use whatever is newest, as by default."""
    project = access.project_or_404(request, project_id, access.LEADS)
    found = get_object_or_404(project.performance_models, version=version)
    is_newest = not project.performance_models.filter(version__gt=found.version).exists()
    Loop.objects.update_or_create(project=project, defaults={"performance_model": None if is_newest else found})
    if is_newest:
        messages.success(request, _("Plans use the newest performance model again."))
    else:
        messages.success(
            request,
            _("Plans made from now on use performance model %(version)s, until you choose another.")
            % {"version": found.version},
        )
    return redirect("performance_model", project.pk, found.version)
