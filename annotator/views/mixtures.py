"""Mixtures that performance models learnt from: scores by fidelity, train on a few, take them along, bring scores."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.utils.translation import ngettext
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access
from annotator.forms.mixtures import MeasureForm, ScoresForm
from annotator.models import Job, Mixture, MixtureSet, Project
from annotator.pipeline import external, work
from annotator.readings import mixtures as reading
from annotator.views import jobs
from annotator.views.sheets import sheet


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def mixtures(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: a set of mixtures and their scores. POST (leads): scores from a file, or ask for trainings."""
    is_post = request.method == "POST"
    project = access.project_or_404(request, project_id, access.LEADS if is_post else access.READERS)
    brings = is_post and "file" in request.FILES or request.POST.get("what") == "scores"
    scores = ScoresForm(request.POST, request.FILES) if brings else ScoresForm()
    measure = MeasureForm(request.POST) if is_post and not brings else MeasureForm(initial=_initial(project))
    wrong: external.ScoresInvalid | None = None
    if scores.is_bound and scores.is_valid():
        try:
            return _bring(request, project, scores)
        except external.ScoresInvalid as refusal:
            wrong = refusal
    if measure.is_bound and measure.is_valid() and (job := _ask(request, project, measure)):
        return redirect("job", project.pk, job.pk)
    context = {**_shown(request, project), "scores": scores, "measure": measure, "wrong": wrong}
    return render(request, "mixtures/mixtures.html", context, status=422 if is_post else 200)


def _bring(request: HttpRequest, project: Project, form: ScoresForm) -> HttpResponse:
    file = form.cleaned_data["file"]
    stored = external.read(project, file.read(), file.name, form.cleaned_data["name"])
    words = ngettext("%(n)s score is stored.", "%(n)s scores are stored.", stored) % {"n": stored}
    messages.success(request, f"{words} {_('Train the performance model again to learn from them.')}")
    return redirect("mixtures", project.pk)


def _ask(request: HttpRequest, project: Project, form: MeasureForm) -> Job | None:
    """The job, or None with what is wrong in the form."""
    # Not at the top: NumPy and scikit-learn, which other pages do not need.
    from annotator.pipeline import measure
    from routing.reward_trainer import Recipe

    asked = form.cleaned_data
    names = ("model", "revision", "epochs", "rate", "batch", "longest")
    try:
        recipe = Recipe(**{name: asked[name] for name in names})
        return measure.request(project, recipe, asked["mixtures"], asked["seeds"], request.user)  # type: ignore[arg-type]
    except work.StepRefused as refusal:
        form.add_error(None, str(refusal))
        return None


def _initial(project: Project) -> dict[str, Any]:
    """As it was asked last."""
    newest = project.jobs.filter(kind=Job.Kind.MEASURE).order_by("-id").first()
    if newest is None:
        return {}
    return {**newest.parameters["recipe"], "seeds": newest.parameters["seeds"]}


def _shown(request: HttpRequest, project: Project) -> dict[str, Any]:
    sets = list(project.mixture_sets.order_by("-number")[:50])
    asked = request.GET.get("set", "")
    shown = next((each for each in sets if str(each.number) == asked), _first(sets))
    lines = reading.lines(shown) if shown else []
    fidelities = reading.fidelities(lines)
    names = [each.name for each in fidelities]
    job = project.jobs.filter(kind=Job.Kind.MEASURE).order_by("-id").first()
    going = job if job and (not jobs.is_over(job) or job.state == Job.State.FAILED) else None
    return {
        "project": project,
        "tab": "plan",
        "sets": sets,
        "shown": shown,
        "fidelities": fidelities,
        "rows": [{"line": line, "cells": line.cells(names)} for line in lines],
        "dearer": [{"line": line, "cells": line.cells(names)} for line in lines if line.dearer],
        "job": going,
        "result_url": jobs.result_url(going) if going else "",
        "estimate": _estimate(project) if shown else None,
    }


def _first(sets: list[MixtureSet]) -> MixtureSet | None:
    """The newest of our own sampler."""
    return next((each for each in sets if each.sampler != "hyper"), sets[0] if sets else None)


def _estimate(project: Project) -> float | None:
    from annotator.pipeline import measure

    return measure.seconds_each(project)


def _set(project: Project, number: int) -> MixtureSet:
    return get_object_or_404(project.mixture_sets, number=number)


@login_required
@require_safe
def mixtures_sheet(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """One set as CSV: what a model read of each mixture, its proxy score, and an empty score to fill in."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = _set(project, number)
    return sheet(f"mixtures-{number}", reading.header(found), reading.sheet(found))


@login_required
@require_safe
def mixture_rows(request: HttpRequest, project_id: int, number: int, mixture: int) -> HttpResponseBase:
    """One mixture's training rows: JSON Lines in TRL's preference format, with the labels as they are known now."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(
        Mixture.objects.select_related("mixture_set"), mixture_set=_set(project, number), number=mixture
    )
    # Not at the top: NumPy and pyarrow, which other pages do not need.
    from annotator.pipeline import mixture_rows as stored

    try:
        rows = stored.rows(project, found)
    except stored.SourceGone as gone:
        words = _("This mixture uses the labeler “%(name)s”, which is not there any more.")
        messages.error(request, words % {"name": gone})
        return redirect("mixtures", project.pk)
    response = StreamingHttpResponse(_lines(rows), content_type="application/jsonl; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="mixture-{found.key}.jsonl"'
    return response


def _lines(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"


@login_required
@require_POST
def measure_pause(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = get_object_or_404(project.jobs, pk=job_id, kind=Job.Kind.MEASURE)
    if found.pause():
        messages.success(request, _("Paused. What is trained stays; the training under way begins anew."))
    else:
        messages.info(request, _("It had already ended, so there was nothing to pause."))
    return redirect("mixtures", project.pk)


@login_required
@require_POST
def measure_resume(request: HttpRequest, project_id: int, job_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = get_object_or_404(project.jobs, pk=job_id, kind=Job.Kind.MEASURE)
    if found.resume():
        work.nudge(work.task(found.kind, found.queue))
    else:
        messages.info(request, _("It was not paused."))
    return redirect("mixtures", project.pk)
