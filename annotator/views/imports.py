"""A new project, and from a file to its comparisons: upload, preview, confirm."""

from __future__ import annotations

import json
import uuid
from pathlib import PurePath
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.files.storage import default_storage
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from annotator import access, rendering
from annotator.formats.rows import Entry
from annotator.forms.imports import NewProject, Upload
from annotator.models import Job, Membership, Project, Role, User
from annotator.pipeline import ingest, preview, start, work

SALT = "annotator.imports"
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".gz")


def may_create_projects(user: User) -> bool:
    """Leads of some project, and the site's staff."""
    return user.is_staff or Membership.objects.filter(user=user, role=Role.LEAD).exists()


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def new_project(request: HttpRequest) -> HttpResponse:
    if not may_create_projects(request.user):  # type: ignore[arg-type]
        raise PermissionDenied
    form = NewProject(request.POST or None)
    if request.method == "POST" and form.is_valid():
        project = start.create_project(lead=request.user, **form.cleaned_data)  # type: ignore[arg-type]
        messages.success(request, _("The project is ready. Upload its comparisons next."))
        return redirect("import_upload", project.pk)
    return render(request, "imports/new_project.html", {"form": form}, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_upload(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    form = Upload(request.POST or None, request.FILES or None)
    if request.method == "POST" and form.is_valid():
        file = form.cleaned_data["file"]
        ingest.sweep_uploads(project)
        name = default_storage.save(_storage_name(project, file.name), file)
        upload = {"name": name, "filename": file.name[-80:], "source": form.cleaned_data["source"]}
        return redirect("import_preview", project.pk, signing.dumps(upload, salt=f"{SALT}.{project.pk}", compress=True))
    context = {"project": project, "tab": "board", "form": form}
    return render(request, "imports/upload.html", context, status=422 if form.errors else 200)


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_preview(request: HttpRequest, project_id: int, upload: str) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    try:
        stored = signing.loads(upload, salt=f"{SALT}.{project.pk}")
    except signing.BadSignature as error:
        raise Http404 from error
    if request.method == "POST":
        return _confirm(request, project, stored)
    if not default_storage.exists(stored["name"]):
        messages.info(request, _("That upload was imported already, or is older than a day. Choose the file again."))
        return redirect("import_upload", project.pk)
    with ingest.local_upload(stored["name"]) as path:
        seen = preview.preview(project, path)
    context = {
        "project": project,
        "tab": "board",
        "seen": seen,
        "filename": stored["filename"],
        "comparisons": [_as_shown(entry) for entry in seen.entries],
        "can_import": seen.rows_checked and not seen.problem and not seen.errors.shown,
    }
    return render(request, "imports/preview.html", context)


def _confirm(request: HttpRequest, project: Project, stored: dict[str, str]) -> HttpResponse:
    """Ask for the import once, however often the button is pressed."""
    known = Job.objects.filter(project=project, kind=Job.Kind.INGEST, key=stored["name"][-120:]).last()
    job = known or Job.objects.request(
        project,
        Job.Kind.INGEST,
        key=stored["name"][-120:],
        by=request.user,  # type: ignore[arg-type]
        upload=stored["name"],
        filename=stored["filename"],
        source=stored["source"],
    )
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.INGEST]))
    return redirect("job", project.pk, job.pk)


def _storage_name(project: Project, filename: str) -> str:
    suffix = "".join(part for part in PurePath(filename).suffixes[-2:] if part.lower() in SUFFIXES)
    return f"{ingest.UPLOADS}/{project.pk}/{uuid.uuid4().hex}{suffix.lower()}"


def _as_shown(entry: Entry) -> dict[str, Any]:
    """The row's first comparison, as the annotator will read it; of a row without one the prompt."""
    first = entry.comparisons[0] if entry.comparisons else None
    return {
        "id": first.external_id if first else entry.prompt.external_id,
        "turns": [(turn["role"], rendering.to_html(turn["content"])) for turn in json.loads(entry.prompt.turns)],
        "context": json.loads(entry.prompt.context),
        "sides": [
            (side, response.model, rendering.to_html(response.text))
            for side, response in ((("a", entry.responses[first.a]), ("b", entry.responses[first.b])) if first else ())
        ],
        "more": max(len(entry.comparisons) - 1, 0),
        "people": sum(not vote.is_ai for vote in entry.votes),
        "ai": sum(vote.is_ai for vote in entry.votes),
    }
