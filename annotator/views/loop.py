"""The loop on one page: the seed set, where it stands, what comes next, its schedule and its history."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access
from annotator.forms.loop import LoopForm, SeedSetForm
from annotator.models import Job, Loop, Plan, Project, Route
from annotator.pipeline import ledger, versions, work
from annotator.pipeline import loop as steps
from annotator.readings import loop as readings
from annotator.readings import performance_diagrams, power
from annotator.views import jobs
from annotator.views.sheets import sheet


@login_required
@require_safe
def loop(request: HttpRequest, project_id: int) -> HttpResponse:
    return _page(request, access.project_or_404(request, project_id, access.READERS))


def _page(request: HttpRequest, project: Project, status: int = 200, **forms: Any) -> HttpResponse:
    stored = Loop.objects.filter(project=project).first() or Loop(project=project)
    stands = readings.standing(project)
    account = ledger.account_of(project)
    measured = readings.measurements(project)
    context = {
        "project": project,
        "tab": "plan",
        "stands": stands,
        "account": account,
        "policy": stored,
        "sizes": _sizes(project, stored),
        "busy": [{"job": job, "result_url": jobs.result_url(job)} for job in stands.busy],
        "worth": readings.worth(stands.at_work, _spent(stands), stored) if stands.at_work else None,
        "history": readings.history(project),
        "measured": measured,
        "scatter": performance_diagrams.scatter(
            readings.observed(measured),
            title=_("Realised against predicted accuracy of each plan; the table has the same numbers."),
            x_words=_("predicted"),
            y_words=_("realised"),
        ),
        "seed_form": _seed_form(project, stored, None),
        "loop_form": _loop_form(stored, None),
        **forms,
    }
    return render(request, "loop/loop.html", context, status=status)


def _spent(stands: readings.Standing) -> Decimal:
    return stands.realised.spent if stands.realised else Decimal(0)


def _sizes(project: Project, stored: Loop) -> list[power.Size]:
    there = readings.comparisons_to_draw(project)
    proposed = power.propose(there, stored.seed_share, stored.seed_at_least)
    price = project.price_per_judgment * project.votes
    return power.sizes(there, proposed, price, readings.differing(project) or power.DIFFERING)


def _seed_form(project: Project, stored: Loop, data: Any) -> SeedSetForm:
    there = readings.comparisons_to_draw(project)
    return SeedSetForm(data, there, power.propose(there, stored.seed_share, stored.seed_at_least))


def _loop_form(stored: Loop, data: Any) -> LoopForm:
    return LoopForm(data, instance=stored, sources=_sources(stored))


def _sources(stored: Loop) -> list[str]:
    """What a plan can send comparisons to, and so what can be capped; no cap that is stored is lost unseen."""
    labelers = stored.project.labelers.judging().filter(enabled=True, versions__accepted_at__isnull=False)
    asked = labelers.exclude(kind__in=versions.OWN).order_by("id").values_list("name", flat=True)
    fewer = [f"{Route.PEOPLE}:{each}" for each in stored.votes if each < stored.project.votes]
    return list(dict.fromkeys([Route.PEOPLE, *fewer, *asked, *stored.caps]))


@login_required
@require_POST
def loop_settings(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = _loop_form(steps.of(project), request.POST)
    if not form.is_valid():
        return _page(request, project, 422, loop_form=form)
    form.save()
    messages.success(request, _("Saved. It holds from now on; plans made before stay as they are."))
    return redirect("loop", project.pk)


@login_required
@require_POST
def seed_set(request: HttpRequest, project_id: int) -> HttpResponse:
    """Draw a seed set, in the background; it waits as a draft until it is approved."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = _seed_form(project, steps.of(project), request.POST)
    if not form.is_valid():
        return _page(request, project, 422, seed_form=form)
    size, seed = form.cleaned_data["size"], form.cleaned_data["seed"]
    job = jobs.ask_for(project, Job.Kind.ROUTE, request.user, key=f"seed:{size}:{seed}", seed_set=size, seed=seed)
    return redirect("job", project.pk, job.pk)


@login_required
@require_POST
def plan_measure(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """Measure what a plan has realised, now and in the background."""
    project = access.project_or_404(request, project_id, access.LEADS)
    plan = get_object_or_404(project.plans, number=number)
    job = steps.request_measure(plan, request.user)  # type: ignore[arg-type]
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.ROUTE]))
    return redirect("job", project.pk, job.pk)


@login_required
@require_POST
def plan_revise(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """Ask for a plan of what is not yet judged, under the same budget. Only the plan at work can be revised."""
    project = access.project_or_404(request, project_id, access.LEADS)
    plan = get_object_or_404(project.plans, number=number, is_seed_set=False)
    if plan.status != Plan.Status.APPROVED:
        words = _(
            "Plan %(number)s is not at work, so it cannot be revised. Make a new plan, or revise the one at work."
        )
        messages.error(request, words % {"number": plan.number})
        return redirect("loop", project.pk)
    job = jobs.ask_for(
        project,
        Job.Kind.ROUTE,
        request.user,
        key=f"revise:{plan.number}",
        budget=str(plan.budget),
        strategy=plan.summary.get("asked", "auto"),
        seed=plan.seed,
        revises=plan.number,
        occasion=_("asked for by a lead"),
    )
    return redirect("job", project.pk, job.pk)


@login_required
@require_POST
def plan_restore(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    """A draft that decides as this plan did; approving it puts it to work again."""
    project = access.project_or_404(request, project_id, access.LEADS)
    plan = get_object_or_404(project.plans, number=number)
    try:
        again = steps.restore(plan, request.user)  # type: ignore[arg-type]
    except work.StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("loop", project.pk)
    words = _("Plan %(new)s decides as plan %(old)s did. Look at what it costs now, then approve it.")
    messages.success(request, words % {"new": again.number, "old": plan.number})
    return redirect("plan", project.pk, again.number)


@login_required
@require_safe
def loop_sheet(request: HttpRequest, project_id: int) -> HttpResponse:
    """Every measurement as CSV."""
    project = access.project_or_404(request, project_id, access.READERS)
    header = ["plan", "measured_at", "predicted", "predicted_low", "predicted_high", "realised", "low", "high"]
    header += ["judgments", "labels", "spent", "trained_on", "scored_on"]
    rows = (
        [
            *(each.plan.number, each.created_at.isoformat(), each.plan.predicted, each.plan.low, each.plan.high),
            *(each.accuracy, each.low, each.high, each.judgments, each.labels, each.spent),
            *(each.detail.get("size"), each.detail.get("tested")),
        ]
        for each in readings.measurements(project)
    )
    return sheet("predicted-and-realised", header, rows)
