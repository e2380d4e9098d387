"""Data sets out: ask for one, follow it, download it."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.files.storage import default_storage
from django.http import FileResponse, Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.module_loading import import_string
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods, require_safe

from annotator import access
from annotator.formats import WRITERS
from annotator.formats.archive import zipped
from annotator.forms.exports import FILE_TYPES, ExportForm
from annotator.models import Export, Job, Project, User
from annotator.pipeline import aggregate, export, work

SHOWN = 100


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def exports(request: HttpRequest, project_id: int) -> HttpResponse:
    """GET: the exports so far and the form. POST (leads): ask for one; it is written in the background."""
    project = access.project_or_404(request, project_id, access.LEADS if request.method == "POST" else access.READERS)
    form = ExportForm(request.POST if request.method == "POST" else None, project)
    if request.method == "POST" and form.is_valid():
        try:
            made = _ask(request, project, form.cleaned_data)
        except work.StepRefused as refusal:
            form.add_error(None, str(refusal))
        else:
            messages.success(request, _("Export %(number)s was asked for.") % {"number": made.number})
            return redirect("exports", project.pk)
    rows = _rows(project)
    context = {
        "project": project,
        "tab": "exports",
        "form": form,
        "rows": rows,
        "ready": sum(row["export"].completed_at is not None for row in rows),
    }
    return render(request, "exports/exports.html", context, status=422 if form.is_bound else 200)


def _ask(request: HttpRequest, project: Project, asked: dict[str, Any]) -> Export:
    recipe = aggregate.recipe(project, asked["source"])
    assert isinstance(request.user, User)
    made, _job = export.request_export(
        project, asked["format"], asked["container"], recipe, asked["options"], request.user
    )
    return made


def _rows(project: Project) -> list[dict[str, Any]]:
    """The newest exports with their jobs."""
    newest = list(project.exports.select_related("recipe", "created_by").order_by("-number")[:SHOWN])
    written_by = {
        job.parameters["export"]: job
        for job in Job.objects.filter(
            project=project, kind=Job.Kind.EXPORT, parameters__export__in=[made.pk for made in newest]
        ).order_by("pk")
    }
    return [
        {
            "export": made,
            "title": import_string(WRITERS[made.format]).title if made.format in WRITERS else made.format,
            "file_type": FILE_TYPES.get(made.container, made.container),
            "bytes": sum(file["bytes"] for file in made.files),
            "job": written_by.get(made.pk),
        }
        for made in newest
    ]


@login_required
@require_safe
def export_download(request: HttpRequest, project_id: int, number: int, name: str = "") -> HttpResponseBase:
    """One file of a finished export, or without `name` all of them as a zip. Always a download, never a page."""
    project = access.project_or_404(request, project_id, access.READERS)
    made = get_object_or_404(project.exports.filter(completed_at__isnull=False), number=number)
    folder = f"{slugify(project.name) or 'project'}-{made.number}-{made.format}"
    if not name:
        parts = [(f"{folder}/{file['name']}", partial(default_storage.open, file["address"])) for file in made.files]
        return StreamingHttpResponse(
            zipped(parts),
            content_type="application/zip",
            headers={"Content-Disposition": f'attachment; filename="{folder}.zip"'},
        )
    address = next((file["address"] for file in made.files if file["name"] == name), None)
    if address is None:
        raise Http404
    return FileResponse(
        default_storage.open(address),
        as_attachment=True,
        filename=name.replace("/", "-"),
        content_type="application/octet-stream",
    )
