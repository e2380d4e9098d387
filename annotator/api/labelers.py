"""AI labelers of a project, without addresses and keys."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from django.shortcuts import get_object_or_404
from ninja import Router, Schema

from annotator.api.auth import READ, project_of
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Labeler
from annotator.readings.raters import public

router = Router(tags=["labelers"])
PRICES = ("price_per_call", "price_per_million_input", "price_per_million_output")


class LabelerOut(Schema):
    id: int
    name: str
    kind: str
    enabled: bool
    price_per_call: Decimal
    price_per_million_input: Decimal
    price_per_million_output: Decimal
    # Of the version that judges; null for one that has none yet.
    version: str | None
    parameters: dict[str, Any]
    created_at: datetime


def shown(labeler: Labeler) -> LabelerOut:
    version = labeler.versions.accepted().order_by("accepted_at", "id").last()
    return LabelerOut(
        **{name: getattr(labeler, name) for name in ("id", "name", "kind", "enabled", *PRICES, "created_at")},
        version=version.digest if version else None,
        parameters=public(version.parameters) if version else {},
    )


@router.get("/projects/{project_id}/labelers", auth=READ, response=Page[LabelerOut])
def list_labelers(request: HttpRequest, project_id: Number, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Labelers by id."""
    return page(project_of(request, project_id).labelers.judging(), "id", after, limit, shown)


@router.get("/projects/{project_id}/labelers/{labeler_id}", auth=READ, response=LabelerOut)
def get_labeler(request: HttpRequest, project_id: Number, labeler_id: Number) -> LabelerOut:
    """One labeler."""
    return shown(get_object_or_404(project_of(request, project_id).labelers.judging(), pk=labeler_id))
