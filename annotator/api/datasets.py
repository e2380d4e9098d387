"""Data sets: a name, the choices that all versions share, and the versions, which are exports."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status

from annotator import access
from annotator.api.auth import EXPORT, READ, project_of
from annotator.api.exports import Asked, ExportIn, ExportOut
from annotator.api.exports import shown as export_shown
from annotator.api.jobs import shown as job_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Dataset, Job
from annotator.pipeline import datasets

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


class DatasetIn(ExportIn):
    name: Annotated[str, Field(max_length=Dataset._meta.get_field("name").max_length)]


class Begun(Asked):
    dataset: DatasetOut


@router.post("/projects/{project_id}/datasets", auth=EXPORT, response={202: Begun})
def create_dataset(request: HttpRequest, project_id: Number, asked: DatasetIn) -> Status[Begun]:
    """Name a data set and ask for its first version. All versions are made by these choices."""
    project = project_of(request, project_id, access.LEADS)
    made, first = datasets.begin(project, asked.name, request.user, **asked.choices(project))  # type: ignore[arg-type]
    job = project.jobs.filter(kind=Job.Kind.EXPORT, parameters__export=first.pk).latest("id")
    return Status(202, Begun(dataset=shown(made), export=export_shown(first), job=job_shown(job)))


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
    written = dataset.versions.filter(completed_at__isnull=False).select_related("recipe", "dataset")
    return page(written, "version", after, limit, export_shown)


@router.get("/projects/{project_id}/datasets/{dataset_id}/versions/{version}", auth=READ, response=ExportOut)
def get_version(request: HttpRequest, project_id: Number, dataset_id: Number, version: Number) -> ExportOut:
    """One version of a data set: what a training job pins."""
    dataset = get_object_or_404(project_of(request, project_id).datasets, pk=dataset_id)
    return export_shown(get_object_or_404(dataset.versions.select_related("recipe", "dataset"), version=version))


@router.post("/projects/{project_id}/datasets/{dataset_id}/versions", auth=EXPORT, response={202: Asked})
def create_version(request: HttpRequest, project_id: Number, dataset_id: Number) -> Status[Asked]:
    """Ask for the next version: the same choices, with what is judged now."""
    project = project_of(request, project_id, access.LEADS)
    dataset = get_object_or_404(project.datasets.select_related("recipe", "project"), pk=dataset_id)
    made, job = datasets.write_version(dataset, request.user)  # type: ignore[arg-type]
    return Status(202, Asked(export=export_shown(made), job=job_shown(job)))
