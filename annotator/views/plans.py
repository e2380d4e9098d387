"""Budget in, plan out: try budgets on the stored curve, make a plan, approve it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST

from annotator import access, readings
from annotator.forms.plans import PlanForm
from annotator.models import Account, Job, Plan, Project
from annotator.pipeline import ledger, plan_request, work
from annotator.readings import composition
from annotator.readings.planner import Stop
from annotator.views import jobs
from annotator.views.projects import sources_of

FORMER = 20


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def plans(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: what a budget buys, from what is stored. POST (leads): ask for a plan; it is made in the background."""
    project = access.project_or_404(request, project_id, access.LEADS if request.method == "POST" else access.READERS)
    budget = _budget(request.GET.get("budget", ""))
    form = make_form(project, request.POST if request.method == "POST" else None, **_initial(budget))
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("job", project.pk, _ask(request, project, form.cleaned_data).pk)
        except ledger.OverBudget as refusal:
            form.add_error("cap", str(refusal))
    model = readings.performance.pinned(project) or project.performance_models.order_by("-version").first()
    context = {
        "project": project,
        "tab": "plan",
        "form": form,
        "plans": _former(project),
        "model": model,
        "skill": readings.performance.skill(model) if model else None,
        "account": ledger.account_of(project),
        "retrain": _latest_job(project, Job.Kind.RETRAIN),
        "route": _latest_job(project, Job.Kind.ROUTE),
        **_what_if(project, budget),
    }
    return render(request, "plans/plans.html", context, status=422 if form.is_bound else 200)


def _budget(asked: str) -> Decimal | None:
    """A budget of the address; what is no amount of money is as if it were not there."""
    try:
        budget = Decimal(asked)
    except InvalidOperation:
        return None
    return budget if budget.is_finite() and 0 <= budget < Decimal("1e9") else None


def _initial(budget: Decimal | None) -> dict[str, object]:
    return {} if budget is None else {"budget": budget.quantize(readings.plan.CENT)}


def _what_if(project: Project, budget: Decimal | None) -> dict[str, Any]:
    """The curve to slide along: of the newest plan that has one, at the budget asked for; empty before there is one."""
    plan = readings.planner.with_curve(project)
    stops = readings.planner.stops(plan) if plan else []
    if plan is None or not stops:
        newest = project.plans.order_by("-number").first()
        return {"newest": newest, "forecast": readings.plan.read(newest) if newest else None}
    at = readings.planner.chosen(stops, budget)
    colours = readings.charts.palette(sources_of(project))
    told = readings.plan.read(plan)
    return {
        "newest": plan,
        "forecast": told,
        "stops": [_stop(stop, colours, is_shown=index == at) for index, stop in enumerate(stops)],
        "at": at,
        "enough": readings.planner.enough(stops),
        "curve": _curve(told, stops, at),
        "areas": _areas(stops, at, colours),
        "legend": [(source, readings.plan.colour(colours, source)) for source in _sources(stops)],
    }


def _stop(stop: Stop, colours: dict[str, str], *, is_shown: bool) -> dict[str, Any]:
    """One budget with its bars: every one is on the page, all but one hidden, so that the slider needs no server."""
    portions = [
        {"portion": each, "kind": readings.plan.colour(colours, each.source), "words": readings.plan.words(each.source)}
        for each in stop.portions
    ]
    return {
        "stop": stop,
        "is_shown": is_shown,
        "portions": portions,
        "count_bar": _bar(portions, "of_count", 30),
        "cost_bar": _bar(portions, "of_cost", 18),
    }


def _bar(portions: list[dict[str, Any]], measure: str, height: int) -> SafeString:
    parts = [
        readings.charts.Part(
            row["kind"],
            getattr(row["portion"], measure),
            f"{row['words']} {getattr(row['portion'], measure):.0%}",
        )
        for row in portions
    ]
    return readings.charts.stacked_bar(parts, height=height)


def _sources(stops: list[Stop]) -> list[str]:
    """Every source of any stop, people first."""
    names = dict.fromkeys(portion.source for stop in stops for portion in stop.portions)
    return sorted(names, key=lambda source: not readings.plan.is_people(source))


def _curve(told: readings.plan.Forecast, stops: list[Stop], at: int) -> SafeString:
    references = [(row.name, row.predicted) for row in told.headline if row.predicted is not None]
    title = _("Predicted performance against budget; the table beside it has the same numbers.")
    points = [stop.point for stop in stops]
    return readings.charts.curve(points, here=points[at], references=references, title=title, choices=True)


def _areas(stops: list[Stop], at: int, colours: dict[str, str]) -> SafeString:
    """Only stops that say who judges can be drawn; the mark needs all of them, so otherwise there is no drawing."""
    if not all(stop.portions for stop in stops):
        return SafeString("")
    by_stop = [{portion.source: portion.of_count for portion in stop.portions} for stop in stops]
    layers = [
        composition.Layer(
            readings.plan.colour(colours, source),
            readings.plan.words(source),
            [shares.get(source, 0.0) for shares in by_stop],
        )
        for source in _sources(stops)
    ]
    title = _("Who judges which share of the comparisons, by budget; the table above has the same numbers.")
    return composition.areas([stop.point.budget for stop in stops], layers, shown=at, title=title)


def make_form(project: Project, data: Any, **initial: object) -> PlanForm:
    """The form that asks for a plan, filled in as far as the project tells."""
    newest = project.plans.order_by("-number").first()
    if newest and "budget" not in initial:
        initial["budget"] = newest.budget.quantize(readings.plan.CENT)
    return PlanForm(data, project, Account.objects.filter(project=project).first(), initial)


def _ask(request: HttpRequest, project: Project, asked: dict[str, Any]) -> Job:
    """Set what the plan is made under, then request it. Asking for the same plan twice while it is made asks once."""
    with transaction.atomic():
        ledger.set_cap(project, asked["cap"])
        Project.objects.filter(pk=project.pk).update(control_share=float(asked["control"]) / 100)
        by: Any = request.user
        return plan_request.ask(project, asked["budget"], asked["strategy"], asked["seed"], by)


def _former(project: Project) -> list[dict[str, Any]]:
    newest = project.plans.select_related("performance_model").order_by("-number")[:FORMER]
    return [{"plan": plan, "forecast": readings.plan.read(plan)} for plan in newest]


def _latest_job(project: Project, kind: str) -> dict[str, Any] | None:
    """The newest job of a kind, while it says something that the page does not show otherwise."""
    job = project.jobs.filter(kind=kind).order_by("-id").first()
    if job is None or job.state in (Job.State.DONE, Job.State.CANCELLED):
        return None
    return {"job": job, "result_url": jobs.result_url(job)}


@login_required
@require_POST
def train(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    job = jobs.ask_for(project, Job.Kind.RETRAIN, request.user)
    return redirect("job", project.pk, job.pk)


@login_required
@require_POST
def plan_approve(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found: Plan = get_object_or_404(project.plans, number=number)
    # Not at the top: routing loads NumPy and scikit-learn, which annotators' pages do not need.
    from annotator.pipeline import route

    try:
        route.approve(found, request.user)  # type: ignore[arg-type]
    except (ledger.OverBudget, work.StepRefused) as refusal:
        messages.error(request, str(refusal))
    else:
        messages.success(
            request,
            _("Plan %(number)s is approved: its money is set aside and its work handed out.")
            % {"number": found.number},
        )
    return redirect("plan", project.pk, found.number)
