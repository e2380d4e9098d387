"""What a lead's word allows, place by place: the numbers and names of the disclosure page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from annotator.models import Disclosure, Project


@dataclass(frozen=True)
class Place:
    """One host and port a labeler calls; `last` is the newest word that stands, `missing` what no word covers."""

    name: str
    missing: list[str]
    last: Disclosure | None


def places(project: Project, names: Sequence[str], parts: Sequence[str]) -> list[Place]:
    rows = Disclosure.objects.filter(project=project, place__in=names, withdrawn_at=None)
    standing = list(rows.select_related("confirmed_by").order_by("id"))
    found = []
    for name in names:
        own = [row for row in standing if row.place == name]
        allowed = {part for row in own for part in row.parts}
        missing = [part for part in parts if part not in allowed]
        found.append(Place(name, missing, own[-1] if own else None))
    return found
