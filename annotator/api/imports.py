"""Imports: a file of any size and any format that is read, as a job; and what came in so far."""

from __future__ import annotations

import uuid
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any

from django.core.files import File
from django.core.files.storage import default_storage
from django.db import transaction
from django.http import HttpRequest
from ninja import Field, Router, Schema, Status

from annotator import access
from annotator.api import bodies
from annotator.api.auth import INGEST, READ, project_of
from annotator.api.jobs import JobOut
from annotator.api.jobs import shown as job_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.formats import READERS
from annotator.models import Import, Job, Project, User
from annotator.pipeline import ingest, work

router = Router(tags=["imports"])
SAME = ("id", "filename", "origin", "format", "source", "sha256", "bytes", "rows", "report", "created_at")
SUFFIXES = (".jsonl", ".json", ".csv", ".parquet", ".gz")
BINARY = {"schema": {"type": "string", "format": "binary", "minLength": 1}}
FORM = {
    "schema": {
        "type": "object",
        "properties": {"file": {"type": "string", "format": "binary"}},
        "required": ["file"],
    }
}


class ImportOut(Schema):
    id: int
    filename: str
    origin: dict[str, Any]
    format: str
    source: str
    sha256: str
    bytes: int
    rows: int
    report: dict[str, Any]
    created_at: datetime


def shown(row: Import) -> ImportOut:
    return ImportOut(**{name: getattr(row, name) for name in SAME})


@router.get("/projects/{project_id}/imports", auth=READ, response=Page[ImportOut])
def list_imports(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Files that came in, with what each brought and what of it could not be carried."""
    return page(Import.objects.filter(project=project_of(request, project_id)), "id", after, limit, shown)


@router.post(
    "/projects/{project_id}/imports",
    auth=INGEST,
    response={202: JobOut},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {"application/octet-stream": BINARY, "multipart/form-data": FORM},
        }
    },
)
@bodies.takes(bodies.FILE_SIZE)
def create_import(
    request: HttpRequest,
    project_id: Number,
    filename: Annotated[str, Field(max_length=200)] = "",
    source: Annotated[str, Field(max_length=100, description="Where its judgments come from.")] = "",
    format: Annotated[str | None, Field(json_schema_extra={"enum": sorted(READERS)})] = None,
) -> Status[JobOut]:
    """Import a file: the body itself, or the field `file` of a form. Follow the job; all of it comes in, or nothing.

    Its kind and format are found from its content; `format` names the format where several fit.
    """
    if format is not None and format not in READERS:
        raise bodies.Refused(
            422, f"format: none of {', '.join(sorted(READERS))}.", [{"field": "format", "reason": "unknown"}]
        )
    project = project_of(request, project_id, access.LEADS)
    spooled: bodies.Spooled = request.spooled  # type: ignore[attr-defined]
    ingest.sweep_uploads(project)
    name = default_storage.save(_address(project, filename or spooled.name), File(spooled.file))
    asked = {"upload": name, "filename": (filename or spooled.name)[-80:], "source": source, "format": format or ""}
    return Status(202, job_shown(_request(project, request.user, asked)))  # type: ignore[arg-type]


def _address(project: Project, filename: str) -> str:
    suffix = "".join(part for part in PurePath(filename).suffixes[-2:] if part.lower() in SUFFIXES)
    return f"{ingest.UPLOADS}/{project.pk}/{uuid.uuid4().hex}{suffix.lower()}"


def _request(project: Project, by: User, asked: dict[str, str]) -> Job:
    job = Job.objects.request(project, Job.Kind.INGEST, key=asked["upload"][-120:], by=by, **asked)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.INGEST]))
    return job
