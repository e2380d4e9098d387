"""Data sets: what there is, versions of one, and what differs between two of them."""

from __future__ import annotations

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from annotator import access, readings
from annotator.forms.datasets import Pair
from annotator.forms.export_words import SOURCES
from annotator.forms.exports import said
from annotator.models import Export, Job, Project, Recipe
from annotator.pipeline import changes, work
from annotator.pipeline import datasets as versions

# Versions of a data set on one page.
SHOWN = 50


@login_required
@require_safe
def datasets(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.READERS)
    rows = [(each, readings.datasets.title(each.format)) for each in readings.datasets.of(project)]
    return render(request, "datasets/datasets.html", {"project": project, "tab": "exports", "rows": rows})


@login_required
@require_safe
def dataset(request: HttpRequest, project_id: int, dataset_id: int) -> HttpResponse:
    """Its versions with their pushes and downloads; `?of=` one shows its facts, `?before=` one gives older ones."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.datasets.select_related("recipe", "created_by", "project"), pk=dataset_id)
    before, of = (_number(request.GET.get(name, "")) for name in ("before", "of"))
    rows, older = readings.datasets.versions(found, before, SHOWN)
    # Without a choice the newest on the page.
    of = of or next((row.export.version for row in rows if row.export.completed_at), None)
    context = {
        "project": project,
        "tab": "exports",
        "dataset": found,
        "title": readings.datasets.title(found.format),
        "source": SOURCES[Recipe.Source(found.recipe.source)],
        "number": found.versions.filter(completed_at__isnull=False).count(),
        "versions": rows,
        "before": before,
        "older": older,
        "of": of,
        "facts": readings.datasets.facts_of(found, of, said) if of else [],
        "written": [row for row in rows if row.export.completed_at],
        "pair": Pair(None, found),
    }
    return render(request, "datasets/dataset.html", context)


def _number(text: str) -> int | None:
    """A version in an address, None for what is none."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else None


@login_required
@require_POST
def dataset_version(request: HttpRequest, project_id: int, dataset_id: int) -> HttpResponse:
    """Asks for a new version; the worker writes none where nothing has changed."""
    project = access.project_or_404(request, project_id, access.LEADS)
    found = get_object_or_404(project.datasets, pk=dataset_id)
    try:
        _export, job = versions.write_version(found, request.user)  # type: ignore[arg-type]
    except work.StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("dataset", project.pk, found.pk)
    return redirect("job", project.pk, job.pk)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def dataset_changes(request: HttpRequest, project_id: int, dataset_id: int) -> HttpResponse:
    """GET: what differs between two versions, as far as it is known. POST: has a worker compare their rows."""
    project = access.project_or_404(request, project_id, access.READERS)
    found = get_object_or_404(project.datasets, pk=dataset_id)
    # Without a choice: what the newest version changed.
    form = Pair(request.POST if request.method == "POST" else request.GET or Pair(None, found).initial, found)
    if not form.is_valid():
        messages.error(request, _("Choose two versions of this data set."))
        return redirect("dataset", project.pk, found.pk)
    exports = {export.version: export for export in found.versions.filter(version__in=form.cleaned_data.values())}
    before, after = (exports.get(form.cleaned_data[name]) for name in ("before", "after"))
    if before is None or after is None:
        raise Http404
    if request.method == "POST":
        return _compare(request, project, before, after)
    job = changes.latest(before, after)
    context = {
        "project": project,
        "tab": "exports",
        "dataset": found,
        "before": before,
        "after": after,
        "facts": readings.datasets.differing(before, after, said),
        "tables": readings.datasets.tables(before, after),
        "job": job,
        "found": job.result if job and job.state == Job.State.DONE else None,
        "is_same": before.sha256 == after.sha256,
        "pair": form,
    }
    return render(request, "datasets/changes.html", context)


def _compare(request: HttpRequest, project: Project, before: Export, after: Export) -> HttpResponse:
    try:
        changes.request_changes(before, after, request.user)  # type: ignore[arg-type]
    except work.StepRefused as refusal:
        messages.error(request, str(refusal))
        return redirect("dataset", project.pk, before.dataset_id)
    address = reverse("dataset_changes", args=[project.pk, before.dataset_id])
    return redirect(f"{address}?before={before.version}&after={after.version}")
