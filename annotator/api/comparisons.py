"""Comparisons: lists, one with all that was said of it, and new ones."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Field, Router, Schema, Status

from annotator import access
from annotator.api import bodies
from annotator.api.auth import INGEST, READ, project_of
from annotator.api.judgments import JudgmentOut, visible
from annotator.api.judgments import shown as judgment_shown
from annotator.api.labels import LabelOut
from annotator.api.labels import shown as label_shown
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.formats.entries import Way
from annotator.models import Comparison, Import, Plan, Response
from annotator.pipeline import ingest
from annotator.pipeline.ingest_report import IngestReport
from annotator.pipeline.ingest_tables import PATIENCE
from annotator.readings import filters

router = Router(tags=["comparisons"])
Asked = {"labelled": {"judged": "yes"}, "unlabelled": {"judged": "no"}, "waiting": {"votes": "waiting"}}
# Judgments shown beside one comparison; the list of judgments has all.
JUDGMENTS = 1000
COLUMNS = ("id", "external_id", "criterion", "harms", "metadata", "votes_wanted", "places_open", "created_at")


class ComparisonOut(Schema):
    id: int
    external_id: str
    prompt_id: str
    model_a: str
    model_b: str
    criterion: str
    harms: list[str]
    metadata: dict[str, Any]
    votes_wanted: int
    places_open: int
    created_at: datetime


class ResponseOut(Schema):
    external_id: str
    text: str
    model: str
    metadata: dict[str, Any]


class WholeComparison(ComparisonOut):
    turns: list[dict[str, Any]]
    context: list[dict[str, Any]]
    # A, B, and of a ranking C, D, …
    responses: list[ResponseOut]
    labels: list[LabelOut]
    judgments: list[JudgmentOut]


class Imported(Schema):
    """How much was new, how many comparisons existed already, and what of the rows could not be carried."""

    prompts: int
    responses: int
    comparisons: int
    judgments: int
    skipped_existing: int
    left: dict[str, int]


def _columns(comparison: Comparison) -> dict[str, Any]:
    return {
        **{name: getattr(comparison, name) for name in COLUMNS},
        "prompt_id": comparison.prompt.external_id,
        "model_a": comparison.response_a.model,
        "model_b": comparison.response_b.model,
    }


def shown(comparison: Comparison) -> ComparisonOut:
    return ComparisonOut(**_columns(comparison))


def _response(response: Response) -> ResponseOut:
    return ResponseOut(
        external_id=response.external_id, text=response.text, model=response.model, metadata=response.metadata
    )


@router.get("/projects/{project_id}/comparisons", auth=READ, response=Page[ComparisonOut])
def list_comparisons(
    request: HttpRequest,
    project_id: Number,
    after: After = 0,
    limit: Limit = 100,
    external_id: Annotated[str | None, Field(max_length=200)] = None,
    status: Literal["labelled", "unlabelled", "waiting"] | None = None,
    source: Annotated[str | None, Field(max_length=100, description="Sent there by the approved plan.")] = None,
) -> dict[str, Any]:
    """Comparisons by id. Texts, labels and judgments stand in each one's own address, and in exports."""
    project = project_of(request, project_id)
    plan = project.plans.filter(status=Plan.Status.APPROVED).first()
    rows = filters.chosen(project, plan, {**(Asked[status] if status else {}), "source": source})
    if external_id is not None:
        rows = rows.filter(external_id=external_id)
    columns = ("prompt__external_id", "response_a__model", "response_b__model")
    # The texts stay in the database.
    rows = rows.select_related("prompt", "response_a", "response_b").only("project", *COLUMNS, *columns)
    return page(rows, "id", after, limit, shown)


@router.get("/projects/{project_id}/comparisons/{comparison_id}", auth=READ, response=WholeComparison)
def get_comparison(request: HttpRequest, project_id: Number, comparison_id: Number) -> WholeComparison:
    """One comparison with its texts, its label under each recipe, and its judgments by pseudonymous raters."""
    project = project_of(request, project_id)
    rows = project.comparisons.select_related("prompt", "response_a", "response_b")
    found = get_object_or_404(rows, pk=comparison_id)
    further = [each.response for each in found.candidates.select_related("response").order_by("place")]
    return WholeComparison(
        **_columns(found),
        turns=found.prompt.turns,
        context=found.prompt.context,
        responses=[_response(each) for each in (found.response_a, found.response_b, *further)],
        labels=[label_shown(label) for label in found.labels.select_related("recipe", "comparison").order_by("pk")],
        judgments=[
            judgment_shown(each) for each in visible(project).filter(comparison=found).order_by("pk")[:JUDGMENTS]
        ],
    )


@router.post(
    "/projects/{project_id}/comparisons",
    auth=INGEST,
    response={201: Imported},
    openapi_extra=bodies.described("A row of docs/formats.md: an id, a prompt and its responses."),
)
@bodies.takes(bodies.ROWS_SIZE)
def create_comparisons(request: HttpRequest, project_id: Number) -> Status[Imported]:
    """Import rows of Switchyard's own shape, at most 1,000 as a JSON list or 8 MB as NDJSON: all of them, or nothing.

    The rows pass the checks of a file's; what is wrong is told by row and field. Rows that are there already change
    nothing. For more, see imports.
    """
    project = project_of(request, project_id, access.LEADS)
    with bodies.rows_file(request) as (path, _rows):
        coming = ingest.Coming(path, Import.PROGRAM, Way("native"), by=request.user)  # type: ignore[arg-type]
        return Status(201, imported(ingest.take_in(project, coming, patience=PATIENCE)))


def imported(report: IngestReport) -> Imported:
    names = ("prompts", "responses", "comparisons", "judgments", "skipped_existing")
    return Imported(**{name: getattr(report, name) for name in names}, left=dict(report.left))
