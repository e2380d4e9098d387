"""Judgments: lists that can be followed, and recorded ones for comparisons that are here already."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db.models import Max, Min, Q, QuerySet
from django.http import HttpRequest
from django.utils.timezone import now
from ninja import Field, Router, Schema, Status

from annotator import access
from annotator.api import bodies
from annotator.api.auth import INGEST, READ, project_of
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Judgment, Project
from annotator.pipeline import record
from annotator.readings import under_way
from annotator.readings.raters import pseudonym

router = Router(tags=["judgments"])
# Seconds to wait for answers that are being stored at this moment.
PATIENCE = 0.2
SAME = (
    *("id", "comparison_id", "round", "revision", "is_current", "purpose", "outcome", "level", "preference"),
    *("p_b", "p_tie", "confidence", "aspects", "attributes", "reasons", "justification", "feedback", "edit", "spans"),
    *("ranking", "flags", "a_first", "active_ms", "cost", "created_at", "effective_at"),
)


class JudgmentOut(Schema):
    """In the comparison's own order: negative means A. `rater` is the pseudonym that exports use."""

    id: int
    comparison_id: int
    rater: str
    rater_kind: str
    round: int
    revision: int
    is_current: bool
    purpose: str
    outcome: str
    level: int | None
    preference: float | None
    p_b: float | None
    p_tie: float | None
    confidence: float | None
    aspects: dict[str, Any]
    attributes: dict[str, Any]
    reasons: list[str]
    justification: str
    feedback: dict[str, Any]
    edit: dict[str, Any]
    spans: list[Any]
    ranking: dict[str, Any]
    flags: list[str]
    a_first: bool | None
    active_ms: int | None
    cost: Decimal
    created_at: datetime
    effective_at: datetime


class JudgmentPage(Page[JudgmentOut]):
    complete_until: int | None = Field(
        description="Every judgment with an id up to this is listed by now; null while some are being stored."
    )


class Recorded(Schema):
    judgments: int


def shown(judgment: Judgment) -> JudgmentOut:
    return JudgmentOut(
        **{name: getattr(judgment, name) for name in SAME},
        rater=pseudonym(judgment.rater),
        rater_kind=judgment.rater.kind,
    )


def visible(project: Project) -> QuerySet[Judgment]:
    """Every revision that labels and exports may see: what can still be undone, or was, is not there."""
    rows = Judgment.objects.filter(~Q(provenance__has_key="undone"), project=project, effective_at__lte=now())
    return rows.select_related("rater__labeler_version__labeler")


def _complete_until(project: Project) -> int | None:
    """The largest id up to which every judgment of the project is visible for good; None while one may be on its way.

    Ids are given out in order, but become visible when their transaction ends. Those up to the largest that is visible
    now were given out before now, so they are settled when the writers of this moment are gone. What can still be
    undone is not settled either.
    """
    largest = Judgment.objects.aggregate(largest=Max("pk"))["largest"] or 0
    if not under_way.is_over(project.pk, ["annotator_judgment"], PATIENCE):
        return None
    undoable = Judgment.objects.filter(project=project, aggregated=False, effective_at__gt=now())
    first = undoable.aggregate(first=Min("pk"))["first"]
    return min(largest, first - 1) if first else largest


@router.get("/projects/{project_id}/judgments", auth=READ, response=JudgmentPage)
def list_judgments(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """All revisions of all judgments by id. To follow them, ask again with the last `complete_until` as `after`.

    Up to it, nothing comes any more: with the pages up to `next` you have seen all. What stands behind it may come
    again, with others between. While judgments are being stored it is null: ask again from where you were.
    """
    project = project_of(request, project_id)
    # Before the rows are read: they are then at least as new.
    until = _complete_until(project)
    return {**page(visible(project), "id", after, limit, shown), "complete_until": until}


@router.post(
    "/projects/{project_id}/judgments",
    auth=INGEST,
    response={201: Recorded},
    openapi_extra=bodies.described(
        "A judgment of docs/formats.md (`kind`, `rater`, `level`, …) with the comparison's external id in `comparison`."
    ),
)
@bodies.takes(bodies.ROWS_SIZE)
def create_judgments(request: HttpRequest, project_id: Number) -> Status[Recorded]:
    """Record judgments of comparisons that are in the project: all of them, or nothing.

    At most 1,000 as a JSON list or 8 MB as NDJSON. They pass the checks of an import and are not paid from the
    project's account. The same judgment again changes nothing.
    """
    project = project_of(request, project_id, access.LEADS)
    with bodies.rows_file(request) as (_path, rows):
        report = record.record(project, rows, by=request.user)  # type: ignore[arg-type]
    return Status(201, Recorded(judgments=report.judgments))
