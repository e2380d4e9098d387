"""Projects that the token reaches."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from annotator import access
from annotator.api.auth import READ, project_of, token_of
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Project

router = Router(tags=["projects"])


class ProjectOut(Schema):
    id: int
    name: str
    description: str
    provenance: str
    status: str
    currency: str
    price_per_judgment: Decimal
    votes: int
    control_share: float
    guidelines_version: int
    protocol: str
    protocol_version: int
    created_at: datetime


def shown(project: Project) -> ProjectOut:
    protocol = project.protocol
    same = ("id", "name", "description", "provenance", "status", "currency", "price_per_judgment", "votes")
    return ProjectOut(
        **{name: getattr(project, name) for name in same},
        control_share=project.control_share,
        guidelines_version=project.guidelines_version,
        protocol=protocol.preset,
        protocol_version=protocol.version,
        created_at=project.created_at,
    )


@router.get("/projects", auth=READ, response=Page[ProjectOut])
def list_projects(request: HttpRequest, after: After = 0, limit: Limit = 100) -> dict[str, Any]:
    """Projects in which the token's person is a lead, reviewer or viewer."""
    token = token_of(request)
    mine = Project.objects.of(token.user, *access.READERS)
    return page(mine.filter(pk=token.project_id) if token.project_id else mine, "id", after, limit, shown)


@router.get("/projects/{project_id}", auth=READ, response=ProjectOut)
def get_project(request: HttpRequest, project_id: Number) -> ProjectOut:
    """One project."""
    return shown(project_of(request, project_id))
