"""Budget in, plan out: make one, read what it promises, approve it."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, readings
from annotator.forms.plans import PlanForm
from annotator.models import Account, Job, PerformanceModel, Plan, Project
from annotator.pipeline import ledger, work
from annotator.views import jobs
from annotator.views.projects import sources_of

FORMER = 20


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def plans(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the plans so far and the form. POST (leads): ask for a plan; it is made in the background."""
    project = access.project_or_404(request, project_id, access.LEADS if request.method == "POST" else access.READERS)
    form = _form(project, request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        try:
            return redirect("job", project.pk, _ask(request, project, form.cleaned_data).pk)
        except ledger.OverBudget as refusal:
            form.add_error("cap", str(refusal))
    model = project.performance_models.order_by("-version").first()
    context = {
        "project": project,
        "tab": "plan",
        "form": form,
        "plans": _former(project),
        "model": model,
        "skill": readings.plan.skill(model) if model else None,
        "account": ledger.account_of(project),
        "retrain": _latest_job(project, Job.Kind.RETRAIN),
        "route": _latest_job(project, Job.Kind.ROUTE),
    }
    return render(request, "plans/plans.html", context, status=422 if form.is_bound else 200)


def _form(project: Project, data: Any, **initial: object) -> PlanForm:
    newest = project.plans.order_by("-number").first()
    if newest and "budget" not in initial:
        initial["budget"] = newest.budget.quantize(readings.plan.CENT)
    return PlanForm(data, project, Account.objects.filter(project=project).first(), initial)


def _ask(request: HttpRequest, project: Project, asked: dict[str, Any]) -> Job:
    """Set what the plan is made under, then request it. Asking for the same plan twice while it is made asks once."""
    with transaction.atomic():
        ledger.set_cap(project, asked["cap"])
        Project.objects.filter(pk=project.pk).update(control_share=float(asked["control"]) / 100)
        budget, strategy, seed = str(asked["budget"]), asked["strategy"], asked["seed"]
        return jobs.ask_for(
            project,
            Job.Kind.ROUTE,
            request.user,
            key=f"{budget}:{strategy}:{seed}",
            budget=budget,
            strategy=strategy,
            seed=seed,
        )


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
@require_safe
def plan(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.plans.select_related("performance_model", "approved_by"), number=number)
    told = readings.plan.read(found)
    colours = readings.charts.palette(sources_of(project))
    context = {
        "project": project,
        "tab": "plan",
        "plan": found,
        "forecast": told,
        "shares": [{"share": share, "kind": colours.get(share.source, "other")} for share in told.shares],
        "count_bar": _bar(told, colours, "of_count", 30),
        "cost_bar": _bar(told, colours, "of_cost", 18),
        "interval": _interval(found),
        "curve": _curve(found, told),
        "account": ledger.account_of(project),
        "plain_strategies": [("random", _("Use a random mixture")), ("all_ai", _("Use AI for everything"))],
        "form": _form(
            project,
            None,
            budget=found.budget.quantize(readings.plan.CENT),
            strategy=_offered(found.strategy),
            seed=found.seed,
        ),
        "newer_model": project.performance_models.filter(version__gt=_version(found.performance_model)).exists(),
    }
    return render(request, "plans/plan.html", context)


def _interval(plan: Plan) -> str:
    if plan.predicted is None or plan.low is None or plan.high is None:
        return ""
    return readings.plan.interval(plan.predicted, plan.low, plan.high)


def _offered(strategy: str) -> str:
    return strategy if strategy in dict(PlanForm.strategies()) else "auto"


def _version(model: PerformanceModel | None) -> int:
    return model.version if model else 0


def _bar(told: readings.plan.Forecast, colours: dict[str, str], measure: str, height: int) -> SafeString:
    parts = [
        readings.charts.Part(
            colours.get(share.source, "other"),
            getattr(share, measure),
            f"{_('People') if share.source == 'people' else share.source} {getattr(share, measure):.0%}",
        )
        for share in told.shares
    ]
    return readings.charts.stacked_bar(parts, height=height)


def _curve(plan: Plan, told: readings.plan.Forecast) -> SafeString:
    """The budget curve with the plan's own point and the level of all AI."""
    here = None
    if plan.predicted is not None and plan.low is not None and plan.high is not None:
        here = readings.charts.CurvePoint(float(plan.budget), plan.predicted, plan.low, plan.high)
    references = [(row.name, row.predicted) for row in told.headline if row.predicted is not None]
    title = _("Predicted performance against budget; the table beside it has the same numbers.")
    return readings.charts.curve([row.point for row in told.curve], here=here, references=references, title=title)


@login_required
@require_POST
def plan_approve(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    found = get_object_or_404(project.plans, number=number)
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
