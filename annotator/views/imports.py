"""A new project, and from a file to its comparisons: upload, preview, confirm."""

from __future__ import annotations

import hashlib
import json
import re
import uuid
from pathlib import PurePath
from typing import Any

from django.conf import settings
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.core.files.base import ContentFile
from django.core.files.storage import default_storage
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import redirect, render
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.csrf import csrf_exempt, csrf_protect
from django.views.decorators.http import require_http_methods
from django_htmx.http import push_url

from annotator import access, formats, rendering, stored, uploads
from annotator.formats import entries, mapped
from annotator.formats.rows import Entry
from annotator.forms.export_words import preset_title
from annotator.forms.imports import (
    CONTAINER_WORDS,
    FIELD_WORDS,
    RATER_WORDS,
    VERDICT_WORDS,
    NewProject,
    Upload,
    format_choices,
    read_way,
)
from annotator.models import Job, Membership, Project, Role, User
from annotator.pipeline import ingest, preview, start, work

SPEAKERS = {"system": gettext_lazy("System"), "user": gettext_lazy("User"), "assistant": gettext_lazy("Assistant")}
SALT = "annotator.imports"
# Names of rows that had none: readers make them of a digest of the row's texts.
MADE = re.compile(r".*-[0-9a-f]{32}\b")
# What a preview's address holds of what was said on it.
SAID = re.compile(r"[0-9a-f]{32}")
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".gz", ".zip")


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


@csrf_exempt  # `_upload` looks at the token: to read it earlier would read the file before anyone says where to
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_upload(request: HttpRequest, project_id: int) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    if request.method == "POST" and uploads.is_too_large(request):
        words = _("The file is larger than the %(limit)s MB that this site takes.")
        return HttpResponse(words % {"limit": settings.UPLOAD_LIMIT // 10**6}, status=413, content_type="text/plain")
    request.upload_handlers = [uploads.ToDisk(request)]
    return _upload(request, project)


@csrf_protect
def _upload(request: HttpRequest, project: Project) -> HttpResponse:
    form = Upload(request.POST, request.FILES) if request.method == "POST" else Upload()
    by_script = request.accepts("application/json") and not request.accepts("text/html")
    if request.method == "POST" and form.is_valid():
        address = _keep(project, form)
        return JsonResponse({"next": address}) if by_script else redirect(address)
    if request.method == "POST" and by_script:
        wrong = [f"{form[name].label}: {reason}" for name, reasons in form.errors.items() for reason in reasons]
        return JsonResponse({"errors": wrong}, status=422)
    context = {"project": project, "tab": "board", "form": form, "limit": settings.UPLOAD_LIMIT}
    return render(request, "imports/upload.html", context, status=422 if form.errors else 200)


def _keep(project: Project, form: Upload) -> str:
    """Store the file and give the address of its preview."""
    file = form.cleaned_data["file"]
    ingest.sweep_uploads(project)
    name = default_storage.save(_storage_name(project, file.name), file)
    upload = {"name": name, "filename": file.name[-80:], "source": form.cleaned_data["source"]}
    token = signing.dumps(upload, salt=f"{SALT}.{project.pk}", compress=True)
    return reverse("import_preview", args=[project.pk, token])


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def import_preview(request: HttpRequest, project_id: int, upload: str) -> HttpResponse:
    project = access.project_or_404(request, project_id, access.LEADS)
    try:
        kept = signing.loads(upload, salt=f"{SALT}.{project.pk}")
    except signing.BadSignature as error:
        raise Http404 from error
    part = request.htmx and not request.htmx.boosted  # type: ignore[attr-defined]
    looks_again = request.method == "POST" and request.POST.get("act") == "look"
    if request.method == "POST" and not (part and looks_again):
        return (
            redirect(_page(request, project, upload, kept)) if looks_again else _confirm(request, project, upload, kept)
        )
    if not default_storage.exists(kept["name"]):
        messages.info(request, _("That upload was imported already, or is older than a day. Choose the file again."))
        return redirect("import_upload", project.pk)
    way = read_way(request.POST if looks_again else _said(request, kept))
    with stored.local(kept["name"]) as path:
        seen = preview.preview(project, path, way)
    context = {
        "project": project,
        "tab": "board",
        "seen": seen,
        "filename": kept["filename"],
        "container": _container(seen.container),
        "asks_for_less": _asks_for_less(project, seen),
        "comparisons": [_as_shown(entry) for entry in seen.entries],
        **_choices(seen),
    }
    response = render(request, "imports/_preview.html" if part else "imports/preview.html", context)
    return push_url(response, _page(request, project, upload, kept)) if looks_again else response


def _page(request: HttpRequest, project: Project, token: str, kept: dict[str, str]) -> str:
    """The address of the preview with what was said on it, which is kept beside the upload.

    Of that only a key stands in the address: names of columns and values may be long, and of any letters.
    """
    said = request.POST.copy()
    for name in ("csrfmiddlewaretoken", "act"):
        said.pop(name, None)
    text = said.urlencode().encode()
    key = hashlib.sha256(text).hexdigest()[:32]
    if not default_storage.exists(name := _said_name(kept, key)):
        default_storage.save(name, ContentFile(text))
    return f"{reverse('import_preview', args=[project.pk, token])}?said={key}"


def _said_name(kept: dict[str, str], key: str) -> str:
    """Lies with the uploads and is swept with them."""
    return f"{kept['name']}.{key}.said"


def _said(request: HttpRequest, kept: dict[str, str]) -> QueryDict:
    """What was said on the preview, by the address's key; nothing where it has none."""
    if not SAID.fullmatch(key := request.GET.get("said", "")):
        return QueryDict()
    try:
        with stored.opened(_said_name(kept, key)) as file:
            return QueryDict(file.read())
    except FileNotFoundError:
        messages.info(request, _("What was said of this file's columns is no longer kept. Say it again."))
        return QueryDict()


def _container(name: str) -> str:
    """What kind of file it is, in words; of a folder or zip with its table."""
    kind, _comma, table = name.partition(", ")
    return ", ".join(part for part in (str(CONTAINER_WORDS.get(kind, kind)), table) if part)


def _asks_for_less(project: Project, seen: preview.Preview) -> str:
    """The protocol that asks for all the format holds, in words; "" where the project has it, or none is needed."""
    preset = getattr(entries.reader(seen.format), "PRESET", "") if seen.format in formats.READERS else ""
    return preset_title(preset) if preset and preset != project.protocol.preset else ""


def _choices(seen: preview.Preview) -> dict[str, Any]:
    """What the person may say of how the file is read."""
    columns = seen.mapping.get("columns") or {}
    goes = {column: FIELD_WORDS[field] for field, column in columns.items() if field in FIELD_WORDS}
    if seen.format == entries.MAPPED:
        for name, column in seen.columns.items():
            column.place = str(goes.get(name, ""))
    is_mapped = seen.format == entries.MAPPED
    return {
        "missing": [FIELD_WORDS[field] for field in mapped.NEEDED if is_mapped and not columns.get(field)],
        "formats": format_choices(seen.fitting, seen.way.format),
        "title": entries.reader(seen.format).TITLE if seen.format in formats.READERS else "",
        "is_mapped": is_mapped,
        "fields": [
            (field, words, columns.get(field, ""), field in mapped.NEEDED) for field, words in FIELD_WORDS.items()
        ],
        "verdicts": VERDICT_WORDS.items(),
        "raters": RATER_WORDS.items(),
        "by": seen.mapping.get("by", "person"),
        "left": seen.left.most_common(),
    }


def _confirm(request: HttpRequest, project: Project, token: str, kept: dict[str, str]) -> HttpResponse:
    """Ask for the import, or for a check of every row, once however often the button is pressed."""
    way, act = read_way(request.POST), request.POST.get("act")
    asked = {"upload": kept["name"], "filename": kept["filename"], "source": kept["source"], **way.as_json()}
    if act == "check":
        how = hashlib.sha256(json.dumps([kept["name"], way.as_json()], sort_keys=True).encode()).hexdigest()
        job = Job.objects.ask(
            project,
            Job.Kind.INGEST,
            key=f"check {how[:64]}",
            by=request.user,  # type: ignore[arg-type]
            dry_run=True,
            page=_page(request, project, token, kept),  # where to go on from the result
            **asked,
        )
    else:
        key = kept["name"][-120:]
        known = Job.objects.filter(project=project, kind=Job.Kind.INGEST, key=key).last()
        if known and known.state == Job.State.FAILED and default_storage.exists(kept["name"]):
            known = None  # not the file's fault, or it would be gone: it may be asked for again
        job = known or Job.objects.request(project, Job.Kind.INGEST, key=key, by=request.user, **asked)  # type: ignore[arg-type]
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.INGEST]))
    return redirect("job", project.pk, job.pk)


def _storage_name(project: Project, filename: str) -> str:
    suffix = "".join(part for part in PurePath(filename).suffixes[-2:] if part.lower() in SUFFIXES)
    return f"{ingest.UPLOADS}/{project.pk}/{uuid.uuid4().hex}{suffix.lower()}"


def _as_shown(entry: Entry) -> dict[str, Any]:
    """The row's first comparison, as the annotator will read it; of a row without one the prompt."""
    first = entry.comparisons[0] if entry.comparisons else None
    turns = json.loads(entry.prompt.turns)
    name = first.external_id if first else entry.prompt.external_id
    return {
        "id": preview.beginning(turns[-1]["content"]) if MADE.match(name) and turns else name,
        "turns": [(SPEAKERS.get(turn["role"], turn["role"]), rendering.to_html(turn["content"])) for turn in turns],
        "context": json.loads(entry.prompt.context),
        "sides": [
            (side, response.model, rendering.to_html(response.text))
            for side, response in ((("a", entry.responses[first.a]), ("b", entry.responses[first.b])) if first else ())
        ],
        "more": max(len(entry.comparisons) - 1, 0),
        "people": sum(not vote.is_ai for vote in entry.votes),
        "ai": sum(vote.is_ai for vote in entry.votes),
    }
