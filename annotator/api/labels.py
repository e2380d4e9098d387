"""Labels: what judgments say together, under a recipe."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django.http import HttpRequest
from ninja import Router, Schema

from annotator.api.auth import READ, project_of
from annotator.api.paging import After, Limit, Number, Page, page
from annotator.models import Label, Recipe

router = Router(tags=["labels"])
SAME = ("comparison_id", "p_b", "p_tie", "strength", "agreement", "votes", "source", "attributes", "updated_at")


class LabelOut(Schema):
    comparison_id: int
    external_id: str
    recipe: str
    p_b: float | None
    p_tie: float | None
    strength: float | None
    agreement: float | None
    votes: int
    source: str
    attributes: dict[str, Any]
    updated_at: datetime


def shown(label: Label) -> LabelOut:
    return LabelOut(
        **{name: getattr(label, name) for name in SAME},
        external_id=label.comparison.external_id,
        recipe=label.recipe.source,
    )


@router.get("/projects/{project_id}/labels", auth=READ, response=Page[LabelOut])
def list_labels(
    request: HttpRequest,
    project_id: Number,
    after: After = 0,
    limit: Limit = 100,
    recipe: Recipe.Source = Recipe.Source.ROUTED,
) -> dict[str, Any]:
    """Labels under a recipe by `comparison_id`, which is the key to go on from."""
    project = project_of(request, project_id)
    rows = Label.objects.filter(recipe__project=project, recipe__source=recipe, recipe__version=1)
    return page(rows.select_related("recipe", "comparison"), "comparison_id", after, limit, shown)
