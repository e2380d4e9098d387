"""Data sets: a name, the choices that all versions share, and the versions, which are exports."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema, Status

from annotator import access
from annotator.api.auth import EXPORT, READ, project_of
from annotator.api.exports import Asked, ExportOut
from annotator.api.exports import shown as export_shown
from annotator.api.jobs import shown as job_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Dataset
from annotator.pipeline import export

router = Router(tags=["datasets"])
SAME = ("id", "name", "format", "container", "options", "filters", "created_at")


class DatasetOut(Schema):
    id: int
    name: str
    format: str
    container: str
    source: str
    options: dict[str, Any]
    filters: dict[str, Any]
    created_at: datetime


def shown(dataset: Dataset) -> DatasetOut:
    return DatasetOut(**{name: getattr(dataset, name) for name in SAME}, source=dataset.recipe.source)


@router.get("/projects/{project_id}/datasets", auth=READ, response=Page[DatasetOut])
def list_datasets(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Data sets by id."""
    return page(project_of(request, project_id).datasets.select_related("recipe"), "id", after, limit, shown)


@router.get("/projects/{project_id}/datasets/{dataset_id}", auth=READ, response=DatasetOut)
def get_dataset(request: HttpRequest, project_id: Number, dataset_id: Number) -> DatasetOut:
    """One data set."""
    rows = project_of(request, project_id).datasets.select_related("recipe")
    return shown(get_object_or_404(rows, pk=dataset_id))


@router.get("/projects/{project_id}/datasets/{dataset_id}/versions", auth=READ, response=Page[ExportOut])
def list_versions(
    request: HttpRequest, project_id: Number, dataset_id: Number, after: After = 0, limit: Limit = 100
) -> dict[str, Any]:
    """The versions of a data set by `version`, each an export."""
    dataset = get_object_or_404(project_of(request, project_id).datasets, pk=dataset_id)
    return page(dataset.versions.select_related("recipe", "dataset"), "version", after, limit, export_shown)


@router.get("/projects/{project_id}/datasets/{dataset_id}/versions/{version}", auth=READ, response=ExportOut)
def get_version(request: HttpRequest, project_id: Number, dataset_id: Number, version: Number) -> ExportOut:
    """One version of a data set: what a training job pins."""
    dataset = get_object_or_404(project_of(request, project_id).datasets, pk=dataset_id)
    return export_shown(get_object_or_404(dataset.versions.select_related("recipe", "dataset"), version=version))


@router.post("/projects/{project_id}/datasets/{dataset_id}/versions", auth=EXPORT, response={202: Asked})
def create_version(request: HttpRequest, project_id: Number, dataset_id: Number) -> Status[Asked]:
    """Ask for the next version: the same choices, with what is judged now."""
    project = project_of(request, project_id, access.LEADS)
    dataset = get_object_or_404(project.datasets.select_related("recipe"), pk=dataset_id)
    made, job = export.request_export(
        project,
        dataset.format,
        dataset.container,
        dataset.recipe,
        dataset.options,
        request.user,  # type: ignore[arg-type]
        dataset.filters,
        dataset,
    )
    return Status(202, Asked(export=export_shown(made), job=job_shown(job)))
