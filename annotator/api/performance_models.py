"""Performance models: what predicts how good a reward model a mixture gives."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.db import transaction
from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema, Status

from annotator import access
from annotator.api.auth import READ, ROUTE, project_of
from annotator.api.jobs import JobOut
from annotator.api.jobs import shown as job_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Job, PerformanceModel
from annotator.pipeline import work

router = Router(tags=["performance models"])
SAME = ("version", "kind", "judgments", "seed", "metrics", "created_at")


class PerformanceModelOut(Schema):
    version: int
    kind: str
    judgments: int
    seed: int
    metrics: dict[str, Any]
    features: int
    created_at: datetime


def shown(model: PerformanceModel) -> PerformanceModelOut:
    return PerformanceModelOut(**{name: getattr(model, name) for name in SAME}, features=model.feature_set.version)


@router.get("/projects/{project_id}/performance-models", auth=READ, response=Page[PerformanceModelOut])
def list_performance_models(
    request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 20
) -> dict[str, Any]:
    """Performance models by version."""
    rows = project_of(request, project_id).performance_models.select_related("feature_set")
    return page(rows, "version", after, limit, shown)


@router.get("/projects/{project_id}/performance-models/{version}", auth=READ, response=PerformanceModelOut)
def get_performance_model(request: HttpRequest, project_id: Number, version: Number) -> PerformanceModelOut:
    """One performance model; `metrics` holds every kind's score of the cross-validation."""
    rows = project_of(request, project_id).performance_models.select_related("feature_set")
    return shown(get_object_or_404(rows, version=version))


@router.post("/projects/{project_id}/performance-models", auth=ROUTE, response={202: JobOut})
def create_performance_model(request: HttpRequest, project_id: Number) -> Status[JobOut]:
    """Ask for a new version from everything judged so far. The same, asked for while it is made, is one."""
    project = project_of(request, project_id, access.LEADS)
    job = Job.objects.ask(project, Job.Kind.RETRAIN, by=request.user)  # type: ignore[arg-type]
    transaction.on_commit(lambda: work.nudge(work.TASKS[Job.Kind.RETRAIN]))
    return Status(202, job_shown(job))
