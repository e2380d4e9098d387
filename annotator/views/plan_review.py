"""One plan as a lead reviews it before approving it, its tables as files, and two plans side by side."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils.safestring import SafeString
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from annotator import access, readings
from annotator.forms.plans import CompareForm, PlanForm
from annotator.models import PerformanceModel, Plan, Project
from annotator.pipeline import ledger
from annotator.readings.plan import CENT, Forecast
from annotator.readings.planner import Stop
from annotator.views.plans import make_form
from annotator.views.projects import sources_of
from annotator.views.sheets import sheet


@login_required
@require_safe
def plan(request: HttpRequest, project_id: int, number: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = _plan_or_404(project, number)
    told = readings.plan.read(found)
    colours = readings.charts.palette(sources_of(project))
    before = readings.plan_review.former(found)
    stops = readings.planner.stops(found)
    context = {
        "project": project,
        "tab": "plan",
        "plan": found,
        "forecast": told,
        "shares": [{"share": share, "kind": readings.plan.colour(colours, share.source)} for share in told.shares],
        "count_bar": _bar(told, colours, "of_count", 30),
        "cost_bar": _bar(told, colours, "of_cost", 18),
        "interval": _interval(found),
        "stops": stops,
        "curve": _curve(told, stops),
        "account": ledger.account_of(project),
        "told": readings.plan_review.told(project, told.reasons),
        "former": before,
        "moved": readings.plan_review.moved(before, found) if before else [],
        "plain_strategies": [("random", _("Use a random mixture")), ("all_ai", _("Use AI for everything"))],
        "form": make_form(
            project, None, budget=found.budget.quantize(CENT), strategy=_offered(found.strategy), seed=found.seed
        ),
        "newer_model": project.performance_models.filter(version__gt=_version(found.performance_model)).exists(),
    }
    return render(request, "plans/plan.html", context)


def _plan_or_404(project: Project, number: int) -> Plan:
    plans = project.plans.select_related("project", "performance_model", "approved_by", "revises")
    return get_object_or_404(plans, number=number)


def _interval(plan: Plan) -> str:
    if plan.predicted is None or plan.low is None or plan.high is None:
        return ""
    return readings.plan.interval(plan.predicted, plan.low, plan.high)


def _offered(strategy: str) -> str:
    return strategy if strategy in dict(PlanForm.strategies()) else "auto"


def _version(model: PerformanceModel | None) -> int:
    return model.version if model else 0


def _bar(told: Forecast, colours: dict[str, str], measure: str, height: int) -> SafeString:
    parts = [
        readings.charts.Part(
            readings.plan.colour(colours, share.source),
            getattr(share, measure),
            f"{readings.plan.words(share.source)} {getattr(share, measure):.0%}",
        )
        for share in told.shares
    ]
    return readings.charts.stacked_bar(parts, height=height)


def _curve(told: Forecast, stops: list[Stop]) -> SafeString:
    """The budget curve with the plan's own point and the levels of all AI and all people."""
    here = next((stop.point for stop in stops if stop.is_plan), None)
    references = [(row.name, row.predicted) for row in told.headline if row.predicted is not None]
    title = _("Predicted performance against budget; the table beside it has the same numbers.")
    return readings.charts.curve([stop.point for stop in stops], here=here, references=references, title=title)


@login_required
@require_safe
def plan_sheet(request: HttpRequest, project_id: int, number: int, name: str) -> HttpResponse:
    """One table of the plan's page as CSV."""
    project = access.project_or_404(request, project_id, access.READERS)
    if name not in readings.plan_review.SHEETS:
        raise Http404(f"A plan has no table “{name}”.")
    header, rows = readings.plan_review.sheet(_plan_or_404(project, number), name)
    return sheet(f"plan-{number}-{name}", header, rows)


@login_required
@require_safe
def plans_compare(request: HttpRequest, project_id: int) -> HttpResponse:
    """Two plans side by side; without a choice, the newest and what it is held against."""
    project = access.project_or_404(request, project_id, access.READERS)
    form = _compare_form(request, project)
    context: dict[str, Any] = {"project": project, "tab": "plan", "form": form, "count": project.plans.count()}
    if form.is_valid():
        before, after = _sides(project, form)
        context |= {
            "before": before,
            "after": after,
            "rows": readings.plan_review.side_by_side(before, after),
            "moved": readings.plan_review.moved(before.plan, after.plan),
        }
    return render(request, "plans/compare.html", context)


@login_required
@require_safe
def plans_compare_sheet(request: HttpRequest, project_id: int) -> HttpResponse:
    """The figures of the comparison as CSV, one fact a row; only its header without two plans."""
    project = access.project_or_404(request, project_id, access.READERS)
    form = _compare_form(request, project)
    rows = readings.plan_review.compare_sheet(*_sides(project, form)) if form.is_valid() else []
    return sheet("plans", ["about", "source", "measure", "before", "after"], rows)


def _compare_form(request: HttpRequest, project: Project) -> CompareForm:
    numbers = list(project.plans.order_by("-number").values_list("number", flat=True))
    return CompareForm(request.GET or _newest_two(project), numbers)


def _sides(project: Project, form: CompareForm) -> tuple[readings.plan_review.Side, readings.plan_review.Side]:
    before, after = (_plan_or_404(project, form.cleaned_data[name]) for name in ("before", "after"))
    return readings.plan_review.side(before), readings.plan_review.side(after)


def _newest_two(project: Project) -> dict[str, int]:
    newest = project.plans.select_related("project", "revises").order_by("-number").first()
    before = readings.plan_review.former(newest) if newest else None
    return {"before": before.number, "after": newest.number} if newest and before else {}
