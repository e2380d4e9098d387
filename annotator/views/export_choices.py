"""While an export is being chosen: what the format reads, and how many comparisons would go out."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_safe
from django_htmx.http import trigger_client_event

from annotator import access
from annotator.formats.source import Filters, read_filters
from annotator.forms.exports import FILTERS, ExportForm
from annotator.models import Label, Project, Recipe
from annotator.readings.snapshot import Snapshot

# Counting goes no further: beyond it nobody needs the number to choose by.
MOST = 100_000


@login_required
@require_safe
def export_options(request: HttpRequest, project_id: int) -> HttpResponse:
    """The fields that the format of the query reads, with what was chosen so far."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = ExportForm(None, project, initial=request.GET.dict())
    answer = render(request, "exports/_export_options.html", {"project": project, "form": form})
    # The count was asked for with the filters of the format before.
    return trigger_client_event(answer, "options-shown", after="settle")


@login_required
@require_safe
def export_count(request: HttpRequest, project_id: int) -> HttpResponse:
    """About how many comparisons pass the filters of the query, in words."""
    project = access.project_or_404(request, project_id, access.LEADS)
    form = ExportForm(request.GET, project)
    form.is_valid()
    wrong = [name for name in form.errors if name in FILTERS]
    context = {"wrong": wrong, "most": MOST, **({} if wrong else _counted(project, form.cleaned_data))}
    return render(request, "exports/_export_count.html", context)


def _counted(project: Project, asked: dict[str, Any]) -> dict[str, Any]:
    """`count`, whether it is of `all` that is judged, and whether no label says yet how far votes agree (`unlabelled`).

    A recipe that was not used yet is not made by looking.
    """
    filters, source = read_filters(asked.get("filters") or {}), asked.get("source") or Recipe.Source.ROUTED
    recipe = project.recipes.filter(source=source).first() or Recipe(project=project, source=source)
    labelled = recipe.pk and Label.objects.filter(recipe=recipe).exists()
    return {
        "count": Snapshot.about(project, recipe, filters, MOST),
        "all": filters == Filters(),
        "unlabelled": bool(filters.agreement or filters.votes) and not labelled,
    }
