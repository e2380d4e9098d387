"""Imports: a file of any size and any format that is read, as a job; and what came in so far."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from datetime import datetime
from pathlib import PurePath
from typing import Annotated, Any

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


def _check(values: Mapping[str, Any]) -> None:
    if (format := values["format"]) is not None and format not in READERS:
        words = f"format: none of {', '.join(sorted(READERS))}."
        raise bodies.Refused(422, words, [{"field": "format", "reason": "unknown"}])
    bodies.check(values["filename"], "filename")
    bodies.check(values["source"], "source")


def _store(spooled: bodies.Spooled, values: Mapping[str, Any]) -> str:
    """The file in storage: moved where that is the disk it lies on."""
    address = _address(values["project_id"], values["filename"] or spooled.name)
    return default_storage.save(address, spooled.file)


def _address(project_id: int, filename: str) -> str:
    suffix = "".join(part for part in PurePath(filename).suffixes[-2:] if part.lower() in SUFFIXES)
    return f"{ingest.UPLOADS}/{project_id}/{uuid.uuid4().hex}{suffix.lower()}"


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
@bodies.takes(check=_check, store=_store)
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
    project = project_of(request, project_id, access.LEADS)
    spooled: bodies.Spooled = request.spooled  # type: ignore[attr-defined]
    asked = {
        "upload": spooled.stored,
        "filename": (filename or spooled.name)[-80:],
        "source": source,
        "format": format or "",
    }
    return Status(202, job_shown(_request(project, request.user, asked)))  # type: ignore[arg-type]


def _request(project: Project, by: User, asked: dict[str, str]) -> Job:
    job = Job.objects.request(project, Job.Kind.INGEST, key=asked["upload"][-120:], by=by, **asked)
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.INGEST]))
    # It asks the storage for each old file, so not in the transaction.
    transaction.on_commit(lambda: ingest.sweep_uploads(project), robust=True)
    return job
