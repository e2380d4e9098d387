"""Backtests: ask for one, follow it, read what each strategy would have cost and achieved."""

from __future__ import annotations

import uuid
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access
from annotator.forms.backtests import BacktestForm
from annotator.models import Backtest, Job, Judgment, Project
from annotator.pipeline import backtest as backtesting
from annotator.readings import backtest_chart, estimates
from annotator.readings import backtests as reading
from annotator.views import jobs
from annotator.views.sheets import sheet

SHOWN = 50


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def backtests(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the backtests so far and the form. POST (leads): ask for one."""
    project = access.project_or_404(request, project_id, access.LEADS if request.method == "POST" else access.READERS)
    form = BacktestForm(project, request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        asked = backtesting.request(project, form.parameters(), request.user, **_stored(project, form))  # type: ignore[arg-type]
        return redirect("backtest", project.pk, asked.parameters["backtest"])
    newest = Backtest.objects.filter(project=project).select_related("job", "created_by").order_by("-number")[:SHOWN]
    context = {
        "project": project,
        "tab": "plan",
        "form": form,
        "backtests": [{"backtest": each, "reading": reading.read(each)} for each in newest],
        "size": _size(project),
    }
    return render(request, "backtests/backtests.html", context, status=422 if form.is_bound else 200)


def _stored(project: Project, form: BacktestForm) -> dict[str, str]:
    file = form.cleaned_data["file"]
    if not file:
        return {}
    suffix = ".jsonl.gz" if file.name.lower().endswith(".gz") else ".jsonl"
    name = default_storage.save(f"{backtesting.UPLOADS}/{project.pk}/{uuid.uuid4().hex}{suffix}", file)
    return {"upload": name, "filename": file.name[-80:]}


def _size(project: Project) -> dict[str, Any]:
    """How many comparisons the project would bring, and what 20 seeds of all strategies would take."""
    from routing.backtest_parameters import Parameters

    judged = Judgment.objects.effective().levels_of_people().filter(project=project)
    count = judged.values("comparison").distinct().count()
    usual = Parameters()
    length = estimates.seconds(count, usual.seeds, len(usual.names) * len(usual.budgets))
    return {"count": count, "time": estimates.words(length), "memory": f"{estimates.memory(count) / 1e9:.1f}"}


@login_required
@require_safe
def backtest(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = _found(project, number)
    told = reading.read(found)
    context: dict[str, Any] = {
        "project": project,
        "tab": "plan",
        "backtest": found,
        "job": found.job,
        "done": found.seeds.count(),
        "asked": found.parameters,
        "can_go_on": not found.finished_at and (found.job is None or jobs.is_over(found.job)),
        "reading": told,
    }
    if told:
        show = "difference" if request.GET.get("show") == "difference" else ""
        lines = reading.drawn(told, request.GET.getlist("line"))
        context |= {
            "show": show,
            "chart": reading.chart(told, lines, show),
            "choices": reading.choices(told, lines, show),
            "keys": [backtest_chart.key(number) for number in range(len(lines))],
            "kept": "&".join(f"line={line}" for line in lines),
        }
    return render(request, "backtests/backtest.html", context)


def _found(project: Project, number: int) -> Backtest:
    return get_object_or_404(
        Backtest.objects.filter(project=project).select_related("job", "created_by"), number=number
    )


@login_required
@require_safe
def backtest_sheet(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """The table as CSV; only its header until the last seed is done."""
    project = access.project_or_404(request, project_id, access.READERS)
    told = reading.read(_found(project, number))
    return sheet(f"backtest-{number}", reading.CSV, reading.sheet(told) if told else [])


@login_required
@require_POST
def backtest_pause(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = _found(project, number)
    if found.job and found.job.pause():
        messages.success(request, _("Paused. The seeds that are done stay."))
    else:
        messages.info(request, _("It had already ended, so there was nothing to pause."))
    return redirect("backtest", project.pk, found.number)


@login_required
@require_POST
def backtest_go_on(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """A paused one goes on; one that was cancelled or failed is asked for again, for the seeds it lacks."""
    project = access.project_or_404(request, project_id, access.LEADS)
    found = _found(project, number)
    if found.finished_at:
        messages.info(request, _("All its seeds are done."))
    elif found.job and found.job.state in (Job.State.PAUSED, Job.State.RUNNING):
        found.job.resume()
        backtesting.nudge()
    else:
        backtesting.go_on(found, request.user)  # type: ignore[arg-type]
    return redirect("backtest", project.pk, found.number)
