"""The project's comparisons as a list, and everything known about one of them."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.http import require_POST, require_safe

from annotator import access, readings, rendering
from annotator.forms.comparisons import ComparisonFilter
from annotator.models import Comparison, Flag, Label, Plan, Project, Route
from annotator.views.projects import sources_of

PAGE = 50


@login_required
@require_safe
def comparisons(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    sources = sources_of(project)
    form = ComparisonFilter(request.GET, sources, readings.labelers.names(project))
    form.is_valid()
    plan = _plan(project, form.cleaned_data.get("plan"))
    page = list(_chosen(project, plan, form.cleaned_data)[: PAGE + 1])
    context = {
        "project": project,
        "tab": "comparisons",
        "form": form,
        "plan": plan,
        "rater": project.raters.filter(pk=form.cleaned_data.get("rater") or 0).select_related("user").first(),
        "total": project.comparisons.count(),
        "rows": _rows(project, plan, page[:PAGE], readings.charts.palette(sources)),
        "next_query": _next(request, page),
        "is_filtered": any(value for value in form.cleaned_data.values()),
    }
    return render(request, "comparisons/comparisons.html", context)


def _plan(project: Project, number: int | None) -> Plan | None:
    return project.plans.filter(number=number).first() if number else readings.board.approved_plan(project)


def _next(request: HttpRequest, page: list[Comparison]) -> str:
    """The query of the following page: the same filter, after the last one shown."""
    if len(page) <= PAGE:
        return ""
    query = request.GET.copy()
    query["after"] = str(page[PAGE - 1].pk)
    return query.urlencode()


def _chosen(project: Project, plan: Plan | None, asked: dict[str, Any]) -> QuerySet[Comparison]:
    """Keyset pages: ordered by id, starting after `after`, so that page 1,000 costs what page 1 costs."""
    found = readings.filters.chosen(project, plan, asked).select_related("prompt")
    return found.filter(pk__gt=asked["after"]) if asked.get("after") else found


def _rows(project: Project, plan: Plan | None, page: list[Comparison], colours: dict[str, str]) -> list[dict[str, Any]]:
    """What a line of the list says: two queries for the whole page."""
    found = [comparison.pk for comparison in page]
    labels = {
        label.comparison_id: label
        for label in Label.objects.filter(recipe__project=project, recipe__is_default=True, comparison__in=found)
    }
    routes = {route.comparison_id: route for route in Route.objects.filter(plan=plan, comparison__in=found)}
    return [
        {
            "comparison": comparison,
            "excerpt": readings.comparison.excerpt(comparison.prompt),
            "label": labels.get(comparison.pk),
            "route": routes.get(comparison.pk),
            "kind": colours.get(routes[comparison.pk].source, "other") if comparison.pk in routes else "",
        }
        for comparison in page
    ]


@login_required
@require_safe
def comparison(request: HttpRequest, project_id: int, comparison_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(
        project.comparisons.select_related("prompt", "response_a", "response_b"), pk=comparison_id
    )
    judgments = readings.comparison.judgments(found)
    routes = list(found.routes.select_related("plan__performance_model", "labeler").order_by("-plan__number")[:10])
    context = {
        "project": project,
        "tab": "comparisons",
        "comparison": found,
        "prompt_html": rendering.rendered_prompt(found.prompt),
        "sides": readings.comparison.sides(found),
        "features": readings.comparison.features(found),
        "people_said": [row for row in judgments if row.is_person],
        "ai_said": [row for row in judgments if not row.is_person],
        "maps": _maps(request, project, found),
        "labels": found.labels.select_related("recipe").order_by("-recipe__is_default", "recipe__name"),
        "route": next((route for route in routes if route.plan.status == Plan.Status.APPROVED), None),
        "routes": [(route, readings.comparison.worths(route)) for route in routes],
        "alternatives": readings.comparison.alternatives(project),
        "flags": found.flags.select_related("rater__user").order_by("resolved_at", "id"),
        "following": project.comparisons.filter(pk__gt=found.pk).order_by("id").values_list("pk", flat=True).first(),
        "before": project.comparisons.filter(pk__lt=found.pk).order_by("-id").values_list("pk", flat=True).first(),
    }
    return render(request, "comparisons/comparison.html", context)


def _maps(request: HttpRequest, project: Project, found: Comparison) -> list[readings.heat_maps.Map]:
    """What labelers looked at; not for viewers, who may be annotators elsewhere."""
    sees = Project.objects.of(request.user, *access.REVIEWERS).filter(pk=project.pk).exists()  # type: ignore[arg-type]
    return readings.heat_maps.of(found) if sees else []


@login_required
@require_POST
def flag_resolve(request: HttpRequest, project_id: int, flag_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    flag = get_object_or_404(Flag, pk=flag_id, comparison__project=project)
    Flag.objects.filter(pk=flag.pk, resolved_at=None).update(resolved_at=now())
    messages.success(request, _("The flag is settled."))
    return redirect("comparison", project.pk, flag.comparison_id)
