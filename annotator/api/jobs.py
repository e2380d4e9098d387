"""Jobs: the long work that requests start. Follow one, list them, cancel one."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema

from annotator import access
from annotator.api.auth import EXPORT, FOLLOW, INGEST, ROUTE, STOP, WORK, project_of, token_of
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.api.problems import Refused
from annotator.models import Job
from annotator.models.jobs import UNFINISHED

router = Router(tags=["jobs"])
SAME = (
    *("id", "kind", "state", "progress", "total", "message", "result", "cancel_requested"),
    *("created_at", "started_at", "ended_at"),
)
# By which scopes a job of a kind may be cancelled, any of them; all others by "route".
CANCELLED_BY = {
    Job.Kind.INGEST: INGEST.scopes,
    Job.Kind.FETCH: INGEST.scopes,
    Job.Kind.EXPORT: EXPORT.scopes,
    Job.Kind.PUSH: EXPORT.scopes,
    Job.Kind.LABEL: STOP.scopes,
}


class JobOut(Schema):
    """`result`: what it made, or what was wrong: {"errors": [{"line", "field", "reason"}], "more": n}."""

    id: int
    kind: str
    state: str
    progress: int
    total: int
    message: str
    result: dict[str, Any]
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    ended_at: datetime | None


def shown(job: Job) -> JobOut:
    return JobOut(**{name: getattr(job, name) for name in SAME})


@router.get("/projects/{project_id}/jobs", auth=FOLLOW, response=Page[JobOut])
def list_jobs(
    request: HttpRequest,
    project_id: Number,
    after: After = 0,
    limit: Limit = 100,
    kind: Job.Kind | None = None,
    state: Job.State | None = None,
) -> dict[str, Any]:
    """Jobs by id."""
    asked = {name: value for name, value in (("kind", kind), ("state", state)) if value}
    return page(project_of(request, project_id).jobs.filter(**asked), "id", after, limit, shown)


@router.get("/projects/{project_id}/jobs/{job_id}", auth=FOLLOW, response=JobOut)
def get_job(request: HttpRequest, project_id: Number, job_id: Number) -> JobOut:
    """One job. It has ended when `state` is done, failed or cancelled."""
    return shown(get_object_or_404(project_of(request, project_id).jobs, pk=job_id))


@router.post("/projects/{project_id}/jobs/{job_id}/cancel", auth=WORK, response=JobOut)
def cancel_job(request: HttpRequest, project_id: Number, job_id: Number) -> JobOut:
    """Cancel a job, with the scope that can ask for one of its kind. What it had stored stays."""
    job = get_object_or_404(project_of(request, project_id, access.LEADS).jobs, pk=job_id)
    needed = CANCELLED_BY.get(Job.Kind(job.kind), ROUTE.scopes)
    if not set(needed) & set(token_of(request).scopes):
        raise Refused(403, f"The token has no scope {' / '.join(needed)}, which this job needs.")
    return shown(cancelled(job))


def cancelled(job: Job) -> Job:
    """The job, cancelled as far as that goes at once. Raises Refused when it had ended."""
    if job.state not in UNFINISHED:
        raise Refused(409, "It had already ended, so there was nothing to cancel.")
    job.cancel()
    job.refresh_from_db()
    return job
