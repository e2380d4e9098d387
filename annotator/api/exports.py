"""Exports: ask for one, follow it, download its files."""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import Http404, HttpRequest
from django.http.response import HttpResponseBase
from django.shortcuts import get_object_or_404
from django.urls import reverse
from ninja import Field, Router, Schema, Status
from pydantic import BeforeValidator, ConfigDict, create_model

from annotator import access, sending
from annotator.api.auth import EXPORT, READ, project_of
from annotator.api.jobs import JobOut
from annotator.api.jobs import shown as job_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.api.problems import Refused
from annotator.formats import WRITERS
from annotator.formats.source import CHOICES, STATUSES, Filters, Options
from annotator.formats.tables import CONTAINERS
from annotator.models import Export, ExportLink, Project, Recipe
from annotator.pipeline import aggregate, export, links
from annotator.readings import consent

router = Router(tags=["exports"])
SHARE: dict[str, float] = {"ge": 0, "le": 1}
# What the types of `Options` and `Filters` do not say of their numbers.
BOUNDS: dict[str, dict[str, float]] = {
    "validation": {"ge": 0, "le": 0.5},
    "seed": {"ge": 0, "le": 2**31 - 1},
    "good": {"ge": -1000, "le": 1000},
    "bad": {"ge": -1000, "le": 1000},
    "agreement": SHARE,
    "votes": {"ge": 0, "le": 32_767},
    "plan": {"ge": 1, "le": 2**31 - 1},
    "protocol": {"ge": 1, "le": 2**31 - 1},
}


def _whole(value: Any) -> Any:
    """386.0 is a whole number in JSON."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def whole(**bounds: Any) -> Any:
    """A whole number within bounds; no text and no true or false in its place."""
    return Annotated[int, Field(strict=True, **bounds), BeforeValidator(_whole)]


class Strict(Schema):
    model_config = ConfigDict(extra="forbid")


def _typed(name: str, of: type[Any], choices: dict[str, tuple[str, ...]]) -> type[Schema]:
    """The dataclass as a part of a request: every field may be left out, no other is taken."""
    given: dict[str, Any] = {}
    for field in fields(of):
        kind = Literal[choices[field.name]] if field.name in choices else _kind(str(field.type), field.name)
        given[field.name] = (kind, getattr(of(), field.name))
    made: type[Schema] = create_model(name, __base__=Strict, **given)
    return made


def _kind(type_name: str, name: str) -> Any:
    bounds: dict[str, Any] = BOUNDS.get(name, {})
    kinds: dict[str, Any] = {
        "str": str,
        "int": whole(**bounds),
        "int | None": whole(**bounds) | None,
        "float": Annotated[float, Field(strict=True, **bounds)],
        "dict[str, str]": dict[str, str],
    }
    return kinds[type_name]


OptionsIn = _typed("ExportOptions", Options, CHOICES)
FiltersIn = _typed("ExportFilters", Filters, {"status": STATUSES})


class ExportIn(Strict):
    format: Annotated[str, Field(json_schema_extra={"enum": sorted(WRITERS)})]
    container: Annotated[str, Field(json_schema_extra={"enum": sorted(CONTAINERS)})] = "parquet"
    # Whose judgments count.
    source: Recipe.Source = Recipe.Source.ROUTED
    options: OptionsIn = OptionsIn()  # type: ignore[valid-type]
    filters: FiltersIn = FiltersIn()  # type: ignore[valid-type]

    def choices(self, project: Project) -> dict[str, Any]:
        """As `export.request_export` takes them, by name."""
        return {
            "format": self.format,
            "container": self.container,
            "recipe": aggregate.recipe(project, self.source),
            "options": self.options.model_dump(exclude_unset=True),  # type: ignore[attr-defined]
            "filters": self.filters.model_dump(exclude_unset=True),  # type: ignore[attr-defined]
        }


class FileOut(Schema):
    name: str
    bytes: int
    sha256: str
    rows: int | None
    url: str


class ExportOut(Schema):
    number: int
    dataset: str | None
    version: int | None
    format: str
    container: str
    source: str | None
    options: dict[str, Any]
    filters: dict[str, Any]
    rows: int
    sha256: str
    files: list[FileOut]
    created_at: datetime
    completed_at: datetime | None


class Asked(Schema):
    export: ExportOut
    job: JobOut


def shown(made: Export) -> ExportOut:
    same = ("number", "version", "format", "container", "options", "filters", "rows", "sha256", "created_at")
    return ExportOut(
        **{name: getattr(made, name) for name in same},
        dataset=made.dataset.name if made.dataset else None,
        source=made.recipe.source if made.recipe else None,
        files=[_file(made, file) for file in made.files],
        completed_at=made.completed_at,
    )


def _file(made: Export, file: dict[str, Any]) -> FileOut:
    url = reverse("api:get_export_file", args=[made.project_id, made.number, file["name"]])
    return FileOut(name=file["name"], bytes=file["bytes"], sha256=file["sha256"], rows=file["rows"], url=url)


def of(project: Project) -> Any:
    return project.exports.select_related("recipe", "dataset")


@router.get("/projects/{project_id}/exports", auth=READ, response=Page[ExportOut])
def list_exports(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Exports by number."""
    return page(of(project_of(request, project_id)), "number", after, limit, shown)


@router.post("/projects/{project_id}/exports", auth=EXPORT, response={202: Asked})
def create_export(request: HttpRequest, project_id: Number, asked: ExportIn) -> Status[Asked]:
    """Ask for an export, which is written in the background. The same, asked for before it was begun, is one."""
    project = project_of(request, project_id, access.LEADS)
    made, job = export.request_export(project, by=request.user, **asked.choices(project))  # type: ignore[arg-type]
    return Status(202, Asked(export=shown(made), job=job_shown(job)))


@router.get("/projects/{project_id}/exports/{number}", auth=READ, response=ExportOut)
def get_export(request: HttpRequest, project_id: Number, number: Number) -> ExportOut:
    """One export; its files are there once `completed_at` is."""
    return shown(get_object_or_404(of(project_of(request, project_id)), number=number))


GONE = {410: {"description": "It tells of somebody who has withdrawn that since, and is given out no more."}}
BYTES = {"content": {"application/octet-stream": {"schema": {"type": "string", "format": "binary"}}}}


@router.get(
    "/projects/{project_id}/exports/{number}/files/{path:name}",
    auth=READ,
    response={200: None},
    openapi_extra={
        "responses": {
            200: BYTES,
            206: {"description": "The part that `Range` asks for.", **BYTES},
            416: {"description": "No byte of the file is in the range."},
            **GONE,
        }
    },
)
def get_export_file(request: HttpRequest, project_id: Number, number: Number, name: str) -> HttpResponseBase:
    """One file of a finished export, as it is in storage, or with `Range` a part of it."""
    made = _finished(project_of(request, project_id), number)
    try:
        sent = sending.send(request, made, name)
    except consent.Withdrawn:
        raise _gone() from None
    if sent.status_code == 416:
        raise Refused(416, "No byte of the file is in this range.", Content_Range=sent["Content-Range"])
    return sent


def _gone() -> Refused:
    return Refused(410, str(consent.WORDS))


class LinkIn(Strict):
    # Of one file; "" for all of them as a zip.
    name: Annotated[str, Field(max_length=500)] = ""


class LinkOut(Schema):
    """`name`: the file, "" for all of them. Its address is in the answer that made it and nowhere else."""

    id: int
    name: str
    created_at: datetime
    until: datetime


class NewLink(LinkOut):
    url: str | None = Field(description="Given this once; null where the answer is given again.")

    def kept(self) -> NewLink:
        """What is stored for the same request with the same key: without the address."""
        return self.model_copy(update={"url": None})


def _link_columns(link: ExportLink) -> dict[str, Any]:
    return {name: getattr(link, name) for name in ("id", "name", "created_at", "until")}


def link_shown(link: ExportLink) -> LinkOut:
    return LinkOut(**_link_columns(link))


@router.post(
    "/projects/{project_id}/exports/{number}/links",
    auth=EXPORT,
    response={201: NewLink},
    openapi_extra={"responses": GONE},
)
def create_export_link(request: HttpRequest, project_id: Number, number: Number, asked: LinkIn) -> Status[NewLink]:
    """A link to a file of a finished export that needs no token, for a day and while you may read the project."""
    made = _finished(project_of(request, project_id, access.LEADS), number)
    try:
        link, token = links.make(made, asked.name, request.user)  # type: ignore[arg-type]
    except ValueError:
        raise Http404 from None
    except consent.Withdrawn:
        raise _gone() from None
    url = request.build_absolute_uri(reverse("linked_download", args=[token]))
    return Status(201, NewLink(**_link_columns(link), url=url))


@router.get("/projects/{project_id}/exports/{number}/links", auth=EXPORT, response=Page[LinkOut])
def list_export_links(
    request: HttpRequest, project_id: Number, number: Number, after: After = 0, limit: Limit = 100
) -> dict[str, Any]:
    """The live links of an export by id: for leads whoever made them, for others their own."""
    made = _finished(project_of(request, project_id), number)
    return page(links.live(made, request.user), "id", after, limit, link_shown)  # type: ignore[arg-type]


@router.delete("/projects/{project_id}/exports/{number}/links/{link_id}", auth=EXPORT, response={204: None})
def delete_export_link(request: HttpRequest, project_id: Number, number: Number, link_id: Number) -> Status[None]:
    """Take a link back, as a lead any, else one's own: it leads nowhere any more. A download that has begun goes on."""
    made = _finished(project_of(request, project_id), number)
    links.take_back(get_object_or_404(links.of(made, request.user), pk=link_id))  # type: ignore[arg-type]
    return Status(204, None)


def _finished(project: Project, number: int) -> Export:
    made: Export = get_object_or_404(of(project), number=number, completed_at__isnull=False)
    return made
